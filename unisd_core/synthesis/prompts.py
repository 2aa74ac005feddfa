"""Prompts of a block of rows as token ids, for data synthesis; no Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.models.load import load_tokenizer
from unisd_core.synthesis.sources import PromptSource
from unisd_core.tasks.row import Row
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.contexts import build_contexts
from unisd_core.views.prompt_table import exceeded_limit


class PromptReader:
    """Reads rows of ``source``. ``views`` auxiliary views are rendered, 0 where agreement is not
    scored."""

    def __init__(self, config: Config, model_dir: str, source: PromptSource, views: int) -> None:
        self.config, self.source, self.views = config, source, views
        chat = Chat(load_tokenizer(Path(model_dir)), config.model)
        self.builder = ViewBuilder(chat, source.task, config)

    def read(self, start: int, stop: int, rows: list[int]) -> list[dict[str, Any]]:
        """Rows numbered ``rows``, with examples from all of ``start`` to ``stop``.

        A last block that is short borrows examples of rows before it. ``left_out`` names the limit
        a row exceeds.
        """
        first = max(0, min(start, stop - self.config.synthesis.shard_prompts))
        lenders = self.source.read(first if self.views else start, stop)
        offset = stop - len(lenders)
        wanted = [lenders[number - offset] for number in rows]
        contexts: list[list[str]] = [[] for _ in lenders]
        if self.views:
            contexts = build_contexts(
                lenders, self.source.task, self.config.views, self.config.seed
            ).texts
        return [
            self._entry(row, number, contexts[number - offset])
            for row, number in zip(wanted, rows, strict=True)
        ]

    def _entry(self, row: Row, number: int, texts: list[str]) -> dict[str, Any]:
        prompt_ids = self.builder.prompt(row)
        taught = self.config.rollout.teacher_share > 0
        # The teacher's place stays empty where nothing is sampled from it; no term reads it.
        teacher = self.builder.teacher(row) if taught else []
        view_ids = [teacher, *(self.builder.auxiliary(row, text) for text in texts)]
        entry = {
            "uid": row.uid,
            "row": number,
            "prompt_ids": prompt_ids,
            "view_ids": view_ids,
            "gold_ids": [],
            "negative_ids": [],
        }
        return {**entry, "left_out": exceeded_limit(entry, self.config)}
