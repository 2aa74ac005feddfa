"""Progress of a synthesis on the console, and what stands in its folder at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipelines.command.console import report
from pipelines.synthesis.plan import SynthesisPlan
from unisd_core.synthesis.card import make_summary, write_card
from unisd_core.synthesis.export import export_rows
from unisd_core.synthesis.shard import Account, add_up, survey


class Progress:
    """Adds up what this command has finished, and says it shard by shard."""

    def __init__(self, plan: SynthesisPlan) -> None:
        self.wanted = sum(len(block.rows) for block in plan.blocks)
        self.account = Account()
        self.began = time.perf_counter()

    def add(self, shard: Mapping[str, str]) -> None:
        """Take over the row that the last stage emits for a shard."""
        self.account = add_up([self.account, Account.model_validate_json(shard["account"])])
        done, total = self.account, self.wanted
        seconds = time.perf_counter() - self.began
        seen = done.prompts + sum(done.failed.values())
        left = seconds * (total - seen) / max(1, seen)
        report(
            f"{seen}/{total} prompts | kept {done.kept} of {done.sampled} | "
            f"{done.sampled_tokens / seconds:.0f} tokens/s | {left / 60:.1f} min left"
        )

    def session(self) -> dict[str, float]:
        """What this command added and how long it took."""
        seconds = time.perf_counter() - self.began
        return {
            "prompts": self.account.prompts,
            "sampled_tokens": self.account.sampled_tokens,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(self.account.sampled_tokens / seconds, 1),
        }


def finish(plan: SynthesisPlan, progress: Progress) -> dict[str, Any]:
    """Write the file to train on, the data card and the summary, from the finished shards;
    returns the summary."""
    session = progress.session()
    found = survey(plan.folder)
    account = found.account
    export = export_rows(plan.folder, found.names, plan.config.synthesis)
    summary = make_summary(
        account,
        plan.inventory.missing(found.done),
        plan.identity,
        {
            "input": plan.source.name,
            "model": plan.config.model.name_or_path,
            "weights": plan.given_weights,
        },
        session,
        export,
    )
    write_card(plan.folder, summary)
    for why, count in progress.account.failed.items():
        report(f"{count} prompts failed ({why}); the same command tries them again")
    report(
        f"{account.kept} of {account.sampled} completions kept, {session['tokens_per_second']:.0f} "
        f"tokens/s; {'' if export is None else f'{export}, '}README.md and summary.json in "
        f"{plan.folder.url}"
    )
    return summary
