"""The commands where the machine is odd: streams, terminals, names, locks, compilers, memory."""

import io
import math
import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_cli import ddim as sampler  # noqa: F401
from test_cli import tiny
from test_cli_errors import BETWEEN, SAMPLE
from test_cli_train import (  # noqa: F401
    TINY,
    assert_error,
    ddim,
    draw_pictures,
    files,
    stopped_after,
)

import ddim_lib
from ddim_lib.cli import main, together
from ddim_lib.cli.streams import Lasting
from ddim_lib.storage.files import sole_writer
from ddim_lib.training import Trainer
from ddim_lib.weights import save_weights

ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="terminals, signals and locks of POSIX")
BARS = {key: value for key, value in os.environ.items() if key != "TQDM_DISABLE"}


# Streams ------------------------------------------------------------------------------------------

@ON_POSIX
@pytest.mark.parametrize("redirect, code, told", [
    ("2>&-", 0, ""), ("2>/dev/full", 0, ""), (">&- 2>&- <&-", 0, ""),
    (">/dev/full", 2, "Error: stdout cannot be written: No space left on device\n")])
@pytest.mark.parametrize("command", ["sample", "encode", "train"])
def test_the_work_is_done_whatever_a_stream_does(command, redirect, code, told, tmp_path):
    save_weights(tmp_path / "tiny.safetensors", tiny(), ddim_lib.linear())
    draw_pictures(tmp_path)
    words, made = {
        "sample": ([*SAMPLE, "--out", "x.png"], ["x.png"]),
        "encode": (["encode", "pictures", "--weights", "tiny.safetensors", "--steps", "1", "--out",
                    "x.npy"], ["x.npy"]),
        "train": ([*TINY, "--steps", "2", "--out", "run"],
                  [f"run/{name}" for name in ("checkpoint.pt", "digits.safetensors", "loss.json")]),
    }[command]
    shell = f'exec "$0" -m ddim_lib "$@" {redirect}'
    done = subprocess.run(["sh", "-c", shell, sys.executable, *words], cwd=tmp_path, env=BARS,
                          capture_output=True, text=True)
    assert done.returncode == code and done.stderr.endswith(told), done.stderr
    assert all((tmp_path / name).stat().st_size for name in made)


@ON_POSIX
def test_after_its_first_error_a_stream_leads_nowhere():
    read, write = os.pipe()
    os.close(read)
    stream = Lasting(os.fdopen(write, "w"))
    for text in ("lost", "lost too"):
        assert stream.write(text) == len(text)
        stream.flush()
    stream.stream.close()  # what the interpreter does at its end
    assert isinstance(stream.lost, BrokenPipeError)


@pytest.mark.parametrize("encoding", ["cp932", "cp1252", "ascii", "latin-1", "koi8-r", "utf-16"])
def test_letters_that_an_encoding_lacks_are_replaced(encoding, sampler, monkeypatch):  # noqa: F811
    for command, text in ((["evaluate", "--help"], "Fréchet"), ([*SAMPLE, "--out", "漢é.png"],
                                                               "漢é.png")):
        screen = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", screen)
        with pytest.raises(SystemExit) as end:
            main(command)
        screen.flush()
        told = screen.buffer.getvalue().decode(encoding)
        assert end.value.code == 0 and text.encode(encoding, "replace").decode(encoding) in told
    assert os.path.getsize("漢é.png")


# Terminals ----------------------------------------------------------------------------------------

@ON_POSIX
def test_a_run_is_saved_when_its_terminal_goes_away(ddim, tmp_path):  # noqa: F811
    import fcntl
    import termios

    def own_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's, if the tests run under it, goes
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    mine, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # room for a bar
    process = subprocess.Popen(
        [sys.executable, "-m", "ddim_lib", *TINY, "--steps", "100000", "--every", "100000",
         "--out", "run"], stdin=its, stdout=its, stderr=its, env=BARS, start_new_session=True,
        preexec_fn=own_terminal)
    try:
        os.close(its)
        seen = b""
        while b"training in" not in seen:  # the bar: the run has begun
            seen += os.read(mine, 1000)
        os.close(mine)
        assert process.wait(120) == 130
    finally:
        process.kill()
    assert os.listdir("run") == ["checkpoint.pt"]
    assert torch.load("run/checkpoint.pt")["step"] < 100_000


@ON_POSIX
@pytest.mark.parametrize("ignored, times, code", [(True, 1, 0), (False, 2, 130)])
def test_a_closed_terminal_is_heard_once_and_by_nohup_not_at_all(
        ignored, times, code, ddim, monkeypatch):  # noqa: F811
    plain = os.kill
    monkeypatch.setattr(os, "kill", lambda *to: [plain(*to) for _ in range(times)])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with stopped_after(2, signal.SIGHUP):
            assert ddim(*TINY, "--steps", 3, "--out", "run")[0] == code
    finally:
        signal.signal(signal.SIGHUP, before)
    assert torch.load("run/checkpoint.pt")["step"] == (3 if ignored else 2)


# Before the work ----------------------------------------------------------------------------------

@pytest.mark.parametrize("command, words", [
    ((*SAMPLE[:3], "--n", "300", "--columns", "300", "--scale", "32", "--out", "a.gif"),
     ("'--out'", "192,128x256 pixels", "65,535")),
    ((*SAMPLE[:3], "--n", "110", "--columns", "110", "--scale", "20", "--show", "x", "--out",
      "b.png", "--out", "a.mp4"), ("'--out'", "a.mp4", "21,960x160 pixels", "16,384")),
    ((*SAMPLE[:3], "--n", "9000", "--columns", "1", "--out", "a.gif"),
     ("'--out'", "x179,996 pixels", "65,535")),
    ((*SAMPLE[:3], "--n", "1000000", "--scale", "32", "--columns", "1000", "--out", "a.png"),
     ("'--out'", "319,936x319,936 pixels", "the memory does not suffice")),
    ((*BETWEEN, "--grid", "--frames", "1000", "--scale", "32", "--out", "a.png"),
     ("'--out'", "319,936x319,936 pixels", "the memory does not suffice")),
    ((*SAMPLE, "--out", "n" * 252 + ".png"), ("File name too long",)),
    ((*SAMPLE, "--out", "a/" * 2040 + "x.npy"), ("File name too long",)),
], ids=lambda value: " ".join(value[3:])[:60])
def test_what_cannot_be_written_is_refused_before_the_work(command, words, sampler,  # noqa: F811
                                                           tmp_path, monkeypatch):
    plain = np.empty

    def empty(shape, *how):  # a machine of 64 GB
        if math.prod(np.atleast_1d(shape).tolist()) > 1 << 36:
            raise MemoryError
        return plain(shape, *how)

    monkeypatch.setattr(np, "empty", empty)
    monkeypatch.setattr(ddim_lib, "sample_iter", None)
    monkeypatch.setattr(together, "sample", None)
    before = files(tmp_path)
    assert_error(sampler(*command), *words)
    assert files(tmp_path) == before


@pytest.mark.parametrize("letter", ["n", "漢"])
def test_the_longest_legal_names_are_written(letter, sampler, tmp_path):  # noqa: F811
    def named(ending):
        room = 255 - len(ending)
        return letter * (room // len(letter.encode())) + ending

    for ending in (".png", ".gif", ".mp4", ".npy", ".safetensors"):
        assert sampler(*SAMPLE, "--out", named(ending))[0] == 0, ending
        assert os.path.getsize(named(ending))
    assert sampler("weights", "convert", "tiny.safetensors", named(""))[0] == 0
    assert sampler("weights", "convert", named(""), "back.safetensors")[0] == 0
    assert not list(tmp_path.glob(".*"))


# Two runs, no compiler ----------------------------------------------------------------------------

@ON_POSIX
@pytest.mark.parametrize("options", [(), ("--force",), ("--resume",)])
def test_a_folder_belongs_to_one_run_at_a_time(options, ddim, tmp_path, monkeypatch):  # noqa: F811
    plain, refused = Trainer.run, []

    def run(self, **how):
        before = files(tmp_path)
        with pytest.raises(BlockingIOError), sole_writer("run"):
            pass
        refused.append(ddim(*TINY, "--steps", 2, "--out", "run", *options))
        assert files(tmp_path) == before
        return plain(self, **how)

    monkeypatch.setattr(Trainer, "run", run)
    assert ddim(*TINY, "--steps", 2, "--out", "run")[0] == 0
    assert_error(refused[0], "'--out'", "another ddim train writes into run now")
    assert len(refused) == 1
    with sole_writer("run"):  # it is free again
        pass


@pytest.mark.slow
def test_without_a_compiler_compile_is_one_line(ddim, tmp_path):  # noqa: F811
    done = subprocess.run([sys.executable, "-m", "ddim_lib", *TINY, "--steps", "2", "--compile",
                           "--out", "run"], capture_output=True, text=True, env={
                               **os.environ, "CXX": "/nowhere/c++",
                               "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")})
    assert_error((done.returncode, done.stdout, done.stderr), "--compile: torch.compile fails here")
