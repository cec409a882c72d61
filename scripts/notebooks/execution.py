"""Run the chapters, each in a fresh kernel, and write them with their outputs in normal form.

What each took goes into data/results/chapter-times.json, so let nothing else run beside it.

python -m scripts.notebooks [--no-limit] [book/01_noising.ipynb ...]
python -m scripts.notebooks --check      say which notebooks are not in normal form
python -m scripts.notebooks --form FILE  take out what an editor has added; run nothing
"""

import argparse
import os
import sys
import time
from pathlib import Path
from queue import Empty

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from scripts.notebooks import chapter_times
from scripts.notebooks.normal_form import normalise, read, text

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 150  # seconds a chapter may take on two cores
# A progress bar holds times, so no two runs give the same one. tqdm's notebook bar overrides
# TQDM_DISABLE; a variable by the name of SPYDER* makes tqdm.auto take the plain bar, which obeys.
NO_BARS = {"TQDM_DISABLE": "1", "SPYDER_PLAIN_PROGRESS_BARS": "1"}


class Client(NotebookClient):
    """Runs a notebook, and looks for the kernel's messages four times a second.

    On a busy machine the socket now and then does not tell of a message that is there (twice in
    70 runs). Left to wait, the cell then seems to take as long as it may, or for ever.
    """

    peak: int | None = None  # bytes of memory that the kernel had at most

    async def async_execute_cell(self, *arguments, **settings):
        cell = await super().async_execute_cell(*arguments, **settings)
        self.peak = chapter_times.peak_memory(self.km.provisioner.pid)
        return cell

    async def async_start_new_kernel_client(self, **settings):
        client = await super().async_start_new_kernel_client(**settings)
        for channel in (client.shell_channel, client.iopub_channel):
            channel.get_msg = in_slices(channel.get_msg)
        return client


def in_slices(get_message, seconds: float = 0.25):
    async def get(timeout: float | None = None):
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                return await get_message(timeout=min(left, seconds))
            except Empty:
                if left <= seconds:
                    raise

    return get


def chapters() -> list[Path]:
    return sorted((ROOT / "book").glob("*.ipynb"))


def in_normal_form(path: Path) -> bool:
    return text(normalise(read(path), path.stem)) == path.read_text(encoding="utf-8")


def run(path: Path, limit: float | None) -> str | None:
    """Run one notebook and rewrite it. Returns what is wrong with it; then it stays as it was."""
    notebook = read(path)
    notebook.metadata.pop("widgets", None)
    os.environ.update(NO_BARS)
    start = time.monotonic()
    client = Client(
        notebook,
        timeout=limit,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except CellTimeoutError:
        return f"a cell ran for {limit} s"
    except CellExecutionError as error:
        return str(error)
    seconds = time.monotonic() - start
    print(f"{path.name}: {seconds:.0f} s", flush=True)
    if limit and seconds > limit:
        return f"{seconds:.0f} s, and a chapter may take {limit} s"
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                return f"cell [{cell.execution_count}] writes to stderr:\n{output.text}"
    path.write_text(text(normalise(notebook, path.stem)), encoding="utf-8")
    if path in chapters():
        chapter_times.record(path.stem, seconds, client.peak)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, run nothing")
    parser.add_argument("--form", action="store_true", help="write the normal form, run nothing")
    parser.add_argument("--no-limit", action="store_true", help=f"allow more than {LIMIT} s")
    parser.add_argument("files", nargs="*", type=Path, help="default: every chapter")
    options = parser.parse_args()
    faults = 0
    for path in [file.resolve() for file in options.files] or chapters():
        if options.check:
            fault = None if in_normal_form(path) else \
                "not in normal form; run `python -m scripts.notebooks --form` with it"
        elif options.form:
            path.write_text(text(normalise(read(path), path.stem)), encoding="utf-8")
            fault = None
        else:
            fault = run(path, None if options.no_limit else LIMIT)
        if fault:
            faults += 1
            print(f"{path.name}: {fault}", file=sys.stderr, flush=True)
    return 1 if faults else 0
