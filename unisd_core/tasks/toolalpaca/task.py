"""The toolalpaca task: published questions about APIs, answered by calls in ReAct form."""

from __future__ import annotations

import dataclasses
import random

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.minitools.mistakes import MISTAKES, mistake_prompt
from unisd_core.tasks.reading.call import Call, Reading
from unisd_core.tasks.reading.call_comparison import score_calls
from unisd_core.tasks.reading.tool_calls import find_calls
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row
from unisd_core.tasks.toolalpaca.corruption import RULES, corrupt
from unisd_core.tasks.toolalpaca.data import FOLDER_ONLY, Example, read_examples
from unisd_core.tasks.toolalpaca.documentation import documented_tools
from unisd_core.tasks.toolalpaca.golden import accepted, filled, named, published_match, same_text
from unisd_core.tasks.toolalpaca.mistakes import read_wrong_answer
from unisd_core.tasks.toolalpaca.react import plain_thought, retell, write_reference


class ToolAlpaca(Task):
    """The paper's tool-use set: 4,046 training rows (hub), 68 test rows.

    A folder may also hold the two evaluation sets of ToolAlpaca: ``eval_simulated``, 32 rows once
    the 68 that are ``test`` are taken out, and ``eval_real``, 80 rows. In 30 of the 32 a value
    depends on the result of an earlier call; it is left open, so any value counts.
    """

    name = "toolalpaca"
    max_completion_length = 512

    def __init__(self, data_dir: str | None) -> None:
        self.test_splits = ("test",) if data_dir is None else ("test", *FOLDER_ONLY)
        self._data_dir = data_dir
        self._rows: dict[str, list[Row]] = {}

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or a test split in published order, read once; see ``read_examples``."""
        names = ("train", "test", *FOLDER_ONLY)
        if split not in names:
            raise UserError(
                f"task {self.name}: no split {split!r}; choose one of {', '.join(names)}"
            )
        if split not in self._rows:
            self._rows[split] = [
                _row(split, example) for example in read_examples(self._data_dir, split)
            ]
        return list(self._rows[split])

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """``row`` with its calls made wrong by the first of ``RULES``, in random order, that
        applies, and the thought to match."""
        right = named(_gold_calls(row))
        tools = documented_tools(row.prompt)
        for rule in rng.sample(RULES, len(RULES)):
            calls = corrupt(rule, right, tools, row.details["question"], rng)
            if calls is None:
                continue
            own = row.details["thought"]
            thought = retell(own, right, calls) if own else plain_thought(calls)
            wrong = _with_reference(row, thought, calls)
            if not self.score(row, wrong.reference).correct:
                return wrong
        return None

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest:
        """One of the kinds of ``MISTAKES`` in turn; what comes back is rewritten in the
        template of the reference."""
        kind = list(MISTAKES)[number % len(MISTAKES)]
        right = named(_gold_calls(row))
        known = {*documented_tools(row.prompt), *(call.action for call in right)}

        def read(text: str) -> Row | None:
            answer = read_wrong_answer(text, known, len(right))
            if answer is None:
                return None
            wrong = _with_reference(row, *answer)
            return None if self.score(row, wrong.reference).correct else wrong

        return NegativeRequest(
            f"{self.name}/{kind}/1", mistake_prompt(kind, row.prompt, row.reference), read
        )

    def demonstration(self, row: Row) -> str:
        """The question and its reference, without documentation."""
        return f"Question: {row.details['question']}\n{row.reference}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        """``correct`` asks for the gold calls in order, optional ones or not, with the gold
        arguments and no other; see ``find_calls`` and ``same_text``.

        ``parts["action"]`` is 1 for the right tools in order, ``parts["arguments"]`` the share of
        right arguments, and ``parts["published"]`` full accuracy by the paper's lenient rule.
        """
        gold = _gold_calls(row)
        found = find_calls(completion)
        reading = Reading(tuple(map(filled, found.calls)), found.clean)
        score = max(
            (score_calls(reading, list(map(filled, c)), same_text) for c in accepted(gold)),
            key=lambda score: (score.correct, score.parts["action"], score.parts["arguments"]),
        )
        published = float(published_match(found.calls, gold))
        return dataclasses.replace(score, parts={**score.parts, "published": published})


def _row(split: str, example: Example) -> Row:
    calls = named(example.calls)
    thought = example.thought or plain_thought(calls)
    return Row(
        uid=f"toolalpaca/{split}/{example.index:05d}",
        prompt=example.prompt,
        reference=write_reference(thought, calls),
        details={
            "question": example.question,
            "thought": example.thought,
            "calls": [{"action": c.action, "arguments": dict(c.arguments)} for c in example.calls],
        },
        retrieval_text=example.question,
        question=f"{example.api}\n{example.question}",
        hint=thought,
        category=example.api,
    )


def _with_reference(row: Row, thought: str, calls: list[Call]) -> Row:
    return dataclasses.replace(row, reference=write_reference(thought, calls), hint=thought)


def _gold_calls(row: Row) -> list[Call]:
    return [Call(call["action"], call["arguments"]) for call in row.details["calls"]]
