"""The scorer against one plain forward pass per view."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.rows import trajectories
from unisd_core.common.schema import SCORED_BFLOAT16
from unisd_core.config.run import Config
from unisd_core.models.load import hidden_states, lm_head_weight
from unisd_core.scoring.score_cache import ScoreCache
from unisd_core.scoring.scorer import TeacherScorer, View, in_batches


def config(**changes) -> Config:
    return Config.model_validate({"views": {"num_auxiliary": 2}, **changes})


def plain_logprobs(model, prompt, completion):
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[range(len(completion)), completion].numpy()


@pytest.fixture(scope="module")
def table():
    return trajectories(5, views=4)


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_every_view_equals_a_plain_forward(tiny_model, table, batch_tokens):
    scorer = TeacherScorer(config(scorer={"batch_tokens": batch_tokens}), str(tiny_model))
    scored = scorer.score(table)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    head = lm_head_weight(model)
    assert scored["uid"].to_pylist() == table["uid"].to_pylist()
    for row in scored.to_pylist():
        completion, views = row["completion_ids"], row["view_ids"]
        hidden_TH = np.array(row["teacher_hidden"], np.float32).reshape(len(completion), -1)
        teacher = torch.from_numpy(hidden_TH) @ head.T
        teacher_T = teacher.log_softmax(-1)[range(len(completion)), completion].detach().numpy()
        np.testing.assert_allclose(
            teacher_T, plain_logprobs(model, views[0], completion), atol=1e-4
        )
        for k in range(2):
            np.testing.assert_allclose(
                row["auxiliary_logprobs"][k],
                plain_logprobs(model, views[1 + k], completion),
                atol=1e-4,
            )
        np.testing.assert_allclose(
            row["negative_logprobs"], plain_logprobs(model, views[3], completion), atol=1e-4
        )


def test_a_row_without_a_negative_view_stays_in(tiny_model):
    scorer = TeacherScorer(config(), str(tiny_model))
    assert scorer.score(trajectories(2, views=3))["negative_logprobs"].to_pylist() == [None, None]


def test_an_empty_completion_passes_for_the_filter_to_find(tiny_model):
    rows = trajectories(2).to_pylist()
    rows[0] |= {"completion_ids": [], "logprobs": []}
    table = pa.Table.from_pylist(rows, schema=trajectories(1).schema)
    scored = TeacherScorer(config(), str(tiny_model)).score(table)
    assert scored["auxiliary_logprobs"][0].as_py() == [[], []]
    assert len(scored["auxiliary_logprobs"][1].as_py()[0]) == len(rows[1]["completion_ids"])


def test_a_published_teacher_changes_what_is_read(tiny_model, table):
    scorer = TeacherScorer(config(), str(tiny_model))
    before = scorer.score(table)
    from unisd_core.models.lora import adapter_state

    state = {
        name: tensor + (0.05 if "lora_B" in name else 0.0)
        for name, tensor in adapter_state(scorer.model).items()
    }
    scorer.load(3, state)
    after = scorer.score(table)
    assert set(after["teacher_version"].to_pylist()) == {3}
    assert before["teacher_hidden"][0].as_py() != after["teacher_hidden"][0].as_py()


def test_a_frozen_teacher_is_the_base_model(tiny_model, table):
    frozen = TeacherScorer(config(teacher={"kind": "frozen"}), str(tiny_model)).score(table)
    moving = TeacherScorer(config(), str(tiny_model)).score(table)
    np.testing.assert_allclose(
        frozen["teacher_hidden"][0].as_py(), moving["teacher_hidden"][0].as_py(), atol=1e-5
    )


def test_likely_tokens_travel_in_place_of_hidden_states(tiny_model, table):
    objective = {"divergence": {"top_k": 3, "temperature": 0.7}, "features": {"weight": 0}}
    scored = TeacherScorer(config(objective=objective), str(tiny_model)).score(table)
    assert scored["teacher_hidden"].null_count == scored.num_rows
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    for row in scored.to_pylist():
        prompt, completion = row["view_ids"][0], row["completion_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        best = (logits / 0.7).log_softmax(-1).topk(3)
        assert row["teacher_topk_ids"] == best.indices.tolist()
        np.testing.assert_allclose(row["teacher_topk_logprobs"], best.values, atol=1e-4)
        plain = plain_logprobs(model, prompt, completion)
        np.testing.assert_allclose(row["teacher_logprobs"], plain, atol=1e-4)


def test_states_of_other_layers_travel_beside_the_last(tiny_model, table):
    objective = {"features": {"weight": 0.1, "layers": [1, -1]}}
    scored = TeacherScorer(config(objective=objective), str(tiny_model)).score(table)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    for row in scored.to_pylist():
        prompt, completion = row["view_ids"][0], row["completion_ids"]
        with torch.no_grad():
            out = model(torch.tensor([prompt + completion]), output_hidden_states=True)
        states = torch.stack([out.hidden_states[1][0], out.hidden_states[-1][0]], dim=1)
        expected = states[len(prompt) - 1 : -1].flatten()
        np.testing.assert_allclose(row["teacher_features"], expected, atol=1e-4)
        assert len(row["teacher_hidden"]) == len(expected) / 2


def test_states_of_a_model_in_bfloat16_travel_as_its_bits(tiny_model, table):
    objective = {"features": {"weight": 0.1, "layers": [1, -1]}}
    settings = config(objective=objective, model={"dtype": "bfloat16"})
    scorer = TeacherScorer(settings, str(tiny_model))
    scored = scorer.score(table)
    assert scored.schema == SCORED_BFLOAT16
    for row in scored.to_pylist():
        prompt, completion = row["view_ids"][0], row["completion_ids"]
        with torch.no_grad():
            states_TH = hidden_states(scorer.model, torch.tensor([prompt + completion]))[0]
        expected = states_TH[len(prompt) - 1 : -1].flatten()
        assert expected.dtype == torch.bfloat16, "of which no bit is lost"
        bits = torch.tensor(row["teacher_hidden"], dtype=torch.uint16)
        torch.testing.assert_close(bits.view(torch.bfloat16), expected, atol=0.05, rtol=0.05)
        assert len(row["teacher_features"]) == 2 * len(expected)


def test_no_model_is_loaded_where_no_term_reads_a_view():
    table = trajectories(2, views=1)
    nothing = {name: {"weight": 0} for name in ("divergence", "contrastive", "features")}
    objective = {**nothing, "cross_entropy": {"weight": 1}, "agreement": {"level": "off"}}
    scorer = TeacherScorer(config(objective=objective), "no model folder")
    scored = scorer.score(table)
    assert scorer.idle
    assert scored["teacher_hidden"].null_count == 2
    assert scored["completion_ids"] == table["completion_ids"]


def counted(scorer: TeacherScorer) -> list[int]:
    """Views scored from now on, by forward pass."""
    passes, forward = [], scorer._forward

    def count(views):
        passes.append(len(views))
        return forward(views)

    scorer._forward = count
    return passes


def test_a_frozen_teacher_reads_nothing_twice(tiny_model, table):
    scorer = TeacherScorer(config(teacher={"kind": "frozen"}), str(tiny_model))
    passes = counted(scorer)
    first = scorer.score(table.slice(0, 3))
    read = sum(passes)
    again = scorer.score(table)
    assert sum(passes) == read + 2 * 4, "two new rows of four views"
    for name in ("teacher_hidden", "auxiliary_logprobs", "negative_logprobs"):
        assert again[name].slice(0, 3).to_pylist() == first[name].to_pylist()


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": {"kind": "ema"}},
        {"teacher": {"kind": "frozen"}, "training": {"max_staleness": 0}},
    ],
)
def test_a_teacher_that_moves_and_a_reproducible_run_read_again(tiny_model, table, changes):
    scorer = TeacherScorer(config(**changes), str(tiny_model))
    passes = counted(scorer)
    scorer.score(table)
    once = sum(passes)
    scorer.score(table)
    assert sum(passes) == 2 * once


def test_what_is_kept_of_a_teacher_is_bounded():
    cache = ScoreCache(limit=1000)
    keys = [cache.key([n], 0, teacher=False) for n in range(6)]
    assert len(set(keys)) == 6 and cache.key([0], 0, teacher=True) != keys[0]
    for key in keys:
        cache.put(key, {"logprobs": np.zeros(60, np.float32)})
        assert cache.size <= 1000
    assert [cache.get(key) is not None for key in keys] == [False, False, True, True, True, True]
    cache.get(keys[2])
    cache.put(cache.key([9], 0, teacher=False), {"logprobs": np.zeros(60, np.float32)})
    assert cache.get(keys[2]) is not None and cache.get(keys[3]) is None, "the least used goes"
    large = np.zeros(10_000, np.float32)
    cache.put(b"large", {"logprobs": large})
    assert cache.get(b"large") is None
    part = large[:50]
    cache.put(b"part", {"logprobs": part})
    assert cache.get(b"part")["logprobs"].base is None, "the large array is not kept alive"


def test_the_views_of_a_row_are_read_together_and_their_question_once():
    system, rows = [1] * 5, []
    for row, length in enumerate((40, 38)):
        question = [*system, *range(100 * row + 10, 100 * row + 10 + length)]
        rows += [View(row, index, [*question, 7, index, 9], len(question) + 2) for index in (0, 1)]
        rows.append(View(row, 2, [*system, 8, *question], 20))
    last_first = sorted(rows, key=lambda view: -view.index)
    batches = list(in_batches(last_first, 110))
    assert [[view.row for view in batch] for batch in batches] == [[1, 1, 1], [0, 0, 0]]
    assert len(list(in_batches(last_first, 1000))) == 1
    assert len(list(in_batches(last_first, 1))) == len(rows)
