"""The request log as lines for people or programs."""

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
"""Lines for people, one JSON object per line, or no lines."""

MOST_WAITING: Final = 10_000
"""The maximum number of lines that wait to be written."""

_PATIENCE = 0.2  # seconds, for the remaining lines when the emulator stops

_RED, _YELLOW, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Printer:
    """Writes a line for each request, in colours if the stream is a terminal.

    A separate thread writes the lines. A slow reader, or none at all, does not block the emulator. It misses lines
    instead, and a line reports that.

    Args:
        style: the format of the lines; with `none` there are no lines.
        stream: the output stream.
    """

    def __init__(self, style: LogStyle, stream: TextIO) -> None:
        self._stream = stream
        self._format = _json if style == "json" else partial(_text, colours=stream.isatty())
        self._lines: queue.Queue[RequestRecord | None] = queue.Queue(MOST_WAITING)
        self._missed = 0
        self._thread: threading.Thread | None = None
        if style != "none":
            # A daemon thread: a stream without a reader must not keep the program alive.
            self._thread = threading.Thread(target=self._write_all, name="prebuilds-emulator-log", daemon=True)
            self._thread.start()

    def __call__(self, record: RequestRecord) -> None:
        """Queue a line for writing."""
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._missed += 1

    def close(self) -> None:
        """Write the remaining lines, as far as that is quick."""
        if self._thread is not None:
            with suppress(queue.Full):
                self._lines.put_nowait(None)
            self._thread.join(_PATIENCE)

    def _write_all(self) -> None:
        # The reader may have gone. That is not a reason for a traceback.
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
    """Return `12:00:01 CreatePrebuild 200 1.2 ms`, with an error's code and the id of a fault."""
    status = "broken off" if record.status is None else str(record.status)
    if colours:
        failed = record.status is None or record.status >= 500
        colour = _RED if failed else _YELLOW if record.status is not None and record.status >= 400 else _GREEN
        status = f"{colour}{status}{_PLAIN}"
    # A path may contain any characters, including control characters of a terminal.
    name = record.method or f"{record.http_method} {ascii(record.path)[1:-1]}"
    time = f"{datetime.now(UTC):%H:%M:%S}"
    line = f"{f'{_DIM}{time}{_PLAIN}' if colours else time} {name} {status}"
    if record.code is not None:
        line += f" {ascii(record.code)[1:-1]}"
    line += f" {record.milliseconds:.1f} ms"
    if record.codec not in (None, "json"):
        line += f" {record.codec}"
    return line if record.fault is None else f"{line} (fault {record.fault})"
