"""Programs that try to harm their host or to pass without passing.

Each is bounded by itself (a few hundred processes, a few GiB, some seconds), so that a hole
shows as a failed test. SENTINEL, PORT and SECRET are replaced by a file outside, the port of a
listener on the loopback and the value of an environment variable.
"""

from __future__ import annotations

from typing import NamedTuple

from unisd_core.sandbox import Limits

PATIENT = Limits(wall_s=120, cpu_s=60)
"""For programs that end by themselves, also on a machine that does other work."""
BRIEF = Limits(wall_s=3)


class Hostile(NamedTuple):
    candidate: str
    tests: str = ""
    outcomes: str = "passed"
    limits: Limits = PATIENT


HOSTILE = {
    # Resources.
    "fork flood": Hostile(
        "import os, time\nstarted = 0\n"
        "try:\n"
        "    while started < 300:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(60)\n"
        "            os._exit(0)\n"
        "        started += 1\n"
        "except OSError:\n"
        "    pass",
        "assert 5 < started < 32",
    ),
    "fork bomb": Hostile(
        "import os, time\n"
        "for _ in range(9):\n"
        "    try:\n"
        "        os.fork()\n"
        "    except OSError:\n"
        "        pass\n"
        "time.sleep(60)",
        outcomes="timeout",
        limits=BRIEF,
    ),
    "thread flood": Hostile(
        "import threading, time\n"
        "for _ in range(300):\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        outcomes="failed",
    ),
    "memory at once": Hostile("x = bytearray(3 << 30)", outcomes="failed"),
    "memory by parts": Hostile("x = [bytearray(64 << 20) for _ in range(48)]", outcomes="failed"),
    "huge integer": Hostile("x = 1 << (1 << 35)", outcomes="failed"),
    "slow integer": Hostile("x = 7 ** 10 ** 8", outcomes="timeout", limits=BRIEF),
    "endless loop": Hostile("while True: pass", outcomes="timeout", limits=BRIEF),
    "CPU time": Hostile("while True: pass", "", "timeout", Limits(wall_s=120, cpu_s=1)),
    "sleep": Hostile("import time\ntime.sleep(60)", outcomes="timeout", limits=BRIEF),
    "stopped": Hostile(
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "", "timeout", BRIEF
    ),
    "flood of stdout": Hostile("while True: print('x' * 5000)", "", "timeout", BRIEF),
    "flood of stderr": Hostile(
        "import os\nwhile True: os.write(2, b'x' * 5000)", "", "timeout", BRIEF
    ),
    "deep recursion": Hostile("def f(): f()\nf()", outcomes="failed"),
    "deeper recursion": Hostile(
        "import sys\nsys.setrecursionlimit(10 ** 9)\n"
        "class A:\n    def __repr__(self): return repr(self)\nrepr(A())",
        outcomes="failed killed",
    ),
    "one large file": Hostile(
        "f = open('f', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20)); f.flush()",
        outcomes="failed",
    ),
    "disk of large files": Hostile(
        "written = 0\n"
        "try:\n"
        "    for i in range(64):\n"
        "        with open(f'f{i}', 'wb', buffering=0) as f: written += f.write(bytes(1 << 20))\n"
        "except OSError:\n"
        "    pass",
        "assert 8 << 20 < written <= 16 << 20",
    ),
    "disk of empty files": Hostile(
        "for i in range(20000): open(f'f{i}', 'w').close()", outcomes="failed"
    ),
    # Ends that must not count as passed.
    "os._exit": Hostile("import os\nos._exit(0)", outcomes="exited"),
    "os._exit in a function": Hostile(
        "import os\ndef f(): os._exit(0)", "assert f() == 3", outcomes="exited"
    ),
    "SystemExit": Hostile("raise SystemExit(0)", outcomes="exited"),
    "sys.exit in a function": Hostile(
        "import sys\ndef f(): sys.exit()", "assert f() == 3", outcomes="exited"
    ),
    "KeyboardInterrupt": Hostile("raise KeyboardInterrupt", outcomes="failed"),
    "another program": Hostile(
        "import os, sys\nos.execv(sys.executable, ['python', '-c', 'pass'])", outcomes="exited"
    ),
    "exit handler": Hostile(
        "import atexit, os\natexit.register(os._exit, 0)", "assert False", outcomes="failed"
    ),
    "early verdict": Hostile(
        "import os\n"
        "print('passed')\n"
        "for fd in range(3, 64):\n"
        "    try:\n"
        "        os.write(fd, b'passed')\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(0)",
        outcomes="exited",
    ),
    "fork that goes on": Hostile("import os\nif os.fork(): os._exit(0)", outcomes="exited"),
    "closed descriptors": Hostile("import os\nos.closerange(0, 4096)", outcomes="exited"),
    "search for the token": Hostile(
        "import gc, os, re, sys\n"
        "found, frame = [], sys._getframe()\n"
        "while frame:\n"
        "    found += [*frame.f_locals.values(), *frame.f_globals.values()]\n"
        "    frame = frame.f_back\n"
        "for thing in gc.get_objects():\n"
        "    found += gc.get_referents(thing)\n"
        "tokens = {x for x in found if type(x) is bytes and re.fullmatch(b'[0-9a-f]{32}', x)}\n"
        "for fd in range(3, 64):\n"
        "    for token in tokens:\n"
        "        try:\n"
        "            os.write(fd, token)\n"
        "        except OSError:\n"
        "            pass\n"
        "os._exit(0)",
        outcomes="exited",
    ),
    "changed builtins": Hostile(
        "import builtins\n"
        "builtins.all = builtins.isinstance = lambda *a: True\n"
        "builtins.len = lambda x: 3\n"
        "builtins.AssertionError = builtins.Exception = SystemExit",
        "assert isinstance(1, int) and len('ab') == 2\nassert all([False])",
        "failed",
    ),
    "emptied builtins": Hostile(
        "import builtins, sys\nsys.modules['builtins'] = 0\nvars(builtins).clear()",
        "import builtins\nassert builtins.len([1]) == len([2])",
    ),
    "tracing": Hostile(
        "import os, sys\nsys.settrace(lambda *a: os._exit(0))\nsys.setprofile(sys.settrace)",
        "def f(): return 1\nassert f() == 2",
        "failed",
    ),
    "text of an exception": Hostile(
        "class E(BaseException):\n    def __str__(self): raise SystemExit\nraise E", "", "failed"
    ),
    # Signals and processes.
    "ignored signals": Hostile(
        "import signal\n"
        "for number in range(1, 65):\n"
        "    try:\n"
        "        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n"
        "        pass\n"
        "while True: pass",
        outcomes="timeout killed",
        limits=Limits(wall_s=30, cpu_s=1),
    ),
    "alarm": Hostile("import signal, time\nsignal.alarm(1)\ntime.sleep(60)", outcomes="killed"),
    "kill itself": Hostile("import os\nos.kill(os.getpid(), 9)", outcomes="killed"),
    "kill its group": Hostile("import os\nos.kill(0, 9)", outcomes="killed"),
    "kill the parent": Hostile(
        "import os\n"
        "for number in (2, 15, 9):\n"
        "    try:\n"
        "        os.kill(os.getppid(), number)\n"
        "    except OSError:\n"
        "        pass"
    ),
    "kill everything": Hostile(
        "import os\n"
        "for pid in [-1, *range(1, 70000)]:\n"
        "    try:\n"
        "        if pid != os.getpid(): os.kill(pid, 9)\n"
        "    except OSError:\n"
        "        pass",
        outcomes="passed",
    ),
    "daemon": Hostile(
        "import os, signal, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.closerange(0, 4096)\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()",
    ),
    # The outside.
    "read a file": Hostile(
        "try:\n    leak = open(SENTINEL).read()\nexcept OSError:\n    leak = None",
        "assert leak is None",
    ),
    "look around": Hostile(
        "import os\nseen = [f for p in ('/', '/proc', '/tmp', '/home', '/root', '/dev')"
        " if os.path.isdir(p) for f in os.listdir(p)]",
        "import os\nassert os.path.basename(os.path.dirname(SENTINEL)) not in seen\n"
        "assert not any(f.isdigit() or f in ('shm', 'pts', 'vda') for f in seen), seen",
    ),
    "delete files": Hostile(
        "import os, shutil\nshutil.rmtree(os.path.dirname(SENTINEL), True)\nos.remove(SENTINEL)",
        outcomes="failed",
    ),
    "write files": Hostile(
        "import os\nwritten = []\n"
        "for path in (SENTINEL, '/f', '/lib/f', os.__file__, '/dev/f', '/etc/f'):\n"
        "    try:\n"
        "        open(path, 'a').write('x'); written.append(path)\n"
        "    except OSError:\n"
        "        pass",
        "assert written == []",
    ),
    "symbolic link": Hostile(
        "import os\nos.symlink(SENTINEL, 'link')\nopen('link', 'r+').write('x')",
        outcomes="failed",
    ),
    "leave the root": Hostile(
        "import os\nos.chdir('/')\nleft = os.listdir('../../..')\n"
        "try:\n    os.chroot('box'); left = None\nexcept PermissionError:\n    pass",
        "assert left == os.listdir('/')",
    ),
    "environment": Hostile("import os", "assert SECRET not in repr(os.environ)"),
    "standard input": Hostile("import sys", "assert sys.stdin.read() == ''"),
    "input": Hostile("input()", outcomes="failed"),
    "network": Hostile(
        "import socket\nsocket.create_connection(('127.0.0.1', PORT), 5).send(b'x')",
        outcomes="failed",
    ),
    "null pointer": Hostile("import ctypes\nctypes.string_at(0)", outcomes="killed"),
    "system calls": Hostile(
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "results = [libc.unshare(0x10000000), libc.unshare(0x20000), libc.setuid(0),\n"
        "    libc.mount(b'x', b'/box', b'tmpfs', 0, b''), libc.umount2(b'/box', 2),\n"
        "    libc.sethostname(b'x', 1), libc.ptrace(16, 1, 0, 0), libc.chroot(b'/box')]",
        "assert set(results) == {-1}, results",
    ),
}
