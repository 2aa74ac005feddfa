from __future__ import annotations

from actors.admission.idle_time import IdleShares, IdleTimer


def test_the_timer_adds_up_who_had_nothing_to_do() -> None:
    now = [0.0]
    timer = IdleTimer(lambda: now[0])
    for at, learner, generators in [(0, True, False), (3, False, False), (4, False, True)]:
        now[0] = at
        timer.note(learner, generators)
    now[0] = 10
    assert timer.take() == IdleShares(0.3, 0.6, 10)
    now[0] = 12
    assert timer.take() == IdleShares(0.0, 1.0, 2)
