"""What came over the wire: the status, the headers and the body of an HTTP response."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Protocol, Self


class Headers(Mapping[str, str]):
    """The headers of a response. Names are looked up in any case; values of the same name are joined with commas."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        self._values = values

    @classmethod
    def from_raw(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Self:
        """The headers as they came over the wire."""
        return cls((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({list(self._values)})"


class RawResponse:
    """An HTTP response with its body.

    Attributes:
        status_code: the HTTP status.
        headers: the response headers.
        content: the body, decompressed.
    """

    __slots__ = ("content", "headers", "status_code")

    def __init__(self, status_code: int, headers: Headers, content: bytes = b"") -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status_code < 300

    @property
    def reason_phrase(self) -> str:
        """The standard name of the status, `Not Found` for example; empty if it has none."""
        try:
            return HTTPStatus(self.status_code).phrase
        except ValueError:
            return ""

    @property
    def text(self) -> str:
        """The body as text; see `text_of`."""
        return text_of(self)

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.content)

    def __repr__(self) -> str:
        return f"<RawResponse {self.status_code}, {len(self.content)} bytes>"


class AnyResponse(Protocol):
    """What a `RawResponse` and an `httpx.Response` have in common."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def reason_phrase(self) -> str:
        """The standard name of the status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers."""
        ...

    @property
    def content(self) -> bytes:
        """The body, decompressed."""
        ...


def text_of(response: AnyResponse) -> str:
    """The body as text, whatever it is.

    It is UTF-8 if it can be, otherwise what the content type says. What cannot be read is replaced.
    """
    content = response.content
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    charset = _CHARSET.search(response.headers.get("content-type", ""))
    try:
        return content.decode(charset[1] if charset else "utf-8", "replace")
    except (UnicodeError, LookupError):
        return content.decode("utf-8", "replace")


_CHARSET = re.compile('charset="?([A-Za-z0-9._-]{1,40})', re.IGNORECASE)
