"""Causes a success and an error of each method, for runs whose layers do not.

A method without both responses counts as not tested: a stub or a proxy may have responded instead.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from prebuild_wire import OPERATIONS
from prebuilds.contract import schema
from prebuilds.contract.methods import CREATES, ID_FIELD, LISTS, OF_POOL, OF_PREBUILD, READS
from prebuilds.contract.session import ForbiddenError, LimitReachedError, Session
from prebuilds.contract.transports import TransportError

_LAST: Final = ("DeletePrebuild", "DeleteWarmPool")


def reach(session: Session, methods: Collection[str]) -> None:
    """Call each method once with an invalid request, and once with a valid request."""
    for method in methods:
        reached = session.findings.reached[method]
        if reached.missing(success=False) and (method in READS or session.allows_refusals):
            _try(session, method, wrong_request(session, method), refused=True)
    if not session.allows(writes=True):
        return
    for kind, create in ((OF_PREBUILD, "CreatePrebuild"), (OF_POOL, "CreateWarmPool")):
        listing = "ListPrebuilds" if create == "CreatePrebuild" else "ListWarmPools"
        wanted = [m for m in methods if m in (*kind, create, listing) and not session.findings.reached[m].success]
        if any(method in (*kind, create) for method in wanted):
            _reach_kind(session, create, [method for method in kind if method in wanted])
        if listing in wanted:
            _try(session, listing, {})


def _reach_kind(session: Session, create: str, methods: Collection[str]) -> None:
    pair = session.new_pair() if session.is_open or create == "CreateWarmPool" else session.home
    if pair is None or (create == "CreateWarmPool" and not pair.environment_class):
        return
    fields: dict[str, Any] = {"projectId": pair.project}
    if pair.environment_class:
        fields["environmentClassId"] = pair.environment_class
    made_id = _try(session, create, fields | ({"spec": {}} if create == "CreatePrebuild" else {}))
    if made_id is None:
        return
    for method in sorted(methods, key=lambda method: method in _LAST):
        _try(session, method, {ID_FIELD[method]: made_id})


def wrong_request(session: Session, method: str) -> dict[str, Any]:
    """A request that the method itself must reject, by the schema."""
    if method in ID_FIELD:
        return {ID_FIELD[method]: session.new_id()}
    if method in CREATES or schema.component(OPERATIONS[method].request_name).get("required"):
        return {}
    bound = next((bound for bound in schema.bounds(method) if bound.outside), None)
    if method in LISTS and bound is not None:
        return schema.with_value({}, bound.path, bound.outside[0])
    return {}


def _try(session: Session, method: str, fields: dict[str, Any], *, refused: bool = False) -> str | None:
    """The id of the resource that a call has created, None if there is none."""
    try:
        answer = session.call(method, fields, refused=refused)
    except (TransportError, LimitReachedError, ForbiddenError):
        return None
    made_id = answer.at("prebuild.id") or answer.at("warmPool.id")
    return made_id if isinstance(made_id, str) and method in CREATES else None
