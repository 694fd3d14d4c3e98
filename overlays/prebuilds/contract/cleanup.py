"""Deletes what a run has made, in reverse order, and looks whether it is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from prebuilds.contract.ledger import Intent, Made
from prebuilds.contract.observations import phase_of
from prebuilds.contract.probes import goes_away
from prebuilds.contract.properties import ID_FIELD
from prebuilds.contract.session import Session
from prebuilds.contract.transports import TransportError
from prebuilds.contract.wire import at

_ATTEMPTS: Final = 3
_GET: Final = {"CreatePrebuild": "GetPrebuild", "CreateWarmPool": "GetWarmPool"}
_DELETE: Final = {"CreatePrebuild": "DeletePrebuild", "CreateWarmPool": "DeleteWarmPool"}
_LIST: Final = {"CreatePrebuild": "ListPrebuilds", "CreateWarmPool": "ListWarmPools"}


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What came of a clean-up.

    Attributes:
        deleted: how many things are gone, or on their way.
        left: what could not be deleted, or is still there, each with the reason.
        unknown: the creates of which nobody knows whether they made something.
    """

    deleted: int
    left: tuple[tuple[Made, str], ...]
    unknown: tuple[Intent, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left."""
        return not self.left and not self.unknown


def clean_up(session: Session, tell: Callable[[str], None] = lambda _: None) -> CleanUp:
    """Delete everything in the session's ledger, and strike out what is gone.

    Args:
        session: where to send; its limits do not count any more.
        tell: what to do with news.
    """
    session.start_cleaning()
    session.layer = "clean-up"
    ledger = session.ledger
    if ledger.open:
        # The server may still be at work on what nobody waits for any more.
        session.pause(max(session.settle, 0.3))
    unknown = tuple(intent for intent in list(ledger.open.values()) if not _look_for(session, intent))
    things = list(reversed(ledger.made))
    if things:
        tell(f"deleting {len(things)} things")
    # All are deleted before the first is looked at, so that they go away at the same time.
    refused = {made.id: why for made in things if (why := _delete(session, made))}
    left: list[tuple[Made, str]] = []
    for made in things:
        why = _still_there(session, made)
        if why:
            left.append((made, refused.get(made.id) or why))
        else:
            ledger.strike(made.id)
    return CleanUp(len(things) - len(left), tuple(left), unknown)


def _delete(session: Session, made: Made) -> str:
    """Ask for the deletion, and return why it was refused, "" if it was not."""
    method = _DELETE[made.method]
    fields = {ID_FIELD[method]: made.id}
    why = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            session.pause(0.2 * attempt)
        try:
            answer = session.call(method, fields)
            if answer.code == "failed_precondition" and method == "DeletePrebuild":
                # A server may want it to be stopped first.
                session.call("CancelPrebuild", fields)
                continue
        except TransportError as error:
            why = str(error)
            continue
        if answer.ok or answer.code == "not_found":
            return ""
        why = f"{method} got {answer.outcome}"
        if answer.status in (401, 403):
            break
    return why


def _still_there(session: Session, made: Made) -> str:
    """Why it has to be taken for still there, "" if it is gone or on its way."""
    method = _GET[made.method]
    why = ""

    def is_going() -> bool:
        nonlocal why
        try:
            answer = session.call(method, {ID_FIELD[method]: made.id})
        except TransportError as error:
            why = str(error)
            return False
        item = answer.part("prebuild") or answer.part("warmPool")
        if answer.code == "not_found" or (item.get("id") == made.id and goes_away(item)):
            return True
        why = f"it is {phase_of(item) or 'there'}" if answer.ok else f"{method} got {answer.outcome}"
        return _is_unlisted(session, made)

    return "" if session.eventually(is_going, within=max(session.settle, 0.5), interval=0.25) else why


def _is_unlisted(session: Session, made: Made) -> bool:
    """Whether the list of its project says that it is gone, or on its way: Get may be what is broken."""
    method = _LIST[made.method]
    try:
        items, answer, complete = session.whole_list(method, {"projectIds": [made.project]})
    except TransportError:
        return False
    if answer.status != 200 or not complete or not isinstance(answer.content, dict):
        return False
    listed = [item for item in items if item.get("id") == made.id]
    # An error that is sent as a success shows nothing, and lists nothing.
    return all(goes_away(item) for item in listed) and not answer.json.get("code")


def _look_for(session: Session, intent: Intent) -> bool:
    """Find what a create has made whose answer was lost, and put it into the ledger. False if that cannot be known."""
    if not intent.project:
        session.ledger.settle(intent, [])  # it named no project, so that there is nothing to find
        return True
    before = session.ledger.before.get((intent.method, intent.project), frozenset[str]())
    known = {made.id for made in session.ledger.made} | session.made.keys()
    try:
        found = _ids(session, intent)
    except TransportError:
        return False
    if found is None:
        return False
    session.ledger.settle(intent, [item_id for item_id in found if item_id not in before and item_id not in known])
    return True


def _ids(session: Session, intent: Intent) -> Sequence[str] | None:
    """The ids of what is in the place that a create was meant for, None if the list cannot be had."""
    items, answer, complete = session.whole_list(_LIST[intent.method], {"projectIds": [intent.project]})
    if answer.code == "invalid_argument":
        return []  # no project has such an id
    if not complete:
        return None
    found: list[str] = []
    for item in items:
        place = at(item, "metadata.projectId"), at(item, "metadata.environmentClassId")
        here = str(place[0]).lower() == intent.project.lower()
        if here and (not intent.environment_class or str(place[1]).lower() == intent.environment_class.lower()):
            found.append(str(item.get("id")))
    return found
