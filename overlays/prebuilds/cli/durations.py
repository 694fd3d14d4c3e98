"""Durations and dates as people write and read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,8})h)?(?:(\d{1,9})m)?(?:(\d{1,10}(?:\.\d{1,6})?)s)?", re.ASCII)
EXAMPLES = "90s, 15m, 2h, 7d or 1h30m"


def parse_duration(text: str) -> timedelta:
    """The duration that `text` stands for.

    Raises:
        ValueError: it is not a duration. The message describes the expected form.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise ValueError(f"expected a duration such as {EXAMPLES}, found {text!r}")
    days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment that `text` stands for: a duration before `now`, or a date. A date without a time zone is local.

    Raises:
        ValueError: the text has neither form. The message describes the expected form.
    """
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        pass
    from dateutil import parser

    try:
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        moment = parser.parse(text, default=midnight)
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"expected a duration such as {EXAMPLES}, or a date, found {text!r}") from None


def short_duration(seconds: float) -> str:
    """A duration in one or two units: `45s`, `12m`, `3h 5m`, `6d 2h`."""
    whole = max(0, round(seconds))
    units = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{name}")
        elif parts:
            break
        if len(parts) == 2:
            break
    # Seconds do not matter once there are minutes.
    if len(parts) == 2 and parts[1].endswith("s"):
        parts.pop()
    return " ".join(parts) or "0s"


def seconds_text(duration: timedelta) -> str:
    """A duration as protobuf JSON writes it: `7200s`."""
    return f"{duration.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"
