"""The kill table: which mutants each layer of the kit finds, and stock schemathesis beside it.

python -m tests.contract.mutants --seeds 5 --stock
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.contract.measure import LAYERS, alarms, run_kit
from tests.contract.mutants import AREAS, MUTANTS, stock
from tests.contract.variants import VARIANTS

STOCK_EXAMPLES = 10
_STOCK_SEEDS = (0, 1, 2)


@dataclass
class Row:
    """What came of one mutant."""

    name: str
    layers: dict[str, bool] = field(default_factory=dict)
    """Whether each layer alone has found it, on the first seed."""
    seeds: dict[int, bool] = field(default_factory=dict)
    """Whether the default run has found it, on each seed."""
    by: list[str] = field(default_factory=list)
    """The properties that it has broken."""
    stock: bool | None = None


def judge(name: str, seeds: Sequence[int], with_stock: bool) -> Row:
    """Run everything against one mutant."""
    kind = MUTANTS[name]
    row = Row(name)
    for layer in LAYERS:
        row.layers[layer] = bool(run_kit(kind, seed=seeds[0], layers=(layer,)).broken)
    for seed in seeds:
        # What the quick layers find, a run with the others besides finds as well.
        report = run_kit(kind, seed=seed, layers=LAYERS[:2])
        if not report.broken:
            report = run_kit(kind, seed=seed)
        row.seeds[seed] = bool(report.broken)
        row.by = row.by or sorted({result.property.name for result in report.broken})
    if with_stock:
        usual = stock.usual_alarms(STOCK_EXAMPLES, _STOCK_SEEDS)
        server = kind()
        try:
            row.stock = bool(stock.alarms(server, seeds[0], STOCK_EXAMPLES) - usual)
        finally:
            server.close()
    return row


def look(name: str, seed: int) -> tuple[str, int, list[str], int]:
    """Run the kit against a correct server, and return what it says is broken."""
    kind = VARIANTS[name]
    report = run_kit(kind, seed=seed, assumptions=kind.assumptions)
    return name, seed, alarms(report), report.exit_code


def main() -> int:
    """Print the tables, and return 0 if the kit is as good as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="on how many seeds the mutants are run")
    parser.add_argument("--false-alarm-seeds", type=int, default=20, help="on how many seeds correct servers are run")
    parser.add_argument("--area", choices=list(AREAS), action="append", help="only the mutants of this area")
    parser.add_argument("--only", nargs="*", help="only these mutants")
    parser.add_argument("--stock", action="store_true", help="run schemathesis as it comes, too: an hour more")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    chosen = parser.parse_args()
    names = [kind.__name__ for area in chosen.area or AREAS for kind in AREAS[area]]
    if chosen.only is not None:
        names = [name for name in MUTANTS if name in chosen.only]
    seeds = range(chosen.seeds)
    begun = time.monotonic()
    with ProcessPoolExecutor(chosen.workers) as pool:
        jobs = [pool.submit(judge, name, seeds, chosen.stock) for name in names]
        looks = [pool.submit(look, name, seed) for name in VARIANTS for seed in range(chosen.false_alarm_seeds)]
        rows: list[Row] = []
        width = max(map(len, names), default=0)
        print(f"{'mutant':{width}}  {'  '.join(LAYERS)}  all{'  stock' if chosen.stock else ''}")
        for job in jobs:
            # Each at once: a run of half an hour that is cut short has told something.
            rows.append(job.result())
            print(_line(rows[-1], width, len(seeds)), flush=True)
        found = [job.result() for job in looks]
    print(f"\n{time.monotonic() - begun:.0f} seconds with {chosen.workers} processes")
    good = _print_sums(rows, seeds, chosen.stock)
    return 0 if _print_variants(found) and good else 1


def _line(row: Row, width: int, seeds: int) -> str:
    marks = "  ".join(f"{'x' if row.layers[layer] else '.':^{len(layer)}}" for layer in LAYERS)
    beside = "" if row.stock is None else f"  {'x' if row.stock else '.':^5}"
    return f"{row.name:{width}}  {marks}  {sum(row.seeds.values())}/{seeds}{beside}  {', '.join(row.by[:3])}"


def _print_sums(rows: Sequence[Row], seeds: Sequence[int], with_stock: bool) -> bool:
    """Print what each layer has found of all, and return whether that is enough."""
    if not rows:
        return True
    total = len(rows)
    for layer in LAYERS:
        print(f"{layer} alone, seed {seeds[0]}: {_share(sum(row.layers[layer] for row in rows), total)}")
    worst = total
    for seed in seeds:
        killed = sum(row.seeds[seed] for row in rows)
        worst = min(worst, killed)
        print(f"default run, seed {seed}: {_share(killed, total)}")
    if with_stock:
        print(f"stock schemathesis, seed {seeds[0]}: {_share(sum(bool(row.stock) for row in rows), total)}")
    print(f"escapes: {', '.join(row.name for row in rows if not all(row.seeds.values())) or 'none'}")
    return sum(row.seeds[seeds[0]] for row in rows) >= 0.95 * total and worst >= 0.93 * total


def _print_variants(found: Sequence[tuple[str, int, list[str], int]]) -> bool:
    false = [(name, seed, alarm) for name, seed, said, _ in found for alarm in said]
    print(f"false alarms: {len(false)}, in {len(found)} runs against {len(VARIANTS)} correct servers")
    for name, seed, alarm in false[:50]:
        print(f"  {name}, seed {seed}: {alarm}")
    partly = sorted({name for name, _, _, code in found if code == 2})
    print(f"not fully tested (exit code 2): {', '.join(partly) or 'none'}")
    return not false


def _share(killed: int, total: int) -> str:
    return f"{killed} of {total}, {killed / total:.1%}"


if __name__ == "__main__":
    sys.exit(main())
