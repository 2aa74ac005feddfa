"""Runs in a process of its own: compares expressions with math-verify, one pair a line.

``math_process`` starts this file with the standard input and output as pipes, and ends it by
closing them. Each line in is a JSON list of reference and answer; each line out a list of two:
whether the answer could be read, and whether it equals the reference. A pair that takes too much
processor time or memory ends the process.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import resource
import signal
import sys
from typing import Any

MEMORY_MIB = 4096


def main(cpu_s: float) -> None:
    """Answer line after line until the input ends."""
    from math_verify import LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    # Integers of any length are printed for messages only; the limit would raise there.
    sys.set_int_max_str_digits(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB << 20, MEMORY_MIB << 20))
    box = [LatexExtractionConfig(boxed_match_priority=0)]

    @functools.lru_cache(maxsize=4096)
    def read(latex: str) -> list[Any]:
        found = parse(f"\\boxed{{{latex}}}", extraction_config=box, parsing_timeout=None)
        return [one for one in found if not isinstance(one, str)]

    def compared(reference: str, answer: str) -> list[bool]:
        wanted, said = read(reference), read(answer)
        equal = bool(wanted and said) and verify(wanted, said, timeout_seconds=None)
        return [bool(said), bool(equal)]

    # What a library prints must neither be taken for an answer nor fill a pipe nobody reads.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(nowhere, descriptor)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        # The default action of the signal ends the process, also within one long operation.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            answer = compared(*json.loads(line))
        except (Exception, RecursionError, MemoryError):
            answer = [False, False]
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
