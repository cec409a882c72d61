"""The tables of the page "Benchmarks", made of the records that `make bench` writes.

No number is typed by hand, and a target that is missed is called missed.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from ddim_run_times import RESULTS, number, table
from nested import generated
from sphinx.application import Sphinx

OURS, THEIRS, THIRD = "ddim_lib", "diffusers", "denoising-diffusion-pytorch"
#: The half types that a device can be good at.
HALVES = ("bf16", "fp16")


def read(name: str, folder: Path) -> dict:
    return json.loads((folder / f"bench-{name}.json").read_text(encoding="utf-8"))


def facts(told: dict) -> str:
    """How often and when: the line below a table."""
    rounds = f"Medians of n = {told['rounds']} rounds, c" if "rounds" in told else "C"
    return (f"{rounds}ommit {told['commit']}, {told['date']}, "
            f"`data/results/bench-{told['bench']}.json`.\n")


def machine(results: Path = RESULTS) -> str:
    """What all records were measured on; several machines are all named."""
    where: dict[str, list[str]] = {}
    for path in sorted(results.glob("bench-*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        each = (f"{told['processor']}, {told['hardware']}, torch {told['torch']}, "
                f"diffusers {told['diffusers']}")
        where.setdefault(each, []).append(told["bench"])
    if len(where) == 1:
        return f"Measured on: {next(iter(where))}.\n"
    return "\n".join(f"- {', '.join(names)}: {each}" for each, names in where.items()) + "\n"


def half(names) -> str | None:
    """The half type that was measured, if there was one."""
    return next((kind for kind in HALVES if any(kind in name for name in names)), None)


def speeds(rows: list[dict], first: str, quantity: str, columns: list[str]) -> str:
    """A line for each row, a column for each contestant that was measured in all of them."""
    head = [first.replace("_", " "), *columns]
    return table(head, [[row[first], *(number(row[quantity][name]["median"]) for name in columns)]
                        for row in rows])


def targets(told: dict) -> str:
    """What was to be reached, what was, and whether it is."""
    rows = [[t["what"], number(t["wanted"]), number(t["reached"]),
             "reached" if t["holds"] else "missed"] for t in told["targets"]]
    return table(["target", "at least", "measured", ""], rows)


def sampling(results: Path = RESULTS) -> str:
    told = read("sampling", results)
    rows, kind = told["rows"], half(told["mean_difference_in_grey_levels"])
    plain = [f"{OURS} fp32", f"{THEIRS} fp32", f"{THIRD} fp32"]
    plain += [f"{OURS} {kind}", f"{THEIRS} {kind}"] if kind else []
    parts = [speeds(rows, "batch_size", "image_steps_per_second", plain)]
    some = [row for row in rows if any("compiled" in n for n in row["image_steps_per_second"])]
    if some:
        names = [n for n in some[0]["image_steps_per_second"] if n.endswith("compiled")]
        parts += ["Through `torch.compile`:\n",
                  speeds(some, "batch_size", "image_steps_per_second", names)]
    else:
        parts += [f"Nothing was compiled: {told['not_compiled']}.\n"]
    return "\n".join([*parts, facts(told), targets(told)])


def same(results: Path = RESULTS) -> str:
    """How far the pictures of the contestants are from this library's in fp32."""
    told = read("sampling", results)
    rows = [[name, f"{value:.2g}"] for name, value
            in told["mean_difference_in_grey_levels"].items() if value]
    head = ["contestant", "mean difference (grey levels of 0..255)"]
    return f"{table(head, rows)}\n16 digits, {told['steps']} steps. {facts(told)}"


def peak(results: Path = RESULTS) -> str:
    told, grown = read("sampling", results), read("growth", results)
    rows = []
    for precision, rate in told["peak_gflop_per_second"].items():
        for name, share in told["share_of_peak"].items():
            if name.startswith(precision):
                rows.append([f"digits, {name}", number(rate), f"{share:.1%}"])
    for row in grown["by_resolution"]:
        for precision, share in row["share_of_peak"].items():
            size, rate = row["resolution"], grown["peak_gflop_per_second"][precision]
            rows.append([f"{size}x{size}, {precision}, batch {grown['batch_size']}", number(rate),
                         f"{share:.1%}"])
    head = ["network", "peak (GFLOP/s)", "share of it"]
    return f"{table(head, rows)}\n{facts(told)}\n{facts(grown)}"


def profile(results: Path = RESULTS) -> str:
    told = read("profile", results)
    rows = [row for row in told["rows"] if row["eta"] == 0]
    kinds = sorted({kind for row in rows for kind in row["share_of_time"]},
                   key=lambda kind: -rows[0]["share_of_time"].get(kind, 0))
    lines = [[kind, *(f"{row['share_of_time'].get(kind, 0):.1%}" for row in rows)]
             for kind in kinds]
    waits = sum(sum(row["waits"].values()) for row in told["rows"])
    heads = ["operation", *(row["precision"] for row in rows)]
    # On a CPU there is nobody to wait for, and 0 would say nothing.
    waited = "" if told["hardware"].endswith("threads") else \
        f"The host waited for the device {waits} times in {len(told['rows'])} walks. "
    return (f"{table(heads, lines)}\nBatch {told['batch_size']}, {told['steps']} steps. {waited}"
            f"{facts(told)}")


def training(results: Path = RESULTS) -> str:
    told = read("training", results)
    names = list(told["rows"][0]["images_per_second"])
    return "\n".join([speeds(told["rows"], "batch_size", "images_per_second", names), facts(told),
                      targets(told)])


def growth(results: Path = RESULTS) -> str:
    told = read("growth", results)
    rows = told["by_resolution"]
    names = list(rows[0]["image_steps_per_second"])
    head = ["resolution", "GFLOP an image-step", *names]
    by_size = table(head, [[f"{r['resolution']}x{r['resolution']}",
                            number(r["gflop_per_image_step"]),
                            *(number(r["image_steps_per_second"][name]["median"])
                              for name in names)] for r in rows])
    steps = told["by_steps"]
    names = list(steps[0]["seconds_for_16_digits"])
    heads = [name.replace("eta", r"$\eta$") + " (s)" for name in names]
    by_steps = table(["steps", *heads],
                     [[r["steps"], *(number(r["seconds_for_16_digits"][name]) for name in names)]
                      for r in steps])
    return (f"Image-steps a second at batch {told['batch_size']}:\n\n{by_size}\n"
            f"Seconds for 16 digits, here the middle one of three:\n\n{by_steps}\n{facts(told)}")


def memory(results: Path = RESULTS) -> str:
    told = read("memory", results)
    names = list(told["rows"][0]["mib"])
    rows = [[row["batch_size"], *(number(row["mib"][name]) for name in names)]
            for row in told["rows"]]
    return f"{table(['batch size', *names], rows)}\nMiB, one process each. {facts(told)}"


def quality(results: Path = RESULTS) -> str:
    told = read("quality", results)
    names = list(told["rows"][0]["seconds"])
    rows = [[name, *(f"{number(r['seconds'][name])} "
                     f"({number(r['seconds_for_1000_steps'][name])})" for r in told["rows"])]
            for name in names]
    head = ["", *(f"$\\eta = {row['eta']:g}$, {row['steps']} steps" for row in told["rows"])]
    near = "; ".join(f"$\\eta = {row['eta']:g}$: {number(row['distance'])} with {row['steps']} "
                     f"steps, {number(row['distance_1000'])} with 1000" for row in told["rows"])
    check = told["half_precision"]
    kinds = {k: v for k, v in check["distance"].items() if k in ("fp32", *HALVES)}
    said = ", ".join(f"{value:.2f} in {kind}" for kind, value in kinds.items())
    apart = check["distance"].get("mean_difference_in_grey_levels")
    apart = f" (the pictures differ by {apart:.2g} grey levels in the mean)" if apart else ""
    return (f"{table(head, rows)}\nSeconds for {told['digits']} digits, the best of three; in "
            f"brackets what 1000 steps would take at this speed. "
            f"Distances (n = {told['n_of_distances']:,}): {near}. "
            f"Precision: {said} for n = {check['n']:,} digits in {check['steps']} steps{apart}. "
            f"{facts(told)}")


def records(*names: str) -> list[Path]:
    return [RESULTS / f"bench-{name}.json" for name in names]


TABLES = {
    "bench-machine": (machine, lambda: sorted(RESULTS.glob("bench-*.json"))),
    "bench-sampling": (sampling, partial(records, "sampling")),
    "bench-same": (same, partial(records, "sampling")),
    "bench-peak": (peak, partial(records, "sampling", "growth")),
    "bench-profile": (profile, partial(records, "profile")),
    "bench-training": (training, partial(records, "training")),
    "bench-growth": (growth, partial(records, "growth")),
    "bench-memory": (memory, partial(records, "memory")),
    "bench-quality": (quality, partial(records, "quality")),
}


def setup(app: Sphinx) -> dict:
    for name, (make, sources) in TABLES.items():
        app.add_directive(name, generated(make, sources))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
