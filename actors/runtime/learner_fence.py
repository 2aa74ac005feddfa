"""Learner fence: refuses what learners still send after others have taken their place.

Each group of learners that starts is an incarnation. The gate numbers them, and a group sends its
number, a fencing token, with every step, version and checkpoint. It may live on after its
controller is gone; whoever has seen a later incarnation refuses it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class LearnerFence:
    """The latest incarnation that one actor has seen; those it begins are later than ``floor``.
    Refusals are logged and given to ``tell``."""

    def __init__(self, tell: Callable[[str], None], floor: int = 0) -> None:
        self._tell, self._floor = tell, floor
        self.incarnation = 0

    def begin(self, known: int) -> int:
        """A new incarnation, later than all before it and than ``known``."""
        self.incarnation = max(self.incarnation, known, self._floor) + 1
        return self.incarnation

    def check(self, incarnation: int, what: str) -> None:
        """Take notice of ``incarnation``, whose learners ask for ``what``. Raises RuntimeError
        where a later one has begun."""
        if incarnation < self.incarnation:
            refusal = (
                f"{what} was refused: learners of incarnation {incarnation} were replaced by those "
                f"of incarnation {self.incarnation}"
            )
            log.warning(refusal)
            self._tell(refusal)
            raise RuntimeError(refusal)
        self.incarnation = incarnation
