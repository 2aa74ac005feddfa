"""Thoughts, for the readers of answers."""

from unisd_core.common.thoughts import after_thought

__all__ = ["after_thought"]
