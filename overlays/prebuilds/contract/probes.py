"""Layer 1: deterministic requests from the bounds of the schema and a table of wire rules.

Each probe is independent. A probe ends when the server does not provide its precondition, and the properties that it
would have checked stay untested.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from prebuild_wire.enums import PrebuildPhase
from prebuild_wire.scalars import parse_duration, parse_uuid
from prebuilds.contract import schema
from prebuilds.contract.checks import is_cancelled, judge_cancellation, judge_deletion, judge_page
from prebuilds.contract.findings import PROOF
from prebuilds.contract.methods import CREATES, HAND_WRITTEN, ID_FIELD, LISTS, METHODS, OF_ID, READS, WRITES
from prebuilds.contract.observations import LEAVING, desired_phase_of, items_in, phase_of
from prebuilds.contract.session import WRONG_TOKEN, ForbiddenError, LimitReachedError, Pair, Session
from prebuilds.contract.steps import EVERY_RESPONSE, OBSERVED, chosen, step
from prebuilds.contract.transports import TransportError
from prebuilds.contract.wire import JSON, Answer, Request, at, encode

INVALID: Final = "invalid_argument"

_HOSTILE: Final = {
    "NUL": "a\x00b",
    "a lone surrogate": "a\ud800b",
    "astral and bidirectional characters": "\U0001f4a5\u202egnp.exe\u2066\ufeff",
    "a huge text": "x" * 100_000,
}

_LONG_DEADLINE: Final = ("Connect-Timeout-Ms", "9999999999")
"""The most that the protocol has digits for."""

_MALFORMED: Final = (b"[]", b'{"', b"{} {}", b'{"a":\xff}')


def run_probes(session: Session) -> None:
    """Send everything, in the same order each time."""
    _Probing(session).run()


class _Stop(Exception):  # noqa: N818  no error of ours: the server does not do what the rest of a probe builds on
    """Ends a probe."""


class _Probing:
    """One run of all probes, and the resources that they have created so far."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pair = session.home
        self.other = session.elsewhere() if session.allows(writes=True) else None
        self.prebuilds: list[dict[str, Any]] = []
        self.pool: dict[str, Any] | None = None
        self.pool_pair: Pair | None = None
        self.pool_projects: list[str] = []
        self.sizes = (0, 0)
        """The sizes that the pool was created with."""
        self.neighbour: dict[str, Any] | None = None

    def run(self) -> None:
        writes = self.session.allows(writes=True)
        steps: list[Callable[[], None]] = [self.read]
        if writes:
            steps += [self.make_prebuilds, self.make_pools]
        steps += [self.ids, self.list_bounds, self.page_through, self.filter]
        if writes or self.session.allows_refusals:
            steps += [self.refuse_creates]
        steps += [self.auth, self.protocol, self.types, self.forms, self.hostile]
        if writes:
            steps += [self.call_others, self.update_pool, self.cancel, self.delete_prebuild, self.delete_pool]
        for each in chosen(steps, self.session.wants):
            try:
                each()
            except (_Stop, LimitReachedError, ForbiddenError, TransportError):
                continue

    # -- Help

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that may be called with invalid requests."""
        return METHODS if self.session.allows_refusals else READS

    def of(self, methods: Sequence[str]) -> list[str]:
        return [method for method in methods if method in self.methods]

    def try_call(self, method: str, fields: Any, **how: Any) -> Answer | None:
        """Call a method. A missing response is recorded already, and does not end the probe."""
        try:
            return self.session.call(method, fields, **how)
        except TransportError:
            return None

    def refuse(self, name: str, method: str, fields: Any, what: str, *codes: str) -> Answer | None:
        """Call a method, and check that the server rejects the call with one of the codes."""
        if not self.session.wants_to_see(name, method):
            return None
        answer = self.try_call(method, fields, refused=True)
        if answer is not None:
            self.session.refused(name, answer, f"{method} with {what}", *(codes or (INVALID,)))
        return answer

    def base(self, method: str) -> dict[str, Any]:
        """A valid request that refers to no existing resource."""
        pair = self.pair
        environment_class = pair.environment_class or self.session.new_id()
        if method == "CreatePrebuild":
            return {"projectId": pair.project, "spec": {}}
        if method == "CreateWarmPool":
            return _pool_of(Pair(pair.project, environment_class), **schema.pool_sizes().least)
        if method in LISTS:
            return self.listing()
        return schema.example(method, self.session.new_id)

    def listing(self, **more: Any) -> dict[str, Any]:
        """A list of the resources in the projects of the run."""
        most = schema.max_items("ListPrebuilds", "filter.projectIds")
        return {"filter": {"projectIds": list(self.session.projects[:most])}, **more} if self.session.projects else more

    # -- What there is

    @step("protocol-version-is-optional", "default-page-size", "read-your-write", "answers-what-was-asked")
    def read(self) -> None:
        session = self.session
        for method in LISTS:
            answer = session.call(method, self.listing(), version=False)
            session.accepted("protocol-version-is-optional", answer, f"{method} without Connect-Protocol-Version")
            count = len(list(items_in(answer)))
            if answer.ok:
                why = f"{method} without a size answered {count} items"
                session.judge("default-page-size", method, count <= schema.default_page_size(), why)
            if session.allows(writes=True):
                continue
            # Existing resources may be looked up.
            for _, item in items_in(answer):
                found = "GetPrebuild" if method == "ListPrebuilds" else "GetWarmPool"
                self.get(found, item)
                break

    def get(self, method: str, item: dict[str, Any], *, judged: bool = True) -> dict[str, Any]:
        """Get the known resources, and check that they are unchanged."""
        session = self.session
        item_id = str(item.get("id"))
        answer = session.call(method, {ID_FIELD[method]: item_id})
        kind = "prebuild" if method == "GetPrebuild" else "warmPool"
        shown = answer.part(kind)
        if not answer.ok or not shown:
            if judged:
                why = f"{method} of what is there has to succeed, and got {answer.outcome}"
                session.judge("read-your-write", method, ok=False, why=why)
            raise _Stop
        got = shown.get("id")
        session.judge("answers-what-was-asked", method, got == item_id, f"{method} of {item_id} answered {got}")
        if judged:
            paths = _FIXED[kind]
            wrong = next((path for path in paths if _differs(at(item, path), at(shown, path))), None)
            why = "" if wrong is None else f"{wrong} is {at(shown, wrong)!r}, and was {at(item, wrong)!r}"
            session.judge("read-your-write", method, wrong is None, why)
        return shown

    # -- Making

    @step(
        *("inside-bounds-is-accepted", "ids-are-fresh", "echo", "made-by-caller", "default-timeout", "default-class"),
        *("list-contains", "answers-what-was-asked", "read-your-write"),
    )
    def make_prebuilds(self) -> None:
        session, pair, other = self.session, self.pair, self.other
        named = {"environmentClassId": pair.environment_class} if pair.environment_class else {}
        inside = [value for bound in schema.bounds("CreatePrebuild") for value in bound.inside]
        requests: list[dict[str, Any]] = [
            {"projectId": pair.project, **named, "spec": {"timeout": timeout}} for timeout in inside
        ]
        requests.append({"projectId": pair.project, "spec": {}})
        if other is not None:
            more = {"environmentClassId": other.environment_class} if other.environment_class else {}
            requests.append({"projectId": other.project, **more, "spec": {"timeout": schema.timeouts()[2]}})
        creators: set[Any] = set()
        for fields in requests:
            answer = session.call("CreatePrebuild", fields)
            busy = self.is_busy(answer)
            if busy and session.is_open and (elsewhere := session.new_pair()) is not None:
                named = {"environmentClassId": elsewhere.environment_class} if elsewhere.environment_class else {}
                fields = {**fields, "projectId": elsewhere.project, **named}
                answer, busy = session.call("CreatePrebuild", fields), False  # nothing is under way there
            what = f"CreatePrebuild with the spec {json.dumps(fields['spec'])}"
            if not busy:
                session.accepted("inside-bounds-is-accepted", answer, what)
            made = answer.part("prebuild")
            if not answer.ok or not made:
                continue
            self.judge_fresh("CreatePrebuild", made)
            self.judge_prebuild(fields, made)
            creators.add(at(made, "metadata.creator.id"))
            self.prebuilds.append(made)
            if len(self.prebuilds) == 1:
                self.judge_new_is_listed("ListPrebuilds", made)
                self.get("GetPrebuild", made)
        if not self.prebuilds:
            raise _Stop
        one = len(creators) == 1
        session.judge("made-by-caller", "CreatePrebuild", one, f"prebuilds of one caller have the creators {creators}")
        token = session.call("CreatePrebuildLogsToken", {"prebuildId": self.prebuilds[0].get("id")})
        session.accepted("inside-bounds-is-accepted", token, "CreatePrebuildLogsToken")

    def is_busy(self, answer: Answer) -> bool:
        """Whether a create was rejected because another prebuild is running.

        ASSUMPTION: several prebuilds of a project may run at the same time.
        """
        return answer.code == "failed_precondition" and self.session.has_made_anything and not self.session.assumptions

    def judge_fresh(self, method: str, made: dict[str, Any]) -> None:
        made_id = made.get("id")
        earlier = [item.get("id") for item in self.prebuilds] + ([self.pool.get("id")] if self.pool else [])
        fresh = bool(made_id) and made_id not in earlier
        self.session.judge("ids-are-fresh", method, fresh, f"{method} answered the id {made_id!r}, which is taken")

    def judge_prebuild(self, fields: dict[str, Any], made: dict[str, Any]) -> None:
        session = self.session
        asked, shown = fields["spec"].get("timeout"), at(made, "spec.timeout")
        if asked is not None:
            self.echo("CreatePrebuild", made, "spec.timeout", asked)
        else:
            right = shown in (None, "") or _seconds(shown) == 3600
            session.judge(
                "default-timeout", "CreatePrebuild", right, f"the timeout is {shown!r} where none was asked for"
            )
        self.echo("CreatePrebuild", made, "metadata.projectId", fields["projectId"])
        if "environmentClassId" in fields:
            self.echo("CreatePrebuild", made, "metadata.environmentClassId", fields["environmentClassId"])
        else:
            given = bool(at(made, "metadata.environmentClassId"))
            session.judge("default-class", "CreatePrebuild", given, "the prebuild has no metadata.environmentClassId")
        trigger, creator = at(made, "metadata.triggeredBy"), at(made, "metadata.creator.id")
        why = f"triggeredBy is {trigger!r}, and the creator's id {creator!r}"
        session.judge("made-by-caller", "CreatePrebuild", trigger == "PREBUILD_TRIGGER_MANUAL" and bool(creator), why)

    def echo(self, method: str, made: dict[str, Any], path: str, asked: Any) -> bool:
        shown = at(made, path)
        return self.session.judge(
            "echo",
            method,
            not _differs(asked, shown),
            f"{path} was asked to be {asked!r}, and is {shown!r}",
        )

    @step(
        *("inside-bounds-is-accepted", "ids-are-fresh", "echo", "desired-size-sets-both", "default-pool-size"),
        *("list-contains", "answers-what-was-asked", "read-your-write", "snapshot-needs-a-prebuild"),
        *("pool-is-unique", "min-at-most-max"),
    )
    def make_pools(self) -> None:
        """A pool to work with, and where there is room one for each other way to say a size."""
        session, sizes_of = self.session, schema.pool_sizes()
        low, high = self.sizes = (sizes_of.near(2), sizes_of.near(3))
        self.pool, self.pool_pair = self.make_first_pool(low, high)
        pool = self.pool
        self.pool_projects.append(self.pool_pair.project)
        self.judge_pool(pool, self.pool_pair, low, high)
        self.judge_new_is_listed("ListWarmPools", pool)
        shown = self.get("GetWarmPool", pool)
        self.judge_snapshot(shown, self.pool_pair)
        again = session.call("CreateWarmPool", _pool_of(self.pool_pair, **sizes_of.least))
        session.refused("pool-is-unique", again, "CreateWarmPool for a pair that has a pool", "already_exists")
        if session.is_open:
            self.make_more_pools(pool, self.pool_pair)
            return
        why = "it takes several pools, and there may be one for each project and class"
        for name in ("ids-are-fresh", "desired-size-sets-both", "default-pool-size"):
            session.excuse(name, why, "CreateWarmPool")
        session.excuse("others-are-untouched", why, "UpdateWarmPool", "DeleteWarmPool")
        for name in ("page-tokens-are-new", "page-token-is-bound-to-filter"):
            session.excuse(name, why, "ListWarmPools")

    def make_first_pool(self, low: int, high: int) -> tuple[dict[str, Any], Pair]:
        """A pool in a place that has none, and the place."""
        session = self.session
        # In `home` of an open server there is room; of the given pairs, any may have a pool.
        pair = self.pair if session.is_open else session.new_pair()
        while pair is not None:
            if pair.environment_class:
                answer = session.call("CreateWarmPool", _pool_of(pair, minSize=low, maxSize=high))
                what = f"CreateWarmPool with sizes of {low} and {high}"
                if answer.ok and answer.part("warmPool"):
                    session.accepted("inside-bounds-is-accepted", answer, what)
                    return answer.part("warmPool"), pair
                if answer.code != "already_exists":
                    session.accepted("inside-bounds-is-accepted", answer, what)
                    raise _Stop
            pair = session.new_pair()
        raise _Stop

    def make_more_pools(self, pool: dict[str, Any], place: Pair) -> None:
        """A pool for each other way to say a size."""
        session = self.session
        ids = {pool.get("id")}
        for number, (sizes, low, high) in enumerate(_ways_to_say_sizes()):
            if not sizes and not session.assumptions:
                continue
            pair = session.new_pair()
            if pair is None:
                break
            # The first shares the project of the pool that there is, and the second its class.
            if number == 0:
                pair = Pair(place.project, pair.environment_class)
            elif number == 1:
                pair = Pair(pair.project, place.environment_class)
            if number == 0:
                # A rejected pool does not occupy the project and class.
                self.refuse_disorder("CreateWarmPool", _pool_of(pair))
            answer = session.call("CreateWarmPool", _pool_of(pair, **sizes))
            session.accepted("inside-bounds-is-accepted", answer, f"CreateWarmPool with {json.dumps(sizes)}")
            other = answer.part("warmPool")
            if not answer.ok or not other:
                continue
            fresh = other.get("id") not in ids
            session.judge("ids-are-fresh", "CreateWarmPool", fresh, f"the id {other.get('id')} is taken")
            ids.add(other.get("id"))
            self.pool_projects.append(pair.project)
            name = "desired-size-sets-both" if "desiredSize" in sizes else "echo" if sizes else "default-pool-size"
            self.judge_sizes(name, "CreateWarmPool", other, low, high)
            if number == 0:
                self.neighbour = other

    def judge_new_is_listed(self, method: str, made: dict[str, Any]) -> None:
        """A list of the project shows a new resource, among the newest."""
        session = self.session
        ids = {
            "projectIds": [at(made, "metadata.projectId")],
            "environmentClassIds": [at(made, "metadata.environmentClassId")],
        }
        filters = ids if method == "ListWarmPools" else {"projectIds": ids["projectIds"]}
        size = 1 if method == "ListWarmPools" else schema.max_page_size()
        fields = {"filter": filters, "pagination": {"pageSize": size}}
        answer: Answer | None = None

        def is_listed() -> bool:
            nonlocal answer
            answer = session.call(method, fields)
            return any(item.get("id") == made.get("id") for _, item in items_in(answer))

        listed = session.eventually(is_listed)
        if listed or (answer is not None and not answer.at("pagination.nextToken")):
            session.judge("list-contains", method, listed, f"{made.get('id')} was just made, and is not listed")

    def judge_pool(self, pool: dict[str, Any], pair: Pair, low: int, high: int) -> None:
        self.echo("CreateWarmPool", pool, "metadata.projectId", pair.project)
        self.echo("CreateWarmPool", pool, "metadata.environmentClassId", pair.environment_class)
        self.judge_sizes("echo", "CreateWarmPool", pool, low, high)

    def judge_sizes(self, name: str, method: str, pool: dict[str, Any], low: int, high: int) -> bool:
        # A size that was set is there, zero as well: the field has explicit presence.
        shown = (at(pool, "spec.minSize"), at(pool, "spec.maxSize"))
        why = f"the sizes have to be {low} and {high}, and are {shown[0]} and {shown[1]}"
        return self.session.judge(name, method, shown == (low, high), why)

    def judge_snapshot(self, pool: dict[str, Any], pair: Pair) -> None:
        """A prebuild creates a snapshot: a project without prebuilds in this class has no snapshot."""
        items, _, complete = self.session.whole_list("ListPrebuilds", {"projectIds": [pair.project]})
        if not complete:
            return
        done = [
            item
            for item in items
            if at(item, "metadata.environmentClassId") == pair.environment_class
            and phase_of(item) not in ("PENDING", "STARTING", "RUNNING", "CANCELLING", "CANCELLED")
        ]
        if done:
            self.session.excuse("snapshot-needs-a-prebuild", "the project has completed prebuilds")
        else:
            snapshot = at(pool, "spec.snapshotId")
            why = f"the pool has the snapshot {snapshot!r}, and its project has no completed prebuild of the class"
            self.session.judge("snapshot-needs-a-prebuild", "GetWarmPool", not snapshot, why)

    # -- What has to be refused

    @step("unknown-id-is-not-found", "malformed-id-is-refused", "required-fields")
    def ids(self) -> None:
        session = self.session
        prebuild = str(self.prebuilds[0].get("id")) if self.prebuilds else ""
        pool = str(self.pool.get("id")) if self.pool else ""
        for method in self.of(OF_ID):
            name = ID_FIELD[method]
            known = {"prebuildId": prebuild, "warmPoolId": pool}.get(name, "")
            # All but the end belongs to an existing id: the server must compare the whole id.
            unknown = _neighbour_of(known) if known else session.new_id()
            full = self.base(method)
            self.refuse("unknown-id-is-not-found", method, {**full, name: unknown}, "an unknown id", "not_found")
            # An id is one to its last character.
            self.refuse("malformed-id-is-refused", method, {**full, name: f"{unknown}0"}, f"the id '{unknown}0'")
            self.refuse("required-fields", method, {}, "no id")
            if method in READS:
                self.refuse("required-fields", method, {**full, name: ""}, "an empty id")
        for method in self.of(METHODS):
            if method not in (*CREATES, *LISTS):
                with_room = ("desiredSize", "minSize", "maxSize") if method == "UpdateWarmPool" else ()
                self.refuse_by_schema(method, (ID_FIELD.get(method, ""), *with_room))

    def refuse_by_schema(self, method: str, done: Collection[str] = ()) -> None:
        """Values that violate the schema, field by field; other probes check the fields in `done`."""
        base = self.fresh(method)
        # A server may validate the first named field first.
        codes = (INVALID, "not_found") if method in ID_FIELD else (INVALID,)
        for name in schema.required(method):
            if name not in done:
                fields = {key: value for key, value in base.items() if key != name}
                self.refuse("required-fields", method, fields, f"no {name}")
        for leaf in schema.leaves(method):
            if leaf.path in done:
                continue
            if leaf.is_id:
                what, text = self.malformed(method, leaf.path)
                fields = schema.with_value(base, leaf.path, leaf.value(text))
                self.refuse("malformed-id-is-refused", method, fields, f"{what} in {leaf.path}", *codes)
            elif leaf.enum is not None:
                number = schema.undefined_number(leaf.enum)
                for name, value in (
                    ("undefined-enum-is-refused", number),
                    ("unknown-enum-name-is-refused", "NONSENSE"),
                ):
                    fields = schema.with_value(self.fresh(method), leaf.path, leaf.value(value))
                    self.refuse(name, method, fields, f"{value} in {leaf.path}", *codes)
        for bound in schema.bounds(method):
            for value in bound.outside if bound.path not in done else ():
                fields = schema.with_value(self.fresh(method), bound.path, self.value_of(bound, value))
                fields = _fitting(fields, bound.path)
                shown = f"{value} items" if isinstance(fields.get(bound.path), list) else repr(value)
                self.refuse("outside-bounds-is-refused", method, fields, f"{bound.path} {shown}", *codes)

    def refuse_disorder(self, method: str, fields: dict[str, Any]) -> None:
        """A minSize above the maxSize, both of them within their own bounds."""
        sizes = schema.pool_sizes()
        low, high = sizes.near(5), sizes.near(5) - 1
        if high >= sizes.max_low:
            what = f"minSize {low} and maxSize {high}"
            self.refuse("min-at-most-max", method, {**fields, "minSize": low, "maxSize": high}, what)

    @step(
        *("required-fields", "malformed-id-is-refused", "outside-bounds-is-refused", "min-at-most-max"),
        *("undefined-enum-is-refused", "unknown-enum-name-is-refused", "refused-changes-nothing"),
    )
    def refuse_creates(self) -> None:
        session = self.session
        for method in CREATES:
            mark = session.mark()
            self.refuse_by_schema(method)
            if method == "CreatePrebuild":
                self.refuse("required-fields", method, {**self.fresh(method), "projectId": ""}, "an empty projectId")
            elif not session.is_open or self.pool is None:
                self.refuse_disorder(method, self.fresh(method))  # otherwise the call was checked already
            self.judge_nothing_made(method, session.since(mark))

    def malformed(self, method: str, name: str) -> tuple[str, str]:
        """Values that are not valid ids, each with a description; a different value for each field."""
        places = {("CreatePrebuild", "projectId"): "a lone surrogate", ("CreateWarmPool", "environmentClassId"): "NUL"}
        what = places.get((method, name), "")
        if not what and name.startswith("filter.") and name != "filter.projectIds":
            return "an id that is none", "not-a-uuid"
        return (what, _HOSTILE[what]) if what else ("one character too many", f"{self.session.new_id()}0")

    def judge_nothing_made(self, method: str, refused: Sequence[Answer]) -> None:
        """Refused creations have left nothing behind in projects that nobody else knows."""
        session, name = self.session, "refused-changes-nothing"
        if not session.is_open:
            session.excuse(name, "others may work in the given projects", method)
            return
        asked = [json.loads(answer.request.body or b"{}").get("projectId") for answer in refused]
        most = schema.max_items("ListPrebuilds", "filter.projectIds")
        projects = [project for project in dict.fromkeys(asked) if _is_uuid(project)][:most]
        if not refused or any(answer.ok or answer.code is None for answer in refused):
            return
        listing = "ListPrebuilds" if method == "CreatePrebuild" else "ListWarmPools"
        items, answer, complete = session.whole_list(listing, {"projectIds": projects})
        left = [item for item in items if at(item, "metadata.projectId") in projects]
        why = f"each {method} in the project was refused, and {[item.get('id') for item in left[:3]]} is there"
        if complete:
            first = at(left[0], "metadata.projectId") if left else ""
            shows = [each for each in refused if at(json.loads(each.request.body or b"{}"), "projectId") == first]
            session.judge(name, method, not left, why, shows=[*shows, answer])

    def fresh(self, method: str) -> dict[str, Any]:
        """A request to create in a place that nothing is in, if there is one."""
        base = self.base(method)
        if self.session.is_open and method in CREATES:
            base["projectId"] = self.session.new_id()
        return base

    @step(
        *("inside-bounds-is-accepted", "default-page-size", "outside-bounds-is-refused", "malformed-id-is-refused"),
        *("undefined-enum-is-refused", "unknown-enum-name-is-refused"),
    )
    def list_bounds(self) -> None:
        session = self.session
        for method in LISTS:
            full = self.listing()
            for bound in schema.bounds(method):
                full = schema.with_value(full, bound.path, self.value_of(bound, bound.inside[-1]))
            answer = self.try_call(method, full)
            if answer is not None:
                session.accepted("inside-bounds-is-accepted", answer, f"{method} with everything at its maximum")
            answer = self.try_call(method, schema.with_value(self.listing(), "pagination.pageSize", 0))
            if answer is not None:
                session.accepted("inside-bounds-is-accepted", answer, f"{method} with a page size of 0")
                there = self.prebuilds if method == "ListPrebuilds" else [self.pool] if self.pool else []
                empty = bool(there) and not list(items_in(answer))
                session.judge("default-page-size", method, not empty, "a page size of 0 gave an empty page")
            self.refuse_by_schema(method)

    def value_of(self, bound: schema.Bound, value: Any) -> Any:
        """The value to send for a field at one of its bounds. For a list, the bound is its length."""
        leaf = schema.leaf(bound.method, bound.path)
        if leaf is None or not leaf.is_list:
            return value
        if leaf.enum is not None:
            return list(itertools.islice(itertools.cycle(schema.members(leaf.enum)), value))
        if leaf.path == "filter.projectIds":
            return self.session.ids_for_filter(value)
        return [self.session.new_id() if leaf.is_id else f"x{number}" for number in range(value)]

    @step("wrong-type-is-refused")
    def types(self) -> None:
        for method in self.of(METHODS):
            leaves = schema.leaves(method)
            if method not in (*CREATES, *LISTS) and leaves:
                leaf = next((leaf for leaf in leaves if leaf.path == ID_FIELD.get(method)), leaves[0])
                fields = schema.with_value(self.base(method), leaf.path, leaf.wrong_type())
                self.refuse("wrong-type-is-refused", method, fields, f"{json.dumps(leaf.wrong_type())} as {leaf.path}")
        wrong: list[dict[str, Any]] = [{"pagination": {"pageSize": "many"}}, {"filter": {"projectIds": {"a": 1}}}]
        for method in LISTS:
            for fields in wrong if method == "ListPrebuilds" else wrong[1:]:
                self.refuse("wrong-type-is-refused", method, fields, json.dumps(fields))
        if not self.session.allows_refusals:
            return
        base = self.base("CreatePrebuild")
        for spec in ("x", {"timeout": schema.timeouts()[1].removesuffix("s")}):
            self.refuse(
                "wrong-type-is-refused", "CreatePrebuild", {**base, "spec": spec}, f"the spec {json.dumps(spec)}"
            )
        fields = {**self.fresh("CreateWarmPool"), "maxSize": 1.5}
        self.refuse("wrong-type-is-refused", "CreateWarmPool", fields, "maxSize 1.5")

    @step("input-forms", "strict-input")
    def forms(self) -> None:
        """Input that protobuf JSON allows and the schema does not name."""
        session = self.session
        forms: list[dict[str, Any]] = [
            {"pagination": {"pageSize": "1"}},
            {"pagination": {"page_size": 1}},
            {"pagination": None, "filter": None},
        ]
        for method in LISTS:
            more = [{"filter": {"phases": [60]}}] if method == "ListPrebuilds" else []
            for form in forms + more if more else forms[1:2]:
                fields = self.listing() | form if "filter" not in form else form
                answer = self.try_call(method, fields)
                if answer is None:
                    continue
                right = answer.status == 200 or answer.code == INVALID
                why = f"{method} with {json.dumps(form)} has to succeed or be {INVALID}, and got {answer.outcome}"
                if answer.ok and at(form, "pagination.pageSize") == "1" and len(list(items_in(answer))) > 1:
                    right, why = False, f"{method} with {json.dumps(form)} answered more than one item"
                phases = {phase_of(item) for kind, item in items_in(answer) if kind == "prebuild"}
                if answer.ok and form.get("filter") and phases - {"COMPLETED"}:
                    right, why = (
                        False,
                        f"{method} with {json.dumps(form)} answered items in {', '.join(sorted(phases))}",
                    )
                session.judge("input-forms", method, right, why)
                if session.profile == "strict" and form != forms[2]:
                    session.refused("strict-input", answer, f"{method} with {json.dumps(form)}", INVALID)
            if session.profile == "strict":
                self.refuse("strict-input", method, {**self.listing(), "nonsense": 1}, "an unknown field")

    @step("malformed-id-is-refused")
    def hostile(self) -> None:
        session = self.session
        chosen = self.of(("GetPrebuild", "CancelPrebuild", "GetWarmPool"))
        for method, what in zip(chosen, itertools.cycle(("a lone surrogate", "NUL")), strict=False):
            fields = {ID_FIELD[method]: _HOSTILE[what]}
            self.refuse("malformed-id-is-refused", method, fields, f"{what} in the id")
        if not session.wants(*EVERY_RESPONSE):
            return
        for method in LISTS:
            for what, text in _HOSTILE.items():
                if method == "ListPrebuilds" or what == "a lone surrogate":
                    self.try_call(method, {**self.listing(), "pagination": {"token": text}})
        if session.local:
            deep = b'{"filter":' * 3000 + b"1" + b"}" * 3000
            number = b'{"pagination":{"pageSize":' + b"9" * 5000 + b"}}"
            for body in (deep, number):
                self.send(Request("ListPrebuilds", body, session.headers()))

    def send(self, request: Request) -> Answer | None:
        """Send an invalid request, which the server must reject, or at least survive."""
        try:
            return self.session.send(request, refused=True)
        except TransportError:
            return None

    # -- The protocol

    @step("unauthenticated-without-token", "unauthenticated-with-wrong-token")
    def auth(self) -> None:
        session = self.session
        taken: list[Answer] = []
        # An unrelated token, a prefix of the right token, and the right token with a suffix.
        wrong_ones = itertools.cycle(
            [wrong for wrong in (WRONG_TOKEN, session.token[:-1], f"{session.token}x") if wrong]
        )
        for method, wrong in zip(self.methods, wrong_ones, strict=False):
            without = "unauthenticated-without-token"
            if session.wants_to_see(without, method):
                answer = self.try_call(method, self.fresh(method), token=None, refused=True)
                if answer is not None:
                    session.refused(without, answer, f"{method} without a token", "unauthenticated")
            if session.wants_to_see("unauthenticated-with-wrong-token", method):
                answer = self.try_call(method, self.fresh(method), token=wrong, refused=True)
                if answer is not None:
                    taken.append(answer)
        headers = (*session.headers(token=None), ("Authorization", f"Basic {session.token}"))
        answer = self.send(Request("GetPrebuild", encode(self.base("GetPrebuild")), headers))
        if answer is not None:
            what = "GetPrebuild with the token behind Basic"
            session.refused("unauthenticated-without-token", answer, what, "unauthenticated")
        if taken and all(answer.code != "unauthenticated" and answer.status < 500 for answer in taken):
            why = "the server takes any token"
            session.excuse("unauthenticated-with-wrong-token", why)
            return
        for answer in taken:
            what = f"{answer.request.method} with a wrong token"
            session.refused("unauthenticated-with-wrong-token", answer, what, "unauthenticated")

    @step(
        *("unsupported-media-type", "malformed-json", "gzip-requests", "unknown-encoding", "deadline-is-taken"),
        *("get-for-reads", "protocol-version-is-optional", "method-not-allowed", "no-write-by-get"),
    )
    def protocol(self) -> None:
        session = self.session
        for method in self.methods:
            if session.wants_to_see("unsupported-media-type", method):
                request = Request(method, encode(self.base(method)), session.headers(content_type="text/plain"))
                answer = self.send(request)
                if answer is not None:
                    why = f"{method} with text/plain has to be 415, and got {answer.outcome}"
                    session.judge("unsupported-media-type", method, answer.status == 415, why)
            for body in _MALFORMED if method == "ListPrebuilds" else _MALFORMED[:1]:
                answer = None
                if session.wants_to_see("malformed-json", method):
                    answer = self.send(Request(method, body, session.headers()))
                if answer is not None:
                    session.refused("malformed-json", answer, f"{method} with the body {body!r}", INVALID)
        self.compressed()
        if session.wants("method-not-allowed", "no-write-by-get", *EVERY_RESPONSE) and session.local:
            self.verbs()
        for method in READS:
            if not session.wants_to_see("get-for-reads", method) and not session.wants("protocol-version-is-optional"):
                continue
            fields = self.base(method)
            query = f"connect=v1&encoding=json&message={quote(json.dumps(fields))}"
            headers = session.headers(content_type=None)
            answer = self.send(Request(method, None, headers, "GET", query=query))
            if answer is not None:
                right = answer.code == "not_found" if method in ID_FIELD else answer.status == 200
                session.judge("get-for-reads", method, right, f"{method} by GET got {answer.outcome}")
            if method in ID_FIELD:
                plain = self.try_call(method, fields, version=False)
                if plain is not None:
                    what = f"{method} of an unknown id without Connect-Protocol-Version"
                    session.refused("protocol-version-is-optional", plain, what, "not_found")

    def compressed(self) -> None:
        session = self.session
        headers = session.headers()
        if not session.wants("gzip-requests", "unknown-encoding", "deadline-is-taken", *EVERY_RESPONSE):
            return
        deadline = Request("ListPrebuilds", encode(self.listing()), (*headers, _LONG_DEADLINE))
        answer = self.send(deadline)
        if answer is not None:
            session.accepted("deadline-is-taken", answer, f"ListPrebuilds with {': '.join(_LONG_DEADLINE)}")
        packed = gzip.compress(encode(self.listing()), mtime=0)
        answer = self.send(Request("ListPrebuilds", packed, (*headers, ("Content-Encoding", "gzip"))))
        if answer is not None:
            session.accepted("gzip-requests", answer, "ListPrebuilds with a body in gzip")
        answer = self.send(Request("ListPrebuilds", b"{}", (*headers, ("Content-Encoding", "nonsense"))))
        if answer is not None:
            what = "ListPrebuilds with a body in an unknown encoding"
            session.refused("unknown-encoding", answer, what, "unimplemented")

    def verbs(self) -> None:
        """HTTP methods that are not declared: only for servers that stand here."""
        session = self.session
        for method in self.methods:
            verb = "GET" if method in WRITES else "PUT"
            query = f"encoding=json&message={quote(json.dumps(self.base(method)))}" if verb == "GET" else ""
            headers = session.headers(content_type=None if verb == "GET" else JSON)
            answer = self.send(Request(method, None if verb == "GET" else b"{}", headers, verb, query=query))
            if answer is None:
                continue
            why = f"{verb} on {method} has to be 405 with Allow: POST, and got {answer.outcome}"
            right = answer.status == 405 and "POST" in answer.headers.get("allow", "").upper()
            session.judge("method-not-allowed", method, right, why)
            # An error of the method's own shows that it was reached.
            reached = answer.ok or answer.code in PROOF
            session.judge("no-write-by-get", method, not reached, f"GET on {method} got {answer.outcome}")

    # -- Lists

    @step(
        *("list-contains", "list-agrees-with-get", "newest-first", "inside-bounds-is-accepted", "page-size-kept"),
        *("filters", "no-item-twice", "page-tokens-are-new", "paging-ends", "no-item-skipped"),
        *("page-token-is-bound-to-filter", "bad-page-token-is-refused", *OBSERVED),
        needs=("make_prebuilds", "make_pools"),
    )
    def page_through(self) -> None:
        """Compare the pages of a list, a few items each, with the same list on one page.

        On an open server, the list is limited to resources of the run: other clients may change any other list.
        """
        session = self.session
        for method in LISTS:
            filters = self.listing()
            ours = self.pool_projects
            if method == "ListPrebuilds" and self.prebuilds:
                ours = [at(self.prebuilds[0], "metadata.projectId")]
            if session.is_open and ours:
                filters = {"filter": {"projectIds": list(dict.fromkeys(ours))}}
            mark = session.mark()
            items, answer, complete = session.whole_list(method, filters.get("filter", {}))
            expected = [str(item.get("id")) for item in items]
            if complete:
                self.judge_listed(method, items, expected, session.since(mark))
            if answer.ok and expected:
                self.walk(method, filters, expected, complete=complete)

    def judge_listed(self, method: str, items: list[dict[str, Any]], ids: list[str], shows: list[Answer]) -> None:
        session = self.session
        made = [self.pool] if self.pool else []
        if method == "ListPrebuilds":
            project = at(self.prebuilds[0], "metadata.projectId") if self.prebuilds else None
            made = [item for item in self.prebuilds[:3] if at(item, "metadata.projectId") == project]
        for item in made:
            listed = str(item.get("id")) in ids
            session.judge("list-contains", method, listed, f"{item.get('id')} was made and is not listed", shows=shows)
            shown = next((each for each in items if each.get("id") == item.get("id")), None)
            if shown is not None:
                kind = "prebuild" if method == "ListPrebuilds" else "warmPool"
                wrong = next((path for path in _FIXED[kind] if _differs(at(item, path), at(shown, path))), None)
                why = f"{wrong} of {item.get('id')} is listed as {at(shown, wrong)!r}" if wrong else ""
                session.judge("list-agrees-with-get", method, wrong is None, why, shows=shows)
        if method == "ListPrebuilds" and len(self.prebuilds) > 1:
            places = [ids.index(str(item["id"])) for item in self.prebuilds if str(item["id"]) in ids]
            right = places == sorted(places, reverse=True)
            session.judge("newest-first", method, right, "what was made last is not listed first", shows=shows)

    def walk(self, method: str, filters: dict[str, Any], expected: list[str], *, complete: bool) -> None:
        session = self.session
        mark = session.mark()
        size = max(1, len(expected) // 3)
        seen: list[str] = []
        tokens: list[str] = []
        ended = False
        # A server may return empty pages in between.
        for _ in range(2 * len(expected) + 8 if complete else 8):
            page: dict[str, Any] = {"pageSize": size, "token": tokens[-1]} if tokens else {"pageSize": size}
            answer = session.call(method, {**filters, "pagination": page})
            session.accepted("inside-bounds-is-accepted", answer, f"{method} with the token of the page before")
            if not answer.ok:
                return
            ids = [str(item.get("id")) for _, item in items_in(answer)]
            why = f"a page of {size} was asked for, and has {len(ids)} items"
            session.judge("page-size-kept", method, len(ids) <= size, why, shows=session.since(mark)[-2:])
            judge_page(session, answer, filters.get("filter", {}), shows=session.since(mark)[-2:])
            repeated = [item_id for item_id in ids if item_id in seen]
            sequence = session.since(mark)
            session.judge("no-item-twice", method, not repeated, f"{repeated} came twice", shows=sequence)
            seen += ids
            token = answer.at("pagination.nextToken")
            if not isinstance(token, str) or not token:
                ended = True
                break
            session.judge("page-tokens-are-new", method, token not in tokens, "a page token came twice", shows=sequence)
            if token in tokens:
                return
            tokens.append(token)
        if complete and (ended or len(seen) >= len(expected)):
            sequence = session.since(mark)
            session.judge(
                "paging-ends", method, ended, "the last page has a token, and more pages follow", shows=sequence
            )
            missing = [item_id for item_id in expected if item_id not in seen]
            gone = [item_id for item_id in missing if self.is_gone(method, item_id)] if missing else []
            lost = [item_id for item_id in missing if item_id not in gone]
            session.judge("no-item-skipped", method, not lost, f"{lost} are on none of the pages", shows=sequence)
        self.misuse(method, filters, tokens[0] if tokens else "")

    def is_gone(self, method: str, item_id: str) -> bool:
        get = "GetPrebuild" if method == "ListPrebuilds" else "GetWarmPool"
        return self.session.call(get, {ID_FIELD[get]: item_id}).code == "not_found"

    def misuse(self, method: str, filters: dict[str, Any], token: str) -> None:
        session = self.session
        if token and session.wants("page-token-is-bound-to-filter"):
            ids = [item for item in session.projects if item not in filters.get("filter", {}).get("projectIds", [])]
            other = ids[:1] or [session.new_id()]
            fields = {"filter": {"projectIds": other}, "pagination": {"pageSize": 1, "token": token}}
            self.refuse("page-token-is-bound-to-filter", method, fields, "the token of another filter")
        if session.wants("bad-page-token-is-refused"):
            fields = {**filters, "pagination": {"token": "no-token-of-this-server"}}
            self.refuse("bad-page-token-is-refused", method, fields, "a token of its own making")

    @step("filters", "filters-combine", "answers-what-was-asked", needs=("make_prebuilds", "make_pools"))
    def filter(self) -> None:
        session = self.session
        for method in LISTS:
            items = self.prebuilds if method == "ListPrebuilds" else ([self.pool] if self.pool else [])
            if not items:
                continue
            item = items[0]
            project = str(at(item, "metadata.projectId"))
            alone: list[tuple[str, list[Any], Callable[[dict[str, Any]], bool], bool]] = [
                ("projectIds", [project], _where("metadata.projectId", project), True)
            ]
            if method == "ListPrebuilds":
                creator = at(item, "metadata.creator.id")
                alone += [
                    ("creatorIds", [creator], _where("metadata.creator.id", creator), True),
                    (
                        "triggeredBy",
                        ["PREBUILD_TRIGGER_SCHEDULED", "PREBUILD_TRIGGER_MANUAL", "PREBUILD_TRIGGER_SCHEDULED"],
                        _within("metadata.triggeredBy", ["PREBUILD_TRIGGER_SCHEDULED", "PREBUILD_TRIGGER_MANUAL"]),
                        True,
                    ),
                    (
                        "triggeredBy",
                        ["PREBUILD_TRIGGER_SCHEDULED"],
                        _where("metadata.triggeredBy", "PREBUILD_TRIGGER_SCHEDULED"),
                        False,
                    ),
                    ("creatorIds", [session.new_id()], _nothing, False),
                    ("executorIds", [session.new_id(), creator], _where("metadata.executor.id", creator), False),
                    ("phases", ["PREBUILD_PHASE_DELETED"], _is_deleted, False),
                ]
                if not at(item, "metadata.environmentClassId"):
                    continue
            else:
                environment_class = at(item, "metadata.environmentClassId")
                alone += [
                    (
                        "environmentClassIds",
                        [environment_class],
                        _where("metadata.environmentClassId", environment_class),
                        True,
                    ),
                    ("environmentClassIds", [session.new_id()], _nothing, False),
                ]
            if session.is_open:
                alone.append(("projectIds", [session.new_id()], _nothing, False))
            for name, values, matches, contains in alone:
                if schema.leaf(method, f"filter.{name}") is None:
                    continue
                values = values[: schema.max_items(method, f"filter.{name}")]
                self.judge_filter("filters", method, {name: values}, matches, item if contains else None)
            self.combine(method, item, project)
        self.filter_phases()

    def judge_filter(
        self,
        name: str,
        method: str,
        filters: dict[str, Any],
        matches: Callable[[dict[str, Any]], bool],
        contained: dict[str, Any] | None,
    ) -> list[dict[str, Any]]:
        """Every item in a filtered list matches the filter, and the list contains every known match.

        In a list that is not limited to projects of the run, changes by other clients between pages can hide an item.
        """
        session = self.session
        is_ours = bool(filters.get("projectIds"))
        attempts = 0
        while True:
            attempts += 1
            mark = session.mark()
            items, answer, complete = session.whole_list(method, filters, most=20 if is_ours else 3)
            shows = session.since(mark)
            if not answer.ok:
                session.judge(name, method, ok=False, why=f"the filter {json.dumps(filters)} got {answer.outcome}")
                return []
            listed = contained is None or any(item.get("id") == contained.get("id") for item in items)
            if listed or not complete or is_ours or attempts == 3:
                break
        wrong = [item.get("id") for item in items if not matches(item)]
        why = f"the filter {json.dumps(filters)} lets through {wrong[:3]}, which do not match it"
        session.judge(name, method, not wrong, why, shows=shows)
        if contained is not None and complete:
            why = f"the filter {json.dumps(filters)} does not let through {contained.get('id')}, which matches it"
            session.judge(name, method, listed, why, shows=shows)
        return items if complete else []

    def combine(self, method: str, item: dict[str, Any], project: str) -> None:
        session = self.session
        two = "creatorIds" if method == "ListPrebuilds" else "environmentClassIds"
        path = "metadata.creator.id" if method == "ListPrebuilds" else "metadata.environmentClassId"
        value = at(item, path)
        unknown = session.new_id()
        more = [unknown] if session.is_open else [other for other in session.projects if other != project][:1]

        def both(each: dict[str, Any]) -> bool:
            return at(each, "metadata.projectId") in (project, *more) and bool(at(each, path) == value)

        name = "filters-combine"
        self.judge_filter(name, method, {"projectIds": [project], two: [unknown]}, _nothing, None)
        self.judge_filter(name, method, {"projectIds": [project], two: []}, _where("metadata.projectId", project), item)
        # Values are alternatives wherever they stand.
        self.judge_filter(name, method, {"projectIds": [*more, project], two: [value, unknown]}, both, item)
        self.judge_filter(name, method, {"projectIds": [project, *more], two: [unknown, value]}, both, item)
        if session.is_open:
            self.judge_filter(name, method, {"projectIds": [unknown], two: [value]}, _nothing, None)
            self.judge_filter(name, method, {"projectIds": [], two: [value]}, _where(path, value), item)
        if method == "ListPrebuilds" and self.other is not None and self.other.project != project:
            elsewhere = next((p for p in self.prebuilds if at(p, "metadata.projectId") == self.other.project), None)
            if elsewhere is not None:
                pair = [project, self.other.project]
                self.judge_filter(
                    "filters-combine", method, {"projectIds": pair}, _within("metadata.projectId", pair), elsewhere
                )

    def filter_phases(self) -> None:
        """The phase is observed before and after, so that a prebuild that moves on in between does no harm."""
        session = self.session
        if not self.prebuilds:
            return
        item = self.prebuilds[0]
        project = str(at(item, "metadata.projectId"))
        before = phase_of(self.get("GetPrebuild", item, judged=False))
        if not before:
            return
        name = PrebuildPhase[before].value
        # Values are alternatives in any position. A value without a match in the run does not widen the filter.
        around = ("DELETED", "CANCELLED" if before == "FAILED" else "FAILED")
        asked = [PrebuildPhase[around[0]].value, name, PrebuildPhase[around[1]].value]
        filters = {"projectIds": [project], "phases": asked}
        mark = session.mark()
        items = self.judge_filter(
            "filters", "ListPrebuilds", filters, lambda each: phase_of(each) in (before, *around), None
        )
        shows = session.since(mark)
        most = schema.max_items("ListPrebuilds", "filter.phases")
        others = [phase.value for phase in PrebuildPhase if phase.value != name and phase.number][:most]
        rest = session.call("ListPrebuilds", {"filter": {"projectIds": [project], "phases": others}})
        if phase_of(self.get("GetPrebuild", item, judged=False)) != before:
            return
        if not shows[-1].at("pagination.nextToken"):
            listed = any(each.get("id") == item.get("id") for each in items)
            why = f"it is {before}, and the filter for that does not let it through"
            session.judge("filters", "ListPrebuilds", listed, why, shows=shows)
        other = any(each.get("id") == item.get("id") for _, each in items_in(rest))
        why = f"it is {before}, and a filter for other phases lets it through"
        session.judge("filters", "ListPrebuilds", not other, why, shows=[rest])

    # -- Changing

    @step(needs=("make_prebuilds", "make_pools"))
    def call_others(self) -> None:
        """Call methods that the kit knows from the schema alone, with existing resources.

        Their results are up to the server. The check of each response covers its conformance to the schema.
        """
        for method in METHODS:
            if method in HAND_WRITTEN or self.session.findings.reached[method].success:
                continue
            known: dict[str, Any] = {}
            if ID_FIELD.get(method) == "prebuildId" and self.prebuilds:
                known = {"prebuildId": self.prebuilds[-1].get("id")}
            elif ID_FIELD.get(method) == "warmPoolId" and self.pool is not None:
                known = {"warmPoolId": self.pool.get("id")}
            elif method in WRITES:
                continue  # the effect of the call, and the owner of the resource, are unknown
            self.try_call(method, {**self.base(method), **known})

    @step(
        *("update-checks-stored-bounds", "answers-what-was-asked", "refused-changes-nothing", "echo", "empty-update"),
        *("inside-bounds-is-accepted", "min-at-most-max", "update-changes-what-is-named", "read-your-write"),
        *("desired-size-sets-both", "outside-bounds-is-refused", "others-are-untouched", *OBSERVED),
        needs=("make_pools",),
    )
    def update_pool(self) -> None:
        session = self.session
        if self.pool is None:
            raise _Stop
        pool = self.pool
        pool_id = str(pool.get("id"))
        sizes = self.sizes
        of = schema.pool_sizes()

        def update(name: str, fields: dict[str, Any], low: int, high: int) -> None:
            nonlocal pool, sizes
            answer = session.call("UpdateWarmPool", {"warmPoolId": pool_id, **fields})
            session.accepted("inside-bounds-is-accepted", answer, f"UpdateWarmPool with {json.dumps(fields)}")
            changed = answer.part("warmPool")
            if not answer.ok or not changed:
                raise _Stop
            got = changed.get("id")
            why = f"UpdateWarmPool of {pool_id} answered {got}"
            session.judge("answers-what-was-asked", "UpdateWarmPool", got == pool_id, why)
            self.judge_sizes(name, "UpdateWarmPool", changed, low, high)
            sizes = (low, high)
            pool = self.get("GetWarmPool", changed) if name != "echo" else changed

        def refuse(name: str, fields: dict[str, Any]) -> None:
            nonlocal pool
            if fields.get("minSize", sizes[0]) <= fields.get("maxSize", sizes[1]):
                return  # the bounds of the schema leave no room for invalid values
            # Concurrent changes of the pool do not happen each time.
            mark = session.mark()
            for _ in range(3):
                answer = self.refuse(name, "UpdateWarmPool", {"warmPoolId": pool_id, **fields}, json.dumps(fields))
                if answer is None or answer.ok:
                    return
                before, pool = pool, self.get("GetWarmPool", pool, judged=False)
                self.judge_sizes("refused-changes-nothing", "UpdateWarmPool", pool, *sizes)
                if not _has_new_version(before, pool):
                    return
            why = f"an update was refused three times, and spec.specVersion is {at(pool, 'spec.specVersion')} by now"
            shows = session.since(mark)
            session.judge("refused-changes-nothing", "UpdateWarmPool", ok=False, why=why, shows=shows)

        # First of all: it takes no update to show it.
        refuse("update-checks-stored-bounds", {"minSize": of.near(5)})
        low, high = of.near(3), of.near(5)
        update("echo", {"minSize": low, "maxSize": high}, low, high)
        refuse("update-checks-stored-bounds", {"maxSize": of.max_low})
        self.refuse_disorder("UpdateWarmPool", {"warmPoolId": pool_id})
        least = of.least
        update("update-changes-what-is-named", {"minSize": least["minSize"]}, least["minSize"], high)
        update("update-changes-what-is-named", {"maxSize": least["maxSize"]}, *least.values())
        if of.desired is not None:
            update("desired-size-sets-both", {"desiredSize": of.desired[1]}, of.desired[1], of.desired[1])
        update("echo", {"minSize": of.top, "maxSize": of.top}, of.top, of.top)
        if of.desired is not None:
            update("desired-size-sets-both", {"desiredSize": of.desired[0]}, of.desired[0], of.desired[0])
        for bound in schema.bounds("UpdateWarmPool"):
            for value in bound.outside:
                fields = _fitting({bound.path: value}, bound.path)
                answer = self.refuse(
                    "outside-bounds-is-refused", "UpdateWarmPool", {"warmPoolId": pool_id, **fields}, json.dumps(fields)
                )
                if answer is not None and answer.ok:
                    raise _Stop
        self.judge_neighbour("UpdateWarmPool")
        if session.wants("empty-update"):
            answer = session.call("UpdateWarmPool", {"warmPoolId": pool_id})
            session.accepted("empty-update", answer, "UpdateWarmPool with nothing to change")
            if answer.ok:
                self.judge_sizes("empty-update", "UpdateWarmPool", answer.part("warmPool"), *sizes)

    def judge_neighbour(self, method: str) -> None:
        """The other pool of the project is as it was made."""
        if self.neighbour is None:
            return
        answer = self.session.call("GetWarmPool", {"warmPoolId": self.neighbour.get("id")})
        shown = answer.part("warmPool")
        same = all(at(shown, path) == at(self.neighbour, path) for path in ("spec.minSize", "spec.maxSize"))
        right = same and phase_of(shown) not in LEAVING
        why = f"{method} of one pool has changed another of the same project"
        self.session.judge("others-are-untouched", method, right, why, shows=[*self.session.log[-2:]])

    def judge_sibling(self, method: str, sibling: dict[str, Any], *, since: int) -> None:
        """Another prebuild of the project goes its way."""
        answer = self.session.call("GetPrebuild", {"prebuildId": sibling.get("id")})
        phase = phase_of(answer.part("prebuild"))
        right = answer.ok and phase not in ("CANCELLING", "CANCELLED", "DELETING", "DELETED")
        why = f"{method} of one prebuild has reached another of the same project: it is {phase or answer.outcome}"
        self.session.judge("others-are-untouched", method, right, why, shows=self.session.since(since))

    @step(
        *("cancel-takes-effect", "answers-what-was-asked", "echo", "others-are-untouched", "cancel-rules"),
        *("repeated-cancel", *OBSERVED),
    )
    def cancel(self) -> None:
        session, pair = self.session, self.pair
        named = {"environmentClassId": pair.environment_class} if pair.environment_class else {}
        made = session.call(
            "CreatePrebuild", {"projectId": pair.project, **named, "spec": {"timeout": schema.timeouts()[1]}}
        )
        item = made.part("prebuild")
        prebuild_id = str(item.get("id"))
        if not made.ok or phase_of(item) not in ("PENDING", "STARTING", "RUNNING"):
            raise _Stop  # it is about to end by itself
        # A running prebuild is included: cancelling an ended prebuild has no effect in any case.
        sibling = session.call("CreatePrebuild", {"projectId": pair.project, **named, "spec": {}}).part("prebuild")
        mark = session.mark()
        answer = session.call("CancelPrebuild", {"prebuildId": prebuild_id})
        if not judge_cancellation(session, answer, prebuild_id):
            raise _Stop
        got = answer.at("prebuild.id")
        why = f"CancelPrebuild of {prebuild_id} answered {got}"
        session.judge("answers-what-was-asked", "CancelPrebuild", got == prebuild_id, why)
        shown: dict[str, Any] = {}
        found = answer

        def has_stopped() -> bool:
            nonlocal shown, found
            found = session.call("GetPrebuild", {"prebuildId": prebuild_id})
            shown = found.part("prebuild")
            wanted = desired_phase_of(shown) == "CANCELLED"
            return found.ok and (wanted or phase_of(shown) not in ("PENDING", "STARTING", "RUNNING"))

        mark_of_look = session.mark()
        done = session.eventually(has_stopped)
        first = session.since(mark_of_look)[0].part("prebuild")
        told = answer.part("prebuild")
        why = f"it is {phase_of(first)}, and the answer to its cancellation shows it {phase_of(told)}, as it was before"
        stale = is_cancelled(first) and not is_cancelled(told)
        session.judge("echo", "CancelPrebuild", not stale, why, shows=[answer])
        state = phase_of(shown) or found.outcome
        why = f"it was cancelled, and is {state} with the desired phase {desired_phase_of(shown) or 'unset'}"
        session.judge("cancel-takes-effect", "CancelPrebuild", done, why)
        if sibling:
            self.judge_sibling("CancelPrebuild", sibling, since=mark)
        if session.wants("cancel-rules", "repeated-cancel"):
            right = phase_of(shown) in ("CANCELLING", "CANCELLED")
            session.judge("cancel-rules", "CancelPrebuild", right, f"it was cancelled, and is {phase_of(shown)}")
            right = desired_phase_of(told) == "CANCELLED" or phase_of(told) in ("CANCELLING", "CANCELLED")
            why = f"the answer to a cancellation shows {phase_of(told)} with the desired phase {desired_phase_of(told)}"
            session.judge("cancel-rules", "CancelPrebuild", right, why, shows=[answer])
            again = session.call("CancelPrebuild", {"prebuildId": prebuild_id})
            session.accepted("repeated-cancel", again, f"CancelPrebuild while {phase_of(shown)}")

    @step(
        *("delete-takes-effect", "repeated-delete", "delete-again-succeeds", "others-are-untouched"),
        needs=("make_prebuilds",),
    )
    def delete_prebuild(self) -> None:
        if not self.prebuilds:
            raise _Stop
        mark = self.session.mark()
        first, *others = self.prebuilds
        judge_deletion(self.session, "DeletePrebuild", str(first.get("id")))
        if others and at(others[0], "metadata.projectId") == at(first, "metadata.projectId"):
            self.judge_sibling("DeletePrebuild", others[0], since=mark)

    @step(
        *("delete-takes-effect", "delete-is-wanted", "repeated-delete", "delete-again-succeeds"),
        *("others-are-untouched", "update-while-deleting"),
        needs=("make_pools",),
    )
    def delete_pool(self) -> None:
        if self.pool is None:
            raise _Stop
        session, pool_id = self.session, str(self.pool.get("id"))
        judge_deletion(session, "DeleteWarmPool", pool_id)
        self.judge_neighbour("DeleteWarmPool")
        if session.wants("update-while-deleting"):
            answer = session.call("UpdateWarmPool", {"warmPoolId": pool_id, "maxSize": schema.pool_sizes().near(2)})
            what = "UpdateWarmPool of a pool that was deleted"
            session.refused("update-while-deleting", answer, what, "failed_precondition", "not_found")
        if self.pool_pair is not None and not session.is_open:
            session.release(self.pool_pair)


_FIXED: Final = {
    "prebuild": (
        "metadata.projectId",
        "metadata.environmentClassId",
        "metadata.organizationId",
        "metadata.createdAt",
        "metadata.creator.id",
        "metadata.triggeredBy",
        "spec.timeout",
    ),
    "warmPool": (
        "metadata.projectId",
        "metadata.environmentClassId",
        "metadata.organizationId",
        "metadata.createdAt",
        "spec.minSize",
        "spec.maxSize",
    ),
}


def _ways_to_say_sizes() -> Iterator[tuple[dict[str, Any], int, int]]:
    """Ways to write the sizes of a new pool, and their meaning."""
    of = schema.pool_sizes()
    yield {"minSize": of.min_low, "maxSize": of.top}, of.min_low, of.top
    yield {"minSize": of.top, "maxSize": of.top}, of.top, of.top
    if of.desired is not None:
        yield {"desiredSize": of.desired[1]}, of.desired[1], of.desired[1]
    yield {}, 1, 1


def _has_new_version(before: dict[str, Any], item: dict[str, Any]) -> bool:
    """Whether a pool has another version of a spec that is the same."""

    def parts(of: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        spec = dict(at(of, "spec") or {})
        return spec.pop("specVersion", None), spec

    (earlier, old), (later, new) = parts(before), parts(item)
    return old == new and earlier != later


def _neighbour_of(known: str) -> str:
    """Another UUID, which differs in its last digit only."""
    return f"{known[:-1]}{'0' if known[-1:] != '0' else '1'}"


def _pool_of(pair: Pair, **sizes: Any) -> dict[str, Any]:
    return {"projectId": pair.project, "environmentClassId": pair.environment_class, **sizes}


def _fitting(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """The other size changed so that only the one at `path` is out of its bounds."""
    sizes = {name: value for name, value in fields.items() if name not in ("minSize", "maxSize", "desiredSize")}
    value = fields.get(path)
    if path == "minSize":
        return {**sizes, "minSize": value, "maxSize": schema.pool_sizes().top}
    if path == "maxSize":
        return {**sizes, "minSize": schema.pool_sizes().min_low, "maxSize": value}
    if path == "desiredSize":
        return {**sizes, "desiredSize": value}
    return fields


def _is_uuid(value: Any) -> bool:
    try:
        parse_uuid(value)
    except ValueError:
        return False
    return True


def _where(path: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda item: bool(at(item, path) == value)


def _nothing(item: dict[str, Any]) -> bool:  # noqa: ARG001  a filter that lets nothing through looks at nothing
    return False


def _is_deleted(item: dict[str, Any]) -> bool:
    return phase_of(item) == "DELETED"


def _within(path: str, values: Sequence[Any]) -> Callable[[dict[str, Any]], bool]:
    return lambda item: at(item, path) in values


def _differs(asked: Any, shown: Any) -> bool:
    """Whether two JSON values differ in meaning; an absent value is zero."""
    if isinstance(asked, str) and isinstance(shown, str) and asked != shown:
        seconds = _seconds(asked)
        if seconds is not None and seconds == _seconds(shown):
            return False
        return asked.lower() != shown.lower()
    return (asked or None) != (shown or None)


def _seconds(text: Any) -> Decimal | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None
