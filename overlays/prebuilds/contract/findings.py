"""The findings: for each property and method whether it passed, failed or was not tested, and how to reproduce it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Final

from prebuilds.contract.methods import METHODS
from prebuilds.contract.properties import PROPERTIES
from prebuilds.contract.rules.registry import Property
from prebuilds.contract.wire import Answer

PROOF: Final = frozenset({"invalid_argument", "not_found", "failed_precondition", "already_exists", "out_of_range"})
"""Codes that show that a method validates its request. A proxy in front of the server may send any other code."""

UNIMPLEMENTED: Final = "unimplemented"
"""The code for a method that the server does not have."""


class State(Enum):
    """The result of a property for a method."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Failure:
    """A property that a method has violated.

    Attributes:
        property: the property.
        method: the method.
        why: the request, the response, and the expected response.
        sequence: the shortest sequence of calls that shows the failure.
        layer: the layer that found the failure.
    """

    property: Property
    method: str
    why: str
    sequence: tuple[Answer, ...]
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A property and a method in the report.

    Attributes:
        property: the property.
        method: the method.
        state: the result.
        why: why it was not tested, or why it failed.
        failure: the first failure, if it failed.
        known: whether the file of known failures lists it.
        excused: whether the server or the options of the run made the test impossible, which does not count against
            the server.
    """

    property: Property
    method: str
    state: State
    why: str = ""
    failure: Failure | None = None
    known: bool = False
    excused: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a run. It decides which results may be missing.

    Attributes:
        methods: the methods to check; all of them if empty.
        limits: why a property may stay untested without counting against the server, "" if the run does everything.
        without_success: the methods that the run never calls with a request that must succeed.
        without_error: the methods that the run never calls with a request that must fail.
        uncalled: the methods that the run never calls.
    """

    methods: frozenset[str] = frozenset()
    limits: str = ""
    without_success: frozenset[str] = frozenset()
    without_error: frozenset[str] = frozenset()
    uncalled: frozenset[str] = frozenset()

    def covers(self, method: str) -> bool:
        """Whether the run covers the method."""
        return not self.methods or method in self.methods


@dataclass(slots=True)
class Reached:
    """How far a method was reached.

    Attributes:
        success: whether it has succeeded.
        codes: the codes of its errors.
    """

    success: bool = False
    codes: set[str] = field(default_factory=set[str])

    @property
    def is_implemented(self) -> bool:
        """Whether the server has the method. The server may validate a request before it detects a missing method.

        A server without the method returns `unimplemented`, except for a request that is invalid by itself.
        """
        return self.success or UNIMPLEMENTED not in self.codes or bool(self.codes & (PROOF - {"invalid_argument"}))

    def missing(self, *, success: bool = True, error: bool = True) -> str:
        """The responses that the run still needs before the method counts as tested; "" if none.

        Args:
            success: whether the method must succeed once.
            error: whether the method must return an error of its own once.
        """
        lacks: list[str] = []
        if success and not self.success:
            lacks.append("a success")
        if error and not self.codes & PROOF:
            lacks.append("an error of its own")
        return " and ".join(lacks)


class Findings:
    """Collects the results of checks.

    Args:
        assumptions: whether to check properties that rest on an assumption.
        only: the names of the properties to check; all of them if empty.
        skip: the names of the properties to skip.
        known: the known failures, as read by `read_known`.
        scope: the scope of the run.
    """

    def __init__(
        self,
        *,
        assumptions: bool = False,
        only: Collection[str] = (),
        skip: Collection[str] = (),
        known: Collection[tuple[str, str]] = (),
        scope: Scope | None = None,
    ) -> None:
        check_names([*only, *skip])
        self.scope = scope or Scope()
        self.selected = {
            name
            for name, item in PROPERTIES.items()
            if (not only or name in only) and name not in skip and (assumptions or not item.assumption)
        }
        """The names of the properties that are looked at."""
        self.reached: dict[str, Reached] = {method: Reached() for method in METHODS}
        """How far each method was reached."""
        self._known = set(known)
        self._kept: set[tuple[str, str]] = set()
        self._failures: dict[tuple[str, str], list[Failure]] = {}
        self._excuses: dict[tuple[str, str], str] = {}

    def is_known(self, name: str, method: str) -> bool:
        """Whether the file of known failures lists the property, for this method or for all."""
        return (name, method) in self._known or (name, "") in self._known

    @property
    def not_implemented(self) -> tuple[str, ...]:
        """The methods that the server does not implement, by its responses."""
        return tuple(m for m, reached in self.reached.items() if self.scope.covers(m) and not reached.is_implemented)

    def keep(self, name: str, method: str) -> None:
        """The method has kept the property, at least this time."""
        self._kept.add((name, method))

    def is_kept(self, name: str, method: str) -> bool:
        """Whether the method has kept the property at some time."""
        return (name, method) in self._kept

    def add(self, failure: Failure) -> None:
        """The method has broken the property."""
        self._failures.setdefault((failure.property.name, failure.method), []).append(failure)

    def length_of(self, name: str, method: str) -> int | None:
        """The number of requests in the shortest known failure of the property, None if there is none."""
        return min((len(each.sequence) for each in self._failures.get((name, method), ())), default=None)

    def excuse(self, name: str, method: str, why: str) -> None:
        """Record that the property cannot be tested here. This does not count against the server."""
        self._excuses.setdefault((name, method), why)

    def is_broken(self, name: str, method: str) -> bool:
        """Whether the method has broken the property already."""
        return (name, method) in self._failures

    def is_open(self, name: str) -> bool:
        """Whether a property has no result yet, for at least one of the methods that the run covers."""
        methods = [method for method in PROPERTIES[name].methods if self.scope.covers(method)]
        known = self._kept | self._failures.keys() | self._excuses.keys()
        return any((name, method) not in known for method in methods)

    @property
    def failures(self) -> list[Failure]:
        """The shortest failure of each property and method, in the order of the registry."""
        return [result.failure for result in self.results() if result.failure is not None]

    def results(self, *, unfinished: str = "") -> list[Result]:
        """Each property that is looked at, for each of its methods.

        Args:
            unfinished: why the run ended early, if it did.
        """
        return [self._result(PROPERTIES[name], method, unfinished) for name, method in self._pairs()]

    def _pairs(self) -> Iterable[tuple[str, str]]:
        for name, item in PROPERTIES.items():
            if name in self.selected:
                yield from ((name, method) for method in item.methods if self.scope.covers(method))

    def _result(self, item: Property, method: str, unfinished: str) -> Result:
        key = item.name, method
        known = self.is_known(item.name, method)
        if not self.reached[method].is_implemented:
            why = f"the server does not implement {method}"
            return Result(item, method, State.NOT_TESTED, why, known=known, excused=True)
        failures = self._failures.get(key, [])
        certain = [failure for failure in failures if not self._missing_methods(failure)]
        if certain:
            shortest = min(certain, key=lambda failure: len(failure.sequence))
            return Result(item, method, State.BROKEN, shortest.why, shortest, known=known)
        missing = self._missing(method)
        if key in self._kept and not missing and not failures:
            return Result(item, method, State.KEPT, known=known)
        why, excused = self._reason(key, missing, failures, unfinished)
        return Result(item, method, State.NOT_TESTED, why, known=known, excused=excused)

    def _missing(self, method: str) -> str:
        """The responses that the method has not returned yet, and that a run of this scope can cause."""
        scope = self.scope
        return self.reached[method].missing(
            success=method not in scope.without_success, error=method not in scope.without_error
        )

    def _missing_methods(self, failure: Failure) -> list[str]:
        """The methods in the sequence of a failure that the server does not implement: they show nothing."""
        methods = dict.fromkeys(answer.request.method for answer in failure.sequence)
        return [method for method in methods if method in self.reached and not self.reached[method].is_implemented]

    def _reason(
        self, key: tuple[str, str], missing: str, failures: Sequence[Failure], unfinished: str
    ) -> tuple[str, bool]:
        """Why a property was not tested, and whether that is excused."""
        method = key[1]
        if method in self.scope.uncalled:
            return f"{self.scope.limits} does not call {method}", True
        if failures:
            absent = ", ".join(self._missing_methods(failures[0]))
            return f"it takes {absent}, which the server does not implement", True
        if missing:
            return f"{method} has not answered with {missing}", self._has_known_failure(method)
        if key in self._excuses:
            return self._excuses[key], True
        if unfinished:
            return unfinished, False
        if self.scope.limits:
            return f"{self.scope.limits} does not check it", True
        return "no request has shown it", self._has_known_failure(method)

    def _has_known_failure(self, method: str) -> bool:
        """Whether the method has a known failure, which may be in the way of other checks."""
        return any(each == method and self.is_known(name, each) for name, each in self._failures)

    def passing(self, results: Sequence[Result]) -> tuple[Result, ...]:
        """The known failures that now pass. A property that is known without a method must pass for all methods."""
        kept = [result for result in results if result.known and result.state is State.KEPT]
        others = {result.property.name for result in results if result.state is not State.KEPT}
        return tuple(r for r in kept if (r.property.name, r.method) in self._known or r.property.name not in others)


def check_names(names: Iterable[str]) -> None:
    """Check that these are names of properties.

    Raises:
        ValueError: a name is not a known property.
    """
    unknown = [name for name in names if name not in PROPERTIES]
    if unknown:
        raise ValueError(
            f"there is no property {', '.join(unknown)}{_suggestion(unknown[0], PROPERTIES)}: "
            "see `prebuilds contract --properties`"
        )


def read_known(path: Path) -> set[tuple[str, str]]:
    """The known failures in a file: lines of a property and a method, or of a property alone; `#` begins a comment.

    Raises:
        ValueError: a line has another format.
    """
    found: set[tuple[str, str]] = set()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, method = words[0], words[1] if len(words) > 1 else ""
        hint = _suggestion(name, PROPERTIES) if name not in PROPERTIES else ""
        if name in PROPERTIES and method and method not in PROPERTIES[name].methods:
            hint = f"; {name} is about {', '.join(PROPERTIES[name].methods)}"
        if len(words) > 2 or hint or name not in PROPERTIES:
            raise ValueError(f"{path}, line {number}: not a property and one of its methods: {line.strip()}{hint}")
        found.add((name, method))
    return found


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f" (is it {near[0]}?)" if near else ""


def write_known(path: Path, results: Iterable[Result]) -> int:
    """Write the failures as a file of known failures, and return its number of lines."""
    broken = [result for result in results if result.state is State.BROKEN]
    lines = [f"{result.property.name} {result.method}  # {_one_line(result.why)}" for result in broken]
    text = "\n".join(["# Known failures of prebuilds contract: property and method.", *lines, ""])
    path.write_text(text, "utf-8", "backslashreplace")
    return len(broken)


def count(results: Iterable[Result]) -> Mapping[State, int]:
    """How many results are in each state."""
    counts = dict.fromkeys(State, 0)
    for result in results:
        counts[result.state] += 1
    return counts


def _one_line(text: str) -> str:
    return " ".join(text.split())[:100]
