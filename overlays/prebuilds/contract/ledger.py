"""What a run has made, on disk before anything else is sent, so that it can be deleted whatever happens.

A ledger is a file of JSON lines. Before a create is sent, an *intent* is written; its answer settles it. An intent that
was never settled (the answer was lost, or the run was killed) may have made something all the same: the clean-up looks
for it in the project that it was meant for, among what was not there before. No token is ever written.
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


class LedgerError(ValueError):
    """A file that is no ledger, or one that cannot be read."""


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
    """The ledger of one run, or one that an earlier run has left.

    Attributes:
        path: the file; None keeps it in memory, for a run that makes nothing.
        url: the server that everything is on.
        made: what has to be deleted, in the order in which it was made.
        open: the intents that are not settled.
        before: the ids that were in a project before the run, by create method and project.
    """

    path: Path | None
    url: str = ""
    made: list[Made] = field(default_factory=list["Made"])
    open: dict[int, Intent] = field(default_factory=dict[int, "Intent"])
    before: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict[tuple[str, str], frozenset[str]])
    _count: int = 0
    _descriptor: int | None = None

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """A ledger that was left behind.

        Raises:
            LedgerError: it is none.
        """
        ledger = cls(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"{path} cannot be read: {error}") from None
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                if number == 1 and entry.get("ledger") != VERSION:
                    raise ValueError("it does not begin as one")
                ledger._take(entry)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                if number == len(lines) and number > 1:
                    break  # the line was being written when the run was killed: what it announced was not sent yet
                raise LedgerError(f"{path} is no ledger of this program: line {number}: {error}") from None
        if not lines:
            raise LedgerError(f"{path} is no ledger of this program: it is empty")
        return ledger

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "ledger" in entry:
            self.url = str(entry["url"])
        elif "intent" in entry:
            number = int(entry["intent"])
            self._count = max(self._count, number)
            self.open[number] = Intent(number, entry["method"], entry["project"], entry["class"])
        elif "settled" in entry:
            self.open.pop(int(entry["settled"]), None)
        elif "made" in entry:
            self.made.append(Made(entry["method"], entry["made"], entry["project"]))
        elif "gone" in entry:
            self.made = [item for item in self.made if item.id != entry["gone"]]
        elif "before" in entry:
            self.before[entry["method"], entry["before"]] = frozenset(entry["ids"])

    def note_before(self, method: str, project: str, ids: Iterable[str]) -> None:
        """Remember what is in a project already, so that it is never taken for the run's own."""
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
        """Write down what came of an intent, and see that it is on the disk."""
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
        if self.path is None:
            return
        if self._descriptor is None:
            fresh = not self.path.exists()
            # Nobody else's business: it tells what is where.
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if fresh:
                self._append({"ledger": VERSION, "url": self.url})
        self._append(entry)
        if flush:
            os.fsync(self._descriptor)

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self._descriptor is not None:
            # In one piece, so that a run that is killed leaves whole lines.
            os.write(self._descriptor, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
