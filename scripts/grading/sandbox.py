"""Run a command shut in, as far as this system lets an ordinary user do it.

    python sandbox.py '{"work": FOLDER, ...}' COMMAND ...

Always: limits on memory, file size, processor time and open files. On Linux with user namespaces
also: no network; no other process visible, and all that the command started ends with it; the whole
file system read-only, with the folders in "hidden" empty and a fresh /tmp. `measures` tells which.

With "user", a number, and started by root: the command runs as this user, who owns nothing else.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

try:
    import resource
except ImportError:  # Windows
    resource = None

NEW_USER, NEW_MOUNTS, NEW_PROCESSES, NEW_NETWORK, NEW_IPC = (
    0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000,
)
BIND, RECURSIVE, PRIVATE, NO_SUID, NO_DEVICES = 0x1000, 0x4000, 0x40000, 0x2, 0x4
MOUNT_SETATTR, WHOLE_TREE, READ_ONLY = 442, 0x8000, 1
NO_NEW_PRIVILEGES, DUMPABLE = 38, 4
MOST_THREADS = 1024  # of a user who runs nothing else
EVERYWHERE_FRESH = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/mnt", "/media")
INNER_ID = 1000  # not 0, so that starting a program drops every capability
NAMES = {
    "namespaces": "its processes end with it, no network",
    "files": "files read-only, grading folders hidden",
    "limits": "limits on memory and file size",
}
OWN_USER = "a user of its own, who may not read the tests"


class Refused(OSError):
    """The system does not let us."""


def call(result: int, what: str) -> None:
    if result != 0:
        raise Refused(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def limit(settings: dict) -> None:
    if resource is None:
        return
    wanted = {
        # Private memory: unlike the address space it leaves out mapped libraries, of which a
        # network's framework has gigabytes.
        resource.RLIMIT_DATA: settings.get("memory"),
        resource.RLIMIT_FSIZE: settings.get("file_size"),
        resource.RLIMIT_CPU: settings.get("seconds"),
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_CORE: 0,
    }
    if settings.get("user") is not None:
        wanted[resource.RLIMIT_NPROC] = MOST_THREADS
    for which, value in wanted.items():
        if value is not None:
            _, most = resource.getrlimit(which)
            value = int(value) if most == resource.RLIM_INFINITY else min(int(value), most)
            resource.setrlimit(which, (value, value))


def namespaces() -> None:
    """Leave the network, the other processes and the shared mounts behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = NEW_USER | NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK | NEW_IPC
    call(libc.unshare(flags), "unshare")
    for name, value in (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {user} 1"),
        ("gid_map", f"{INNER_ID} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(value)


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def plan(settings: dict) -> list[tuple[str, str]]:
    """What to do with which folder, outer folders first: "hide", "show" or "write"."""
    hidden = {os.path.realpath(p) for p in [*EVERYWHERE_FRESH, *settings.get("hidden", [])]}
    hidden = {path for path in hidden if os.path.isdir(path) and path != "/"}
    steps = [(path, "hide") for path in hidden]
    for path in {os.path.realpath(p) for p in settings.get("shown", [])}:
        if os.path.isdir(path) and any(within(path, folder) for folder in hidden):
            steps.append((path, "show"))
    steps.append((os.path.realpath(settings["work"]), "write"))
    order = {"hide": 0, "show": 1, "write": 2}
    # A folder both hidden and shown is shown; one hidden inside a shown one is hidden after it.
    return sorted(steps, key=lambda step: (step[0].count("/"), order[step[1]], step[0]))


def files(settings: dict) -> None:
    """Everything read-only, the hidden folders empty, a bounded place to write in."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = plan(settings)
    # Held open, since a hidden folder around it would take away the path.
    links = {path: os.path.realpath(path) for path in settings.get("shown", [])}
    held = {path: os.open(path, os.O_PATH) for path, what in steps if what != "hide"}
    call(libc.mount(None, b"/", None, RECURSIVE | PRIVATE, None), "private mounts")
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, 0, 0)
    found = libc.syscall(
        MOUNT_SETATTR, -100, b"/", WHOLE_TREE, ctypes.byref(attributes), ctypes.sizeof(attributes)
    )
    call(found, "read-only")
    for path, what in steps:
        if what == "hide" and not os.path.isdir(path):
            continue  # gone with the folder around it
        place = path.encode()
        if what != "hide":
            if not os.path.isdir(path):
                os.makedirs(path)
            inside = f"/proc/self/fd/{held[path]}".encode()
            call(libc.mount(inside, place, None, BIND | RECURSIVE, None), f"show {path}")
            os.close(held[path])
        if what == "write":
            writable = (ctypes.c_uint64 * 4)(0, READ_ONLY, 0, 0)
            size = ctypes.sizeof(writable)
            found = libc.syscall(MOUNT_SETATTR, -100, place, 0, ctypes.byref(writable), size)
            call(found, f"write {path}")
        if what == "hide":
            fresh(libc, path, settings.get("disk", 2**28))
    for path, place in links.items():
        # An environment may lie behind a link that was hidden.
        if path != place and os.path.isdir(place) and not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(place, path)
    home = os.path.join(settings["work"], "home")
    if os.path.isdir(home):
        fresh(libc, home, settings.get("disk", 2**28))
    # A new /proc for the new processes; where a container forbids it, the old one stays, through
    # which this user may look at nothing outside.
    libc.mount(b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES, None)


def fresh(libc, path: str, size: int) -> None:
    options = f"size={int(size)},mode=755".encode()
    flags = NO_SUID | NO_DEVICES
    call(libc.mount(b"tmpfs", path.encode(), b"tmpfs", flags, options), f"hide {path}")


def enter(settings: dict, wanted: set[str]) -> None:
    """Shut this process in; in a new process namespace it goes on as the first process's child."""
    if settings.get("user") is not None:
        become(settings["user"])
    if "namespaces" in wanted:
        namespaces()
        wait_for(os.fork())
        die_with_parent()
        if "files" in wanted:
            files(settings)
        # The first process only waits: when it ends, the system ends all the others.
        wait_for(os.fork())
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if "limits" in wanted:
        limit(settings)


def become(user: int) -> None:
    """Go on as another user, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # The change took the leave to set up namespaces, and forgot whose end is ours too.
    libc.prctl(DUMPABLE, 1, 0, 0, 0)
    die_with_parent()


def end_all_of(user: int) -> None:
    """End every process of a user, until there is none. Only root may, and for no user but ours."""
    for _ in range(50):
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                os.kill(-1, signal.SIGKILL)
            except OSError:  # there is none
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            return
        time.sleep(0.1)


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def wait_for(child: int) -> None:
    """In the parent: end as the child does. In the child: return."""
    if child == 0:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            os._exit(1)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def allowed(settings: dict) -> set[str]:
    """Which measures this system allows; tried in this process, which is of no use afterwards."""
    every = {"limits"} if resource is not None else set()
    if sys.platform != "linux":
        return every
    for wanted in (every | {"namespaces", "files"}, every | {"namespaces"}):
        child = os.fork()
        if child == 0:
            try:
                enter(settings, wanted)
            except OSError:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return wanted
    return every


def measures(settings: dict) -> list[str]:
    """Which measures this system allows."""
    command = [sys.executable, __file__, json.dumps(settings | {"measures": None})]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(asked.stdout)


def main() -> None:
    settings = json.loads(sys.argv[1])
    if settings["measures"] is None:
        print(json.dumps(sorted(allowed(settings))))
        return
    if sys.platform == "linux":
        die_with_parent()
    enter(settings, set(settings["measures"]))
    os.chdir(settings["folder"])
    os.execvpe(sys.argv[2], sys.argv[2:], os.environ)


if __name__ == "__main__":
    main()
