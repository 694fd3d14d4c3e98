"""Mutation testing of the product: how many small changes to its code do the tests of `make test` notice?

python -m tests.mutation [--sample 300] [--area client] [--seed 0] [--save FILE] [--again FILE]

Each area gives the same share of the sample. A mutant is run against those tests of its area that run the changed
statement, which the area's tests tell once with coverage. The exit code is 0 unless the tests fail without a mutant.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from .areas import AREAS, Area
from .mutants import Mutant, sample
from .runs import Outcome, Suite, copy_project, elapsed

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print each mutant's fate as soon as it is known, then the survivors and the kill rates."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="how many mutants (default: 300)")
    parser.add_argument("--area", choices=list(AREAS), action="append", help="only this area; can be repeated")
    parser.add_argument("--seed", type=int, default=0, help="another seed chooses other mutants")
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the results as JSON")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only the survivors in a file of --save")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    chosen = parser.parse_args()
    again = None
    if chosen.again:
        again = {each["key"] for each in json.loads(chosen.again.read_text(encoding="utf-8")) if each["survived"]}
    results: list[dict[str, object]] = []
    names = chosen.area or list(AREAS)
    for name in names:
        area = AREAS[name]
        mutants = sample(area, ROOT, chosen.sample // len(names), chosen.seed)
        if again is not None:
            mutants = [mutant for mutant in mutants if mutant.key in again]
        outcomes = run(area, mutants, chosen.workers)
        if outcomes is None:
            return 1
        results += [
            {"area": name, "key": mutant.key, "line": mutant.line, "survived": outcome.survived, "why": outcome.why}
            for mutant, outcome in zip(mutants, outcomes, strict=True)
        ]
        if chosen.save:
            chosen.save.write_text(json.dumps(results, indent=1), encoding="utf-8")
    summary(results, names)
    return 0


def run(area: Area, mutants: Sequence[Mutant], workers: int) -> list[Outcome] | None:
    """Run the mutants of an area, several at a time. None if its tests fail without a mutant."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers + 1):
            copy = Path(temporary, str(number)).resolve()
            copy_project(ROOT, copy)
            copies.put(copy)
        suite = Suite(area, copies.get())
        print(f"{area.name}: running its tests with coverage ...", flush=True)
        failed = suite.measure()
        if failed is not None:
            print(f"{failed[-5000:]}\n{area.name}: the tests fail without a mutant", file=sys.stderr)
            return None
        print(f"{area.name}: {len(mutants)} mutants, after {elapsed(begun)}", flush=True)

        def one(mutant: Mutant) -> Outcome:
            copy = copies.get()
            try:
                outcome = suite.survives(mutant, copy)
            finally:
                copies.put(copy)
            fate = "SURVIVED" if outcome.survived else "killed  "
            print(f"{fate} {mutant.path}:{mutant.line} {mutant.after} [{outcome.tests}; {outcome.why}]", flush=True)
            return outcome

        with ThreadPoolExecutor(workers) as threads:
            outcomes = list(threads.map(one, mutants))
        print(f"{area.name}: {elapsed(begun)}", flush=True)
        return outcomes


def summary(results: Sequence[dict[str, object]], names: Sequence[str]) -> None:
    """Print the survivors, and the kill rate of each area and of all."""
    print("\nSurvivors")
    for each in results:
        if each["survived"]:
            path, operator, before, after = str(each["key"]).split("|", 3)
            print(f"  {path}:{each['line']} {operator}\n    - {before}\n    + {after}  [{each['why']}]")
    print("\nKill rates")
    for name in [*names, "all"]:
        of = [each for each in results if name in ("all", each["area"])]
        killed = sum(not each["survived"] for each in of)
        print(f"  {name:10} {killed} of {len(of)}, {killed / max(1, len(of)):.1%}")


if __name__ == "__main__":
    sys.exit(main())
