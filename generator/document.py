"""The schema file as plain data, with the line of every place in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from .problems import PipelineError, Problem

_JSON_TAGS = ("bool", "float", "int", "null", "str")


class _Loader(yaml.SafeLoader):
    """YAML's JSON subset: no dates (`2019-12-27` stays a string), no merge keys, no `yes` and `no`."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag.rpartition(":")[2] in _JSON_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Document:
    """A schema that was read. `lines` maps JSON pointers (`#/paths/...`) to line numbers from 1."""

    path: Path
    data: dict[str, Any]
    lines: dict[str, int]

    def problem(self, pointer: str, reason: str) -> Problem:
        """A problem at `pointer`, with the line of the nearest place that the file has."""
        nearest = pointer
        while nearest not in self.lines and "/" in nearest:
            nearest = nearest.rpartition("/")[0]
        return Problem(reason, pointer, self.lines.get(nearest), self.path)


def is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether `value` is a mapping; its keys are strings, as `load` accepts no others."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether `value` is a list."""
    return isinstance(value, list)


def join(pointer: str, *keys: str | int) -> str:
    """`pointer` extended by `keys`, escaped as RFC 6901 asks."""
    return "/".join([pointer, *(str(key).replace("~", "~0").replace("/", "~1") for key in keys)])


def load(path: Path) -> Document:
    """Read the schema at `path`.

    Raises:
        PipelineError: the file cannot be read, is no YAML, or has a key twice or a key that is no string.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError("lint", [Problem(f"cannot be read: {error}", file=path)]) from error
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)  # pyright: ignore[reportUnknownMemberType], the stubs leave it open
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        line = None if mark is None else mark.line + 1
        raise PipelineError("lint", [Problem(f"invalid YAML: {reason}", "#", line, path)]) from error
    reader = _Reader(path)
    data = reader.read(root, "#") if root is not None else None
    if not is_mapping(data):
        reader.problems.append(Problem("the document has to be a mapping", "#", 1, path))
    if reader.problems or not is_mapping(data):
        raise PipelineError("lint", reader.problems)
    return Document(path, data, reader.lines)


class _Reader:
    """Turns YAML nodes into plain data, and notes lines and problems on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, pointer: str) -> Any:
        self.lines[pointer] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, pointer)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, join(pointer, index)) for index, item in enumerate(node.value)]
        try:
            value: Any = self._scalars.construct_object(node)  # pyright: ignore[reportUnknownMemberType], as above
            return value
        except yaml.YAMLError as error:
            self.problems.append(Problem(f"invalid YAML: {error}", pointer, self.lines[pointer], self.path))
            return None

    def _mapping(self, node: yaml.MappingNode, pointer: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag != "tag:yaml.org,2002:str":
                reason = f"the key {key_node.value} is no string: put it in quotes"
                self.problems.append(Problem(reason, pointer, line, self.path))
                continue
            key = key_node.value
            if key in result:
                self.problems.append(Problem(f"the key {key!r} stands here twice", join(pointer, key), line, self.path))
            result[key] = self.read(value_node, join(pointer, key))
            self.lines[join(pointer, key)] = line
        return result
