"""The newest rows that match a filter, at a cost that does not grow with the number of rows.

Each combination of the filter's values is a range of an index, sorted newest first. The heads of all ranges show
which ranges can contribute to a page, and these ranges are merged. The cost therefore grows with the size of the page
and with the number of combinations that have rows. Because there can be many combinations, a bounded number of rows
is scanned first: the newest of all, and the newest with a matching value in the first column. If matching rows are
frequent, this scan fills the page.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from math import prod

from .datafile import list_index

# The number of newest rows that are scanned, and of newest rows with a matching value in the first column.
_SCANNED = 400
_SCANNED_OF_FIRST = 300

# Fewer combinations than this are queried directly, without a scan.
_FEW = 50

# The minimum number of rows of a range that are read at a time.
_LEAST = 4

_BEYOND = 2**63 - 1

_ALIVE = "(gone_at IS NULL OR gone_at > ?)"


@dataclass(frozen=True, slots=True)
class Rows:
    """A query of a table: the rows that match the values of each filtered column.

    Args:
        table: the table.
        keys: the values of each filtered column, in the order of the columns in the indexes.
        kinds: the values of `kind`, None if the table has no such column.
        any_kind: whether `kinds` contains all existing values.
        now: rows that are expired by this time, in microseconds, are skipped.
    """

    table: str
    keys: Mapping[str, Sequence[int]]
    kinds: Sequence[int] | None
    any_kind: bool
    now: int


def newest(connection: sqlite3.Connection, rows: Rows, before: int | None, limit: int) -> list[int]:
    """Return the greatest `limit` sequences of the rows, below `before` if that is given, in descending order.

    A negative limit returns all sequences.
    """
    end = _BEYOND if before is None else before
    limit = _BEYOND if limit < 0 else limit
    (top,) = connection.execute(f"SELECT max(sequence) FROM {rows.table} WHERE sequence < ?", (end,)).fetchone()
    if top is None:
        return []
    if not rows.keys and rows.any_kind:
        return _matching(connection, rows, "sequence < ?", [end], limit)
    end = min(end, top + 1)
    floor = end - _SCANNED
    found = _matching(connection, rows, "sequence >= ? AND sequence < ?", [floor, end], limit)
    if len(found) < limit and prod(len(values) for values in rows.keys.values()) > _FEW:
        first = next(iter(rows.keys))
        candidates = _merged(connection, replace(rows, keys={first: rows.keys[first]}), floor, _SCANNED_OF_FIRST)
        places = ", ".join("?" * len(candidates))
        found += _matching(connection, rows, f"sequence IN ({places})", candidates, limit - len(found))
        floor = candidates[-1] if len(candidates) == _SCANNED_OF_FIRST else 0
    if len(found) < limit:
        found += _merged(connection, rows, floor, limit - len(found))
    return found


def kinds_in_use(connection: sqlite3.Connection) -> list[int]:
    """Return the existing values of `kind` in ascending order. Each value takes one lookup in the index."""
    query = (
        "WITH RECURSIVE used (kind) AS (SELECT min(kind) FROM prebuilds UNION ALL"
        " SELECT (SELECT min(kind) FROM prebuilds WHERE kind > used.kind) FROM used WHERE kind IS NOT NULL)"
        " SELECT kind FROM used WHERE kind IS NOT NULL"
    )
    return [kind for (kind,) in connection.execute(query)]


def _matching(connection: sqlite3.Connection, rows: Rows, where: str, values: list[int], limit: int) -> list[int]:
    """Return the newest rows that also match `where`, by scanning all rows that `where` selects."""
    conditions = [where, _ALIVE]
    values = [*values, rows.now]
    asked = {**rows.keys, **({} if rows.any_kind or rows.kinds is None else {"kind": rows.kinds})}
    for column, allowed in asked.items():
        conditions.append(f"{column} IN ({', '.join('?' * len(allowed))})")
        values.extend(allowed)
    query = (
        f"SELECT sequence FROM {rows.table} NOT INDEXED WHERE {' AND '.join(conditions)} ORDER BY sequence DESC LIMIT ?"
    )
    return [sequence for (sequence,) in connection.execute(query, (*values, limit))]


def _merged(connection: sqlite3.Connection, rows: Rows, before: int, limit: int) -> list[int]:
    """Return the newest rows below `before` by merging the ranges of the index."""
    columns = [*rows.keys, *(() if rows.kinds is None else ("kind",))]
    allowed = [*rows.keys.values(), *(() if rows.kinds is None else (rows.kinds,))]
    table = f"{rows.table} INDEXED BY {list_index(rows.table, tuple(rows.keys))}"

    # Values without rows are removed level by level, so that not all combinations must be queried.
    equals = [f"{column} = v{at}.value" for at, column in enumerate(columns)]
    # The index of a column that may be empty contains only the rows with a value.
    filled = ["executor IS NOT NULL"] if "executor" in columns else []
    present = [
        f"EXISTS (SELECT 1 FROM {table} WHERE {' AND '.join((*equals[:level], *filled))})"
        for level in range(1, len(columns))
    ]
    sources = [f"json_each(?) AS v{at}" for at in range(len(columns))]
    of_range = " AND ".join(equals)
    head = f"SELECT sequence FROM {table} WHERE {of_range} AND sequence < ? AND {_ALIVE} ORDER BY sequence DESC LIMIT 1"
    query = (
        f"SELECT ({head}) AS head, {', '.join(f'v{at}.value' for at in range(len(columns)))}"
        f" FROM {' CROSS JOIN '.join(sources)} WHERE {' AND '.join(present) or 'TRUE'} ORDER BY head DESC LIMIT ?"
    )
    lists = [json.dumps(list(values)) for values in allowed]
    heads = connection.execute(query, (before, rows.now, *lists, limit)).fetchall()

    of_range = " AND ".join(f"{column} = ?" for column in columns)
    query = (
        f"SELECT sequence FROM {table} WHERE {of_range} AND sequence < ? AND {_ALIVE} ORDER BY sequence DESC LIMIT ?"
    )
    ranges = [(head, values) for head, *values in heads if head is not None]
    piece = min(limit, 2 * limit // max(len(ranges), 1) + _LEAST)
    each = (_range(connection, query, values, head, rows.now, piece) for head, values in ranges)
    return list(islice(merge(*each, reverse=True), limit))


def _range(
    connection: sqlite3.Connection, query: str, values: Sequence[int], head: int, now: int, piece: int
) -> Iterator[int]:
    """Yield the rows of a range, newest first. They are read in batches, and only if more than the head is needed."""
    yield head
    last = head
    while True:
        more = connection.execute(query, (*values, last, now, piece)).fetchall()
        for (last,) in more:
            yield last
        if len(more) < piece:
            return
