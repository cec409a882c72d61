"""Disks as they are: one that is really full, and one that may only be read.

Each test runs one process, which mounts a small disk for itself alone or gives up the
superuser's right to write anywhere, and then calls the commands one after the other.
"""

import json
import subprocess
import sys

import pytest
from test_cli_train import draw_pictures
from test_datasets import numbers, png

import ddim_lib

# What the process begins with: ddim(..) gives (exit code, what it said on stderr).
DRIVER = """
import contextlib, ctypes, io, json, os, sys
from pathlib import Path
from click.testing import CliRunner

libc = ctypes.CDLL(None, use_errno=True)

def ddim(*arguments):
    done = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    return done.exit_code, done.stderr

def contents(folder):
    return {p.name: p.read_bytes().hex() for p in Path(folder).iterdir()}
"""


def drive(program, folder):
    (folder / "driver.py").write_text(DRIVER + program)
    done = subprocess.run([sys.executable, "driver.py"], cwd=folder, text=True,
                          capture_output=True, timeout=300)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


FULL = """
CLONE_NEWNS, CLONE_NEWUSER, MS_REC_PRIVATE, MS_REMOUNT = 0x20000, 0x10000000, 0x44000, 32
user, group = os.getuid(), os.getgid()
if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
    print("this system lets nobody mount a disk of his own"); sys.exit(77)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"0 {user} 1")
Path("/proc/self/gid_map").write_text(f"0 {group} 1")
Path("disk").mkdir()
def mount(flags, size):
    return libc.mount(b"none", b"disk", b"tmpfs", flags, b"size=%d" % size)
if libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) or mount(0, 1 << 27):
    print("this system lets nobody mount a disk of his own"); sys.exit(77)

from ddim_lib.cli import main
import torch
TRAIN = ("train", "digits", "--resolution", 8, "--folder", "pictures", "--batch-size", 4, "--steps",
         6, "--every", 2, "--log-every", 4, "--device", "cpu", "--out")
assert ddim(*TRAIN, "whole")[0] == 0
size = os.path.getsize("whole/checkpoint.pt")
assert mount(MS_REMOUNT, size * 3 // 2) == 0  # one checkpoint fits, the next beside it does not
seen = {"first": ddim(*TRAIN, "disk/run")}
kept = contents("disk/run")
seen["step"] = torch.load("disk/run/checkpoint.pt")["step"]
seen["again"] = ddim(*TRAIN, "disk/run", "--resume")
seen["same"] = contents("disk/run") == kept
seen["names"] = sorted(kept)
assert mount(MS_REMOUNT, 1 << 27) == 0
seen["room"] = ddim(*TRAIN, "disk/run", "--resume")[0]
one, other = (torch.load(f"{run}/checkpoint.pt") for run in ("whole", "disk/run"))
seen["equal"] = all(torch.equal(one["ema"][key], other["ema"][key]) for key in one["ema"])
records = [json.load(open(f"{run}/loss.json"))["loss"] for run in ("whole", "disk/run")]
seen["record"] = records[0] == records[1]
print(json.dumps(seen))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as on Linux")
def test_a_run_on_a_full_disk_keeps_its_checkpoint_and_goes_on_when_there_is_room(tmp_path):
    draw_pictures(tmp_path)
    seen = drive(FULL, tmp_path)
    for attempt in ("first", "again"):
        code, told = seen[attempt]
        line = [text for text in told.splitlines() if text.startswith("Error: ")]
        assert code == 2 and len(line) == 1, told
        assert "--out disk/run/checkpoint.pt cannot be written: No space left on device" in line[0]
    assert seen["step"] == 2 and seen["names"] == ["checkpoint.pt"] and seen["same"]
    assert seen["room"] == 0 and seen["equal"] and seen["record"]


READ_ONLY = """
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
if "--child" not in sys.argv:  # root writes anywhere, unless it gives that up; exec makes it so
    if os.geteuid() == 0:
        for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, right, 0, 0, 0)
    os.execv(sys.executable, [sys.executable, __file__, "--child"])
if os.access("data", os.W_OK) or os.access("data/secret.png", os.R_OK):
    print("this user may write anywhere"); sys.exit(77)

os.environ["DDIM_DATA"] = "data"
os.environ["XDG_CACHE_HOME"] = "data"
from ddim_lib.cli import main
from ddim_lib.datasets import load_uint8, load_folder
import ddim_lib

def error(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as error:
        return type(error).__name__, str(error)

TRAIN = ("train", "digits", "--steps", 2, "--device", "cpu", "--out")
SAMPLE = ("sample", "--n", 1, "--steps", 1, "--device", "cpu", "--out")
with contextlib.redirect_stdout(io.StringIO()):
    seen = {
        "train": ddim(*TRAIN, "data/run"),
        "older run": ddim(*TRAIN, "data/old", "--force"),
        "sample": ddim(*SAMPLE, "data/x.png"),
        "samples": ddim(*SAMPLE, "data/new/x.npy"),
        "convert": ddim("weights", "convert", "data/net.safetensors", "data/as-diffusers"),
        "mnist": error(load_uint8, "mnist", download=True),
        "kkanji": error(load_uint8, "kkanji", download=True),
        "cifar10": error(ddim_lib.load_pretrained, "cifar10", download=True),
        "command": ddim(*SAMPLE, "x.png", "--weights", "cifar10", "--download"),
        "secret": error(load_folder, "data", 8),
        "pictures": list(load_folder("data/good", 8).shape),
    }
print(json.dumps(seen))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the superuser's rights as on Linux")
def test_a_folder_that_may_only_be_read_is_named_and_read(tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy"):  # nothing is fetched, whatever happens
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    data = tmp_path / "data"
    for folder in ("good", "old"):
        (data / folder).mkdir(parents=True)
    small = ddim_lib.UNet(ddim_lib.UNetConfig(8, 1, 16, (1, 2), 1, (4,), groups=8))
    ddim_lib.save_weights(data / "net.safetensors", small, ddim_lib.linear())
    (data / "good" / "x.png").write_bytes(png(numbers(8, 8)))
    (data / "secret.png").write_bytes(b"no one may read this")
    (data / "old" / "checkpoint.pt").write_bytes(b"old")
    (data / "secret.png").chmod(0)
    locked = [data / "good", data / "old", data]
    for folder in locked:
        folder.chmod(0o555)
    try:
        before = {p.name: p.stat().st_size for p in data.rglob("*")}
        seen = drive(READ_ONLY, tmp_path)
        assert {p.name: p.stat().st_size for p in data.rglob("*")} == before
    finally:
        for folder in locked:
            folder.chmod(0o755)
    for what, path in (("train", "data/run/checkpoint.pt"), ("older run", "data/old/checkpoint.pt"),
                       ("sample", "data/x.png"), ("samples", "data/new/x.npy"),
                       ("convert", "data/as-diffusers")):
        option = "OUT" if what == "convert" else "--out"
        code, told = seen[what]
        assert code == 2 and told.count("\n") == 1, told
        assert f"Error: {option} {path} cannot be written: Permission denied" in told
    assert seen["mnist"][0] == "DatasetNotFoundError"
    assert "the download failed" in seen["mnist"][1]
    for what in ("mnist", "kkanji", "cifar10"):
        assert "Permission denied: 'data/" in seen[what][1], what
    code, told = seen["command"]
    assert code == 2 and "Permission denied" in told.splitlines()[-1], told
    assert seen["secret"][0] == "ValueError" and "data/secret.png" in seen["secret"][1]
    assert "Permission denied" in seen["secret"][1]
    assert seen["pictures"] == [1, 3, 8, 8]
