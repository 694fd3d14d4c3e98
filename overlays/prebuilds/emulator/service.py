"""The methods of the service: each takes its validated request and returns its response, both as JSON."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from prebuild_wire import OPERATIONS
from prebuild_wire.enums import PrebuildPhase, PrebuildTrigger, Principal
from prebuild_wire.scalars import parse_duration

from . import lifecycle
from .clock import Clock
from .errors import ConnectCode, ConnectError
from .ids import derived_id
from .injection import Faults
from .lifecycle import PrebuildRecord, Step, SubjectRecord, WarmPoolRecord
from .logs import log_lines
from .projects import Projects
from .settling import snapshot_id
from .signing import Signer
from .store import Filter, RecordT, Store, Transaction
from .views import prebuild_view, warm_pool_view

if TYPE_CHECKING:
    from .declarations import Plan, Project

DEFAULT_PAGE_SIZE: Final = 25
LOGS_TOKEN_LIFETIME: Final = timedelta(hours=1)

_DEFAULT_TIMEOUT = "3600s"

_PLAN = "plan"


Request = Mapping[str, Any]
"""A valid request in its JSON form. Fields that are not set are absent or zero."""


@dataclass(frozen=True, slots=True)
class Call:
    """The caller of a method, and the base URL (without a trailing slash) under which it reaches the emulator."""

    caller: SubjectRecord
    base_url: str


@dataclass(frozen=True, slots=True)
class LogState:
    """The log of a prebuild so far. While `following` is true, the log may grow."""

    lines: list[str]
    following: bool


class PrebuildService:
    """The service. Its methods have the schema's method names in snake case.

    Args:
        store: the storage of all records.
        clock: the source of the emulated time.
        plan: the durations; by default those in the store, or else the usual ones.
        strict_projects: whether undeclared projects do not exist.
        relaxed_ids: whether ids need not be UUIDs.
        projects: the projects that are declared at the start; projects in the store take precedence.

    Raises:
        ValueError: the id of a project is not a UUID.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        plan: Plan | None = None,
        *,
        strict_projects: bool = False,
        relaxed_ids: bool = False,
        projects: Sequence[Project] = (),
    ) -> None:
        self.store = store
        self.clock = clock
        self.faults = Faults()
        self.projects = Projects(strict=strict_projects, relaxed_ids=relaxed_ids)
        self.relaxed_ids = relaxed_ids
        self._id = self.projects.canonical
        self.first_projects = tuple(projects)
        """The projects that are declared after a reset."""
        self._first_plan = self._given_plan = plan
        self.take_over()
        now = clock.now()
        with self.transaction(now) as transaction:
            for project in projects:
                if self.projects.get(project.id) is None:
                    self.projects.declare(transaction, project, now)

    def take_over(self) -> None:
        """Load the state from the store, in place of the state in memory."""
        self._signer = Signer(self.store.secret)
        self._is_logs_token = lru_cache(self._signs_logs)
        with self.store.transaction(self.clock.now()) as transaction:
            self.projects.read(transaction)
            stored = transaction.settings(_PLAN).get(_PLAN)
        self._stored_plan = stored if self._given_plan is None else None
        self._plan = self._given_plan

    @property
    def plan(self) -> Plan:
        """The current durations."""
        if self._plan is None:
            from .declarations import Plan

            self._plan = Plan.model_validate_json(self._stored_plan) if self._stored_plan else self.first_plan
        return self._plan

    @property
    def first_plan(self) -> Plan:
        """The durations after a reset."""
        if self._first_plan is None:
            from .declarations import Plan

            self._first_plan = Plan()
        return self._first_plan

    def put_plan(self, transaction: Transaction, plan: Plan) -> None:
        """Use the durations of this plan for everything that begins from now on."""
        transaction.put_setting(_PLAN, _PLAN, plan.model_dump_json())
        self._plan, self._given_plan = plan, None

    @contextmanager
    def transaction(self, now: datetime) -> Generator[Transaction]:
        """Run the block at the emulated time `now`, all or nothing.

        A request is rejected before it changes anything, and the transitions that were due by then are stored. A
        `ConnectError` therefore passes through without a rollback.
        """
        refusal: ConnectError | None = None
        try:
            with self.store.transaction(now) as transaction:
                try:
                    yield transaction
                except ConnectError as error:
                    refusal = error
        except BaseException:
            # The store has rolled back, and the state in memory must match it.
            with self.store.transaction(now) as transaction:
                self.projects.read(transaction)
            raise
        if refusal is not None:
            raise refusal

    # -- The methods

    def answer(self, method: str, request: Request, call: Call) -> dict[str, Any]:
        """Return the response of the named method as protobuf JSON.

        Raises:
            ConnectError: the error response, for example `unimplemented` for a method that is not implemented.
        """
        handler = METHODS.get(method)
        if handler is None or method not in OPERATIONS:
            raise ConnectError(ConnectCode.UNIMPLEMENTED, f"{method} is not written in this emulator yet")
        response = handler(self, request, call)
        if self.faults:
            self._repeat_token(method, request, response)
        return response

    def _repeat_token(self, method: str, request: Request, response: dict[str, Any]) -> None:
        """Return the page token of the request again, if a fault demands it."""
        token: str = request.get("pagination", {}).get("token", "")
        if token and self.faults.repeats_token(method):
            response["pagination"] = {"nextToken": token}

    # -- Prebuilds

    def create_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Start a prebuild.

        ASSUMPTION: prebuilds of one project may run at the same time; a desired phase or version in the request's spec
        is ignored; the default timeout is reported like a given one; each prebuild has an environment of its own.
        """
        now = self.clock.now()
        project_id = self._id(request["projectId"])
        timeout = _duration(str(parse_duration(request["spec"].get("timeout") or _DEFAULT_TIMEOUT)))
        with self.transaction(now) as transaction:
            self._start_due_runs(transaction, now)
            class_id = self.projects.class_for(project_id, request.get("environmentClassId"))
            record = self._new_prebuild(transaction, project_id, class_id, call.caller, now, timeout)
        return {"prebuild": prebuild_view(record, call.base_url)}

    def _new_prebuild(
        self,
        transaction: Transaction,
        project_id: str,
        class_id: str,
        creator: SubjectRecord,
        now: datetime,
        timeout: str,
        *,
        scheduled: bool = False,
    ) -> PrebuildRecord:
        prebuild_id = str(uuid.uuid4())
        outcome = self.projects.outcome_for(transaction, project_id)
        limit = timedelta(microseconds=round(parse_duration(timeout) * 1_000_000))
        record = PrebuildRecord(
            id=prebuild_id,
            organization_id=derived_id("organization", ""),
            project_id=project_id,
            environment_class_id=class_id,
            environment_id=derived_id("environment", prebuild_id),
            creator=creator,
            executor=creator if scheduled else None,
            triggered_by=PrebuildTrigger.SCHEDULED if scheduled else PrebuildTrigger.MANUAL,
            created_at=now,
            updated_at=now,
            timeout=timeout,
            outcome=outcome,
            taken=(Step(now, PrebuildPhase.PENDING),),
            timeline=lifecycle.prebuild_timeline(now, limit, self.plan, outcome),
        )
        transaction.add_prebuild(record)
        return record

    def list_prebuilds(self, request: Request, call: Call) -> dict[str, Any]:
        """List prebuilds, newest first."""
        asked: Request = request.get("filter", {})
        wanted = _filter(
            project_id=self._ids(asked.get("projectIds")),
            phase=asked.get("phases"),
            triggered_by=asked.get("triggeredBy"),
            creator_id=self._ids(asked.get("creatorIds")),
            executor_id=self._ids(asked.get("executorIds")),
        )
        page = _Page(self._signer, "ListPrebuilds", wanted, request.get("pagination", {}))
        now = self.clock.now()
        with self.transaction(now) as transaction:
            self.settle(transaction, now)
            found = transaction.list_prebuilds(wanted, page.before, page.size + 1)
        return page.answer("prebuilds", found, [prebuild_view(record, call.base_url) for _, record in found])

    def get_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Return a prebuild."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
        return {"prebuild": prebuild_view(record, call.base_url)}

    def cancel_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Stop a running prebuild."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
            after = lifecycle.cancel(record, now, self.plan)
            if after is not record:
                transaction.put_prebuild(after)
        return {"prebuild": prebuild_view(after, call.base_url)}

    def delete_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Start the deletion of a prebuild."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
            after = lifecycle.delete(record, now, self.plan)
            if after is not record:
                transaction.put_prebuild(after)
        return {}

    def create_prebuild_logs_token(
        self,
        request: Request,
        call: Call,
    ) -> dict[str, Any]:
        """Issue a token for the log of a prebuild. The token is valid for one hour of emulated time."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
        expires = (now + LOGS_TOKEN_LIFETIME).isoformat()
        return {"accessToken": self._signer.sign("logs", [record.id, expires])}

    # -- Warm pools

    def create_warm_pool(self, request: Request, call: Call) -> dict[str, Any]:
        """Create a warm pool.

        ASSUMPTION: a pool that has a snapshot when it is created is READY from the start.
        """
        now = self.clock.now()
        project_id = self._id(request["projectId"])
        class_id = self._id(request["environmentClassId"])
        low, high = lifecycle.new_pool_bounds(
            request.get("desiredSize"), request.get("minSize"), request.get("maxSize")
        )
        record = WarmPoolRecord(
            id=str(uuid.uuid4()),
            organization_id=derived_id("organization", ""),
            project_id=project_id,
            environment_class_id=class_id,
            runner_id=derived_id("runner", class_id),
            created_at=now,
            updated_at=now,
            min_size=low,
            max_size=high,
        )
        with self.transaction(now) as transaction:
            self.settle(transaction, now)
            self.projects.class_for(project_id, class_id)
            other = transaction.pool_of(project_id, class_id)
            if other is not None:
                state = " and is still draining" if other.timeline else ""
                raise ConnectError(
                    ConnectCode.ALREADY_EXISTS,
                    f"project {project_id} has warm pool {other.id} for environment class {class_id}{state}",
                )
            source = transaction.newest_snapshot(project_id, class_id)
            if source is not None:
                record = lifecycle.new_pool_with_snapshot(record, snapshot_id(source.id))
            transaction.add_pool(record)
        return {"warmPool": warm_pool_view(record)}

    def get_warm_pool(self, request: Request, call: Call) -> dict[str, Any]:
        """Return a warm pool."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self.pool(transaction, request["warmPoolId"], now)
        return {"warmPool": warm_pool_view(record)}

    def list_warm_pools(self, request: Request, call: Call) -> dict[str, Any]:
        """List warm pools, newest first."""
        asked: Request = request.get("filter", {})
        wanted = _filter(
            project_id=self._ids(asked.get("projectIds")),
            environment_class_id=self._ids(asked.get("environmentClassIds")),
        )
        page = _Page(self._signer, "ListWarmPools", wanted, request.get("pagination", {}))
        now = self.clock.now()
        with self.transaction(now) as transaction:
            self.settle(transaction, now)
            found = transaction.list_pools(wanted, page.before, page.size + 1)
        return page.answer("warmPools", found, [warm_pool_view(record) for _, record in found])

    def update_warm_pool(self, request: Request, call: Call) -> dict[str, Any]:
        """Resize a warm pool."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self.pool(transaction, request["warmPoolId"], now)
            after = lifecycle.resize(
                record, request.get("desiredSize"), request.get("minSize"), request.get("maxSize"), now
            )
            if after is not record:
                transaction.put_pool(after)
        return {"warmPool": warm_pool_view(after)}

    def delete_warm_pool(self, request: Request, call: Call) -> dict[str, Any]:
        """Start the deletion of a warm pool."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self.pool(transaction, request["warmPoolId"], now)
            after = lifecycle.delete_pool(record, now, self.plan)
            if after is not record:
                transaction.put_pool(after)
        return {}

    # -- Logs

    def is_logs_token(self, token: str) -> bool:
        """Return whether a token was issued for a log, even if it has expired. Such a token permits nothing else."""
        return self._is_logs_token(token)

    def _signs_logs(self, token: str) -> bool:
        try:
            self._signer.open("logs", token)
        except ValueError:
            return False
        return True

    def authorize_log(self, prebuild_id: str, token: str) -> None:
        """Check that a token permits reading the log of this prebuild now.

        ASSUMPTION: the token is checked when the read begins. A log may be followed after the token has expired.
        ASSUMPTION: a token for the log of one prebuild does not permit reading another log.

        Raises:
            ConnectError: `unauthenticated`, the token is not a logs token or has expired; `permission_denied`, it is
                for the log of another prebuild.
        """
        try:
            opened_id, expires = self._signer.open("logs", token)
        except ValueError:
            raise ConnectError(ConnectCode.UNAUTHENTICATED, "a log takes a token of CreatePrebuildLogsToken") from None
        if self.clock.now() >= datetime.fromisoformat(expires):
            raise ConnectError(ConnectCode.UNAUTHENTICATED, "the logs token has expired")
        if opened_id != self._id(prebuild_id):
            raise ConnectError(ConnectCode.PERMISSION_DENIED, "the logs token is for another prebuild")

    def read_log(self, prebuild_id: str) -> LogState | None:
        """Return the log of a prebuild, or None while its environment does not exist yet.

        Raises:
            ConnectError: `not_found`, the prebuild does not exist.
        """
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, prebuild_id, now)
        following = record.phase in lifecycle.ACTIVE
        if following and not record.has_environment:
            return None
        return LogState(log_lines(record, now), following)

    # -- Looking up

    def _ids(self, values: Sequence[str] | None) -> list[str]:
        """Return ids in the canonical form in which they are stored and compared."""
        return [self._id(value) for value in values or ()]

    def settle(self, transaction: Transaction, now: datetime) -> None:
        """Start the scheduled prebuilds that are due. The due transitions of a record are applied when it is read."""
        self._start_due_runs(transaction, now)

    def _start_due_runs(self, transaction: Transaction, now: datetime) -> None:
        """Start the scheduled prebuilds that are due, each at its scheduled time."""
        for run in self.projects.due_runs(transaction, now):
            executor = SubjectRecord(run.executor.id, Principal[run.executor.principal])
            self._new_prebuild(
                transaction,
                run.project_id,
                run.environment_class_id,
                executor,
                run.due,
                _DEFAULT_TIMEOUT,
                scheduled=True,
            )

    def _prebuild(self, transaction: Transaction, prebuild_id: str, now: datetime) -> PrebuildRecord:
        self.settle(transaction, now)
        record = transaction.prebuild(self._id(prebuild_id))
        if record is None:
            raise ConnectError(ConnectCode.NOT_FOUND, f"there is no prebuild {prebuild_id}")
        return record

    def delete_stranded_pools(self, transaction: Transaction, project_id: str, now: datetime) -> None:
        """Start the deletion of a project's warm pools that no configuration of the project covers any more."""
        for _, pool in transaction.list_pools(Filter({"project_id": [project_id]}), None, -1):
            if not self.projects.keeps(project_id, pool.environment_class_id):
                after = lifecycle.delete_pool(pool, now, self.plan)
                if after is not pool:
                    transaction.put_pool(after)

    def pool(self, transaction: Transaction, pool_id: str, now: datetime) -> WarmPoolRecord:
        """Return the warm pool with this id, after all due transitions.

        Raises:
            ConnectError: `not_found`, the warm pool does not exist.
        """
        self.settle(transaction, now)
        record = transaction.pool(self._id(pool_id))
        if record is None:
            raise ConnectError(ConnectCode.NOT_FOUND, f"there is no warm pool {pool_id}")
        return record


class _Page:
    """One page of a list: its start, and the token of the next page.

    A token contains the last returned sequence. No item is therefore skipped or repeated when other items are added
    or removed in between. ASSUMPTION: a token belongs to its method and filter, whatever the page size.

    Raises:
        ConnectError: `invalid_argument`, the token does not belong to this list.
    """

    def __init__(self, signer: Signer, method: str, wanted: Filter, asked: Request) -> None:
        self.size: int = asked.get("pageSize") or DEFAULT_PAGE_SIZE
        self.before: int | None = None
        self._signer = signer
        # The order of a filter's values and duplicate values make no difference.
        values = sorted((column, sorted(set(allowed))) for column, allowed in wanted.columns.items())
        text = repr((method, values))
        self._list = hashlib.sha256(text.encode()).hexdigest()[:16]
        token: str = asked.get("token", "")
        if token:
            try:
                of_list, self.before = signer.open("page", token)
            except ValueError:
                raise ConnectError(
                    ConnectCode.INVALID_ARGUMENT, "validation error: pagination.token: not a token of this server"
                ) from None
            if of_list != self._list:
                raise ConnectError(
                    ConnectCode.INVALID_ARGUMENT, "validation error: pagination.token: belongs to another filter"
                )

    def answer(self, name: str, found: list[tuple[int, RecordT]], views: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the response. If `found` has one item more than the page holds, there is a next page."""
        response: dict[str, Any] = {}
        if len(found) > self.size:
            token = self._signer.sign("page", [self._list, found[self.size - 1][0]])
            response["pagination"] = {"nextToken": token}
        if found:
            response[name] = views[: self.size]
        return response


def _filter(**columns: Sequence[str] | None) -> Filter:
    """Return a filter with the lists that name at least one value."""
    return Filter({column: values for column, values in columns.items() if values})


def _duration(seconds: str) -> str:
    """Format seconds as protobuf JSON formats a duration: with 0, 3, 6 or 9 decimals."""
    whole, _, fraction = seconds.partition(".")
    fraction = fraction.rstrip("0")
    if not fraction:
        return f"{whole}s"
    return f"{whole}.{fraction.ljust(-(-len(fraction) // 3) * 3, '0')}s"


METHODS: Final[dict[str, Callable[[PrebuildService, Request, Call], dict[str, Any]]]] = {
    "CreatePrebuild": PrebuildService.create_prebuild,
    "ListPrebuilds": PrebuildService.list_prebuilds,
    "GetPrebuild": PrebuildService.get_prebuild,
    "CancelPrebuild": PrebuildService.cancel_prebuild,
    "DeletePrebuild": PrebuildService.delete_prebuild,
    "CreatePrebuildLogsToken": PrebuildService.create_prebuild_logs_token,
    "CreateWarmPool": PrebuildService.create_warm_pool,
    "ListWarmPools": PrebuildService.list_warm_pools,
    "GetWarmPool": PrebuildService.get_warm_pool,
    "UpdateWarmPool": PrebuildService.update_warm_pool,
    "DeleteWarmPool": PrebuildService.delete_warm_pool,
}
"""The methods of the service that this emulator implements."""
