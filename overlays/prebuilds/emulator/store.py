"""Where records are kept: a SQLite file that survives a crash of the process, or memory.

A record is kept as a JSON document, next to the columns that it is looked up by. Every change happens in a
transaction, all or nothing. One process at a time uses a file.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter

from prebuild_wire.enums import PrebuildPhase, WarmPoolPhase

from .lifecycle import PrebuildRecord, WarmPoolRecord

SCHEMA_VERSION: Final = 1
"""The version of the tables below; a file says which one it has."""

# Tells a file of ours from any other SQLite file: "PbEm".
_APPLICATION_ID = 0x5062456D

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Conditions of partial indexes; a query that is to use one has to repeat it word for word.
_COMPLETED = f"phase = '{PrebuildPhase.COMPLETED.value}'"
_NOT_DELETED = f"phase <> '{WarmPoolPhase.DELETED.value}'"
_OF_PAIR = "project_id = ? AND environment_class_id = ?"

# `sequence` counts creations, so that newest first is descending by it. Times are microseconds since 1970.
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE prebuilds (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        project_id TEXT NOT NULL,
        environment_class_id TEXT NOT NULL,
        phase TEXT NOT NULL,
        triggered_by TEXT NOT NULL,
        creator_id TEXT NOT NULL,
        executor_id TEXT,
        completed_at INTEGER,
        next_due INTEGER,
        document TEXT NOT NULL
    )""",
    "CREATE INDEX prebuilds_by_project ON prebuilds (project_id, phase, sequence)",
    "CREATE INDEX prebuilds_by_phase ON prebuilds (phase, sequence)",
    "CREATE INDEX prebuilds_by_creator ON prebuilds (creator_id, sequence)",
    "CREATE INDEX prebuilds_due ON prebuilds (next_due, sequence) WHERE next_due IS NOT NULL",
    f"CREATE INDEX snapshots ON prebuilds (project_id, environment_class_id, completed_at) WHERE {_COMPLETED}",
    """CREATE TABLE warm_pools (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        project_id TEXT NOT NULL,
        environment_class_id TEXT NOT NULL,
        phase TEXT NOT NULL,
        next_due INTEGER,
        document TEXT NOT NULL
    )""",
    f"CREATE UNIQUE INDEX one_for_each_pair ON warm_pools (project_id, environment_class_id) WHERE {_NOT_DELETED}",
    "CREATE INDEX warm_pools_due ON warm_pools (next_due, sequence) WHERE next_due IS NOT NULL",
    # What the emulator was told about itself: declared projects, planned outcomes, durations.
    "CREATE TABLE settings (kind TEXT, key TEXT, document TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)

_PREBUILD: Final = TypeAdapter(PrebuildRecord)
_POOL: Final = TypeAdapter(WarmPoolRecord)

RecordT = TypeVar("RecordT")


class StoreError(Exception):
    """A data file that cannot be used. The message is one line for the person who named the file."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list: for each column the values that it may have. A column that is not named may have any."""

    columns: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


@dataclass(frozen=True, slots=True)
class Listed(Generic[RecordT]):
    """A record in a list. The further back in the list, the lower the sequence."""

    sequence: int
    record: RecordT


class Store:
    """All records. Without a path they are kept in memory, and are gone with the store.

    Raises:
        StoreError: the file is used by another emulator, was not written by one, was written by a newer one, is
            damaged, or cannot be read and written at all. It is left as it was.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._connection = _connect(path)
        self.secret = _secret(self._connection)
        """Random bytes that stay the same for as long as the records do."""

    def close(self) -> None:
        """Give the file free. The store cannot be used any more."""
        with self._lock:
            self._connection.close()

    def latest(self) -> datetime | None:
        """The emulated time of the latest change, None if there was none. Time should go on from there."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'latest'").fetchone()
        return None if row is None else _EPOCH + timedelta(microseconds=row[0])

    @contextmanager
    def transaction(self, now: datetime) -> Generator[Transaction]:
        """Everything that happens within, happens at the emulated time `now`, together, or not at all."""
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN")
            try:
                before = connection.total_changes
                yield Transaction(connection)
                if connection.total_changes != before:
                    connection.execute("REPLACE INTO meta VALUES ('latest', ?)", (_micros(now),))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


class Transaction:
    """What one call reads and writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # -- Prebuilds

    def prebuild(self, prebuild_id: str) -> PrebuildRecord | None:
        """The prebuild of that id."""
        return self._one(_PREBUILD, "SELECT document FROM prebuilds WHERE id = ?", (prebuild_id,))

    def add_prebuild(self, record: PrebuildRecord) -> None:
        """Keep a new prebuild."""
        self._connection.execute(
            "INSERT INTO prebuilds (id, project_id, environment_class_id, phase, triggered_by, creator_id,"
            " executor_id, completed_at, next_due, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                record.project_id,
                record.environment_class_id,
                record.phase.value,
                record.triggered_by.value,
                record.creator.id,
                None if record.executor is None else record.executor.id,
                _micros(record.completion_time),
                _micros(record.next_due),
                _PREBUILD.dump_json(record).decode(),
            ),
        )

    def put_prebuild(self, record: PrebuildRecord) -> None:
        """Keep a prebuild that has changed."""
        self._connection.execute(
            "UPDATE prebuilds SET phase = ?, completed_at = ?, next_due = ?, document = ? WHERE id = ?",
            (
                record.phase.value,
                _micros(record.completion_time),
                _micros(record.next_due),
                _PREBUILD.dump_json(record).decode(),
                record.id,
            ),
        )

    def remove_prebuild(self, prebuild_id: str) -> None:
        """Forget a prebuild."""
        self._connection.execute("DELETE FROM prebuilds WHERE id = ?", (prebuild_id,))

    def list_prebuilds(self, wanted: Filter, before: int | None, limit: int) -> list[Listed[PrebuildRecord]]:
        """The newest prebuilds that pass the filter, older than the sequence `before` if that is given."""
        return self._list(_PREBUILD, "prebuilds", wanted, before, limit)

    def due_prebuild(self, now: datetime) -> PrebuildRecord | None:
        """The prebuild with the earliest step that is due by `now`."""
        return self._due(_PREBUILD, "prebuilds", now)

    def newest_snapshot(self, project_id: str, environment_class_id: str) -> PrebuildRecord | None:
        """The prebuild of the project and class that is COMPLETED and became so last."""
        return self._one(
            _PREBUILD,
            f"SELECT document FROM prebuilds WHERE {_OF_PAIR} AND {_COMPLETED}"  # noqa: S608  our own constants
            " ORDER BY completed_at DESC, sequence DESC LIMIT 1",
            (project_id, environment_class_id),
        )

    # -- Warm pools

    def pool(self, pool_id: str) -> WarmPoolRecord | None:
        """The warm pool of that id."""
        return self._one(_POOL, "SELECT document FROM warm_pools WHERE id = ?", (pool_id,))

    def pool_of(self, project_id: str, environment_class_id: str) -> WarmPoolRecord | None:
        """The warm pool that holds the place of the project and class: the one that is not DELETED."""
        return self._one(
            _POOL,
            f"SELECT document FROM warm_pools WHERE {_OF_PAIR} AND {_NOT_DELETED}",  # noqa: S608  our own constants
            (project_id, environment_class_id),
        )

    def add_pool(self, record: WarmPoolRecord) -> None:
        """Keep a new warm pool."""
        self._connection.execute(
            "INSERT INTO warm_pools (id, project_id, environment_class_id, phase, next_due, document)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                record.id,
                record.project_id,
                record.environment_class_id,
                record.phase.value,
                _micros(record.next_due),
                _POOL.dump_json(record).decode(),
            ),
        )

    def put_pool(self, record: WarmPoolRecord) -> None:
        """Keep a warm pool that has changed."""
        self._connection.execute(
            "UPDATE warm_pools SET phase = ?, next_due = ?, document = ? WHERE id = ?",
            (record.phase.value, _micros(record.next_due), _POOL.dump_json(record).decode(), record.id),
        )

    def remove_pool(self, pool_id: str) -> None:
        """Forget a warm pool."""
        self._connection.execute("DELETE FROM warm_pools WHERE id = ?", (pool_id,))

    def list_pools(self, wanted: Filter, before: int | None, limit: int) -> list[Listed[WarmPoolRecord]]:
        """The newest warm pools that pass the filter, older than the sequence `before` if that is given."""
        return self._list(_POOL, "warm_pools", wanted, before, limit)

    def due_pool(self, now: datetime) -> WarmPoolRecord | None:
        """The warm pool with the earliest step that is due by `now`."""
        return self._due(_POOL, "warm_pools", now)

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
        for table in ("prebuilds", "warm_pools", "settings"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  our own table names

    def place_prebuild(self, prebuild_id: str, sequence: int) -> None:
        """Give a prebuild that was added another place in the lists."""
        self._connection.execute("UPDATE prebuilds SET sequence = ? WHERE id = ?", (sequence, prebuild_id))

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

    def put_secret(self, secret: bytes) -> None:
        """Keep another secret; who holds the old one has to take it up."""
        self._connection.execute("REPLACE INTO meta VALUES ('secret', ?)", (secret,))

    # -- Either

    def _one(self, adapter: TypeAdapter[RecordT], query: str, values: tuple[str | int, ...]) -> RecordT | None:
        row = self._connection.execute(query, values).fetchone()
        return None if row is None else adapter.validate_json(row[0])

    def _due(self, adapter: TypeAdapter[RecordT], table: str, now: datetime) -> RecordT | None:
        query = f"SELECT document FROM {table} WHERE next_due <= ? ORDER BY next_due, sequence LIMIT 1"  # noqa: S608  our own table names
        return self._one(adapter, query, (_micros(now),))

    def _list(
        self, adapter: TypeAdapter[RecordT], table: str, wanted: Filter, before: int | None, limit: int
    ) -> list[Listed[RecordT]]:
        conditions: list[str] = []
        values: list[str | int] = []
        for column, allowed in wanted.columns.items():
            conditions.append(f"{column} IN ({', '.join('?' * len(allowed))})")
            values.extend(allowed)
        if before is not None:
            conditions.append("sequence < ?")
            values.append(before)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        # Names of tables and columns are our own; what a caller sends travels as a value.
        query = f"SELECT sequence, document FROM {table} {where} ORDER BY sequence DESC LIMIT ?"  # noqa: S608  our own names; values are bound
        rows = self._connection.execute(query, (*values, limit))
        return [Listed(sequence, adapter.validate_json(document)) for sequence, document in rows]


def _connect(path: Path | None) -> sqlite3.Connection:
    """A connection to a database with our tables, locked for this process."""
    try:
        connection = sqlite3.connect(
            ":memory:" if path is None else path, timeout=0, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise StoreError(f"cannot open the data file {path}: {error}") from error
    try:
        # Before the first look at the file: the lock is then kept from that look on.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        _prepare(connection, path)
        connection.execute("COMMIT")
        if path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            # What is committed survives a killed process; only a power cut may take the latest changes.
            connection.execute("PRAGMA synchronous = NORMAL")
    except StoreError:
        connection.close()
        raise
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(f"the data file {path} is in use by another emulator") from error
        raise StoreError(f"cannot use the data file {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"the data file {path} is damaged, or no data file of the emulator: {error}") from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Make the tables if the database is empty, check that they are ours if not."""
    application = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if application == version == _number(connection, "SELECT count(*) FROM sqlite_master") == 0:
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return
    if application != _APPLICATION_ID:
        raise StoreError(f"{path} is a database, but no data file of the emulator")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the data file {path} was written by a newer emulator"
            f" (version {version} of the file; this one knows version {SCHEMA_VERSION})"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(f"the data file {path} is damaged: {' '.join(str(verdict).split())}")


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)


def _secret(connection: sqlite3.Connection) -> bytes:
    (secret,) = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
    return bytes(secret)


def _micros(moment: datetime | None) -> Any:
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
