"""Text of the schema as Python source: docstrings and string literals. Nothing else writes either.

The schema's text is data. Whatever it holds, what comes out of here is one literal.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

WIDTH = 120

# Characters that a source file must not hold as they are: control characters, and those that reorder a line on screen.
_UNSAFE = re.compile("[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_QUOTES = '"""'


def literal(text: str) -> str:
    """`text` as a string literal."""
    return repr(text)


def docstring(text: str, indent: int = 0) -> str:
    """`text` as a docstring at `indent`, of which the first line stands there already.

    Paragraphs are kept, and so are the beginnings of list items.
    """
    return _literal(_paragraphs(text, indent, lead=len(_QUOTES)), indent)


def call_docstring(
    texts: Iterable[str],
    *,
    arguments: Iterable[tuple[str, str]] = (),
    returns: str = "",
    raises: Iterable[tuple[str, str]] = (),
    indent: int = 0,
) -> str:
    """The docstring of a function, in Google's form: paragraphs, arguments, the result and the errors."""
    lines = _paragraphs("\n\n".join(filter(None, texts)), indent, lead=len(_QUOTES))
    for title, entries in (("Args", list(arguments)), ("Returns", [("", returns)]), ("Raises", list(raises))):
        written = [line for name, text in entries if text for line in _entry(name, text, indent + 4)]
        if written:
            lines += ["", f"{title}:", *written]
    return _literal(lines, indent)


def _entry(name: str, text: str, indent: int) -> Iterator[str]:
    label = f"{name}: " if name else ""
    first, *rest = _paragraphs(text, indent + 4 * bool(name), lead=len(label) - 4 * bool(name))
    yield f"    {label}{first}"
    for line in rest:
        yield f"    {'    ' if name and line else ''}{line}".rstrip()


def _paragraphs(text: str, indent: int, lead: int = 0) -> list[str]:
    """The lines of `text`; `lead` characters of the first line are taken."""
    lines: list[str] = []
    for paragraph in re.split(r"\n[^\S\n]*\n\s*", text.strip()):
        if lines:
            lines.append("")
        for part in _parts(paragraph):
            lines += _wrap(part, WIDTH - indent, 0 if lines else lead)
    return lines or [""]


def _wrap(text: str, width: int, lead: int) -> list[str]:
    first = "x" * max(lead, 0)
    hanging = "  " if text.startswith("- ") else ""
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
    return [lines[0][len(first) :], *lines[1:]] if lines else [""]


def _parts(paragraph: str) -> list[str]:
    parts: list[str] = []
    for line in paragraph.split("\n"):
        words = " ".join(line.split())
        if parts and not words.startswith("- "):
            parts[-1] = f"{parts[-1]} {words}"
        else:
            parts.append(words)
    return parts


def _literal(lines: list[str], indent: int) -> str:
    if len(lines) == 1:
        text = lines[0].rstrip('"')
        quotes = '\\"' * (len(lines[0]) - len(text))
        return f'"""{_safe(text)}{quotes}"""'
    margin = " " * indent
    safe = [_safe(line) for line in lines]
    return "\n".join([f'"""{safe[0]}', *(f"{margin}{line}".rstrip() for line in safe[1:]), f'{margin}"""'])


def _safe(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], escaped)
