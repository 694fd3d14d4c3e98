"""Requests as lines for the person, or the program, who watches the emulator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TextIO

from .recording import RequestRecord

LogStyle = Literal["text", "json", "none"]
"""Lines for people, an object of JSON a line, or nothing."""

_RED, _YELLOW, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


def printer(style: LogStyle, stream: TextIO) -> Callable[[RequestRecord], None] | None:
    """What writes a line for each request to `stream`, in colours if that is a terminal. None for no lines."""
    if style == "none":
        return None
    if style == "json":
        return lambda record: _write(stream, _json(record))
    colours = stream.isatty()
    return lambda record: _write(stream, _text(record, colours=colours))


def _write(stream: TextIO, line: str) -> None:
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        pass  # nobody listens any more, which is no reason to refuse an answer


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
