"""The state file of a run: a line of JSON for each event, written before and after each create.

A run that was interrupted, or killed, continues from its file. The first line identifies the run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, cast, get_args

from prebuild_api.timestamps import encode_timestamp, parse_timestamp
from prebuilds.cli.exit_codes import USAGE, CommandError
from prebuilds.cli.fleet.targets import Intent, Item, Outcome, OutcomeName, Target

_VERSION: Final = 1
_MAX_LINE: Final = 1_000_000


class StateFile:
    """The events of a run, on disk. Without a path they are in memory only, and cannot be resumed.

    Args:
        path: the file; it is created if it does not exist.
        base_url: the service.
        targets: the targets of the run.

    Raises:
        CommandError: the file belongs to another run, is damaged, or is used by another process.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path | None, base_url: str, targets: Sequence[Target]) -> None:
        self.path = path
        self.items = {target.key: Item(target) for target in targets}
        self._file: IO[bytes] | None = None
        if path is None:
            return
        self._file = path.open("a+b")
        try:
            _lock(self._file, path)
            self._load(path, _header(base_url, targets))
        except BaseException:
            self._file.close()
            raise

    def intend(self, item: Item, intent: Intent) -> None:
        """Note a create that is about to be sent."""
        item.intent = intent
        since = None if intent.since is None else encode_timestamp(intent.since)
        self._append("intent", item, at=intent.at, since=since, known=sorted(intent.known))

    def created(self, item: Item, prebuild_id: str, created_at: datetime) -> None:
        """Note the prebuild of a target."""
        item.prebuild_id, item.created_at = prebuild_id, created_at
        self._append(
            "created",
            item,
            id=prebuild_id,
            environmentClass=item.environment_class,
            createdAt=encode_timestamp(created_at),
        )

    def ended(self, item: Item, outcome: Outcome) -> None:
        """Note the outcome of a target."""
        item.outcome = outcome
        self._append(
            "ended",
            item,
            outcome=outcome.name,
            message=outcome.message,
            logUrl=outcome.log_url,
            seconds=outcome.seconds,
        )

    def pruned(self, item: Item) -> None:
        """Note that the old prebuilds of a target are deleted."""
        item.pruned = True
        self._append("pruned", item)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, event: str, item: Item, **values: Any) -> None:
        self._write({"event": event, "target": item.target.key, **values})

    def _write(self, document: dict[str, Any]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(document).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _load(self, path: Path, header: dict[str, Any]) -> None:
        file = cast("IO[bytes]", self._file)
        file.seek(0)
        whole = 0
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), start=1):
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote this line, so that nothing was sent after it
            document = _parsed(path, number, line)
            if number == 1:
                _check_header(path, document, header)
            else:
                self._replay(path, number, document)
            whole += len(line)
        file.truncate(whole)
        if not whole:
            self._write(header)

    def _replay(self, path: Path, number: int, document: dict[str, Any]) -> None:
        try:
            item = self.items[document["target"]]
            match document["event"]:
                case "intent":
                    since = document["since"]
                    item.intent = Intent(
                        at=float(document["at"]),
                        since=None if since is None else parse_timestamp(since),
                        known=frozenset(document["known"]),
                    )
                case "created":
                    item.prebuild_id, item.created_at = document["id"], parse_timestamp(document["createdAt"])
                    item.environment_class = document["environmentClass"]
                case "ended":
                    item.outcome = _outcome(document)
                case "pruned":
                    item.pruned = True
                case other:
                    raise ValueError(f"unknown event {other!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, number, repr(error)) from None


def _outcome(document: dict[str, Any]) -> Outcome:
    name = document["outcome"]
    if name not in get_args(OutcomeName):
        raise ValueError(f"unknown outcome {name!r}")
    return Outcome(name=name, message=document["message"], log_url=document["logUrl"], seconds=document["seconds"])


def _header(base_url: str, targets: Sequence[Target]) -> dict[str, Any]:
    keys = "\n".join(sorted(target.key for target in targets))
    return {
        "version": _VERSION,
        "command": "refresh",
        "baseUrl": base_url,
        "targets": len(targets),
        "digest": hashlib.sha256(keys.encode()).hexdigest(),
    }


def _check_header(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    if found.get("command") != "refresh" or found.get("version") != _VERSION:
        raise _refused(path, "it is not a state file of this version of `prebuilds refresh`")
    if found.get("baseUrl") != expected["baseUrl"]:
        raise _refused(path, f"it belongs to {found.get('baseUrl')}, expected {expected['baseUrl']}")
    if found.get("digest") != expected["digest"]:
        raise _refused(
            path,
            f"it belongs to other projects and classes: {found.get('targets')} of them, expected {expected['targets']}",
        )


def _refused(path: Path, why: str) -> CommandError:
    return CommandError(
        f"the state file {path} cannot be used: {why}",
        hint="name the projects that the file was written for, or another file with --state",
        code=USAGE,
    )


def _damaged(path: Path, number: int, why: str) -> CommandError:
    return CommandError(
        f"the state file {path} is damaged in line {number}: {why}",
        hint="check which prebuilds exist before you start again without it",
    )


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, number, str(error)) from None
    if not isinstance(document, dict):
        raise _damaged(path, number, "expected a JSON object")
    return cast("dict[str, Any]", document)


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep another process from using the file: two runs would create two prebuilds."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CommandError(
            f"the state file {path} is used by another process", hint="wait for it to end, or end it", code=USAGE
        ) from None
