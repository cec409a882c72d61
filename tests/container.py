"""Stands in for a container of Gradescope: python container.py FORBID FOLDER... -- COMMAND...

Root starts COMMAND in namespaces in which it is root over other users, as in a container. The
FOLDERs (Python, say) can be reached by everybody there. With FORBID = 1 nothing in it may create
namespaces, as in most containers.
"""

import ctypes
import os
import sys

NEW_USER, NEW_MOUNTS, BIND, RECURSIVE, PRIVATE = 0x10000000, 0x00020000, 0x1000, 0x4000, 0x40000
CANNOT = 77  # exit code: this system lets us make no such container


def closed(path: str) -> str | None:
    """The outermost folder on the way to `path` that only its owner may enter."""
    parts = os.path.realpath(path).split("/")
    for end in range(2, len(parts) + 1):
        place = "/".join(parts[:end])
        if not os.stat(place).st_mode & 0o001:
            return place
    return None


def reachable(libc, folders: list[str]) -> None:
    libc.mount(None, b"/", None, RECURSIVE | PRIVATE, None)
    folders = [os.path.realpath(folder) for folder in folders]
    held = {folder: os.open(folder, os.O_PATH) for folder in folders if closed(folder)}
    for place in {closed(folder) for folder in held}:
        if libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, b"mode=755") != 0:
            sys.exit(CANNOT)
    for folder, handle in held.items():
        os.makedirs(folder, exist_ok=True)
        inside = f"/proc/self/fd/{handle}".encode()
        if libc.mount(inside, folder.encode(), None, BIND | RECURSIVE, None) != 0:
            sys.exit(CANNOT)
        os.close(handle)


def main() -> None:
    forbid, rest = sys.argv[1], sys.argv[2:]
    folders, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    libc = ctypes.CDLL(None, use_errno=True)
    (wait, ready), (mapped, go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        if libc.unshare(NEW_USER | NEW_MOUNTS) != 0:
            os._exit(CANNOT)
        os.write(ready, b".")
        if not os.read(mapped, 1):
            os._exit(CANNOT)
        reachable(libc, folders)
        if forbid == "1":
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("0")
        os.execvp(command[0], command)
    os.close(ready)
    try:
        if os.read(wait, 1):
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{child}/{name}", "w") as file:
                    file.write("0 0 65536")
            os.write(go, b".")
    except OSError:
        pass
    os.close(go)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
