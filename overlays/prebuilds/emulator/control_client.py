"""A Python client of the control plane: plain method calls with typed results."""

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
    """A client that configures and inspects an emulator.

    Every method raises a `ControlError` for an error response, and an `httpx.HTTPError` if the emulator is unreachable.

    Args:
        base_url: the emulator's base URL, as in `EmulatorServer.url`.
        token: the token of the control plane, if it requires one.
        http_client: the HTTP client to use. The caller owns it: `close` leaves it open.
    """

    def __init__(self, base_url: str, *, token: str | None = None, http_client: httpx.Client | None = None) -> None:
        self._base = base_url.rstrip("/") + CONTROL_PATH
        self._headers = {GUARD_HEADER: "1"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        self._given = http_client is not None
        # Loading the CA certificates takes longer than a request.
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
        """Return the declared projects, sorted by id."""
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
        """Declare or change a project with prebuilds enabled. Arguments that are left out get their defaults.

        Args:
            project_id: the id of the project.
            environment_class_ids: its prebuild classes; without any, every class is accepted.
            default_environment_class_id: the class of prebuilds that name none.
            daily_at_hour: the hour, in UTC, at which prebuilds start every day.
            executor: the subject that executes the scheduled prebuilds.
            outcome: the outcome of each of its prebuilds.
        """
        configuration = PrebuildConfiguration(
            environment_class_ids=tuple(environment_class_ids),
            default_environment_class_id=default_environment_class_id,
            daily_at_hour=daily_at_hour,
            executor=executor,
        )
        return self._put_project(Project(id=project_id, prebuilds=configuration, outcome=outcome))

    def disable_prebuilds(self, project_id: str) -> Project:
        """Remove the prebuild configuration of a project, declared or not. Its warm pools are deleted."""
        return self._put_project(Project(id=project_id, prebuilds=None))

    def withdraw_project(self, project_id: str) -> None:
        """Remove a declared project, and delete its warm pools."""
        self._send("DELETE", f"/projects/{quote(project_id, safe='')}")

    def _put_project(self, project: Project) -> Project:
        return self._ask(Project, "PUT", f"/projects/{quote(project.id, safe='')}", project)

    # -- Outcomes

    def plan_outcome(self, outcome: Outcome, *, project_id: str | None = None, times: int = 1) -> OutcomeState:
        """Plan the outcome of the next `times` prebuilds, of one project or of any."""
        planned = PlannedOutcome(outcome=outcome, project_id=project_id, times=times)
        return self._ask(OutcomeState, "POST", "/outcomes", planned)

    def outcomes(self) -> list[OutcomeState]:
        """Return the planned outcomes that are not used up, in the order in which they apply."""
        return list(self._ask(OutcomeList, "GET", "/outcomes").outcomes)

    def forget_outcomes(self) -> None:
        """Remove the planned outcomes. The outcomes of declared projects stay."""
        self._send("DELETE", "/outcomes")

    def plan(self) -> Plan:
        """Return the durations."""
        return self._ask(Plan, "GET", "/plan")

    def put_plan(self, plan: Plan) -> None:
        """Use the durations of this plan for everything that begins from now on."""
        self._send("PUT", "/plan", plan)

    def degrade_warm_pool(self, warm_pool_id: str, message: str) -> None:
        """Make a warm pool DEGRADED with the failure `message` until it recovers."""
        self._send("POST", f"/warm-pools/{quote(warm_pool_id, safe='')}/degrade", Degrade(message=message))

    def recover_warm_pool(self, warm_pool_id: str) -> None:
        """Make a DEGRADED warm pool READY again, or PENDING if it has no snapshot."""
        self._send("POST", f"/warm-pools/{quote(warm_pool_id, safe='')}/recover")

    # -- Faults

    def plan_fault(self, fault: Fault) -> FaultState:
        """Plan a fault for future requests."""
        return self._ask(FaultState, "POST", "/faults", fault)

    def faults(self) -> list[FaultState]:
        """Return the planned faults with their current state, including those that are used up."""
        return list(self._ask(FaultList, "GET", "/faults").faults)

    def fault(self, fault_id: int) -> FaultState:
        """Return a planned fault with its current state."""
        return self._ask(FaultState, "GET", f"/faults/{fault_id}")

    def remove_fault(self, fault_id: int) -> None:
        """Remove a fault."""
        self._send("DELETE", f"/faults/{fault_id}")

    def remove_faults(self) -> None:
        """Remove all faults."""
        self._send("DELETE", "/faults")

    # -- Time

    def clock(self) -> ClockState:
        """Return the emulated time and its speed."""
        return self._ask(ClockState, "GET", "/clock")

    def advance(self, seconds: float) -> ClockState:
        """Advance the clock by this many emulated seconds, whether it is frozen or not."""
        return self._ask(ClockState, "POST", "/clock/advance", Advance(seconds=seconds))

    def move_to(self, now: datetime) -> ClockState:
        """Advance the clock to a given time, whether it is frozen or not."""
        return self._ask(ClockState, "POST", "/clock/move", MoveTo(now=now))

    def freeze(self) -> ClockState:
        """Freeze the clock until it is advanced or resumed."""
        return self._ask(ClockState, "POST", "/clock/freeze")

    def resume(self, speed: float | None = None) -> ClockState:
        """Resume the clock. `speed` is in emulated seconds per real second; by default it is the previous speed."""
        return self._ask(ClockState, "POST", "/clock/resume", Resume(speed=speed))

    # -- Everything

    def reset(self) -> None:
        """Reset the emulator: no prebuilds, no warm pools; projects, outcomes, faults and time as at the start."""
        self._send("POST", "/reset")

    def dump_state(self) -> dict[str, Any]:
        """Return the whole state as a JSON object for `load_state`, without faults and recorded requests."""
        state: dict[str, Any] = self._send("GET", "/state").json()
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Replace the current state by a dumped state, all or nothing."""
        self._send("PUT", "/state", dict(state))

    def requests(self, limit: int = 100) -> list[RequestRecord]:
        """Return the latest requests to the service, in the order in which they completed."""
        return list(self._ask(RequestList, "GET", f"/requests?limit={limit}").requests)

    def forget_requests(self) -> None:
        """Remove the recorded requests."""
        self._send("DELETE", "/requests")

    # -- Requests

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
