"""Runs the benchmarks and prints what they found. The exit code is 1 when a target is missed.

python -m tests.benchmarks [-k NAME]
"""

import argparse
import platform
import sys
from collections.abc import Callable

from .answering import answering
from .commands import commands
from .contract import contract
from .decoding import decoding
from .importing import importing
from .listing import listing
from .measure import Row
from .paging import paging
from .starting import starting

# A new benchmark is a function that returns rows, and an entry here.
BENCHMARKS: list[Callable[[], list[Row]]] = [
    decoding,
    importing,
    commands,
    paging,
    answering,
    starting,
    listing,
    contract,
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "-k",
        metavar="NAME",
        default="",
        help="run only those whose name contains NAME: " + ", ".join(b.__name__ for b in BENCHMARKS),
    )
    name = parser.parse_args().k
    chosen = [benchmark for benchmark in BENCHMARKS if name in benchmark.__name__]
    if not chosen:
        parser.error(f"no benchmark has {name!r} in its name")
    print(f"{platform.python_implementation()} {platform.python_version()}, medians of one run")
    met = True
    for benchmark in chosen:
        for row in benchmark():
            print(line(row), flush=True)
            met = met and row.met
    return 0 if met else 1


def line(row: Row) -> str:
    """`row` as it is printed."""
    verdict = "" if row.target is None else "met" if row.met else "MISSED"
    target = row.note or f"at most {row.target:.1f}x"
    return (
        f"{row.what:<44} {row.seconds * 1000:>8.3f} ms  {row.ratio:>5.2f}x {row.yardstick:<20}"
        f" ({row.yardstick_seconds * 1000:.3f} ms)  {target}  {verdict}"
    ).rstrip()


if __name__ == "__main__":
    sys.exit(main())
