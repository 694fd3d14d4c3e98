"""What the methods of the service do: each takes its validated request and returns its response, both as JSON."""

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
"""A request in its JSON form, which was found to be in order: fields that it does not have are absent or zero."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and under which base URL (without a slash at its end) the emulator can be reached by the caller."""

    caller: SubjectRecord
    base_url: str


@dataclass(frozen=True, slots=True)
class LogState:
    """The log of a prebuild up to now. While `following`, more may come."""

    lines: list[str]
    following: bool


class PrebuildService:
    """The service. Its methods are named like those of the schema, in snake case.

    Args:
        store: where everything is kept.
        clock: the time to live in.
        plan: how long things take; unless given, what the store has, or else the usual.
        strict_projects: whether projects that were not declared do not exist.
        relaxed_ids: whether ids may be other than UUIDs.
        projects: the projects that are declared from the start; what the store has of them counts for more.

    Raises:
        ValueError: the id of a project is no UUID.
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
        """The projects that are declared when everything begins anew."""
        self._first_plan = self._given_plan = plan
        self.take_over()
        now = clock.now()
        with self.transaction(now) as transaction:
            for project in projects:
                if self.projects.get(project.id) is None:
                    self.projects.declare(transaction, project, now)

    def take_over(self) -> None:
        """Begin with what the store has now, whatever was there before."""
        self._signer = Signer(self.store.secret)
        self._is_logs_token = lru_cache(self._signs_logs)
        with self.store.transaction(self.clock.now()) as transaction:
            self.projects.read(transaction)
            stored = transaction.settings(_PLAN).get(_PLAN)
        self._stored_plan = stored if self._given_plan is None else None
        self._plan = self._given_plan

    @property
    def plan(self) -> Plan:
        """How long things take now."""
        if self._plan is None:
            from .declarations import Plan

            self._plan = Plan.model_validate_json(self._stored_plan) if self._stored_plan else self.first_plan
        return self._plan

    @property
    def first_plan(self) -> Plan:
        """How long things take when everything begins anew."""
        if self._first_plan is None:
            from .declarations import Plan

            self._first_plan = Plan()
        return self._first_plan

    def put_plan(self, transaction: Transaction, plan: Plan) -> None:
        """Let what begins from now on take as long as this plan says."""
        transaction.put_setting(_PLAN, _PLAN, plan.model_dump_json())
        self._plan, self._given_plan = plan, None

    @contextmanager
    def transaction(self, now: datetime) -> Generator[Transaction]:
        """Everything that happens within, happens at the emulated time `now`, together, or not at all.

        A call is refused before it changes anything, and what was due by then is kept: a `ConnectError` passes
        through, but undoes nothing.
        """
        refusal: ConnectError | None = None
        try:
            with self.store.transaction(now) as transaction:
                try:
                    yield transaction
                except ConnectError as error:
                    refusal = error
        except BaseException:
            # The store is as it was, and what is at hand of it in memory has to be so, too.
            with self.store.transaction(now) as transaction:
                self.projects.read(transaction)
            raise
        if refusal is not None:
            raise refusal

    # -- The methods

    def answer(self, method: str, request: Request, call: Call) -> dict[str, Any]:
        """The response of the method of that name, as protobuf JSON.

        Raises:
            ConnectError: what the caller is to be told, `unimplemented` for a method that was never written among it.
        """
        handler = METHODS.get(method)
        if handler is None or method not in OPERATIONS:
            raise ConnectError(ConnectCode.UNIMPLEMENTED, f"{method} is not written in this emulator yet")
        response = handler(self, request, call)
        if self.faults:
            self._repeat_token(method, request, response)
        return response

    def _repeat_token(self, method: str, request: Request, response: dict[str, Any]) -> None:
        """Answer with the page token of the request, if a fault asks for that."""
        token: str = request.get("pagination", {}).get("token", "")
        if token and self.faults.repeats_token(method):
            response["pagination"] = {"nextToken": token}

    # -- Prebuilds

    def create_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Start a prebuild.

        ASSUMPTION: prebuilds of one project may run at the same time; a desired phase or version in the request's spec
        is ignored; the default timeout is told like a given one; each prebuild has an environment of its own.
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
        """Look up a prebuild."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
        return {"prebuild": prebuild_view(record, call.base_url)}

    def cancel_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Stop a prebuild that is under way."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
            after = lifecycle.cancel(record, now, self.plan)
            if after is not record:
                transaction.put_prebuild(after)
        return {"prebuild": prebuild_view(after, call.base_url)}

    def delete_prebuild(self, request: Request, call: Call) -> dict[str, Any]:
        """Begin to remove a prebuild."""
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
        """Issue a token for the log of a prebuild. Its hour is one of emulated time."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self._prebuild(transaction, request["prebuildId"], now)
        expires = (now + LOGS_TOKEN_LIFETIME).isoformat()
        return {"accessToken": self._signer.sign("logs", [record.id, expires])}

    # -- Warm pools

    def create_warm_pool(self, request: Request, call: Call) -> dict[str, Any]:
        """Set up a warm pool.

        ASSUMPTION: a pool that finds a snapshot when it is made is READY from the start.
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
        """Look up a warm pool."""
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
        """Begin to take a warm pool down."""
        now = self.clock.now()
        with self.transaction(now) as transaction:
            record = self.pool(transaction, request["warmPoolId"], now)
            after = lifecycle.delete_pool(record, now, self.plan)
            if after is not record:
                transaction.put_pool(after)
        return {}

    # -- Logs

    def is_logs_token(self, token: str) -> bool:
        """Whether a token was issued for a log, be it expired. Such a token opens nothing else."""
        return self._is_logs_token(token)

    def _signs_logs(self, token: str) -> bool:
        try:
            self._signer.open("logs", token)
        except ValueError:
            return False
        return True

    def authorize_log(self, prebuild_id: str, token: str) -> None:
        """Check that a token opens the log of this prebuild now.

        ASSUMPTION: it is looked at when the reading begins, so that a log may be followed beyond the token's hour.
        ASSUMPTION: a token for the log of one prebuild opens no other.

        Raises:
            ConnectError: `unauthenticated`, it is no logs token or has expired; `permission_denied`, it is for the log
                of another prebuild.
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
        """The log of a prebuild, None as long as it has none because its environment does not exist yet.

        Raises:
            ConnectError: `not_found`, there is no such prebuild.
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
        """Ids in canonical form, in which they are kept and compared."""
        return [self._id(value) for value in values or ()]

    def settle(self, transaction: Transaction, now: datetime) -> None:
        """Start the scheduled prebuilds that are due. What is due of a record is done when the record is read."""
        self._start_due_runs(transaction, now)

    def _start_due_runs(self, transaction: Transaction, now: datetime) -> None:
        """Start the scheduled prebuilds that are due, each at the time at which it was."""
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
        """Begin to take down the warm pools of a project that it has no configuration for any more."""
        for _, pool in transaction.list_pools(Filter({"project_id": [project_id]}), None, -1):
            if not self.projects.keeps(project_id, pool.environment_class_id):
                after = lifecycle.delete_pool(pool, now, self.plan)
                if after is not pool:
                    transaction.put_pool(after)

    def pool(self, transaction: Transaction, pool_id: str, now: datetime) -> WarmPoolRecord:
        """The warm pool of that id, once all that is due was done.

        Raises:
            ConnectError: `not_found`, there is none.
        """
        self.settle(transaction, now)
        record = transaction.pool(self._id(pool_id))
        if record is None:
            raise ConnectError(ConnectCode.NOT_FOUND, f"there is no warm pool {pool_id}")
        return record


class _Page:
    """One page of a list: where it begins, and the token of the one after it.

    A token carries the last sequence that was answered, so that no item is skipped or repeated when others are added
    or removed in between. ASSUMPTION: it belongs to its method and filter, whatever the page size.

    Raises:
        ConnectError: `invalid_argument`, the token is not one for this list.
    """

    def __init__(self, signer: Signer, method: str, wanted: Filter, asked: Request) -> None:
        self.size: int = asked.get("pageSize") or DEFAULT_PAGE_SIZE
        self.before: int | None = None
        self._signer = signer
        # The order of a filter's values, and a value named twice, make no difference.
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
        """The response, made of one item more than the page holds if there are so many."""
        response: dict[str, Any] = {}
        if len(found) > self.size:
            token = self._signer.sign("page", [self._list, found[self.size - 1][0]])
            response["pagination"] = {"nextToken": token}
        if found:
            response[name] = views[: self.size]
        return response


def _filter(**columns: Sequence[str] | None) -> Filter:
    """A filter of the lists that name any value."""
    return Filter({column: values for column, values in columns.items() if values})


def _duration(seconds: str) -> str:
    """Seconds as protobuf JSON writes a duration: with 0, 3, 6 or 9 decimals."""
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
