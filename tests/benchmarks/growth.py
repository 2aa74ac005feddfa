"""Growth of the cost of each part: python -m tests.benchmarks.growth

Doubles one size at a time and fits a power to the seconds. 1 is linear; what is above is worse.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from actors.admission.gate import Gate
from actors.admission.ledger import Admission, visited_rows
from actors.supervision.watchdog import Watchdog
from tests.benchmarks.stages import VIEWS, settings, trajectories
from tests.support.direct_client import DirectClient
from tests.support.tiny import make_tiny_tokenizer
from unisd_core.common.process import use_threads
from unisd_core.common.visits import Visit
from unisd_core.config.method import AgreementConfig
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.models.fetch import resolve_model
from unisd_core.objective.agreement import agreement_weights
from unisd_core.objective.divergence import linear_divergence
from unisd_core.scoring.scorer import TeacherScorer
from unisd_core.tasks.base import Task
from unisd_core.tasks.digests import digest_rows
from unisd_core.tasks.row import Row
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.prompt_table import PromptTable

REPEATS = 3
HIDDEN = 576


def objective(tokens: int = 512, vocabulary: int = 49_152) -> Callable[[], None]:
    """Forward KL of ``tokens``, forward and backward."""
    student_NH = torch.randn(tokens, HIDDEN).requires_grad_()
    teacher_NH, head_VH = torch.randn(tokens, HIDDEN), torch.randn(vocabulary, HIDDEN) * 0.05
    token_N = torch.randint(vocabulary, (tokens,))

    def work() -> None:
        linear_divergence(
            student_NH, teacher_NH, head_VH, token_N, alpha=0.0, logprob_grad=False
        ).divergence_N.mean().backward()

    return work


def agreement(views: int = 4, rows: int = 64, tokens: int = 256) -> Callable[[], None]:
    """Token weights of a batch."""
    rng = np.random.default_rng(0)
    batch = [-rng.random((views, tokens)) for _ in range(rows)]
    return lambda: agreement_weights(batch, AgreementConfig(), None)


def scoring(views: int = 2, rows: int = 4, times: int = 1) -> Callable[[], None]:
    """A pass of the scorer over ``rows`` with prompts ``times`` as long."""
    lengths = tuple(times * length for length in (VIEWS[0], *[VIEWS[1]] * views, VIEWS[-1]))
    table = trajectories(lengths, rows)
    config = settings(full=True)
    views_of = config.views.model_copy(update={"num_auxiliary": views})
    scorer = TeacherScorer(config.model_copy(update={"views": views_of}), str(model()))
    return lambda: scorer.score(table)


def gate(replicas: int = 8, chunk: int = 8) -> Callable[[], None]:
    """Ten steps of a gate at which three slots for each replica wait."""

    async def steps() -> None:
        batch, asked = chunk * replicas, iter(range(10**9))
        gate = Gate(1000, batch, 2, 10, 0, DirectClient(Watchdog()))
        stream = await gate.open_stream(())
        came: asyncio.Queue[list[Admission]] = asyncio.Queue()

        async def slot() -> None:
            while admitted := await gate.admit(stream, next(asked), chunk):
                came.put_nowait(admitted)
                await asyncio.sleep(0)

        slots = [asyncio.create_task(slot()) for _ in range(3 * replicas)]
        for _ in range(10):
            visits: list[Visit] = []
            while len(visits) < batch:
                versions = {one.visit: one.min_version for one in await came.get()}
                await gate.arrive(versions, {})
                visits += versions
            await gate.consume(visits)
        await asyncio.gather(*slots)

    return lambda: asyncio.run(steps())


def first_prompts(rows: int = 8192) -> Callable[[], None]:
    """What stands before the first prompts of a run over ``rows``."""
    config = Config()
    questions = [f"Question {n}: {'word ' * (n % 40)}{n}" for n in range(rows)]
    task = Task.from_rows([Row(text, f"answer {n}") for n, text in enumerate(questions)])
    train = task.rows("train")
    builder = ViewBuilder(Chat(make_tiny_tokenizer(), config.model), task, config)

    def work() -> None:
        digest_rows(train)
        PromptTable(train, builder).make(visited_rows(config, rows)[:256])

    return work


def model() -> Path:
    """The model whose views are read."""
    return Path(resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct"))


SWEEPS: list[tuple[str, str, Callable[..., Callable[[], None]], str, tuple[int, ...]]] = [
    ("objective", "tokens", objective, "tokens", (256, 512, 1024)),
    ("objective", "vocabulary", objective, "vocabulary", (16_384, 32_768, 65_536)),
    ("agreement", "views (K)", agreement, "views", (4, 8, 16)),
    ("agreement", "rows of a batch", agreement, "rows", (64, 128, 256)),
    ("scoring", "views (K)", scoring, "views", (2, 4, 8)),
    ("scoring", "rows of a batch", scoring, "rows", (4, 8, 16)),
    ("scoring", "length of prompts", scoring, "times", (1, 2, 4)),
    ("first prompts", "training rows", first_prompts, "rows", (16_384, 32_768, 65_536)),
    ("gate, a step", "replicas", gate, "replicas", (16, 64, 256)),
]


def main() -> None:
    """Print the table."""
    use_threads(0)
    print("| part | size | doubled from | seconds | exponent |")
    print("| --- | --- | --- | --- | ---: |")
    for part, size, make, name, values in SWEEPS:
        seconds = []
        for value in values:
            work = make(**{name: value})
            work()
            seconds.append(statistics.median(_timed(work) for _ in range(REPEATS)))
        power = float(np.polyfit(np.log(values), np.log(seconds), 1)[0])
        print(
            f"| {part} | {size} | {', '.join(f'{v:,}' for v in values)} "
            f"| {', '.join(f'{s:.3g}' for s in seconds)} | {power:.2f} |",
            flush=True,
        )


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
