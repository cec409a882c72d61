"""Run times: how a run is recorded, that the page says what was recorded, that the boxes agree."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts.notebooks import chapter_times, execution

ROOT = Path(__file__).resolve().parents[2]
# The box at the top of a chapter. What it says in round brackets is a remark.
BOX = re.compile(
    r"\*\*Takes\*\* about (?P<seconds>\d+) seconds on two CPU cores(?: \([^)]*\))?,"
    r" (?P<memory>[\d.]+) GB of memory, (?:no download|downloads [\d.]+ [kMG]B)\b"
)
RUN = {"seconds": 50.0, "peak_memory_gb": 1.0, "cores": 2, "threads": 2, "processor": "A chip",
       "python": "3.11.7", "torch": "2.14.1", "date": "2026-11-23"}


# A run is recorded.


def test_a_run_replaces_its_chapter_and_keeps_the_others(tmp_path):
    file = tmp_path / "times.json"
    chapter_times.record("02_oracle", 5.04, 830_000_000, file)
    chapter_times.record("01_noising", 4.0, None, file)
    chapter_times.record("02_oracle", 7.26, 910_000_000, file)
    times = json.loads(file.read_text())
    assert list(times) == ["01_noising", "02_oracle"]
    assert times["02_oracle"]["seconds"] == 7.3 and times["02_oracle"]["peak_memory_gb"] == 0.91
    assert times["01_noising"]["peak_memory_gb"] is None
    assert set(times["01_noising"]) == set(RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["times.json"]


def test_the_threads_are_those_of_the_kernel(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert chapter_times.entry(1.0, None)["threads"] == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert chapter_times.entry(1.0, None)["threads"] == chapter_times.cores() >= 1


def test_the_processor_has_its_name(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A  chip @ 2 GHz\nmodel name\t: Another\n")
    assert chapter_times.processor(info) == "A chip @ 2 GHz"
    assert chapter_times.processor(tmp_path / "none")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="there is no /proc")
def test_the_peak_is_counted_even_when_the_memory_is_given_back():
    code = "x = bytearray(300_000_000); del x; print(1, flush=True); input()"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert 300_000_000 <= chapter_times.peak_memory(process.pid) < 400_000_000
    finally:
        process.communicate(b"\n")
    assert chapter_times.peak_memory(process.pid) is None


@pytest.fixture
def recorded(monkeypatch) -> list:
    calls = []
    monkeypatch.setattr(chapter_times, "record", lambda *what: calls.append(what))
    return calls


def chapter(folder: Path, text: str, new=nbformat.v4.new_code_cell) -> Path:
    """A notebook of one cell."""
    path = folder / "01_small.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[new(text, id="a")])))
    return path


def test_a_chapter_that_ran_is_recorded(tmp_path, monkeypatch, recorded):
    path = chapter(tmp_path, "x = bytearray(200_000_000)\nprint(len(x))")
    monkeypatch.setattr(execution, "chapters", lambda: [path])
    assert execution.run(path, limit=120) is None
    ((name, seconds, memory),) = recorded
    assert name == "01_small" and 0 < seconds < 120
    if Path("/proc/self/status").is_file():
        assert 200_000_000 < memory < 2_000_000_000


@pytest.mark.parametrize("source", ["1 / 0", "import sys; print(1, file=sys.stderr)"])
def test_a_chapter_that_failed_is_not(tmp_path, monkeypatch, recorded, source):
    path = chapter(tmp_path, source)
    monkeypatch.setattr(execution, "chapters", lambda: [path])
    assert execution.run(path, limit=120)
    assert recorded == []


def test_another_notebook_is_not(tmp_path, recorded):
    assert execution.run(chapter(tmp_path, "1 + 1"), limit=120) is None
    assert recorded == []


# The boxes at the top of the chapters.


def boxes(book: Path = ROOT / "book") -> dict[str, dict]:
    """The seconds and the memory in GB that each chapter's box says, by the chapter's name."""
    found = {}
    for path in sorted(book.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "".join(next(c["source"] for c in cells if c["cell_type"] == "markdown"))
        box = BOX.search(re.sub(r"\s*\n> *", " ", text))
        assert box, f"the box of {path.name} says not what the others do: {text[-300:]!r}"
        found[path.stem] = {"seconds": int(box["seconds"]), "memory": float(box["memory"])}
    return found


def disagreements(boxed: dict, times: dict) -> list[str]:
    """Where a box is wrong about its chapter, by more than a run varies.

    No run may take a quarter more than its box says, nor a box say twice what a run takes. Short
    chapters are mostly imports, which vary more: a second is forgiven.
    """
    told = []
    for name, box in boxed.items():
        if name not in times:
            told.append(f"{name} has no recorded run")
            continue
        run = times[name]
        if (run["cores"], run["threads"]) != (2, 2):
            told.append(f"{name} ran on {run['cores']} cores with {run['threads']} threads")
        for value, said, least in (("seconds", box["seconds"], 1.0),
                                   ("peak_memory_gb", box["memory"], 0.05)):
            took = run[value]
            if took is None or took > 1.25 * said + least or said > 2 * took + least:
                told.append(f"{name}: {value} is {took}, and the box says {said}")
    return told


def test_boxes_agree_with_the_recorded_runs():
    if not chapter_times.FILE.is_file():
        pytest.skip("no run is recorded yet: `make notebooks` does, on two quiet cores")
    times = json.loads(chapter_times.FILE.read_text())
    assert disagreements(boxes(), times) == []
    assert set(times) == set(boxes())


def test_a_box_that_is_wrong_is_noticed():
    said = {"a": {"seconds": 50, "memory": 1.0}}
    assert disagreements(said, {"a": RUN}) == []
    assert disagreements(said, {}) == ["a has no recorded run"]
    for change in ({"seconds": 64.0}, {"seconds": 24.0}, {"peak_memory_gb": 1.4},
                   {"peak_memory_gb": 0.45}, {"peak_memory_gb": None}, {"threads": 1}):
        assert len(disagreements(said, {"a": RUN | change})) == 1, change


def test_every_box_says_what_its_chapter_takes():
    said = boxes()
    assert set(said) == {path.stem for path in execution.chapters()}
    assert all(0 < box["seconds"] <= execution.LIMIT for box in said.values())
    assert all(0.1 < box["memory"] < 12.7 for box in said.values())  # Colab has that much


def box(tmp_path: Path, takes: str) -> dict:
    text = f"# Small\n\n> **Able to** read.\n>\n> **Takes** about {takes}\n"
    return boxes(chapter(tmp_path, text, nbformat.v4.new_markdown_cell).parent)["01_small"]


def test_a_box_is_read_over_its_lines(tmp_path):
    said = box(tmp_path, "105 seconds on two CPU cores (most of it is one\n> run), 1.1 GB of"
               " memory, no\n> download.")
    assert said == {"seconds": 105, "memory": 1.1}
    said = box(tmp_path, "5 seconds on two CPU cores, 2 GB of memory, downloads 310 MB.")
    assert said == {"seconds": 5, "memory": 2.0}


@pytest.mark.parametrize("takes", ["a minute.", "5 seconds on a GPU, 1 GB of memory, no download.",
                                   "5 seconds on two CPU cores, no download."])
def test_a_box_of_another_form_is_an_error_that_names_the_chapter(tmp_path, takes):
    with pytest.raises(AssertionError, match="01_small.ipynb"):
        box(tmp_path, takes)


# The page.


def test_no_number_on_the_page_is_typed_by_hand():
    text = (ROOT / "book" / "run_times.md").read_text(encoding="utf-8")
    # But for the columns of tables, roles, formulas, commands, and the number of a chapter.
    text = re.sub(r"^```\{record\}.*?^```$|\{ddim-fact\}`[^`]*`|\$[^$]*\$|^    [^\n]*$"
                  r"|\[chapter \d+\]\([^)]*\)", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"\d+", text) == []


def test_what_is_said_of_the_tables_of_mnist_is_so():
    text = (ROOT / "data" / "results" / "mnist-table.json").read_text()
    rows = {(row["S"], row["eta"], row["order"]): row for row in json.loads(text)["rows"]}
    for space in ("classifier", "plain", "pixels"):
        distance = {key: row[space]["distance"] for key, row in rows.items()}
        five = {eta: d for (S, eta, _), d in distance.items() if S == 5}
        assert len(five) == 5 and min(five, key=five.get) == 0
        assert abs(distance[10, 0, 2] / distance[50, 0, 1] - 1) < 0.03
        if space != "pixels":
            assert distance[10, "hat", 1] > 10 * distance[10, 0, 1]
            assert distance[100, "hat", 1] < distance[100, 0, 1]
        card = (ROOT / "data" / "weights" / "mnist.md").read_text(encoding="utf-8")
        assert f"{distance[10, 0, 2]:.2f}" in card and f"{distance[20, 0, 2]:.2f}" in card
