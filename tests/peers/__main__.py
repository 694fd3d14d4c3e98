"""Compares our client with the vendor's two, by the CPU time that they need: `python -m tests.peers`.

The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys

from .goals import GOALS, ROWS, SIDES, judged
from .runs import check_environments, measured, profile, why_not_fast
from .server import Server, serving
from .table import heading, line, summary, verdict_line

EXPLANATION = """\
CPU microseconds of the client process for each call, user and system; wall milliseconds for the start of Python.
Stainless: gitpod-sdk 0.11.0 (pydantic, httpx). Connect: the generated client of gitpod-sdk 1.2.0 (protobuf, pyqwest).
no gzip: Connect neither sends nor accepts it. raw times: Connect's times are not made datetimes, as all others are.
bare: httpx and json.loads. The server accepts HTTP/1.1, and compresses responses for clients that accept gzip.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description="Compares our client with the vendor's.")
    parser.add_argument(
        "--rounds", type=_rounds, default=5, help="how often to measure each side of a row (default: %(default)s)"
    )
    parser.add_argument(
        "-k", metavar="NAME", default="", help="only the rows with NAME in their name: " + ", ".join(ROWS)
    )
    parser.add_argument("--profile", metavar="ROW", choices=ROWS, help="print where our client spends the time of ROW")
    options = parser.parse_args()
    rows = [name for name in ROWS if options.k in name]
    if not rows:
        parser.error(f"no row has {options.k!r} in its name: choose from {', '.join(ROWS)}")
    check_environments()
    with serving() as server:
        absence = why_not_fast(server)
        if options.profile:
            return print_profiles(options.profile, server, absence)
        return compare(rows, server, options.rounds, absence)


def compare(rows: list[str], server: Server, rounds: int, absence: str) -> int:
    """Print the table and the goals; 1 if one of them is missed."""
    print(f"{platform.python_implementation()} {platform.python_version()}, medians, rounds: {rounds}\n{EXPLANATION}")
    print(heading())
    verdicts = []
    for name in rows:
        sides = [side for side in ROWS[name].sides if side != "fast" or not absence]
        figures = measured(name, sides, server, rounds)
        print(line(name, figures), flush=True)
        verdicts += [judged(goal, figures) for goal in GOALS if goal.row == name]
    print("\nRatios of the medians, with the lowest and the highest ratio of a round:")
    for each in verdicts:
        print(verdict_line(each))
    print()
    print(summary(verdicts))
    if absence:
        print(f"The fast engine is not installed: {absence}")
    return 1 if any(each.missed for each in verdicts) else 0


def print_profiles(name: str, server: Server, absence: str) -> int:
    """Print the profile of each of our engines that the row has."""
    for side in ("default", "fast"):
        if side in ROWS[name].sides:
            print(f"{ROWS[name].title}, {SIDES[side]}:")
            print("not installed" if side == "fast" and absence else profile(name, side, server))
    return 0


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
