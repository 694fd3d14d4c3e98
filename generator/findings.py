"""The findings of stage `lint`."""

from __future__ import annotations

from typing import Any

from .document import Document, join
from .problems import Problem

MAX_PROBLEMS = 100


class Findings:
    """The problems of a document, and ways to look things up in it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.data = document.data
        self.problems: list[Problem] = []

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """The components that become classes."""
        schemas: dict[str, dict[str, Any]] = self.data["components"]["schemas"]
        return schemas

    def add(self, pointer: str, reason: str) -> None:
        """Note a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(self.document.problem(pointer, reason))

    def reference(self, value: dict[str, Any], pointer: str, folder: str, beside: frozenset[str]) -> bool:
        """Whether `value` is a reference into `folder` of the components; an invalid reference is a problem.

        Besides the reference, `value` may only have the keys `beside`.
        """
        if "$ref" not in value:
            return False
        target = value["$ref"]
        name = target.rpartition("/")[2]
        if target != f"#/components/{folder}/{name}" or name not in self.data["components"].get(folder, {}):
            self.add(join(pointer, "$ref"), f"nothing stands at {target}")
        for key in value.keys() - beside - {"$ref"}:
            self.add(join(pointer, key), f"{key!r} is not supported beside a $ref: the generators would drop it")
        return True


def component(reference: str) -> str:
    """The name of the component that a reference leads to."""
    return reference.rpartition("/")[2]
