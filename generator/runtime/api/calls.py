"""A method of a service as data, and what a call of it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, Literal, TypedDict, TypeVar

from attrs import define

from .http import RawResponse
from .types import Model

Idempotency = Literal["no_side_effects", "idempotent", "unsafe"]

RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)


class CallOptions(TypedDict, total=False):
    """What every method of the client takes beside the fields of its request."""

    timeout: float | timedelta | None
    """How long the call may take, all attempts together, in seconds or as a `timedelta`; None for no limit."""
    retries: int
    """How often a failed call is tried again at most."""
    headers: Mapping[str, str]
    """Headers for this call alone."""
    extra_body: Mapping[str, Any]
    """Fields of the request that this version does not know, by their JSON names."""
    on_attempt: Callable[[Attempt], object]
    """Called after each attempt of the call."""


@define(frozen=True, kw_only=True)
class Attempt:
    """One try of a call: what was sent once, and what came back."""

    operation: str
    """The method of the client, `retrieve` for example."""
    number: int
    """1 for the first attempt of a call, 2 for the first repetition."""
    duration: float
    """How long it took, in seconds."""
    response: RawResponse | None = None
    """The HTTP response with its body; None if none came."""
    request_id: str | None = None
    """What the server calls the request, if it says so."""
    error: Exception | None = None
    """Why it failed; None if it did not."""
    retry_in: float | None = None
    """After how many seconds the call is repeated; None if it is not."""

    @property
    def status(self) -> int | None:
        """The HTTP status; None if no answer came."""
        return None if self.response is None else self.response.status_code


@define(frozen=True, kw_only=True)
class Operation(Generic[RequestT, ResponseT]):
    """One method of the service."""

    name: str
    """The method's name in the protocol, `GetPrebuild` for example."""
    path: str
    """The path below the base URL."""
    client_method: str
    """The method's name on the client, `retrieve` for example."""
    idempotency: Idempotency
    """`no_side_effects` and `idempotent` calls may be repeated, an `unsafe` one acts twice."""
    decode: Callable[[dict[str, Any]], ResponseT]
    """Reads the response from a JSON object."""


@define(frozen=True, kw_only=True)
class PagedOperation(Operation[RequestT, ResponseT], Generic[RequestT, ResponseT, ItemT]):
    """A method that answers a list in pages."""

    items: Callable[[ResponseT], list[ItemT]]
    """The items on a page."""
    next_token: Callable[[ResponseT], str | None]
    """The token of the page behind this one; None at the end."""
    token: Callable[[RequestT], str | None]
    """The token that a request asks for; None for the first page."""
    with_token: Callable[[RequestT, str], RequestT]
    """The same request for the page of a token."""
