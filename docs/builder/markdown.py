"""Parts of Markdown pages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Text as a cell of a table: in one line, with code kept as code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else prose(part).replace("|", "\\|") for part in parts)


def prose(text: str) -> str:
    """Text that is no HTML."""
    return html.escape(text, quote=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; an empty one is empty text."""
    lines = [f"| {' | '.join(cell(each) for each in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *lines]) + "\n"


def anchor(text: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")
