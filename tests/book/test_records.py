"""Numbers and tables on pages are those of the records, and what no record has is an error."""

import json
import re
import shutil
from pathlib import Path

import ddim_records
import pytest
import small_book
from ddim_records import column, fields, origins, rows_of
from test_run_times import RUN

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```\{record\} ([^\n]*)\n((?::[^\n]*\n)*)(.*?)^```$",
                   re.DOTALL | re.MULTILINE)


@pytest.fixture
def root(tmp_path) -> Path:
    """A small project with a record of each form."""
    (tmp_path / "data/results").mkdir(parents=True)
    a = {"n": 5000, "seeds": "0..4999", "hardware": "A chip", "date": "2026-11-23",
         "commit": "abc1234", "flag": True, "share": {"one, two": 0.25, "three": 1e-5},
         "rows": [{"S": 10, "x": 1.5, "ok": True}, {"S": 20, "x": 2.5, "ok": False},
                  {"S": 30, "y": [1, 28], "x": 3.0, "z": None}]}
    write(tmp_path, "a.json", a)
    write(tmp_path, "b.json", a | {"rows": [{"S": 20, "d": 7}, {"S": 9, "d": 1}, {"S": 9}]})
    return tmp_path


def write(root: Path, name: str, record: dict) -> None:
    (root / "data/results" / name).write_text(json.dumps(record))


def table(root: Path, *lines: str, name="a.json", path="rows", where="", turned=False) -> list[str]:
    text = ddim_records.table(rows_of(name.split(), path, where, root),
                              [column(line) for line in lines], turned, root)
    return text.splitlines()


# Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, said", [
    (1e-10, "$10^{-10}$"), (5e-6, r"$5 \cdot 10^{-6}$"), (2.5e-4, r"$2.5 \cdot 10^{-4}$"),
    (-1e-5, "$-1 \\cdot 10^{-5}$"), (1e-3, "0.001"), (0.0157, "0.0157"), (0.0, "0"), (3.0, "3"),
    (609.1, "609.1"), (1500000, "1,500,000"), ("a", "a")])
def test_values_in_words(value, said):
    assert fields.shown(value) == said


def test_the_largest_of_several(root):
    write(root, "runs.json", {"one": RUN, "two": RUN | {"seconds": 90.5}})
    assert fields.fact("runs.json *.seconds as largest", root) == (90.5, "runs.json")


def test_shares_in_percent():
    assert [fields.FORMS["percent"](share) for share in (0.91, 0.9374, 1.0, 0.2)] == [
        "91%", "93.74%", "100%", "20%"]


@pytest.mark.parametrize("text, said", [
    ("a.json none", "no field none"), ("a.json rows[S=40].x", "no row has S=40"),
    ("b.json rows[S=9].d", "2 rows have S=9"), ("a.json rows[S].x", "must read 'key=value"),
    ("a.json rows[S=10].y", "no field y"), ("a.json flag", "cannot be told"),
    ("a.json rows", "cannot be told"), ("c.json n", "no file data/results/c.json"),
    ("a.json n as roman", "the form must be one of"), ("a.json", "must read"),
    ("test_a.py LIMIT", "must read"),
])
def test_a_number_that_is_not_there_is_an_error(root, text, said):
    assert fields.fact("a.json rows[S=20].x", root) == (2.5, "a.json")
    with pytest.raises(ValueError, match=said):
        fields.fact(text, root)


def test_a_key_may_have_dots_and_a_path_several_steps():
    record = {"a": {"b": 1, "c": [{"d": 2}]}, "a.b": 3, "x": {"y": {"z": 4}, "w": {"z": 5}}}
    assert [fields.field(record, path) for path in ("a.b", "a.c[d=2].d", "x.y.z", "x.*.z")] == [
        3, 2, 4, [4, 5]]


def test_a_record_tells_its_origin():
    told = {"n": 5000, "seeds": "none: test digits", "hardware": "A chip", "torch": "2.14",
            "date": "2026-11-23", "commit": "abc1234"}
    assert fields.origin(told) == "n = 5,000, A chip, torch 2.14, 2026-11-23, commit abc1234"
    assert fields.origin(told | {"seeds": "0..9"}).startswith("n = 5,000, seeds 0..9, A chip")


def test_runs_tell_each_machine_with_its_runs():
    runs = {"one": RUN, "two": RUN | {"seconds": 9.0}}
    said = "A chip, 2 cores, 2 threads, Python 3.11.7, torch 2.14.1, 2026-11-23"
    assert fields.origin(runs) == said
    other = RUN | {"processor": "Another", "threads": 1}
    assert fields.origin(runs | {"three": other}).startswith(
        f"one, two: {said}; three: Another, 2 cores, 1 threads")


# Tables -----------------------------------------------------------------------------------------


def test_a_table_has_heads_formats_and_dashes(root):
    assert table(root, "S | steps", "x | seconds | {:.2f}", "ok | holds | yes/no",
                 "y | size | {0[0]}x{0[1]}") == [
        "| steps | seconds | holds | size |", "| --- | ---: | ---: | ---: |",
        "| 10 | 1.50 | yes | – |", "| 20 | 2.50 | no | – |", "| 30 | 3.00 | – | 1x28 |"]


def test_rows_are_chosen_and_those_with_nothing_left_out(root):
    assert table(root, "S | S", "x | x", where="S=20, ok=False")[2:] == ["| 20 | 2.5 |"]
    assert table(root, "S | S", "ok | | a/b")[2:] == ["| 10 | a |", "| 20 | b |"]


def test_columns_may_become_lines(root):
    assert table(root, "S | S", "x | x", where="ok=True", turned=True) == [
        "| S | 10 |", "| --- | ---: |", "| x | 1.5 |"]


def test_entries_of_a_dict_are_rows_and_so_are_records(root):
    assert table(root, "name | name", "value | share", path="share")[2:] == [
        "| one, two | 0.25 |", "| three | $10^{-5}$ |"]
    write(root, "runs.json", {"one": RUN})
    assert table(root, "name | run", "seconds | s", name="runs.json", path="")[2:] == [
        "| one | 50 |"]
    assert table(root, "n | n", "rows[S=20].S | S", name="a.json b.json")[2:] == [
        "| 5,000 | 20 |"] * 2


def test_columns_compute_and_ask_other_records(root):
    assert table(root, "S | S", "S * x / 10 | a", "b.json rows[S={S}].d * 2 | b")[2:] == [
        "| 10 | 1.5 | – |", "| 20 | 5 | 14 |", "| 30 | 9 | – |"]


@pytest.mark.parametrize("line, said", [
    ("w | w", "no row has w: there is no field w"), ("z | z", "no row has z"),
    ("x", "a column must read"), (" | x", "a column must read"), ("x|x|{}|y", "a column must"),
    ("S | S | {:q}", "the format '{:q}' does not fit 10"), ("y | y", "cannot be told"),
    ("x * y | x", "cannot be computed"),
    ("x / 0 | x", "cannot be computed"), ("ok | x", "cannot be told"),
    ("b.json rows[S={w}].d | d", "the row has no 'w'"), ("c.json n | n", "no file data/results/c"),
    ("b.json rows[commit={S}].d | d", "no row has commit"),
])
def test_a_column_that_cannot_be_shown_is_an_error(root, line, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        table(root, "S | S", line)


def test_two_rows_for_one_cell_are_an_error_and_no_dash(root):
    write(root, "c.json", {"rows": [{"S": 9}]})
    with pytest.raises(ValueError, match="2 rows have S=9"):
        table(root, "S | S", "b.json rows[S={S}].d | d", name="c.json")


@pytest.mark.parametrize("path, where, said", [
    ("n", "", "must be a list or a dict of rows, and is 5000"), ("none", "", "no field none"),
    ("rows", "S=40", "no row of a.json has S=40"), ("rows", "S", "must read 'key=value")])
def test_rows_that_are_not_there_are_an_error(root, path, where, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        table(root, "S | S", path=path, where=where)


def test_records_of_one_origin_are_told_together_and_once(root):
    said = "n = 5,000, seeds 0..4999, A chip, 2026-11-23, commit abc1234"
    assert origins(["a.json", "b.json"], [], root) == (
        f"`data/results/a.json`, `data/results/b.json`: {said}.\n")
    assert origins(["a.json", "b.json"], ["a.json"], root) == (
        f"`data/results/a.json`: as above. `data/results/b.json`: {said}.\n")


# The build --------------------------------------------------------------------------------------


def page(tmp_path: Path, text: str) -> tuple[str, str]:
    return small_book.page(tmp_path, f"# Title\n\n{text}\n", ["ddim_records"])


def test_a_page_shows_a_table_and_a_number(tmp_path):
    told, html = page(tmp_path, "At {ddim-fact}`mnist-quality.json distance`, to {ddim-fact}`"
                      "bench-sampling.json mean_difference_in_grey_levels.diffusers fp32`.\n\n"
                      "```{record} bench-memory.json\n:rows: rows\n\nbatch_size | batch\n"
                      "mib.ddim_lib fp32 | MiB\n```")
    quality, memory = (fields.load(name) for name in ("mnist-quality.json", "bench-memory.json"))
    assert told == ""
    apart = fields.load("bench-sampling.json")["mean_difference_in_grey_levels"]["diffusers fp32"]
    assert f">{quality['distance']}<" in html
    assert rf"\({fields.shown(apart).strip('$')}\)" in html  # a formula
    for row in memory["rows"]:
        assert f"<p>{fields.shown(row['mib']['ddim_lib fp32'])}</p>" in html
    assert "data/results/bench-memory.json" in html and memory["processor"] in html


@pytest.mark.parametrize("text, said", [
    ("{ddim-fact}`mnist-quality.json grade`", "no field grade"),
    ("{ddim-fact}`mnist-glory.json n`", "no file data/results/mnist-glory.json"),
    ("```{record} bench-memory.json\n:rows: rows\n\nbatch | size\n```", "no row has batch"),
    ("```{record} bench-glory.json\nbatch | size\n```", "no file data/results/bench-glory.json")])
def test_what_no_record_has_stops_the_build(tmp_path, text, said):
    """A warning, and warnings are errors to `make book`."""
    told, _ = page(tmp_path, text)
    assert "WARNING" in told and said in told


# The pages --------------------------------------------------------------------------------------


def tables(name: str, root: Path = ROOT) -> list[list[str]]:
    """The lines of each table of a page."""
    found = []
    text = (ROOT / "book" / name).read_text(encoding="utf-8")
    for names, options, lines in BLOCK.findall(text):
        options = dict(re.findall(r"^:(\w+): *(.*)$", options, re.MULTILINE))
        found.append(table(root, *filter(str.strip, lines.splitlines()), name=names,
                           path=options.get("rows", ""), where=options.get("where", ""),
                           turned="turned" in options))
    return found


@pytest.fixture
def copied(tmp_path) -> Path:
    """The book's records, to be changed."""
    shutil.copytree(ROOT / "data/results", tmp_path / "data/results")
    return tmp_path


def change(root: Path, name: str, edit) -> None:
    record = fields.load(name, root)
    edit(record)
    write(root, name, record)


def test_every_table_of_the_two_pages_is_there():
    assert len(tables("run_times.md")) == 10 and len(tables("benchmarks.md")) == 13


def test_times_and_distances_are_the_records(copied):
    change(copied, "mnist-speed.json", lambda record: next(
        row for row in record["rows"] if (row["S"], row["eta"]) == (50, 1.0)).update(seconds=7.77))
    (line,) = [line for line in tables("run_times.md", copied)[1] if line.startswith("| 50 ")]
    seconds = fields.fact("mnist-speed-h100.json rows[S=50].seconds")[0]
    row = "mnist-eps-table.json rows[S=50,eta={},spacing=trailing].distance"
    distance = [fields.fact(row.format(eta))[0] for eta in ("0.0", "1.0")]
    assert line.split(" | ")[2:] == ["7.77", f"{seconds:.2f}", f"{distance[0]:.2f}",
                                     f"{distance[1]:.2f} |"]


def test_training_hours_follow_from_steps_batch_and_speed(copied):
    def edit(record):
        record["training"] |= {"steps": 1000, "batch_size": 36}
        record["seconds"] = 100
    change(copied, "kkanji-training.json", edit)
    change(copied, "training-speed.json", lambda record: next(
        row for row in record["rows"] if row["preset"] == "kkanji").update(images_per_second=2.0))
    *_, runs, speeds = tables("run_times.md", copied)
    (run,) = [line for line in runs if line.startswith("| `kkanji` |")]
    assert run.endswith("| 1,000 | 36 | 0.8 | 100 | 360 |")
    (row,) = [line for line in speeds if line.startswith("| `kkanji` |")]
    assert row.endswith("| 2 | 5.0 |")
    (row,) = [line for line in speeds if line.startswith("| `digits` |")]
    assert row.endswith("| – |")


def test_a_missed_target_is_called_missed(copied):
    def edit(record):
        record["targets"] = [{"what": "twice", "wanted": 2, "reached": 1.9, "holds": False},
                             {"what": "once", "wanted": 1, "reached": 1.5, "holds": True}]
    change(copied, "bench-sampling.json", edit)
    lines = [line for one in tables("benchmarks.md", copied) for line in one]
    assert "| twice | 2 | 1.9 | missed |" in lines and "| once | 1 | 1.5 | reached |" in lines


def test_a_table_of_operations_leaves_none_out():
    (row, *_) = fields.load("bench-profile.json")["rows"]
    (lines,) = [one for one in tables("benchmarks.md") if "| convolution |" in "".join(one)]
    said = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
    assert sorted(said) == sorted(row["share_of_time"])
