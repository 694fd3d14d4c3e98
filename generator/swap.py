"""Stage `swap`: the new packages and the change log replace the old ones, together or not at all.

A run works in its own directory next to `generated/`. It first repairs the leftovers of runs that were killed: see
`repair`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from .stamp import files

# Within the directory of a run.
_REPLACED = "replaced"
_LOG_BEFORE = "log.before"
_LOG_AFTER = "log.after"


@contextmanager
def lock(folder: Path, waiting: Callable[[], object]) -> Generator[None]:
    """Keep other runs away from `folder` during the block; `waiting` is called if there is one.

    The lock ends with the process, however that ends.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows, where two runs have to be kept apart by hand
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def workspace(target: Path) -> Generator[Path]:
    """A directory next to `target`, on the same file system, that is deleted afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def repair(target: Path, log: Path) -> bool:
    """Repair the leftovers of killed runs, and return whether there were any.

    The packages and the log are those before such a run, unless it had put both in place.
    """
    found = sorted(path for path in target.parent.glob(f".{target.name}-*") if path.is_dir())
    for space in found:
        replaced = space / _REPLACED
        if not target.exists() and replaced.exists():
            replaced.rename(target)
        if (space / target.name).exists():  # not in place: nor may the log be
            restore_log(space, log)
        shutil.rmtree(space, ignore_errors=True)
    return bool(found)


def swap(space: Path, target: Path, log: Path, entries: str | None) -> None:
    """Put the directory `space / target.name` in the place of `target`, and `entries` into `log`, None leaves the log.

    If a step fails, the completed steps are undone.
    """
    new, old = space / target.name, space / _REPLACED
    if entries is not None:
        _write_log(space, log, entries)
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if new.exists():
            if old.exists():
                old.rename(target)
            restore_log(space, log)
        raise


def restore_log(space: Path, log: Path) -> None:
    """Undo the run's change of the log, unless somebody has changed the log since."""
    after = _read(space / _LOG_AFTER)
    if after is None or _read(log) != after:
        return
    if (space / _LOG_BEFORE).exists():
        (space / _LOG_BEFORE).replace(log)
    else:
        log.unlink()


def _write_log(space: Path, log: Path, entries: str) -> None:
    written = space / "log.new"
    for path in (space / _LOG_AFTER, written):
        path.write_text(entries, encoding="utf-8")
    if log.exists():
        with contextlib.suppress(OSError):
            os.link(log, space / _LOG_BEFORE)
        if not (space / _LOG_BEFORE).exists():  # a file system without links
            shutil.copyfile(log, space / _LOG_BEFORE)
    written.replace(log)


def differences(new: Path, target: Path) -> list[str]:
    """A unified diff from `target` to `new`, including files on only one side; empty if they are equal."""
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
