"""The control plane from Python: plain calls with typed answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from .browser_guard import GUARD_HEADER
from .control import (
    Advance,
    ControlError,
    ControlProblem,
    Degrade,
    FaultList,
    MoveTo,
    OutcomeList,
    RequestList,
    Resume,
)
from .declarations import (
    Executor,
    Outcome,
    OutcomeState,
    Plan,
    PlannedOutcome,
    PrebuildConfiguration,
    Project,
    ProjectList,
)
from .faults import Fault, FaultState
from .recording import CONTROL_PATH, RequestRecord
from .state import ClockState

ModelT = TypeVar("ModelT", bound=BaseModel)

_PATIENCE = 60.0


class EmulatorControl:
    """Arranges what happens in an emulator, and tells what did.

    Every method raises a `ControlError` if the emulator refuses, and an `httpx.HTTPError` if it cannot be reached.

    Args:
        base_url: where the emulator is, as `EmulatorServer.url` says it.
        token: the token of the control plane, if it has one.
        http_client: an HTTP client to send with. It stays the caller's: `close` leaves it open.
    """

    def __init__(self, base_url: str, *, token: str | None = None, http_client: httpx.Client | None = None) -> None:
        self._base = base_url.rstrip("/") + CONTROL_PATH
        self._headers = {GUARD_HEADER: "1"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        self._given = http_client is not None
        # Reading the certificates of all authorities takes longer than a request.
        self._http = http_client or httpx.Client(timeout=_PATIENCE, verify=base_url.lower().startswith("https:"))

    def close(self) -> None:
        """Close the connections."""
        if not self._given:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- Projects

    def projects(self) -> list[Project]:
        """The declared projects, by their ids."""
        return list(self._ask(ProjectList, "GET", "/projects").projects)

    def declare_project(
        self,
        project_id: str,
        *,
        environment_class_ids: Iterable[str] = (),
        default_environment_class_id: str | None = None,
        daily_at_hour: int | None = None,
        executor: Executor | None = None,
        outcome: Outcome | None = None,
    ) -> Project:
        """Declare a project that has prebuilds enabled, or change it: what is left out has its default.

        Args:
            project_id: the id of the project.
            environment_class_ids: its prebuild classes; without any, every class will do.
            default_environment_class_id: the class of prebuilds that name none.
            daily_at_hour: the hour, in UTC, at which prebuilds start every day.
            executor: in whose name those run.
            outcome: what comes of each of its prebuilds.
        """
        configuration = PrebuildConfiguration(
            environment_class_ids=tuple(environment_class_ids),
            default_environment_class_id=default_environment_class_id,
            daily_at_hour=daily_at_hour,
            executor=executor,
        )
        return self._put_project(Project(id=project_id, prebuilds=configuration, outcome=outcome))

    def disable_prebuilds(self, project_id: str) -> Project:
        """Take the prebuild configuration of a project away, declared or not: its warm pools are deleted."""
        return self._put_project(Project(id=project_id, prebuilds=None))

    def withdraw_project(self, project_id: str) -> None:
        """Forget a declared project, and delete its warm pools."""
        self._send("DELETE", f"/projects/{quote(project_id, safe='')}")

    def _put_project(self, project: Project) -> Project:
        return self._ask(Project, "PUT", f"/projects/{quote(project.id, safe='')}", project)

    # -- Outcomes

    def plan_outcome(self, outcome: Outcome, *, project_id: str | None = None, times: int = 1) -> OutcomeState:
        """Plan what comes of the next prebuilds: of so many, of one project or of any."""
        planned = PlannedOutcome(outcome=outcome, project_id=project_id, times=times)
        return self._ask(OutcomeState, "POST", "/outcomes", planned)

    def outcomes(self) -> list[OutcomeState]:
        """The planned outcomes that wait for prebuilds, in the order in which they count."""
        return list(self._ask(OutcomeList, "GET", "/outcomes").outcomes)

    def forget_outcomes(self) -> None:
        """Forget the planned outcomes; those of declared projects stay."""
        self._send("DELETE", "/outcomes")

    def plan(self) -> Plan:
        """How long things take."""
        return self._ask(Plan, "GET", "/plan")

    def put_plan(self, plan: Plan) -> None:
        """Let what begins from now on take as long as this plan says."""
        self._send("PUT", "/plan", plan)

    def degrade_warm_pool(self, warm_pool_id: str, message: str) -> None:
        """Let a warm pool be DEGRADED, for the reason that `message` tells, until it recovers."""
        self._send("POST", f"/warm-pools/{quote(warm_pool_id, safe='')}/degrade", Degrade(message=message))

    def recover_warm_pool(self, warm_pool_id: str) -> None:
        """Let a warm pool that is DEGRADED be READY again, or PENDING if it has no snapshot."""
        self._send("POST", f"/warm-pools/{quote(warm_pool_id, safe='')}/recover")

    # -- Faults

    def plan_fault(self, fault: Fault) -> FaultState:
        """Let calls that are still to come meet a fault."""
        return self._ask(FaultState, "POST", "/faults", fault)

    def faults(self) -> list[FaultState]:
        """The planned faults, those that are over included, and what became of each."""
        return list(self._ask(FaultList, "GET", "/faults").faults)

    def fault(self, fault_id: int) -> FaultState:
        """A planned fault, and what became of it."""
        return self._ask(FaultState, "GET", f"/faults/{fault_id}")

    def remove_fault(self, fault_id: int) -> None:
        """Forget a fault."""
        self._send("DELETE", f"/faults/{fault_id}")

    def remove_faults(self) -> None:
        """Forget all faults."""
        self._send("DELETE", "/faults")

    # -- Time

    def clock(self) -> ClockState:
        """What time it is, and how it passes."""
        return self._ask(ClockState, "GET", "/clock")

    def advance(self, seconds: float) -> ClockState:
        """Move the time on by so many emulated seconds, whether it is frozen or not."""
        return self._ask(ClockState, "POST", "/clock/advance", Advance(seconds=seconds))

    def move_to(self, now: datetime) -> ClockState:
        """Move the time on to a moment, whether it is frozen or not."""
        return self._ask(ClockState, "POST", "/clock/move", MoveTo(now=now))

    def freeze(self) -> ClockState:
        """Let time stand still until it is moved."""
        return self._ask(ClockState, "POST", "/clock/freeze")

    def resume(self, speed: float | None = None) -> ClockState:
        """Let time run, at the latest speed unless one is given (emulated seconds in a real one)."""
        return self._ask(ClockState, "POST", "/clock/resume", Resume(speed=speed))

    # -- Everything

    def reset(self) -> None:
        """Begin anew: no prebuilds, no warm pools, and projects, outcomes, faults and time as at the start."""
        self._send("POST", "/reset")

    def dump_state(self) -> dict[str, Any]:
        """The whole state as a JSON object for a later `load_state`; faults and recorded requests are no part of it."""
        state: dict[str, Any] = self._send("GET", "/state").json()
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state that was dumped, in place of the present one, whole or not at all."""
        self._send("PUT", "/state", dict(state))

    def requests(self, limit: int = 100) -> list[RequestRecord]:
        """The latest requests to the service, in the order in which they were done with."""
        return list(self._ask(RequestList, "GET", f"/requests?limit={limit}").requests)

    def forget_requests(self) -> None:
        """Forget the recorded requests."""
        self._send("DELETE", "/requests")

    # -- How it is sent

    def _ask(self, kind: type[ModelT], http_method: str, path: str, body: BaseModel | None = None) -> ModelT:
        return kind.model_validate_json(self._send(http_method, path, body).content)

    def _send(self, http_method: str, path: str, body: BaseModel | dict[str, Any] | None = None) -> httpx.Response:
        content = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
        response = self._http.request(http_method, self._base + path, json=content, headers=self._headers)
        if response.is_success:
            return response
        try:
            problem = ControlProblem.model_validate_json(response.content)
        except ValueError:
            raise ControlError(
                response.status_code,
                f"{http_method} {self._base}{path} was answered with {response.status_code}: "
                "is this an emulator, with its control plane on?",
            ) from None
        raise ControlError(response.status_code, problem.message, problem.problems)
