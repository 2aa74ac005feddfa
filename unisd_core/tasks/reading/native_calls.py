"""Calls in the forms of the model families: JSON, a name before its arguments, tags, Python.

Special tokens stand around a call or not: decoding may have taken them out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from unisd_core.tasks.reading.call import Call, Reading, read_arguments, read_json
from unisd_core.tasks.reading.json_calls import calls_of
from unisd_core.tasks.reading.python_calls import closing, python_calls
from unisd_core.tasks.reading.tagged_calls import TAG, TAGGED_NAME, read_tagged

# Repetitions are possessive or bounded, since model text may hold long runs of anything.
_MARK = (
    r"\[/?TOOL_CALLS\]|</?(?:\w{1,20}[:_])?tool_calls?>|<\|/?tool_calls?[\w▁]{0,40}+\|?>"
    r"|<tool_calls?\|>|<\|python_tag\|>|<｜tool[\w▁]{0,40}+｜>|</?(?:｜DSML｜)?function_calls?>"
    r"|</?TOOLCALL>|<\|(?:START|END)_ACTION\|>|<\|action_(?:start|end)\|>|<\|plugin\|>"
    r"|\bfunctools(?=\[)|</?start_function_call>"
)
_END = (
    r"<\|(?:im_end|eot_id|eom_id|end|call|endoftext|END_OF_TURN_TOKEN)\|>|</s>|<end_of_turn>|<eos>"
)
_IS_MARK = re.compile(_MARK)
_NOISE = re.compile(rf"{_MARK}|{_END}|`{{3,}}[\w-]*+|[\s,;]++")
"""What may stand around calls in an answer that holds nothing else."""
_OPENING = re.compile(
    r"(?P<skip>\[/?(?:TOOL_CALLS|ARGS|CALL_ID)\])"
    rf"|(?P<tagged>{TAG}|{TAGGED_NAME})"
    r"|(?P<python>\[\s*+[A-Za-z_][\w.]*+\()"
    r"|[\[{]"
)
_NAME = r"[A-Za-z_][\w.-]*+"
_BEFORE_ARGUMENTS = re.compile(
    # Mistral, DeepSeek-V3.1 and Kimi, whose names carry a namespace and a number.
    rf"(?:(?P<sure>[>\]])|\A|\n)[ \t]*+(?:functions\.(?P<kimi>{_NAME}):\d++|(?P<mistral>{_NAME}))"
    r"(?P<mark>(?:\[CALL_ID\][\w-]{1,40}+)?\[ARGS\]|<｜tool▁sep｜>|<\|tool_call_argument_begin\|>)?+\Z"
    # DeepSeek-V3 and R1.
    rf"|(?:<｜tool▁sep｜>|(?:\A|[\n>])function)(?P<deepseek>{_NAME})\s*+```(?:json)?\s*+\Z"
    # gpt-oss.
    rf"|\bto=functions\.(?P<harmony>{_NAME})(?:<\|channel\|>\w++)?\s*+(?:<\|constrain\|>)?\s*+"
    r"(?:json)?\s*+(?:<\|message\|>)?\s*+\Z"
)
_FENCED = re.compile(r"```[\w-]*+\s*+\Z")
# At the start of a line, which text inside JSON never is.
_TOOL_CODE = re.compile(r"^```tool_(?:code|calls?)\b(.*?)(?:```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON_TAG = "<|python_tag|>"
_PYTHON = re.compile(r"(?:print\(\s*+)?[A-Za-z_][\w.]*+\(")


def native_calls(text: str) -> Reading:
    """Every call of ``text`` in one of the forms that docs/evaluation.md lists, whatever stands
    around it; never raises.

    Anything with a bracket or a call's tag that is no call leaves the reading unclean, and the
    first that is malformed ends it. A name without arguments is a call where a mark, a fence or a
    field such as ``tool_calls`` says so, or where the answer holds nothing but calls.
    """
    code = _python_body(text)
    calls = python_calls(code) if _PYTHON.match(code) else None
    if calls is not None:
        return Reading(tuple(_without_method(text, calls)), True)
    return _Scan(text).reading()


@dataclass
class _Scan:
    """One pass over a text from value to value."""

    text: str
    found: list[tuple[Any, bool]] = field(default_factory=list)
    """A call, a JSON value or None for what is malformed, and whether it is marked as calls."""
    prose: bool = False
    marked: bool = False

    def reading(self) -> Reading:
        last = position = 0
        while (opening := _OPENING.search(self.text, position)) is not None:
            position = opening.end()
            if opening["skip"]:
                continue
            end = self._read(self.text[last : opening.start()], opening)
            if end is None:
                self.found.append((None, False))
                self.prose = True
                break
            last = position = end
        else:
            self._around(self.text[last:])
        calls: list[Call | None] = []
        for value, marked in self.found:
            if isinstance(value, Call):
                calls.append(value)
            else:
                calls += calls_of(value, marked or not self.prose)
        complete = tuple(call for call in calls if call is not None)
        return Reading(complete, bool(complete) and len(complete) == len(calls))

    def _read(self, before: str, opening: re.Match[str]) -> int | None:
        """Read what opens there and return its end; None where it is malformed."""
        start = opening.start()
        if opening["tagged"]:
            self._around(before)
            tagged = read_tagged(self.text, opening)
            if tagged is not None:
                self.found.append((tagged[0], True))
            return tagged and tagged[1]
        if opening["python"]:
            self._around(before)
            end = closing(self.text, start)
            calls = python_calls(self.text[start:end]) if end is not None else None
            self.found += [(call, True) for call in calls or ()]
            return end if calls else None
        value = read_json(self.text, start)
        if value is None:
            return None
        header = _BEFORE_ARGUMENTS.search(before) if self.text[start] == "{" else None
        call = header and _named(header, value[0])
        if header and call:
            # The sign that shows that a name begins may end a mark.
            self._around(before[: max(header.start(), header.end("sure"))])
        else:
            self._around(before)
        fenced = _FENCED.search(before) is not None
        self.found.append((call, True) if call else (value[0], self.marked or fenced))
        return value[1]

    def _around(self, said: str) -> None:
        self.marked |= _IS_MARK.search(said) is not None
        self.prose |= bool(_NOISE.sub("", said))


def _named(header: re.Match[str], value: Any) -> Call | None:
    """The call of a name before its arguments; None where the value is a call by itself."""
    arguments = read_arguments(value)
    if arguments is None:
        return None
    sure = header["mistral"] is None or header["sure"] or header["mark"]
    if not sure and any(calls_of(value, marked=False)):
        return None
    name = next(header[g] for g in ("kimi", "mistral", "deepseek", "harmony") if header[g])
    return Call(name, arguments)


def _python_body(text: str) -> str:
    """What of ``text`` is Python if it holds calls in that form and nothing else."""
    blocks = _TOOL_CODE.findall(text)
    if blocks:
        text = "\n".join(blocks)
    elif _PYTHON_TAG in text:
        text = text.rpartition(_PYTHON_TAG)[2]
    start, end = len(text), 0
    position = 0
    for noise in _NOISE.finditer(text):
        if noise.start() > position:
            start, end = min(start, position), noise.start()
        position = noise.end()
    if position < len(text):
        start, end = min(start, position), len(text)
    return text[start:end]


def _without_method(text: str, calls: list[Call]) -> list[Call]:
    """Llama 3 calls its built-in tools as ``name.call(...)``, after its tag."""
    if _PYTHON_TAG not in text:
        return calls
    return [Call(call.action.removesuffix(".call"), call.arguments) for call in calls]
