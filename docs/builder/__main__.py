"""Build the documentation into build/site/: `python -m docs.builder`. It needs no network. A warning is an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .assumptions import assumptions_page
from .command_line import command_line_page
from .control_plane import control_plane_page
from .errors import errors_page
from .schema_pages import schema_page

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "docs"
ASSEMBLED = ROOT / "build" / "docs"
"""What the builder reads: pages that people write, next to generated ones. `mkdocs.yml` names this folder."""

GENERATED: dict[str, Callable[[], str]] = {
    "reference/assumptions.md": assumptions_page,
    "reference/command-line.md": command_line_page,
    "reference/control-plane.md": control_plane_page,
    "reference/errors.md": errors_page,
    "reference/schema.md": schema_page,
}


def assemble() -> None:
    """Copy the written pages, and write the generated ones."""
    shutil.rmtree(ASSEMBLED, ignore_errors=True)
    shutil.copytree(SOURCES, ASSEMBLED, ignore=shutil.ignore_patterns("builder", "__pycache__"))
    for name, page in GENERATED.items():
        path = ASSEMBLED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), encoding="utf-8")


def build() -> int:
    """Run the site builder."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", "mkdocs.yml"]
    done = subprocess.run(  # noqa: S603  the site builder of this environment
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    # The builder exits with 0 after some warnings.
    if done.returncode or "warning" in output.lower():
        print(output, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    assemble()
    sys.exit(build())
