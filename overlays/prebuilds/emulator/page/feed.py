"""The stream of events that the page follows: a snapshot first, then what changes.

One task looks at the emulator for all watchers, and only while there are some. It writes numbered events into a log of
bounded size. A watcher is no more than a place in that log: one that comes back names the last event it has seen and
continues there, and one that is too slow, or comes too late, gets a new snapshot.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from prebuilds.emulator.errors import ConnectError
from prebuilds.emulator.store import Filter, Transaction

from .captures import Captures, request_row
from .rows import MAX_PREBUILDS, Parts, clock_state, constants, prebuild_row

if TYPE_CHECKING:
    from prebuilds.emulator.recording import Recorder
    from prebuilds.emulator.service import PrebuildService

MAX_WATCHERS: Final = 16
"""How many streams can be open at once."""

MAX_LOG_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of events are kept for watchers that are behind."""

LINGER: Final = 5.0
"""How many seconds events are still collected once the last watcher has left, so that it can come back."""

_INTERVAL = 0.15  # seconds between two looks at the emulator
_MAX_INTERVAL = 5.0
_SHARE = 0.05  # how much of one processor the looks may take
_NAP = 0.05  # how long it may take to notice that the server stops
_HEARTBEAT = 15.0  # seconds of silence after which a comment is sent
_MAX_WRITTEN = 5000  # of more changed prebuilds at once, a new snapshot tells
_CHUNK = 100  # prebuilds that are read in one go, between which calls are answered
_CHUNK_BYTES = 64 * 1024
_RECENT_REQUESTS = 200


class EventLog:
    """The latest events in the form in which they are sent, each with a number."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque()
        self._size = 0
        self._first = 1
        self._run = secrets.token_hex(4)
        self._news = asyncio.Event()

    @property
    def end(self) -> int:
        """The number of the latest event."""
        return self._first + len(self._events) - 1

    def append(self, name: str, data: object) -> None:
        """Add an event. The oldest ones go when there is no room."""
        event = encoded(name, data, self.id_of(self.end + 1))
        self._events.append(event)
        self._size += len(event)
        while self._size > MAX_LOG_BYTES:
            self._size -= len(self._events.popleft())
            self._first += 1
        self.wake()

    def restart(self) -> None:
        """Forget all events: whoever watches needs a new snapshot."""
        self._first = self.end + 2  # nobody's next event is in the log
        self._events.clear()
        self._size = 0
        self.wake()

    def wake(self) -> None:
        """Let all watchers look."""
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self, timeout: float) -> bool:
        """Wait for the next event; False if none comes in that time."""
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def after(self, number: int) -> tuple[bytes, int] | None:
        """Some of the events behind that number, and the number of the last of them; None if they are gone."""
        at = number + 1 - self._first
        if not 0 <= at <= len(self._events):
            return None
        chunk = bytearray()
        while at < len(self._events) and len(chunk) < _CHUNK_BYTES:
            chunk += self._events[at]
            at += 1
        return bytes(chunk), self._first + at - 1

    def id_of(self, number: int) -> str:
        """The id under which an event is sent. Another run of the log has other ids."""
        return f"{self._run}-{number}"

    def number_of(self, event_id: str) -> int | None:
        """The number of the event that was sent under an id, None if it was not sent by this log."""
        run, _, number = event_id.partition("-")
        if run != self._run or not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        return int(number)


def encoded(name: str, data: object, event_id: str = "") -> bytes:
    """An event as it is sent. JSON in ASCII has no line ends, so that its data is one line."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class TooManyWatchersError(Exception):
    """So many streams are open that another one is refused."""


class Feed:
    """Tells watchers what happens in an emulator.

    Args:
        service: the service that is watched.
        recorder: where its requests are recorded.
        stopping: whether the server is about to stop.
    """

    def __init__(self, service: PrebuildService, recorder: Recorder, stopping: Callable[[], bool]) -> None:
        self.captures = Captures()
        """The latest requests with their bodies."""
        self._service = service
        self._recorder = recorder
        self._stopping = stopping
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._log = EventLog()
        self._parts = Parts(service)
        self._clock_changes: int = 0
        self._written: set[str] = set()
        self._is_stale = False

    @contextmanager
    def watcher(self) -> Generator[None]:
        """Collect events for as long as this is entered, and shortly after.

        Raises:
            TooManyWatchersError: there are `MAX_WATCHERS` already.
        """
        if self._watchers >= MAX_WATCHERS:
            raise TooManyWatchersError
        if self._task is None or self._task.done():
            self._begin()
            self._task = asyncio.create_task(self._collect())
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def events(self, last_event_id: str) -> AsyncIterator[bytes]:
        """What a watcher is sent: the events after the last one that it has seen, or else after a snapshot."""
        log = self._log
        seen = log.number_of(last_event_id)
        # What is sent at once tells that the stream is open.
        yield b": stream of the emulator's page\n\n"
        while not self._is_over:
            found = None if seen is None else log.after(seen)
            if found is None:
                seen = log.end
                async for chunk in self._snapshot():
                    yield chunk
                # Only the end of the snapshot has an id: one that breaks off is not continued.
                yield encoded("ready", {}, log.id_of(seen))
            elif found[0]:
                chunk, seen = found
                yield chunk
            elif not await log.wait(_HEARTBEAT):
                yield b": still here\n\n"

    @property
    def _is_over(self) -> bool:
        return self._stopping() or self._task is None or self._task.done()

    async def _snapshot(self) -> AsyncIterator[bytes]:
        service = self._service
        now = service.clock.now()
        with service.transaction(now) as transaction:
            service.settle(transaction, now)
            parts = Parts(service).read(transaction)
        yield encoded(
            "snapshot",
            {
                **constants(service),
                **parts,
                "clock": clock_state(service),
                "requests": [request_row(record) for record in self._recorder.records(_RECENT_REQUESTS)],
            },
        )
        before: int | None = None
        sent = 0
        while sent < MAX_PREBUILDS:
            with service.transaction(service.clock.now()) as transaction:
                found = transaction.list_prebuilds(Filter(), before, _CHUNK)
            if not found:
                return
            sent += len(found)
            before = found[-1][0]
            yield encoded("prebuilds", [prebuild_row(sequence, record) for sequence, record in found])
            await asyncio.sleep(0)  # calls come first

    # -- Collecting

    def _begin(self) -> None:
        self._log = EventLog()
        self._parts = Parts(self._service)
        now = self._service.clock.now()
        with self._service.transaction(now) as transaction:
            self._parts.read(transaction)
        self._clock_changes = self._service.clock.changes
        self._written, self._is_stale = set(), False
        self._service.store.on_commit = self._note
        self._recorder.observer = self.captures

    def _end(self) -> None:
        self._service.store.on_commit = None
        self._recorder.observer = None
        self.captures.forget()
        self._log.wake()

    def _note(self, transaction: Transaction) -> None:
        self._is_stale |= transaction.cleared
        self._written |= transaction.written

    async def _collect(self) -> None:
        last_watched = time.monotonic()
        due = last_watched + _INTERVAL
        try:
            while not self._stopping():
                await asyncio.sleep(_NAP)
                begin = time.monotonic()
                if self._watchers:
                    last_watched = begin
                elif begin - last_watched > LINGER:
                    return
                if begin < due:
                    continue
                try:
                    self._look()
                except ConnectError:
                    # The data file cannot be read now, and what was missed is unknown.
                    self._is_stale = True
                took = time.monotonic() - begin
                due = begin + min(_MAX_INTERVAL, max(_INTERVAL, took / _SHARE))
        finally:
            self._end()

    def _look(self) -> None:
        """Write down what has changed since the last look."""
        service = self._service
        if service.clock.changes != self._clock_changes:
            self._clock_changes = service.clock.changes
            self._log.append("clock", clock_state(service))
        now = service.clock.now()
        rows: list[dict[str, Any]] = []
        gone: list[str] = []
        with service.transaction(now) as transaction:
            service.settle(transaction, now)
            written, self._written = self._written | transaction.written, set()
            is_stale, self._is_stale = self._is_stale, False
            changed = self._parts.changed(transaction)
            is_stale |= len(written) > _MAX_WRITTEN
            for prebuild_id in () if is_stale else written:
                record = transaction.prebuild(prebuild_id)
                if record is None:
                    gone.append(prebuild_id)
                else:
                    rows.append(prebuild_row(transaction.sequence(prebuild_id), record))
        if is_stale:
            self._log.restart()
            self.captures.forgotten = False
            return
        self._report(changed, rows, gone)

    def _report(self, changed: dict[str, Any], rows: list[dict[str, Any]], gone: list[str]) -> None:
        for name, value in changed.items():
            self._log.append(name, value)
        for begin in range(0, len(rows), _CHUNK):
            self._log.append("prebuilds", rows[begin : begin + _CHUNK])
        if gone:
            self._log.append("gone", gone)
        if self.captures.forgotten:
            self.captures.forgotten = False
            self._log.append("forgotten", {})
        requests = self.captures.news()
        if requests:
            self._log.append("requests", requests)
