"""Where records are kept: a SQLite file that survives a crash of the process, or memory.

A record is kept as a JSON document, next to the columns that it is looked up by. Every change happens in a
transaction, all or nothing. One process at a time uses a file.

A record is kept as it was when somebody changed it last. What has become of it since then follows from the time, and
is worked out when it is read. Only the phases that a list asks for have to be brought up to date beforehand.
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


# So many of the prebuilds that were read last are kept at hand, as they were then.
_REMEMBERED = 1000

# Of what is gone, so many rows are removed when something is added, and when something is listed.
_SWEPT_BY_ADDING = 10
_SWEPT_BY_LISTING = 5000

# So many phases are brought up to date at a time, and so many documents are read.
_BATCH = 10_000
_AT_ONCE = 500

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list: for each column the values that it may have. A column that is not named may have any."""

    columns: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


class Store:
    """All records. Without a path they are kept in memory, and are gone with the store.

    Raises:
        StoreError: the file is used by another emulator, was not written by one, was written by a newer one, is
            damaged, or cannot be read and written at all. It is left as it was.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._connection = open_database(path)
        self._remembered: dict[int, PrebuildRecord] = {}
        self.secret = self._meta("secret")
        """Random bytes that stay the same for as long as the records do."""
        self._number_key = self._meta("number key")
        self._now = self.latest()
        self.on_commit: Callable[[Transaction], None] | None = None
        """Called with each transaction that was committed, while the store is locked."""

    def close(self) -> None:
        """Give the file free. The store cannot be used any more."""
        with self._lock:
            try:
                if self._now is not None and not self._connection.in_transaction:
                    self._connection.execute("REPLACE INTO meta VALUES ('latest', ?)", (_micros(self._now),))
            except sqlite3.Error:
                # There is no room, or it is closed already. What callers were told is in the file as it is.
                pass
            self._connection.close()

    def latest(self) -> datetime | None:
        """The latest emulated time that callers know of, None if there were none. Time should go on from there."""
        value = self._meta("latest")
        return None if value is None else _EPOCH + timedelta(microseconds=value)

    @contextmanager
    def transaction(self, now: datetime) -> Generator[Transaction]:
        """Everything that happens within, happens at the emulated time `now`, together, or not at all.

        Raises:
            ConnectError: `resource_exhausted`, there is no room to write; `data_loss`, the file is damaged;
                `unavailable`, it cannot be read or written for another reason. Nothing has changed then.
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
                # What a caller was told must not be undone by a restart, be it only that time has passed.
                connection.execute("REPLACE INTO meta VALUES ('latest', ?)", (_micros(now),))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = _failure(error)
            if changed or failure is None or failure.code is not ConnectCode.RESOURCE_EXHAUSTED:
                raise
            # There is no room, which is no reason not to read.
            self._roll_back(before)

    def _roll_back(self, before: int) -> None:
        connection = self._connection
        try:
            if connection.total_changes != before:
                self._remembered.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # It is closed, or has failed so badly that SQLite has rolled back by itself. The first error tells why.
            return

    def _meta(self, key: str) -> Any:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]


class Transaction:
    """What one call reads and writes. What it reads is as it is at the time of the call."""

    def __init__(
        self, connection: sqlite3.Connection, now: datetime, number_key: bytes, remembered: dict[int, PrebuildRecord]
    ) -> None:
        self._connection = connection
        self._now = now
        self._micros = _micros(now)
        self._number_key = number_key
        self._remembered = remembered
        self.moved = False
        """Whether a record was read that was another one before the time moved on."""
        self.written: set[str] = set()
        """The ids of the prebuilds that were added or changed."""
        self.cleared = False
        """Whether everything was removed."""
        self._to_sweep = 0

    # -- Prebuilds

    def prebuild(self, prebuild_id: str) -> PrebuildRecord | None:
        """The prebuild of that id."""
        row = self._connection.execute("SELECT sequence FROM prebuilds WHERE id = ?", (prebuild_id,)).fetchone()
        return None if row is None else self._prebuilds(row)[0]

    def sequence(self, prebuild_id: str) -> int | None:
        """The place of a prebuild in the lists: the higher, the newer."""
        row = self._connection.execute("SELECT sequence FROM prebuilds WHERE id = ?", (prebuild_id,)).fetchone()
        return None if row is None else row[0]

    def add_prebuild(self, record: PrebuildRecord) -> None:
        """Keep a new prebuild."""
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
        """Keep a prebuild that has changed."""
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
        """The newest prebuilds that pass the filter, older than the sequence `before` if that is given.

        Each comes with its sequence. At most `limit` of them, or all if that is negative.
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
        """The prebuild of the project and class that is COMPLETED and became so last."""
        row = self._connection.execute(
            "SELECT sequence FROM prebuilds INDEXED BY snapshots WHERE project = ? AND environment_class = ?"
            " AND completes_at <= ? AND (snapshot_until IS NULL OR snapshot_until > ?)"
            " ORDER BY completes_at DESC, sequence DESC LIMIT 1",
            (self._number(project_id), self._number(environment_class_id), self._micros, self._micros),
        ).fetchone()
        return None if row is None else self._prebuilds(row)[0]

    # -- Warm pools

    def pool(self, pool_id: str) -> WarmPoolRecord | None:
        """The warm pool of that id."""
        row = self._connection.execute("SELECT sequence FROM warm_pools WHERE id = ?", (pool_id,)).fetchone()
        return None if row is None else self._pool(row[0])

    def pool_of(self, project_id: str, environment_class_id: str) -> WarmPoolRecord | None:
        """The warm pool that holds the place of the project and class: the one that is not DELETED."""
        pair = (self._number(project_id), self._number(environment_class_id))
        found = [self._pool(sequence) for sequence in self._holders(pair)]
        return next((pool for pool in found if pool is not None and pool.phase is not WarmPoolPhase.DELETED), None)

    def add_pool(self, record: WarmPoolRecord) -> None:
        """Keep a new warm pool. It has heard of all prebuilds that have COMPLETED."""
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
        """Keep a warm pool that has changed."""
        self._connection.execute(
            "UPDATE warm_pools SET phase = ?, gone_at = ?, settled_at = ?, settled_sequence = ?, document = ?"
            " WHERE id = ?",
            (*self._pool_columns(record), record.id),
        )

    def list_pools(self, wanted: Filter, before: int | None, limit: int) -> list[tuple[int, WarmPoolRecord]]:
        """The newest warm pools that pass the filter, older than the sequence `before` if that is given.

        Each comes with its sequence. At most `limit` of them, or all if that is negative.
        """
        self._to_sweep = _SWEPT_BY_LISTING
        rows = Rows("warm_pools", self._keys(POOL_KEYS, wanted), None, True, self._micros)
        sequences = newest(self._connection, rows, before, limit)
        found = [(sequence, self._pool(sequence)) for sequence in sequences]
        return [(sequence, record) for sequence, record in found if record is not None]

    # -- Settings

    def settings(self, kind: str) -> dict[str, str]:
        """The documents of that kind, each by its key."""
        rows = self._connection.execute("SELECT key, document FROM settings WHERE kind = ?", (kind,))
        return dict(rows.fetchall())

    def put_setting(self, kind: str, key: str, document: str) -> None:
        """Keep a document, in place of the one that has its kind and key."""
        self._connection.execute("REPLACE INTO settings VALUES (?, ?, ?)", (kind, key, document))

    def remove_setting(self, kind: str, key: str) -> None:
        """Forget a document."""
        self._connection.execute("DELETE FROM settings WHERE kind = ? AND key = ?", (kind, key))

    # -- Everything at once

    def clear(self) -> None:
        """Forget everything but the secret, and how far the sequences have come."""
        for table in ("prebuilds", "documents", "warm_pools", "settings"):
            self._connection.execute(f"DELETE FROM {table}")
        self._remembered.clear()
        self.cleared = True

    def place_prebuild(self, prebuild_id: str, sequence: int) -> None:
        """Give a prebuild that was added another place in the lists."""
        query = "SELECT sequence FROM prebuilds WHERE id = ?"
        (before,) = self._connection.execute(query, (prebuild_id,)).fetchone()
        for table in ("prebuilds", "documents"):
            self._connection.execute(f"UPDATE {table} SET sequence = ? WHERE sequence = ?", (sequence, before))
        self._remembered.clear()

    def place_pool(self, pool_id: str, sequence: int) -> None:
        """Give a warm pool that was added another place in the lists."""
        self._connection.execute("UPDATE warm_pools SET sequence = ? WHERE id = ?", (sequence, pool_id))

    def counters(self) -> dict[str, int]:
        """The highest sequence that each table ever had."""
        return dict(self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())

    def put_counters(self, counters: dict[str, int]) -> None:
        """Let the sequences go on from here."""
        self._connection.execute("DELETE FROM sqlite_sequence")
        self._connection.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", counters.items())

    def _prebuilds(self, sequences: Sequence[int]) -> list[PrebuildRecord | None]:
        """The prebuilds of these rows as they are now, None for one that is gone."""
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
        """The pool of this row as it is now, None if it is gone. What it has heard of is kept."""
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
            # Its place must be free for another one at once.
            self._connection.execute("DELETE FROM warm_pools WHERE sequence = ?", (sequence,))
        elif current is not known:
            self.put_pool(current)
        return current

    def _holders(self, pair: tuple[int, int]) -> list[int]:
        """The rows of the pools that held the place of a project and class when last looked at: one or none."""
        query = f"SELECT sequence FROM warm_pools WHERE project = ? AND environment_class = ? AND {NOT_DELETED}"
        return [sequence for (sequence,) in self._connection.execute(query, pair)]

    def _pool_columns(self, record: WarmPoolRecord) -> tuple[Any, ...]:
        newest_prebuild = self._connection.execute("SELECT max(sequence) FROM prebuilds").fetchone()[0] or 0
        gone_at = next((step.due for step in record.timeline if step.phase is None), None)
        return record.phase.value, _micros(gone_at), self._micros, newest_prebuild, _written(_pool(), record)

    # -- Keeping the tables in order

    def sweep(self) -> None:
        """Remove rows of what is gone. They are not seen in any case, so that it need not be all at once."""
        connection, limit = self._connection, self._to_sweep
        if not limit:
            return
        rows = connection.execute(
            "SELECT sequence, project, environment_class FROM prebuilds WHERE gone_at <= ? ORDER BY gone_at LIMIT ?",
            (self._micros, limit),
        ).fetchall()
        if rows:
            # A pool may not have heard yet that one of them was completed once.
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
        """Bring the phases up to date that a list can ask for, of all prebuilds that are not gone."""
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
        """The numbers that stand for the ids that a filter names, each once."""
        return {
            column: [self._number(value) for value in dict.fromkeys(wanted.columns[f"{column}_id"])]
            for column in columns
            if f"{column}_id" in wanted.columns
        }

    def _number(self, name: str) -> int:
        """The number that stands for an id. 64 bits that nobody can foresee: no two ids will ever have the same."""
        digest = hashlib.blake2b(name.encode(), digest_size=8, key=self._number_key).digest()
        return int.from_bytes(digest, signed=True)


# Made when the first record is read or written: an emulator starts sooner without pydantic.
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

# A kind is the number of a phase times this, plus the number of a trigger.
_SHIFT: Final = 16
_PHASES: Final = {phase.value: phase.number for phase in PrebuildPhase}
_TRIGGERS: Final = {trigger.value: trigger.number for trigger in PrebuildTrigger}


def _kind(phase: PrebuildPhase, trigger: PrebuildTrigger) -> int:
    return phase.number * _SHIFT + trigger.number


def _course(record: PrebuildRecord) -> tuple[Any, ...]:
    """The columns that tell what becomes of a prebuild: from `kind` to `changes`, as they are in the table."""
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
    """From when until when a prebuild is COMPLETED."""
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
    """What a caller is told when the file fails, None where the fault is ours."""
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
