"""Colab's runtime, as far as its list of packages tells it; and a reader's own copy of it.

The list is a constraints file. `build` makes a virtual environment with those of its packages that
the book's notebooks and their kernel touch, at the versions of the list, and nothing that Colab
lacks. A `Reader` is a second environment above it, empty: what a notebook installs goes there, and
the runtime below stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from proofs.common import ROOT, Failed

LIST = Path(__file__).with_name("colab-2026.08.txt")
HEAD = {"Runtime": r"\d{4}\.\d{2}", "Python": r"3\.\d+\.\d+", "Read": r"\d{4}-\d{2}-\d{2}",
        "Commit": r"[0-9a-f]{7,40}", "Source": r"https://\S+"}
# What runs a notebook there; the library's own requirements are taken from pyproject.toml.
KERNEL = ["ipykernel", "ipython", "ipywidgets", "matplotlib-inline", "pip", "setuptools", "wheel"]
# PyPI's torch is the one with CUDA and brings these; Colab's without a GPU needs none.
CUDA = re.compile(r"(nvidia|cuda)-.*|triton")
TELL = """
import importlib.metadata as m, json
found = {}
for d in m.distributions():
    found.setdefault(d.metadata["Name"], d.version)
print(json.dumps(found))
"""
# What pip needs to reach an index from where we are.
KEPT = re.compile(r"PIP_\w+|SSL_\w+|REQUESTS_CA_BUNDLE|\w+_proxy|LD_LIBRARY_PATH|OMP_NUM_THREADS",
                  re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """A list of packages. `packages`: version by canonical name, "+cpu" and the like included."""

    runtime: str
    python: str
    read: str
    commit: str
    source: str
    packages: dict[str, str]


def read_list(path: Path = LIST) -> Listed:
    """The list, with what its head says of its origin.

    Raises:
        Failed: a fact of the head is missing, or a line is not NAME==VERSION.
    """
    head, packages = {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].strip().partition(": ")
            if re.fullmatch(HEAD.get(key, "(?!)"), value):
                head[key.lower()] = value
            continue
        pin = re.fullmatch(r"([\w.-]+)==([\w.+!]+)", line)
        if not pin or canonicalize_name(pin[1]) in packages:
            raise Failed(f"{path.name}: not a package and its version, or twice: {line!r}")
        packages[canonicalize_name(pin[1])] = str(Version(pin[2]))
    if missing := sorted({key.lower() for key in HEAD} - set(head)):
        raise Failed(f"{path.name}: its head does not say {', '.join(missing)}")
    if head["commit"] not in head["source"]:
        raise Failed(f"{path.name}: its source is not of commit {head['commit']}")
    return Listed(**head, packages=packages)


def requirements() -> list[Requirement]:
    """What the install line of the notebooks asks for, and the extra for films."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(r) for r in project["dependencies"] + extras["train"] + extras["video"]]


def wanted(listed: Listed) -> list[str]:
    """Those packages of the list that the notebooks and their kernel ask for."""
    names = [canonicalize_name(r.name) for r in requirements()] + KERNEL
    return sorted({name for name in names if name in listed.packages})


def public(version: str) -> str:
    """A version without "+cpu": PyPI has only such."""
    return version.partition("+")[0]


def packages(python: Path, **settings) -> dict[str, str]:
    """What an interpreter finds installed: version by canonical name."""
    told = run([python, "-c", TELL], **settings)
    return {canonicalize_name(k): str(Version(v)) for k, v in json.loads(told).items()}


def run(command: list, **settings) -> str:
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True,
                          **settings)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))[:200]} ended with code {done.returncode}:\n"
                     f"{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def version_of(python: str | Path) -> str | None:
    """An interpreter's version, or None where it does not run."""
    try:
        return run([python, "-c", "import platform; print(platform.python_version())"]).strip()
    except (Failed, OSError):
        return None


def choose_python(listed: Listed) -> str:
    """COLAB_PYTHON; or the list's minor version on the PATH; or the one that runs this."""
    if chosen := os.environ.get("COLAB_PYTHON"):
        if version_of(chosen) is None:
            raise Failed(f"COLAB_PYTHON must be an interpreter that runs, got {chosen!r}")
        return chosen
    minor = ".".join(listed.python.split(".")[:2])
    here = [sys.executable, shutil.which(f"python{minor}")]
    fits = [p for p in here if p and (version_of(p) or "").startswith(f"{minor}.")]
    return fits[0] if fits else sys.executable


def build(listed: Listed, folder: Path, python: str) -> Path:
    """The runtime's interpreter, in `folder`; a finished one of the same list is taken again.

    Raises:
        Failed: a package could not be installed at the version of the list.
    """
    stamp = hashlib.sha256(json.dumps([
        version_of(python), sorted(listed.packages.items()), wanted(listed)]).encode()).hexdigest()
    ready, inside = folder / "ready", folder / "runtime" / "bin" / "python"
    if ready.is_file() and ready.read_text() == stamp and version_of(inside):
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run([python, "-m", "venv", folder / "runtime"])
    bounds = folder / "constraints.txt"
    bounds.write_text("".join(f"{name}=={public(version)}\n"
                              for name, version in listed.packages.items() if not CUDA.match(name)))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    install = [inside, "-m", "pip", "install", "-q", "-c", bounds]
    run([*install, "pip"], env=clean)
    run([*install, *wanted(listed)], env=clean)
    # What pip added to satisfy them, and Colab does without.
    found = packages(inside, env=clean)
    lacks = [n for n in found if n not in listed.packages and not CUDA.match(n)]
    if lacks:
        run([inside, "-m", "pip", "uninstall", "-q", "-y", *lacks], env=clean)
    wrong = [f"{n} {v}, there {listed.packages[n]}" for n, v in packages(inside, env=clean).items()
             if not CUDA.match(n) and public(v) != public(listed.packages[n])]
    if wrong:
        raise Failed(f"not the versions of the list: {'; '.join(wrong)}")
    (folder / "left_out").write_text("\n".join(lacks))
    ready.write_text(stamp)
    return inside


def as_it_is(python: Path) -> Listed:
    """An interpreter's own packages as the list. Raises Failed where the library is among them."""
    found = packages(python)
    if "ddim-lib" in found:
        raise Failed(f"--runtime must be an interpreter without the library, got {python}")
    return Listed(f"none: the packages of {python.name}", version_of(python) or "", "", "", "",
                  found)


def gpu(python: Path) -> str:
    """The GPU that PyTorch sees. Raises Failed where there is none."""
    return run([python, "-c", "import sys, torch\nif not torch.cuda.is_available():\n"
                "    sys.exit('--gpu, and PyTorch sees none')\n"
                "print(torch.cuda.get_device_name())"]).strip()


class Reader:
    """Who opens one notebook: a home and a working folder, both empty, and a runtime without us.

    Args:
        runtime: the interpreter of `build`.
        folder: an empty folder.
        caches: where matplotlib keeps what it knows of fonts, and pip what it fetched.
        redirect: where git fetches from in place of an address: (address, local clone).
        gpu: whether CUDA may be seen.
    """

    def __init__(self, runtime: Path, folder: Path, caches: Path,
                 redirect: tuple[str, Path] | None = None, gpu: bool = False):
        self.folder, self.content = folder, folder / "content"
        for name in ("home", "content", "kernels/colab"):
            (folder / name).mkdir(parents=True)
        below = run([runtime, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        run([runtime, "-m", "venv", "--without-pip", folder / "python"])
        self.python = folder / "python" / "bin" / "python"
        self.site = Path(run([self.python, "-c",
                               "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
        # Found after what lies here: an upgrade would be seen, and leaves the runtime alone.
        (self.site / "runtime.pth").write_text(below)
        shutil.copy(Path(__file__).with_name("colab_offline.py"), self.site)
        (self.site / "offline.pth").write_text("import colab_offline\n")
        self.asked = folder / "asked"
        kept = {k: v for k, v in os.environ.items() if KEPT.fullmatch(k)}
        path = [self.python.parent, runtime.parent, Path(shutil.which("git") or "git").parent,
                "/usr/local/bin", "/usr/bin", "/bin"]
        self.environment = kept | {
            "HOME": str(folder / "home"), "LANG": "C.UTF-8", "DDIM_ASKED": str(self.asked),
            "PATH": os.pathsep.join(map(str, path)), "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # no word of the debugger at each start
            "MPLCONFIGDIR": str(caches / "matplotlib"), "PIP_CACHE_DIR": str(caches / "pip"),
        } | ({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})
        if redirect:
            address, clone = redirect
            self.environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": address,
                                 "GIT_CONFIG_KEY_0": f"url.{clone.resolve().as_uri()}.insteadOf"}
        spec = {"argv": [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Colab", "language": "python"}
        (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec))

    def packages(self) -> dict[str, str]:
        """What a notebook finds installed now."""
        return packages(self.python, env=self.environment, cwd=self.content)

    def hosts(self) -> list[str]:
        """The hosts that a notebook asked for, besides pip."""
        return sorted(set(self.asked.read_text().split())) if self.asked.is_file() else []

    def library(self) -> dict:
        """Where pip found the library: the address and commit of direct_url.json."""
        found = sorted(self.site.glob("ddim_lib-*.dist-info/direct_url.json"))
        if not found:
            raise Failed("the first cell did not install the library")
        told = json.loads(found[0].read_text(encoding="utf-8"))
        return {"url": told["url"], "commit": told.get("vcs_info", {}).get("commit_id")}
