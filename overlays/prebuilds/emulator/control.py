"""The control plane: JSON over HTTP below `/_emulator`, for tests to configure and inspect the emulator.

`ROUTES` lists all operations. The HTTP interface and its OpenAPI document are both derived from it.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from . import lifecycle, state
from .clock import FASTEST
from .declarations import ControlModel, OutcomeState, Plan, PlannedOutcome, Project, ProjectList
from .errors import ConnectError
from .faults import FAULT, FaultState
from .recording import CONTROL_PATH, MOST_RECORDS, Recorder, RequestRecord
from .service import PrebuildService
from .state import ClockState, State, StateError

BODY_LIMIT: Final = 256 * 1024 * 1024
"""The maximum size of a body in bytes; only a dumped state comes near it."""

_MOST_NUMBER = 2**53 - 1

_logger = logging.getLogger("prebuilds.emulator")


class Problem(ControlModel):
    """An error in a request."""

    path: str
    """The path in the body: names and positions, separated by dots; empty for the whole body."""

    message: str
    """The reason."""


class ControlProblem(ControlModel):
    """The error response of the control plane. The request has changed nothing."""

    message: str
    """A summary in one line."""

    problems: tuple[Problem, ...] = ()
    """All errors in the body."""


class Nothing(ControlModel):
    """An empty response."""


class DeclareProject(Project):
    """A project to declare; its id is in the path."""

    id: str = ""
    """Optional; if given, it must equal the id in the path."""


class OutcomeList(ControlModel):
    """All planned outcomes that are not used up."""

    outcomes: tuple[OutcomeState, ...]
    """The outcomes, in the order in which they apply."""


class FaultList(ControlModel):
    """All planned faults, including those that are used up."""

    faults: tuple[FaultState, ...]
    """The faults, in the order in which they were planned."""


class Advance(ControlModel):
    """How far to advance the clock."""

    seconds: Annotated[float, Field(ge=0)]
    """Emulated seconds."""


class MoveTo(ControlModel):
    """The time to which to advance the clock."""

    now: AwareDatetime
    """The new emulated time, not before the current one."""


class Resume(ControlModel):
    """How the clock is to run."""

    speed: Annotated[float, Field(gt=0, le=FASTEST)] | None = None
    """How many emulated seconds pass per real second; by default the previous speed."""


class Degrade(ControlModel):
    """The failure of a warm pool."""

    message: Annotated[str, Field(min_length=1, max_length=10_000)]
    """The failure message of its status."""


class RequestList(ControlModel):
    """The latest requests to the service."""

    requests: tuple[RequestRecord, ...]
    """The requests, in the order in which they completed."""


class ControlError(Exception):
    """A rejected request of the control plane, with its HTTP status and all errors in the request."""

    def __init__(self, status: int, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems


def _unknown(what: str, wanted: object) -> ControlError:
    return ControlError(HTTPStatus.NOT_FOUND, f"there is no {what} {wanted}")


class Control:
    """The operations of the control plane, one method each."""

    def __init__(self, service: PrebuildService, recorder: Recorder) -> None:
        self._service = service
        self._recorder = recorder

    # -- Projects

    def list_projects(self) -> ProjectList:
        """List the declared projects."""
        return ProjectList(projects=tuple(self._service.projects.all()))

    def get_project(self, project_id: str) -> Project:
        """Return a declared project."""
        project = self._service.projects.get(project_id)
        if project is None:
            raise _unknown("declared project", project_id)
        return project

    def declare_project(self, project_id: str, project: DeclareProject) -> Project:
        """Declare or change a project. Fields that are left out get their defaults.

        Warm pools that the project has no configuration for are deleted.
        """
        projects = self._service.projects
        if project.id and projects.canonical(project.id) != projects.canonical(project_id):
            problem = Problem(path="id", message=f"differs from that in the path, {project_id}")
            raise ControlError(HTTPStatus.BAD_REQUEST, "the id is not that of the path", (problem,))
        now = self._service.clock.now()
        with self._service.transaction(now) as transaction:
            self._service.settle(transaction, now)
            asked = Project(id=project_id, prebuilds=project.prebuilds, outcome=project.outcome)
            declared = projects.declare(transaction, asked, now)
            self._service.delete_stranded_pools(transaction, declared.id, now)
        return declared

    def withdraw_project(self, project_id: str) -> Nothing:
        """Remove a declared project, and delete its warm pools."""
        now = self._service.clock.now()
        with self._service.transaction(now) as transaction:
            self._service.settle(transaction, now)
            project = self._service.projects.withdraw(transaction, project_id)
            if project is not None:
                self._service.delete_stranded_pools(transaction, project.id, now)
        if project is None:
            raise _unknown("declared project", project_id)
        return Nothing()

    # -- Outcomes

    def list_outcomes(self) -> OutcomeList:
        """List the planned outcomes that are not used up."""
        return OutcomeList(outcomes=tuple(self._service.projects.outcomes()))

    def plan_outcome(self, planned: PlannedOutcome) -> OutcomeState:
        """Plan the outcome of the next prebuilds."""
        with self._service.transaction(self._service.clock.now()) as transaction:
            return self._service.projects.plan(transaction, planned)

    def forget_outcomes(self) -> Nothing:
        """Remove the planned outcomes. The outcomes of declared projects stay."""
        with self._service.transaction(self._service.clock.now()) as transaction:
            self._service.projects.forget_outcomes(transaction)
        return Nothing()

    def get_plan(self) -> Plan:
        """Return the durations."""
        return self._service.plan

    def put_plan(self, plan: Plan) -> Plan:
        """Set the durations of everything that begins from now on. Fields that are left out get their defaults."""
        with self._service.transaction(self._service.clock.now()) as transaction:
            self._service.put_plan(transaction, plan)
        return plan

    def degrade_warm_pool(self, warm_pool_id: str, trouble: Degrade) -> Nothing:
        """Make a warm pool DEGRADED until it recovers."""
        now = self._service.clock.now()
        with self._service.transaction(now) as transaction:
            pool = self._service.pool(transaction, warm_pool_id, now)
            transaction.put_pool(lifecycle.degrade(pool, trouble.message, now))
        return Nothing()

    def recover_warm_pool(self, warm_pool_id: str) -> Nothing:
        """Make a DEGRADED warm pool READY again, or PENDING if it has no snapshot."""
        now = self._service.clock.now()
        with self._service.transaction(now) as transaction:
            pool = self._service.pool(transaction, warm_pool_id, now)
            transaction.put_pool(lifecycle.recover(pool, now))
        return Nothing()

    # -- Faults

    def list_faults(self) -> FaultList:
        """List the planned faults with their current state."""
        return FaultList(faults=tuple(self._service.faults.all()))

    def plan_fault(self, fault: Any) -> FaultState:
        """Plan a fault for future requests."""
        return self._service.faults.plan(fault)

    def get_fault(self, fault_id: int) -> FaultState:
        """Return a planned fault with its current state."""
        fault = self._service.faults.get(fault_id)
        if fault is None:
            raise _unknown("fault", fault_id)
        return fault

    def remove_fault(self, fault_id: int) -> Nothing:
        """Remove a fault."""
        if not self._service.faults.remove(fault_id):
            raise _unknown("fault", fault_id)
        return Nothing()

    def remove_faults(self) -> Nothing:
        """Remove all faults."""
        self._service.faults.clear()
        return Nothing()

    # -- Time

    def get_clock(self) -> ClockState:
        """Return the emulated time and its speed."""
        clock = self._service.clock
        return ClockState(now=clock.now(), speed=clock.speed, frozen=clock.frozen)

    def advance_clock(self, by: Advance) -> ClockState:
        """Advance the clock, whether it is frozen or not."""
        self._service.clock.advance(by.seconds)
        return self.get_clock()

    def move_clock(self, to: MoveTo) -> ClockState:
        """Advance the clock to a given time, whether it is frozen or not."""
        self._service.clock.move_to(to.now)
        return self.get_clock()

    def freeze_clock(self) -> ClockState:
        """Freeze the clock until it is advanced or resumed."""
        self._service.clock.freeze()
        return self.get_clock()

    def resume_clock(self, how: Resume) -> ClockState:
        """Resume the clock."""
        self._service.clock.resume(how.speed)
        return self.get_clock()

    # -- Everything

    def reset(self) -> Nothing:
        """Reset the emulator: no prebuilds, no warm pools; projects, outcomes, faults and time as at the start."""
        state.reset(self._service)
        self._recorder.clear()
        return Nothing()

    def dump_state(self) -> State:
        """Return the whole state, for a later load."""
        return state.dump(self._service)

    def load_state(self, wanted: State) -> Nothing:
        """Replace the current state by a dumped state, all or nothing."""
        state.load(self._service, wanted)
        return Nothing()

    def list_requests(self, limit: int) -> RequestList:
        """List the latest requests to the service, without tokens and bodies."""
        return RequestList(requests=tuple(self._recorder.records(limit)))

    def forget_requests(self) -> Nothing:
        """Remove the recorded requests."""
        self._recorder.clear()
        return Nothing()


@dataclass(frozen=True, slots=True)
class Parameter:
    """An integer or string parameter in the path or the query."""

    place: Literal["path", "query"]
    schema: Mapping[str, Any]
    description: str
    default: int | None = None


_NUMBER: Final = {"type": "integer", "minimum": 1, "maximum": _MOST_NUMBER}

PARAMETERS: Final = {
    "project_id": Parameter("path", {"type": "string", "minLength": 1, "maxLength": 255}, "The id of the project."),
    "warm_pool_id": Parameter("path", {"type": "string", "minLength": 1}, "The id of the warm pool."),
    "fault_id": Parameter("path", _NUMBER, "The id of the fault."),
    "limit": Parameter(
        "query",
        {"type": "integer", "minimum": 1, "maximum": MOST_RECORDS, "default": 100},
        "How many requests to list at most, the latest ones.",
        100,
    ),
}
"""The parameters of routes by name."""


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """An operation: its path, its function, and the types of its bodies. Without a body type, no body is read."""

    http_method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    operation: Callable[..., Any]
    response: TypeAdapter[Any]
    body: TypeAdapter[Any] | None = None
    parameters: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.operation.__name__


_NOTHING: Final = TypeAdapter(Nothing)
_CLOCK: Final = TypeAdapter(ClockState)
_PROJECT: Final = TypeAdapter(Project)
_PLAN: Final = TypeAdapter(Plan)
_FAULT_STATE: Final = TypeAdapter(FaultState)
_STATE: Final = TypeAdapter(State)
_ID: Final = ("project_id",)

ROUTES: Final = (
    ControlRoute("GET", "/projects", Control.list_projects, TypeAdapter(ProjectList)),
    ControlRoute("GET", "/projects/{project_id}", Control.get_project, _PROJECT, parameters=_ID),
    ControlRoute(
        "PUT", "/projects/{project_id}", Control.declare_project, _PROJECT, TypeAdapter(DeclareProject), parameters=_ID
    ),
    ControlRoute("DELETE", "/projects/{project_id}", Control.withdraw_project, _NOTHING, parameters=_ID),
    ControlRoute("GET", "/outcomes", Control.list_outcomes, TypeAdapter(OutcomeList)),
    ControlRoute("POST", "/outcomes", Control.plan_outcome, TypeAdapter(OutcomeState), TypeAdapter(PlannedOutcome)),
    ControlRoute("DELETE", "/outcomes", Control.forget_outcomes, _NOTHING),
    ControlRoute("GET", "/plan", Control.get_plan, _PLAN),
    ControlRoute("PUT", "/plan", Control.put_plan, _PLAN, _PLAN),
    ControlRoute(
        "POST",
        "/warm-pools/{warm_pool_id}/degrade",
        Control.degrade_warm_pool,
        _NOTHING,
        TypeAdapter(Degrade),
        parameters=("warm_pool_id",),
    ),
    ControlRoute(
        "POST",
        "/warm-pools/{warm_pool_id}/recover",
        Control.recover_warm_pool,
        _NOTHING,
        parameters=("warm_pool_id",),
    ),
    ControlRoute("GET", "/faults", Control.list_faults, TypeAdapter(FaultList)),
    ControlRoute("POST", "/faults", Control.plan_fault, _FAULT_STATE, FAULT),
    ControlRoute("DELETE", "/faults", Control.remove_faults, _NOTHING),
    ControlRoute("GET", "/faults/{fault_id}", Control.get_fault, _FAULT_STATE, parameters=("fault_id",)),
    ControlRoute("DELETE", "/faults/{fault_id}", Control.remove_fault, _NOTHING, parameters=("fault_id",)),
    ControlRoute("GET", "/clock", Control.get_clock, _CLOCK),
    ControlRoute("POST", "/clock/advance", Control.advance_clock, _CLOCK, TypeAdapter(Advance)),
    ControlRoute("POST", "/clock/move", Control.move_clock, _CLOCK, TypeAdapter(MoveTo)),
    ControlRoute("POST", "/clock/freeze", Control.freeze_clock, _CLOCK),
    ControlRoute("POST", "/clock/resume", Control.resume_clock, _CLOCK, TypeAdapter(Resume)),
    ControlRoute("POST", "/reset", Control.reset, _NOTHING),
    ControlRoute("GET", "/state", Control.dump_state, _STATE),
    ControlRoute("PUT", "/state", Control.load_state, _NOTHING, _STATE),
    ControlRoute("GET", "/requests", Control.list_requests, TypeAdapter(RequestList), parameters=("limit",)),
    ControlRoute("DELETE", "/requests", Control.forget_requests, _NOTHING),
)
"""All operations of the control plane."""


class ControlEndpoint:
    """The ASGI application of the control plane.

    Args:
        control: the operations.
        token: the bearer token that clients need; None for no token.
    """

    def __init__(self, control: Control, token: str | None = None) -> None:
        self._control = control
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except ControlError as error:
            response = refusal(error)
        except Exception:
            _logger.exception("%s %s failed", request.method, request.scope["path"])
            problem = ControlProblem(message="the emulator failed, see its log")
            response = Response(problem.model_dump_json(), 500, media_type="application/json")
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        authorize(request, self._token)
        path = request.scope["path"].removeprefix(CONTROL_PATH)
        if path == "/openapi.json":
            return Response(json.dumps(openapi(protected=self._token is not None)), media_type="application/json")
        found = [(route, values) for route in ROUTES if (values := _match(route.path, path)) is not None]
        if not found:
            raise ControlError(
                HTTPStatus.NOT_FOUND, f"the control plane has no {path}: see {CONTROL_PATH}/openapi.json"
            )
        for route, values in found:
            if route.http_method == request.method:
                return await self._perform(route, values, request)
        allowed = ", ".join(route.http_method for route, _ in found)
        problem = ControlProblem(message=f"this takes {allowed} only")
        return Response(problem.model_dump_json(), 405, {"Allow": allowed}, "application/json")

    async def _perform(self, route: ControlRoute, values: dict[str, str], request: Request) -> Response:
        arguments = [_argument(name, values, request) for name in route.parameters]
        unknown = set(request.query_params) - set(route.parameters)
        if unknown:
            raise ControlError(HTTPStatus.BAD_REQUEST, f"there is no parameter {', '.join(sorted(unknown))}")
        body = await _body(request)
        try:
            if route.body is not None:
                arguments.append(_parsed(route.body, body, request))
            elif body.strip() not in (b"", b"{}"):
                raise ControlError(HTTPStatus.BAD_REQUEST, f"{route.name} takes no body, or an empty object")
            answer = route.operation(self._control, *arguments)
        except ConnectError as error:
            raise ControlError(error.code.http_status, error.message) from None
        except ValueError as error:
            raise ControlError(HTTPStatus.BAD_REQUEST, str(error)) from None
        return Response(route.response.dump_json(answer), media_type="application/json")


def refusal(error: ControlError) -> Response:
    """Return the response to a rejected request."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else None
    problem = ControlProblem(message=error.message, problems=error.problems)
    return Response(problem.model_dump_json(), error.status, headers, "application/json")


def authorize(request: Request, token: str | None) -> None:
    """Check that a request has the token of the control plane, if a token is required.

    Raises:
        ControlError: the token is missing or wrong.
    """
    if token is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise ControlError(
            HTTPStatus.UNAUTHORIZED, "the control plane needs its token: Authorization: Bearer <control token>"
        )


def openapi(*, protected: bool = False) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the control plane.

    Args:
        protected: whether a token is required.
    """
    adapters = {("Problem", "serialization"): TypeAdapter(ControlProblem)}
    for route in ROUTES:
        adapters[route.name, "serialization"] = route.response
        if route.body is not None:
            adapters[route.name, "validation"] = route.body
    schemas, definitions = TypeAdapter.json_schemas(
        [(name, mode, adapter) for (name, mode), adapter in adapters.items()],  # type: ignore[misc]  # the modes are literals
        ref_template="#/components/schemas/{model}",
    )
    problem = {
        "description": "Refused; nothing was changed.",
        "content": {"application/json": {"schema": schemas["Problem", "serialization"]}},
    }
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        summary, _, more = (route.operation.__doc__ or "").partition("\n")
        operation: dict[str, Any] = {
            "operationId": route.name,
            "summary": summary,
            "responses": {
                "200": {
                    "description": "Done.",
                    "content": {"application/json": {"schema": schemas[route.name, "serialization"]}},
                },
                "default": problem,
            },
        }
        if more.strip():
            operation["description"] = " ".join(more.split())
        if route.parameters:
            operation["parameters"] = [_parameter(name) for name in route.parameters]
        if route.body is not None:
            content = {"application/json": {"schema": schemas[route.name, "validation"]}}
            operation["requestBody"] = {"required": True, "content": content}
        paths.setdefault(CONTROL_PATH + route.path, {})[route.http_method.lower()] = operation
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Control plane of the PrebuildService emulator",
            "version": "1",
            "description": "Arranges what happens in the emulator, and tells what did. Times are emulated ones.",
        },
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }
    if protected:
        document["components"]["securitySchemes"] = {"controlToken": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"controlToken": []}]
    return document


def _parameter(name: str) -> dict[str, Any]:
    parameter = PARAMETERS[name]
    return {
        "name": name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _match(pattern: str, path: str) -> dict[str, str] | None:
    """Return the parameters of a path, or None if it does not match. A last parameter may contain slashes."""
    parts = pattern.split("/")
    given = path.split("/", len(parts) - 1)
    if len(given) != len(parts):
        return None
    values: dict[str, str] = {}
    for part, text in zip(parts, given, strict=True):
        if part.startswith("{"):
            if not text:
                return None
            values[part[1:-1]] = text
        elif part != text:
            return None
    return values


def _argument(name: str, values: dict[str, str], request: Request) -> Any:
    parameter = PARAMETERS[name]
    text = values[name] if parameter.place == "path" else request.query_params.get(name)
    if text is None:
        return parameter.default
    schema = parameter.schema
    if schema["type"] == "string":
        if len(text) > schema.get("maxLength", len(text)):
            raise ControlError(HTTPStatus.BAD_REQUEST, f"{name} has more than {schema['maxLength']} characters")
        return text
    low, high = schema["minimum"], schema["maximum"]
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
        raise ControlError(HTTPStatus.BAD_REQUEST, f"{name} has to be a whole number from {low} to {high}")
    return int(text)


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise ControlError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {BODY_LIMIT} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _parsed(adapter: TypeAdapter[Any], body: bytes, request: Request) -> Any:
    """Return the parsed body.

    Raises:
        ControlError: the body is not JSON or is invalid. The error lists all problems.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        # A page in a browser cannot send this media type to another host without a preflight request.
        raise ControlError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json")
    if adapter is _STATE:
        try:
            return state.parse(body)
        except StateError as error:
            raise ControlError(HTTPStatus.BAD_REQUEST, str(error)) from None
    try:
        return adapter.validate_json(body, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    problems = tuple(Problem(path=".".join(map(str, item["loc"])), message=item["msg"]) for item in found)
    text = "; ".join(f"{item.path}: {item.message}" if item.path else item.message for item in problems)
    raise ControlError(HTTPStatus.BAD_REQUEST, text, problems)
