"""The schema file as plain data, with the line of every place in it.

Reading is bounded in time and memory, whatever the file holds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

import yaml

from .problems import PipelineError, Problem

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 400_000
"""The number of values, where each alias counts as often as it stands in the file."""

_JSON_TAGS = ("bool", "float", "int", "null", "str")
_TAG_PREFIX = "tag:yaml.org,2002:"
_JSON_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")


class Loader(yaml.SafeLoader):
    """YAML's JSON subset: no dates (`2019-12-27` stays a string), no merge keys, no `yes` and `no`."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node, unless it is nested deeper than `MAX_DEPTH`."""
        if self.depth > MAX_DEPTH:
            event = cast("yaml.Event", self.peek_event())  # type: ignore[no-untyped-call]
            mark: Any = event.start_mark  # pyright: ignore[reportUnknownMemberType], the stubs leave it open
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels of nesting", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag.rpartition(":")[2] in _JSON_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Document:
    """A schema that was read. `lines` maps JSON pointers (`#/paths/...`) to line numbers from 1."""

    path: Path
    data: dict[str, Any]
    lines: dict[str, int]

    def line(self, pointer: str) -> int | None:
        """The line of `pointer`, or of the nearest place around it that the file has."""
        nearest = pointer
        while nearest not in self.lines and "/" in nearest:
            nearest = nearest.rpartition("/")[0]
        return self.lines.get(nearest)

    def problem(self, pointer: str, reason: str) -> Problem:
        """A problem at `pointer`."""
        return Problem(reason, pointer, self.line(pointer), self.path)


def is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether `value` is a mapping; its keys are strings, as `load` accepts no others."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether `value` is a list."""
    return isinstance(value, list)


def join(pointer: str, *keys: str | int) -> str:
    """`pointer` extended by `keys`, escaped according to RFC 6901."""
    return "/".join([pointer, *(str(key).replace("~", "~0").replace("/", "~1") for key in keys)])


def load(path: Path) -> Document:
    """Read the schema at `path`.

    Raises:
        PipelineError: the file cannot be read, is too large, is not valid YAML, or contains values outside JSON.
    """
    return parse(_text(path), path)


def parse(text: str, path: Path) -> Document:
    """Read the schema `text`, which stands in the file `path`.

    Raises:
        PipelineError: as of `load`.
    """
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=Loader)  # pyright: ignore[reportUnknownMemberType], the stubs leave it open
    except yaml.reader.ReaderError as error:
        character = f"the character U+{int(error.character):04X}" if isinstance(error.character, int) else "a character"
        line = text.count("\n", 0, error.position) + 1
        raise _unreadable(path, f"invalid YAML: {character} is not allowed", line) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise _unreadable(path, f"invalid YAML: {reason}", None if mark is None else mark.line + 1) from error
    except (ValueError, OverflowError) as error:  # such as an escape beyond Unicode
        raise _unreadable(path, f"invalid YAML: {error}", 1) from error
    reader = _Reader(path)
    data = None
    if root is not None:
        try:
            data = reader.read(root, "#", 0)
        except _TooMuchError as error:
            reader.problems.append(Problem(str(error), error.pointer, error.line, path))
    if not is_mapping(data) and not reader.problems:
        reader.problems.append(Problem(f"expected a mapping, found {_found(data)}", "#", 1, path))
    if reader.problems or not is_mapping(data):
        raise PipelineError("lint", reader.problems)
    return Document(path, data, reader.lines)


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _unreadable(path, f"the file has {size} bytes, at most {MAX_BYTES} are read", 1)
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}", None) from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"cannot be read: it is not UTF-8 ({error.reason})", line) from error


def _unreadable(path: Path, reason: str, line: int | None) -> PipelineError:
    return PipelineError("lint", [Problem(reason, "#", line, path)])


def _found(value: object) -> str:
    return "nothing" if value is None else "a list" if isinstance(value, list) else repr(value)[:60]


class _TooMuchError(Exception):
    """The document holds more than is read."""

    def __init__(self, reason: str, pointer: str, line: int) -> None:
        super().__init__(reason)
        self.pointer = pointer
        self.line = line


class _Reader:
    """Turns YAML nodes into plain data, and notes lines and problems on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, pointer: str, depth: int) -> Any:
        line = self.lines[pointer] = node.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise _TooMuchError(f"an alias leads to itself, or to more than {MAX_DEPTH} levels", pointer, line)
        if len(self.lines) > MAX_NODES:
            raise _TooMuchError(f"more than {MAX_NODES} values, with aliases expanded", pointer, line)
        if isinstance(node, yaml.MappingNode):
            self._check_tag(node, "map", pointer)
            return self._mapping(node, pointer, depth)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, "seq", pointer)
            return [self.read(item, join(pointer, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, pointer)

    def _scalar(self, node: yaml.Node, pointer: str) -> Any:
        kind = node.tag.removeprefix(_TAG_PREFIX)
        if kind not in _JSON_TAGS:
            self._add(pointer, f"the tag {node.tag} is not supported: expected a value of JSON")
            return None
        if kind == "int" and not _JSON_INTEGER.fullmatch(node.value):
            self._add(pointer, f"{node.value[:40]} is not a whole number of JSON: put text in quotes")
            return None
        try:
            value: Any = self._scalars.construct_object(node)  # pyright: ignore[reportUnknownMemberType], as above
        except (yaml.YAMLError, ValueError, KeyError, IndexError) as error:
            self._add(pointer, f"invalid YAML: {error}")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._add(pointer, f"{node.value[:40]} is not a number of JSON")
        elif isinstance(value, str):
            self._check_text(value, pointer)
        return value

    def _mapping(self, node: yaml.MappingNode, pointer: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag != f"{_TAG_PREFIX}str":
                shown = f"the key {key_node.value}" if isinstance(key_node, yaml.ScalarNode) else "a key"
                self.problems.append(Problem(f"{shown} is not a string: put it in quotes", pointer, line, self.path))
                continue
            key = key_node.value
            place = join(pointer, key)
            if key in result:
                self.problems.append(Problem(f"the key {key!r} stands here twice", place, line, self.path))
            result[key] = self.read(value_node, place, depth + 1)
            self.lines[place] = line
            self._check_text(key, place)
        return result

    def _check_tag(self, node: yaml.Node, kind: str, pointer: str) -> None:
        if node.tag != f"{_TAG_PREFIX}{kind}":
            self._add(pointer, f"the tag {node.tag} is not supported: expected a value of JSON")

    def _check_text(self, text: str, pointer: str) -> None:
        if "\0" in text:
            self._add(pointer, "a NUL character: text of protobuf has none in names and descriptions")
        elif not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            self._add(pointer, "half of a surrogate pair: expected whole characters of Unicode")

    def _add(self, pointer: str, reason: str) -> None:
        self.problems.append(Problem(reason, pointer, self.lines[pointer], self.path))
