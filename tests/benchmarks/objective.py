"""Chunked linear + divergence against full logits, side by side: time and extra memory.

    python -m tests.benchmarks.objective [tokens] [vocabulary]

Prints medians and the spread of the repeats; a ratio below 1 is in our favour.
"""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from unisd_core.objective.divergence import linear_divergence

HIDDEN = 576
REPEATS = 5


def naive(student_NH: Tensor, teacher_NH: Tensor, head_VH: Tensor, alpha: float) -> Tensor:
    """The divergence as one would write it down, with full logits."""
    q_NV = (student_NH @ head_VH.T).log_softmax(-1)
    p_NV = (teacher_NH @ head_VH.T).log_softmax(-1)
    if alpha == 0:
        return (p_NV.exp() * (p_NV - q_NV)).sum(-1)
    if alpha == 1:
        return (q_NV.exp() * (q_NV - p_NV)).sum(-1)
    m_NV = torch.logsumexp(
        torch.stack([q_NV + torch.tensor(1 - alpha).log(), p_NV + torch.tensor(alpha).log()]), 0
    )
    kl_p = (p_NV.exp() * (p_NV - m_NV)).sum(-1)
    kl_q = (q_NV.exp() * (q_NV - m_NV)).sum(-1)
    return alpha * kl_p + (1 - alpha) * kl_q


def measure(function: Callable[[], Tensor], student_NH: Tensor) -> tuple[float, float]:
    """Seconds and peak extra MiB of forward and backward."""
    gc.collect()
    peak, done = [resident()], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident())

    start_memory = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    function().mean().backward()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    student_NH.grad = None
    return seconds, peak[0] - start_memory


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


Divergence = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Of the student's and the teacher's states, the head and alpha."""


def ratios(tokens: int, vocabulary: int, other: Divergence = naive) -> dict[str, float]:
    """Ours over ``other``, by alpha; prints one line per divergence."""
    found: dict[str, float] = {}
    torch.manual_seed(0)
    student_NH = torch.randn(tokens, HIDDEN).requires_grad_()
    teacher_NH = torch.randn(tokens, HIDDEN)
    head_VH = torch.randn(vocabulary, HIDDEN) * 0.05
    token_N = torch.randint(vocabulary, (tokens,))
    print(f"{tokens} tokens, V = {vocabulary}, H = {HIDDEN}, {torch.get_num_threads()} threads")
    print("alpha   other s   ours s   time ratio   other MiB   ours MiB   memory ratio")
    for alpha in (0.0, 0.5, 1.0):

        def ours(alpha: float = alpha) -> Tensor:
            return linear_divergence(
                student_NH, teacher_NH, head_VH, token_N, alpha=alpha, logprob_grad=False
            ).divergence_N

        def full(alpha: float = alpha) -> Tensor:
            return other(student_NH, teacher_NH, head_VH, alpha)

        measure(ours, student_NH)
        pairs = [(measure(full, student_NH), measure(ours, student_NH)) for _ in range(REPEATS)]
        naive_s, ours_s = ([p[side][0] for p in pairs] for side in (0, 1))
        naive_m, ours_m = (statistics.median(p[side][1] for p in pairs) for side in (0, 1))
        times = sorted(b / a for a, b in zip(naive_s, ours_s, strict=True))
        print(
            f"{alpha:5.1f} {statistics.median(naive_s):9.2f} {statistics.median(ours_s):8.2f} "
            f"{statistics.median(times):7.2f} [{times[0]:.2f}, {times[-1]:.2f}] "
            f"{naive_m:9.0f} {ours_m:10.0f} {ours_m / max(naive_m, 1e-9):10.2f}",
            flush=True,
        )
        found[f"objective time, alpha {alpha}"] = statistics.median(times)
        found[f"objective memory, alpha {alpha}"] = ours_m / max(naive_m, 1e-9)
    return found


if __name__ == "__main__":
    ratios(*(int(value) for value in (sys.argv[1:] + ["1024", "49152"][len(sys.argv) - 1 :])))
