"""Requests as lines for the person, or the program, who watches the emulator."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, TextIO

from .recording import RequestRecord

LogStyle = Literal["text", "json", "none"]
"""Lines for people, an object of JSON a line, or nothing."""

MOST_WAITING: Final = 10_000
"""So many lines wait to be written at most."""

_PATIENCE = 0.2  # seconds, for what is left when the emulator stops

_RED, _YELLOW, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Printer:
    """Writes a line for each request it is called with, in colours if the stream is a terminal.

    A thread of its own does the writing: who reads slowly, or not at all, does not hold the emulator up, but misses
    lines, and is told of that.

    Args:
        style: what the lines are like; with `none` there are none.
        stream: where they go.
    """

    def __init__(self, style: LogStyle, stream: TextIO) -> None:
        self._stream = stream
        self._format = _json if style == "json" else partial(_text, colours=stream.isatty())
        self._lines: queue.Queue[RequestRecord | None] = queue.Queue(MOST_WAITING)
        self._missed = 0
        self._thread: threading.Thread | None = None
        if style != "none":
            # A daemon: a stream that nobody reads must not keep the program.
            self._thread = threading.Thread(target=self._write_all, name="prebuilds-emulator-log", daemon=True)
            self._thread.start()

    def __call__(self, record: RequestRecord) -> None:
        """Write a line, some time soon."""
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._missed += 1

    def close(self) -> None:
        """Write what is left, as far as that is quickly done."""
        if self._thread is not None:
            with suppress(queue.Full):
                self._lines.put_nowait(None)
            self._thread.join(_PATIENCE)

    def _write_all(self) -> None:
        # Nobody may listen any more, which is no reason to end with a traceback.
        with suppress(OSError, ValueError):
            while (record := self._lines.get()) is not None:
                line = self._format(record)
                if self._missed and self._lines.empty():
                    missed, self._missed = self._missed, 0
                    self._stream.write(f"prebuilds emulator: {missed} requests are not shown\n")
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()


def _json(record: RequestRecord) -> str:
    fields = {**dataclasses.asdict(record), "at": record.at.isoformat(), "real_time": datetime.now(UTC).isoformat()}
    return json.dumps(fields, separators=(",", ":"))


def _text(record: RequestRecord, *, colours: bool) -> str:
    """`12:00:01 CreatePrebuild 200 1.2 ms`, with the code of an error and the fault that was met."""
    status = "broken off" if record.status is None else str(record.status)
    if colours:
        failed = record.status is None or record.status >= 500
        colour = _RED if failed else _YELLOW if record.status is not None and record.status >= 400 else _GREEN
        status = f"{colour}{status}{_PLAIN}"
    # A path may hold anything, control characters of a terminal included.
    name = record.method or f"{record.http_method} {ascii(record.path)[1:-1]}"
    time = f"{datetime.now(UTC):%H:%M:%S}"
    line = f"{f'{_DIM}{time}{_PLAIN}' if colours else time} {name} {status}"
    if record.code is not None:
        line += f" {ascii(record.code)[1:-1]}"
    line += f" {record.milliseconds:.1f} ms"
    if record.codec not in (None, "json"):
        line += f" {record.codec}"
    return line if record.fault is None else f"{line} (fault {record.fault})"
