from __future__ import annotations

import pytest

from tests.unisd_core.toy_task import ToyTask, toy_row
from unisd_core.evaluation.accuracy import score_completions

ROWS = [toy_row(str(number), f"question {number}", f"gold{number}") for number in range(4)]


def test_rates_and_parts_are_means_over_the_rows() -> None:
    found = score_completions(ToyTask(), ROWS, ["gold0", "GOLD1", "no", ""])
    assert found.correct_B.tolist() == [True, False, False, False]
    assert found.extracted_B.tolist() == [True, True, True, False]
    assert found.accuracy == 0.25
    assert found.extraction_rate == 0.75
    # The last row reports no part and does not count as zero.
    assert found.parts == {"length": pytest.approx(2 / 3)}


@pytest.mark.parametrize("count", [0, 3])
def test_rows_and_completions_must_belong_together(count: int) -> None:
    with pytest.raises(ValueError, match="completions"):
        score_completions(ToyTask(), ROWS[:count], ["x"] * (count - 1 if count else 0))
