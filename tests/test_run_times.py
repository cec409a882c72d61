"""Run times: how a run is recorded, that the page says what was recorded, that the boxes agree."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chapter_times
import ddim_run_times as page
import nbformat
import notebooks
import pytest

ROOT = Path(__file__).resolve().parent.parent
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


def chapter(folder: Path, source: str) -> Path:
    path = folder / "01_small.ipynb"
    cell = nbformat.v4.new_code_cell(source, id="a")
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
    return path


def test_a_chapter_that_ran_is_recorded(tmp_path, monkeypatch, recorded):
    path = chapter(tmp_path, "x = bytearray(200_000_000)\nprint(len(x))")
    monkeypatch.setattr(notebooks, "chapters", lambda: [path])
    assert notebooks.run(path, limit=120) is None
    ((name, seconds, memory),) = recorded
    assert name == "01_small" and 0 < seconds < 120
    if Path("/proc/self/status").is_file():
        assert 200_000_000 < memory < 2_000_000_000


@pytest.mark.parametrize("source", ["1 / 0", "import sys; print(1, file=sys.stderr)"])
def test_a_chapter_that_failed_is_not(tmp_path, monkeypatch, recorded, source):
    path = chapter(tmp_path, source)
    monkeypatch.setattr(notebooks, "chapters", lambda: [path])
    assert notebooks.run(path, limit=120)
    assert recorded == []


def test_another_notebook_is_not(tmp_path, recorded):
    assert notebooks.run(chapter(tmp_path, "1 + 1"), limit=120) is None
    assert recorded == []


# The boxes at the top of the chapters.


def disagreements(boxes: dict, times: dict) -> list[str]:
    """Where a box is wrong about its chapter, by more than a run varies.

    No run may take a quarter more than its box says, nor a box say twice what a run takes. Short
    chapters are mostly imports, which vary more: a second is forgiven.
    """
    told = []
    for name, box in boxes.items():
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
    assert disagreements(page.chapters(), times) == []
    assert set(times) == set(page.chapters())


def test_a_box_that_is_wrong_is_noticed():
    boxes = {"a": {"seconds": 50, "memory": 1.0}}
    assert disagreements(boxes, {"a": RUN}) == []
    assert disagreements(boxes, {}) == ["a has no recorded run"]
    for change in ({"seconds": 64.0}, {"seconds": 24.0}, {"peak_memory_gb": 1.4},
                   {"peak_memory_gb": 0.45}, {"peak_memory_gb": None}, {"threads": 1}):
        assert len(disagreements(boxes, {"a": RUN | change})) == 1, change


def test_every_box_says_what_its_chapter_takes():
    boxes = page.chapters()
    assert set(boxes) == {path.stem for path in notebooks.chapters()}
    assert [box["number"] for box in boxes.values()] == list(range(1, len(boxes) + 1))
    assert all(0 < box["seconds"] <= notebooks.LIMIT for box in boxes.values())
    assert all(0.1 < box["memory"] < 12.7 for box in boxes.values())  # Colab has that much


def box(tmp_path: Path, takes: str) -> dict:
    text = f"# Small\n\n> **Able to** read.\n>\n> **Takes** about {takes}\n"
    cell = nbformat.v4.new_markdown_cell(text, id="a")
    path = tmp_path / "03_small.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
    return page.chapters(tmp_path)["03_small"]


def test_a_box_is_read_over_its_lines(tmp_path):
    said = box(tmp_path, "105 seconds on two CPU cores (most of it is one\n> run), 1.1 GB of"
               " memory, no\n> download.")
    assert said == {"number": 3, "title": "Small", "seconds": 105, "memory": 1.1,
                    "downloads": "none"}
    said = box(tmp_path, "5 seconds on two CPU cores, 2 GB of memory, downloads 310 MB.")
    assert said["downloads"] == "310 MB"


@pytest.mark.parametrize("takes", ["a minute.", "5 seconds on a GPU, 1 GB of memory, no download.",
                                   "5 seconds on two CPU cores, no download."])
def test_a_box_of_another_form_is_an_error_that_names_the_chapter(tmp_path, takes):
    with pytest.raises(ValueError, match="03_small.ipynb"):
        box(tmp_path, takes)


# The page.


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "results"
    shutil.copytree(ROOT / "data" / "results", folder)
    (folder / page.TIMES).unlink(missing_ok=True)
    return folder


def change(folder: Path, file: str, edit) -> None:
    content = json.loads((folder / file).read_text())
    edit(content)
    (folder / file).write_text(json.dumps(content))


def test_without_a_recorded_run_the_page_says_so(results):
    assert "make notebooks" in page.chapter_table(results)


def test_the_chapters_are_told_with_their_machines(results):
    times = {"01_noising": RUN, "02_oracle": RUN | {"seconds": 6.66, "peak_memory_gb": None},
             "04_sampling": RUN | {"processor": "Another chip", "threads": 1}}
    (results / page.TIMES).write_text(json.dumps(times))
    lines = page.chapter_table(results).splitlines()
    assert "| 1. [Noising](01_noising.ipynb) | 50.0 | 1.00 | none |" in lines
    assert "| 2. [Denoising with an oracle](02_oracle.ipynb) | 6.66 | – | none |" in lines
    assert "| 3. [Learning the noise](03_learning.ipynb) | – | – | none |" in lines
    said = " ".join(lines[-3:])
    assert "Chapters 1, 2: A chip, 2 cores, 2 threads; Python 3.11.7, torch 2.14.1" in said
    assert "Chapter 4: Another chip, 2 cores, 1 thread;" in said and page.TIMES in said


def test_times_and_distances_are_the_files(results):
    def edit(content):
        row = next(r for r in content["rows"] if r["S"] == 50 and r["eta"] == 1.0)
        row["seconds"] = 7.77
    change(results, "mnist-speed.json", edit)
    lines = page.sampling_table(results).splitlines()
    (line,) = [line for line in lines if line.startswith("| 50 ")]
    gpu = json.loads((results / "mnist-speed-h100.json").read_text())["rows"]
    table = json.loads((results / "mnist-table.json").read_text())["rows"]
    distance = {(r["S"], r["eta"]): r["distance"] for r in table if r["spacing"] == "trailing"}
    (seconds,) = [row["seconds"] for row in gpu if row["S"] == 50]
    assert line.split(" | ")[2:] == [
        "7.77", f"{seconds:.2f}", f"{distance[50, 0.0]:.2f}", f"{distance[50, 1.0]:.2f} |"
    ]


def test_training_hours_follow_from_steps_batch_and_speed(results):
    def edit(content):
        content["training"] |= {"steps": 1000, "batch_size": 36}
        content["seconds"] = 100
    change(results, "kkanji-training.json", edit)
    change(results, "training-speed.json", lambda content: next(
        row for row in content["rows"] if row["preset"] == "kkanji").update(images_per_second=2.0))
    assert "| `kkanji` |" in page.training_table(results)
    (run,) = [line for line in page.training_table(results).splitlines() if "`kkanji` |" in line]
    assert run.endswith("| 1,000 | 36 | 23.8 | 100 | 360 |")
    (row,) = [r for r in page.training_speed_table(results).splitlines() if "`kkanji` |" in r]
    assert row.endswith("| 2.00 | 5.00 |")
    (row,) = [r for r in page.training_speed_table(results).splitlines() if "`digits` |" in r]
    assert row.endswith("| – |")


@pytest.mark.parametrize("make", [page.sampling_table, page.training_table,
                                  page.training_speed_table], ids=lambda make: make.__name__)
def test_each_table_says_n_machine_date_and_file(make):
    text = make()
    files = re.findall(r"`data/results/([\w.-]+)`", text)
    assert files
    for file in files:
        content = json.loads((ROOT / "data" / "results" / file).read_text())
        assert content["hardware"] in text and content["date"] in text
        assert content["torch"] in text
    assert re.search(r"\bn = \d|pictures n", text)


def test_no_number_on_the_page_is_typed_by_hand():
    text = (ROOT / "book" / "run_times.md").read_text(encoding="utf-8")
    # But for commands, and the number of a chapter that is linked.
    text = re.sub(r"^    .*$|\[chapter \d\]\([^)]*\)", "", text, flags=re.MULTILINE)
    assert re.findall(r"\d+", text) == []
    for name in page.TABLES:
        assert f"```{{{name}}}\n```" in text
