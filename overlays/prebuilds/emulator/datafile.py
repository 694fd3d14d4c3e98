"""The SQLite database that records are kept in: its tables, and everything that can be wrong with the file."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Final

from prebuild_wire.enums import WarmPoolPhase

SCHEMA_VERSION: Final = 2
"""The version of the tables below; a file says which one it has."""

PREBUILD_KEYS: Final = ("project", "creator", "executor")
"""The columns of prebuilds that a list may ask for by id. Phase and trigger are one column more, the `kind`."""

POOL_KEYS: Final = ("project", "environment_class")
"""The columns of warm pools that a list may ask for."""

NOT_DELETED: Final = f"phase <> '{WarmPoolPhase.DELETED.value}'"
"""Of warm pools: a query that is to use the index of those has to say it word for word."""

# Tells a file of ours from any other SQLite file: "PbEm".
_APPLICATION_ID = 0x5062456D

# A file of up to so many bytes is checked from end to end when it is opened, which takes a tenth of a second.
_CHECKED_WHOLE = 32 * 1024 * 1024

# In KiB, as SQLite takes it. The indexes of a large store are used all over.
_CACHE = 8 * 1024

# In bytes. A call changes a little in many pages, each of which is written as a whole.
_PAGE = 2048

# After so many pages the log is written into the file.
_CHECKPOINT_PAGES = 8000

# `sequence` counts creations, so that newest first is descending by it. Times are microseconds since 1970. What stands
# for an id, but for the id of the row itself, is a number made of it (see `Store`), which keeps the indexes small.
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # The columns are true at `next_change`, and until then; `changes` says how `kind` goes on.
    """CREATE TABLE prebuilds (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        project INTEGER NOT NULL,
        environment_class INTEGER NOT NULL,
        creator INTEGER NOT NULL,
        executor INTEGER,
        kind INTEGER NOT NULL,
        next_change INTEGER,
        completes_at INTEGER,
        snapshot_until INTEGER,
        gone_at INTEGER,
        changes TEXT NOT NULL
    )""",
    # Apart from the columns, which are read and written without it.
    "CREATE TABLE documents (sequence INTEGER PRIMARY KEY, document TEXT NOT NULL)",
    "CREATE INDEX prebuilds_changing ON prebuilds (next_change) WHERE next_change IS NOT NULL",
    "CREATE INDEX prebuilds_gone ON prebuilds (gone_at) WHERE gone_at IS NOT NULL",
    """CREATE INDEX snapshots ON prebuilds (project, environment_class, completes_at, sequence, snapshot_until)
        WHERE completes_at IS NOT NULL""",
    """CREATE TABLE warm_pools (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        project INTEGER NOT NULL,
        environment_class INTEGER NOT NULL,
        phase TEXT NOT NULL,
        gone_at INTEGER,
        settled_at INTEGER NOT NULL,
        settled_sequence INTEGER NOT NULL,
        document TEXT NOT NULL
    )""",
    f"CREATE UNIQUE INDEX one_for_each_pair ON warm_pools (project, environment_class) WHERE {NOT_DELETED}",
    "CREATE INDEX warm_pools_gone ON warm_pools (gone_at) WHERE gone_at IS NOT NULL",
    # What the emulator was told about itself: declared projects, planned outcomes, durations.
    "CREATE TABLE settings (kind TEXT, key TEXT, document TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)


class StoreError(Exception):
    """A data file that cannot be used. The message is one line for the person who named the file."""


def list_index(table: str, keys: tuple[str, ...]) -> str:
    """The name of the index that serves a list of which these columns, out of the table's keys, are asked for."""
    return "_".join((table, "by", *(keys or ("kind",))))


def open_database(path: Path | None) -> sqlite3.Connection:
    """A connection to a database with our tables, locked for this process. Without a path it is in memory.

    Raises:
        StoreError: the file cannot be used. It is left as it was.
    """
    existed = path is not None and path.exists()
    connection = None
    try:
        if path is not None and existed:
            _look(path)
        elif path is not None:
            _make(path)
        connection = sqlite3.connect(
            ":memory:" if path is None else path, timeout=0, isolation_level=None, check_same_thread=False
        )
        # Before the first look at the file: the lock is then kept from that look on.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA page_size = {_PAGE}")  # of a new file; an old one keeps its own
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute("BEGIN EXCLUSIVE")
        _prepare(connection, path)
        connection.execute("COMMIT")
        if path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            # What is committed survives a killed process; only a power cut may take the latest changes.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            # Whether there is room to write is better known now than at the first call.
            connection.execute("REPLACE INTO meta VALUES ('opened', randomblob(8))")
    except (StoreError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        busy = isinstance(error, sqlite3.OperationalError) and _is_busy(error)
        if path is not None and not existed and not busy:
            # SQLite makes the file before it knows whether it can be filled.
            path.unlink(missing_ok=True)
        if isinstance(error, StoreError):
            raise
        raise StoreError(_reason(error, path)) from error
    return connection


def _make(path: Path) -> None:
    """Make an empty file that nobody else may read: it holds the tokens' secret. SQLite's other files take its mode."""
    with suppress(OSError):  # SQLite tells what is wrong when it opens the file
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _reason(error: sqlite3.Error, path: Path | None) -> str:
    if _is_busy(error):
        return f"the data file {path} is in use by another emulator"
    if isinstance(error, sqlite3.OperationalError):
        return f"cannot use the data file {path}: {error}"
    return f"the data file {path} is damaged, or no data file of the emulator: {error}"


def _look(path: Path) -> None:
    """Refuse a file of another program or version before it is opened for writing.

    What a killed process has left beside such a file is for whom it belongs to: it must not be worked into it.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    except sqlite3.Error:
        return  # what is wrong will be told when it is opened
    try:
        application = _number(connection, "PRAGMA application_id")
        version = _number(connection, "PRAGMA user_version")
        tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    except sqlite3.Error:
        return  # as above; or it was left in the middle of a change, which SQLite will complete
    finally:
        connection.close()
    if tables:
        _check_origin(path, application, version)


def _check_origin(path: Path | None, application: int, version: int) -> None:
    if application != _APPLICATION_ID:
        raise StoreError(f"{path} is a database, but no data file of the emulator")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the data file {path} was written by {'a newer' if version > SCHEMA_VERSION else 'an older'} emulator"
            f" (version {version} of the file; this one knows version {SCHEMA_VERSION})"
        )


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Make the tables if the database is empty, check that they are ours if not."""
    application = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if application == version == _number(connection, "SELECT count(*) FROM sqlite_master") == 0:
        for statement in (*_TABLES, *_list_indexes()):
            connection.execute(statement)
        for key in ("secret", "number key"):
            connection.execute("INSERT INTO meta VALUES (?, ?)", (key, secrets.token_bytes(32)))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return
    _check_origin(path, application, version)
    _check(connection, path)


def _list_indexes() -> list[str]:
    """An index for each combination of columns that a list may ask for, so that no list has to look at other rows."""
    statements: list[str] = []
    for table, keys, kind in (("prebuilds", PREBUILD_KEYS, ("kind",)), ("warm_pools", POOL_KEYS, ())):
        for count in range(len(keys) + 1):
            for chosen in combinations(keys, count):
                if columns := (*chosen, *kind):
                    # Of a column that is empty, nobody asks for the value.
                    where = " WHERE executor IS NOT NULL" if "executor" in chosen else ""
                    listed = ", ".join((*columns, "sequence"))
                    statements.append(f"CREATE INDEX {list_index(table, chosen)} ON {table} ({listed}){where}")
    return statements


def _check(connection: sqlite3.Connection, path: Path | None) -> None:
    """Look for damage: everywhere in a small file, at both ends of each table and index in a large one.

    To read a large file as a whole would take longer than it may take to start. Damage that is not found now is when
    it is read.
    """
    if path is not None and path.stat().st_size <= _CHECKED_WHOLE:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"the data file {path} is damaged: {' '.join(str(verdict).split())}")
    for table, key in (
        ("meta", "key"),
        ("prebuilds", "sequence"),
        ("documents", "sequence"),
        ("warm_pools", "sequence"),
    ):
        for order in ("ASC", "DESC"):
            connection.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY {key} {order} LIMIT 1").fetchone()
        for _, index, _, _, partial in connection.execute(f"PRAGMA index_list({table})").fetchall():
            if not partial:
                connection.execute(f"SELECT * FROM {table} INDEXED BY {index} LIMIT 1").fetchone()


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)
