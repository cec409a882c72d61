"""Kill -9 a training run, again and again, resume it, and compare it with the undisturbed one.

Twenty kills at random moments of a run, then one at each moment that hurts (proofs/aimed.py).
Weights, checkpoint (network, average, optimiser, random generators) and the record of the loss
must equal those of a run that nobody killed, bit for bit, and nothing else may be left behind.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from proofs import aimed
from proofs.common import ROOT, Failed, record
from proofs.compare import differences

# With dropout, so that the random state matters; pending losses at every checkpoint but one in 5.
PRESET = "mnist-paper"
OPTIONS = ("--folder", "pictures", "--channels", "1", "--resolution", "8", "--ch", "32",
           "--batch-size", "8", "--log-every", "5", "--device", "cpu")
READY = re.compile(r"steps (\d[\d,]*) to")
KILLS = 20  # at random moments
STEPS, EVERY = 400, 7  # of a run, and between two checkpoints
SEED = 0
# In the order in which one run meets them.
MOMENTS = ["a checkpoint is begun", "a checkpoint is read", "a checkpoint is half written",
           "a checkpoint is renamed", "the weights are written", "the weights are renamed",
           "the record is begun", "the record is renamed"]


class Run:
    """One training run in a folder: begun, killed, resumed, in the end compared."""

    def __init__(self, folder: Path, steps: int, every: int):
        self.out, self.steps = folder, steps
        self.arguments = ["train", PRESET, "--out", str(folder.name), *OPTIONS,
                          "--steps", str(steps), "--every", str(every)]
        self.kills: list[dict] = []

    def start(self, moment: str | None = None, number: int = 0) -> subprocess.Popen:
        """`ddim train ..`, with --resume as soon as there is a checkpoint."""
        resume = ["--resume"] if (self.out / "checkpoint.pt").exists() else []
        module = ["ddim_lib"] if moment is None else ["proofs.aimed", moment, str(number)]
        environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "0",
                        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
                        .rstrip(os.pathsep)}
        self.bar = open(self.out.with_suffix(".stderr"), "w+")
        return subprocess.Popen([sys.executable, "-m", *module, *self.arguments, *resume],
                                cwd=self.out.parent, env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=self.bar)

    def finish(self) -> float:
        """To the end, undisturbed; how many seconds it trained."""
        process = self.start()
        self._wait_until_ready(process)
        begin = time.perf_counter()
        code = process.wait()
        self._close(process)
        if code:
            raise Failed(f"{self.out.name}: ended with code {code}: {self.told()[-300:]}")
        return time.perf_counter() - begin

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL after so many seconds of training; False where it had ended before."""
        process = self.start()
        try:
            self._wait_until_ready(process)
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._ended(process, "random", after=round(seconds, 3))

    def kill_at(self, moment: str, number: int) -> bool:
        """SIGKILL at a moment of proofs/aimed.py; False where it did not come."""
        process = self.start(moment, number)
        process.stdout.read()
        return self._ended(process, moment, number=number)

    def _ended(self, process: subprocess.Popen, moment: str, **facts) -> bool:
        code = process.wait()
        self._close(process)
        if code not in (0, -signal.SIGKILL):
            raise Failed(f"{self.out.name}: ended with code {code}: {self.told()[-300:]}")
        if code == 0:
            return False
        shown = re.findall(rf"(\d+)/{self.steps} ", self.told())
        left = sorted(str(p.relative_to(self.out)) for p in self.out.rglob("*.tmp/*"))
        self.kills.append({"moment": moment, **facts, "step": int(shown[-1]) if shown else None,
                           "unfinished": [re.sub(r"^\..*tmp/(\.tmp\w+)?", "", p) or "weights"
                                          for p in left]})
        return True

    def _wait_until_ready(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            if READY.search(line):
                return
        process.wait()
        raise Failed(f"{self.out.name}: did not start: {self.told()[-300:]}")

    def _close(self, process: subprocess.Popen) -> None:
        process.stdout.close()
        self.bar.close()

    def told(self) -> str:
        """What the last process wrote to stderr: the bar, or an error."""
        return self.out.with_suffix(".stderr").read_text()


def draw_pictures(folder: Path, n: int = 40) -> None:
    """The first embedded digits as PNG files."""
    from PIL import Image

    from ddim_lib.datasets import load_uint8

    folder.mkdir()
    images, _ = load_uint8("digits")
    for i, image in enumerate(images[:: len(images) // n][:n]):
        Image.fromarray(image[0].numpy()).save(folder / f"{i:02}.png")


def at_random(folder: Path, whole: Run, seconds: float) -> list[Run]:
    """KILLS kills at moments drawn over the training, in as many runs as that takes."""
    chance, runs, landed = random.Random(SEED), [], 0
    while landed < KILLS:
        run = Run(folder / f"random{len(runs)}", STEPS, EVERY)
        runs.append(run)
        while landed < KILLS:
            if not run.kill_after(chance.uniform(0, 2 * seconds / KILLS)):
                break  # it had reached its end
            landed += 1
            print(f"kill {landed} of {KILLS}: step {run.kills[-1]['step']}", flush=True)
        run.finish()
        check(whole, run)
    return runs


def at_moments(folder: Path, whole: Run) -> Run:
    """One run, killed once at each of MOMENTS."""
    chance, run = random.Random(SEED), Run(folder / "aimed", STEPS, EVERY)
    for moment in MOMENTS:
        if moment in aimed.WHILE:
            pattern, part = aimed.WHILE[moment]
            number = max(1, int(part * next(whole.out.glob(pattern)).stat().st_size))
        else:  # the first, or one of the next; an end comes once
            number = 1 if moment.startswith("the ") or "read" in moment else chance.randint(1, 3)
        for _ in range(8):  # who watches a file may come too late for one that is written once
            if run.kill_at(moment, number):
                break
        else:
            raise Failed(f"the moment never came: {moment}")
        print(f"killed while or before {moment}: step {run.kills[-1]['step']}", flush=True)
    run.finish()
    check(whole, run)
    return run


def check(whole: Run, run: Run) -> None:
    """Nothing may differ from the undisturbed run."""
    found = differences(whole.out, run.out, PRESET)
    if found:
        raise Failed(f"{run.out.name} differs from the undisturbed run in {len(found)} places, "
                     f"the first: {'; '.join(found[:5])}; its kills: {run.kills}")


def prove(folder: Path) -> dict:
    """Run it all below a folder; the facts for the record.

    Raises:
        Failed: a run ended otherwise, could not be resumed, or differs from the undisturbed one.
    """
    begin = time.perf_counter()
    draw_pictures(folder / "pictures")
    whole = Run(folder / "whole", STEPS, EVERY)
    seconds = whole.finish()
    print(f"undisturbed: {STEPS} steps in {seconds:.1f} s", flush=True)
    runs, last = at_random(folder, whole, seconds), at_moments(folder, whole)
    return {"command": shlex.join(["ddim", *whole.arguments]), "seed": SEED, "steps": STEPS,
            "threads_of_a_run": 1,
            "undisturbed_seconds": round(seconds, 1),
            "random_kills": sum(len(run.kills) for run in runs), "runs": len(runs),
            "killed": [kill for run in runs for kill in run.kills],
            "aimed_kills": len(last.kills), "aimed": last.kills,
            "seconds": round(time.perf_counter() - begin), "result": "equal, bit for bit"}


def main() -> None:
    """The whole proof, and its record."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            facts = prove(Path(folder))
        except Failed as error:
            sys.exit(f"kill: {error}")
    print(f"written: {record('kill', what=WHAT, **facts)}")


WHAT = ("A training run that was killed by SIGKILL, at random moments and at each moment of its "
        "writing, and resumed each time, equals the undisturbed run bit for bit: weights, average, "
        "optimiser, random state, record of the loss.")

if __name__ == "__main__":
    main()
