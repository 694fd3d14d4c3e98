"""A small schema that has a bit of everything, and ways to change it."""

from __future__ import annotations

import copy
import hashlib
import importlib
import itertools
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from generator import api, document, lint, spec
from generator.stamp import files, format_and_stamp

TINY = (Path(__file__).parent / "tiny.yaml").read_text(encoding="utf-8")

Schema = dict[str, Any]
Make = Callable[[Schema], ModuleType]

_names = (f"tiny_api_{number}" for number in itertools.count())

_PARSED: Schema = yaml.load(TINY, Loader=document.Loader)


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


@contextmanager
def imported(schema: Schema, folder: Path) -> Generator[ModuleType]:
    """The client package of `schema`, generated into `folder` and imported, until the end of the block."""
    loaded = document.load(write(schema, folder / "schema.yaml"))
    model = lint.lint(loaded)
    name = next(_names)
    api.generate(model, folder / name)
    format_and_stamp(folder / name)
    sys.path.insert(0, str(folder))
    try:
        for module in ("models", "types", "resources", "operations", "pages", "params"):
            importlib.import_module(f"{name}.{module}")
        yield sys.modules[name]
    finally:
        sys.path.remove(str(folder))
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]


@pytest.fixture
def tiny() -> Schema:
    """A copy of the small schema, to be changed at will."""
    return small()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Generate the client package of a schema and import it."""
    with ExitStack() as stack:
        yield lambda schema: stack.enter_context(imported(schema, tmp_path))


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Schema], tuple[document.Document, spec.Api]]:
    """Load and lint a schema as the pipeline does."""

    def run(schema: Schema) -> tuple[document.Document, spec.Api]:
        loaded = document.load(write(schema, tmp_path / "schema.yaml"))
        return loaded, lint.lint(loaded)

    return run
