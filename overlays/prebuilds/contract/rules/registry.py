"""What a rule is, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from prebuilds.contract.wire import Answer

Level = Literal["MUST", "SHOULD"]

CONNECT: Final = "Connect protocol, unary calls"
PROTOJSON: Final = "JSON mapping of protobuf"
RULES: Final = "rules of the published protobuf descriptor (buf.validate)"
API: Final = "documentation of the API"
INFERRED: Final = "inferred from the documentation and its examples"
ASSUMED: Final = "assumption: the documentation says nothing"


@dataclass(frozen=True, slots=True)
class Property:
    """One thing that a server has to keep, or should.

    Attributes:
        name: in kebab-case; what `--only`, `--skip` and the file of known failures call it.
        level: MUST is part of the contract, and broken it fails the run; SHOULD is a warning.
        says: what holds, in one sentence.
        source: where that is from.
        assumption: whether it rests on an assumption about the service.
        methods: the methods that it is judged for.
    """

    name: str
    level: Level
    says: str
    source: str
    assumption: bool
    methods: tuple[str, ...]


Check = Callable[[Answer], str | None]
"""Looks at a response. It returns what is wrong, "" if nothing is, and None if the rule says nothing about it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A property, and the function that checks it.

    Attributes:
        property: the property.
        check: the function.
    """

    property: Property
    check: Check


class Registry:
    """Rules in the order in which they are declared."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def rule(
        self, name: str, level: Level, source: str, methods: tuple[str, ...], *, assumption: bool = False
    ) -> Callable[[Check], Check]:
        """Declare a rule. The first line of the function's docstring says what holds.

        Args:
            name: the name of the property.
            level: whether it is part of the contract, or a warning.
            source: where it is from.
            methods: the methods that it is about.
            assumption: whether it rests on an assumption about the service.
        """

        def declare(check: Check) -> Check:
            says = (check.__doc__ or "").partition("\n")[0].strip()
            self.rules.append(Rule(Property(name, level, says, source, assumption, methods), check))
            return check

        return declare
