"""The kill table: which mutants each layer of the kit finds, with stock schemathesis beside it, and false alarms.

python -m tests.contract.mutants [--seeds 5] [--area paging] [--no-stock]

The exit code is 0 if each target is met. Each line is printed as soon as it is known.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.contract.measure import LAYERS, alarms, run_kit
from tests.contract.mutants import AREAS, MUTANTS, stock
from tests.contract.variants import VARIANTS

KILLED_ON_FIRST_SEED = 0.95
"""The share of the mutants that the default run has to find on the first seed."""

KILLED_ON_EACH_SEED = 0.93
"""The share that it has to find on each, and the state machine alone in the areas that are its own."""

MACHINE_AREAS = ("paging", "filters", "lifecycle", "pools")
"""What the state machine is there for; of the other areas it is tried on one seed."""

STOCK_EXAMPLES = 10
"""So many requests stock schemathesis makes up for each method in each of its random phases."""

_STOCK_SEEDS = (0, 1, 2)
_QUICK = ("probes", "lifecycle")


@dataclass
class Row:
    """What came of one mutant.

    Attributes:
        name: the mutant.
        own: whether it is of an area that the state machine is there for.
        layers: for each layer alone, on which of the seeds that it was run it has found the mutant.
        seeds: on each seed, whether the default run has.
        by: the properties that it has broken.
        stock: whether stock schemathesis has found it, None if it was not asked.
    """

    name: str
    own: bool
    layers: dict[str, dict[int, bool]] = field(default_factory=dict)
    seeds: dict[int, bool] = field(default_factory=dict)
    by: list[str] = field(default_factory=list)
    stock: bool | None = None


class Look(NamedTuple):
    """What the kit said of a correct server."""

    name: str
    seed: int
    alarms: list[str]
    exit_code: int


def judge(name: str, seeds: Sequence[int], with_stock: bool) -> Row:
    """Run everything against one mutant."""
    kind = MUTANTS[name]
    row = Row(name, any(kind in AREAS[area] for area in MACHINE_AREAS))
    for layer in LAYERS:
        tried = seeds if layer == "machine" and row.own else seeds[:1]
        row.layers[layer] = {seed: _finds(row, seed, (layer,)) for seed in tried}
    for seed in seeds:
        # A layer that finds it alone finds it in a run of all, in which the others only come on top.
        alone = any(row.layers[layer].get(seed, False) for layer in _QUICK)
        row.seeds[seed] = alone or _finds(row, seed, _QUICK) or _finds(row, seed, LAYERS)
    if with_stock:
        usual = stock.usual_alarms(STOCK_EXAMPLES, _STOCK_SEEDS)
        server = kind()
        try:
            row.stock = bool(stock.alarms(server, seeds[0], STOCK_EXAMPLES) - usual)
        finally:
            server.close()
    return row


def _finds(row: Row, seed: int, layers: Sequence[str]) -> bool:
    """Whether these layers find a mutant. A run ends with the first thing that it finds."""
    broken = run_kit(MUTANTS[row.name], seed=seed, layers=layers, until_broken=True).broken
    row.by = row.by or sorted({result.property.name for result in broken})
    return bool(broken)


def look(name: str, seed: int) -> Look:
    """Run the whole kit against a correct server."""
    kind = VARIANTS[name]
    report = run_kit(kind, seed=seed, assumptions=kind.assumptions)
    return Look(name, seed, alarms(report), report.exit_code)


def main() -> int:
    """Print the table and the verdicts, and return 0 if the kit is as good as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="on how many seeds the mutants are run")
    parser.add_argument("--false-alarm-seeds", type=int, default=20, help="on how many seeds correct servers are run")
    parser.add_argument("--area", choices=list(AREAS), action="append", help="only the mutants of this area")
    parser.add_argument("--only", nargs="*", help="only these mutants")
    parser.add_argument("--no-stock", action="store_true", help="leave out schemathesis as it comes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    chosen = parser.parse_args()
    names = [kind.__name__ for area in chosen.area or AREAS for kind in AREAS[area]]
    if chosen.only is not None:
        names = [name for name in MUTANTS if name in chosen.only]
    seeds = range(chosen.seeds)
    begun = time.monotonic()
    with ProcessPoolExecutor(chosen.workers) as pool:
        rows = _print_table([pool.submit(judge, name, seeds, not chosen.no_stock) for name in names], names)
        looks = [pool.submit(look, name, seed) for seed in range(chosen.false_alarm_seeds) for name in VARIANTS]
        found = _print_alarms(looks)
    print(f"\n{time.monotonic() - begun:.0f} seconds with {chosen.workers} processes")
    verdicts = [*_kills(rows, seeds), *_false_alarms(found)]
    return 0 if all(verdicts) else 1


def _print_table(jobs: Sequence[Future[Row]], names: Sequence[str]) -> list[Row]:
    """Print a line for each mutant when it is done, in the order in which they come."""
    width = max(map(len, names), default=0)
    print(f"{'mutant':{width}}  {'  '.join(LAYERS)}  default  stock  broken properties", flush=True)
    rows: list[Row] = []
    for job in as_completed(jobs):
        row = job.result()
        rows.append(row)
        marks = "  ".join(f"{_mark(row.layers[layer]):^{len(layer)}}" for layer in LAYERS)
        beside = " " if row.stock is None else "x" if row.stock else "."
        print(f"{row.name:{width}}  {marks}  {_mark(row.seeds):^7}  {beside:^5}  {', '.join(row.by[:3])}", flush=True)
    return rows


def _mark(found: dict[int, bool]) -> str:
    if len(found) == 1:
        return "x" if all(found.values()) else "."
    return f"{sum(found.values())}/{len(found)}"


def _print_alarms(jobs: Sequence[Future[Look]]) -> list[Look]:
    """Print what is said of correct servers when it is said."""
    found: list[Look] = []
    print(f"\n{len(jobs)} runs against {len(VARIANTS)} correct servers", flush=True)
    for job in as_completed(jobs):
        found.append(job.result())
        for alarm in found[-1].alarms:
            print(f"FALSE ALARM: {found[-1].name}, seed {found[-1].seed}: {alarm}", flush=True)
        if len(found) % (2 * len(VARIANTS)) == 0:
            print(f"{len(found)} of {len(jobs)}", flush=True)
    return found


def _kills(rows: Sequence[Row], seeds: Sequence[int]) -> Iterable[bool]:
    """Print what was found of all, and whether that is enough."""
    if not rows:
        return
    for layer in LAYERS:
        killed = sum(row.layers[layer][seeds[0]] for row in rows)
        print(f"{layer} alone, seed {seeds[0]}: {_share(killed, len(rows))}")
    if any(row.stock is not None for row in rows):
        killed = sum(bool(row.stock) for row in rows)
        print(f"stock schemathesis, {STOCK_EXAMPLES} examples, seed {seeds[0]}: {_share(killed, len(rows))}")
    for seed in seeds:
        least = KILLED_ON_FIRST_SEED if seed == seeds[0] else KILLED_ON_EACH_SEED
        yield _verdict(f"default run, seed {seed}", [row.seeds[seed] for row in rows], least)
    escaped = [row.name for row in rows if not all(row.seeds.values())]
    print(f"  escapes: {', '.join(escaped) or 'none'}")
    own = [row for row in rows if row.own]
    for seed in seeds if own else ():
        found = [row.layers["machine"][seed] for row in own]
        yield _verdict(f"machine alone in {', '.join(MACHINE_AREAS)}, seed {seed}", found, KILLED_ON_EACH_SEED)
    escaped = [row.name for row in own if not all(row.layers["machine"].values())]
    print(f"  escapes: {', '.join(escaped) or 'none'}")


def _false_alarms(found: Sequence[Look]) -> Iterable[bool]:
    """Print how often a correct server was accused, and whether all of it could be tested."""
    if not found:
        return
    false = sum(len(each.alarms) for each in found)
    print(f"{'met   ' if not false else 'MISSED'}  false alarms: {false} in {len(found)} runs, none may be")
    partly = sorted({each.name for each in found if each.exit_code == 2})
    print(f"  not fully tested (exit code 2): {', '.join(partly) or 'none'}")
    yield not false


def _verdict(what: str, found: Sequence[bool], least: float) -> bool:
    killed, total = sum(found), len(found)
    met = killed >= least * total
    print(f"{'met   ' if met else 'MISSED'}  {what}: {_share(killed, total)}, at least {least:.0%}")
    return met


def _share(killed: int, total: int) -> str:
    return f"{killed} of {total}, {killed / total:.1%}"


if __name__ == "__main__":
    sys.exit(main())
