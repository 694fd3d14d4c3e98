"""What is compared: the rows and the sides of the table, the goals, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

SIDES = {
    "stainless": "Stainless",
    "connect": "Connect",
    "connect-plain": "Connect, no gzip",
    "connect-raw": "Connect, raw times",
    "bare": "bare",
    "default": "ours, default engine",
    "fast": "ours, fast engine",
}
"""The columns of the table and their titles."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what each of its sides does."""

    title: str
    sides: tuple[str, ...]
    call: str = ""
    """The name that the clients' scripts have for it; empty for the start of a program."""
    tls: bool = False


GET = ("stainless", "connect", "connect-plain", "bare", "default", "fast")

ROWS = {
    "get": Row("GetPrebuild", GET, call="get"),
    "tls": Row("GetPrebuild over TLS", GET, call="get", tls=True),
    "async": Row("GetPrebuild, 100 at once", GET, call="get_async"),
    "list": Row("List 100 prebuilds, read all fields", tuple(SIDES), call="list_all"),
    # No engine takes part in it.
    "decode": Row(
        "Decode one prebuild, read all fields",
        ("stainless", "connect", "connect-raw", "bare", "default"),
        call="decode",
    ),
    "start": Row("Python start to first response", ("stainless", "connect", "bare", "default", "fast")),
}
"""The rows by the names that `-k` and `--profile` take. No name is part of another one, so that each can be chosen."""


@dataclass(frozen=True)
class Goal:
    """The most that a side of a row may need, as a share of what another side of this row needs."""

    row: str
    side: str
    yardstick: str
    limit: float

    def __str__(self) -> str:
        return f"{ROWS[self.row].title}: {SIDES[self.side]} / {SIDES[self.yardstick]}"


GOALS = (
    Goal("get", "default", "stainless", 0.5),
    Goal("get", "fast", "connect", 1.0),
    Goal("tls", "default", "stainless", 0.55),
    Goal("tls", "fast", "connect", 1.0),
    Goal("async", "default", "stainless", 0.7),
    Goal("async", "fast", "connect", 0.9),
    Goal("async", "fast", "connect-plain", 1.15),
    Goal("list", "default", "connect", 1.0),
    Goal("list", "fast", "connect", 0.75),
    Goal("decode", "default", "connect", 0.65),
    Goal("start", "default", "connect", 0.9),
    Goal("start", "fast", "connect", 0.75),
)

Figures = Mapping[str, list[float]]
"""The seconds that each side of a row needed, one for each round. Sides that could not be measured are missing."""


@dataclass(frozen=True)
class Verdict:
    """A goal, and how far it is met."""

    goal: Goal
    ratio: float | None = None
    """The ratio of the medians; None if the side was not measured."""
    lowest: float = 0.0
    """The lowest ratio of a round. With `highest` it shows how steady the machine was."""
    highest: float = 0.0

    @property
    def missed(self) -> bool:
        return self.ratio is not None and self.ratio > self.goal.limit


def judged(goal: Goal, figures: Figures) -> Verdict:
    """Whether a goal is met by the figures of its row."""
    if goal.side not in figures:
        return Verdict(goal)
    ours, theirs = figures[goal.side], figures[goal.yardstick]
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return Verdict(goal, median(ours) / median(theirs), min(ratios), max(ratios))
