"""Faults that a test can plan between a client and the service. `injection` applies them to requests."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator

from prebuild_wire import OPERATIONS
from prebuild_wire.enums import ConnectCode

from .declarations import ControlModel
from .recording import LOGS

MOST_LATENCY: Final = 600.0
"""The maximum duration of a fault, in real seconds."""

When = Literal["before", "after"]
RealSeconds = Annotated[float, Field(gt=0, le=MOST_LATENCY)]
Status = Annotated[int, Field(ge=200, le=599)]


_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[ -~]{0,1000}$")]


def _require_kind(schema: dict[str, Any]) -> None:
    """Make `kind` required in the schema: in JSON it distinguishes the faults; in Python the class does."""
    schema["required"] = ["kind", *(name for name in schema.get("required", []) if name != "kind")]


class _Fault(ControlModel):
    """The common fields of all faults. A request gets at most one fault: the one that was planned first."""

    model_config = ConfigDict(json_schema_extra=_require_kind)

    method: str | None = None
    """The method that gets the fault, for example `GetPrebuild`, or `logs` for reading a log; null for all methods."""

    times: Annotated[int, Field(ge=1, le=1_000_000)] | None = 1
    """How many requests get the fault; null for all requests until it is removed."""

    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """How many matching requests are skipped first."""

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str | None) -> str | None:
        if method is not None and method != LOGS and method not in OPERATIONS:
            raise ValueError(f"there is no method {method!r}: it is one of {', '.join((*OPERATIONS, LOGS))}")
        return method


class StatusFault(_Fault):
    """A plain HTTP response, as from a proxy."""

    kind: Literal["status"] = "status"
    """An HTTP status with a plain body."""

    status: Status
    """The HTTP status."""

    body: Annotated[str, Field(max_length=100_000)] = ""
    """The body, as `text/plain`."""

    headers: dict[_HeaderName, _HeaderValue] = Field(default_factory=dict[str, str])
    """Additional headers of the response."""

    when: When = "before"
    """Whether the request takes effect before this response."""


class HtmlFault(_Fault):
    """An HTML page, as from a proxy."""

    kind: Literal["html"] = "html"
    """An HTML page."""

    status: Status = 502
    """The HTTP status."""

    when: When = "before"
    """Whether the request takes effect before this response."""


class ErrorFault(_Fault):
    """An error of the Connect protocol."""

    kind: Literal["error"] = "error"
    """An error of the Connect protocol."""

    code: ConnectCode
    """The code of the error. It determines the HTTP status."""

    message: Annotated[str, Field(max_length=10_000)] = "planned fault"
    """The message of the error."""

    retry_after: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """The retry delay in seconds; null for no retry delay."""

    hint: Literal["retry_info", "rate_limit", "retry_after"] = "retry_info"
    """Where the delay is: in the detail `google.rpc.RetryInfo`, the header `RateLimit-RetryAfter` or `Retry-After`."""

    when: When = "before"
    """Whether the request takes effect before this response."""

    @model_validator(mode="after")
    def _check_hint(self) -> Self:
        if self.retry_after is not None and self.hint != "retry_info" and self.retry_after % 1:
            raise ValueError("retry_after: a header takes whole seconds; the hint retry_info takes fractions")
        return self


class LatencyFault(_Fault):
    """A response that is late, but otherwise normal."""

    kind: Literal["latency"] = "latency"
    """A pause before the request is processed."""

    seconds: RealSeconds
    """The length of the pause, in real time (in process: in emulated time)."""


class DropFault(_Fault):
    """A connection that closes without a response."""

    kind: Literal["drop"] = "drop"
    """The connection closes."""

    when: When = "before"
    """Whether the request takes effect before the connection closes."""


class TruncateFault(_Fault):
    """A response whose body ends before its `Content-Length`. The request takes effect."""

    kind: Literal["truncate"] = "truncate"
    """The body is incomplete."""

    keep: Annotated[int, Field(ge=0)] | None = None
    """How many bytes of the body are sent; by default half of them."""


class SlowFault(_Fault):
    """A response whose body arrives slowly. The request takes effect."""

    kind: Literal["slow"] = "slow"
    """The body arrives slowly."""

    chunks: Annotated[int, Field(ge=2, le=1000)] = 5
    """The number of chunks of the body."""

    pause: Annotated[float, Field(gt=0, le=60)] = 0.1
    """The pause before each chunk, in real time (in process: in emulated time)."""


class RepeatTokenFault(_Fault):
    """A list response that repeats the page token of its request. Requests without a page token are not affected."""

    kind: Literal["repeat_token"] = "repeat_token"
    """The page token is repeated."""


Fault = Annotated[
    StatusFault | HtmlFault | ErrorFault | LatencyFault | DropFault | TruncateFault | SlowFault | RepeatTokenFault,
    Field(discriminator="kind"),
]
"""One of the faults, distinguished by `kind`."""

FAULT: Final[TypeAdapter[Fault]] = TypeAdapter(Fault)


class FaultState(ControlModel):
    """A planned fault with its current state."""

    id: int
    """The number of the fault, counted upwards."""

    fault: Fault
    """The planned fault."""

    consumed: int
    """How many requests have got the fault."""

    pending: bool
    """Whether the fault still waits for requests: for some of its `times`, or for the first one if it is for all."""

    calls: tuple[int, ...]
    """The numbers of the latest 1000 requests that got the fault."""
