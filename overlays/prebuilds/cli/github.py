"""Files and commands for a job of GitHub Actions: its summary, its outputs, and the secrets to mask."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from prebuilds.cli.exit_codes import USAGE, CommandError
from prebuilds.cli.terminal import one_line

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds.cli.session import Session

SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"
OUTPUT_VARIABLE: Final = "GITHUB_OUTPUT"

_MAX_ROWS: Final = 1000
_MAX_SUMMARY: Final = 1_000_000
"""The number of characters of a summary; GitHub rejects more than a megabyte."""


def check(session: Session) -> None:
    """Mask the token in the log of the job, and check that a job exists.

    Raises:
        CommandError: no job exists.
    """
    if not (os.environ.get(SUMMARY_VARIABLE) or os.environ.get(OUTPUT_VARIABLE)):
        raise CommandError(
            f"--github needs a job of GitHub Actions: neither {SUMMARY_VARIABLE} nor {OUTPUT_VARIABLE} is set",
            code=USAGE,
        )
    # The runner reads this line and hides the token. Anybody else would see it.
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(f"::add-mask::{session.token}", file=sys.stderr, flush=True)


def write(prebuilds: Sequence[Prebuild]) -> None:
    """Append the prebuilds to the summary and the outputs of the job."""
    from prebuilds.cli.prebuild_layouts import short_name

    append_summary(
        "Prebuilds",
        ("Prebuild", "Phase", "Message", "Log"),
        [
            (
                each.id or "",
                short_name(each.status.phase),
                each.status.failure_message or each.status.warning_message or "",
                each.status.log_url or "",
            )
            for each in prebuilds
        ],
    )
    write_outputs(
        {
            "prebuild-id": [each.id or "" for each in prebuilds],
            "phase": [short_name(each.status.phase) for each in prebuilds],
            "log-url": [each.status.log_url or "" for each in prebuilds],
            "snapshot-size-bytes": [each.status.snapshot_size_bytes or "" for each in prebuilds],
        }
    )


def append_summary(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Append a table to the summary of the job."""
    append_text(f"### {title}\n\n{markdown_table(header, rows[:_MAX_ROWS])}\n")


def append_text(text: str) -> None:
    """Append Markdown to the summary of the job."""
    path = os.environ.get(SUMMARY_VARIABLE)
    if path:
        _append(path, text[:_MAX_SUMMARY])


def write_outputs(outputs: Mapping[str, Sequence[str]]) -> None:
    """Write outputs of the job's step, with a line for each value."""
    path = os.environ.get(OUTPUT_VARIABLE)
    if not path:
        return
    for name, values in outputs.items():
        # A value that contained the delimiter could write another output.
        delimiter = f"end-{secrets.token_hex(16)}"
        lines = "\n".join(map(one_line, values))
        _append(path, f"{name}<<{delimiter}\n{lines}\n{delimiter}\n")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown whose cells show their text as it is."""
    lines = [header, ["---"] * len(header), *[[markdown_cell(text) for text in row] for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown_cell(text: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = "".join(f"&#{ord(each)};" if each in _MARKDOWN else each for each in one_line(text))
    # A URL would become a link, and `@name` would notify somebody.
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")


_MARKDOWN: Final = frozenset("\\`*_{}[]<>()#+!|&~@$^=")


@contextmanager
def without_commands(stream: TextIO, *, active: bool) -> Generator[None]:
    """Keep the runner from obeying lines that look like its commands. They come from a log."""
    if not (active or os.environ.get("GITHUB_ACTIONS") == "true"):
        yield
        return
    word = secrets.token_hex(16)
    print(f"::stop-commands::{word}", file=stream, flush=True)
    try:
        yield
    finally:
        print(f"::{word}::", file=stream, flush=True)


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
