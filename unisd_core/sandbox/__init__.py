"""Runs generated Python programs together with their tests, each in an interpreter of its own.

What a program cannot do where ``isolation`` reports namespaces: see, change or delete files other
than its own working directory (the standard library is there to read), reach a network, see or
signal other processes, read the environment, leave processes or files behind, hold up the caller
by output, or exceed the limits of ``Limits``.

What counts as passed: the tests ran to their end. Only then does the interpreter read a random
token and send it back, so that exit codes, printed text, SystemExit, signals and exit handlers
decide nothing. Before the tests start, the builtins are as they were.

What it does not prevent:

- Tests and program share an interpreter, as tests that call functions and compare objects must. A
  program written against this very harness can send the token itself, change modules that the
  tests import, or return objects whose ``__eq__`` is always true.
- Memory is bounded per process. A program that spreads deliberately (forks, memory files) can use
  up to ``processes`` times as much; the kernel is told to end it first when memory runs out.
- The kernel is shared: this is no defence against a flaw in it.
- Without namespaces the weaker mode is what ``isolation`` says.
"""

from unisd_core.sandbox.program import Limits, Program, Verdict
from unisd_core.sandbox.run import isolation, run_program, run_programs

__all__ = ["Limits", "Program", "Verdict", "isolation", "run_program", "run_programs"]
