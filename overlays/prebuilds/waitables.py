"""The resources that a client can wait for: prebuilds and warm pools, with the order of their phases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from attrs import define

from prebuild_api import models
from prebuild_api.models import PrebuildPhase, WarmPoolPhase
from prebuild_api.operations import GET_PREBUILD, GET_WARM_POOL, Operation
from prebuilds.errors import (
    PrebuildCancelledError,
    PrebuildDeletedError,
    PrebuildFailedError,
    WaitError,
    WarmPoolDeletedError,
)
from prebuilds.redaction import readable

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild, WarmPool

_MAX_TEXT = 2000
"""The number of characters of a server's text in an error."""


class Item(Protocol):
    """The common attributes of a `Prebuild` and a `WarmPool`."""

    id: str | None

    @property
    def status(self) -> Any:
        """The status, with the phase."""
        ...


ItemT = TypeVar("ItemT", bound=Item)


Goal = str | Collection[str] | Callable[[ItemT], bool | Awaitable[bool]]
"""The goal of a wait: a phase, any of several, or a function that decides. A phase is given as the member of its enum,
its full name, or its short name such as "completed"."""


@define(frozen=True, kw_only=True)
class Waitable(Generic[ItemT]):
    """A resource that can be waited for, as data."""

    noun: str
    operation: Operation[Any, Any]
    """Reads one resource."""
    request: Callable[[str], Any]
    item: Callable[[Any], ItemT]
    """The resource in the response."""
    paths: tuple[tuple[str, ...], ...]
    """The phases in their order: the normal path, and the paths that branch off. Each phase is on one path. A phase
    counts as reached when a later phase of the same path is seen, because a short phase may pass between two polls."""
    ends: dict[str, tuple[type[WaitError], str]]
    """The final phases, with the error for each, and its description in that error."""
    deleted: str
    """The phase after which it cannot be found."""

    def phase(self, name: str) -> str:
        """The phase that `name` stands for: the member of the enum, its full name, or its short name in any case.

        Raises:
            ValueError: the phase does not exist.
        """
        phases: Any = type(next(iter(self.ends)))
        for phase in phases:
            if name in (phase, phase.name) or str(name).upper() == phase.name:
                found: str = phase
                return found
        valid = ", ".join(phase.name for phase in phases)
        raise ValueError(f"until: {name!r} is not a phase of a {self.noun}: expected one of {valid}")

    def error(self, kind: type[WaitError], said: str, item_id: str, last: ItemT | None) -> WaitError:
        """An error about one resource, with its last known state. Its own texts are shown, not obeyed."""
        text = f"{self.noun} {item_id} {said}"
        status = None if last is None else last.status
        if status is not None and status.failure_message:
            text += f": {readable(status.failure_message)[:_MAX_TEXT]}"
        if status is not None and getattr(status, "log_url", None):
            text += f" [log: {readable(status.log_url)[:_MAX_TEXT]}]"
        seen = {"prebuild" if self.noun == "prebuild" else "warm_pool": last}
        return kind(text, item_id=item_id, **cast("Any", seen))


PREBUILD: Waitable[Prebuild] = Waitable(
    noun="prebuild",
    operation=GET_PREBUILD,
    request=lambda item_id: models.GetPrebuildRequest(prebuild_id=item_id),
    item=lambda response: response.prebuild,
    paths=(
        (
            PrebuildPhase.PENDING,
            PrebuildPhase.STARTING,
            PrebuildPhase.RUNNING,
            PrebuildPhase.STOPPING,
            PrebuildPhase.SNAPSHOTTING,
            PrebuildPhase.COMPLETED,
        ),
        (PrebuildPhase.FAILED,),
        (PrebuildPhase.CANCELLING, PrebuildPhase.CANCELLED),
        (PrebuildPhase.DELETING, PrebuildPhase.DELETED),
    ),
    ends={
        PrebuildPhase.COMPLETED: (WaitError, "completed already"),
        PrebuildPhase.FAILED: (PrebuildFailedError, "failed"),
        PrebuildPhase.CANCELLED: (PrebuildCancelledError, "was cancelled"),
        PrebuildPhase.DELETED: (PrebuildDeletedError, "was deleted"),
    },
    deleted=PrebuildPhase.DELETED,
)

WARM_POOL: Waitable[WarmPool] = Waitable(
    noun="warm pool",
    operation=GET_WARM_POOL,
    request=lambda item_id: models.GetWarmPoolRequest(warm_pool_id=item_id),
    item=lambda response: response.warm_pool,
    paths=(
        (WarmPoolPhase.PENDING, WarmPoolPhase.READY),
        (WarmPoolPhase.DEGRADED,),
        (WarmPoolPhase.DELETING, WarmPoolPhase.DELETED),
    ),
    ends={
        WarmPoolPhase.DELETING: (WarmPoolDeletedError, "is being deleted"),
        WarmPoolPhase.DELETED: (WarmPoolDeletedError, "was deleted"),
    },
    deleted=WarmPoolPhase.DELETED,
)


def identified(name: str, item: str | ItemT) -> tuple[str, ItemT | None]:
    """The id of a resource, and the resource itself if it was given.

    Raises:
        ValueError: the id is missing.
    """
    item_id, known = (item, None) if isinstance(item, str) else (getattr(item, "id", None), item)
    if not item_id:
        raise ValueError(f"{name}: expected an id, or a resource that has one")
    return item_id, known


def phase_name(item: Item | None) -> str:
    """The state of a resource in words: `is RUNNING`."""
    if item is None:
        return "has not been seen"
    phase = str(item.status.phase)
    return f"is {readable(phase.partition('_PHASE_')[2] or phase)[:100]}"
