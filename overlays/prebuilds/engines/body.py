"""Reading the body of a response, within a size limit that also holds after decompression."""

from __future__ import annotations

import zlib

from prebuild_api.http import Headers, RawResponse
from prebuilds.engines.exchange import MAX_ERROR_BYTES, ExchangeError, TooLargeError

ACCEPT_ENCODING = "gzip"
"""The encodings that every engine accepts. A server may respond with deflate as well; other encodings cannot be
read."""

_MAX_BEGINNING = 65_536

_MAX_PIECE = 2**20
"""The number of bytes that are decompressed at a time."""


class Decompressor:
    """Undoes the content encoding of a body piece by piece: a small piece can expand to a thousand times its size."""

    def __init__(self, encoding: str) -> None:
        self._raw = encoding == "deflate"
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._pending = b""
        self._fed = False

    def feed(self, chunk: bytes) -> None:
        """Add the data received from the network."""
        self._pending += chunk
        self._fed = self._fed or bool(chunk)

    def piece(self) -> bytes:
        """The next decompressed bytes, at most a megabyte; empty if more input is needed.

        Raises:
            ExchangeError: the input is not in the announced encoding.
        """
        while self._pending:
            try:
                data = self._decoder.decompress(self._pending, _MAX_PIECE)
            except zlib.error as error:
                if not self._raw:
                    raise ExchangeError(f"the body cannot be decompressed: {error}", maybe_executed=True) from error
                # Some servers send "deflate" without the zlib header around it.
                self._raw = False
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
                continue
            self._raw = False
            self._pending = self._decoder.unconsumed_tail
            if self._decoder.eof:
                self._pending = self._decoder.unused_data
                if self._pending:
                    self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
            if data:
                return data
        return b""

    @property
    def complete(self) -> bool:
        """Return True if the compressed data has ended properly."""
        return not self._fed or self._decoder.eof


def decompressor(headers: Headers) -> Decompressor | None:
    """The decoder for a body with these headers; None if the body is not compressed.

    Raises:
        ExchangeError: the encoding was not offered in the request.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return Decompressor(encoding)
    raise ExchangeError(
        f"the response is compressed with {encoding!r}, which was not asked for", maybe_executed=True, lasting=True
    )


class Pieces:
    """The body of a stream, piece by piece."""

    def __init__(self, headers: Headers) -> None:
        self._decompressor = decompressor(headers)
        self._plain = b""

    def feed(self, chunk: bytes) -> None:
        """Add the data received from the network. Everything before must have been taken."""
        if self._decompressor is None:
            self._plain = chunk
        else:
            self._decompressor.feed(chunk)

    def next(self) -> bytes:
        """The next piece, of at most a megabyte; empty if more input is needed."""
        if self._decompressor is not None:
            return self._decompressor.piece()
        piece, self._plain = self._plain, b""
        return piece


class Body:
    """Collects the body of a response.

    An error body is cut at a megabyte, and kept as far as it arrived: its status alone is informative. A success is
        needed whole.
    """

    def __init__(self, status: int, headers: Headers, max_bytes: int) -> None:
        self._status = status
        self._headers = headers
        self._is_error = not 200 <= status < 300
        self._limit = MAX_ERROR_BYTES if self._is_error else max_bytes
        self._chunks: list[bytes] = []
        self._size = 0
        self._beginning = b""
        """Of an error, the bytes as they came: they may be text although they were announced as compressed."""
        self._decompressor: Decompressor | None = None
        self.wants_more = True
        """Return True if reading should continue."""
        try:
            self._decompressor = decompressor(headers)
        except ExchangeError:
            if not self._is_error:
                raise
        announced = headers.get("content-length", "")
        if not self._is_error and announced.isascii() and announced.isdigit() and int(announced[:20]) > self._limit:
            raise self._too_large()

    def feed(self, chunk: bytes) -> bool:
        """Add the data received from the network. Returns whether more is wanted.

        Raises:
            TooLargeError: a successful response is larger than the limit.
            ExchangeError: a successful response cannot be decompressed.
        """
        if self._decompressor is None:
            self._add(chunk)
        else:
            self._decompressor.feed(chunk)
            if self._is_error and len(self._beginning) < _MAX_BEGINNING:
                self._beginning += chunk
            try:
                while self.wants_more and (piece := self._decompressor.piece()):
                    self._add(piece)
            except ExchangeError as error:
                self.broke(error)
                self.wants_more = False
        return self.wants_more

    def broke(self, error: ExchangeError) -> None:
        """The body ended too early. Raises `error` unless the response is an error anyway."""
        if not self._is_error:
            raise error

    def response(self) -> RawResponse:
        """The response with its body.

        Raises:
            ExchangeError: the compressed data of a successful response is cut off.
        """
        if self._decompressor is not None and not self._decompressor.complete:
            self.broke(ExchangeError("the compressed body is cut off", maybe_executed=True))
        content = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if self._decompressor is not None:
            content = content or self._beginning
        return RawResponse(self._status, self._headers, content)

    def _add(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > self._limit:
            if not self._is_error:
                raise self._too_large()
            self._chunks[-1] = data[: len(data) - (self._size - self._limit)]
            self.wants_more = False

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"the response is larger than {self._limit:,} bytes (the limit is max_response_bytes)",
            maybe_executed=True,
            lasting=True,
            status=self._status,
        )
