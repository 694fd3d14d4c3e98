"""What the client tells the log: each attempt of each call, in the logger `prebuilds`.

With the environment variable PREBUILDS_LOG a program need not set up logging to see it: `debug` shows every attempt,
`info` those that failed.
"""

from __future__ import annotations

import logging
import os

from prebuild_api.operations import Attempt
from prebuilds.errors import ConfigurationError

VARIABLE = "PREBUILDS_LOG"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}

logger = logging.getLogger("prebuilds")


def set_up_logging() -> None:
    """Do what PREBUILDS_LOG says, if it says anything.

    Raises:
        ConfigurationError: it has a value that means nothing.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if not wanted:
        return
    if wanted not in _LEVELS:
        raise ConfigurationError(f"${VARIABLE} is {wanted!r}, and has to be one of {', '.join(_LEVELS)}")
    logger.setLevel(_LEVELS[wanted])
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


def log_attempt(attempt: Attempt) -> None:
    """Write one line about an attempt: at DEBUG if it succeeded, at INFO if it failed."""
    level = logging.DEBUG if attempt.error is None else logging.INFO
    if not logger.isEnabledFor(level):
        return
    outcome = attempt.status or type(attempt.error).__name__
    code = getattr(attempt.error, "code", None)
    logger.log(
        level,
        "%s: attempt %d: %s%s in %.0f ms%s%s",
        attempt.operation,
        attempt.number,
        outcome,
        f" {code}" if code else "",
        attempt.duration * 1000,
        f", request id {attempt.request_id}" if attempt.request_id else "",
        "" if attempt.retry_in is None else f"; again in {attempt.retry_in:.2f} s",
    )
