"""The SQLite database of the records: its tables, and the detection of files that cannot be used."""

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
"""The version of the tables below. A data file contains its version."""

PREBUILD_KEYS: Final = ("project", "creator", "executor")
"""The columns of prebuilds that a list can filter by id. Phase and trigger share one more column, `kind`."""

POOL_KEYS: Final = ("project", "environment_class")
"""The columns of warm pools that a list can filter by."""

NOT_DELETED: Final = f"phase <> '{WarmPoolPhase.DELETED.value}'"
"""The condition of a partial index of warm pools. A query uses the index only if it contains the same text."""

# The application id of a data file, which distinguishes it from other SQLite files: "PbEm".
_APPLICATION_ID = 0x5062456D

# A file of up to this many bytes is checked completely when it is opened, which takes a tenth of a second.
_CHECKED_WHOLE = 32 * 1024 * 1024

# In KiB, SQLite's unit. Queries access all parts of the indexes of a large store.
_CACHE = 8 * 1024

# In bytes. A request makes small changes in many pages, and each changed page is written as a whole.
_PAGE = 2048

# The size of the write-ahead log, in pages, at which it is written into the file.
_CHECKPOINT_PAGES = 8000

# `sequence` counts creations: descending order is newest first. Times are microseconds since 1970. Every id except
# the id of the row itself is represented by a number derived from it (see `Store`), which keeps the indexes small.
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # The columns are valid at `next_change` and before; `changes` contains the later values of `kind`.
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
    # Separate from the columns, which are read and written without the documents.
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
    # The configuration of the emulator: declared projects, planned outcomes, durations.
    "CREATE TABLE settings (kind TEXT, key TEXT, document TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)


class StoreError(Exception):
    """A data file that cannot be used. The message is one line for the person who named the file."""


def list_index(table: str, keys: tuple[str, ...]) -> str:
    """Return the name of the index for a list that filters by these columns of the table's keys."""
    return "_".join((table, "by", *(keys or ("kind",))))


def open_database(path: Path | None) -> sqlite3.Connection:
    """Return a connection to a database with our tables, locked for this process. Without a path it is in memory.

    Raises:
        StoreError: the file cannot be used. It is unchanged.
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
        # Set before the first read of the file: the lock is then held from that read on.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA page_size = {_PAGE}")  # for a new file; an existing file keeps its page size
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute("BEGIN EXCLUSIVE")
        _prepare(connection, path)
        connection.execute("COMMIT")
        if path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            # A committed change survives a killed process; only a power failure may lose the latest changes.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            # A full disk is better reported now than at the first request.
            connection.execute("REPLACE INTO meta VALUES ('opened', randomblob(8))")
    except (StoreError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        busy = isinstance(error, sqlite3.OperationalError) and _is_busy(error)
        if path is not None and not existed and not busy:
            # SQLite creates the file before it knows whether it can write to it.
            path.unlink(missing_ok=True)
        if isinstance(error, StoreError):
            raise
        raise StoreError(_reason(error, path)) from error
    return connection


def _make(path: Path) -> None:
    """Create an empty file for its owner only: it holds the tokens' secret. SQLite's other files get its mode."""
    with suppress(OSError):  # SQLite reports the error when it opens the file
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
    """Reject a file of another program or version before it is opened for writing.

    A killed process may have left a journal next to such a file. It belongs to the other program and must not be
    applied to the file.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    except sqlite3.Error:
        return  # the error will be reported when the file is opened
    try:
        application = _number(connection, "PRAGMA application_id")
        version = _number(connection, "PRAGMA user_version")
        tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    except sqlite3.Error:
        return  # as above; or SQLite will complete an interrupted change
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
    """Create the tables if the database is empty, otherwise check that they are ours."""
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
    """Return an index for each combination of columns that a list can filter by, so that no list reads other rows."""
    statements: list[str] = []
    for table, keys, kind in (("prebuilds", PREBUILD_KEYS, ("kind",)), ("warm_pools", POOL_KEYS, ())):
        for count in range(len(keys) + 1):
            for chosen in combinations(keys, count):
                if columns := (*chosen, *kind):
                    # No list filters by the empty value of a column.
                    where = " WHERE executor IS NOT NULL" if "executor" in chosen else ""
                    listed = ", ".join((*columns, "sequence"))
                    statements.append(f"CREATE INDEX {list_index(table, chosen)} ON {table} ({listed}){where}")
    return statements


def _check(connection: sqlite3.Connection, path: Path | None) -> None:
    """Check for damage: everywhere in a small file, at both ends of each table and index in a large file.

    Reading a large file completely would take longer than a start may take. Other damage is found when it is read.
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
