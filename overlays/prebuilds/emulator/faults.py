"""Faults: what a test can want to go wrong between a client and the service. `injection` lets calls meet them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator

from prebuild_wire import OPERATIONS
from prebuild_wire.enums import ConnectCode

from .declarations import ControlModel
from .recording import LOGS

MOST_LATENCY: Final = 600.0
"""The longest time that a fault can take, in real seconds."""

When = Literal["before", "after"]
RealSeconds = Annotated[float, Field(gt=0, le=MOST_LATENCY)]
Status = Annotated[int, Field(ge=200, le=599)]


_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[ -~]{0,1000}$")]


def _require_kind(schema: dict[str, Any]) -> None:
    """In JSON the kind is what tells the faults apart; in Python the class does."""
    schema["required"] = ["kind", *(name for name in schema.get("required", []) if name != "kind")]


class _Fault(ControlModel):
    """What all faults have in common. A call meets one fault at most, the one that was planned first."""

    model_config = ConfigDict(json_schema_extra=_require_kind)

    method: str | None = None
    """The method whose calls are meant, `GetPrebuild` for instance, or `logs` for reading a log; null for all."""

    times: Annotated[int, Field(ge=1, le=1_000_000)] | None = 1
    """How many calls it meets; null for all until it is removed."""

    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """How many calls that it could meet are let through first."""

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str | None) -> str | None:
        if method is not None and method != LOGS and method not in OPERATIONS:
            raise ValueError(f"there is no method {method!r}: it is one of {', '.join((*OPERATIONS, LOGS))}")
        return method


class StatusFault(_Fault):
    """An answer of plain HTTP, as a proxy gives it."""

    kind: Literal["status"] = "status"
    """An HTTP status with a plain body."""

    status: Status
    """The HTTP status."""

    body: Annotated[str, Field(max_length=100_000)] = ""
    """The body, as `text/plain`."""

    headers: dict[_HeaderName, _HeaderValue] = Field(default_factory=dict[str, str])
    """More headers of the answer."""

    when: When = "before"
    """Whether the call does its work before it is answered so."""


class HtmlFault(_Fault):
    """A page of HTML, as a proxy shows it to people."""

    kind: Literal["html"] = "html"
    """A page of HTML."""

    status: Status = 502
    """The HTTP status."""

    when: When = "before"
    """Whether the call does its work before it is answered so."""


class ErrorFault(_Fault):
    """An error of the Connect protocol."""

    kind: Literal["error"] = "error"
    """An error of the Connect protocol."""

    code: ConnectCode
    """The code of the error. The HTTP status goes with it."""

    message: Annotated[str, Field(max_length=10_000)] = "planned fault"
    """The message of the error."""

    retry_after: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """The seconds after which it asks to be called again; null for no hint."""

    hint: Literal["retry_info", "rate_limit", "retry_after"] = "retry_info"
    """How it says so: in a detail `google.rpc.RetryInfo`, in the header `RateLimit-RetryAfter` or in `Retry-After`."""

    when: When = "before"
    """Whether the call does its work before it is answered so."""

    @model_validator(mode="after")
    def _check_hint(self) -> Self:
        if self.retry_after is not None and self.hint != "retry_info" and self.retry_after % 1:
            raise ValueError("retry_after: a header takes whole seconds; the hint retry_info takes fractions")
        return self


class LatencyFault(_Fault):
    """An answer that comes late, and is otherwise as usual."""

    kind: Literal["latency"] = "latency"
    """A pause before the work."""

    seconds: RealSeconds
    """How long the pause is, in real time (in process: in the time of the emulator)."""


class DropFault(_Fault):
    """A connection that breaks off without an answer."""

    kind: Literal["drop"] = "drop"
    """The connection breaks off."""

    when: When = "before"
    """Whether the call does its work before the connection breaks off."""


class TruncateFault(_Fault):
    """An answer that breaks off in its body, of which `Content-Length` promised more. The work is done."""

    kind: Literal["truncate"] = "truncate"
    """The body breaks off."""

    keep: Annotated[int, Field(ge=0)] | None = None
    """How many bytes of the body arrive; half of them unless given."""


class SlowFault(_Fault):
    """An answer whose body trickles. The work is done."""

    kind: Literal["slow"] = "slow"
    """The body trickles."""

    chunks: Annotated[int, Field(ge=2, le=1000)] = 5
    """How many parts the body comes in."""

    pause: Annotated[float, Field(gt=0, le=60)] = 0.1
    """The pause before each part, in real time (in process: in the time of the emulator)."""


class RepeatTokenFault(_Fault):
    """A list that answers the page token with which it was called. Calls without a page token do not count."""

    kind: Literal["repeat_token"] = "repeat_token"
    """The page token comes again."""


Fault = Annotated[
    StatusFault | HtmlFault | ErrorFault | LatencyFault | DropFault | TruncateFault | SlowFault | RepeatTokenFault,
    Field(discriminator="kind"),
]
"""One of the faults, told apart by `kind`."""

FAULT: Final[TypeAdapter[Fault]] = TypeAdapter(Fault)


class FaultState(ControlModel):
    """A planned fault, and what became of it."""

    id: int
    """Counts up with each fault."""

    fault: Fault
    """What was planned."""

    consumed: int
    """How many calls have met it."""

    pending: bool
    """Whether it still waits for calls: for some of its `times`, or for the first one if it is for all."""

    calls: tuple[int, ...]
    """The numbers of the requests that met it, the latest 1000 of them."""
