"""The client's log messages: each attempt of each call, in the logger `prebuilds`.

The environment variable PREBUILDS_LOG shows the log without a logging setup in the program: `debug` shows every
attempt, `info` the failed attempts. `json` shows every attempt as a JSON object on one line.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from prebuild_api.operations import Attempt
from prebuilds.errors import ConfigurationError
from prebuilds.redaction import readable

VARIABLE = "PREBUILDS_LOG"
_MAX_REQUEST_ID = 200
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "json": logging.DEBUG}

logger = logging.getLogger("prebuilds")


def set_up_logging() -> None:
    """Apply PREBUILDS_LOG, if it is set.

    Raises:
        ConfigurationError: its value is invalid.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if not wanted:
        return
    if wanted not in _LEVELS:
        raise ConfigurationError(f"${VARIABLE} is {wanted!r}, and has to be one of {', '.join(_LEVELS)}")
    logger.setLevel(_LEVELS[wanted])
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        plain = logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
        handler.setFormatter(_JsonFormatter() if wanted == "json" else plain)
        logger.addHandler(handler)


def is_logged(error: Exception | None) -> bool:
    """Return True if an attempt that ended with `error`, or with success, is written to the log."""
    return logger.isEnabledFor(logging.DEBUG if error is None else logging.INFO)


def log_attempt(attempt: Attempt) -> None:
    """Write one line about an attempt: at DEBUG if it succeeded, at INFO if it failed."""
    if not is_logged(attempt.error):
        return
    level = logging.DEBUG if attempt.error is None else logging.INFO
    outcome = attempt.status or type(attempt.error).__name__
    code = getattr(attempt.error, "code", None)
    fields = {
        "operation": attempt.operation,
        "attempt": attempt.number,
        "status": attempt.status,
        "code": code and str(code),
        "error": None if attempt.error is None else type(attempt.error).__name__,
        "milliseconds": round(attempt.duration * 1000, 3),
        "request_id": attempt.request_id and attempt.request_id[:_MAX_REQUEST_ID],
        "retry_in": attempt.retry_in,
    }
    logger.log(
        level,
        "%s: attempt %d: %s%s in %.0f ms%s%s",
        attempt.operation,
        attempt.number,
        outcome,
        f" {code}" if code else "",
        attempt.duration * 1000,
        f", request id {readable(attempt.request_id)[:_MAX_REQUEST_ID]}" if attempt.request_id else "",
        "" if attempt.retry_in is None else f"; again in {attempt.retry_in:.2f} s",
        extra={"prebuilds": fields},
    )


class _JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {"time": moment, "level": record.levelname}
        known: dict[str, object] | None = getattr(record, "prebuilds", None)
        fields |= {"message": record.getMessage()} if known is None else known
        return json.dumps({name: value for name, value in fields.items() if value is not None})
