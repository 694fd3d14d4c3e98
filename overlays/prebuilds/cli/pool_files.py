"""The YAML file of `prebuilds warm-pool apply`: pools, with their sizes by weekday, hour and time zone.

    pools:
      - project: b0e12f6c-4c67-429d-a4a6-d9838b5da047
        class: d2c94c27-3b76-4a42-b88c-95a85e392c68
        min: 0
        max: 1
        schedule:
          time_zone: Europe/Berlin
          sizes:
            - {days: mon-fri, from: "08:00", to: "18:00", min: 2, max: 6}

Outside of the schedule a pool has its own `min` and `max`. Of several sizes that apply, the first one counts. A size
whose `to` is not after its `from` lasts until the next day, and belongs to the day on which it begins. Hours are local
wall-clock hours: when the clock is set back, the repeated hour counts twice, and when it is set forward, the missing
hour does not occur.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final, TypeGuard, cast

import click

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)
_MAX_BYTES: Final = 4 * 2**20
_MINUTES_OF_A_DAY: Final = 24 * 60


@dataclass(frozen=True)
class Size:
    """The bounds of a warm pool."""

    min: int
    max: int

    def __str__(self) -> str:
        return f"{self.min}..{self.max}"


@dataclass(frozen=True, kw_only=True)
class ScheduledSize:
    """A size for some hours of some weekdays."""

    days: frozenset[int]
    """0 for Monday."""
    begin: int
    """Minutes after midnight."""
    end: int
    """Minutes after midnight; at most `begin` for a size that lasts until the next day."""
    size: Size

    def applies(self, local: datetime) -> bool:
        """Return True if the size applies at a local time."""
        minute = local.hour * 60 + local.minute
        if self.begin < self.end:
            return local.weekday() in self.days and self.begin <= minute < self.end
        yesterday = (local.weekday() - 1) % 7
        return (local.weekday() in self.days and minute >= self.begin) or (yesterday in self.days and minute < self.end)


@dataclass(frozen=True, kw_only=True)
class DeclaredPool:
    """A pool of the file."""

    project: str
    environment_class: str
    size: Size
    zone: tzinfo | None
    schedule: Sequence[ScheduledSize]

    @property
    def place(self) -> tuple[str, str]:
        """The project and class, which have one pool at most."""
        return self.project.lower(), self.environment_class.lower()

    def size_at(self, moment: datetime) -> Size:
        """The size at a moment, which has a time zone."""
        local = moment.astimezone(self.zone)
        return next((each.size for each in self.schedule if each.applies(local)), self.size)


def read_pools(path: Path) -> list[DeclaredPool]:
    """The pools that a file declares.

    Raises:
        click.UsageError: the file is not of the form above. The message names the place.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise click.UsageError(f"{path}: expected at most {_MAX_BYTES // 2**20} MiB")
    document = _Node(_parsed(path, content), str(path)).mapping("pools")
    pools = [_pool(each) for each in document["pools"].items()]
    taken: dict[tuple[str, str], str] = {}
    for number, pool in enumerate(pools):
        where = f"pools[{number}]"
        if pool.place in taken:
            raise click.UsageError(
                f"{path}: {where} has the project and class of {taken[pool.place]}: expected one pool for each"
            )
        taken[pool.place] = where
    return pools


def _parsed(path: Path, content: bytes) -> Any:
    import yaml

    try:
        # Every scalar stays the text that it is: other loaders read 08:00 as a number, and `no` as false.
        return yaml.load(content, Loader=_loader())  # noqa: S506  it makes nothing but texts, lists and mappings
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise click.UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def _loader() -> Any:
    import yaml

    class Loader(yaml.BaseLoader):
        """Refuses a key that occurs twice, and aliases, with which a short file could become a huge document."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if not isinstance(key, str) or keys.count(key) > 1:
                    raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the key {key!r} occurs twice")
            return super().construct_mapping(node, deep)

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                line = cast("Any", self).peek_event().start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: aliases are not supported: repeat the value")
            return super().compose_node(parent, index)

    return Loader


@dataclass(frozen=True)
class _Node:
    """A value of the document, and its place for error messages."""

    value: object
    path: str

    def fail(self, expected: str) -> click.UsageError:
        found = "nothing" if self.value in ("", None) else repr(self.value)[:100]
        return click.UsageError(f"{self.path}: expected {expected}, found {found}")

    def mapping(self, *required: str, optional: Sequence[str] = ()) -> Mapping[str, _Node]:
        """The values of a mapping with these keys."""
        known = (*required, *optional)
        value = self.value
        if not _is_mapping(value):
            raise self.fail(f"a mapping with {', '.join(known)}")
        for key in value:
            if key not in known:
                raise click.UsageError(f"{self.path}: unknown key {key!r}, expected {', '.join(known)}")
        for key in required:
            if key not in value:
                raise click.UsageError(f"{self.path}: missing key {key!r}")
        separator = ": " if ": " not in self.path else "."
        return {key: _Node(each, f"{self.path}{separator}{key}") for key, each in value.items()}

    def items(self) -> list[_Node]:
        """The values of a list."""
        values = self.value
        if not _is_list(values):
            raise self.fail("a list")
        return [_Node(each, f"{self.path}[{number}]") for number, each in enumerate(values)]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail("a text")
        return self.value.strip()

    def number(self) -> int:
        """A number of instances."""
        text = self.value if isinstance(self.value, str) else ""
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise self.fail("a whole number of instances")
        return int(text)

    def minutes(self) -> int:
        """A time of the day, in minutes after midnight."""
        match = _TIME.fullmatch(self.value) if isinstance(self.value, str) else None
        if match is None:
            raise self.fail("a time such as 08:00")
        return _MINUTES_OF_A_DAY if match[1] is None else int(match[1]) * 60 + int(match[2])

    def days(self) -> frozenset[int]:
        """Weekdays: `mon`, `mon-fri`, `mon, wed` or a list."""
        parts = [each.text() for each in self.items()] if isinstance(self.value, list) else self.text().split(",")
        found: set[int] = set()
        for part in parts:
            first, _, last = (each.strip().lower()[:3] for each in part.partition("-"))
            last = last or first
            if first not in _DAYS or last not in _DAYS:
                raise self.fail("weekdays such as mon-fri, or mon, wed")
            begin, end = _DAYS.index(first), _DAYS.index(last)
            found.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
        return frozenset(found)

    def zone(self) -> tzinfo:
        """A time zone by its name."""
        from zoneinfo import ZoneInfo

        try:
            return ZoneInfo(self.text())
        except (KeyError, ValueError, OSError):
            raise self.fail("a time zone such as Europe/Berlin or UTC") from None


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list)


def _pool(node: _Node) -> DeclaredPool:
    fields = node.mapping("project", "class", "min", "max", optional=("schedule",))
    zone, schedule = _schedule(fields["schedule"]) if "schedule" in fields else (None, [])
    return DeclaredPool(
        project=fields["project"].text(),
        environment_class=fields["class"].text(),
        size=_size(fields),
        zone=zone,
        schedule=schedule,
    )


def _schedule(node: _Node) -> tuple[tzinfo, list[ScheduledSize]]:
    fields = node.mapping("time_zone", "sizes")
    return fields["time_zone"].zone(), [_scheduled(each) for each in fields["sizes"].items()]


def _scheduled(node: _Node) -> ScheduledSize:
    fields = node.mapping("min", "max", optional=("days", "from", "to"))
    return ScheduledSize(
        days=fields["days"].days() if "days" in fields else frozenset(range(7)),
        begin=fields["from"].minutes() if "from" in fields else 0,
        end=fields["to"].minutes() if "to" in fields else _MINUTES_OF_A_DAY,
        size=_size(fields),
    )


def _size(fields: Mapping[str, _Node]) -> Size:
    size = Size(fields["min"].number(), fields["max"].number())
    if size.min > size.max or size.max == 0:
        raise fields["max"].fail(f"at least 1, and at least the min of {size.min}")
    return size
