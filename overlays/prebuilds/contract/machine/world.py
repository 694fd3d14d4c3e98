"""One run of a state machine: its resources, and the functions that send, poll, wait and check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, cast

from prebuilds.contract.findings import UNIMPLEMENTED
from prebuilds.contract.machine.model import CANCELLING, Json, Kind, Made, bounds, fits, is_at_rest, is_leaving
from prebuilds.contract.machine.search import Broken, Search
from prebuilds.contract.methods import CREATES, ID_FIELD, READS
from prebuilds.contract.observations import ENDED, phase_of
from prebuilds.contract.session import ForbiddenError, LimitReachedError
from prebuilds.contract.transports import TransportError
from prebuilds.contract.wire import Answer

CREATE: Final[Mapping[Kind, str]] = {"prebuild": "CreatePrebuild", "pool": "CreateWarmPool"}
GET: Final[Mapping[Kind, str]] = {"prebuild": "GetPrebuild", "pool": "GetWarmPool"}
LIST: Final[Mapping[Kind, str]] = {"prebuild": "ListPrebuilds", "pool": "ListWarmPools"}
DELETE: Final[Mapping[Kind, str]] = {"prebuild": "DeletePrebuild", "pool": "DeleteWarmPool"}
ITEM: Final[Mapping[Kind, str]] = {"prebuild": "prebuild", "pool": "warmPool"}

UNUSABLE: Final = ("failed_precondition", "not_found", "permission_denied")
"""Codes for a project or class that is unknown to the server, or forbidden."""

# A deletion or cancellation must be visible this many seconds after the request.
_GRACE = 3.0

# If nothing has changed for so many seconds, the server takes its time, or time stands still there.
_STANDSTILL = 4.0

# So many times one looks without much of a pause.
_QUICK_LOOKS = 40


class Skip(Exception):  # noqa: N818  it is no mistake of anybody's
    """There is no usable response. Another check covers this, and the rule ends here."""


class World:
    """The resources and requests of one run.

    Args:
        search: the state that all runs share.

    Attributes:
        session: sends all requests.
        places: the projects and classes to work in; the class is "" if none was given.
        made: all created resources, in order.
        stranger: an id that identifies no resource.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.session = search.session
        self.places = search.places()
        self.made: list[Made] = []
        self.stranger = self.session.new_id()
        self._mark = self.session.mark()
        self._most = search.most()
        self._unusable: set[tuple[str, str]] = set()

    def close(self) -> None:
        """Delete the created resources as far as possible. The ledger keeps the remaining resources."""
        if self.search.error is not None:
            return
        for made in reversed(self.made):
            if not made.gone and (made.lost or not made.deleting):
                with suppress(LimitReachedError, ForbiddenError, TransportError):
                    self.session.call(DELETE[made.kind], {ID_FIELD[DELETE[made.kind]]: made.id})

    # -- Choosing

    @property
    def projects(self) -> list[str]:
        """The projects of the run."""
        return list(dict.fromkeys(project for project, _ in self.places))

    def place(self, number: int) -> tuple[str, str] | None:
        """A project and class with room for another resource, None if there is none."""
        if not self.places or len(self.session.made) >= self._most:
            return None
        found = self.places[number % len(self.places)]
        return None if found in self._unusable else found

    def give_up(self, place: tuple[str, str]) -> None:
        """Make nothing there any more: the server does not want it."""
        self._unusable.add(place)

    def of(self, kind: Kind) -> list[Made]:
        """All that was made of a kind."""
        return [made for made in self.made if made.kind == kind]

    def there(self, kind: Kind) -> list[Made]:
        """The resources of a type that must exist."""
        return [made for made in self.of(kind) if made.there]

    def pick(self, kind: Kind, which: int, *, there: bool = False) -> Made | None:
        """One of the created resources, the latest for 0; with `there` a resource that must exist."""
        found = self.there(kind) if there else self.of(kind)
        return found[-1 - which % len(found)] if found else None

    # -- Sending

    def call(self, method: str, fields: Json) -> Answer:
        """Send a request.

        Raises:
            Skip: there is no response, or the server was unable to process the request.
            Enough: the search for a shorter sequence has reached its limit.
        """
        self.search.check_costs()
        if method in CREATES and len(self.session.made) >= self._most:
            raise Skip
        try:
            answer = self.session.call(method, fields)
        except (LimitReachedError, ForbiddenError, TransportError) as error:
            raise Skip from error
        if answer.status >= 500 or answer.status == 429:
            if answer.status != 429 and answer.code != UNIMPLEMENTED:
                self.broken("no-server-error", method, f"{method} answered {answer.outcome}")
            raise Skip
        return answer

    def call_with_id(self, method: str, made: Made, fields: Mapping[str, int] | None = None) -> Answer:
        """Call a method with the id of a resource. Raises the errors of `call`."""
        return self.call(method, {ID_FIELD[method]: made.id, **(fields or {})})

    def register(self, answer: Answer, kind: Kind, place: tuple[str, str]) -> Made | None:
        """The resource that a create has created, None if there is none."""
        method, shown = CREATE[kind], item_of(answer, kind)
        made_id = shown.get("id")
        if not isinstance(made_id, str) or not made_id:
            return None
        made = Made(kind, made_id, place, shown)
        self.made.append(made)
        fresh = made_id not in self.search.ids
        self.judge("ids-are-fresh", method, fresh, f"the id {made_id} was there before", made)
        self.search.ids.add(made_id)
        return made

    def refused(self, answer: Answer, place: tuple[str, str]) -> None:
        """Judge that a create was refused although all its values are within their bounds."""
        if answer.code == "invalid_argument":
            method = answer.request.method
            why = f"{method} with all values within their bounds has to succeed, and is {answer.outcome}"
            self.broken("inside-bounds-is-accepted", method, why)
        elif answer.code in UNUSABLE:
            self.give_up(place)

    # -- Judging

    def judge(self, name: str, method: str, kept: bool, why: str, *about: Made, shows: Sequence[Answer] = ()) -> None:
        """Report a result to the session, and to Hypothesis if it is shortening a sequence for this failure.

        Args:
            name: the property.
            method: the method.
            kept: whether the check passed.
            why: the reason for a failure.
            about: the resources in question. All their exchanges show the failure together with the latest exchange.
            shows: the exchanges that show the failure, instead of the latest.

        Raises:
            Broken: the failure, for Hypothesis.
        """
        if kept:
            self.session.judge(name, method, ok=True)
            return
        log = self.session.since(self._mark)
        done = [answer for answer in log if any(_concerns(answer, made.id.encode()) for made in about)]
        self.session.judge(name, method, ok=False, why=why, shows=[*done, *(shows or log[-1:])])
        if self.search.is_it(name, method):
            raise Broken(f"{name} {method}: {why}")

    def broken(self, name: str, method: str, why: str, *about: Made, shows: Sequence[Answer] = ()) -> None:
        """Judge that it was not kept."""
        self.judge(name, method, False, why, *about, shows=shows)

    def kept(self, name: str, method: str) -> None:
        """Judge that it was kept."""
        self.session.judge(name, method, ok=True)

    def check_id(self, method: str, made: Made, answer: Answer) -> bool:
        """Check that a successful response is about the requested resource."""
        came = item_of(answer, made.kind).get("id")
        right = str(came or "").lower() == made.id.lower()
        why = f"{method} was asked for {made.id} and answered with {came}"
        self.judge("answers-what-was-asked", method, right, why, made)
        return right

    # -- Looking

    def look(self, made: Made) -> bool:
        """Get a resource, compare it with its known state, and return whether the server returned it."""
        method = GET[made.kind]
        begun = self.session.now()
        while True:
            answer = self.call_with_id(method, made)
            wrong = _contradiction(made, answer)
            if not wrong or self.session.settle == 0 or self.session.now() - begun >= self.session.settle:
                break
            self.session.pause(min(0.1, self.session.settle))
        if answer.ok:
            right = self.check_id(method, made, answer)
            if made.gone:
                self.broken("gone-is-gone", method, f"{made.name} was gone, and is back", made)
            elif right:
                self.judge("read-your-write", method, not wrong, wrong, made)
            made.lost = made.lost or made.gone or not right
            if not made.lost:
                self._adopt(made, item_of(answer, made.kind))
            return not made.lost
        if answer.code == "not_found" and made.deleting:
            made.gone = True
        else:
            made.lost = True
            self.broken("read-your-write", method, wrong, made)
        return False

    def others(self, changed: Made, most: int) -> list[Made]:
        """Some things of the same kind, looked at, that a change of this one is to leave as they are."""
        others = [other for other in self.there(changed.kind) if other is not changed]
        return [other for other in others[: most // 2] + others[most // 2 :][-(most - most // 2) :] if self.look(other)]

    def check_others(self, method: str, changed: Made, others: Sequence[Made]) -> None:
        """Check that an update changed the named fields, and nothing else."""
        for other in others:
            answer = self.call_with_id(GET[other.kind], other)
            shown = item_of(answer, other.kind)
            if not answer.ok:
                now = answer.outcome
            elif is_leaving(shown):
                now = f"{phase_of(shown)}, and to be deleted"
            elif other.kind == "prebuild" and phase_of(shown) in CANCELLING and not other.cancelled:
                now = phase_of(shown)
            elif other.kind == "pool" and not fits(bounds(shown), other.bounds):
                now = f"one with minSize {bounds(shown)[0]} and maxSize {bounds(shown)[1]}"
            else:
                now = ""
            other.lost = bool(now)
            why = f"after {method} of {changed.name}, {other.name} is {now}"
            self.judge("others-are-untouched", method, not now, why, other, changed)

    def _adopt(self, made: Made, shown: Json) -> None:
        """Adopt the returned state as the known state."""
        made.seen = shown
        if made.kind == "pool":
            low, high = bounds(shown)
            made.bounds = (low if isinstance(low, int) else None, high if isinstance(high, int) else None)
        phase = phase_of(shown)
        if made.cancelled and phase == "COMPLETED":
            made.cancelled = False
            why = f"{made.name} was cancelled while it was under way, and is COMPLETED"
            self.broken("cancel-takes-effect", "CancelPrebuild", why, made)
        if not made.deleting or is_leaving(shown):
            made.since = None
        elif is_at_rest(made, shown):
            # A running prebuild stops first, which can take long.
            now, method = self.session.now(), DELETE[made.kind]
            made.since = now if made.since is None else made.since
            if now - made.since > self.grace("delete-takes-effect", method):
                made.lost = True
                why = f"{made.name} was deleted, and is still {phase or 'there'}"
                self.broken("delete-takes-effect", method, why, made)

    # -- Waiting

    def grace(self, name: str, method: str) -> float:
        """The maximum time for a transition, in seconds. A transition with a known failure is not awaited again."""
        return self.session.settle + (0.1 if self.search.is_broken(name, method) else _GRACE)

    def wait(self, seconds: float, *, doubt: bool = False) -> bool:
        """Wait, if there is patience left; with `doubt`, for a state that the server should have reached already."""
        return self.search.wait(seconds, doubt=doubt)

    def wait_for(self, made: Made, reached: Callable[[], bool], *, most: int = 0) -> bool:
        """Poll a resource until it reaches a state, or patience ends.

        Args:
            made: the resource.
            reached: returns whether the resource has reached the state.
            most: the maximum number of polls, 0 for any number.
        """
        looks = all_looks = 0
        begun, phase = self.session.now(), phase_of(made.seen)
        while True:
            shown = self.look(made)
            all_looks += 1
            if reached() or not shown or all_looks == most:
                return reached()
            if phase_of(made.seen) != phase:
                looks, begun, phase = 0, self.session.now(), phase_of(made.seen)
            # A deleted resource without pending work must show the deletion: anything else is a failure.
            doubt = made.deleting and not is_leaving(made.seen) and is_at_rest(made, made.seen)
            if not doubt and self.session.now() - begun > max(_STANDSTILL, self.session.settle):
                self.search.patience = 0.0
            # Where only requests advance the time, many requests are faster than pauses.
            pause = 0.001 if looks < _QUICK_LOOKS else min(0.002 * 1.5 ** (looks - _QUICK_LOOKS), 0.25)
            if not self.wait(pause, doubt=doubt):
                return False
            looks += 1


def item_of(answer: Answer, kind: Kind) -> Json:
    """The resource in a response, empty if there is none."""
    shown = answer.at(ITEM[kind]) if answer.ok else None
    return cast("Json", shown) if isinstance(shown, dict) else {}


def has_ended(made: Made) -> bool:
    """Whether a prebuild was seen at its end."""
    return phase_of(made.seen) in ENDED


def _contradiction(made: Made, answer: Answer) -> str:
    """The difference between a response of Get and the known state, "" if there is none."""
    if not answer.ok:
        if made.deleting and answer.code == "not_found":
            return ""
        return f"{made.name} is there, and {answer.request.method} is {answer.outcome}"
    shown = item_of(answer, made.kind)
    if made.gone:
        return "gone"
    if made.kind == "pool" and not fits(bounds(shown), made.bounds):
        low, high = made.bounds
        return f"{made.name} has to have minSize {low} and maxSize {high}, and has {bounds(shown)}"
    return ""


def _concerns(answer: Answer, thing: bytes) -> bool:
    """Whether a call has made something, or done something to it."""
    if answer.request.method in CREATES:
        return thing in answer.body
    return answer.request.method not in READS and thing in (answer.request.body or b"")
