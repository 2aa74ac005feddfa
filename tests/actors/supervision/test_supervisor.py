"""The supervisor asks one question at a time and reports whoever is late, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from actors.supervision.supervisor import Supervisor

LIMIT_S = 5.0


class Watched:
    """An actor that is asked and reported."""

    def __init__(self) -> None:
        self.questions: list[Future[str]] = []
        self.answers: list[str] = []
        self.lost: list[str] = []

    def ask(self) -> Future[str]:
        self.questions.append(Future())
        return self.questions[-1]


class Round:
    """A supervisor with an interval of one second, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.supervisor = Supervisor(interval_s=1.0, clock=lambda: self.now)

    def watch(self, leaves: bool = False) -> Watched:
        watched = Watched()

        def lost(error: BaseException) -> None:
            watched.lost.append(str(error))
            if leaves:
                self.supervisor.unregister("a")

        self.supervisor.register("a", LIMIT_S, watched.ask, lost, watched.answers.append)
        self.supervisor.look()
        return watched

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.supervisor.look()


@pytest.fixture
def rounds() -> Round:
    return Round()


def test_the_next_question_follows_the_answer_an_interval_after_the_last(rounds: Round) -> None:
    watched = rounds.watch()
    watched.questions[0].set_result("well")
    rounds.wait(0.5)
    assert watched.answers == ["well"] and len(watched.questions) == 1
    rounds.wait(0.5)
    rounds.wait(LIMIT_S)
    assert len(watched.questions) == 2 and watched.lost == []


def test_an_actor_that_does_not_answer_in_time_is_lost_once(rounds: Round) -> None:
    watched = rounds.watch(leaves=True)
    rounds.wait(LIMIT_S)
    assert watched.lost == []
    rounds.wait(0.1)
    rounds.wait(2 * LIMIT_S)
    assert watched.lost == ["gave no sign of life for 5 s"] and len(watched.questions) == 1


def test_an_error_is_an_answer_of_a_lost_actor(rounds: Round) -> None:
    watched = rounds.watch(leaves=True)
    watched.questions[0].set_exception(RuntimeError("died"))
    rounds.wait(0.1)
    assert watched.lost == ["died"] and watched.answers == []


def test_a_lost_actor_that_stays_registered_gets_the_whole_time_again(rounds: Round) -> None:
    watched = rounds.watch()
    rounds.wait(LIMIT_S + 0.1)
    rounds.wait(1.0)
    assert len(watched.lost) == 1 and len(watched.questions) == 2
    rounds.wait(LIMIT_S)
    assert len(watched.lost) == 1
    rounds.wait(0.1)
    assert len(watched.lost) == 2


def test_an_actor_at_work_is_asked_nothing_and_lost_when_the_work_takes_too_long(
    rounds: Round,
) -> None:
    watched = rounds.watch(leaves=True)
    rounds.supervisor.begin_work("a")
    watched.questions[0].set_exception(RuntimeError("an old question counts no more"))
    rounds.wait(LIMIT_S)
    assert watched.lost == [] and len(watched.questions) == 1
    rounds.wait(0.1)
    assert watched.lost == ["stuck for 5 s"]


def change_nothing(supervisor: Supervisor) -> None:
    supervisor.end_work("a")


def begin_again(supervisor: Supervisor) -> None:
    supervisor.begin_work("a")


@pytest.mark.parametrize("then", [change_nothing, begin_again])
def test_work_that_ends_or_begins_again_in_time_costs_nobody_anything(
    rounds: Round, then: Callable[[Supervisor], None]
) -> None:
    watched = rounds.watch()
    rounds.supervisor.begin_work("a")
    rounds.wait(LIMIT_S - 0.1)
    then(rounds.supervisor)
    rounds.wait(0.2)
    assert watched.lost == []


def test_whoever_is_no_longer_registered_may_end_its_work(rounds: Round) -> None:
    rounds.supervisor.end_work("somebody else")
    watched = rounds.watch()
    rounds.supervisor.unregister("a")
    rounds.supervisor.end_work("a")
    rounds.wait(2 * LIMIT_S)
    assert watched.lost == []
