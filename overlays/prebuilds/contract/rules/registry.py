"""Rules and their declaration."""

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
    """A property that a server must or should have.

    Attributes:
        name: the name in kebab-case, for `--only`, `--skip` and the file of known failures.
        level: MUST is part of the contract, and a violation fails the run; SHOULD is a warning.
        says: the property, in one sentence.
        source: the source of the property.
        assumption: whether it rests on an assumption about the service.
        methods: the methods that it applies to.
    """

    name: str
    level: Level
    says: str
    source: str
    assumption: bool
    methods: tuple[str, ...]


Check = Callable[[Answer], str | None]
"""Checks a response. It returns the problem, "" if there is none, and None if the rule does not apply."""


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
        """Declare a rule. The first line of the function's docstring states the property.

        Args:
            name: the name of the property.
            level: whether it is part of the contract, or a warning.
            source: the source of the property.
            methods: the methods that it applies to.
            assumption: whether it rests on an assumption about the service.
        """

        def declare(check: Check) -> Check:
            says = (check.__doc__ or "").partition("\n")[0].strip()
            self.rules.append(Rule(Property(name, level, says, source, assumption, methods), check))
            return check

        return declare
