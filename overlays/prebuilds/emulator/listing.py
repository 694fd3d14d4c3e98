"""The newest rows that pass a filter, at a cost that does not grow with the number of rows.

Each combination of the values that are asked for is a range of an index, in which the rows stand newest first. The
heads of all ranges tell which of them a page can come from, and these are merged. So the cost grows with the size of
the page, and with the number of combinations that have rows at all. As these can be many, a bounded number of rows is
looked at one by one beforehand: the newest of all, and the newest that have a right value in the first column. Of what
is frequent, a page is found there.
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

# So many of the newest rows are looked at one by one, and of those with a right value in the first column.
_SCANNED = 400
_SCANNED_OF_FIRST = 300

# Fewer combinations than this are looked up without more ado.
_FEW = 50

# So many rows of a range are read at a time, at least.
_LEAST = 4

_BEYOND = 2**63 - 1

_ALIVE = "(gone_at IS NULL OR gone_at > ?)"


@dataclass(frozen=True, slots=True)
class Rows:
    """What is asked of a table: its rows whose columns have one of the values, those of the filter that are named.

    Args:
        table: the table.
        keys: the values of each column that is asked for, in the order of the columns in the indexes.
        kinds: the values of `kind`, None if the table has no such column.
        any_kind: whether `kinds` are all that there are.
        now: rows that are gone by this time, in microseconds, are passed over.
    """

    table: str
    keys: Mapping[str, Sequence[int]]
    kinds: Sequence[int] | None
    any_kind: bool
    now: int


def newest(connection: sqlite3.Connection, rows: Rows, before: int | None, limit: int) -> list[int]:
    """The greatest `limit` sequences of the rows, below `before` if that is given, in descending order.

    All of them if the limit is negative.
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
    """The values of `kind` that occur, in ascending order. It takes one look at the index for each."""
    query = (
        "WITH RECURSIVE used (kind) AS (SELECT min(kind) FROM prebuilds UNION ALL"
        " SELECT (SELECT min(kind) FROM prebuilds WHERE kind > used.kind) FROM used WHERE kind IS NOT NULL)"
        " SELECT kind FROM used WHERE kind IS NOT NULL"
    )
    return [kind for (kind,) in connection.execute(query)]


def _matching(connection: sqlite3.Connection, rows: Rows, where: str, values: list[int], limit: int) -> list[int]:
    """The newest of the rows that are also among those that `where` names, by looking at all of these."""
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
    """The newest rows below `before`, out of the ranges of the index."""
    columns = [*rows.keys, *(() if rows.kinds is None else ("kind",))]
    allowed = [*rows.keys.values(), *(() if rows.kinds is None else (rows.kinds,))]
    table = f"{rows.table} INDEXED BY {list_index(rows.table, tuple(rows.keys))}"

    # Level by level, what has no rows at all is left out, so that not all combinations have to be looked at.
    equals = [f"{column} = v{at}.value" for at, column in enumerate(columns)]
    # The indexes of a column that may be empty have only the rows in which it is not.
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
    """The rows of a range, newest first, read piece by piece: nothing is, unless more than its head is asked for."""
    yield head
    last = head
    while True:
        more = connection.execute(query, (*values, last, now, piece)).fetchall()
        for (last,) in more:
            yield last
        if len(more) < piece:
            return
