"""Checks of cancellations, deletions and pages, which several layers make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prebuilds.contract.methods import ID_FIELD
from prebuilds.contract.observations import ACTIVE, desired_phase_of, items_in, phase_of
from prebuilds.contract.session import Session
from prebuilds.contract.wire import Answer, at


def judge_cancellation(session: Session, answer: Answer, prebuild_id: str) -> bool:
    """Judge that a prebuild that was under way could be cancelled, and return whether it was."""
    if not answer.ok:
        found = session.call("GetPrebuild", {"prebuildId": prebuild_id})
        if phase_of(found.part("prebuild")) not in ("PENDING", "STARTING", "RUNNING"):
            # The operation finished before the call: the server's result is not a failure.
            session.excuse("cancel-takes-effect", "prebuilds end too fast to be cancelled")
            return False
    return session.accepted("cancel-takes-effect", answer, "CancelPrebuild of what is under way")


def judge_deletion(
    session: Session,
    method: str,
    item_id: str,
    *,
    after: Sequence[Answer] = (),
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Delete an existing resource, check the deletion, and delete the resource again.

    Args:
        session: sends the requests.
        method: the method that deletes the resource.
        item_id: the id of the resource.
        after: the calls that created its state.
        meanwhile: called as soon as the resource is DELETING.
    """
    get = "GetPrebuild" if method == "DeletePrebuild" else "GetWarmPool"
    kind = "prebuild" if method == "DeletePrebuild" else "warmPool"
    fields = {ID_FIELD[method]: item_id}
    answer = session.call(method, fields)
    if may_refuse_deletion(session, answer, session.latest(item_id)):
        session.excuse("delete-takes-effect", "a prebuild under way is not deleted", method)
        return
    why = f"{method} of what is there has to succeed, and got {answer.outcome}"
    session.judge("delete-takes-effect", method, answer.status == 200, why, shows=[*after, answer])
    if not answer.ok:
        return
    shown: dict[str, Any] = {}
    code: str | None = None

    def is_going() -> bool:
        nonlocal shown, code
        found = session.call(get, fields)
        code = found.code
        shown = found.part(kind)
        return code == "not_found" or goes_away(shown)

    going = session.eventually(is_going)
    why = f"it was deleted, and is {phase_of(shown)} with the desired phase {desired_phase_of(shown) or 'unset'}"
    session.judge("delete-takes-effect", method, going, why)
    if phase_of(shown) == "DELETING" and meanwhile is not None:
        meanwhile()
    if method == "DeleteWarmPool" and shown:
        wanted = desired_phase_of(shown)
        why = f"the pool was deleted, and its desired phase is {wanted or 'unset'}"
        session.judge("delete-is-wanted", method, wanted == "DELETED" or phase_of(shown) == "DELETED", why)
    else:
        session.excuse("delete-is-wanted", "what is deleted is gone at once")
    again = session.call(method, fields)
    right = again.ok or again.code in ("not_found", "failed_precondition")
    why = f"a second {method} got {again.outcome}"
    session.judge("repeated-delete", method, right, why)
    if phase_of(shown) == "DELETING":
        session.judge("delete-again-succeeds", method, again.ok or again.code == "not_found", why)
    else:
        session.excuse("delete-again-succeeds", "what is deleted is never seen to be DELETING", method)


def may_refuse_deletion(session: Session, answer: Answer, item: dict[str, Any] | None) -> bool:
    """Whether a deletion is refused because the prebuild is under way, where that is not held against the server.

    ASSUMPTION: a prebuild can be deleted in any phase.
    """
    refused = answer.request.method == "DeletePrebuild" and answer.code == "failed_precondition"
    return refused and not session.assumptions and item is not None and phase_of(item) in ACTIVE


def judge_page(session: Session, answer: Answer, filters: dict[str, Any], *, shows: Sequence[Answer]) -> None:
    """Check that a page contains only items of the projects in the filter."""
    projects = filters.get("projectIds")
    if not projects:
        return
    asked = {str(project).lower() for project in projects}
    wrong = [
        item.get("id") for _, item in items_in(answer) if str(at(item, "metadata.projectId") or "").lower() not in asked
    ]
    why = f"a page of what is in {projects} has {wrong[:3]}, which are not"
    session.judge("filters", answer.request.method, not wrong, why, shows=shows)


def is_deleted(item: dict[str, Any]) -> bool:
    """Whether a prebuild or pool shows that somebody has deleted it."""
    return desired_phase_of(item) == "DELETED" or phase_of(item) in ("DELETING", "DELETED")


def is_cancelled(item: dict[str, Any]) -> bool:
    """Whether a prebuild shows that it was cancelled, and is not yet anything else that ends it."""
    return "CANCELLED" in (desired_phase_of(item), phase_of(item)) or phase_of(item) == "CANCELLING"


def goes_away(item: dict[str, Any]) -> bool:
    """Whether the deletion may still be in progress. A running prebuild may need to stop first."""
    return is_deleted(item) or phase_of(item) in ("STOPPING", "CANCELLING")
