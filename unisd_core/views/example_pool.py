"""Example pool: rows that may be shown, solved, to another row without giving its answer away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row, drawn, question_key

_COMMON_SHARE = 0.05
_COMMON_ROWS = 5


class ExamplePool:
    """Rows as possible examples, with the rule that keeps a row's own answer out of its contexts.

    Of more than ``size`` rows (0: no limit) that many are drawn, the same whatever their order.
    An example may not ask the same question (``question_key``), nor contain the row's answer
    (``Task.secret``). The second rule is waived for answers that many rows share (at least 5 rows
    and 5 % of them): where the answer is "Answer: B", examples without it would be impossible to
    read as neutral, for the answer is then the one that never occurs.
    """

    def __init__(self, rows: Sequence[Row], task: Task, size: int = 0) -> None:
        rows = drawn(rows, size, "examples/") if size else rows
        self._task = task
        self.rows = sorted(rows, key=lambda row: row.uid)
        """Ordered by uid, so that no result depends on the order in which rows were given."""
        self.index = {row.uid: number for number, row in enumerate(self.rows)}
        self.demonstrations = [task.demonstration(row) for row in self.rows]
        self._questions = [question_key(row) for row in self.rows]
        self._secrets = [task.secret(row).strip() for row in self.rows]
        counted = Counter(self._secrets)
        threshold = max(_COMMON_ROWS, _COMMON_SHARE * len(self.rows))
        self._common = {text for text, count in counted.items() if count >= threshold or not text}

    def question(self, row: Row) -> str:
        """The ``question_key`` of ``row``."""
        known = self.index.get(row.uid)
        return question_key(row) if known is None else self._questions[known]

    def gives_away(self, row: Row, text: str) -> bool:
        """Whether ``text``, written by a model, holds the row's answer in any case and
        spacing. Answers that many rows share are waived as above."""
        secret = self._secret(row)
        return secret not in self._common and _folded(secret) in _folded(text)

    def choose(self, row: Row, ranking: Iterable[int], count: int) -> list[str] | None:
        """Demonstrations of the first ``count`` admissible rows in ``ranking`` (indices into
        ``rows``) that ask different questions; None when there are fewer."""
        secret = self._secret(row)
        asked = {self.question(row)}
        chosen: list[str] = []
        for other in ranking:
            question, text = self._questions[other], self.demonstrations[other]
            if question in asked:
                continue
            if secret not in self._common and (secret in text or secret == self._secrets[other]):
                continue
            asked.add(question)
            chosen.append(text)
            if len(chosen) == count:
                return chosen
        return None

    def _secret(self, row: Row) -> str:
        known = self.index.get(row.uid)
        return self._task.secret(row).strip() if known is None else self._secrets[known]

    def too_few(self, row: Row, count: int) -> UserError:
        """The error for a row that ``choose`` could not serve from a complete ranking."""
        return UserError(
            f"row {row.uid}: fewer than views.num_auxiliary={count} of the {len(self.rows)} rows "
            "can be examples for it (others have the same question or answer); lower "
            "views.num_auxiliary or use more rows"
        )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
