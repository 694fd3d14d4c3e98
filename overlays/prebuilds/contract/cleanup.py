"""Deletes the resources of a run, in reverse order, and checks that they are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

from prebuilds.contract.checks import goes_away, is_deleted
from prebuilds.contract.ledger import Intent, Ledger, Made
from prebuilds.contract.methods import ID_FIELD
from prebuilds.contract.observations import phase_of
from prebuilds.contract.session import ServerGoneError, Session
from prebuilds.contract.transports import HttpTransport, TransportError
from prebuilds.contract.wire import at

_ATTEMPTS: Final = 3

# So many things are worked on at a time, and from so many on it is worth it.
_CONNECTIONS: Final = 6
_FEW: Final = 3

_GET: Final = {"CreatePrebuild": "GetPrebuild", "CreateWarmPool": "GetWarmPool"}
_DELETE: Final = {"CreatePrebuild": "DeletePrebuild", "CreateWarmPool": "DeleteWarmPool"}
_LIST: Final = {"CreatePrebuild": "ListPrebuilds", "CreateWarmPool": "ListWarmPools"}


@dataclass(frozen=True, slots=True)
class CleanUp:
    """The result of a clean-up.

    Attributes:
        deleted: the number of resources that are gone or being deleted.
        left: the resources that were not deleted, each with the reason.
        unknown: the creates whose effect is unknown.
    """

    deleted: int
    left: tuple[tuple[Made, str], ...]
    unknown: tuple[Intent, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left."""
        return not self.left and not self.unknown


def clean_up(session: Session, tell: Callable[[str], None] = lambda _: None) -> CleanUp:
    """Delete all resources in the session's ledger, and strike out deleted resources.

    Args:
        session: sends the requests; its limits no longer apply.
        tell: called with progress messages.
    """
    session.start_cleaning()
    session.layer = "clean-up"
    ledger = session.ledger
    count = len(ledger.made)
    left: list[tuple[Made, str]] = []
    try:
        if ledger.open:
            # The server may still be processing abandoned requests.
            session.pause(max(session.settle, 0.3))
        _look_for_lost(session, tell)
        things = list(reversed(ledger.made))
        count = len(things)
        if things:
            tell(f"deleting {len(things)} things")
        work = _Work(session)
        # Resources that the server reported as deleted may need only a check.
        shown = work.on([made for made in things if made.id in session.deleted], _seen)
        rest = [made for made in things if shown.get(made.id, "?")]
        # All are deleted before the first is looked at, so that they go away at the same time.
        refused = work.on(rest, work.delete)
        left_there = work.on(rest, work.still_there)
        for made in things:
            why = left_there.get(made.id, "")
            if why:
                left.append((made, refused[made.id] or why))
            else:
                ledger.strike(made.id)
    except (KeyboardInterrupt, ServerGoneError) as error:
        why = str(error) or "the clean-up was interrupted"
        left = [(made, why) for made in ledger.made]
    return CleanUp(count - len(left), tuple(left), tuple(ledger.open.values()))


def leave(ledger: Ledger) -> CleanUp:
    """Delete nothing: a later clean-up deletes the resources in the ledger."""
    left = tuple((made, "the clean-up was interrupted") for made in ledger.made)
    return CleanUp(0, left, tuple(ledger.open.values()))


class _Work:
    """Runs an action on many resources concurrently, over a few connections.

    Args:
        session: sends the requests.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failures = 0
        self._refused: set[str] = set()

    def on(self, things: Sequence[Made], act: Callable[[Session, Made], str]) -> dict[str, str]:
        """Run the action on each resource, and return the results by id.

        Raises:
            ServerGoneError: the server no longer responds, or the action takes too long.
        """
        transport = self._session.transport
        if not isinstance(transport, HttpTransport) or len(things) < _FEW:
            return {made.id: act(self._session, made) for made in things}
        lanes = [self._session.lane(transport.clone(), max_creates=0) for _ in range(_CONNECTIONS)]
        free = SimpleQueue[Session]()
        for lane in lanes:
            free.put(lane)

        def run(made: Made) -> str:
            lane = free.get()
            try:
                return act(lane, made)
            finally:
                free.put(lane)

        executor = ThreadPoolExecutor(_CONNECTIONS)
        try:
            found = dict(zip((made.id for made in things), executor.map(run, things), strict=True))
        except BaseException:
            # An interruption waits for nothing: each connection breaks, and is closed by the thread that uses it.
            self._session.abandon()
            executor.shutdown(wait=False, cancel_futures=True)
            for lane in lanes:
                if isinstance(lane.transport, HttpTransport):
                    lane.transport.abort()
            raise
        executor.shutdown()
        for lane in lanes:
            lane.transport.close()
            self._session.log += lane.log
        return found

    def delete(self, session: Session, made: Made) -> str:
        """Ask for the deletion, and return why it was refused, "" if it was not."""
        # After several consecutive failed deletions, the remaining deletions are not retried one by one.
        why = _delete(session, made, attempts=1 if self._failures >= _FEW else _ATTEMPTS)
        self._failures = self._failures + 1 if why else 0
        if why:
            self._refused.add(made.id)
        return why

    def still_there(self, session: Session, made: Made) -> str:
        """Why the resource counts as existing, "" if it is gone or being deleted."""
        why = ""

        def is_going() -> bool:
            nonlocal why
            why = _seen(session, made)
            return not why or _is_unlisted(session, made)

        # A rejection of all deletions is not awaited for each resource.
        patient = self._failures < _FEW or made.id not in self._refused
        within = max(session.settle, 0.5) if patient else 0.0
        return "" if session.eventually(is_going, within=within, interval=0.25) else why


def _delete(session: Session, made: Made, *, attempts: int) -> str:
    """Ask for the deletion, and return why it was refused, "" if it was not."""
    method = _DELETE[made.method]
    fields = {ID_FIELD[method]: made.id}
    why = ""
    for attempt in range(attempts):
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


def _seen(session: Session, made: Made) -> str:
    """How Get shows it, "" if it is gone or on its way."""
    method = _GET[made.method]
    try:
        answer = session.call(method, {ID_FIELD[method]: made.id})
    except TransportError as error:
        return str(error)
    item = answer.part("prebuild") or answer.part("warmPool")
    if answer.code == "not_found" or (item.get("id") == made.id and goes_away(item)):
        return ""
    return f"it is {phase_of(item) or 'there'}" if answer.ok else f"{method} got {answer.outcome}"


def _is_unlisted(session: Session, made: Made) -> bool:
    """Whether the list of the project shows that the resource is gone or being deleted: Get may be faulty."""
    method = _LIST[made.method]
    try:
        items, answer, complete = session.whole_list(method, {"projectIds": [made.project]})
    except TransportError:
        return False
    if answer.status != 200 or not complete or not isinstance(answer.content, dict):
        return False
    listed = [item for item in items if item.get("id") == made.id]
    if listed:
        return all(goes_away(item) for item in listed)
    # A server with the same response to everything lists nothing, too: a second method must confirm.
    delete = _DELETE[made.method]
    try:
        return session.call(delete, {ID_FIELD[delete]: made.id}).code == "not_found"
    except TransportError:
        return False


def _look_for_lost(session: Session, tell: Callable[[str], None]) -> None:
    """Find the resources of creates with lost responses, and add them to the ledger.

    A create stays open if its effect cannot be determined.
    """
    ledger = session.ledger
    groups: dict[tuple[str, str], list[Intent]] = {}
    for intent in ledger.open.values():
        groups.setdefault((intent.method, intent.project), []).append(intent)
    for (method, project), intents in groups.items():
        # Without a project nothing can have been made that could be found.
        found = _unknown_there(session, intents) if project else []
        if found is None:
            continue
        if len(found) > len(intents):
            # Somebody else is at work there, and theirs must stay.
            tell(
                f"{len(intents)} answers to {method} in project {project} were lost, and {len(found)} things appeared "
                f"there that may be meant: {', '.join(found)}"
            )
            continue
        for intent in intents:
            ledger.settle(intent, [found.pop()] if found else [])


def _unknown_there(session: Session, intents: Sequence[Intent]) -> list[str] | None:
    """The ids of new resources in one project since these creates were sent; None if they cannot be determined."""
    ledger = session.ledger
    method, project = intents[0].method, intents[0].project
    before = ledger.before.get((method, project))
    if before is None and project in ledger.projects:
        return None  # the resources that existed before the run are unknown, and must stay
    try:
        items, answer, complete = session.whole_list(_LIST[method], {"projectIds": [project]})
    except TransportError:
        return None
    if answer.code == "invalid_argument":
        return []  # no project has such an id
    if not complete:
        return None
    known = {made.id for made in ledger.made} | session.made.keys() | (before or set[str]())
    classes = {intent.environment_class.lower() for intent in intents}
    found: list[str] = []
    for item in items:
        here = str(at(item, "metadata.projectId")).lower() == project.lower()
        asked = "" in classes or str(at(item, "metadata.environmentClassId")).lower() in classes
        item_id = item.get("id")
        if here and asked and isinstance(item_id, str) and item_id not in known and not is_deleted(item):
            found.append(item_id)
    return found
