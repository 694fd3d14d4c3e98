"""The declared projects, and the planned outcomes of future prebuilds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from .errors import ConnectCode, ConnectError
from .ids import canonical_id, default_class_id, derived_id, is_uuid
from .store import Transaction

if TYPE_CHECKING:
    from .declarations import (
        DeclaredProject,
        Executor,
        Outcome,
        OutcomeState,
        PlannedOutcome,
        PrebuildConfiguration,
        Project,
    )

MOST_RUNS: Final = 366
"""The maximum number of missed daily runs that are started late; the latest ones count."""

_DAY = timedelta(days=1)

_PROJECT = "project"
_OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Run:
    """A scheduled prebuild that is due."""

    due: datetime
    project_id: str
    environment_class_id: str
    executor: Executor


class Projects:
    """All declared projects and planned outcomes, cached in memory and stored in the store.

    Every method that takes a transaction is called within it. When a transaction fails, `read` restores the state of
    the store.

    Args:
        strict: whether undeclared projects do not exist.
        relaxed_ids: whether ids need not be UUIDs.
    """

    def __init__(self, *, strict: bool = False, relaxed_ids: bool = False) -> None:
        self.strict = strict
        self.canonical: Callable[[str], str] = canonical_id if relaxed_ids else str.lower
        """Converts an id to the form in which it is stored and compared."""
        self._relaxed = relaxed_ids
        self._declared: dict[str, DeclaredProject] = {}
        self._outcomes: dict[int, OutcomeState] = {}
        self._count = 0
        self._next_run: datetime | None = None

    def read(self, transaction: Transaction) -> None:
        """Load the state of the store."""
        projects, outcomes = transaction.settings(_PROJECT), transaction.settings(_OUTCOME)
        self._declared, self._outcomes = {}, {}
        if projects or outcomes:
            from .declarations import DeclaredProject, OutcomeState

            self._declared = {key: DeclaredProject.model_validate_json(text) for key, text in projects.items()}
            states = [OutcomeState.model_validate_json(text) for text in outcomes.values()]
            self._outcomes = {state.id: state for state in sorted(states, key=lambda state: state.id)}
        self._look_ahead()

    def dump(self) -> tuple[tuple[DeclaredProject, ...], tuple[OutcomeState, ...]]:
        """Return all declared projects and planned outcomes."""
        return tuple(self._declared[key] for key in sorted(self._declared)), tuple(self.outcomes())

    @staticmethod
    def keep_all(
        transaction: Transaction, projects: Iterable[DeclaredProject], outcomes: Iterable[OutcomeState]
    ) -> None:
        """Store the result of `dump`; `read` then loads it."""
        for declared in projects:
            transaction.put_setting(_PROJECT, declared.project.id, declared.model_dump_json())
        for state in outcomes:
            transaction.put_setting(_OUTCOME, str(state.id), state.model_dump_json())

    # -- Projects

    def all(self) -> list[Project]:
        """Return all declared projects, sorted by id."""
        return [self._declared[key].project for key in sorted(self._declared)]

    def get(self, project_id: str) -> Project | None:
        """Return the declared project with this id."""
        declared = self._declared.get(self.canonical(project_id))
        return None if declared is None else declared.project

    def declare(self, transaction: Transaction, project: Project, now: datetime) -> Project:
        """Declare or change a project. An unchanged schedule keeps its next run.

        Raises:
            ValueError: an id is not a UUID.
        """
        from .declarations import DeclaredProject

        project = self._checked(project)
        before = self._declared.get(project.id)
        hour = _hour(project)
        if before is not None and hour == _hour(before.project):
            next_run = before.next_run
        else:
            next_run = None if hour is None else _next_time(hour, now)
        self._keep(transaction, DeclaredProject(project=project, next_run=next_run))
        return project

    def withdraw(self, transaction: Transaction, project_id: str) -> Project | None:
        """Remove a declared project. Return None if the id is not declared."""
        declared = self._declared.pop(self.canonical(project_id), None)
        if declared is None:
            return None
        transaction.remove_setting(_PROJECT, declared.project.id)
        self._look_ahead()
        return declared.project

    def class_for(self, project_id: str, class_id: str | None) -> str:
        """Return the environment class of a new prebuild or pool. `project_id` and the result are canonical ids.

        ASSUMPTION: any id is a project with prebuilds enabled, and any id an environment class of it, until it is
        declared otherwise; the real service knows its projects.
        ASSUMPTION: a project or class that does not exist is rejected with `not_found`. Disabled prebuilds, and a class
        that is not among the prebuild classes, are rejected with `failed_precondition`.

        Raises:
            ConnectError: `not_found`, `failed_precondition`.
        """
        declared = self._declared.get(project_id)
        if declared is None:
            if self.strict:
                raise ConnectError(ConnectCode.NOT_FOUND, f"there is no project {project_id}")
            return default_class_id(project_id) if class_id is None else self.canonical(class_id)
        configuration = declared.project.prebuilds
        if configuration is None:
            raise ConnectError(
                ConnectCode.FAILED_PRECONDITION,
                f"prebuilds are disabled for project {project_id}: it has none configured",
            )
        if class_id is None:
            return _default_class(project_id, configuration)
        class_id = self.canonical(class_id)
        if configuration.environment_class_ids and class_id not in configuration.environment_class_ids:
            if self.strict and not self._is_class(class_id):
                raise ConnectError(ConnectCode.NOT_FOUND, f"there is no environment class {class_id}")
            raise ConnectError(
                ConnectCode.FAILED_PRECONDITION,
                f"environment class {class_id} is none of the prebuild classes of project {project_id}",
            )
        return class_id

    def keeps(self, project_id: str, class_id: str) -> bool:
        """Return whether the project still has a configuration for a pool of this class.

        ASSUMPTION: a pool is also deleted when its class is removed from the prebuild classes.
        """
        declared = self._declared.get(project_id)
        if declared is None or declared.project.prebuilds is None:
            return False
        classes = declared.project.prebuilds.environment_class_ids
        return not classes or class_id in classes

    def _is_class(self, class_id: str) -> bool:
        return any(class_id in _classes(declared.project) for declared in self._declared.values())

    # -- Schedules

    def due_runs(self, transaction: Transaction, now: datetime) -> list[Run]:
        """Return the scheduled prebuilds that are due and were not returned before, in order.

        ASSUMPTION: a schedule creates a prebuild for each prebuild class of the project.
        """
        if self._next_run is None or now < self._next_run:
            return []
        from .declarations import Executor

        runs: list[Run] = []
        for declared in list(self._declared.values()):
            if declared.next_run is None or now < declared.next_run:
                continue
            configuration = declared.project.prebuilds
            assert configuration is not None  # noqa: S101  only a configuration has a schedule
            missed = (now - declared.next_run) // _DAY + 1
            first = declared.next_run + max(0, missed - MOST_RUNS) * _DAY
            project_id = declared.project.id
            executor = configuration.executor or Executor(id=derived_id("executor", project_id))
            classes = configuration.environment_class_ids or (_default_class(project_id, configuration),)
            runs += [
                Run(first + day * _DAY, project_id, class_id, executor)
                for day in range(min(missed, MOST_RUNS))
                for class_id in classes
            ]
            self._keep(transaction, declared.model_copy(update={"next_run": declared.next_run + missed * _DAY}))
        return sorted(runs, key=lambda run: run.due)

    def _look_ahead(self) -> None:
        self._next_run = min((item.next_run for item in self._declared.values() if item.next_run), default=None)

    def _keep(self, transaction: Transaction, declared: DeclaredProject) -> None:
        self._declared[declared.project.id] = declared
        transaction.put_setting(_PROJECT, declared.project.id, declared.model_dump_json())
        self._look_ahead()

    # -- Outcomes

    def outcomes(self) -> list[OutcomeState]:
        """Return the planned outcomes that are not used up, in the order in which they apply."""
        return list(self._outcomes.values())

    def plan(self, transaction: Transaction, planned: PlannedOutcome) -> OutcomeState:
        """Plan the outcome of the next prebuilds.

        Raises:
            ValueError: the project's id is not a UUID.
        """
        from .declarations import OutcomeState

        project_id = None if planned.project_id is None else self.checked_id(planned.project_id, "project_id")
        self._count = number = max(self._count, *self._outcomes, 0) + 1
        state = OutcomeState(id=number, outcome=planned.outcome, project_id=project_id, times=planned.times)
        self._outcomes[number] = state
        transaction.put_setting(_OUTCOME, str(number), state.model_dump_json())
        return state

    def forget_outcomes(self, transaction: Transaction) -> None:
        """Remove the planned outcomes. The outcomes of declared projects stay."""
        for number in self._outcomes:
            transaction.remove_setting(_OUTCOME, str(number))
        self._outcomes.clear()

    def outcome_for(self, transaction: Transaction, project_id: str) -> Outcome | None:
        """Return the outcome of a new prebuild, or None for the usual one. This uses up a planned outcome."""
        for number, state in self._outcomes.items():
            if state.project_id not in (None, project_id):
                continue
            if state.times > 1:
                left = state.model_copy(update={"times": state.times - 1})
                self._outcomes[number] = left
                transaction.put_setting(_OUTCOME, str(number), left.model_dump_json())
            else:
                del self._outcomes[number]
                transaction.remove_setting(_OUTCOME, str(number))
            return state.outcome
        declared = self._declared.get(project_id)
        return None if declared is None else declared.project.outcome

    # -- Ids

    def checked_id(self, text: str, where: str) -> str:
        """Return an id in the form in which it is stored and compared. `where` names its field.

        Raises:
            ValueError: the id is not a UUID.
        """
        if not self._relaxed and not is_uuid(text):
            raise ValueError(f"{where}: {text!r} is no UUID, and the emulator takes others with relaxed ids only")
        return self.canonical(text)

    def _checked(self, project: Project) -> Project:
        """Return the project with its ids in canonical form."""
        configuration = project.prebuilds
        if configuration is not None:
            changes: dict[str, object] = {
                "environment_class_ids": tuple(
                    self.checked_id(class_id, "environment_class_ids")
                    for class_id in configuration.environment_class_ids
                )
            }
            if configuration.default_environment_class_id is not None:
                changes["default_environment_class_id"] = self.checked_id(
                    configuration.default_environment_class_id, "default_environment_class_id"
                )
            if configuration.executor is not None:
                executor_id = self.checked_id(configuration.executor.id, "executor.id")
                changes["executor"] = configuration.executor.model_copy(update={"id": executor_id})
            configuration = configuration.model_copy(update=changes)
        return project.model_copy(update={"id": self.checked_id(project.id, "id"), "prebuilds": configuration})


def _hour(project: Project) -> int | None:
    return None if project.prebuilds is None else project.prebuilds.daily_at_hour


def _next_time(hour: int, now: datetime) -> datetime:
    """Return the next time after `now` at which this hour begins."""
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > now else today + _DAY


def _default_class(project_id: str, configuration: PrebuildConfiguration) -> str:
    given = configuration.default_environment_class_id
    if given is not None:
        return given
    return next(iter(configuration.environment_class_ids), None) or default_class_id(project_id)


def _classes(project: Project) -> Iterable[str]:
    configuration = project.prebuilds
    if configuration is None:
        return ()
    given = configuration.default_environment_class_id
    return (*configuration.environment_class_ids, *(() if given is None else (given,)))
