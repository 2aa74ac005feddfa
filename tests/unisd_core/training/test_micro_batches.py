"""Scored rows as tensors of the table's own memory."""

from __future__ import annotations

import pyarrow as pa
import torch

from tests.support.rows import scored
from unisd_core.common.columns import list_array, row_values
from unisd_core.common.schema import SCORED_BFLOAT16
from unisd_core.config.run import Config
from unisd_core.training.micro_batches import micro_batch, scored_rows
from unisd_core.training.student import Student

HIDDEN = 64


def in_bfloat16(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """``table`` with its states rounded to bfloat16, as bits and as float32."""
    rows = [torch.from_dlpack(v).bfloat16() for v in row_values(table["teacher_hidden"])]
    index = table.schema.get_field_index("teacher_hidden")
    bits = list_array([r.view(torch.uint16).numpy() for r in rows], pa.large_list(pa.uint16()))
    whole = list_array([r.float().numpy() for r in rows], pa.large_list(pa.float32()))
    columns = {name: table[name] for name in table.schema.names if name != "teacher_features"}
    columns |= {"teacher_hidden": bits, "teacher_features": pa.nulls(len(rows), bits.type)}
    wire = pa.table([columns[name] for name in table.schema.names], schema=SCORED_BFLOAT16)
    return wire, table.set_column(index, table.schema.field(index), whole)


def batch_of(rows, hidden: int = HIDDEN):
    count = sum(len(row["completion_ids"]) for row in rows)
    options = {"version": 0, "global_rows": len(rows), "clip": None, "teacher_head_VH": None}
    return micro_batch(rows, torch.zeros(count, hidden), None, **options)


def test_states_of_one_row_are_those_of_the_table() -> None:
    table = scored(3, hidden=HIDDEN)
    for row, values in zip(scored_rows(table), row_values(table["teacher_hidden"]), strict=True):
        states = batch_of([row]).teacher_hidden_NH
        assert states is not None
        assert states.data_ptr() == values.to_numpy().__array_interface__["data"][0]


def test_rows_follow_each_other() -> None:
    table = scored(4, hidden=HIDDEN)
    batch = batch_of(scored_rows(pa.concat_tables([table.slice(2), table.slice(0, 2)])))
    plain = table.to_pylist()[2:] + table.to_pylist()[:2]
    assert batch.token_N.tolist() == [x for row in plain for x in row["completion_ids"]]
    for name, found in (
        ("teacher_hidden", batch.teacher_hidden_NH),
        ("negative_logprobs", batch.negative_logprob_N),
        ("token_weights", batch.token_weight_N),
        ("logprobs", batch.behaviour_logprob_N),
    ):
        assert found is not None
        assert found.flatten().tolist() == [x for row in plain for x in row[name]]


def test_bfloat16_states_train_as_the_same_numbers_in_float32(tiny_model) -> None:
    config = Config.model_validate({"training": {"learning_rate": 1e-2}})
    tables = in_bfloat16(scored(4))
    students = [Student(config, tiny_model) for _ in tables]
    sums = [student.update(table) for student, table in zip(students, tables, strict=True)]
    assert sums[0] == sums[1]
    first, second = (student.weights() for student in students)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_update_leaves_the_batch_as_it_is(tiny_model) -> None:
    config = Config.model_validate({"training": {"micro_batch_tokens": 1}})
    table = scored(3)
    before = table.to_pylist()
    Student(config, tiny_model).update(table)
    assert table.to_pylist() == before
