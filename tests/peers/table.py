"""Lays out what was measured."""

from __future__ import annotations

from statistics import median
from textwrap import wrap

from .goals import GOALS, ROWS, SIDES, Figures, Verdict

WIDTH = 10
TITLE = 1 + max(len(row.title) for row in ROWS.values())
GOAL = max(len(str(goal)) for goal in GOALS)


def heading() -> str:
    """The titles of the columns, each wrapped to its width."""
    titles = [wrap(title, WIDTH) for title in SIDES.values()]
    height = max(map(len, titles))
    padded = [[""] * (height - len(lines)) + lines for lines in titles]
    return "\n".join(_line("", cells) for cells in zip(*padded, strict=True))


def line(name: str, figures: Figures) -> str:
    """The medians of a row: microseconds of CPU, or milliseconds of a start."""
    row = ROWS[name]
    cells = []
    for side in SIDES:
        if side not in row.sides:
            cells.append("")
        elif side not in figures:
            cells.append("-")
        elif row.call:
            cells.append(f"{median(figures[side]) * 1e6:.{1 if row.call == 'decode' else 0}f} us")
        else:
            cells.append(f"{median(figures[side]) * 1e3:.0f} ms")
    return _line(row.title, cells)


def verdict_line(verdict: Verdict) -> str:
    """A goal, the ratio, and whether the goal is met."""
    limit = f"at most {verdict.goal.limit:.2f}x"
    if verdict.ratio is None:
        return f"{verdict.goal!s:<{GOAL}}{'':>24}  {limit}  not measured"
    spread = f"({verdict.lowest:.2f} to {verdict.highest:.2f})"
    outcome = "MISSED" if verdict.missed else "met"
    return f"{verdict.goal!s:<{GOAL}}{verdict.ratio:>6.2f}x {spread:<16}  {limit}  {outcome}"


def summary(verdicts: list[Verdict]) -> str:
    """How many goals are met, and which are missed."""
    missed = [verdict for verdict in verdicts if verdict.missed]
    unknown = sum(verdict.ratio is None for verdict in verdicts)
    met = len(verdicts) - len(missed) - unknown
    lines = [f"Goals: {met} met, {len(missed)} missed, {unknown} not measured."]
    lines += [f"MISSED: {each.goal}: {each.ratio:.2f}x, at most {each.goal.limit:.2f}x" for each in missed]
    return "\n".join(lines)


def _line(title: str, cells: object) -> str:
    return "".join([f"{title:<{TITLE}}", *(f"{cell:>{WIDTH + 1}}" for cell in cells)]).rstrip()
