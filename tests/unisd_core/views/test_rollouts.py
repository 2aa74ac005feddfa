"""Rollouts: the plan of each position, and the rows that come of it."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from unisd_core.common.completion import Completion
from unisd_core.common.schema import PROMPT, TRAJECTORY
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config
from unisd_core.views.rollouts import RolloutPlan, plan_rollout, planned_rollouts, trajectories

VISITS = [Visit(n, attempt=n) for n in range(3)]
PROMPTS = pa.Table.from_pylist(
    [
        {"uid": f"q{n}", "row": n, "prompt_ids": [n, n + 1], "view_ids": [[n] * 4, [n] * 2],
         "gold_ids": [9, 2], "negative_ids": [[7] * k for k in range(1, n * n)]}
        for n in range(3)
    ],
    schema=PROMPT,
)  # fmt: skip
SAMPLED = [Completion([5, 2], [-0.5, -0.1], "stop", 4, 5, 1, 10.0, 11.0) for _ in VISITS]


def config(**rollout: float) -> Config:
    return Config.model_validate({"seed": 3, "rollout": rollout})


def made(source: str, negatives: list[list[int] | None]) -> pa.Table:
    return trajectories(PROMPTS, SAMPLED, visits=VISITS, source=[source] * 3, negative=negatives)


def test_a_negative_view_comes_last_and_only_where_there_is_one() -> None:
    negatives = [None, [7, 8], None]
    table = made("student", negatives)
    assert table.schema.equals(TRAJECTORY)
    assert table["view_ids"].to_pylist() == [
        [[0] * 4, [0] * 2], [[1] * 4, [1] * 2, [7, 8]], [[2] * 4, [2] * 2]
    ]  # fmt: skip
    rows = table.to_pylist()
    assert [row["uid"] for row in rows] == ["q0", "q1", "q2"]
    assert rows[2]["prompt_ids"] == [2, 3]
    assert (rows[1]["position"], rows[1]["attempt"], rows[1]["version_last"]) == (1, 1, 5)


def test_without_negatives_the_views_stay_as_they_are() -> None:
    table = made("teacher", [None] * 3)
    assert table["view_ids"].to_pylist() == PROMPTS["view_ids"].to_pylist()
    assert set(table["source"].to_pylist()) == {"teacher"}


def test_a_plan_depends_on_the_seed_and_the_position_alone() -> None:
    shares = config(teacher_share=0.4, gold_share=0.3)
    plans = [plan_rollout(shares, position, PROMPTS, 2) for position in range(6, 10)]
    # Runs that resume and runs that are repeated rely on these very numbers.
    assert [(plan.source, plan.seed, plan.negative) for plan in plans] == [
        ("teacher", 3443940751447405732, [7, 7, 7]),
        ("gold", 3990016675596375981, [7, 7]),
        ("teacher", 1557064823121239886, [7, 7]),
        ("student", 1198133553373922413, [7, 7]),
    ]
    assert plans == [plan_rollout(shares, position, PROMPTS, 2) for position in range(6, 10)]


def test_the_shares_say_whose_completion_is_taken() -> None:
    shares = config(teacher_share=0.5, gold_share=0.2)
    plans = [plan_rollout(shares, position, PROMPTS, 1) for position in range(1000)]
    counted = Counter(plan.source for plan in plans)
    assert abs(counted["teacher"] - 500) < 60 and abs(counted["gold"] - 200) < 60
    read = {plan.source: plan.prompt_ids for plan in plans}
    assert read == {"student": [1, 2], "teacher": [1] * 4, "gold": None}
    alone = [plan_rollout(config(), position, PROMPTS, 0) for position in range(20)]
    assert {plan.source for plan in alone} == {"student"}
    assert {plan.negative for plan in alone} == {None}, "this row has no wrong reference"


def test_a_reference_takes_the_place_of_a_completion() -> None:
    plans = [
        RolloutPlan("student", [0, 1], 1, None),
        RolloutPlan("gold", None, 2, [7, 7]),
        RolloutPlan("teacher", [2] * 4, 3, None),
    ]
    table = planned_rollouts(PROMPTS, plans, VISITS, SAMPLED[:2], versions=[3, 4, 5])
    assert table["completion_ids"].to_pylist() == [[5, 2], [9, 2], [5, 2]]
    gold = table.to_pylist()[1]
    assert gold["logprobs"] == [0.0, 0.0] and gold["finish_reason"] == "stop"
    assert gold["version_first"] == gold["version_last"] == 4
    assert gold["sampled_from"] is None
    assert gold["view_ids"] == [[1] * 4, [1] * 2, [7, 7]]
    assert table["source"].to_pylist() == ["student", "gold", "teacher"]
