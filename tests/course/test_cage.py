"""What a submission can reach: nothing but its own folder; and what is said without bwrap."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import course_sample
import pytest
import submissions

from course import assignments
from course.grader.sandbox import cage, kernel

ROOT = Path(__file__).resolve().parents[2]
MARK = "ddim-cage-test-of-process"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A kernel in the cage; runs code that sets `got`, and returns it."""
    if submissions.WITHOUT:
        pytest.skip(submissions.WITHOUT)
    folder = tmp_path_factory.mktemp("cage")
    secret = folder / "more-packages" / "inbox"  # inside what is shown
    secret.mkdir(parents=True)
    (secret / "tests.txt").write_text("secret")
    (secret.parent / "module.py").write_text("there = True")
    (folder / "beside.txt").write_text("secret")
    (folder / "w").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_SECRET", "of the grader")
        # As a .pth file adds another environment's packages.
        patch.syspath_prepend(secret.parent)
        made = cage.build([secret, ROOT / "course"])
    shut_in = kernel.Kernel(folder / "w", kernel.Limits(memory=2**30), made)

    def run(source: str):
        ran = shut_in.run(f"{TRIED}{source}\nprint(json.dumps(got))".format(folder=folder), 60)
        assert ran.status == "ok", ran.outputs
        return json.loads("".join(output["text"] for output in ran.outputs))

    yield run
    assert (secret / "tests.txt").read_text() == "secret"
    assert os.listdir(secret) == ["tests.txt"]
    assert set(os.listdir(folder)) == {"more-packages", "beside.txt", "w"}
    shut_in.close()


TRIED = """
import json, os, resource, socket, subprocess, sys
def tried(what, *arguments):
    try:
        return what(*arguments) or True
    except OSError as error:
        return f"no: {{error.strerror}}"
"""


def test_no_file_is_readable_that_a_submission_does_not_need(run):
    places = [f"{ROOT}/tests", f"{ROOT}/.git", f"{ROOT}/README.md", "{folder}/beside.txt",
              str(Path(__file__)), "/etc/passwd", "/var", "/home"]
    assert not any(run(f"got = [os.path.exists(x) for x in {places}]"))
    assert run(f"got = os.listdir('{{folder}}/more-packages/inbox') + os.listdir('{ROOT}/course')"
               ) == []
    assert set(run(f"got = os.listdir('{ROOT}')")) <= {"ddim_lib", "data", ".venv", "course"}
    home = run("got = [os.path.expanduser('~'), os.listdir(os.path.expanduser('~'))]")
    assert home[0].endswith("/w/home") and set(home[1]) <= {".ipython", ".config", ".cache"}


def test_what_it_needs_is_there(run):
    assert run("import ddim_lib, numpy\nsys.path.append('{folder}/more-packages')\n"
               "import module\ngot = module.there") is True


def test_nothing_is_writable_but_its_own_folder(run):
    places = ["/", "/usr", "/etc", "/dev", sys.prefix, f"{ROOT}/ddim_lib",
              f"{ROOT}/course", "{folder}/more-packages", "{folder}/more-packages/inbox"]
    said = run(f"got = {{{{make.__name__ + x: str(tried(make, x + '/new')) for x in {places}"
               " for make in (os.mkdir, os.mknod) if os.path.isdir(x)}}")
    assert len(said) >= 14
    assert [place for place, word in said.items() if not word.startswith("no: ")] == []
    assert run("got = [os.path.isfile(open(x, 'w').name) for x in ('x', '/tmp/x', '/dev/shm/x')]"
               ) == [True] * 3


def test_there_is_no_network_and_no_other_process(run):
    assert run("got = tried(socket.create_connection, ('192.0.2.1', 80), 5)"
               ) == "no: Network is unreachable"
    assert run("got = [name for _, name in socket.if_nameindex()]") == ["lo"]
    assert run("got = sum(name.isdigit() for name in os.listdir('/proc'))") < 5


def test_the_environment_is_clean_and_root_is_nobody(run):
    every = run("got = [*os.environ] + [open(f'/proc/{{p}}/environ').read() for p in (1, 'self')]")
    assert not any("GRADER" in said for said in every)
    assert run("got = os.getuid()") == 1000
    assert run("got = [line.split()[1] for line in open('/proc/self/status')"
               " if line.startswith('CapEff') or line.startswith('NoNewPrivs')]") == ["0" * 16, "1"]


def test_files_disk_and_processor_time_have_limits(run):
    assert run("def write(path, blocks):\n"
               "    with open(path, 'wb', buffering=0) as file:\n"
               "        for _ in range(blocks):\n"
               "            assert file.write(bytes(2**24)) == 2**24, 'no: cut'\n"
               "def big():\n"
               "    try: write('large', 18)\n"
               "    except AssertionError as error: return str(error)\n"
               "got = tried(big)\nos.remove('large')") in ("no: File too large", "no: cut",
                                                          "no: No space left on device")
    limits = run("got = {{x: resource.getrlimit(getattr(resource, 'RLIMIT_' + x))"
                 " for x in ('FSIZE', 'DATA', 'CPU', 'CORE')}}")
    assert limits == {"FSIZE": [2**28] * 2, "DATA": [2**30] * 2, "CPU": [1260] * 2, "CORE": [0, 0]}
    full = "got = [os.statvfs(x).f_blocks * os.statvfs(x).f_frsize for x in ('.', '/tmp')]"
    assert run(full) == [cage.DISK] * 2


GRADER = """
import sys, time
from pathlib import Path
from course.grader.sandbox import cage, kernel
made = kernel.Kernel(Path(sys.argv[1]), kernel.Limits(), cage.build([]))
made.run("import subprocess, sys; subprocess.Popen([sys.executable, '-c', "
         "'import time; time.sleep(600)', '{mark}'], start_new_session=True)", 30)
print("runs", flush=True)
time.sleep(600)
"""


@submissions.NEEDS_CAGE
def test_a_killed_grader_leaves_no_process(tmp_path):
    grader = subprocess.Popen([sys.executable, "-c", GRADER.format(mark=MARK), str(tmp_path)],
                              cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert grader.stdout.readline() == "runs\n"
        assert len(submissions.running(MARK)) == 1
    finally:
        grader.send_signal(signal.SIGKILL)
        grader.wait()
        grader.stdout.close()
    until = time.monotonic() + 20
    while submissions.running(MARK) and time.monotonic() < until:
        time.sleep(0.1)
    assert submissions.running(MARK) == []


@pytest.mark.parametrize("bwrap, said", [
    ("", ("there is no bwrap", "sudo apt install bubblewrap", "sudo dnf install bubblewrap")),
    ("echo 'setting up uid map: Permission denied' >&2; exit 1", ("can make no cage here (setting",
                                                                  "Permission denied", "Ubuntu")),
], ids=["not installed", "forbidden"])
def test_without_bwrap_nothing_is_graded_unless_the_danger_is_named(
    bwrap, said, tmp_path, monkeypatch
):
    course, out = course_sample.course(tmp_path), tmp_path / "out"
    maker = submissions.Maker(assignments.load("sample", tmp_path / "made", course))
    submissions.write(maker.answered(), tmp_path / "inbox" / "ann" / "sample.ipynb")
    (tmp_path / "bin").mkdir()
    if bwrap:
        (tmp_path / "bin" / "bwrap").write_text(f"#!/bin/sh\n{bwrap}\n")
        (tmp_path / "bin" / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    command = [tmp_path / "inbox", "--out", out, "--course", course]
    done = submissions.command(*command)
    assert done.exit_code == 2 and not any(out.iterdir())
    assert done.stderr.startswith("Nothing was graded: ") and done.stderr.count("\n") == 1
    assert all(words in done.stderr for words in (*said, "--submissions-may-read-my-files"))
    done = submissions.command(*command, "--submissions-may-read-my-files")
    assert done.exit_code == 0, done.output
    assert cage.OPEN in done.output and "ann      sample                   7 / 10" in done.output
