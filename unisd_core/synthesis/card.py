"""Data card of an output: ``summary.json`` for programs and ``README.md`` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from unisd_core.common.text_table import columns
from unisd_core.reporting.summary import package_versions
from unisd_core.synthesis.output import SHARDS, OutputFolder
from unisd_core.synthesis.shard import Account

LICENSE_NOTE = (
    "The completions were written by the model named above. Its license, and that of the prompts, "
    "say what they may be used for; nothing here changes either."
)


def make_summary(
    account: Account,
    missing: int,
    identity: Mapping[str, Any],
    origin: Mapping[str, str],
    session: Mapping[str, Any],
    export: str | None,
) -> dict[str, Any]:
    """All that is known of an output whose shards add up to ``account``. ``missing`` prompts of
    the source are not among them, ``origin`` holds the names of input, model and weights,
    ``session`` what this command added and how fast."""
    return {
        "format": 1,
        "origin": dict(origin),
        "prompts": account.prompts + missing,
        "done": account.prompts,
        "failed": missing,
        "left_out": dict(account.left_out),
        "sampled": account.sampled,
        "dropped": dict(account.dropped),
        "kept": account.kept,
        "sampled_tokens": account.sampled_tokens,
        "kept_tokens": account.kept_tokens,
        "mean_agreement": account.agreement / account.scored if account.scored else None,
        "export": export,
        "session": dict(session),
        "settings": dict(identity),
        "versions": package_versions(),
    }


def write_card(folder: OutputFolder, summary: Mapping[str, Any]) -> None:
    """Write both files, the summary last: it marks a complete output."""
    folder.write("README.md", render_card(summary).encode())
    folder.write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def render_card(summary: Mapping[str, Any]) -> str:
    """The data card in Markdown, with the header that ``datasets`` and the hub read."""
    origin, export = summary["origin"], summary["export"]
    agreement = summary["mean_agreement"]
    lines = [
        "---",
        "license: other",
        "configs:",
        "- config_name: default",
        f"  data_files: {export or f'{SHARDS}/*.parquet'}",
        *(["- config_name: scored", f"  data_files: {SHARDS}/*.parquet"] if export else []),
        "---",
        "",
        "# Synthesised completions",
        "",
        f"{summary['kept']} completions of {summary['done']} prompts from {origin['input']}, "
        f"sampled from {origin['model']}"
        + (f" with the weights of {origin['weights']}." if origin["weights"] else "."),
        "",
        f"- `{SHARDS}/`: every kept completion with token ids, log-probs, agreement and weights",
        *([f"- `{export}`: the same as text, to train on"] if export else []),
        "- `summary.json`: the numbers below, for programs",
        "",
        "## Counts",
        "",
        "```",
        columns(
            [
                ("prompts", str(summary["prompts"])),
                *((f"  left out: {why}", str(n)) for why, n in summary["left_out"].items()),
                ("  failed, to be done again", str(summary["failed"])),
                ("sampled", str(summary["sampled"])),
                *((f"  dropped: {why}", str(n)) for why, n in sorted(summary["dropped"].items())),
                ("kept", str(summary["kept"])),
                ("kept tokens", str(summary["kept_tokens"])),
                ("mean agreement", "not scored" if agreement is None else f"{agreement:.3f}"),
            ]
        ),
        "```",
        "",
        "## Settings",
        "",
        "```",
        *(f"{key}: {json.dumps(value)}" for key, value in summary["settings"].items()),
        "```",
        "",
        "Made with " + ", ".join(f"{k} {v}" for k, v in summary["versions"].items()) + ".",
        "",
        "## License",
        "",
        LICENSE_NOTE,
        "",
    ]
    return "\n".join(lines)
