"""Runs inside the sandbox: a script, once for each input, and compares what it prints.

The program in front of this file's text binds ``SCRIPT``, the source of the script. Inputs and
outputs go through the descriptors 0 and 1, which is where ``open(0)`` looks for them.
"""

import builtins
import os
import sys
import types


def run(plan: dict[str, list[str]]) -> None:
    """Raise unless the script prints ``plan["outputs"][i]`` for ``plan["inputs"][i]``, up to white
    space at the ends of lines and of the whole."""
    # Bound here, out of reach of what the script changes.
    names, ended, collect = vars(builtins), SystemExit, printed
    # Scripts have them from the module site, which is not loaded here.
    names["exit"] = names["quit"] = sys.exit
    pristine = dict(names)
    code = compile(sys.modules["program"].SCRIPT, "<script>", "exec", dont_inherit=True)
    for given, wanted in zip(plan["inputs"], plan["outputs"], strict=True):
        try:
            found = collect(code, given, ended)
        finally:
            names.clear()
            names.update(pristine)
        if lines(found) != lines(wanted):
            raise AssertionError(f"for {given[:60]!r} it prints {found[:60]!r}")


def printed(code: types.CodeType, given: str, ended: type[SystemExit]) -> str:
    """What the script prints when it reads ``given``."""
    ends = [os.memfd_create(name) for name in ("input", "output")]
    kept = [os.dup(0), os.dup(1)]
    streams = sys.stdin, sys.stdout
    with open(ends[0], "w", encoding="utf-8", errors="replace", newline="", closefd=False) as file:
        file.write(given)
    os.lseek(ends[0], 0, os.SEEK_SET)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        os.dup2(ends[0], 0)
        os.dup2(ends[1], 1)
        sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        output = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stdout = output
        try:
            exec(code, vars(module))
            if "threading" in sys.modules:
                import threading

                for thread in threading.enumerate():
                    if thread is not threading.current_thread() and not thread.daemon:
                        thread.join()
        except ended as end:
            if end.code not in (None, 0):
                raise AssertionError(f"exit code {end.code}") from None
        for stream in (sys.stdout, output):
            stream.flush()
        os.lseek(ends[1], 0, os.SEEK_SET)
        with open(ends[1], encoding="utf-8", errors="replace", closefd=False) as shown:
            return shown.read()
    finally:
        sys.stdin, sys.stdout = streams
        for at in (0, 1):
            os.dup2(kept[at], at)
            os.close(kept[at])
            os.close(ends[at])


def lines(text: str) -> list[str]:
    """The lines of ``text`` without white space at either end."""
    return [line.strip() for line in text.strip().splitlines()]
