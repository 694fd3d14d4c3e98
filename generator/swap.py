"""Stage `swap`: the new packages take the place of the old ones, whole or not at all."""

from __future__ import annotations

import difflib
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .stamp import files


@contextmanager
def workspace(target: Path) -> Generator[Path]:
    """A directory beside `target`, on the same file system, that is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def swap(new: Path, target: Path) -> None:
    """Put the directory `new` in the place of `target`; `new` is gone afterwards.

    If the second of the two renames fails, the first is undone.
    """
    old = new.with_name("replaced")
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def differences(new: Path, target: Path) -> list[str]:
    """A unified diff from `target` to `new`, with files that only one of them has; empty if they are the same."""
    names = {path.relative_to(root) for root in (new, target) if root.exists() for path in files(root)}
    lines: list[str] = []
    for name in sorted(names):
        before, after = _read(target / name), _read(new / name)
        if before == after:
            continue
        label = f"{target.name}/{name.as_posix()}"
        if after is None:
            lines.append(f"{label}: stray file, make gen does not write it")
        elif before is None:
            lines.append(f"{label}: missing")
        else:
            try:
                texts = before.decode().splitlines(), after.decode().splitlines()
            except UnicodeDecodeError:
                lines.append(f"{label}: binary files differ")
                continue
            lines += difflib.unified_diff(*texts, label, f"{label} (regenerated)", lineterm="")
    return lines


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
