"""Text from servers, schemas and users as data in another language: one function for each language.

Nothing that a function returns can end the place that it is written into, or act on a terminal that it is shown on.
"""

from __future__ import annotations

import html
import json
import re
import shlex
import unicodedata
from collections.abc import Sequence
from typing import Final

# Control characters, invisible characters that change the order of text, lone surrogates, and line separators.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _is_hidden(character: str) -> bool:
    return (character > "~" and unicodedata.category(character) in _HIDDEN) or character < " " or character == "\x7f"


def is_plain(text: str) -> bool:
    """Whether a text can be shown and pasted as it is. It may have line breaks."""
    return not any(map(_is_hidden, text.replace("\n", "")))


def _escaped(character: str) -> str:
    number = ord(character)
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def one_line(text: str) -> str:
    """The text as one line of a terminal, a log or a comment."""
    return "".join(_escaped(each) if _is_hidden(each) else each for each in text)


def lines(text: str) -> str:
    """The text for a terminal, with its line breaks."""
    return "\n".join(map(one_line, text.split("\n")))


def shell_word(text: str) -> str:
    """The text as one word of a POSIX shell.

    Raises:
        ValueError: the text has a NUL, which no word can have, or ends in a line break behind hidden characters.
    """
    if "\0" in text or (text.endswith("\n") and not is_plain(text)):
        raise ValueError("a word of a shell cannot hold this text")
    if is_plain(text):
        return shlex.quote(text)
    return f"\"$(printf '{shell_format(text.encode('utf-8', 'surrogatepass'))}')\""


def shell_format(data: bytes) -> str:
    """Bytes as a format of `printf` that fits between single quotes."""
    shown = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\%" else f"\\{byte:03o}" for byte in data)
    # A format that begins with a minus would be an option.
    return f"\\055{shown[1:]}" if shown.startswith("-") else shown


def shell_double_quoted(text: str) -> str:
    """The text for use within double quotes, next to variables."""
    return "".join(f"\\{each}" if each in '\\"$`' else each for each in text)


def shell_comment(text: str) -> str:
    """The text as a comment of one line, of a shell or of Python."""
    return f"# {one_line(text)}"


def jq_path(path: Sequence[str | int]) -> str:
    """The place of a value in a JSON document, as a program of jq."""
    return "." + "".join(f"[{json.dumps(each)}]" for each in path)


def python_text(text: str) -> str:
    """The text as a literal of Python, in ASCII."""
    return ascii(text)


def python_docstring(text: str) -> str:
    """The text as a part of a docstring."""
    return lines(text.replace("\\", "\\\\").replace('"', "'"))


def html_text(text: str) -> str:
    """The text as content of HTML, or as the value of an attribute between quotes."""
    return html.escape(lines(text), quote=True)


def xml_text(text: str) -> str:
    """The text without characters that are invalid in XML. The caller escapes the markup."""
    return re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
