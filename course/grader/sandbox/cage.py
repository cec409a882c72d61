"""The cage around a submission's code. Bubblewrap makes it: without network, without other
processes, and with nothing of the file system but what a kernel needs, read-only."""

import importlib.util
import shutil
import site
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Programs and libraries, and of /etc what those read when they start.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/fonts",
          "/etc/ld.so.cache", "/etc/localtime")
INSIDE_ID = "1000"  # whoever grades, root too, is this user inside
DISK = 2**28  # bytes that fit into each of the folders that go away with the cage
LIMITS = "limits on time, memory and file size"
CAGED = f"Cage: bubblewrap; no network, no files but its own, its processes end with it; {LIMITS}"
OPEN = f"No cage: submissions can read and change your files and use the network; {LIMITS} alone"


class NoCage(RuntimeError):
    """Bubblewrap is not installed, or this system does not let it work; says what to do."""


@dataclass(frozen=True)
class Cage:
    """Paths: of bwrap; of what is shown inside; of folders that are empty inside, should they lie
    in one that is shown."""

    bwrap: str
    shown: list[str]
    hidden: list[str]

    def around(self, work: Path) -> list[str]:
        """What to put before a command that may write in the folder `work` alone; its home and
        /tmp are fresh."""
        fresh = ["--size", str(DISK), "--tmpfs"]
        command = [self.bwrap, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL",
                   "--uid", INSIDE_ID, "--gid", INSIDE_ID, "--proc", "/proc", "--dev", "/dev",
                   *fresh, "/dev/shm", *fresh, "/tmp"]
        steps = [(path, [*fresh, path]) for path in self.hidden]
        steps += [(path, ["--ro-bind", path, path]) for path in self.shown]
        # Outer folders first; what is both hidden and shown is shown.
        for _, step in sorted(steps, key=lambda step: len(Path(step[0]).parts)):
            command += step
        home = str(work / "home")
        command += ["--bind", str(work), str(work), *fresh, home, "--chdir", home]
        for path in (*self.hidden, "/dev", "/"):
            command += ["--remount-ro", path]
        return command


def shown() -> list[str]:
    """The system's folders, Python's, its packages', the library's with its data."""
    # Not imported: that takes seconds.
    library = Path(importlib.util.find_spec("ddim_lib").origin).resolve().parent
    every = [*SYSTEM, sys.prefix, sys.base_prefix, library, library.parent / "data"]
    every += [*site.getsitepackages(), site.getusersitepackages()]
    # A .pth file may add another environment's packages.
    every += [path for path in sys.path if path.endswith("-packages")]
    there = {Path(path) for path in every if Path(path).exists()}
    # An environment may lie behind a link: inside it has both names.
    return sorted(map(str, there | {path.resolve() for path in there}))


def build(hidden: list[Path]) -> Cage:
    """The cage of this system, tried. Raises NoCage."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise NoCage(
            "there is no bwrap, which shuts submissions in: install the package bubblewrap (Debian,"
            " Ubuntu: sudo apt install bubblewrap; Fedora: sudo dnf install bubblewrap); it is a"
            " program for Linux, on Windows for its WSL"
        )
    cage = Cage(bwrap, shown(), sorted({str(path.resolve()) for path in hidden if path.is_dir()}))
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "home").mkdir()
        tried = subprocess.run([*cage.around(Path(work)), sys.executable, "-c", ""], env={},
                               capture_output=True, text=True, timeout=60)
    if tried.returncode:
        raise NoCage(
            f"bwrap can make no cage here ({tried.stderr.strip()[-300:]}): it must be bubblewrap"
            " 0.7 or newer and may not be forbidden to create namespaces; for Ubuntu, see 'What is"
            " cut off' in book/for_instructors.md"
        )
    return cage
