"""The HTTP content codings of requests and responses: gzip and identity."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import Final

from .errors import ConnectCode, ConnectError

ENCODINGS: Final = "gzip, identity"
"""The supported codings, as a value of Accept-Encoding."""

WORTHWHILE: Final = 1024
"""Responses with fewer bytes are not compressed, because they fit into one packet anyway."""

# The first level is several times as fast as the default, and compresses JSON almost as well.
_LEVEL = 1

_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)


class TooLargeError(Exception):
    """The decompressed data is larger than allowed. Decompression stopped at the limit."""


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """Decompress data with `encoding`, a case-insensitive HTTP content coding.

    Raises:
        TooLargeError: the data exceeds the limit.
        ConnectError: `unimplemented`, the encoding is not supported; `invalid_argument`, the data is damaged.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return data
    if name not in ("gzip", "x-gzip"):
        raise ConnectError(
            ConnectCode.UNIMPLEMENTED,
            f"the body is compressed in a way that is not known here; these are: {ENCODINGS}",
            headers={"Accept-Encoding": ENCODINGS},
        )
    if not data:
        return data  # a message without a field, compressed or not
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        result = member.decompress(data, limit + 1)
    except zlib.error:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "the body is not gzip, as it was said to be") from None
    if len(result) > limit:
        raise TooLargeError
    if not member.eof or member.unused_data:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "the body is not one whole gzip member")
    return result


def compress(data: bytes) -> bytes:
    """Compress the data with gzip, reproducibly."""
    return gzip.compress(data, _LEVEL, mtime=0)


def takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding value accepts gzip with at least the weight of identity."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = (piece.strip() for piece in part.partition(";"))
        weight = _WEIGHT.fullmatch(parameter)
        weights[name] = 1.0 if not parameter else float(weight[1]) if weight else 0.0
    asked = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return asked > 0 and asked >= weights.get("identity", 0.0)
