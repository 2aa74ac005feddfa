"""The tests, benchmarks and campaigns; not part of what is installed."""

import actors  # noqa: F401 - before Ray, which reads on import what this sets
