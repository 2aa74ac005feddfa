"""Several methods, each trained with one or more seeds, compared on the same test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from unisd_core.common.errors import UserError
from unisd_core.common.text_table import points
from unisd_core.config.base import FrozenModel
from unisd_core.evaluation.bootstrap import Interval, row_bootstrap


class SetOutcome(FrozenModel):
    """Outcomes of one run on one test set before and after training; accuracies are fractions."""

    rows: int = Field(ge=1)
    base: float
    final: float
    base_bits: str
    """Which rows were right before training, see ``pack_outcomes``."""
    final_bits: str
    rows_sha256: str
    """Digest of the rows' uids in order, see ``rows_digest``."""
    content_sha256: str = ""
    """Digest of their content, see ``Outcomes.rows_sha256``."""

    @model_validator(mode="after")
    def _whole(self) -> SetOutcome:
        for bits in (self.base_bits, self.final_bits):
            unpack_outcomes(bits, self.rows)
        return self


class ResultLine(FrozenModel):
    """One finished run: a line of a results file."""

    key: str
    """Digest of the settings that decide what is trained."""
    label: str
    preset: str
    seed: int
    steps: int
    batch: int
    test_sets: dict[str, SetOutcome]
    seconds: float
    """Wall time of the run."""
    tokens: dict[str, int]
    """By stage."""
    mechanisms: dict[str, float | None]
    """Means over training; None where a mechanism was off."""
    versions: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """One label on one test set; all numbers are fractions."""

    label: str
    seeds: tuple[int, ...]
    base: float
    final: float
    """Mean over the seeds, as ``base``."""
    spread: tuple[float, float]
    """Smallest and largest final accuracy of a seed."""
    gain: Interval
    """final - base."""
    against: Interval | None
    """Difference to the reference label; None for the reference itself and without one."""


def pack_outcomes(correct_B: npt.NDArray[np.bool_]) -> str:
    """Outcomes (B,) as hexadecimal text, eight rows to a byte, first row in the highest bit."""
    return np.packbits(correct_B).tobytes().hex()


def unpack_outcomes(bits: str, rows: int) -> npt.NDArray[np.bool_]:
    """The (B = ``rows``,) outcomes behind ``pack_outcomes``; ValueError for other lengths."""
    packed = np.frombuffer(bytes.fromhex(bits), dtype=np.uint8)
    if packed.size != -(-rows // 8):
        raise ValueError(f"{packed.size} bytes cannot hold {rows} outcomes")
    return np.unpackbits(packed, count=rows).astype(np.bool_)


def rows_digest(uids: Iterable[str]) -> str:
    """SHA-256 of uids in their order; equal only for the same rows in the same order."""
    return hashlib.sha256("\n".join(uids).encode()).hexdigest()


def compare(
    lines: Sequence[ResultLine],
    reference: str | None,
    *,
    order: Sequence[str] = (),
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, list[Comparison]]:
    """Every label of ``lines`` by test set: accuracy, gain over the base model, and difference to
    the label ``reference``.

    Of several lines with the same label and seed the last one counts. Labels come in the given
    ``order``, others after them as they appear. Intervals are paired percentile bootstraps over
    rows: outcomes are averaged over a label's seeds row by row and the rows drawn anew, the same
    for all seeds. They say how far other test rows would move a number, not other seeds; for
    those see ``spread``. The difference to the reference is taken over the seeds that both
    have, and over all seeds of each where they share none.

    Raises UserError when two lines were measured on other rows of the same test set.
    """
    newest = {(line.label, line.seed): line for line in lines}
    labels = list(dict.fromkeys([*order, *(label for label, _ in newest)]))
    names = dict.fromkeys(name for line in newest.values() for name in line.test_sets)
    table: dict[str, list[Comparison]] = {}
    for name in names:
        _check_rows([line for line in newest.values() if name in line.test_sets], name)
        outcomes = {label: _outcomes(newest.values(), label, name) for label in labels}
        beside = outcomes.get(reference) if reference is not None else None
        table[name] = [
            _comparison(label, own, None if label == reference else beside, resamples, seed)
            for label, own in outcomes.items()
            if own
        ]
    return table


@dataclass(frozen=True)
class _Outcomes:
    base_B: npt.NDArray[np.bool_]
    final_B: npt.NDArray[np.bool_]


_BySeed = Mapping[int, _Outcomes]


def _outcomes(lines: Iterable[ResultLine], label: str, name: str) -> _BySeed:
    found = {
        line.seed: line.test_sets[name]
        for line in lines
        if line.label == label and name in line.test_sets
    }
    return {
        seed: _Outcomes(
            unpack_outcomes(found[seed].base_bits, found[seed].rows),
            unpack_outcomes(found[seed].final_bits, found[seed].rows),
        )
        for seed in sorted(found)
    }


def _check_rows(lines: Sequence[ResultLine], name: str) -> None:
    first = next((line for line in lines if line.test_sets[name].content_sha256), lines[0])
    for line in lines:
        ours, theirs = line.test_sets[name], first.test_sets[name]
        known = {ours.content_sha256, theirs.content_sha256} - {""}
        same = (ours.rows, ours.rows_sha256) == (theirs.rows, theirs.rows_sha256)
        if not same or len(known) > 1:
            raise UserError(
                f"{name}: {line.label} (seed {line.seed}) and {first.label} (seed {first.seed}) "
                "were measured on different rows; give both the same evaluation.rows and data"
            )


def _comparison(
    label: str, own: _BySeed, beside: _BySeed | None, resamples: int, seed: int
) -> Comparison:
    bases = [float(outcome.base_B.mean()) for outcome in own.values()]
    finals = [float(outcome.final_B.mean()) for outcome in own.values()]
    change_B = _total([outcome.final_B for outcome in own.values()])
    change_B -= _total([outcome.base_B for outcome in own.values()])
    return Comparison(
        label=label,
        seeds=tuple(own),
        base=float(np.mean(bases)),
        final=float(np.mean(finals)),
        spread=(min(finals), max(finals)),
        gain=row_bootstrap(change_B, len(own), resamples, seed),
        against=_difference(own, beside, resamples, seed) if beside else None,
    )


def _difference(own: _BySeed, beside: _BySeed, resamples: int, seed: int) -> Interval:
    shared = own.keys() & beside.keys()
    left = [outcome.final_B for key, outcome in own.items() if not shared or key in shared]
    right = [outcome.final_B for key, outcome in beside.items() if not shared or key in shared]
    # The difference of two means, brought to one denominator to stay in whole numbers.
    weights = (1, 1) if shared else (len(right), len(left))
    scale = len(left) * weights[0]
    return row_bootstrap(
        weights[0] * _total(left) - weights[1] * _total(right), scale, resamples, seed
    )


def _total(outcomes_SB: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.int64]:
    return np.stack(outcomes_SB).sum(axis=0, dtype=np.int64)


def render_markdown(table: Mapping[str, Sequence[Comparison]], reference: str | None) -> str:
    """``table`` as Markdown, one table per test set; accuracies in percent, differences in
    points with their 95 % intervals."""
    parts = []
    for name, comparisons in table.items():
        columns = ["method", "seeds", "before", "after", "seeds from - to", "gain over before"]
        if reference is not None:
            columns.append(f"difference to {reference}")
        lines = [f"**{name}**", "", _row(columns), _row(["---"] * len(columns))]
        for found in comparisons:
            low, high = found.spread
            cells = [
                found.label,
                str(len(found.seeds)),
                f"{100 * found.base:.1f} %",
                f"{100 * found.final:.1f} %",
                f"{100 * low:.1f} - {100 * high:.1f}" if len(found.seeds) > 1 else "",
                _points(found.gain),
            ]
            if reference is not None:
                cells.append("" if found.against is None else _points(found.against))
            lines.append(_row(cells))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _points(interval: Interval) -> str:
    middle, low, high = map(points, (interval.difference, interval.low, interval.high))
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"
