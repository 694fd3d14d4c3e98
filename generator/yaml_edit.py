"""Changes of a YAML file that leave everything else in it as it is: comments, order, notation.

A change is noted against the file as it was read, and all are made at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from .document import Loader, is_list, is_mapping

_PLAIN = re.compile(r"[A-Za-z_$/][A-Za-z0-9_./$~-]*", re.ASCII)
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "~")

WIDTH = 120


@dataclass
class _Changes:
    """The changes of one mapping or list."""

    added: list[tuple[str | None, Any]] = field(default_factory=list[tuple["str | None", Any]])
    removed: set[str] = field(default_factory=set[str])
    replaced: dict[str, Any] = field(default_factory=dict[str, Any])
    renamed: dict[str, str] = field(default_factory=dict[str, str])


class Editor:
    """A YAML file and its changes. Places are lists of keys."""

    def __init__(self, text: str) -> None:
        self.text = text
        root: yaml.Node | None = yaml.compose(text, Loader=Loader)  # pyright: ignore[reportUnknownMemberType], the stubs leave it open
        assert root is not None
        self._root = root
        self._changes: dict[int, tuple[yaml.Node, _Changes]] = {}

    def put(self, path: list[str], value: Any) -> None:
        """Put `value` at a place. The mapping or list around it must exist; in a list, `-` means the end."""
        holder, key = self._holder(path)
        if key in self._keys(holder):
            self._of(holder).replaced[key] = value
        else:
            self._of(holder).added.append((None if isinstance(holder, yaml.SequenceNode) else key, value))

    def rename(self, path: list[str], name: str) -> None:
        """Give a key another name."""
        holder, key = self._holder(path)
        self._of(holder).renamed[key] = name

    def remove(self, path: list[str]) -> None:
        """Remove a key and its value, or an item of a list; a missing key is ignored."""
        holder, key = self._holder(path)
        if key in self._keys(holder):
            self._of(holder).removed.add(key)

    def result(self) -> str:
        """The text with all changes."""
        edits: list[tuple[int, int, str]] = []
        for node, changes in self._changes.values():
            everything = len(changes.removed) == len(self._keys(node)) and not changes.added
            if _is_flow(node) or everything or not self._keys(node):
                edits.append((node.start_mark.index, self._end(node), self._flow(node, changes)))
            else:
                edits += self._block(node, changes)
        text = self.text
        # An edit within a part that another one replaces or removes is without object.
        edits.sort(key=lambda edit: (edit[0], -edit[1]))
        kept: list[tuple[int, int, str]] = []
        for start, end, new in edits:
            if not kept or start >= kept[-1][1] or kept[-1][0] == kept[-1][1]:
                kept.append((start, end, new))
        for start, end, new in reversed(kept):
            text = text[:start] + new + text[end:]
        return text

    # -- Where things are

    def _holder(self, path: list[str]) -> tuple[yaml.Node, str]:
        node = self._root
        for step in path[:-1]:
            node = self._entries(node)[step][1]
        return node, path[-1]

    def _entries(self, node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        if isinstance(node, yaml.MappingNode):
            return {str(key.value): (key, value) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return {str(index): (item, item) for index, item in enumerate(node.value)}
        return {}

    def _keys(self, node: yaml.Node) -> set[str]:
        return set(self._entries(node))

    def _of(self, node: yaml.Node) -> _Changes:
        return self._changes.setdefault(id(node), (node, _Changes()))[1]

    def _end(self, node: yaml.Node) -> int:
        """The end of the last character of a node, without the white space and comments behind it."""
        if isinstance(node, yaml.ScalarNode):
            if node.style in ("|", ">"):
                return node.start_mark.index + len(self.text[node.start_mark.index : node.end_mark.index].rstrip())
            return node.end_mark.index
        parts = list(self._entries(node).values())
        if _is_flow(node) or not parts:
            return node.end_mark.index
        return self._end(parts[-1][1])

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    # -- What is written

    def _flow(self, node: yaml.Node, changes: _Changes) -> str:
        parts: list[str] = []
        is_mapping = isinstance(node, yaml.MappingNode)
        for key, (_, value) in self._entries(node).items():
            if key in changes.removed:
                continue
            # The content was read from the file unchanged; its own changes are applied here.
            text = self._inner(value) if key not in changes.replaced else flow(changes.replaced[key])
            parts.append(f"{scalar(changes.renamed.get(key, key))}: {text}" if is_mapping else text)
        for added, new in changes.added:
            parts.append(f"{scalar(added)}: {flow(new)}" if is_mapping else flow(new))
        body = ", ".join(parts)
        return f"{{{body}}}" if is_mapping else f"[{body}]"

    def _inner(self, node: yaml.Node) -> str:
        if id(node) in self._changes:
            return self._flow(*self._changes[id(node)])
        if isinstance(node, yaml.MappingNode) and any(id(value) in self._changes for _, value in node.value):
            return self._flow(node, _Changes())
        return self.text[node.start_mark.index : self._end(node)]

    def _block(self, node: yaml.Node, changes: _Changes) -> list[tuple[int, int, str]]:
        entries = self._entries(node)
        margin = " " * node.start_mark.column
        is_mapping = isinstance(node, yaml.MappingNode)
        edits: list[tuple[int, int, str]] = []
        for key in changes.removed:
            first, value = entries[key]
            edits.append((self._line_start(first.start_mark.index), self._line_end(self._end(value)), ""))
        for key, new in changes.replaced.items():
            first, value = entries[key]
            if key not in changes.removed:
                end = self._end(value)
                lines = block({key: new}, margin) if is_mapping else items([new], margin)
                start = self._line_start(first.start_mark.index)
                if self.text[start : first.start_mark.index].strip(" ") in ("", "-"):
                    lead = self.text[start : first.start_mark.index] if is_mapping else margin
                    edits.append((start, self._line_end(end), lead + lines[len(margin) :]))
        for key, name in changes.renamed.items():
            first = entries[key][0]
            edits.append((first.start_mark.index, first.end_mark.index, scalar(name)))
        if changes.added:
            last = list(entries.values())[-1][1]
            at = self._line_end(self._end(last))
            lead = "" if self.text[:at].endswith("\n") else "\n"
            text = "".join(
                block({key: value}, margin) if is_mapping else items([value], margin) for key, value in changes.added
            )
            edits.append((at, at, lead + text))
        return edits


def _is_flow(node: yaml.Node) -> bool:
    return bool(getattr(node, "flow_style", False))


def block(value: dict[Any, Any], margin: str = "") -> str:
    """A mapping in block style, each key on a line of its own."""
    lines = ""
    for key, item in value.items():
        if is_mapping(item) and item and not _is_short(key, item, margin):
            lines += f"{margin}{scalar(key)}:\n{block(item, margin + '  ')}"
        elif is_list(item) and item and not _is_short(key, item, margin):
            lines += f"{margin}{scalar(key)}:\n{items(item, margin + '  ')}"
        else:
            lines += f"{margin}{scalar(key)}: {flow(item)}\n"
    return lines


def items(values: list[Any], margin: str = "") -> str:
    """A list in block style."""
    return "".join(f"{margin}- {flow(value)}\n" for value in values)


def _is_short(key: object, value: Any, margin: str) -> bool:
    nested = is_mapping(value) and any(is_mapping(item) and item for item in value.values())
    names = is_list(value) and not any(is_mapping(item) for item in value)
    return (names or not nested) and len(value) <= 2 and len(f"{margin}{key}: {flow(value)}") <= WIDTH


def flow(value: Any) -> str:
    """A value in flow style, on one line."""
    if is_mapping(value):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if is_list(value):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A string, number, boolean or null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = text.replace("'", "''")
    return (
        f"'{escaped}'" if text.isprintable() else '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    )
