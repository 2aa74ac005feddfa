"""Published ToolAlpaca rows as examples: from a folder or the hub, prompts built where needed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unisd_core.common.errors import UserError
from unisd_core.common.user_text import read_text
from unisd_core.tasks.data import (
    HubSource,
    Record,
    check_unique,
    read_folder,
    read_hub,
    read_jsonl,
)
from unisd_core.tasks.reading.call import Call, read_arguments
from unisd_core.tasks.reading.tool_calls import find_calls
from unisd_core.tasks.toolalpaca.golden import quote_open_values
from unisd_core.tasks.toolalpaca.react import read_thought

logger = logging.getLogger(__name__)

HUB = HubSource("Ahren09/ToolAlpaca")
HUB_SPLITS = ("train", "test")
FOLDER_ONLY = ("eval_simulated", "eval_real")
"""Test sets of the authors of ToolAlpaca that the hub does not have."""


@dataclass(frozen=True)
class Example:
    """One question about one API. ``thought`` is "" where the answer is published without one;
    names in ``calls`` may carry the mark ``golden.OPTIONAL``."""

    index: int
    prompt: str
    api: str
    question: str
    thought: str
    calls: tuple[Call, ...]


def read_examples(data_dir: str | None, split: str) -> list[Example]:
    """Examples of a split in published order.

    ``eval_simulated`` comes without the rows of ``test`` it holds (68 of its 100). A training row
    whose reference holds no readable call is left out, and the number is logged; a test row with
    such an answer is an error. Raises UserError.
    """
    records = _records(data_dir, split)
    if split == "eval_simulated":
        place = records[0].place
        records = [record for record in records if not _in_test(record)]
        if not records:
            raise UserError(f"{place}: all rows are marked 'in_test_68'; add the others")
    prompts = None
    if data_dir is not None and split in FOLDER_ONLY:
        prompts = _Prompts(Path(data_dir) / "toolalpaca")
    examples = []
    unreadable = []
    for record in records:
        api, question = record.text("name"), record.text("instruction")
        prompt = prompts.build(record, api, question) if prompts else record.text("prompt")
        thought, calls = _answer(record)
        if calls:
            examples.append(Example(record.index, prompt, api, question, thought, calls))
        elif split == "train":
            unreadable.append(record.place)
        else:
            raise UserError(
                f"{record.place}: an Action_Input of golden_answer is no JSON object; correct it"
            )
    if not examples:
        raise UserError(f"{records[0].place}: no row of {split} has a reference that can be read")
    if unreadable:
        logger.warning(
            "toolalpaca/train: %d of %d rows left out, since no call can be read from their "
            "references (first: %s)", len(unreadable), len(records), unreadable[0],
        )  # fmt: skip
    return examples


def _records(data_dir: str | None, split: str) -> list[Record]:
    if data_dir is None:
        if split not in HUB_SPLITS:
            raise UserError(
                f"task toolalpaca: {split} is not on the hub; set data_dir to a folder that holds "
                f"toolalpaca/{split}.jsonl, tools.jsonl and prompt_template.txt"
            )
        return read_hub(HUB, split)
    root = Path(data_dir)
    if split == "train" and root.is_dir() and not (root / "toolalpaca" / "train.jsonl").is_file():
        raise UserError(
            f"data_dir: {data_dir} has no toolalpaca/train.jsonl; the training rows are published "
            f"on the hub only ({HUB.repository}): leave data_dir out, or save them as that file"
        )
    return read_folder(data_dir, "toolalpaca", split)


def _in_test(record: Record) -> bool:
    value = record.fields.get("in_test_68")
    if not isinstance(value, bool):
        raise UserError(f"{record.place}: field 'in_test_68' must be true or false")
    return value


def _answer(record: Record) -> tuple[str, tuple[Call, ...]]:
    """Thought and calls of the reference; no calls where one cannot be read.

    ``golden_response`` where it is filled (the training rows), else ``golden_answer``.
    """
    response = _response(record)
    if response.strip():
        reading = find_calls(response)
        if not reading.clean:
            reading = find_calls(quote_open_values(response))
        # The label may be missing here: whatever precedes the first action is the thought.
        return read_thought(f"Thought:\n{response}"), reading.calls if reading.clean else ()
    entries = record.fields.get("golden_answer")
    if not isinstance(entries, list) or not entries:
        raise UserError(
            f"{record.place}: field 'golden_answer' must be a list of calls where "
            "'golden_response' is empty"
        )
    calls = []
    for number, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        action, text = fields.get("Action"), fields.get("Action_Input")
        if not isinstance(action, str) or not action.strip() or not isinstance(text, str):
            raise UserError(
                f"{record.place}: entry {number} of 'golden_answer' must have texts 'Action' and "
                "'Action_Input'"
            )
        arguments = read_arguments(text)
        if arguments is None:
            arguments = read_arguments(quote_open_values(text))
        if arguments is None:
            return "", ()
        calls.append(Call(action.strip(), arguments))
    return "", tuple(calls)


def _response(record: Record) -> str:
    if isinstance(record.fields.get("golden_response"), list):
        return "\n".join(record.texts("golden_response"))
    return record.optional_text("golden_response")


class _Prompts:
    """Builds the prompts of sets that are published as tools and questions."""

    def __init__(self, folder: Path) -> None:
        tools = read_jsonl(folder / "tools.jsonl")
        names = [tool.text("name") for tool in tools]
        check_unique(tools, [f"name {name!r}" for name in names])
        self._tools = dict(zip(names, tools, strict=True))
        self._path = folder / "prompt_template.txt"
        self._template = read_text(self._path)

    def build(self, record: Record, api: str, question: str) -> str:
        tool = self._tools.get(api)
        if tool is None:
            raise UserError(f"{record.place}: tools.jsonl has no {api!r}; add it")
        fields: Mapping[str, str] = {
            "name": api,
            "description": tool.text("description"),
            "nl": tool.text("nl_documentation"),
            "q": question,
        }
        try:
            return self._template.format(**fields)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"{self._path}: must be a template of {', '.join(fields)} ({error!r})"
            ) from error
