"""Inputs as strangers give them, drawn for as long as one likes: none may end in a surprise.

    python -m proofs.odd                           every part, and the record; half an hour
    python -m proofs.odd --seconds 20 --seed 7     shorter, from another seed
    python -m proofs.odd arguments                 one part, without a record

Each part is a module proofs/odd_PART.py, which says what it claims and has a function
``tried(seed, examples)`` that returns a Counter of what came out, or raises Failed. A few hundred
arguments and pictures are part of the tests, in tests/library/test_odd.py, and a class of sixty.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import Counter

from proofs.common import Failed, record

PARTS = ("arguments", "pictures", "submissions")
EXAMPLES = 200  # between two looks at the clock


def run(part: str, seed: int, seconds: float) -> dict:
    """Rounds of one part, each from the next seed, until the time is over; at least one."""
    tried = importlib.import_module(f"proofs.odd_{part}").tried
    begin, counts, rounds = time.monotonic(), Counter(), 0
    while not rounds or time.monotonic() - begin < seconds:
        counts += tried(seed + rounds, EXAMPLES)
        rounds += 1
    return {"inputs": counts.total(), "rounds": rounds, "outcomes": dict(sorted(counts.items())),
            "seconds": round(time.monotonic() - begin)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.odd")
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=540, help="for each part, at least")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"PART must be one of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    facts = {}
    for part in given.parts:
        try:
            facts[part] = run(part, given.seed, given.seconds)
        except Failed as error:
            sys.exit(f"odd, {part}: {error}")
        print(f"{part}: {facts[part]}", flush=True)
    if set(given.parts) == set(PARTS):
        record("odd", "Every drawn input gave what the plain one gives, or an error that names it.",
               seed=given.seed, parts=facts)


if __name__ == "__main__":
    main()
