"""A small schema that has a bit of everything, and ways to change it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import document, lint, spec
from generator.stamp import files

TINY = (Path(__file__).parent / "tiny.yaml").read_text(encoding="utf-8")

Schema = dict[str, Any]

_PARSED: Schema = yaml.load(TINY, Loader=document._Loader)


def write(schema: Schema, path: Path) -> Path:
    """Write `schema` to `path` as YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.dump(schema, sort_keys=False), encoding="utf-8")
    return path


def digest(root: Path) -> str:
    """One hash over all files below `root`, names and bytes."""
    whole = hashlib.sha256()
    for path in files(root):
        whole.update(f"{path.relative_to(root).as_posix()}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def small() -> Schema:
    """A copy of the small schema, to be changed at will."""
    return copy.deepcopy(_PARSED)


@pytest.fixture
def tiny() -> Schema:
    """A copy of the small schema, to be changed at will."""
    return small()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Schema], tuple[document.Document, spec.Api]]:
    """Load and lint a schema as the pipeline does."""

    def run(schema: Schema) -> tuple[document.Document, spec.Api]:
        loaded = document.load(write(schema, tmp_path / "schema.yaml"))
        return loaded, lint.lint(loaded)

    return run
