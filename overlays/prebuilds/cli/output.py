"""Printing to standard output: tables for people, and four formats for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Self, TextIO, TypeVar, cast, get_args

import click

from prebuilds.cli.terminal import (
    encodable,
    escaped_json,
    has_colour,
    is_terminal,
    is_unicode,
    one_line,
    width_of,
)

Format = Literal["table", "json", "jsonl", "csv", "id"]
FORMATS: tuple[str, ...] = get_args(Format)

T = TypeVar("T")

_GAP = "  "
_MIN_COLUMN = 4


class Column(Generic[T]):
    """A column of a table.

    Args:
        header: its header.
        text: gives the text of an item.
        short: the number of characters to show on a terminal that has no room for more. 0 leaves the column out.
        style: gives the colour of an item, by click's names.
        right: whether the texts are aligned on the right.
    """

    def __init__(
        self,
        *,
        header: str,
        text: Callable[[T], str],
        short: int | None = None,
        style: Callable[[T], str | None] | None = None,
        right: bool = False,
    ) -> None:
        self.header = header
        self.text = text
        self.short = short
        self.style = style
        self.right = right


class Layout(Generic[T]):
    """The layout for items of one kind.

    Args:
        columns: the columns of a table.
        item_id: gives the id of an item.
        record: gives the item as a JSON object.
        paths: gives the columns of CSV: the paths of the values in the JSON object, `status.phase` for example.
        notes: gives messages about an item, each printed on its own line below the item's row.
    """

    # Not a dataclass: to define one takes longer than to print a list.
    def __init__(
        self,
        *,
        columns: tuple[Column[T], ...],
        item_id: Callable[[T], str],
        record: Callable[[T], Mapping[str, Any]],
        paths: Callable[[], Sequence[str]],
        notes: Callable[[T], Sequence[str]] | None = None,
    ) -> None:
        self.columns = columns
        self.item_id = item_id
        self.record = record
        self.paths = paths
        self._notes = notes

    def notes(self, item: T) -> Sequence[str]:
        """Messages about an item."""
        return () if self._notes is None else self._notes(item)


class Writer(Generic[T]):
    """A `with` block that prints items one by one.

    Its output is complete at the end of the block, even if the block fails.
    """

    def __init__(self, output: Output, layout: Layout[T]) -> None:
        self.output = output
        self.layout = layout

    def add(self, item: T) -> None:
        """Print an item, or keep it until the end."""
        raise NotImplementedError

    def finish(self) -> None:
        """Print the items that were kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):  # the reader of the pipe has gone
            self.finish()


class Output:
    """Writes standard output in one of the formats.

    Args:
        output_format: the format.
        no_color: whether colours are unwanted even on a terminal.
        stream: where to print; standard output by default.
    """

    def __init__(
        self, output_format: Format = "table", *, no_color: bool = False, stream: TextIO | None = None
    ) -> None:
        self.format: Format = output_format
        self.stream = stream or sys.stdout
        self.is_terminal = is_terminal(self.stream)
        self.colour = has_colour(self.stream, no_color=no_color)

    def writer(self, layout: Layout[T]) -> Writer[T]:
        """A `with` block that prints items."""
        if self.format == "json":
            return _Json(self, layout)
        if self.format == "jsonl":
            return _JsonLines(self, layout)
        if self.format == "csv":
            return _Csv(self, layout)
        if self.format == "id":
            return _Ids(self, layout)
        return _Table(self, layout) if self.is_terminal else _TabSeparated(self, layout)

    def show(self, items: Iterable[T], layout: Layout[T]) -> int:
        """Print items. Returns their number."""
        count = 0
        with self.writer(layout) as writer:
            for item in items:
                writer.add(item)
                count += 1
        return count

    def show_details(self, items: Iterable[T], layout: Layout[T]) -> None:
        """Print items: on a terminal, each value on its own line."""
        if self.format != "table" or not self.is_terminal:
            self.show(items, layout)
            return
        for number, item in enumerate(items):
            if number:
                self.line("")
            record = layout.record(item)
            values = [(path, _value(record, path)) for path in layout.paths()]
            shown = [(path, one_line(value)) for path, value in values if value]
            widest = max((len(path) for path, _ in shown), default=0)
            for path, value in shown:
                name = click.style(path.ljust(widest), bold=True) if self.colour else path.ljust(widest)
                self.line(f"{name}{_GAP}{value}")

    def json(self, document: object) -> None:
        """Print a JSON document."""
        indent = 2 if self.is_terminal else None
        self.line(self.encoded(document, indent))

    def encoded(self, document: object, indent: int | None = None) -> str:
        """A JSON document that may be printed here."""
        text = json.dumps(document, ensure_ascii=False, indent=indent)
        return escaped_json(text, ascii_only=not is_unicode(self.stream))

    def line(self, text: str) -> None:
        """Print a line at once, so that the next program in a pipe sees it."""
        print(text, file=self.stream, flush=True)


class _JsonLines(Writer[T]):
    def add(self, item: T) -> None:
        self.output.line(self.output.encoded(self.layout.record(item)))


class _Json(Writer[T]):
    """Writes one array, item by item: a list of any length takes the memory of one item."""

    _count = 0

    def add(self, item: T) -> None:
        text = self.output.encoded(self.layout.record(item), 2)
        text = "\n".join(f"  {line}" for line in text.split("\n"))
        print("," if self._count else "[", file=self.output.stream)
        print(text, end="", file=self.output.stream)
        self._count += 1

    def finish(self) -> None:
        """End the array."""
        self.output.line("\n]" if self._count else "[]")


class _Ids(Writer[T]):
    def add(self, item: T) -> None:
        self.output.line(one_line(self.layout.item_id(item)))


class _Csv(Writer[T]):
    def __init__(self, output: Output, layout: Layout[T]) -> None:
        super().__init__(output, layout)
        self._paths = tuple(layout.paths())
        import csv

        self._rows = csv.writer(output.stream, lineterminator="\n")
        self._rows.writerow(self._paths)

    def add(self, item: T) -> None:
        record = self.layout.record(item)
        self._rows.writerow([_cell(_value(record, path)) for path in self._paths])
        self.output.stream.flush()


class _TabSeparated(Writer[T]):
    def add(self, item: T) -> None:
        values = [column.text(item) for column in self.layout.columns]
        values.append("; ".join(self.layout.notes(item)))
        self.output.line("\t".join(map(one_line, values)).rstrip("\t"))


class _Table(Writer[T]):
    """A table for people. Its columns are as wide as their texts, so it is printed at the end."""

    def __init__(self, output: Output, layout: Layout[T]) -> None:
        super().__init__(output, layout)
        self._items: list[T] = []

    def add(self, item: T) -> None:
        self._items.append(item)

    def finish(self) -> None:
        """Print the table."""
        stream = self.output.stream
        for line in table_lines(self._items, self.layout, self.output, width_of(stream)):
            self.output.line(line)


def table_lines(items: Sequence[T], layout: Layout[T], output: Output, width: int) -> list[str]:
    """The lines of a table that is at most `width` columns wide on an output."""
    from rich.cells import cell_len

    colour, stream = output.colour, output.stream
    ellipsis = "\N{HORIZONTAL ELLIPSIS}" if is_unicode(stream) else ".."

    if not items:
        return []
    columns, texts, widths = _fitted(items, layout.columns, stream, width)

    def cell(text: str, at: int) -> str:
        text = _cut(text, widths[at], ellipsis)
        padding = " " * (widths[at] - cell_len(text))
        return padding + text if columns[at].right else text + padding

    def styled(text: str, style: str | None) -> str:
        return click.style(text, fg=style) if colour and style else text

    header = _GAP.join(cell(column.header, at) for at, column in enumerate(columns)).rstrip()
    lines = [click.style(header, bold=True) if colour else header]
    for item, row in zip(items, texts, strict=True):
        cells = [
            # mypy takes a stored function for a method.
            styled(cell(text, at), columns[at].style(item) if columns[at].style else None)  # type: ignore[misc]
            for at, text in enumerate(row)
        ]
        lines.append(_GAP.join(cells).rstrip())
        for note in layout.notes(item):
            lines += [styled(line, "yellow") for line in wrapped(encodable(one_line(note), stream), width, indent="  ")]
    return lines


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Text in lines of at most `width` columns."""
    import textwrap

    from rich.cells import cell_len

    # Wide characters take two columns each.
    columns = width if cell_len(text) == len(text) else width // 2
    return textwrap.wrap(text, columns, initial_indent=indent, subsequent_indent=f"{indent}  ") or [indent]


def _fitted(
    items: Sequence[T], columns: Sequence[Column[T]], stream: TextIO, width: int
) -> tuple[Sequence[Column[T]], list[list[str]], list[int]]:
    """The columns that fit, the texts of each row, and the widths of the columns."""
    from rich.cells import cell_len

    columns = list(columns)
    texts = [[encodable(one_line(column.text(item)), stream) for column in columns] for item in items]
    widths = [max(cell_len(column.header), *(cell_len(row[at]) for row in texts)) for at, column in enumerate(columns)]

    def excess() -> int:
        return sum(widths) + len(_GAP) * (len(widths) - 1) - width

    for at in reversed(range(len(columns))):
        if excess() > 0 and columns[at].short == 0:
            del columns[at], widths[at]
            for row in texts:
                del row[at]
    for at in reversed(range(len(columns))):
        least = columns[at].short
        if least is not None and widths[at] > least:
            widths[at] = max(least, widths[at] - max(excess(), 0))
    for at in reversed(range(len(columns))):
        widths[at] = max(min(widths[at], _MIN_COLUMN), widths[at] - max(excess(), 0))
    return columns, texts, widths


def _cut(text: str, width: int, ellipsis: str) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - len(ellipsis), 0)).rstrip() + ellipsis[:width]


def _value(record: Mapping[str, Any], path: str) -> str:
    """A value of a JSON object as text; empty if it is absent."""
    value: Any = record
    for name in path.split("."):
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _cell(text: str) -> str:
    """Text that a spreadsheet shows as it is, rather than as a formula."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
