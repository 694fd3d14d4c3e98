"""The abilities of the output streams: their width, colours and characters."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any, TextIO

_DEFAULT_WIDTH = 80
_MIN_WIDTH = 40

# The client has the same rule (`prebuilds.redaction.readable`), but takes longer to load. Here, tabs and line feeds
# are replaced as well: each value stands on one line.
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SPACES = re.compile(r"[\t\r\n\v\f\x85\u2028\u2029]+")
_STYLES = re.compile(r"\x1b\[[0-9;:]*m")


def prepare_streams() -> None:
    """Escape characters that the encoding of an output lacks, and invalid bytes of standard input."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def one_line(text: str) -> str:
    """Text on one line, with a mark for each character that would control a terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text))


def log_line(text: str) -> str:
    """A line of a log as a terminal may show it: without colours, and with a mark for each control character."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _STYLES.sub("", text).expandtabs())


def escaped_json(document: str, *, ascii_only: bool) -> str:
    """A JSON document in which each character that would control a terminal, or cannot be written, is escaped."""

    def escape(match: re.Match[str]) -> str:
        units = match[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

    document = _JSON_CONTROLS.sub(escape, document)
    return _NOT_ASCII.sub(escape, document) if ascii_only else document


# Line feeds stay: they are the layout of the document, and those in its strings are escaped already.
_JSON_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def is_unicode(stream: TextIO) -> bool:
    """Return True if a stream can show every character."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def encodable(text: str, stream: TextIO) -> str:
    """Text with an escape for each character that the stream cannot show, so that its width can be measured."""
    if is_unicode(stream):
        return text
    encoding = stream.encoding
    return text.encode(encoding, "backslashreplace").decode(encoding)


def is_terminal(stream: TextIO) -> bool:
    """Return True if a person reads the stream."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # closed, or replaced by something simpler
        return False


def has_colour(stream: TextIO, *, no_color: bool) -> bool:
    """Return True if text on the stream may be coloured."""
    return is_terminal(stream) and not (no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")


def width_of(stream: TextIO) -> int:
    """The number of columns of a terminal."""
    columns_variable = os.environ.get("COLUMNS", "")
    if columns_variable.isascii() and columns_variable.isdigit() and int(columns_variable) > 0:
        return max(int(columns_variable), _MIN_WIDTH)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, ValueError, OSError):
        columns = 0
    return max(columns, _MIN_WIDTH) if columns else _DEFAULT_WIDTH


def new_console(stream: TextIO, *, no_color: bool) -> Any:
    """A console of rich on a stream."""
    from rich.console import Console

    return Console(
        file=stream,
        width=width_of(stream),
        force_terminal=is_terminal(stream),
        no_color=not has_colour(stream, no_color=no_color),
        color_system="standard" if has_colour(stream, no_color=no_color) else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=None,
    )
