"""Multiple-choice questions: a prompt with lettered options, the letter as metric.

The prompt follows the published template in other words: instruction, optional lecture as
context, question, options, answer form. A dataset's ``hint`` passage is not shown, as in the
paper. Options are shuffled per row, so that a letter says nothing by itself.
"""

from __future__ import annotations

import dataclasses
import random
import re

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.base import Task
from unisd_core.tasks.multiple_choice.data import (
    LETTERS,
    REASONING_CHARACTERS,
    ChoiceDataset,
    Question,
    last_sentences,
    read_questions,
)
from unisd_core.tasks.multiple_choice.listing import whole_question
from unisd_core.tasks.reading.choices import extract_choice
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row

_MISTAKEN_STUDENT = (
    "Question: {question}\n{options}\n\n"
    "Play a student who is mistaken but sure that {letter} ({text}) is right. Argue in two to four "
    "sentences for {letter}. Write the argument alone, and name no other option as the answer."
)
_LEADING_LABEL = re.compile(r"\A\s*\**(?:reasoning|argument)\**\s*:\s*\**\s*", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"^\s*\**answer\**\s*:.*\Z", re.IGNORECASE | re.MULTILINE | re.DOTALL)


class MultipleChoice(Task):
    """Rows of one multiple-choice dataset, read from ``data_dir`` or, when None, the hub."""

    def __init__(self, dataset: ChoiceDataset, data_dir: str | None, seed: int) -> None:
        self.name = dataset.name
        self.test_splits = dataset.test_splits
        self.trains = dataset.trains
        self.private = dataset.private
        self.max_completion_length = dataset.max_completion_length
        self._dataset = dataset
        self._data_dir = data_dir
        self._seed = seed
        self._rows: dict[str, list[Row]] = {}

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or a test split in published order, read once; see Task.rows."""
        self.check_split(split)
        if split not in self._rows:
            self._rows[split] = [
                self._row(f"{self.name}/{split}/{question.key}", question)
                for question in read_questions(self._dataset, self._data_dir, split)
            ]
        return list(self._rows[split])

    def _row(self, uid: str, question: Question) -> Row:
        order = list(range(len(question.options)))
        random.Random(f"{self._seed}/{uid}").shuffle(order)
        options = [question.options[index] for index in order]
        letters = LETTERS[: len(options)]
        answer = letters[order.index(question.correct)]
        # Some published rows list the right text twice; either letter is then the right choice.
        right_text = options[letters.index(answer)]
        accepted = "".join(
            x for x, text in zip(letters, options, strict=True) if text == right_text
        )
        lines = [f"{x}. {text}" for x, text in zip(letters, options, strict=True)]
        return Row(
            uid=uid,
            prompt=self._prompt(question, lines, letters),
            reference=_reference(question.reasoning, answer),
            details={
                "letter": answer,
                "accepted": accepted,
                "question": question.text,
                "options": options,
            },
            retrieval_text="\n".join([question.text, *options]),
            question=whole_question(question.text, options),
            hint=question.reasoning,
            category=question.subject,
        )

    def _prompt(self, question: Question, lines: list[str], letters: str) -> str:
        context = [f"Context: {question.lecture}"] if question.lecture else []
        form = f"Answer: <{'/'.join(letters)}>"
        if self._dataset.explains:
            ask = "Explain briefly, in at most three short sentences, then give the letter alone:"
            form = f"Reasoning: <explanation>\n{form}"
        else:
            ask = "Reply with the letter of the right option alone:"
        return "\n".join(
            [
                "Answer this multiple-choice question.",
                *context,
                f"Question: {question.text}",
                *lines,
                ask,
                form,
            ]
        )

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """A wrong letter argued for in the template of the reference (docs/method.md, "Wrong
        references").

        Where the explanation names the right option, that text and the wrong option's text
        change places, which keeps its length and style; otherwise a neutral sentence names the
        wrong option. None when every option is right.
        """
        options = row.details["options"]
        letters = LETTERS[: len(options)]
        wrong = _wrong_letters(row)
        if not wrong:
            return None
        letter = rng.choice(wrong)
        right_text = options[letters.index(row.details["letter"])]
        wrong_text = options[letters.index(letter)]
        reasoning = row.hint and _exchange(row.hint, right_text, wrong_text)
        return dataclasses.replace(row, reference=_reference(reasoning, letter), hint=reasoning)

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest | None:
        """A mistaken student's argument for one of the wrong letters in turn. None where the
        reference is the letter alone, for then nothing is left to write."""
        wrong = _wrong_letters(row)
        if not wrong or not row.hint:
            return None
        options = row.details["options"]
        letter = wrong[number % len(wrong)]

        def read(text: str) -> Row | None:
            argument = _ANSWER_LINE.sub("", _LEADING_LABEL.sub("", after_thought(text), count=1))
            reasoning = last_sentences(argument, REASONING_CHARACTERS)
            if not reasoning or self.score(row, reasoning).correct:
                return None
            return dataclasses.replace(row, reference=_reference(reasoning, letter), hint=reasoning)

        return NegativeRequest(
            kind=f"{self.name}/mistaken-{letter}/1",
            prompt=_MISTAKEN_STUDENT.format(
                question=row.details["question"],
                options="\n".join(
                    f"{x}. {text}" for x, text in zip(LETTERS, options, strict=False)
                ),
                letter=letter,
                text=options[LETTERS.index(letter)],
            ),
            read=read,
        )

    def demonstration(self, row: Row) -> str:
        """Question, options, answer and, where there is one, the explanation; no instruction."""
        options = row.details["options"]
        lines = [f"{x}) {text}" for x, text in zip(LETTERS, options, strict=False)]
        explanation = [f"Explanation: {row.hint}"] if row.hint else []
        return "\n".join(
            [
                f"Question: {row.details['question']}",
                *lines,
                f"Answer: {row.details['letter']}",
                *explanation,
            ]
        )

    def score(self, row: Row, completion: str) -> AnswerScore:
        """Whether the extracted letter is the right one; see ``extract_choice``."""
        options = row.details["options"]
        letter = extract_choice(completion, LETTERS[: len(options)], options)
        return AnswerScore(
            correct=letter is not None and letter in row.details["accepted"],
            extracted=letter is not None,
        )


def _wrong_letters(row: Row) -> list[str]:
    letters = LETTERS[: len(row.details["options"])]
    return [letter for letter in letters if letter not in row.details["accepted"]]


def _reference(reasoning: str, letter: str) -> str:
    return f"Reasoning: {reasoning}\nAnswer: {letter}" if reasoning else f"Answer: {letter}"


def _exchange(text: str, right: str, wrong: str) -> str:
    """``text`` with the two options' texts exchanged, or a sentence for ``wrong`` when ``right``
    is not named. Options over several lines are put on one, as explanations are."""
    bare_right, bare_wrong = (" ".join(o.split()).rstrip(".") or o for o in (right, wrong))

    def pattern(option: str) -> str:
        return rf"(?<!\w){re.escape(option)}(?!\w)"

    if not re.search(pattern(bare_right), text, re.IGNORECASE):
        return f'Of the options, "{bare_wrong}" fits the question best.'
    # Longest first, so that an option that contains the other is taken whole.
    either = "|".join(pattern(o) for o in sorted((bare_right, bare_wrong), key=len, reverse=True))
    return re.sub(
        either,
        lambda match: bare_wrong if match[0].lower() == bare_right.lower() else bare_right,
        text,
        flags=re.IGNORECASE,
    )
