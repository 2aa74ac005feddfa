"""One update: what changes it, and that it does not depend on how rows are dealt out."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch

from tests.support.rows import scored
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config, TrainingConfig
from unisd_core.objective.metrics import finalise_metrics
from unisd_core.training.student import BadBatch, Student, learning_rate


def config(**changes) -> Config:
    return Config.model_validate({"training": {"learning_rate": 1e-2, **changes}})


def updated(student: Student, table: pa.Table) -> dict[str, torch.Tensor]:
    student.update(table, version=50, global_rows=table.num_rows)
    return student.weights()


def difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_micro_batches_give_the_same_update(tiny_model):
    table = scored(6)
    whole = updated(Student(config(), tiny_model), table)
    parts = updated(Student(config(micro_batch_tokens=1), tiny_model), table)
    untouched = Student(config(), tiny_model).weights()
    assert difference(whole, untouched) > 1e-3
    assert difference(whole, parts) < 1e-5


def test_two_equal_runs_give_equal_bytes(tiny_model):
    first, second = (updated(Student(config(), tiny_model), scored(4)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_restore_continues_exactly(tiny_model):
    whole = Student(config(), tiny_model)
    updated(whole, scored(4, seed=1))
    resumed = Student(config(), tiny_model)
    resumed.restore(whole.weights(), whole.optimizer_state())
    assert difference(updated(whole, scored(4, seed=2)), updated(resumed, scored(4, seed=2))) == 0


def test_the_gap_is_measured_under_the_version_that_sampled(tiny_model):
    student = Student(config(), tiny_model)
    initial = student.weights()
    row = scored(1).to_pylist()[0]
    row["logprobs"] = [0.0] * len(row["completion_ids"])
    gap = student.logprob_gap(row, initial)
    updated(student, scored(4))
    trained = student.weights()
    assert student.logprob_gap(row, initial) == pytest.approx(gap, abs=1e-6)
    assert abs(student.logprob_gap(row, trained) - gap) > 1e-4
    assert difference(student.weights(), trained) == 0


def test_a_gradient_that_is_not_finite_stops_before_the_step(tiny_model):
    table = scored(2)
    broken = table.to_pylist()
    broken[0]["teacher_hidden"] = [float("nan")] * len(broken[0]["teacher_hidden"])
    student = Student(config(), tiny_model)
    before = student.weights()
    with pytest.raises(BadBatch, match="not finite: loss"):
        updated(student, pa.Table.from_pylist(broken, schema=table.schema))
    assert difference(student.weights(), before) == 0


def test_metrics_name_every_mechanism(tiny_model):
    sums = Student(config(), tiny_model).update(scored(4), version=50, global_rows=4)
    metrics = finalise_metrics(sums)
    for name in ("agreement_spread", "contrastive_active_fraction", "feature_distance"):
        assert metrics[name] > 0, name
    assert "engine_learner_logprob_gap" not in metrics, "no row of the current version"


def test_the_rate_rises_then_falls_to_a_tenth():
    settings = TrainingConfig(
        max_steps=100, warmup_ratio=0.1, learning_rate=1.0, lr_scheduler_type="cosine"
    )
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == max(rates) == 1.0
    assert 0.1 <= rates[-1] < 0.11
    assert learning_rate(settings.model_copy(update={"lr_scheduler_type": "constant"}), 90) == 1.0


def with_terms(**terms) -> Config:
    return Config.model_validate({"training": {"learning_rate": 1e-2}, "objective": terms})


def test_layers_beside_the_last_are_compared(tiny_model):
    table = scored(3)
    rows = table.to_pylist()
    for row in rows:
        row["teacher_features"] = [0.0] * (2 * len(row["teacher_hidden"]))
    table = pa.Table.from_pylist(rows, schema=table.schema)
    alone = {"divergence": {"weight": 0}, "contrastive": {"weight": 0}}
    last = updated(Student(with_terms(**alone), tiny_model), table)
    layers = {"weight": 1.0, "layers": [0, 1]}
    inner = updated(Student(with_terms(**alone, features=layers), tiny_model), table)
    second_block = [name for name in inner if ".layers.1." in name and "lora_B" in name]
    assert all(inner[name].abs().max() == 0 for name in second_block), "it comes after layer 1"
    assert any(last[name].abs().max() > 0 for name in second_block)


def test_likely_tokens_can_stand_in_for_hidden_states(tiny_model):
    """A teacher whose k covers the vocabulary says all there is to say."""
    table = scored(3)
    terms = {"features": {"weight": 0}}
    student = Student(with_terms(**terms), tiny_model)
    head_VH, rows = student.head_VH.detach(), table.to_pylist()
    for row in rows:
        hidden_TH = torch.tensor(row["teacher_hidden"]).view(-1, head_VH.shape[1])
        logprob_TV = (hidden_TH @ head_VH.T).log_softmax(-1)
        value_TK, index_TK = logprob_TV.topk(len(head_VH))
        picked_T = logprob_TV[range(len(hidden_TH)), row["completion_ids"]]
        row |= {
            "teacher_hidden": None,
            "teacher_topk_ids": index_TK.tolist(),
            "teacher_topk_logprobs": value_TK.tolist(),
            "teacher_logprobs": picked_T.tolist(),
        }
    likely = pa.Table.from_pylist(rows, schema=table.schema)
    short = Student(with_terms(**terms, divergence={"top_k": len(head_VH)}), tiny_model)
    assert difference(updated(student, table), updated(short, likely)) < 1e-5


def test_stale_rows_are_corrected(tiny_model):
    table = scored(3)
    plain, corrected = (
        Student(with_terms(importance={"level": level}), tiny_model) for level in ("off", "token")
    )
    assert difference(updated(plain, table), updated(corrected, table)) > 1e-5
    fresh = Student(with_terms(importance={"level": "token"}), tiny_model)
    fresh.update(table, version=0, global_rows=3)
    same = Student(with_terms(), tiny_model)
    same.update(table, version=0, global_rows=3)
    assert difference(fresh.weights(), same.weights()) == 0


def test_full_fine_tuning_reads_the_teacher_with_its_own_head(tiny_model):
    table = scored(3)
    settings = Config.model_validate(
        {"model": {"finetune": "full"}, "training": {"learning_rate": 1e-3}}
    )
    own, other = (Student(settings, tiny_model) for _ in range(2))
    own.keep_teacher_head(0, own.weights())
    other.teacher_heads = {0: -own.head_VH.detach().clone()}
    before = own.weights()
    first, second = updated(own, table), updated(other, table)
    assert all(difference({n: first[n]}, {n: before[n]}) > 0 for n in before)
    assert difference(first, second) > 1e-4


def test_layers_that_no_trained_weight_comes_before_are_refused(tiny_model):
    alone = {"divergence": {"weight": 0}, "contrastive": {"weight": 0}}
    with pytest.raises(UserError, match=r"objective\.features\.layers"):
        Student(with_terms(**alone, features={"weight": 1.0, "layers": [0]}), tiny_model)


def test_a_restored_step_count_is_where_its_parameter_is(tiny_model):
    """Fused AdamW reads the count on the device; on CUDA a count in host memory is not read."""
    student = Student(config(), tiny_model)
    updated(student, scored(2))
    state = student.optimizer_state()
    # Device "meta" tells apart what is moved from what is left where it came from.
    student.parameters = [torch.nn.Parameter(p.to("meta")) for p in student.parameters]
    student.model = torch.nn.Module()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unisd_core.training.student.load_trained_state", lambda *_: None)
        student.restore({}, state)
    kept = [student.optimizer.state[p] for p in student.parameters]
    assert {value.device.type for entry in kept for value in entry.values()} == {"meta"}
