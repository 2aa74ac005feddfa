"""The ratios that must not get worse: make bench

Runs what takes minutes and compares with ``ratios.json``, to within the noise of a busy machine.
``--write`` takes the figures over. Longer measurements have commands of their own, which
docs/performance.md lists.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks import objective, stages

KNOWN = Path(__file__).with_name("ratios.json")
TOLERANCE = 1.3
"""A ratio this much larger than the one on file is a loss; all are better when smaller."""
FLOOR = 0.1
"""Memory ratios below this move with the allocator and count as this."""


def main() -> int:
    """0 when nothing got worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the figures on file")
    args = parser.parse_args()
    found = objective.ratios(tokens=1024, vocabulary=49_152)
    found |= stages.ratios_as_in_a_run(repeats=3)
    if args.write or not KNOWN.exists():
        KNOWN.write_text(json.dumps({k: round(v, 3) for k, v in found.items()}, indent=2) + "\n")
        return 0
    known: dict[str, float] = json.loads(KNOWN.read_text(encoding="utf-8"))
    worse = [
        f"{name}: {found[name]:.2f}, was {before:.2f}"
        for name, before in known.items()
        if found[name] > TOLERANCE * max(before, FLOOR)
    ]
    print("\n".join(["worse than on file:", *worse]) if worse else "no ratio got worse")
    return len(worse)


if __name__ == "__main__":
    sys.exit(main())
