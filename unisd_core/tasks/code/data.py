"""MBPP and HumanEval: the fields that are read from a row, and the places of the rows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from unisd_core.common.errors import UserError
from unisd_core.tasks.code.source import defines, parse, written
from unisd_core.tasks.data import HubSource, Record, check_unique, read_folder, read_hub


@dataclass(frozen=True)
class Problem:
    """One function to write.

    ``text`` is what the student is told about it. ``function`` is the name that ``tests``, a
    program that raises unless all is well, calls. ``also`` are other names of the reference that
    the tests use. ``stub`` is the head of the function where the student only completes it. The
    ``reference`` is in the form of ``source.written``.
    """

    key: str
    text: str
    function: str
    signature: str
    tests: str
    reference: str
    also: tuple[str, ...] = ()
    stub: str = ""


@dataclass(frozen=True)
class Split:
    """Where the rows of one split are: ``<data_dir>/<task>/<file>.jsonl``, or a split of the
    hub's dataset."""

    file: str
    hub: HubSource
    hub_split: str


@dataclass(frozen=True)
class CodeDataset:
    """What differs between the two sets."""

    name: str
    splits: Mapping[str, Split]
    problem: Callable[[Record], Problem]


def read_problems(dataset: CodeDataset, data_dir: str | None, split: str) -> list[Problem]:
    """Every problem of ``split`` in published order, from ``data_dir`` or, when None, the hub.

    Raises UserError naming the row for a field that is missing or of the wrong type, a program
    that is not Python or lacks what the tests call, and an id used twice.
    """
    source = dataset.splits[split]
    if data_dir is None:
        records = read_hub(source.hub, source.hub_split)
    else:
        records = read_folder(data_dir, dataset.name, source.file)
    problems = [dataset.problem(record) for record in records]
    check_unique(records, [f"task_id {problem.key}" for problem in problems])
    return problems


def _mbpp(record: Record) -> Problem:
    """A row of the full or the sanitized set, which name two fields differently."""
    code = _unix(record.text("code"))
    asserts = [_unix(test) for test in record.texts("test_list")]
    imports = record.texts("test_imports") if "test_imports" in record.fields else []
    # Two rows build their trees from classes of the solution, so the set-up comes after it.
    tests = "\n".join([*imports, _unix(record.optional_text("test_setup_code")), *asserts])
    solution, program = _python(record, "code", code), _python(record, "test_list", tests)
    functions = {node.name: node for node in solution.body if isinstance(node, ast.FunctionDef)}
    # Breadth first, so that of nested calls the outer one is the function under test.
    called = (
        node.func.id
        for statement in program.body
        if isinstance(statement, ast.Assert)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    function = next((name for name in called if name in functions), None)
    if function is None:
        raise UserError(
            f"{record.place}: field 'test_list' calls no function that 'code' defines; fix the row"
        )
    reference = _written(record, "code", solution)
    read = {node.id for node in ast.walk(program) if isinstance(node, ast.Name)} - {function}
    classes = [node.name for node in solution.body if isinstance(node, ast.ClassDef)]
    return Problem(
        key=str(record.integer("task_id", 0, 10**9)),
        text=record.text("text" if "text" in record.fields else "prompt").strip(),
        function=function,
        signature=_signature(functions[function]),
        tests=tests.strip(),
        reference=reference,
        also=tuple(name for name in [*classes, *functions] if name in read),
    )


def _humaneval(record: Record) -> Problem:
    stub, function = _unix(record.text("prompt")), record.text("entry_point")
    if not defines(stub, function):
        raise UserError(
            f"{record.place}: field 'prompt' must be Python that begins {function}; fix the row"
        )
    tests = _unix(record.text("test"))
    if not defines(tests, "check"):
        raise UserError(
            f"{record.place}: field 'test' must be Python that defines check(candidate); "
            "fix the row"
        )
    if not any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(ast.parse(tests))):
        raise UserError(f"{record.place}: field 'test' asserts nothing; fix the row")
    solution = _python(
        record, "canonical_solution", stub + _unix(record.text("canonical_solution"))
    )
    return Problem(
        key=record.text_or_number("task_id"),
        text=stub,
        function=function,
        signature="",
        tests=f"{tests}\ncheck({function})",
        reference=_written(record, "canonical_solution", solution),
        stub=stub,
    )


def _python(record: Record, key: str, code: str) -> ast.Module:
    tree = parse(code)
    if tree is None:
        raise UserError(f"{record.place}: field {key!r} is not Python; fix the row")
    return tree


def _written(record: Record, key: str, tree: ast.Module) -> str:
    code = written(tree)
    if code is None:
        raise UserError(
            f"{record.place}: field {key!r} cannot be written as Python again; shorten its numbers "
            "or nesting"
        )
    return code


def _signature(function: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"def {function.name}({ast.unparse(function.args)}){returns}:"


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


_MBPP = "google-research-datasets/mbpp"
MBPP = CodeDataset(
    "mbpp",
    {
        "train": Split("full_train", HubSource(_MBPP, "full"), "train"),
        "test": Split("sanitized_test", HubSource(_MBPP, "sanitized"), "test"),
    },
    _mbpp,
)
HUMANEVAL = CodeDataset(
    "humaneval",
    {"test": Split("test", HubSource("openai/openai_humaneval"), "test")},
    _humaneval,
)
