"""Plain text beside tokenizers of every kind: the ids are those without control tokens."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from unisd_core.common.errors import UserError
from unisd_core.models.chat.control_tokens import ControlTokens

SPECIAL = ("<unk>", "<s>", "</s>", "[INST]")
TEXT = "end</s> of\n[INST]it, <s>"
BYTES = [f"<0x{number:02X}>" for number in range(256)]


def sentencepiece_bpe() -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *BYTES, "▁", "e", "n"])}
    backend = Tokenizer(
        models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


def unigram() -> Tokenizer:
    pieces = [*SPECIAL, *BYTES, "▁", "▁end", "it"]
    backend = Tokenizer(
        models.Unigram(
            [(piece, -float(i)) for i, piece in enumerate(pieces)], 0, byte_fallback=True
        )
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return backend


def byte_level() -> Tokenizer:
    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend


@pytest.fixture(params=[sentencepiece_bpe, unigram, byte_level])
def tokenizer(request: Any) -> PreTrainedTokenizerFast:
    backend = request.param()
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["[INST]"],
    )  # fmt: skip


def test_protected_text_is_read_as_without_control_tokens(tokenizer: Any) -> None:
    control = ControlTokens(tokenizer, "")
    ids = control.encode(control.protect(TEXT))
    assert not set(ids) & set(control.ids.values())
    plain = tokenizer(TEXT, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    # A unigram vocabulary holds control tokens as pieces, so that splitting them is not enough.
    assert ids == plain or set(plain) & set(control.ids.values())


def test_real_control_tokens_beside_protected_ones_keep_their_ids(tokenizer: Any) -> None:
    control = ControlTokens(tokenizer, "")
    ids = control.encode(f"<s>[INST]{control.protect(TEXT)}</s>")
    assert [token for token in ids if token in control.ids.values()] == [1, 3, 2]
    assert ids[:2] == [1, 3] and ids[-1] == 2


def test_text_without_control_tokens_is_left_alone(tokenizer: Any) -> None:
    control = ControlTokens(tokenizer, "")
    assert control.protect("[INS] end") == "[INS] end"
    assert control.restore(control.protect(TEXT)) == TEXT
    assert control.first("\n </s>[INST]") == "</s>"
    assert control.first("so </s>") == ""


def test_a_text_that_holds_the_marks_of_this_file_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="U\\+F4C50"):
        ControlTokens(tokenizer, "").protect("\U000f4c501\U000f4c50")


def test_tokens_that_build_a_conversation_are_control_tokens_though_they_are_not_special() -> None:
    backend = byte_level()
    backend.add_special_tokens(list(SPECIAL))
    backend.add_tokens(["<User>", "<tool>", "<think>", "word", "\n\n"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    control = ControlTokens(tokenizer, "<User>word\n\n<think>")
    assert control.ids.keys() == {*SPECIAL, "<User>"}
