"""Runs outside the sandbox as a script: sets it up, starts ``child.py`` in it and cleans up.

Three processes per program. The launcher makes the namespaces; ``drive`` stops everything by
sending it a SIGTERM, and it ends when all is gone. The keeper is the first process of the new
process namespace: it reaps orphans, reports how the program ended, and all processes of the
namespace die with it, as it dies with the launcher. The program is a fresh interpreter without any
right. Without namespaces the launcher itself hunts down what the program left behind.

System calls go through ctypes because ``os.unshare`` is new in Python 3.12, mounts are in no
module, and the ``unshare`` command would need a shell and one process per mount.
"""

# The part of signal that is built in: importing the whole takes a tenth of a short program's time.
import _signal as signal  # type: ignore[import-not-found]
import ctypes
import os
import resource
import sys

NEW_USER = 0x10000000
# Mounts, host name, IPC, processes, network.
NEW_REST = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
SET_DEATH_SIGNAL, SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVILEGES = 1, 36, 38

ROOT = "/proc"
"""Where the program's file system is put together: exists everywhere, Python is never in it."""
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/urandom")
FIRST_USER = 0x70000000
"""Start of user ids that no distribution gives out; a launcher's process id is added."""

LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """The C function ``name``; raises OSError if it returns an error."""
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )


def write(path: str, text: str) -> None:
    """Replace what the kernel's file ``path`` holds."""
    with open(path, "w") as file:
        file.write(text)


def show(path: str) -> None:
    """Make ``path`` and what is below it visible under ROOT, to be read only."""
    target = ROOT + path
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        write(target, "")
    mount(path, target, None, BIND | RECURSIVE)
    # Flags of the original that a user namespace may not take off.
    kept = os.statvfs(target).f_flag & (NO_SUID | NO_DEVICES | NO_EXEC)
    mount("none", target, None, REMOUNT | BIND | READ_ONLY | kept)


def isolate(file_mib: int) -> None:
    """New namespaces for the children, and their file system under ROOT."""
    user, group = os.getuid(), os.getgid()
    # Root needs no user namespace, and without one each program can have a user of its own.
    call("unshare", NEW_REST if user == 0 else NEW_REST | NEW_USER)
    if user != 0:
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{user} {user} 1")
        write("/proc/self/gid_map", f"{group} {group} 1")
    mount("none", "/", None, RECURSIVE | PRIVATE)
    mount("none", ROOT, "tmpfs", NO_SUID | NO_DEVICES, "size=1m,mode=755")
    library = os.path.dirname(os.path.dirname(os.path.realpath(os.__file__)))
    for path in dict.fromkeys((*SYSTEM, *DEVICES, library, sys.executable)):
        if os.path.exists(path):
            show(path)
    os.mkdir(ROOT + "/box")
    size = f"size={file_mib}m,nr_inodes=4096,mode=700"
    mount("none", ROOT + "/box", "tmpfs", NO_SUID | NO_DEVICES, size)
    mount("none", ROOT, None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)


def limit(cpu_s: int, memory_mib: int, file_mib: int, processes: int) -> None:
    """Bounds of this process and its children."""
    for kind, soft, hard in (
        # The soft limit is a signal that can be ignored, the hard one is not.
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_AS, memory_mib << 20, memory_mib << 20),
        (resource.RLIMIT_FSIZE, file_mib << 20, file_mib << 20),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))


def tasks_of_user() -> int:
    """Processes and threads that the user of this process has now; all count for RLIMIT_NPROC."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:  # ended meanwhile
            continue
    return count


def become_program(mode: str, launcher: int, limits: list[int], descriptors: list[int]) -> None:
    """Give up every right and turn into the interpreter that runs ``child.py``. The process id of
    the launcher makes the user id that root gives a program."""
    with open(os.path.join(os.path.dirname(__file__), "child.py")) as file:
        source = file.read()
    os.setsid()
    cpu_s, memory_mib, file_mib, processes = limits
    if mode == "namespaces":
        # In a changed root the kernel refuses new user namespaces, and with them mounts.
        os.chroot(ROOT)
        os.chdir("/box")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if mode == "limits":
        processes += tasks_of_user()
    elif mode == "user" or os.getuid() == 0:
        user = FIRST_USER + launcher
        os.chown(".", user, user)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    limit(cpu_s, memory_mib, file_mib, processes)
    # Changing the user forgets a death signal, so not earlier.
    call("prctl", SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    call("prctl", SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    # -S -s -P: nothing but the standard library. A fixed hash seed, so that a verdict repeats.
    flags = ["-S", "-s", "-P", "-X", "utf8", "-c", source]
    command = [sys.executable, *flags, *map(str, descriptors)]
    os.execve(sys.executable, command, {"PYTHONHASHSEED": "0"})


def keep(program: int, status: int) -> None:
    """Reap until ``program`` has ended, then report its exit code (negative: signal)."""
    while True:
        ended, code = os.wait()
        if ended == program:
            os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
            return


def die_with_parent(alive: int) -> None:
    """Have the kernel kill this process when its parent dies. ``alive`` is a pipe that only the
    parent can write to, since the parent may be dead already."""
    call("prctl", SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    os.set_blocking(alive, False)
    try:
        os.read(alive, 1)
    except BlockingIOError:
        return
    os._exit(1)


def hunt(mode: str, keeper: int) -> None:
    """Wait for the keeper or a SIGTERM, then kill and reap all that is left: the keeper, with whom
    its namespace ends, and without namespaces the program's orphans, which come to this process."""
    while True:
        stop = signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM
        reaped = 1
        while not stop and reaped:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
            stop = reaped == keeper
        if stop:
            break
    if mode == "namespaces":
        # The keeper is the only child, and /proc is covered.
        if reaped != keeper:
            os.kill(keeper, signal.SIGKILL)
            # Returns only when the kernel has ended the whole namespace.
            os.waitpid(keeper, 0)
        return
    while True:
        with open("/proc/thread-self/children") as file:
            for child in file.read().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def main(mode: str, *numbers: int) -> None:
    """``numbers``: descriptors of program, report and status; CPU seconds, MiB of memory and of
    files, processes."""
    *descriptors, status = numbers[:3]
    limits = list(numbers[3:])
    os.set_inheritable(status, False)
    try:
        call("prctl", SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        write("/proc/self/oom_score_adj", "1000")
        launcher = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
        if mode == "namespaces":
            isolate(limits[2])
        else:
            call("prctl", SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        alive, held = os.pipe()
        keeper = os.fork()
        if keeper == 0:
            os.close(held)
            die_with_parent(alive)
            program = os.fork()
            if program == 0:
                become_program(mode, launcher, limits, descriptors)
            keep(program, status)
            os._exit(0)
        hunt(mode, keeper)
    except BaseException as error:
        os.write(status, f"error {error}\n".encode())
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
