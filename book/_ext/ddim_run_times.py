"""The tables of the page "Run times and hardware", made of the measured files.

No number here is typed by hand: each comes from data/results, and the line under a table says from
which file, on what machine and when. What a chapter downloads stands in its own box.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from nested import generated
from repository import ROOT
from sphinx.application import Sphinx

RESULTS = ROOT / "data" / "results"
TIMES = "chapter-times.json"
# The box at the top of a chapter. What it says in round brackets is a remark.
BOX = re.compile(
    r"\*\*Takes\*\* about (?P<seconds>\d+) seconds on two CPU cores(?: \([^)]*\))?,"
    r" (?P<memory>[\d.]+) GB of memory, (?P<downloads>no download|downloads [\d.]+ [kMG]B)\b"
)
TRAININGS = ("mnist", "mnist-eps", "kkanji", "anime-faces", "cifar10-small")


def table(head: list[str], rows: list[list]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    marks = ["---"] + ["---:"] * (len(head) - 1)
    lines = [head, marks, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def read(name: str, folder: Path) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def number(value: float | None) -> str:
    """Three digits of a number, or two if it is small; a dash if there is none."""
    if value is None:
        return "–"
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def chapters(book: Path = ROOT / "book") -> dict[str, dict]:
    """Number, title and box of each chapter, by its name."""
    found = {}
    for path in sorted(book.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "".join(next(c["source"] for c in cells if c["cell_type"] == "markdown"))
        box = BOX.search(re.sub(r"\s*\n> *", " ", text))
        if box is None:
            raise ValueError(f"the box of {path.name} does not say what the chapter takes as the"
                             f" others do: {text[-300:]!r}")
        found[path.stem] = {
            "number": int(path.stem.split("_")[0]),
            "title": re.search(r"^# (.+)$", text, re.MULTILINE)[1],
            "seconds": int(box["seconds"]),
            "memory": float(box["memory"]),
            "downloads": box["downloads"].removeprefix("downloads ").replace("no download", "none"),
        }
    return found


def chapter_table(results: Path = RESULTS, book: Path = ROOT / "book") -> str:
    if not (results / TIMES).is_file():
        return "No run of the chapters has been recorded yet: `make notebooks` does."
    times, rows, machines = read(TIMES, results), [], {}
    for name, chapter in chapters(book).items():
        run = times.get(name, {})
        link = f"{chapter['number']}. [{chapter['title']}]({name}.ipynb)"
        seconds, memory = run.get("seconds"), run.get("peak_memory_gb")
        rows.append([link, number(seconds), number(memory), chapter["downloads"]])
        if run:
            machines.setdefault(machine(run), []).append(str(chapter["number"]))
    said = "\n".join(
        f"Chapter{'s' if len(names) > 1 else ''} {', '.join(names)}: {which}. "
        for which, names in machines.items()
    )
    head = ["chapter", "seconds", "peak memory (GB)", "downloads"]
    return f"{table(head, rows)}\n{said}n = 1 run each, from `data/results/{TIMES}`.\n"


def machine(run: dict) -> str:
    threads = f"{run['threads']} thread" + ("s" if run["threads"] > 1 else "")
    return (f"{run['processor']}, {run['cores']} cores, {threads}; Python {run['python']},"
            f" torch {run['torch']}; {run['date']}")


def sampling_table(results: Path = RESULTS) -> str:
    """Seconds and quality against the number of steps."""
    files = ["mnist-speed.json", "mnist-speed-h100.json", "mnist-table.json"]
    cpu, gpu, quality = (read(name, results) for name in files)

    def column(source: dict, value: str, eta: float) -> dict:
        rows = [r for r in source["rows"] if r["eta"] == eta and r["spacing"] == "trailing"]
        return {row["S"]: row[value] for row in rows}

    columns = [column(cpu, "seconds", 0.0), column(cpu, "seconds", 1.0),
               column(gpu, "seconds", 0.0),
               column(quality, "distance", 0.0), column(quality, "distance", 1.0)]
    counts = sorted(set().union(*columns))
    rows = [[S, *(number(c.get(S)) for c in columns)] for S in counts]
    head = ["steps S", "DDIM, CPU (s)", "DDPM, CPU (s)", "DDIM, GPU (s)",
            "DDIM, distance", "DDPM, distance"]
    floor = f"real test digits {number(quality['floor_test'])}"
    return table(head, rows) + "\n" + "\n".join([
        f"DDIM is $\\eta = 0$, DDPM $\\eta = 1$; trailing spacing; weights `{cpu['weights']}`.",
        f"CPU: {facts(cpu, files[0])} GPU: {facts(gpu, files[1])}",
        f"Distance: the Fréchet distance of chapter 6 ({floor}), {facts(quality, files[2])}",
    ]) + "\n"


def facts(source: dict, file: str) -> str:
    kinds = [f"n = {source['n']:,}"] if "n" in source else []
    kinds += [source["hardware"]]
    kinds += [source["precision"]] if "precision" in source else []
    kinds += [f"torch {source['torch']}", source["date"], f"`data/results/{file}`"]
    return ", ".join(kinds) + "."


def training_table(results: Path = RESULTS) -> str:
    """What the shipped networks took."""
    rows, notes = [], []
    for name in TRAININGS:
        run = read(f"{name}-training.json", results)
        shown = run["training"]["steps"] * run["training"]["batch_size"]
        rows.append([f"`{name}`", f"{run['images']:,}", f"{run['training']['steps']:,}",
                     run["training"]["batch_size"], number(run["epochs"]), f"{run['seconds']:,}",
                     number(shown / run["seconds"])])
        notes.append((f"{run['hardware']}, {run['precision']}, torch {run['torch']}, {run['date']}",
                      f"`data/results/{name}-training.json`"))
    machines = sorted({which for which, _ in notes})
    said = " ".join(f"{which}; {', '.join(f for w, f in notes if w == which)}."
                    for which in machines)
    head = ["network", "pictures n", "steps", "batch", "passes", "seconds", "pictures a second"]
    return f"{table(head, rows)}\nOne run each. {said}\n"


def training_speed_table(results: Path = RESULTS) -> str:
    """What training takes without a GPU."""
    file = "training-speed.json"
    speed, rows = read(file, results), []
    for row in speed["rows"]:
        hours = None
        if row["preset"] in TRAININGS:
            run = read(f"{row['preset']}-training.json", results)["training"]
            hours = run["steps"] * run["batch_size"] / row["images_per_second"] / 3600
        rows.append([f"`{row['preset']}`", "x".join(map(str, row["image"])),
                     f"{row['parameters']:,}", number(row["gflop"]),
                     number(row["images_per_second"]), number(hours)])
    head = ["preset", "picture", "parameters", "GFLOP a picture", "pictures a second",
            "hours for the run above"]
    (precision,) = {row["precision"] for row in speed["rows"]}
    n = f"n = {speed['steps']} steps of {speed['batch_size']} pictures each, {precision}, "
    return f"{table(head, rows)}\n{n}{facts(speed, file)}\n"


def measured(*names: str) -> list[Path]:
    return [path for path in (RESULTS / name for name in names) if path.is_file()]


TABLES = {
    "chapter-times": (chapter_table, lambda: [*measured(TIMES), *(ROOT / "book").glob("*.ipynb")]),
    "sampling-times": (sampling_table, partial(
        measured, "mnist-speed.json", "mnist-speed-h100.json", "mnist-table.json")),
    "training-times": (training_table, partial(
        measured, *(f"{name}-training.json" for name in TRAININGS))),
    "training-speed": (training_speed_table, partial(
        measured, "training-speed.json", *(f"{name}-training.json" for name in TRAININGS))),
}


def setup(app: Sphinx) -> dict:
    for name, (make, sources) in TABLES.items():
        app.add_directive(name, generated(make, sources))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
