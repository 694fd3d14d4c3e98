"""The emulator's storage: a SQLite file that survives a crash of the process, or memory.

Each record is stored as a JSON document, next to the columns that queries use. Every change happens in a
transaction, all or nothing. Only one process at a time uses a file.

A stored record has the state of its last explicit change. The changes since then follow from the time and are
computed when the record is read. Only the phases that a list filters by are updated beforehand.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prebuild_wire.enums import PrebuildPhase, PrebuildTrigger, WarmPoolPhase

from .datafile import NOT_DELETED, POOL_KEYS, PREBUILD_KEYS, SCHEMA_VERSION, StoreError, open_database
from .errors import ConnectCode, ConnectError
from .lifecycle import PrebuildRecord, Step, WarmPoolRecord
from .listing import Rows, kinds_in_use, newest
from .settling import Completion, settled, settled_pool

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["SCHEMA_VERSION", "Filter", "Store", "StoreError", "Transaction"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


# The number of recently read prebuilds that are cached, in the state in which they were read.
_REMEMBERED = 1000

# The number of rows of expired records that are removed by an addition, and by a list.
_SWEPT_BY_ADDING = 10
_SWEPT_BY_LISTING = 5000

# The batch size for updating phases and for reading documents.
_BATCH = 10_000
_AT_ONCE = 500

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of a list: the allowed values of each column. A column that is not named may have any value."""

    columns: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


class Store:
    """All records. Without a path, the records are in memory and are lost with the store.

    Raises:
        StoreError: the file is in use by another emulator, is not an emulator's file, was written by a newer emulator,
            is damaged, or cannot be read and written at all. The file is unchanged.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._connection = open_database(path)
        self._remembered: dict[int, PrebuildRecord] = {}
        self.secret = self._meta("secret")
        """Random bytes that stay the same for as long as the records exist."""
        self._number_key = self._meta("number key")
        self._now = self.latest()
        self.on_commit: Callable[[Transaction], None] | None = None
        """Called with each committed transaction, while the store is locked."""

    def close(self) -> None:
        """Release the file. The store cannot be used afterwards."""
        with self._lock:
            try:
                if self._now is not None and not self._connection.in_transaction:
                    self._connection.execute("REPLACE INTO meta VALUES ('latest', ?)", (_micros(self._now),))
            except sqlite3.Error:
                # The disk is full, or the store is closed already. The file already holds all that clients have seen.
                pass
            self._connection.close()

    def latest(self) -> datetime | None:
        """The latest emulated time that clients have seen, or None. Time should continue from there."""
        value = self._meta("latest")
        return None if value is None else _EPOCH + timedelta(microseconds=value)

    @contextmanager
    def transaction(self, now: datetime) -> Generator[Transaction]:
        """Run the block at the emulated time `now`, all or nothing.

        Raises:
            ConnectError: `resource_exhausted`, the disk is full; `data_loss`, the file is damaged;
                `unavailable`, the file cannot be read or written for another reason. In each case nothing has changed.
        """
        with self._lock:
            connection = self._connection
            before = connection.total_changes
            try:
                connection.execute("BEGIN")
                transaction = Transaction(connection, now, self._number_key, self._remembered)
                yield transaction
                self._finish(transaction, before, now)
                self._now = now
                if self.on_commit is not None:
                    self.on_commit(transaction)
            except BaseException as error:
                self._roll_back(before)
                if isinstance(error, sqlite3.Error) and (failure := _failure(error)) is not None:
                    raise failure from error
                raise

    def _finish(self, transaction: Transaction, before: int, now: datetime) -> None:
        connection = self._connection
        changed = connection.total_changes != before
        try:
            transaction.sweep()
            if transaction.moved or connection.total_changes != before:
                # A restart must not undo what a client has seen, even if only time has passed.
                connection.execute("REPLACE INTO meta VALUES ('latest', ?)", (_micros(now),))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = _failure(error)
            if changed or failure is None or failure.code is not ConnectCode.RESOURCE_EXHAUSTED:
                raise
            # A full disk does not prevent reading.
            self._roll_back(before)

    def _roll_back(self, before: int) -> None:
        connection = self._connection
        try:
            if connection.total_changes != before:
                self._remembered.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The connection is closed, or SQLite has rolled back after a severe error. The first error has the reason.
            return

    def _meta(self, key: str) -> Any:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]


class Transaction:
    """The reads and writes of one request. Records are read as they are at the time of the request."""

    def __init__(
        self, connection: sqlite3.Connection, now: datetime, number_key: bytes, remembered: dict[int, PrebuildRecord]
    ) -> None:
        self._connection = connection
        self._now = now
        self._micros = _micros(now)
        self._number_key = number_key
        self._remembered = remembered
        self.moved = False
        """Whether a record was read that has changed because time has passed."""
        self.written: set[str] = set()
        """The ids of the added and changed prebuilds."""
        self.cleared = False
        """Whether everything was removed."""
        self._to_sweep = 0

    # -- Prebuilds

    def prebuild(self, prebuild_id: str) -> PrebuildRecord | None:
        """Return the prebuild with this id."""
        row = self._connection.execute("SELECT sequence FROM prebuilds WHERE id = ?", (prebuild_id,)).fetchone()
        return None if row is None else self._prebuilds(row)[0]

    def sequence(self, prebuild_id: str) -> int | None:
        """Return the position of a prebuild in the lists. Newer prebuilds have higher positions."""
        row = self._connection.execute("SELECT sequence FROM prebuilds WHERE id = ?", (prebuild_id,)).fetchone()
        return None if row is None else row[0]

    def add_prebuild(self, record: PrebuildRecord) -> None:
        """Store a new prebuild."""
        self._to_sweep = max(self._to_sweep, _SWEPT_BY_ADDING)
        self.written.add(record.id)
        cursor = self._connection.execute(
            "INSERT INTO prebuilds (id, project, environment_class, creator, executor, kind, next_change,"
            " completes_at, snapshot_until, gone_at, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                self._number(record.project_id),
                self._number(record.environment_class_id),
                self._number(record.creator.id),
                None if record.executor is None else self._number(record.executor.id),
                *_course(record),
            ),
        )
        self._connection.execute(
            "INSERT INTO documents VALUES (?, ?)", (cursor.lastrowid, _written(_prebuild(), record))
        )

    def put_prebuild(self, record: PrebuildRecord) -> None:
        """Store a changed prebuild."""
        connection = self._connection
        (sequence,) = connection.execute("SELECT sequence FROM prebuilds WHERE id = ?", (record.id,)).fetchone()
        self._remembered.pop(sequence, None)
        self.written.add(record.id)
        connection.execute(
            "UPDATE prebuilds SET kind = ?, next_change = ?, completes_at = ?, snapshot_until = ?, gone_at = ?,"
            " changes = ? WHERE sequence = ?",
            (*_course(record), sequence),
        )
        connection.execute(
            "UPDATE documents SET document = ? WHERE sequence = ?", (_written(_prebuild(), record), sequence)
        )

    def list_prebuilds(self, wanted: Filter, before: int | None, limit: int) -> list[tuple[int, PrebuildRecord]]:
        """Return the newest prebuilds that match the filter, older than the sequence `before` if that is given.

        Each prebuild comes with its sequence. At most `limit` prebuilds are returned, or all if `limit` is negative.
        """
        self._to_sweep = _SWEPT_BY_LISTING
        columns = wanted.columns
        phases = {_PHASES[value] for value in columns.get("phase", ())}
        triggers = {_TRIGGERS[value] for value in columns.get("triggered_by", ())}
        if phases:
            self._move_phases()
        keys = self._keys(PREBUILD_KEYS, wanted)
        kinds = [
            kind
            for kind in (kinds_in_use(self._connection) if columns else ())
            if (not phases or kind // _SHIFT in phases) and (not triggers or kind % _SHIFT in triggers)
        ]
        rows = Rows("prebuilds", keys, kinds, not phases and not triggers, self._micros)
        sequences = newest(self._connection, rows, before, limit)
        found = zip(sequences, self._prebuilds(sequences), strict=True)
        return [(sequence, record) for sequence, record in found if record is not None]

    def newest_snapshot(self, project_id: str, environment_class_id: str) -> PrebuildRecord | None:
        """Return the prebuild of the project and class that became COMPLETED last and still is COMPLETED."""
        row = self._connection.execute(
            "SELECT sequence FROM prebuilds INDEXED BY snapshots WHERE project = ? AND environment_class = ?"
            " AND completes_at <= ? AND (snapshot_until IS NULL OR snapshot_until > ?)"
            " ORDER BY completes_at DESC, sequence DESC LIMIT 1",
            (self._number(project_id), self._number(environment_class_id), self._micros, self._micros),
        ).fetchone()
        return None if row is None else self._prebuilds(row)[0]

    # -- Warm pools

    def pool(self, pool_id: str) -> WarmPoolRecord | None:
        """Return the warm pool with this id."""
        row = self._connection.execute("SELECT sequence FROM warm_pools WHERE id = ?", (pool_id,)).fetchone()
        return None if row is None else self._pool(row[0])

    def pool_of(self, project_id: str, environment_class_id: str) -> WarmPoolRecord | None:
        """Return the warm pool of the project and class that is not DELETED."""
        pair = (self._number(project_id), self._number(environment_class_id))
        found = [self._pool(sequence) for sequence in self._holders(pair)]
        return next((pool for pool in found if pool is not None and pool.phase is not WarmPoolPhase.DELETED), None)

    def add_pool(self, record: WarmPoolRecord) -> None:
        """Store a new warm pool. It already knows all prebuilds that have COMPLETED."""
        self._connection.execute(
            "INSERT INTO warm_pools (id, project, environment_class, phase, gone_at, settled_at, settled_sequence,"
            " document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                self._number(record.project_id),
                self._number(record.environment_class_id),
                *self._pool_columns(record),
            ),
        )

    def put_pool(self, record: WarmPoolRecord) -> None:
        """Store a changed warm pool."""
        self._connection.execute(
            "UPDATE warm_pools SET phase = ?, gone_at = ?, settled_at = ?, settled_sequence = ?, document = ?"
            " WHERE id = ?",
            (*self._pool_columns(record), record.id),
        )

    def list_pools(self, wanted: Filter, before: int | None, limit: int) -> list[tuple[int, WarmPoolRecord]]:
        """Return the newest warm pools that match the filter, older than the sequence `before` if that is given.

        Each warm pool comes with its sequence. At most `limit` pools are returned, or all if `limit` is negative.
        """
        self._to_sweep = _SWEPT_BY_LISTING
        rows = Rows("warm_pools", self._keys(POOL_KEYS, wanted), None, True, self._micros)
        sequences = newest(self._connection, rows, before, limit)
        found = [(sequence, self._pool(sequence)) for sequence in sequences]
        return [(sequence, record) for sequence, record in found if record is not None]

    # -- Settings

    def settings(self, kind: str) -> dict[str, str]:
        """Return the documents of this kind by key."""
        rows = self._connection.execute("SELECT key, document FROM settings WHERE kind = ?", (kind,))
        return dict(rows.fetchall())

    def put_setting(self, kind: str, key: str, document: str) -> None:
        """Store a document. It replaces the document with the same kind and key."""
        self._connection.execute("REPLACE INTO settings VALUES (?, ?, ?)", (kind, key, document))

    def remove_setting(self, kind: str, key: str) -> None:
        """Remove a document."""
        self._connection.execute("DELETE FROM settings WHERE kind = ? AND key = ?", (kind, key))

    # -- Everything at once

    def clear(self) -> None:
        """Remove everything except the secret and the counters of the sequences."""
        for table in ("prebuilds", "documents", "warm_pools", "settings"):
            self._connection.execute(f"DELETE FROM {table}")
        self._remembered.clear()
        self.cleared = True

    def place_prebuild(self, prebuild_id: str, sequence: int) -> None:
        """Move an added prebuild to another position in the lists."""
        query = "SELECT sequence FROM prebuilds WHERE id = ?"
        (before,) = self._connection.execute(query, (prebuild_id,)).fetchone()
        for table in ("prebuilds", "documents"):
            self._connection.execute(f"UPDATE {table} SET sequence = ? WHERE sequence = ?", (sequence, before))
        self._remembered.clear()

    def place_pool(self, pool_id: str, sequence: int) -> None:
        """Move an added warm pool to another position in the lists."""
        self._connection.execute("UPDATE warm_pools SET sequence = ? WHERE id = ?", (sequence, pool_id))

    def counters(self) -> dict[str, int]:
        """Return the highest sequence that each table has ever had."""
        return dict(self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())

    def put_counters(self, counters: dict[str, int]) -> None:
        """Continue the sequences from these values."""
        self._connection.execute("DELETE FROM sqlite_sequence")
        self._connection.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", counters.items())

    def _prebuilds(self, sequences: Sequence[int]) -> list[PrebuildRecord | None]:
        """Return the current prebuilds of these rows, with None for each removed prebuild."""
        now, remembered = self._now, self._remembered
        missing = [sequence for sequence in sequences if sequence not in remembered]
        for begin in range(0, len(missing), _AT_ONCE):
            some = missing[begin : begin + _AT_ONCE]
            query = f"SELECT sequence, document FROM documents WHERE sequence IN ({', '.join('?' * len(some))})"
            for sequence, document in self._connection.execute(query, some):
                remembered[sequence] = _read(_prebuild(), document, f"prebuild number {sequence}")
        found: list[PrebuildRecord | None] = []
        for sequence in sequences:
            record = remembered.get(sequence)
            if record is None:
                raise _damaged(f"prebuild number {sequence} has no document")
            if record.timeline and record.timeline[0].due <= now:
                self.moved = True
                current = settled(record, now)
                if current is not None:
                    remembered[sequence] = current
                found.append(current)
            else:
                found.append(record)
        while len(remembered) > _REMEMBERED:
            del remembered[next(iter(remembered))]
        return found

    def _pool(self, sequence: int) -> WarmPoolRecord | None:
        """Return the current pool of this row, or None if it was removed. The pool's latest snapshot is stored."""
        project, environment_class, at, after, document = self._connection.execute(
            "SELECT project, environment_class, settled_at, settled_sequence, document FROM warm_pools"
            " WHERE sequence = ?",
            (sequence,),
        ).fetchone()
        known = _read(_pool(), document, f"warm pool number {sequence}")
        rows = self._connection.execute(
            "SELECT id, completes_at FROM prebuilds INDEXED BY snapshots WHERE project = ? AND environment_class = ?"
            " AND (completes_at, sequence) > (?, ?) AND completes_at <= ? ORDER BY completes_at, sequence",
            (project, environment_class, at, after, self._micros),
        )
        completions = [Completion(prebuild_id, _moment(completed)) for prebuild_id, completed in rows]
        current = settled_pool(known, completions, self._now)
        if current is None:
            # A new pool must be able to use this project and class at once.
            self._connection.execute("DELETE FROM warm_pools WHERE sequence = ?", (sequence,))
        elif current is not known:
            self.put_pool(current)
        return current

    def _holders(self, pair: tuple[int, int]) -> list[int]:
        """Return the row of the pool that was not DELETED for a project and class when last read: one row or none."""
        query = f"SELECT sequence FROM warm_pools WHERE project = ? AND environment_class = ? AND {NOT_DELETED}"
        return [sequence for (sequence,) in self._connection.execute(query, pair)]

    def _pool_columns(self, record: WarmPoolRecord) -> tuple[Any, ...]:
        newest_prebuild = self._connection.execute("SELECT max(sequence) FROM prebuilds").fetchone()[0] or 0
        gone_at = next((step.due for step in record.timeline if step.phase is None), None)
        return record.phase.value, _micros(gone_at), self._micros, newest_prebuild, _written(_pool(), record)

    # -- Maintenance of the tables

    def sweep(self) -> None:
        """Remove rows of expired records. Queries never return these rows, so they may be removed in batches."""
        connection, limit = self._connection, self._to_sweep
        if not limit:
            return
        rows = connection.execute(
            "SELECT sequence, project, environment_class FROM prebuilds WHERE gone_at <= ? ORDER BY gone_at LIMIT ?",
            (self._micros, limit),
        ).fetchall()
        if rows:
            # A pool may not have been updated yet with the completion of one of these prebuilds.
            for pair in {(project, environment_class) for _, project, environment_class in rows}:
                for sequence in self._holders(pair):
                    self._pool(sequence)
            sequences = [(sequence,) for sequence, *_ in rows]
            connection.executemany("DELETE FROM prebuilds WHERE sequence = ?", sequences)
            connection.executemany("DELETE FROM documents WHERE sequence = ?", sequences)
            for (sequence,) in sequences:
                self._remembered.pop(sequence, None)
        pools = connection.execute(
            "SELECT sequence FROM warm_pools WHERE gone_at <= ? ORDER BY gone_at LIMIT ?", (self._micros, limit)
        ).fetchall()
        if pools:
            connection.executemany("DELETE FROM warm_pools WHERE sequence = ?", pools)

    def _move_phases(self) -> None:
        """Update the phases that a list can filter by, for all prebuilds that are not expired."""
        connection, now = self._connection, self._micros
        at, after = -1, -1
        while True:
            rows: list[tuple[int, int, str]] = connection.execute(
                "SELECT next_change, sequence, changes FROM prebuilds INDEXED BY prebuilds_changing"
                " WHERE (next_change, sequence) > (?, ?) AND next_change <= ? AND (gone_at IS NULL OR gone_at > ?)"
                " ORDER BY next_change, sequence LIMIT ?",
                (at, after, now, now, _BATCH),
            ).fetchall()
            if not rows:
                return
            at, after, _ = rows[-1]
            moved: list[tuple[int, int | None, int]] = []
            for _, sequence, changes in rows:
                kind, following = 0, None
                for due, then in json.loads(changes):
                    if due > now:
                        following = due
                        break
                    kind = then
                moved.append((kind, following, sequence))
            connection.executemany("UPDATE prebuilds SET kind = ?, next_change = ? WHERE sequence = ?", moved)

    def _keys(self, columns: tuple[str, ...], wanted: Filter) -> dict[str, list[int]]:
        """Return the numbers that represent the ids in a filter, without duplicates."""
        return {
            column: [self._number(value) for value in dict.fromkeys(wanted.columns[f"{column}_id"])]
            for column in columns
            if f"{column}_id" in wanted.columns
        }

    def _number(self, name: str) -> int:
        """Return the number that represents an id: 64 unpredictable bits, so that ids never collide."""
        digest = hashlib.blake2b(name.encode(), digest_size=8, key=self._number_key).digest()
        return int.from_bytes(digest, signed=True)


# Created when the first record is read or written: without pydantic, the emulator starts faster.
@cache
def _prebuild() -> TypeAdapter[PrebuildRecord]:
    from pydantic import TypeAdapter

    import_module(".declarations", __package__)  # a record may have an outcome: this is where pydantic learns of it
    return TypeAdapter(PrebuildRecord)


@cache
def _pool() -> TypeAdapter[WarmPoolRecord]:
    from pydantic import TypeAdapter

    return TypeAdapter(WarmPoolRecord)


_compact = json.JSONEncoder(separators=(",", ":")).encode

# A kind is the number of a phase times this factor, plus the number of a trigger.
_SHIFT: Final = 16
_PHASES: Final = {phase.value: phase.number for phase in PrebuildPhase}
_TRIGGERS: Final = {trigger.value: trigger.number for trigger in PrebuildTrigger}


def _kind(phase: PrebuildPhase, trigger: PrebuildTrigger) -> int:
    return phase.number * _SHIFT + trigger.number


def _course(record: PrebuildRecord) -> tuple[Any, ...]:
    """Return the columns for the future of a prebuild: from `kind` to `changes`, in the order of the table."""
    changes: list[tuple[int, int]] = []
    kind = begin = _kind(record.phase, record.triggered_by)
    for step in record.timeline:
        then = kind if step.phase is None else _kind(step.phase, record.triggered_by)
        if then != kind:
            changes.append((_micros(step.due), then))
            kind = then
    completes_at, snapshot_until = _snapshot((*record.taken, *record.timeline))
    gone_at = next((step.due for step in record.timeline if step.phase is None), None)
    return (
        begin,
        changes[0][0] if changes else None,
        _micros(completes_at),
        _micros(snapshot_until),
        _micros(gone_at),
        _compact(changes),
    )


def _snapshot(steps: Iterable[Step]) -> tuple[datetime | None, datetime | None]:
    """Return the start and the end of the time in which a prebuild is COMPLETED."""
    begin: datetime | None = None
    for step in steps:
        if begin is not None and step.phase is not PrebuildPhase.COMPLETED:
            return begin, step.due
        if begin is None and step.phase is PrebuildPhase.COMPLETED:
            begin = step.due
    return begin, None


def _written(adapter: TypeAdapter[RecordT], record: RecordT) -> str:
    return adapter.dump_json(record, exclude_defaults=True).decode()


def _read(adapter: TypeAdapter[RecordT], document: str, what: str) -> RecordT:
    try:
        return adapter.validate_json(document)
    except ValueError as error:  # pydantic's own is one
        raise _damaged(f"the document of {what} cannot be read") from error


def _damaged(how: str) -> ConnectError:
    return ConnectError(ConnectCode.DATA_LOSS, f"the data file is damaged: {how}")


def _failure(error: sqlite3.Error) -> ConnectError | None:
    """Return the error for the client when the file fails, or None for a bug of the emulator."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE:
        return ConnectError(
            ConnectCode.RESOURCE_EXHAUSTED,
            f"nothing has changed, as there is no room for the data file: {error}",
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(str(error))
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
        return ConnectError(ConnectCode.UNAVAILABLE, f"the data file cannot be used now: {error}")
    if isinstance(error, sqlite3.ProgrammingError) and primary is None:
        return ConnectError(ConnectCode.UNAVAILABLE, "the emulator is about to stop")
    return None


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _micros(moment: datetime | None) -> Any:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND
