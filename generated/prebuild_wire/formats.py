"""The formats that the schema declares for itself: field types with bounds of their own."""

from __future__ import annotations

from typing import Annotated, Final

from .fields import FormattedString
from .scalars import Format

FORMATS: Final[dict[str, Format]] = {
    "prebuild-timeout": Format(base="protobuf-duration", minimum="300s", maximum="7200s"),
}
"""Each format by its name in the schema. `Format.parse` tells whether a value is of the format."""


PrebuildTimeout = Annotated[str, FormattedString(FORMATS["prebuild-timeout"])]
"""How long a prebuild may take, between five minutes and two hours."""
