from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.evaluation.outcomes import (
    Outcomes,
    read_outcomes,
    score_outcomes,
    write_outcomes,
)
from unisd_core.models.completion_cache import CompletionText

ROWS = [toy_row(str(number), f"question {number}", f"gold{number}") for number in range(4)]


def written(*texts: str) -> list[CompletionText]:
    return [CompletionText(text, not text.endswith("...")) for text in texts]


def test_every_sample_of_every_row_is_scored_in_its_place() -> None:
    first = written("gold0", "GOLD1", "no", "")
    second = written("gold0", "gold1", "gold1", "cut off ...")
    found = score_outcomes(ToyTask(), ROWS, [first, second])
    assert found.uids == [row.uid for row in ROWS]
    assert found.samples == 2
    assert found.correct_BN.tolist() == [[True] * 2, [False, True], [False] * 2, [False] * 2]
    assert found.extracted_BN.tolist() == [[True] * 2, [True] * 2, [True] * 2, [False, True]]
    assert found.finished_BN.tolist() == [[True] * 2, [True] * 2, [True] * 2, [True, False]]
    assert found.completions[1] == ["GOLD1", "gold1"]


def test_parts_are_means_over_the_answers_that_report_them() -> None:
    found = score_outcomes(ToyTask(), ROWS, [written("gold0", "GOLD1", "no", "")])
    # The last row reports no part and does not count as zero.
    assert found.mean_parts() == {"length": pytest.approx(2 / 3)}


@pytest.mark.parametrize("samples", [[], [[]], [written("a", "b", "c")]])
def test_rows_and_answers_must_belong_together(samples: list[list[CompletionText]]) -> None:
    with pytest.raises(ValueError, match="answers"):
        score_outcomes(ToyTask(), ROWS, samples)


@settings(max_examples=25)
@given(rows=st.integers(1, 5), samples=st.integers(1, 3), data=st.data())
def test_the_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: int, samples: int, data: st.DataObject
) -> None:
    def flags() -> np.ndarray:
        cells = st.lists(st.booleans(), min_size=rows * samples, max_size=rows * samples)
        return np.array(data.draw(cells)).reshape(rows, samples)

    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    scores = st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0, 1))
    whole = Outcomes(
        uids=[f"r{number}" for number in range(rows)],
        categories=[data.draw(texts) for _ in range(rows)],
        completions=[[data.draw(texts) for _ in range(samples)] for _ in range(rows)],
        finished_BN=flags(),
        extracted_BN=flags(),
        correct_BN=flags(),
        parts=[[data.draw(scores) for _ in range(samples)] for _ in range(rows)],
        rows_sha256=data.draw(st.sampled_from(["", "0f" * 32])),
    )
    path = tmp_path_factory.mktemp("outcomes") / "set.parquet"
    write_outcomes(whole, path)
    again = read_outcomes(path)
    for name in ("uids", "categories", "completions", "parts", "rows_sha256"):
        assert getattr(again, name) == getattr(whole, name)
    for name in ("finished_BN", "extracted_BN", "correct_BN"):
        assert (getattr(again, name) == getattr(whole, name)).all()
    assert [file.name for file in path.parent.iterdir()] == ["set.parquet"]


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    path.write_text("no parquet")
    with pytest.raises(UserError, match=r"set\.parquet: holds no evaluated answers") as caught:
        read_outcomes(path)
    assert "\n" not in str(caught.value)


def test_rows_that_were_edited_under_their_names_have_another_digest() -> None:
    answers = [written("", "", "", "")]
    edited = [*ROWS[:3], toy_row(ROWS[3].uid, ROWS[3].prompt, "another")]
    kept, other = (score_outcomes(ToyTask(), rows, answers) for rows in (ROWS, edited))
    assert kept.uids == other.uids
    assert kept.rows_sha256 != other.rows_sha256
