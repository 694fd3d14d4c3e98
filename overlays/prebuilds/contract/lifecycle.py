"""Slow processes: prebuilds until their end, the pool that they feed, the log, and the state after a deletion.

`begin` creates the first prebuild, so that the server works on it while the other layers run; `finish` waits for it.
Work that the server does not finish within the patience of the session stays untested. This does not count against it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from prebuilds.contract import schema
from prebuilds.contract.checks import is_cancelled, judge_cancellation, judge_deletion, judge_page
from prebuilds.contract.findings import PROOF
from prebuilds.contract.methods import ID_FIELD, LISTS, METHODS, OF_POOL, OF_PREBUILD, READS
from prebuilds.contract.observations import ENDED, LEAVING, items_in, phase_of
from prebuilds.contract.session import ForbiddenError, LimitReachedError, Pair, Session
from prebuilds.contract.steps import OBSERVED, chosen, step
from prebuilds.contract.transports import TransportError
from prebuilds.contract.wire import Answer, Request, at

_KIND: Final = {"GetPrebuild": "prebuild", "GetWarmPool": "warmPool"}

_RESTLESS: Final = frozenset({"status.logUrl", "status.snapshotCompletionPercentage"})
"""Fields that may differ at each poll: an address may be signed again, and a percentage grows."""


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values within an object that are not objects, each with its path."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(cast("dict[str, Any]", inner), f"{path}{name}.")
        else:
            yield f"{path}{name}", inner


class Lifecycle:
    """The slow part of a run.

    Args:
        session: where to send.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._pair: Pair | None = None
        self._first: str | None = None
        self._second: str | None = None
        self._pool: str | None = None
        self._beside: list[tuple[Pair, str]] = []
        self._snapshot: Any = None
        self._rotated: tuple[Any, Answer] | None = None
        self._deleted_early: str | None = None

    def begin(self) -> None:
        """Make the first prebuild, and a pool for it if there is room for one."""
        self._pair = self.session.new_pair() if self.session.is_open else self.session.home
        if self._pair is None:
            return
        try:
            self._first = self._create_prebuild()
        except (TransportError, LimitReachedError, ForbiddenError):
            return

    def finish(self) -> None:
        """Follow everything to its end."""
        steps: tuple[Callable[[], None], ...] = (
            self._make_pool,
            self._mistaken,
            self._get_without_token,
            self._survived,
            self._many,
            self._cancelled,
            self._delete_early,
            self._complete_first,
            self._log,
            self._read_again,
            self._rotate,
            self._cancel_ended,
            self._look_back,
            self._delete,
        )
        for each in chosen(steps, self.session.wants_more):
            try:
                if self._pair is None:
                    self.begin()
                each()
            except (TransportError, LimitReachedError, ForbiddenError):
                continue

    # -- Making

    def _create_prebuild(self, pair: Pair | None = None) -> str | None:
        pair = pair or self._pair
        if pair is None:
            return None
        named = {"environmentClassId": pair.environment_class} if pair.environment_class else {}
        answer = self.session.call("CreatePrebuild", {"projectId": pair.project, **named, "spec": {}})
        made_id = answer.at("prebuild.id")
        return made_id if answer.ok and isinstance(made_id, str) and made_id else None

    @step("filters", *OBSERVED)
    def _make_pool(self) -> None:
        """The pool that the prebuilds feed, and a second prebuild behind the first."""
        pair = self._pair
        if pair is None or not pair.environment_class:
            return
        place = {"projectId": pair.project, "environmentClassId": pair.environment_class}
        fields = {**place, **schema.pool_sizes().least}
        answers: list[Answer] = []

        def is_made() -> bool:
            answers.append(self.session.call("CreateWarmPool", fields))
            return answers[-1].code != "already_exists"

        # A pool of the run may still be draining there; a pool of another client stays.
        ours = "CreateWarmPool" in self.session.made.values() and not self.session.is_open
        self.session.eventually(
            is_made, within=self._patience if ours else 0.0, interval=0.1 if self.session.local else 5.0
        )
        pool_id = answers[-1].at("warmPool.id")
        if answers[-1].ok and isinstance(pool_id, str):
            self._pool = pool_id
        if self._first is not None:
            self._second = self._create_prebuild()
        if not self.session.is_open:
            return
        # Only prebuilds of both its project and its class are for a pool.
        for beside in (
            Pair(pair.project, self.session.new_id()),
            Pair(self.session.new_id(), pair.environment_class),
        ):
            named = {"projectId": beside.project, "environmentClassId": beside.environment_class}
            answer = self.session.call("CreateWarmPool", {**named, **schema.pool_sizes().least})
            pool_id = answer.at("warmPool.id")
            if answer.ok and isinstance(pool_id, str):
                self._beside.append((beside, pool_id))
        # A filter filters, whether or not there is a word of pages.
        for listing in LISTS:
            filters = {"projectIds": [pair.project]}
            answer = self.session.call(listing, {"filter": filters})
            judge_page(self.session, answer, filters, shows=[answer])

    @step("unknown-id-is-not-found", needs=("_make_pool",))
    def _mistaken(self) -> None:
        """Ids of one resource type are not valid for another: the id of a pool does not identify a prebuild."""
        session = self.session
        if self._first is None or self._pool is None or not session.allows_refusals:
            return
        for methods, item_id in ((OF_PREBUILD, self._pool), (OF_POOL, self._first)):
            for method in methods:
                answer = session.call(method, {ID_FIELD[method]: item_id}, refused=True)
                what = f"{method} with the id of another kind of thing"
                session.refused("unknown-id-is-not-found", answer, what, "not_found")

    @step("unauthenticated-without-token")
    def _get_without_token(self) -> None:
        """Methods that support GET require the token as well."""
        session = self.session
        for method in READS:
            fields: dict[str, Any] = {} if method in LISTS else {ID_FIELD[method]: session.new_id()}
            query = f"connect=v1&encoding=json&message={quote(json.dumps(fields))}"
            headers = session.headers(token=None, content_type=None)
            answer = session.send(Request(method, None, headers, "GET", query=query))
            if answer.status in (404, 405, 415, 501) and answer.code not in PROOF:
                continue  # GET is not for this server
            what = f"{method} by GET without a token"
            session.refused("unauthenticated-without-token", answer, what, "unauthenticated")

    @step("wrong-type-is-refused", "malformed-json", needs=("_make_pool",))
    def _survived(self) -> None:
        """Invalid input outside of the fields does not cause an internal error, whatever the response is."""
        headers = self.session.headers()
        for body, more in (
            (b"no gzip", ("Content-Encoding", "gzip")),
            (b"{}", ("Connect-Timeout-Ms", "soon")),
            (b'{"nonsense": {"a": [1]}}', ("Accept", "*/*")),
            (b'{"filter": {"phases": ["NONSENSE"], "triggeredBy": ["NONSENSE"]}}', ("Accept", "*/*")),
        ):
            self.session.send(Request("ListPrebuilds", body, (*headers, more)))
        for query in ("connect=v1&encoding=nonsense&message=%7B%7D", "connect=v1&encoding=json&base64=1&message=%7B"):
            headers_of_get = self.session.headers(content_type=None)
            self.session.send(Request("ListPrebuilds", None, headers_of_get, "GET", query=query))
        for method in LISTS:
            if not self.session.wants_to_see("wrong-type-is-refused", method):
                continue
            answer = self.session.call(method, {"pagination": {"pageSize": 1.5}}, refused=True)
            what = f"{method} with a page size of 1.5"
            self.session.refused("wrong-type-is-refused", answer, what, "invalid_argument")
        if self._pool is not None and self.session.allows_refusals:
            fields = {"warmPoolId": self._pool, "minSize": schema.pool_sizes().min_low, "maxSize": 1.5}
            answer = self.session.call("UpdateWarmPool", fields, refused=True)
            what = "UpdateWarmPool with a maxSize of 1.5"
            self.session.refused("wrong-type-is-refused", answer, what, "invalid_argument")
        for method in METHODS if self.session.allows_refusals else READS:
            if not self.session.wants_to_see("malformed-json", method):
                continue
            answer = self.session.send(Request(method, b'{"', headers), refused=True)
            what = f"{method} with a body that breaks off"
            self.session.refused("malformed-json", answer, what, "invalid_argument")

    @step("ids-are-fresh", "default-page-size", "filters", "page-size-kept", "no-item-twice", "no-item-skipped")
    def _many(self) -> None:
        """More of each than a page has by default."""
        session = self.session
        for method, listing in (("CreatePrebuild", "ListPrebuilds"), ("CreateWarmPool", "ListWarmPools")):
            if not (session.is_open and session.local) or session.max_creates - len(session.made) < 50:
                session.excuse("default-page-size", "26 things would have to be made", listing)
                continue
            project = session.new_id()
            made: list[str] = []
            for _ in range(schema.default_page_size() + 1):
                fields: dict[str, Any] = {"projectId": project, "spec": {}}
                if method == "CreateWarmPool":
                    named = {"environmentClassId": session.new_id()}
                    fields = {"projectId": project, **named, **schema.pool_sizes().least}
                answer = session.call(method, fields)
                if answer.ok:
                    made += [str(item.get("id")) for _, item in items_in(answer)]
            fresh = len(set(made)) == len(made)
            session.judge("ids-are-fresh", method, fresh, "an id was given twice")
            filters = {"projectIds": [project]}
            for pagination in ({}, {"pageSize": 0}):
                answer = session.call(listing, {"filter": filters, "pagination": pagination})
                count = len(list(items_in(answer)))
                why = f"a page without a size has {count} items"
                session.judge("default-page-size", listing, count <= schema.default_page_size(), why)
                judge_page(session, answer, filters, shows=[answer])
            self._walk(listing, filters, made)

    def _walk(self, method: str, filters: dict[str, Any], made: list[str]) -> None:
        """Page after page of a size that does not divide their number."""
        session = self.session
        seen: list[str] = []
        token = ""
        mark = session.mark()
        for _ in range(len(made)):
            page = {"pageSize": 7, **({"token": token} if token else {})}
            answer = session.call(method, {"filter": filters, "pagination": page})
            if not answer.ok:
                return
            ids = [str(item.get("id")) for _, item in items_in(answer)]
            why = f"a page of 7 was asked for, and has {len(ids)} items"
            session.judge("page-size-kept", method, len(ids) <= 7, why)
            judge_page(session, answer, filters, shows=session.since(mark))
            seen += ids
            following = answer.at("pagination.nextToken")
            if not following or following == token:
                break
            token = str(following)
        sequence = session.since(mark)
        twice = sorted({item_id for item_id in seen if seen.count(item_id) > 1})
        session.judge("no-item-twice", method, not twice, f"{twice[:3]} came twice", shows=sequence)
        lost = [item_id for item_id in made if item_id not in seen]
        session.judge("no-item-skipped", method, not lost, f"{lost[:3]} are on none of the pages", shows=sequence)

    # -- Following

    def _follow(self, prebuild_id: str, until: Callable[[str], bool]) -> str:
        """Look at a prebuild until its phase is as wanted, or it has ended. Each look is judged by the session."""
        session = self.session
        phase = ""

        def look() -> bool:
            nonlocal phase
            answer = session.call("GetPrebuild", {"prebuildId": prebuild_id})
            phase = phase_of(answer.part("prebuild")) if answer.ok else phase
            # A failed prebuild does not become active again, and a deleted prebuild is not polled.
            return not answer.ok or until(phase) or phase in ENDED | LEAVING

        session.eventually(look, within=session.patience, interval=0.05 if session.local else 5.0)
        return phase

    @step(
        *("cancel-takes-effect", "answers-what-was-asked", "cancel-rules", "repeated-cancel", "delete-takes-effect"),
        *("repeated-delete", "delete-again-succeeds", *OBSERVED),
    )
    def _cancelled(self) -> None:
        session = self.session
        if not session.wants("cancel-rules", "repeated-cancel", "cancel-takes-effect"):
            return
        # This prebuild must not feed the existing pool: a cancelled prebuild has no snapshot.
        fed = self._beside.pop(0) if self._beside else None
        prebuild_id = self._create_prebuild(fed[0] if fed else None)
        if prebuild_id is None:
            return
        answer = session.call("CancelPrebuild", {"prebuildId": prebuild_id})
        if not judge_cancellation(session, answer, prebuild_id):
            return
        got = answer.at("prebuild.id")
        why = f"CancelPrebuild of {prebuild_id} answered {got}"
        session.judge("answers-what-was-asked", "CancelPrebuild", got == prebuild_id, why)
        phase = self._follow(prebuild_id, lambda phase: phase == "CANCELLED")
        why = f"a prebuild was cancelled as soon as it was made, and has become {phase}"
        session.judge("cancel-takes-effect", "CancelPrebuild", phase != "COMPLETED", why)
        if phase == "CANCELLED":
            self._beside += [fed] if fed else []
            session.judge("cancel-rules", "CancelPrebuild", ok=True)
            again = session.call("CancelPrebuild", {"prebuildId": prebuild_id})
            session.accepted("repeated-cancel", again, "CancelPrebuild of what is CANCELLED")
            phase = self._follow(prebuild_id, lambda _: True)
            session.judge(
                "repeated-cancel", "CancelPrebuild", phase == "CANCELLED", f"it was CANCELLED, and is {phase}"
            )
            judge_deletion(session, "DeletePrebuild", prebuild_id, after=[answer])

    @step("delete-takes-effect")
    def _delete_early(self) -> None:
        """Delete a running prebuild, which may need to stop first. The result is checked at the end."""
        prebuild_id = self._create_prebuild()
        if prebuild_id is not None and self.session.call("DeletePrebuild", {"prebuildId": prebuild_id}).ok:
            self._deleted_early = prebuild_id

    @step(
        *("filters", "snapshot-rotates", "snapshot-needs-a-prebuild", *OBSERVED),
        needs=("_make_pool", "_cancelled"),
    )
    def _complete_first(self) -> None:
        if self._first is None:
            return
        phase = self._follow(self._first, lambda phase: phase == "COMPLETED")
        if phase != "COMPLETED":
            why = f"the prebuild of the run was {phase or 'of unknown phase'} after {self.session.patience:g} s"
            for name in ("snapshot-rotates", "log-opens", "log-refuses-others", "terminal-phases-stay"):
                self.session.excuse(name, why)
            return
        self._list_shows(self._first)
        if self._pool is None:
            return
        self.session.eventually(self._has_new_snapshot, within=self._patience, interval=0.05)
        self._snapshot = at(self._look_at_pool(), "spec.snapshotId")
        why = "a prebuild of its project and class is COMPLETED, and the pool has no snapshot"
        self.session.judge("snapshot-rotates", "GetWarmPool", bool(self._snapshot), why)
        for _, pool_id in self._beside:
            answer = self.session.call("GetWarmPool", {"warmPoolId": pool_id})
            got = answer.at("warmPool.spec.snapshotId")
            why = f"the pool {pool_id} has the snapshot {got!r}, and no prebuild of its project and class has completed"
            if answer.ok:
                self.session.judge("snapshot-needs-a-prebuild", "GetWarmPool", not got, why)

    @step("reads-change-nothing", *OBSERVED, needs=("_make_pool",))
    def _read_again(self) -> None:
        """Reading changes nothing. Changes by the server itself do not happen between any two reads."""
        session = self.session
        asking = "CreatePrebuildLogsToken"
        for method, item_id in (("GetPrebuild", self._first), ("GetWarmPool", self._pool), (asking, self._first)):
            if item_id is None:
                session.excuse("reads-change-nothing", "the run has nothing there that lasts", method)
                continue
            get = "GetPrebuild" if method == asking else method
            mark = session.mark()
            shown: list[Answer] = []
            for _ in range(5):
                if method == asking:
                    session.call(asking, {ID_FIELD[asking]: item_id})
                shown.append(session.call(get, {ID_FIELD[get]: item_id}))
            if not all(answer.ok for answer in shown):
                continue
            states = [dict(_leaves(answer.part(_KIND[get]))) for answer in shown]
            for path in sorted(set[str]().union(*states) - _RESTLESS):
                values = [state.get(path) for state in states]
                if all(one != another for one, another in pairwise(values)):
                    why = f"{path} of {item_id} is another one after each {method}: {values}"
                    session.judge("reads-change-nothing", method, ok=False, why=why, shows=session.since(mark))
            session.judge("reads-change-nothing", method, ok=True)

    @property
    def _patience(self) -> float:
        return max(self.session.settle, self.session.patience)

    def _look_at_pool(self) -> dict[str, Any]:
        answer = self.session.call("GetWarmPool", {"warmPoolId": self._pool})
        return answer.part("warmPool")

    def _has_new_snapshot(self) -> bool:
        snapshot = at(self._look_at_pool(), "spec.snapshotId")
        return bool(snapshot) and snapshot != self._snapshot

    def _list_shows(self, prebuild_id: str) -> None:
        """The list shows the end as well, and the filter for it lets it through."""
        session = self.session
        if self._pair is None:
            return
        filters = {"projectIds": [self._pair.project], "phases": ["PREBUILD_PHASE_COMPLETED"]}
        items, _, complete = session.whole_list("ListPrebuilds", filters)
        wrong = [item.get("id") for item in items if phase_of(item) != "COMPLETED"]
        session.judge("filters", "ListPrebuilds", not wrong, f"the filter for COMPLETED lets through {wrong[:3]}")
        if complete:
            listed = any(item.get("id") == prebuild_id for item in items)
            why = "a prebuild is COMPLETED, and the filter for that does not let it through"
            session.judge("filters", "ListPrebuilds", listed, why)

    @step("snapshot-rotates", needs=("_complete_first",))
    def _rotate(self) -> None:
        session = self.session
        if self._pool is None or self._second is None or not self._snapshot:
            return
        seen = session.call("GetPrebuild", {"prebuildId": self._second})
        if phase_of(seen.part("prebuild")) in ENDED:
            # Both have ended, and the owner of the snapshot is unknown: a third prebuild can show it.
            self._second = self._create_prebuild()
            if self._second is None:
                return
        phase = self._follow(self._second, lambda phase: phase == "COMPLETED")
        if phase != "COMPLETED":
            return
        before = session.call("GetPrebuild", {"prebuildId": self._second})
        rotated = session.eventually(self._has_new_snapshot, within=self._patience, interval=0.05)
        why = f"a newer prebuild is COMPLETED, and the pool still has the snapshot {self._snapshot}"
        session.judge("snapshot-rotates", "GetWarmPool", rotated, why, shows=[before, session.log[-1]])
        if rotated:
            self._rotated = self._snapshot, session.log[-1]

    @step("cancel-rules", needs=("_complete_first",))
    def _cancel_ended(self) -> None:
        session = self.session
        if self._first is None:
            return
        if phase_of(session.latest(self._first) or {}) in ("COMPLETED", "FAILED"):
            answer = session.call("CancelPrebuild", {"prebuildId": self._first})
            what = "CancelPrebuild of what has ended"
            session.refused("cancel-rules", answer, what, "failed_precondition")
            session.call("GetPrebuild", {"prebuildId": self._first})  # it must be unchanged

    @step("cancel-takes-effect", "snapshot-rotates", needs=("_cancelled", "_rotate"))
    def _look_back(self) -> None:
        """A cancelled prebuild has not continued meanwhile, and a pool has not returned to a replaced snapshot."""
        session = self.session
        told = {
            str(answer.at("prebuild.id")): answer
            for answer in session.log
            if answer.request.method == "CancelPrebuild" and answer.ok and is_cancelled(answer.part("prebuild"))
        }
        for prebuild_id, answer in list(told.items())[:10]:
            found = session.call("GetPrebuild", {"prebuildId": prebuild_id})
            phase = phase_of(found.part("prebuild"))
            why = f"the answer to its cancellation was {phase_of(answer.part('prebuild'))}, and it is {phase} now"
            shows = [answer, found]
            session.judge("cancel-takes-effect", "CancelPrebuild", phase != "COMPLETED", why, shows=shows)
        if self._rotated is None:
            return
        former, shown = self._rotated
        found = session.call("GetWarmPool", {"warmPoolId": self._pool})
        snapshot = found.at("warmPool.spec.snapshotId")
        why = f"the pool has the snapshot {snapshot} again, which a newer one had replaced"
        session.judge("snapshot-rotates", "GetWarmPool", snapshot != former, why, shows=[shown, found])

    # -- The log

    @step("logs-token-is-no-api-token", "log-opens", "log-refuses-others", needs=("_complete_first",))
    def _log(self) -> None:
        session = self.session
        if self._first is None:
            return
        answer = session.call("CreatePrebuildLogsToken", {"prebuildId": self._first})
        token = answer.at("accessToken")
        if not answer.ok or not isinstance(token, str) or not token:
            return
        if not (token.isascii() and token.isprintable()):
            why = "the logs token has a character that the header Authorization cannot carry"
            session.judge("log-opens", "CreatePrebuildLogsToken", ok=False, why=why, shows=[answer])
            return
        self._use_as_api_token(token)
        url = at(session.latest(self._first) or {}, "status.logUrl")
        path = self._own_path(url)
        if path is None:
            why = "the prebuild has no logUrl" if not url else "the log is at another address than the service"
            for name in ("log-opens", "log-refuses-others"):
                session.excuse(name, why)
            return
        opened = self._read(path, token)
        if opened.status in (404, 501, 502):
            for name in ("log-opens", "log-refuses-others"):
                session.excuse(name, f"there is no log to read: {opened.outcome}")
            return
        method = "CreatePrebuildLogsToken"
        kind = opened.media_type or "no type"
        why = f"the log's address with a logs token has to answer text/plain, and got {opened.outcome} with {kind}"
        session.judge("log-opens", method, opened.ok and kind == "text/plain", why, shows=[answer, opened])
        for given, what in ((None, "no token"), ("made-up", "a made-up token"), (session.token, "the API token")):
            shown = self._read(path, given)
            why = f"the log's address with {what} got {shown.outcome}"
            session.judge("log-refuses-others", method, not shown.ok, why, shows=[shown])

    def _use_as_api_token(self, token: str) -> None:
        session = self.session
        name = "logs-token-is-no-api-token"
        if session.takes_any_token():
            session.excuse(name, "the server takes any token")
            return
        used = session.call("ListPrebuilds", {}, token=token)
        session.refused(name, used, "ListPrebuilds with a logs token", "unauthenticated", "permission_denied")

    def _own_path(self, url: object) -> str | None:
        """The path of a URL below the base URL, None if it leads elsewhere: the API token must not go there."""
        base = urlsplit(self.session.transport.base_url)
        if not isinstance(url, str):
            return None
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) != (base.scheme, base.netloc) or not parts.path.startswith(base.path):
            return None
        return parts.path.removeprefix(base.path) + (f"?{parts.query}" if parts.query else "")

    def _read(self, path: str, token: str | None) -> Answer:
        headers = () if token is None else (("Authorization", f"Bearer {token}"),)
        return self.session.send(Request("", None, headers, "GET", path=path, stream=True))

    # -- Deleting

    @step(
        *("delete-takes-effect", "repeated-delete", "delete-again-succeeds", "others-are-untouched"),
        *("delete-is-wanted", "gone-is-gone", "pool-is-free-again"),
        needs=("_make_pool", "_delete_early"),
    )
    def _delete(self) -> None:
        session = self.session
        for method, item_id in (("DeletePrebuild", self._first), ("DeleteWarmPool", self._pool)):
            if item_id is None:
                continue
            mark = session.mark()
            others = self._bystanders(item_id)
            judge_deletion(session, method, item_id, meanwhile=partial(self._revive, method, item_id))
            for get, other in others:
                answer = session.call(get, {ID_FIELD[get]: other})
                phase = phase_of(answer.part(_KIND[get]))
                right = answer.ok and phase not in LEAVING | {"CANCELLING", "CANCELLED"}
                why = f"{method} of {item_id} has reached {other} as well: it is {phase or answer.outcome}"
                session.judge("others-are-untouched", method, right, why, shows=session.since(mark))
        for method, item_id in (("DeletePrebuild", self._first), ("DeleteWarmPool", self._pool)):
            if item_id is not None and self._await_end(method, item_id) and method == "DeletePrebuild":
                self._await_early()

    def _revive(self, method: str, item_id: str) -> None:
        """A resource that is being deleted does not become active again, whatever the response to a reviving call."""
        session = self.session
        get, change, more = (
            ("GetPrebuild", "CancelPrebuild", {})
            if method == "DeletePrebuild"
            else ("GetWarmPool", "UpdateWarmPool", schema.pool_sizes().least)
        )
        before = session.log[-1]
        answer = session.call(change, {ID_FIELD[change]: item_id, **more})
        found = session.call(get, {ID_FIELD[get]: item_id})
        phase = phase_of(found.part(_KIND[get]))
        why = f"it was DELETING, {change} was {answer.outcome}, and it is {phase} now"
        session.judge("delete-takes-effect", method, not phase or phase in LEAVING, why, shows=[before, answer, found])

    def _bystanders(self, item_id: str) -> list[tuple[str, str]]:
        """Things of the run that are there, and how to look at each: a new prebuild, and the oldest of the pools."""
        session = self.session
        found: list[tuple[str, str]] = []
        prebuild_id = self._create_prebuild()
        if prebuild_id is not None:
            found.append(("GetPrebuild", prebuild_id))
        pools = [made_id for made_id, method in session.made.items() if method == "CreateWarmPool"]
        for pool_id in pools:
            known = session.latest(pool_id)
            if pool_id == item_id or known is None or phase_of(known) in LEAVING:
                continue
            answer = session.call("GetWarmPool", {"warmPoolId": pool_id})
            if answer.ok and phase_of(answer.part("warmPool")) not in LEAVING:
                found.append(("GetWarmPool", pool_id))
                break
        return found

    def _await_early(self) -> None:
        """A prebuild that was deleted while running is gone, now that a later deletion has finished."""
        session = self.session
        if self._deleted_early is None:
            return
        phase = ""

        def is_going() -> bool:
            nonlocal phase
            answer = session.call("GetPrebuild", {"prebuildId": self._deleted_early})
            phase = phase_of(answer.part("prebuild"))
            return not answer.ok or phase not in ENDED

        going = session.eventually(is_going, within=session.patience, interval=0.05 if session.local else 2.0)
        why = f"it was deleted under way, and has become {phase}, while another that was deleted later is gone"
        session.judge("delete-takes-effect", "DeletePrebuild", going, why)

    def _await_end(self, method: str, item_id: str) -> bool:
        """Wait until the deleted resources are gone, check the state then, and return whether they are gone."""
        session = self.session
        get = "GetPrebuild" if method == "DeletePrebuild" else "GetWarmPool"
        kind = "prebuild" if method == "DeletePrebuild" else "warmPool"
        interval = 0.05 if session.local else 2.0
        phase = ""
        code: str | None = None

        def is_gone() -> bool:
            nonlocal phase, code
            answer = session.call(get, {ID_FIELD[get]: item_id})
            phase, code = phase_of(answer.part(kind)), answer.code
            return code == "not_found" or phase == "DELETED"

        def is_not_found() -> bool:
            return is_gone() and code == "not_found"

        drained = session.eventually(is_gone, within=session.patience, interval=interval)
        if method == "DeleteWarmPool":
            self._make_again(item_id, drained=drained, phase=phase)
        # Whether DELETED is seen at all, and for how long, is up to the server.
        if not drained or not session.eventually(is_not_found, within=session.patience, interval=interval):
            why = f"what was deleted is still {phase or 'there'} after {session.patience:g} s"
            session.excuse("gone-is-gone", why, *(OF_PREBUILD if kind == "prebuild" else OF_POOL))
            session.excuse("gone-is-gone", why, "ListPrebuilds" if kind == "prebuild" else "ListWarmPools")
            return False
        for each in OF_PREBUILD if kind == "prebuild" else OF_POOL:
            answer = session.call(each, {ID_FIELD[each]: item_id})
            # A deletion may be idempotent.
            if each == method and answer.ok:
                session.judge("gone-is-gone", each, ok=True)
            else:
                session.refused("gone-is-gone", answer, f"{each} of what is gone", "not_found")
        listing = "ListPrebuilds" if kind == "prebuild" else "ListWarmPools"
        items, _, _ = session.whole_list(
            listing, {"projectIds": [self._pair.project]} if self._pair is not None else {}
        )
        listed = any(item.get("id") == item_id for item in items)
        session.judge("gone-is-gone", listing, not listed, f"{item_id} is gone, and is listed")
        return True

    def _make_again(self, item_id: str, *, drained: bool, phase: str) -> None:
        session, pair = self.session, self._pair
        if pair is None:
            return
        if not drained:
            why = f"the pool was still {phase or 'there'} after {session.patience:g} s"
            session.excuse("pool-is-free-again", why)
            return
        place = {"projectId": pair.project, "environmentClassId": pair.environment_class}
        fields = {**place, **schema.pool_sizes().least}
        found: list[Answer] = []

        def is_made() -> bool:
            found.append(session.call("CreateWarmPool", fields))
            return found[-1].ok

        # A pool that shows itself as DELETED may take a moment more until it is gone.
        session.eventually(is_made, within=self._patience, interval=0.1)
        session.accepted("pool-is-free-again", found[-1], f"CreateWarmPool after {item_id} is gone")
