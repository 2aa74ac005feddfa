"""Letters of custom rows: an answer given as an option's text, label or index."""

from __future__ import annotations

import re
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.data import Record, number_text
from unisd_core.tasks.multiple_choice.data import LETTERS
from unisd_core.tasks.multiple_choice.options import Options, read_options

_LETTER = re.compile(r"\W*([A-J])\W*")


def lettered(record: Record) -> Record:
    """``record`` with ``choices`` as a list of texts, and with letters for a ``reference`` or
    ``answer`` that is an option's text or label. ``answer_index`` counts from 0; it and ``answer``
    also give the reference where the row has none.

    Raises UserError where the row says two things, or a number that may count from 0 or 1.
    """
    if record.fields.get("choices") is None:
        return record
    options = read_options(record)
    reference, answer = (_letter(record, key, options) for key in ("reference", "answer"))
    index = record.optional_integer("answer_index", 0, min(len(options.texts), len(LETTERS)) - 1)
    if index is not None:
        said = answer and _LETTER.fullmatch(str(answer))
        if answer and (not said or said[1] != LETTERS[index]):
            raise UserError(
                f"{record.place}: field 'answer_index' is {index}, which is {LETTERS[index]}, and "
                "'answer' says something else; remove one of them"
            )
        answer = LETTERS[index]
    if reference is None and isinstance(answer, str) and (said := _LETTER.fullmatch(answer)):
        reference = said[1]
    return record.plus(choices=options.texts, reference=reference, answer=answer)


def _letter(record: Record, key: str, options: Options) -> Any:
    """The letter of the option that field ``key`` names by its text or label; the field itself
    where it names none so, for then the metric reads it."""
    value = record.fields.get(key)
    number = number_text(value)
    text = value if number is None else number
    if not isinstance(text, str) or not text.strip():
        return value
    wanted = " ".join(text.split())
    named = {i for i, option in enumerate(options.texts) if " ".join(option.split()) == wanted}
    twice = len(named) > 1
    if options.labels and wanted in options.labels:
        named.add(options.labels.index(wanted))
    bare = _LETTER.fullmatch(wanted)
    if bare:
        named.add(LETTERS.index(bare[1]))
    if len(named) > 1:
        several = "equals two of 'choices'" if twice else "may be an option's letter or its text"
        raise UserError(f"{record.place}: field {key!r} {several}; give its answer_index, from 0")
    if not named and number is not None:
        raise UserError(
            f"{record.place}: field {key!r} is the number {number}, which may count 'choices' from "
            "0 or 1; write the letter or the text, or name the field answer_index (from 0)"
        )
    index = next(iter(named), len(LETTERS))
    return value if bare or index >= len(LETTERS) else LETTERS[index]
