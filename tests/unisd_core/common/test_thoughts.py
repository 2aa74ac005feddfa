"""Thoughts: only what follows the last one is an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.common.thoughts import after_thought


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("B", "B"),
        ("<think>The answer is A.</think>\n\nC", "\n\nC"),
        ("The prompt opened this thought: A.</think>C", "C"),
        ("<think>\n\n</think>\n\nC", "\n\nC"),
        ("<think>a</think>B<think>c</think>D", "D"),
        ("<THINK>A</THINK>C", "C"),
        ("<thinking>A</thinking>C", "C"),
        ("<thought>A</thought>C", "C"),
        ("<reasoning>A</reasoning>C", "C"),
        ("<seed:think>A</seed:think>C", "C"),
        ("[THINK]A[/THINK]C", "C"),
        ("<think>The answer is A.", ""),
        ("<think>a</think>B<think>wait", ""),
        ('text.replace("<think>", "")', 'text.replace("<think>", "")'),
        ("Tags such as `</think>` end a thought.", "Tags such as `</think>` end a thought."),
        ("<think>```\nA\n```</think>```\nC\n```", "```\nC\n```"),
        ("<think>```\nA\n```", ""),
        ("1 < think > 2", "1 < think > 2"),
        ("", ""),
    ],
)
def test_only_what_follows_the_last_thought_is_left(text: str, answer: str) -> None:
    assert after_thought(text) == answer


@given(st.text(), st.text())
def test_an_answer_without_tags_comes_back_whole(thought: str, answer: str) -> None:
    assert after_thought(f"<think>{thought}</think>\n{answer}") == f"\n{answer}"
