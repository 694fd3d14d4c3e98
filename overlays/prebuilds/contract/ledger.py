"""Records the resources of a run on disk before the next request, so that a later clean-up can delete them.

A ledger is a file of JSON lines. The run writes an *intent* before each create, and the response settles the intent. An
unsettled intent (a lost response, or a killed run) may have created a resource. The clean-up looks for it among the new
resources of the intended project. The ledger never contains a token.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

VERSION: Final = 1


METHODS: Final = ("CreatePrebuild", "CreateWarmPool")
"""The methods that make something."""


class LedgerError(ValueError):
    """The file is not a valid ledger, or cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Made:
    """Something that exists because of the run.

    Attributes:
        method: the method that made it.
        id: its id.
        project: the project that it was meant for.
    """

    method: str
    id: str
    project: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A create that was about to be sent.

    Attributes:
        number: counts the intents of a ledger.
        method: the method.
        project: the project, "" if the request named none.
        environment_class: the environment class, "" if the request named none.
    """

    number: int
    method: str
    project: str
    environment_class: str


@dataclass(slots=True)
class Ledger:
    """The ledger of this run or of an earlier run.

    Attributes:
        path: the file; None keeps the ledger in memory, for a run without creates.
        url: the server of all resources.
        made: the resources to delete, in the order of their creation.
        open: the unsettled intents.
        before: the ids that a project contained before the run, by create method and project. There is no entry if the
            list request failed.
        projects: the given projects. The run invented all other projects.
        settle_time: for how many seconds a response of the server may still show the previous state.
    """

    path: Path | None
    url: str = ""
    projects: tuple[str, ...] = ()
    settle_time: float = 0.0
    made: list[Made] = field(default_factory=list["Made"])
    open: dict[int, Intent] = field(default_factory=dict[int, "Intent"])
    before: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict[tuple[str, str], frozenset[str]])
    is_winding_up: bool = False
    """Whether everything is being deleted, so that a line that cannot be written does no harm."""
    _count: int = 0
    _descriptor: int | None = None

    @classmethod
    def create(cls, path: Path, url: str, *, projects: Iterable[str] = (), settle_time: float = 0.0) -> Ledger:
        """A new ledger, on the disk before anything is sent.

        Raises:
            LedgerError: there is such a file already, or it cannot be written.
        """
        ledger = cls(path, url, tuple(projects), settle_time)
        try:
            # Private: the ledger shows the locations of resources.
            ledger._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise LedgerError(
                f"the ledger {path} is there already. What it lists is deleted by: prebuilds contract cleanup {path}"
            ) from None
        except OSError as error:
            raise LedgerError(f"the ledger {path} cannot be written: {error}") from None
        ledger._write({"ledger": VERSION, "url": url, "projects": list(ledger.projects), "settle": settle_time})
        return ledger

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Open an existing ledger.

        Raises:
            LedgerError: the file is not a valid ledger, or cannot be written.
        """
        ledger = cls(path)
        try:
            content = path.read_bytes()
            lines = content.splitlines(keepends=True)
        except OSError as error:
            raise LedgerError(f"{path} cannot be read: {error}") from None
        length = 0
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                if (number == 1) != ("ledger" in entry) or entry.get("ledger", VERSION) != VERSION:
                    raise ValueError("it does not begin as one")
                ledger._take(entry)
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
                if number == len(lines) and number > 1 and not line.endswith(b"\n"):
                    break  # the run was killed while writing this line: its request was not sent yet
                raise LedgerError(f"{path} is no ledger of this program: line {number}: {error}") from None
            length += len(line)
        if not lines:
            raise LedgerError(f"{path} is no ledger of this program: it is empty")
        try:
            ledger._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.ftruncate(ledger._descriptor, length)
        except OSError as error:
            raise LedgerError(f"{path} cannot be written: {error}") from None
        if not lines[-1].endswith(b"\n") and length == len(content):
            ledger._append(b"\n")
        return ledger

    def _take(self, entry: Mapping[str, Any]) -> None:
        if entry.get("method", METHODS[0]) not in METHODS:
            raise ValueError(f"{entry['method']} makes nothing")
        if "ledger" in entry:
            self.url = str(entry["url"])
            self.projects = tuple(map(str, entry["projects"]))
            self.settle_time = float(entry["settle"])
        elif "intent" in entry:
            number = int(entry["intent"])
            self._count = max(self._count, number)
            self.open[number] = Intent(number, entry["method"], str(entry["project"]), str(entry["class"]))
        elif "settled" in entry:
            self.open.pop(int(entry["settled"]), None)
        elif "made" in entry:
            self.made.append(Made(entry["method"], str(entry["made"]), str(entry["project"])))
        elif "gone" in entry:
            self.made = [item for item in self.made if item.id != entry["gone"]]
        elif "before" in entry:
            self.before[entry["method"], str(entry["before"])] = frozenset(map(str, entry["ids"]))
        else:
            raise ValueError("nothing is known of such a line")

    def note_before(self, method: str, project: str, ids: Iterable[str]) -> None:
        """Record the existing resources of a project, which must never be taken for the run's own."""
        known = frozenset(ids)
        self.before[method, project] = known
        self._write({"before": project, "method": method, "ids": sorted(known)})

    def intend(self, method: str, project: str, environment_class: str) -> Intent:
        """Write down that a create is about to be sent."""
        self._count += 1
        intent = Intent(self._count, method, project, environment_class)
        self.open[intent.number] = intent
        self._write({"intent": intent.number, "method": method, "project": project, "class": environment_class})
        return intent

    def settle(self, intent: Intent, made: Iterable[str]) -> None:
        """Write the result of an intent, and flush it to disk."""
        ids = list(made)
        for made_id in ids:
            self.made.append(Made(intent.method, made_id, intent.project))
            self._write({"made": made_id, "method": intent.method, "project": intent.project})
        self.open.pop(intent.number, None)
        self._write({"settled": intent.number}, flush=bool(ids))

    def strike(self, made_id: str) -> None:
        """Write down that something is gone."""
        self.made = [item for item in self.made if item.id != made_id]
        self._write({"gone": made_id})

    @property
    def count(self) -> int:
        """How many creates were announced so far. The next one has a higher number."""
        return self._count

    @property
    def is_clear(self) -> bool:
        """Whether nothing is left to be deleted or looked for."""
        return not self.made and not self.open

    def close(self) -> None:
        """Close the file, and remove it if nothing is left."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self.is_clear and self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def _write(self, entry: Mapping[str, Any], *, flush: bool = False) -> None:
        if self._descriptor is None:
            return
        try:
            # In one piece, so that a run that is killed leaves whole lines.
            self._append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            if flush:
                os.fsync(self._descriptor)
        except OSError as error:
            if not self.is_winding_up:
                raise LedgerError(f"the ledger {self.path} cannot be written: {error}") from None

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            return
        written = os.write(self._descriptor, line)
        if written != len(line):
            # Half a line would spoil the next one.
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError("there is no room for it")
