"""ControlTokens: tokens that structure a conversation, which are plain text where a row holds them.

A tokenizer takes ``<|im_end|>`` for the end of a turn wherever it stands. What a row says is
therefore rendered with such strings replaced by placeholders. Where there are any, the real ones,
which the template wrote, get other names in the text and in a copy of the tokenizer before the
placeholders become what they stood for: the copy does not know those strings any more.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from unisd_core.common.errors import UserError
from unisd_core.common.thoughts import is_tag

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Two characters of a private plane, that no text is expected to hold.
_PLACEHOLDER = "\U000f4c50"
_NAME = "\U000f4c51"
_PLACEHOLDERS = re.compile(f"{_PLACEHOLDER}(\\d+){_PLACEHOLDER}")


class ControlTokens:
    """The control tokens of ``tokenizer``: those it calls special, and those that ``scaffold``, a
    rendered conversation, is built of. Tags of thoughts are none, since references hold them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, scaffold: str) -> None:
        self._tokenizer = tokenizer
        self.ids = {
            token.content: number
            for number, token in tokenizer.added_tokens_decoder.items()
            if (token.special or (token.content in scaffold and not token.content[0].isalnum()))
            and token.content.strip()
            and not is_tag(token.content)
        }
        """Token id by the string that stands for it."""
        self._strings = sorted(self.ids, key=len, reverse=True)
        strings = "|".join(map(re.escape, self._strings)) or r"(?!)"
        self._pattern = re.compile(strings)
        self._pieces = re.compile(rf"{strings}|</?[^<>\s]+>|\s+|\w+|.")

    def protect(self, text: str) -> str:
        """``text`` with placeholders for the control tokens in it, to be rendered and encoded.

        Raises UserError where the tokenizer cannot read them as plain text.
        """
        if _PLACEHOLDER in text or _NAME in text:
            raise UserError("its text holds U+F4C50 or U+F4C51, which mark control tokens here")
        return self._pattern.sub(self._placeholder, text)

    def restore(self, text: str) -> str:
        """``text`` as it was before ``protect``."""
        return _PLACEHOLDERS.sub(lambda found: self._strings[int(found[1])], text)

    def first(self, text: str) -> str:
        """The control token that ``text`` begins with, white space apart, or ""."""
        found = self._pattern.match(text.lstrip())
        return found[0] if found else ""

    def all(self, text: str) -> list[str]:
        """The control tokens in ``text``, in order."""
        return self._pattern.findall(text)

    def shared(self, *texts: str) -> str:
        """What ``texts`` begin with alike, in whole tokens, tags and words."""
        pieces = zip(*(self._pieces.findall(text) for text in texts), strict=False)
        return "".join(piece for piece, *_ in takewhile(lambda row: len({*row}) == 1, pieces))

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered conversation whose turns were protected."""
        if _PLACEHOLDER not in text:
            ids: Any = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            return list(ids)
        real = len(self._pattern.findall(text))
        renamed = self._pattern.sub(lambda found: _name(self._strings.index(found[0])), text)
        found = self._renamed.encode(self.restore(renamed), add_special_tokens=False).ids
        control = set(self.ids.values())
        if sum(token in control for token in found) != real:
            raise UserError("its control tokens cannot be read as plain text; remove them")
        return list(found)

    def _placeholder(self, found: re.Match[str]) -> str:
        if getattr(self._tokenizer, "backend_tokenizer", None) is None:
            raise UserError(
                f"its text holds {found[0]}, which the tokenizer cannot read as plain text; "
                "remove it"
            )
        return f"{_PLACEHOLDER}{self._strings.index(found[0])}{_PLACEHOLDER}"

    @cached_property
    def _renamed(self) -> Tokenizer:
        """The tokenizer under whose names no row can write a control token."""
        names = {string: _name(number) for number, string in enumerate(self._strings)}
        state = json.loads(self._tokenizer.backend_tokenizer.to_str())
        for token in state["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        model = state["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {names.get(key, key): number for key, number in model["vocab"].items()}
        else:
            model["vocab"] = [[names.get(key, key), score] for key, score in model["vocab"]]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
        # Both name tokens, and neither is used: nothing is added to a rendered conversation.
        state["post_processor"] = state["truncation"] = state["padding"] = None
        return Tokenizer.from_str(json.dumps(state))


def _name(number: int) -> str:
    return f"{_NAME}{number}{_NAME}"
