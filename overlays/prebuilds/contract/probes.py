"""Layer 1: deterministic requests from the bounds of the schema and a table of wire rules.

Each probe stands alone: one that cannot go on, because a server does not do what it builds on, ends there, and what it
would have shown stays untested.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from prebuild_wire import OPERATIONS
from prebuild_wire.enums import PrebuildPhase
from prebuild_wire.scalars import parse_duration, parse_uuid
from prebuilds.contract import schema
from prebuilds.contract.findings import PROOF, Expected
from prebuilds.contract.observations import ACTIVE, LEAVING, desired_phase_of, items_in, phase_of
from prebuilds.contract.properties import CREATES, ID_FIELD, LISTS, METHODS, OF_ID, READS, WRITES
from prebuilds.contract.session import ForbiddenError, LimitReachedError, Pair, Session
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
    """One run of all probes, and what they have made so far."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pair = session.home
        self.other = session.elsewhere() if session.allows(writes=True) else None
        self.prebuilds: list[dict[str, Any]] = []
        self.pool: dict[str, Any] | None = None
        self.pool_pair: Pair | None = None
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
            steps += [self.update_pool, self.cancel, self.delete_prebuild, self.delete_pool]
        for step in steps:
            try:
                step()
            except (_Stop, LimitReachedError, ForbiddenError, TransportError):
                continue

    # -- Help

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that may be called with what has to be refused."""
        return METHODS if self.session.allows_refusals else READS

    def of(self, methods: Sequence[str]) -> list[str]:
        return [method for method in methods if method in self.methods]

    def try_call(self, method: str, fields: Any, **how: Any) -> Answer | None:
        """A call whose missing answer, which is judged already, does not end the probe."""
        try:
            return self.session.call(method, fields, **how)
        except TransportError:
            return None

    def refuse(self, name: str, method: str, fields: Any, what: str, *codes: str) -> Answer | None:
        """Call, and judge that it is refused with one of the codes."""
        answer = self.try_call(method, fields, refused=True)
        if answer is not None:
            self.session.refused(name, answer, f"{method} with {what}", *(codes or (INVALID,)))
        return answer

    def base(self, method: str) -> dict[str, Any]:
        """A request that nothing is wrong with, and that is about nothing that exists."""
        pair = self.pair
        environment_class = pair.environment_class or self.session.new_id()
        if method == "CreatePrebuild":
            return {"projectId": pair.project, "spec": {}}
        if method == "CreateWarmPool":
            return {"projectId": pair.project, "environmentClassId": environment_class, "minSize": 0, "maxSize": 1}
        if method in LISTS:
            return self.listing()
        if method not in ID_FIELD:
            return schema.minimal(method)
        return {ID_FIELD[method]: self.session.new_id()}

    def listing(self, **more: Any) -> dict[str, Any]:
        """A list of what is in the projects of the run."""
        return {"filter": {"projectIds": list(self.session.projects[:25])}, **more} if self.session.projects else more

    # -- What there is

    def read(self) -> None:
        session = self.session
        for method in LISTS:
            answer = session.call(method, self.listing(), version=False)
            session.accepted("protocol-version-is-optional", answer, f"{method} without Connect-Protocol-Version")
            count = len(list(items_in(answer)))
            if answer.ok:
                why = f"{method} without a size answered {count} items"
                session.judge("default-page-size", method, count <= 25, why)
            if session.allows(writes=True):
                continue
            # In what is there already, something may be looked up.
            for _, item in items_in(answer):
                found = "GetPrebuild" if method == "ListPrebuilds" else "GetWarmPool"
                self.get(found, item)
                break

    def get(self, method: str, item: dict[str, Any], *, judged: bool = True) -> dict[str, Any]:
        """Look up what is known, and judge that it is the same."""
        session = self.session
        item_id = str(item.get("id"))
        answer = session.call(method, {ID_FIELD[method]: item_id})
        kind = "prebuild" if method == "GetPrebuild" else "warmPool"
        shown = answer.part(kind)
        if not answer.ok or not shown:
            if judged:
                why = f"{method} of what is there has to succeed, and got {answer.outcome}"
                session.judge("read-your-write", method, ok=False, why=why, expected=Expected(status=200))
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
            requests.append({"projectId": other.project, **more, "spec": {"timeout": "1800.500s"}})
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
        """Whether a creation was refused for what is under way already.

        ASSUMPTION: the prebuilds of a project may be under way at the same time.
        """
        return answer.code == "failed_precondition" and bool(self.session.made) and not self.session.assumptions

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
        kind = "prebuild" if method == "CreatePrebuild" else "warmPool"
        return self.session.judge(
            "echo",
            method,
            not _differs(asked, shown),
            f"{path} was asked to be {asked!r}, and is {shown!r}",
            expected=Expected(path=f"{kind}.{path}", value=asked),
        )

    def make_pools(self) -> None:
        """A pool to work with, and where there is room one for each other way to say a size."""
        session = self.session
        # In `home` of an open server there is room; of the given pairs, any may have a pool.
        pair = self.pair if session.is_open else session.new_pair()
        while pair is not None and self.pool is None:
            if pair.environment_class:
                answer = session.call("CreateWarmPool", _pool_of(pair, minSize=2, maxSize=3))
                if answer.ok and answer.part("warmPool"):
                    session.accepted("inside-bounds-is-accepted", answer, "CreateWarmPool with sizes of 2 and 3")
                    self.pool, self.pool_pair = answer.part("warmPool"), pair
                    break
                if answer.code != "already_exists":
                    session.accepted("inside-bounds-is-accepted", answer, "CreateWarmPool with sizes of 2 and 3")
                    raise _Stop
            pair = session.new_pair()
        if self.pool is None or self.pool_pair is None:
            raise _Stop
        pool = self.pool
        self.judge_pool(pool, self.pool_pair, 2, 3)
        self.judge_new_is_listed("ListWarmPools", pool)
        shown = self.get("GetWarmPool", pool)
        self.judge_snapshot(shown, self.pool_pair)
        again = session.call("CreateWarmPool", _pool_of(self.pool_pair, minSize=0, maxSize=2))
        session.refused("pool-is-unique", again, "CreateWarmPool for a pair that has a pool", "already_exists")
        ids = {pool.get("id")}
        if not session.is_open:
            why = "it takes several pools, and there may be one for each project and class"
            for name in ("ids-are-fresh", "desired-size-sets-both", "default-pool-size"):
                session.excuse(name, why, "CreateWarmPool")
            session.excuse("others-are-untouched", why, "UpdateWarmPool", "DeleteWarmPool")
            for name in ("page-tokens-are-new", "page-token-is-bound-to-filter"):
                session.excuse(name, why, "ListWarmPools")
        for number, (sizes, low, high) in enumerate(_SIZES):
            if not session.is_open or (not sizes and not session.assumptions):
                continue
            pair = session.new_pair()
            if pair is None:
                break
            # The first shares the project of the pool that there is, and the second its class.
            if number == 0:
                pair = Pair(self.pool_pair.project, pair.environment_class)
            elif number == 1:
                pair = Pair(pair.project, self.pool_pair.environment_class)
            if number == 0:
                # What is refused does not take the place.
                disordered = _pool_of(pair, minSize=5, maxSize=4)
                self.refuse("min-at-most-max", "CreateWarmPool", disordered, "minSize 5 and maxSize 4")
            answer = session.call("CreateWarmPool", _pool_of(pair, **sizes))
            session.accepted("inside-bounds-is-accepted", answer, f"CreateWarmPool with {json.dumps(sizes)}")
            other = answer.part("warmPool")
            if not answer.ok or not other:
                continue
            fresh = other.get("id") not in ids
            session.judge("ids-are-fresh", "CreateWarmPool", fresh, f"the id {other.get('id')} is taken")
            ids.add(other.get("id"))
            name = "desired-size-sets-both" if "desiredSize" in sizes else "echo" if sizes else "default-pool-size"
            self.judge_sizes(name, "CreateWarmPool", other, low, high)
            if number == 0:
                self.neighbour = other

    def judge_new_is_listed(self, method: str, made: dict[str, Any]) -> None:
        """What was just made is in the list of its project, among the newest."""
        session = self.session
        ids = {
            "projectIds": [at(made, "metadata.projectId")],
            "environmentClassIds": [at(made, "metadata.environmentClassId")],
        }
        filters = ids if method == "ListWarmPools" else {"projectIds": ids["projectIds"]}
        fields = {"filter": filters, "pagination": {"pageSize": 1 if method == "ListWarmPools" else 100}}
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
        """A snapshot comes of a prebuild: of a project that has none in this class, there is none."""
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

    def ids(self) -> None:
        session = self.session
        prebuild = str(self.prebuilds[0].get("id")) if self.prebuilds else ""
        pool = str(self.pool.get("id")) if self.pool else ""
        for method in self.of(OF_ID):
            name = ID_FIELD[method]
            known = prebuild if name == "prebuildId" else pool
            # All but the end is that of something that is there: an id is looked up as a whole.
            unknown = _neighbour_of(known) if known else session.new_id()
            self.refuse("unknown-id-is-not-found", method, {name: unknown}, "an unknown id", "not_found")
            # An id is one to its last character.
            self.refuse("malformed-id-is-refused", method, {name: f"{unknown}0"}, f"the id '{unknown}0'")
            self.refuse("required-fields", method, {}, "no id")
            if method in READS:
                self.refuse("required-fields", method, {name: ""}, "an empty id")

    def refuse_creates(self) -> None:
        session = self.session
        for method in CREATES:
            mark = session.mark()
            base = self.fresh(method)
            required = schema.component(OPERATIONS[method].request_name)["required"]
            for name in required:
                fields = {key: value for key, value in base.items() if key != name}
                self.refuse("required-fields", method, fields, f"no {name}")
            for name, field in schema.fields(OPERATIONS[method].request_name).items():
                if field.get("format") == "uuid":
                    what, text = self.malformed(method, name)
                    self.refuse("malformed-id-is-refused", method, {**base, name: text}, f"{what} in {name}")
            if method == "CreatePrebuild":
                self.refuse("required-fields", method, {**base, "projectId": ""}, "an empty projectId")
            for bound in schema.bounds(method):
                for value in bound.outside:
                    fields = _with(self.fresh(method), bound.path, value)
                    fields = _fitting(fields, bound.path)
                    self.refuse("outside-bounds-is-refused", method, fields, f"{bound.path} {value!r}")
            if method == "CreateWarmPool" and session.is_open and self.pool is not None:
                pass  # it was asked for already
            elif method == "CreateWarmPool":
                disordered = {**self.fresh(method), "minSize": 5, "maxSize": 4}
                self.refuse("min-at-most-max", method, disordered, "minSize 5 and maxSize 4")
            else:
                enum = _with(self.fresh(method), "spec.desiredPhase", 9999)
                self.refuse("undefined-enum-is-refused", method, enum, "the desired phase 9999")
                if session.wants("unknown-enum-name-is-refused"):
                    enum = _with(self.fresh(method), "spec.desiredPhase", "NONSENSE")
                    self.refuse("unknown-enum-name-is-refused", method, enum, "an unknown desired phase")
            self.judge_nothing_made(method, session.since(mark))

    def malformed(self, method: str, name: str) -> tuple[str, str]:
        """Something that is no id, in words and as it is, another thing for each field."""
        places = {("CreatePrebuild", "projectId"): "a lone surrogate", ("CreateWarmPool", "environmentClassId"): "NUL"}
        what = places.get((method, name), "")
        return (what, _HOSTILE[what]) if what else ("one character too many", f"{self.session.new_id()}0")

    def judge_nothing_made(self, method: str, refused: Sequence[Answer]) -> None:
        """Refused creations have left nothing behind in projects that nobody else knows."""
        session, name = self.session, "refused-changes-nothing"
        if not session.is_open:
            session.excuse(name, "others may work in the given projects", method)
            return
        asked = [json.loads(answer.request.body or b"{}").get("projectId") for answer in refused]
        projects = [project for project in dict.fromkeys(asked) if _is_uuid(project)][:25]
        if any(answer.ok or answer.code is None for answer in refused):
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

    def list_bounds(self) -> None:
        session = self.session
        for method in LISTS:
            full = self.listing()
            for bound in schema.bounds(method):
                full = _with(full, bound.path, self.value_of(bound, bound.inside[-1]))
            answer = self.try_call(method, full)
            if answer is not None:
                session.accepted("inside-bounds-is-accepted", answer, f"{method} with everything at its maximum")
            answer = self.try_call(method, _with(self.listing(), "pagination.pageSize", 0))
            if answer is not None:
                session.accepted("inside-bounds-is-accepted", answer, f"{method} with a page size of 0")
                there = self.prebuilds if method == "ListPrebuilds" else [self.pool] if self.pool else []
                empty = bool(there) and not list(items_in(answer))
                session.judge("default-page-size", method, not empty, "a page size of 0 gave an empty page")
            for bound in schema.bounds(method):
                for value in bound.outside:
                    fields = _with(self.listing(), bound.path, self.value_of(bound, value))
                    self.refuse("outside-bounds-is-refused", method, fields, f"{bound.path} {value}")
            for path, field in _filter_fields(method):
                if field["items"].get("format") == "uuid":
                    fields = _with(self.listing(), path, ["not-a-uuid"])
                    self.refuse("malformed-id-is-refused", method, fields, f"an id in {path} that is none")
                elif schema.referred(field["items"]) is not None:
                    fields = _with(self.listing(), path, [9999])
                    self.refuse("undefined-enum-is-refused", method, fields, f"9999 in {path}")
                    if session.wants("unknown-enum-name-is-refused") and path == "filter.phases":
                        fields = _with(self.listing(), path, ["NONSENSE"])
                        self.refuse("unknown-enum-name-is-refused", method, fields, f"an unknown name in {path}")

    def value_of(self, bound: schema.Bound, value: Any) -> Any:
        """What to send for a field at one of its bounds; of a list that is its length."""
        field = dict(_filter_fields(bound.method)).get(bound.path)
        if field is None:
            return value
        enum = schema.referred(field["items"])
        if enum is None:
            return self.session.ids_for_filter(value)
        names: list[str] = schema.component(enum)["enum"][1:]  # without UNSPECIFIED
        return list(itertools.islice(itertools.cycle(names), value))

    def types(self) -> None:
        for method in self.of(OF_ID):
            self.refuse("wrong-type-is-refused", method, {ID_FIELD[method]: ["x"]}, "a list for an id")
        wrong: list[dict[str, Any]] = [{"pagination": {"pageSize": "many"}}, {"filter": {"projectIds": {"a": 1}}}]
        for method in LISTS:
            for fields in wrong if method == "ListPrebuilds" else wrong[1:]:
                self.refuse("wrong-type-is-refused", method, fields, json.dumps(fields))
        if not self.session.allows_refusals:
            return
        base = self.base("CreatePrebuild")
        for spec in ("x", {"timeout": "3600"}):
            self.refuse(
                "wrong-type-is-refused", "CreatePrebuild", {**base, "spec": spec}, f"the spec {json.dumps(spec)}"
            )
        fields = {**self.fresh("CreateWarmPool"), "maxSize": 1.5}
        self.refuse("wrong-type-is-refused", "CreateWarmPool", fields, "maxSize 1.5")

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

    def hostile(self) -> None:
        session = self.session
        chosen = self.of(("GetPrebuild", "CancelPrebuild", "GetWarmPool"))
        for method, what in zip(chosen, itertools.cycle(("a lone surrogate", "NUL")), strict=False):
            fields = {ID_FIELD[method]: _HOSTILE[what]}
            self.refuse("malformed-id-is-refused", method, fields, f"{what} in the id")
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
        """Send what has to be refused, or at least survived."""
        try:
            return self.session.send(request, refused=True)
        except TransportError:
            return None

    # -- The protocol

    def auth(self) -> None:
        session = self.session
        taken: list[Answer] = []
        # One that has nothing to do with the right one, one that begins it, and one that goes on behind it.
        wrong_ones = itertools.cycle(
            [wrong for wrong in ("no-token-of-this-server", session.token[:-1], f"{session.token}x") if wrong]
        )
        for method, wrong in zip(self.methods, wrong_ones, strict=False):
            answer = self.try_call(method, self.fresh(method), token=None, refused=True)
            if answer is not None:
                session.refused("unauthenticated-without-token", answer, f"{method} without a token", "unauthenticated")
            answer = self.try_call(method, self.fresh(method), token=wrong, refused=True)
            if answer is not None:
                taken.append(answer)
        headers = (*session.headers(token=None), ("Authorization", f"Basic {session.token}"))
        answer = self.send(Request("GetPrebuild", encode(self.base("GetPrebuild")), headers))
        if answer is not None:
            what = "GetPrebuild with the token behind Basic"
            session.refused("unauthenticated-without-token", answer, what, "unauthenticated")
        if all(answer.code != "unauthenticated" and answer.status < 500 for answer in taken):
            why = "the server takes any token"
            session.excuse("unauthenticated-with-wrong-token", why)
            session.excuse("logs-token-is-no-api-token", why)
            return
        for answer in taken:
            what = f"{answer.request.method} with a wrong token"
            session.refused("unauthenticated-with-wrong-token", answer, what, "unauthenticated")

    def protocol(self) -> None:
        session = self.session
        for method in self.methods:
            request = Request(method, encode(self.base(method)), session.headers(content_type="text/plain"))
            answer = self.send(request)
            if answer is not None:
                why = f"{method} with text/plain has to be 415, and got {answer.outcome}"
                expected = Expected(status=415)
                session.judge("unsupported-media-type", method, answer.status == 415, why, expected=expected)
            for body in _MALFORMED if method == "ListPrebuilds" else _MALFORMED[:1]:
                answer = self.send(Request(method, body, session.headers()))
                if answer is not None:
                    session.refused("malformed-json", answer, f"{method} with the body {body!r}", INVALID)
        self.compressed()
        deadline = Request("ListPrebuilds", encode(self.listing()), (*session.headers(), _LONG_DEADLINE))
        answer = self.send(deadline)
        if answer is not None:
            session.accepted("deadline-is-taken", answer, f"ListPrebuilds with {': '.join(_LONG_DEADLINE)}")
        for method in READS:
            fields = self.base(method)
            query = f"connect=v1&encoding=json&message={quote(json.dumps(fields))}"
            headers = session.headers(content_type=None)
            answer = self.send(Request(method, None, headers, "GET", query=query))
            if answer is not None:
                right = answer.status == 200 if method in LISTS else answer.code == "not_found"
                session.judge("get-for-reads", method, right, f"{method} by GET got {answer.outcome}")
            if method not in LISTS:
                plain = self.try_call(method, fields, version=False)
                if plain is not None:
                    what = f"{method} of an unknown id without Connect-Protocol-Version"
                    session.refused("protocol-version-is-optional", plain, what, "not_found")
        if session.local:
            self.verbs()

    def compressed(self) -> None:
        session = self.session
        headers = session.headers()
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

    def page_through(self) -> None:
        """The pages of a list, a few items each, against the same list in one piece."""
        session = self.session
        for method in LISTS:
            filters = self.listing()
            if session.is_open and self.prebuilds:
                project = at(self.prebuilds[0], "metadata.projectId") if method == "ListPrebuilds" else None
                filters = {"filter": {"projectIds": [project]}} if project else {}
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
        # A server may answer empty pages in between.
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
        """Everything that a filter lets through has to match it, and what is known to match has to be there."""
        session = self.session
        mark = session.mark()
        items, answer, complete = session.whole_list(method, filters)
        shows = session.since(mark)
        if not answer.ok:
            session.judge(name, method, ok=False, why=f"the filter {json.dumps(filters)} got {answer.outcome}")
            return []
        wrong = [item.get("id") for item in items if not matches(item)]
        why = f"the filter {json.dumps(filters)} lets through {wrong[:3]}, which do not match it"
        session.judge(name, method, not wrong, why, shows=shows)
        if contained is not None and complete:
            listed = any(item.get("id") == contained.get("id") for item in items)
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
        # Values are alternatives wherever they stand; what nothing of the run is in does not widen it.
        around = ("DELETED", "CANCELLED" if before == "FAILED" else "FAILED")
        asked = [PrebuildPhase[around[0]].value, name, PrebuildPhase[around[1]].value]
        filters = {"projectIds": [project], "phases": asked}
        mark = session.mark()
        items = self.judge_filter(
            "filters", "ListPrebuilds", filters, lambda each: phase_of(each) in (before, *around), None
        )
        shows = session.since(mark)
        others = [phase.value for phase in PrebuildPhase if phase.value != name and phase.number][:10]
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

    def update_pool(self) -> None:
        session = self.session
        if self.pool is None:
            raise _Stop
        pool = self.pool
        pool_id = str(pool.get("id"))
        sizes = (2, 3)

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
            # What happens to the pool meanwhile does not happen each time.
            mark, version = session.mark(), at(pool, "spec.specVersion")
            for _ in range(3):
                answer = self.refuse(name, "UpdateWarmPool", {"warmPoolId": pool_id, **fields}, json.dumps(fields))
                if answer is None or answer.ok:
                    return
                before, pool = pool, self.get("GetWarmPool", pool, judged=False)
                self.judge_sizes("refused-changes-nothing", "UpdateWarmPool", pool, *sizes)
                if not _has_new_version(before, pool):
                    return
            why = f"an update was refused three times, and spec.specVersion is {at(pool, 'spec.specVersion')} by now"
            shows, expected = session.since(mark), Expected(path="warmPool.spec.specVersion", value=version)
            session.judge(
                "refused-changes-nothing", "UpdateWarmPool", ok=False, why=why, shows=shows, expected=expected
            )

        refuse("update-checks-stored-bounds", {"minSize": 5})  # first of all: it takes no update to show it
        update("echo", {"minSize": 3, "maxSize": 5}, 3, 5)
        refuse("update-checks-stored-bounds", {"maxSize": 1})
        self.refuse("min-at-most-max", "UpdateWarmPool", {"warmPoolId": pool_id, "minSize": 9, "maxSize": 8}, "9 and 8")
        update("update-changes-what-is-named", {"minSize": 0}, 0, 5)
        update("update-changes-what-is-named", {"maxSize": 1}, 0, 1)
        update("desired-size-sets-both", {"desiredSize": 20}, 20, 20)
        update("echo", {"minSize": 20, "maxSize": 20}, 20, 20)
        update("desired-size-sets-both", {"desiredSize": 1}, 1, 1)
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

    def cancel(self) -> None:
        session, pair = self.session, self.pair
        named = {"environmentClassId": pair.environment_class} if pair.environment_class else {}
        made = session.call("CreatePrebuild", {"projectId": pair.project, **named, "spec": {"timeout": "1800s"}})
        item = made.part("prebuild")
        prebuild_id = str(item.get("id"))
        if not made.ok or phase_of(item) not in ("PENDING", "STARTING", "RUNNING"):
            raise _Stop  # it is about to end by itself
        # One that is under way as well: what has ended is not cancelled in any case.
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
        path = "spec.desiredPhase" if desired_phase_of(first) == "CANCELLED" else "status.phase"
        expected = Expected(path=f"prebuild.{path}", value=at(first, path))
        session.judge("echo", "CancelPrebuild", not stale, why, shows=[answer], expected=expected)
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

    def delete_prebuild(self) -> None:
        if not self.prebuilds:
            raise _Stop
        mark = self.session.mark()
        first, *others = self.prebuilds
        judge_deletion(self.session, "DeletePrebuild", str(first.get("id")))
        if others and at(others[0], "metadata.projectId") == at(first, "metadata.projectId"):
            self.judge_sibling("DeletePrebuild", others[0], since=mark)

    def delete_pool(self) -> None:
        if self.pool is None:
            raise _Stop
        session, pool_id = self.session, str(self.pool.get("id"))
        judge_deletion(session, "DeleteWarmPool", pool_id)
        self.judge_neighbour("DeleteWarmPool")
        if session.wants("update-while-deleting"):
            answer = session.call("UpdateWarmPool", {"warmPoolId": pool_id, "maxSize": 2})
            what = "UpdateWarmPool of a pool that was deleted"
            session.refused("update-while-deleting", answer, what, "failed_precondition", "not_found")
        if self.pool_pair is not None and not session.is_open:
            session.release(self.pool_pair)


def judge_cancellation(session: Session, answer: Answer, prebuild_id: str) -> bool:
    """Judge that a prebuild that was under way could be cancelled, and return whether it was."""
    if not answer.ok:
        found = session.call("GetPrebuild", {"prebuildId": prebuild_id})
        if phase_of(found.part("prebuild")) not in ("PENDING", "STARTING", "RUNNING"):
            # It was faster than the call: what the server decides is not held against it.
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
    """Delete something that is there, judge that it goes, and delete it again.

    Args:
        session: where to send.
        method: the method that deletes it.
        item_id: what to delete.
        after: the calls that have brought it there.
        meanwhile: what to do as soon as it is seen to be DELETING.
    """
    get = "GetPrebuild" if method == "DeletePrebuild" else "GetWarmPool"
    kind = "prebuild" if method == "DeletePrebuild" else "warmPool"
    fields = {ID_FIELD[method]: item_id}
    answer = session.call(method, fields)
    if may_refuse_deletion(session, answer, session.latest(item_id)):
        session.excuse("delete-takes-effect", "a prebuild under way is not deleted", method)
        return
    why = f"{method} of what is there has to succeed, and got {answer.outcome}"
    shows, expected = [*after, answer], Expected(status=200)
    session.judge("delete-takes-effect", method, answer.status == 200, why, shows=shows, expected=expected)
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
    """Judge that a page, whichever it is, has only what is of the projects in the filter."""
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
    """Whether what was asked to be deleted may be on its way. A prebuild that is under way may have to stop first."""
    return is_deleted(item) or phase_of(item) in ("STOPPING", "CANCELLING")


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

# Ways to say the sizes of a new pool, and what they mean.
_SIZES: Final[tuple[tuple[dict[str, Any], int, int], ...]] = (
    ({"minSize": 0, "maxSize": 20}, 0, 20),
    ({"minSize": 20, "maxSize": 20}, 20, 20),
    ({"desiredSize": 20}, 20, 20),
    ({}, 1, 1),
)


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


def _with(fields: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a request with a value at `a.b.c`."""
    name, _, rest = path.partition(".")
    return {**fields, name: _with(fields.get(name) or {}, rest, value) if rest else value}


def _fitting(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """The other size changed so that only the one at `path` is out of its bounds."""
    sizes = {name: value for name, value in fields.items() if name not in ("minSize", "maxSize", "desiredSize")}
    value = fields.get(path)
    if path == "minSize":
        return {**sizes, "minSize": value, "maxSize": 20}
    if path == "maxSize":
        return {**sizes, "minSize": 0, "maxSize": value}
    if path == "desiredSize":
        return {**sizes, "desiredSize": value}
    return fields


def _filter_fields(method: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lists of a method's filter, by their paths."""
    for name, field in schema.fields(f"{method}RequestFilter").items():
        yield f"filter.{name}", field


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
    """Whether two JSON values mean different things; what is absent is zero."""
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
