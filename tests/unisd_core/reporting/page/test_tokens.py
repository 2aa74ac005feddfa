from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unisd_core.reporting.page.tokens import token_texts


def from_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@given(st.text())
def test_pieces_of_a_byte_tokenizer_are_whole_letters(text: str):
    ids = list(text.encode())
    pieces = list(token_texts(ids, from_bytes))
    assert "".join(piece for piece, _ in pieces) == text
    assert sum(count for _, count in pieces) == len(ids)


@given(st.lists(st.integers(0, 255)))
def test_every_token_is_in_one_piece(ids: list[int]):
    assert sum(count for _, count in token_texts(ids, from_bytes)) == len(ids)


def test_a_space_that_a_tokenizer_drops_at_the_start_is_kept_inside():
    words = ["the", " city", " is"]

    def decode(ids: list[int]) -> str:
        return "".join(words[token] for token in ids).lstrip()

    assert list(token_texts([0, 1, 2], decode)) == [("the", 1), (" city", 1), (" is", 1)]


def test_without_a_tokenizer_the_ids_are_shown():
    assert list(token_texts([7, 8], None)) == [("7 ", 1), ("8 ", 1)]
