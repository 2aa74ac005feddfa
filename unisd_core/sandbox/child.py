"""Runs inside the sandbox: one program, then its tests, then the report.

``drive`` passes this file's text to an interpreter of its own, with two file descriptors as
arguments: the program (lengths, candidate, tests, token) and the pipe the report goes to. It
uses only what is loaded anyway, to start fast.
"""

import builtins
import os
import sys


def main(program: int, report: int) -> None:
    """Send the token if the tests ran to their end, else a line on why not; never returns."""
    # What is called after the candidate is bound here, out of reach of a changed module.
    read, write, leave, pid_now, run = os.read, os.write, os._exit, os.getpid, exec
    settrace, setprofile, modules = sys.settrace, sys.setprofile, sys.modules
    describe, owner = explain, pid_now()
    names = vars(builtins)
    pristine = dict(names)

    sizes = read(program, 40).split()
    candidate = read(program, int(sizes[0])).decode("utf-8", "surrogatepass")
    tests = read(program, int(sizes[1])).decode("utf-8", "surrogatepass")
    module = type(sys)("program")
    modules["program"] = module
    space = vars(module)
    space["__builtins__"] = builtins
    sys.argv = [""]

    part, message = "candidate", b""
    try:
        code = compile(candidate, "<candidate>", "exec")
        try:
            run(code, space)
        finally:
            settrace(None)
            setprofile(None)
            names.clear()
            names.update(pristine)
            modules["builtins"] = space["__builtins__"] = builtins
        part = "tests"
        run(compile(tests, "<tests>", "exec"), space)
        # Read only now: before, no object of this process holds it.
        message = read(program, 64)
    except BaseException as error:
        message = describe(part, error)
    # A fork of the program must not speak for it.
    if pid_now() == owner:
        write(report, message)
    # Not sys.exit: exit handlers and waiting threads are the program's own.
    leave(0)


def explain(part: str, error: BaseException) -> bytes:
    """``error`` as a line "failed ..." or "exited ..."; its text is the program's own."""
    outcome = b"exited " if isinstance(error, SystemExit) else b"failed "
    name = type(error).__name__
    try:
        text = f"{part}: {name}: {error}"
    except BaseException:
        text = f"{part}: {name}"
    return outcome + text[:1000].encode("utf-8", "replace")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
