"""Programs against their tests, in the sandbox: for scores, and for mistakes that show."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from unisd_core.sandbox import Limits, Program, run_program, run_programs
from unisd_core.tasks.code.mutation import mutants
from unisd_core.tasks.row import AnswerScore

_SCORING = Limits(cpu_s=10, wall_s=30.0)
"""The paper's ten seconds, of CPU time: a busy machine must not change a verdict. The memory limit
is ours."""
_CHECKING = Limits(cpu_s=2)
"""For wrong references: one that never ends is refused soon, whatever else the machine does."""
_TRIES = 12
"""Mutants run for one wrong reference before the row is left without."""


def score_programs(programs: Sequence[Program | None]) -> list[AnswerScore]:
    """Right where a program passes its tests, readable where there is one at all. Several run at
    a time."""
    passed = iter(verdict.passed for verdict in run_programs([*filter(None, programs)], _SCORING))
    return [
        AnswerScore(correct=one is not None and next(passed), extracted=one is not None)
        for one in programs
    ]


def passing(programs: Sequence[Program]) -> list[bool]:
    """Whether each of ``programs``, wrong ones, passes its tests. Several run at a time."""
    return [verdict.passed for verdict in run_programs(programs, _CHECKING)]


def loads(code: str) -> bool:
    """Whether ``code`` runs by itself."""
    return run_program(Program(code, ""), _CHECKING).passed


def fails(program: Program) -> bool:
    """Whether ``program`` ends with a failed test or an error. One that runs too long is not a
    wrong answer that can be read as one."""
    return run_program(program, _CHECKING).outcome == "failed"


def failing_mutant(
    code: str, with_tests: Callable[[str], Program], rng: random.Random
) -> str | None:
    """``code``, in the form of ``source.written``, with one small mistake that makes a test of
    ``with_tests`` fail; None where none of the first mutants does."""
    for _, mutant in zip(range(_TRIES), mutants(code, rng), strict=False):
        if fails(with_tests(mutant)):
            return mutant
    return None
