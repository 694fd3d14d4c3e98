"""Bugs that take one line each: a field that is wrong, a rule that is off, an error that is not one."""

# ruff: noqa: E501 - a table is easier to read with one line for each bug

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .base import CLASS, NOBODY, PROJECT, Api, Mutant
from .exchange import Call, Reply, failure, ok

Item = dict[str, Any]
Shows = Callable[[Api], bool]


def _mutant(name: str, doc: str, method: str, shows: Shows, **parts: Callable[..., Any]) -> None:
    """Define a mutant in this module."""
    body = {part: (lambda _self, *given, of=function: of(*given)) for part, function in parts.items()}
    body["shows"] = lambda _self, api: shows(api)
    space = {"__module__": __name__, "__doc__": doc, "methods": (method,), **body}
    globals()[name] = type(name, (Mutant,), space)


def _with(item: Item, path: str, value: Any) -> None:
    """Set what is at `a.b` of an item; None takes it away."""
    *parts, last = path.split(".")
    for part in parts:
        item = item.get(part, {})
    if value is None:
        item.pop(last, None)
    elif callable(value):
        item[last] = value()
    else:
        item[last] = value


def _shown(api: Api, method: str) -> Reply:
    """An answer of the method about something that is there."""
    if method in ("CreatePrebuild", "GetPrebuild", "ListPrebuilds", "CancelPrebuild", "CreatePrebuildLogsToken"):
        reply = api("CreatePrebuild", projectId=PROJECT, environmentClassId=CLASS, spec={})
        made, name = api.prebuilds()[0], "prebuildId"
    else:
        reply = api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS, minSize=1, maxSize=2)
        made, name = api.pools()[0], "warmPoolId"
    if method.startswith("Create") and method != "CreatePrebuildLogsToken":
        return reply
    more = {"minSize": 2} if method == "UpdateWarmPool" else {}
    return api(method) if method.startswith("List") else api(method, **{name: made}, **more)


def _field(name: str, method: str, path: str, value: Any, doc: str) -> None:
    """A mutant that answers with a wrong value in a field."""

    def tell(_call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: _with(item, path, value))

    def shows(api: Api) -> bool:
        if callable(value):
            return _differs(api, method, path)
        text = _shown(api, method).body.decode()
        leaf = path.rpartition(".")[2]
        if value is None:
            return f'"{leaf}"' not in text
        return (f'"{leaf}":"{value}"' if isinstance(value, str) else f'"{leaf}":{value}') in text

    _mutant(name, doc, method, shows, tell=tell)


def _differs(api: Api, method: str, path: str) -> bool:
    """Whether a field is another one each time."""
    name = "warmPool" if "Pool" in method else "prebuild"
    item_id = (api.new_pool() if name == "warmPool" else api.created())["id"]
    fields = {f"{name}Id": item_id}

    def value() -> Any:
        found: Any = api(method, **fields).json[name]
        for part in path.split("."):
            found = found[part]
        return found

    return bool(value() != value())


for _entry in (
    ("OrganizationChanges", "GetPrebuild", "metadata.organizationId", lambda: str(uuid.uuid4()), "Another one each time."),
    ("PoolOrganizationChanges", "GetWarmPool", "metadata.organizationId", lambda: str(uuid.uuid4()), "Another one each time."),
    ("ClassIsAnother", "GetPrebuild", "metadata.environmentClassId", NOBODY, "Get shows another class than the create."),
    ("ListedClassIsAnother", "ListWarmPools", "metadata.environmentClassId", NOBODY, "The list shows another class."),
    ("ListedWithoutSpec", "ListPrebuilds", "spec", None, "A list leaves out the spec."),
    ("CancelledWithoutMetadata", "CancelPrebuild", "metadata", None, "The answer to a cancellation has no metadata."),
    ("CreatedWithoutStatus", "CreatePrebuild", "status", None, "The answer to a create has no status."),
    ("PrincipalIsANumber", "CreatePrebuild", "metadata.creator.principal", 2, "A known principal is written as a number."),
    ("GetSaysScheduled", "GetPrebuild", "metadata.triggeredBy", "PREBUILD_TRIGGER_SCHEDULED", "Get shows another trigger."),
    ("ListSaysScheduled", "ListPrebuilds", "metadata.triggeredBy", "PREBUILD_TRIGGER_SCHEDULED", "The list shows another."),
    ("MoreThanAll", "GetPrebuild", "status.snapshotCompletionPercentage", 101, "The percentage is above 100."),
    ("PercentageIsText", "GetPrebuild", "status.snapshotCompletionPercentage", "50", "The percentage is a string."),
    ("EnvironmentIsNoUuid", "GetPrebuild", "status.environmentId", "env-1", "The environment's id is no UUID."),
    ("VersionIsNegative", "GetPrebuild", "status.statusVersion", "-1", "A version is below zero."),
    ("VersionIsAFraction", "GetPrebuild", "spec.specVersion", "1.0", "A version is not a whole number."),
    ("RunningIsNegative", "GetWarmPool", "status.runningInstances", -1, "A count is below zero."),
    ("ListedRunningIsNegative", "ListWarmPools", "status.runningInstances", -1, "A count in a list is below zero."),
    ("SizeIsBeyondItsBound", "GetWarmPool", "spec.maxSize", 21, "A pool shows a size beyond the bound."),
    ("SizeIsText", "GetWarmPool", "spec.minSize", "1", "A size is a string."),
    ("ListedWithoutMaximum", "ListWarmPools", "spec.maxSize", None, "A list leaves out a size."),
    ("UpdateAnswersOldSize", "UpdateWarmPool", "spec.minSize", 1, "The answer to an update shows the former size."),
    ("SnapshotIsNoUuid", "GetWarmPool", "spec.snapshotId", "latest", "A snapshot's id is no UUID."),
    ("PoolWithoutId", "CreateWarmPool", "id", None, "A new pool has no id."),
    ("CreatedAtIsADate", "ListWarmPools", "metadata.createdAt", "2030-01-01", "A time is a date."),
    ("UpdatedAtIsOld", "GetWarmPool", "metadata.updatedAt", "2001-01-01T00:00:00Z", "It was updated before it was made."),
    ("FailsAndIsWell", "GetPrebuild", "status.failureMessage", "boom", "A prebuild that is well has a failure message."),
    ("SizeComesEarly", "ListPrebuilds", "status.snapshotSizeBytes", "1", "A snapshot that is not there has a size."),
    ("EndsBeforeItsEnd", "CreatePrebuild", "status.completionTime", "2030-01-01T00:00:00Z", "It has ended from the start."),
):  # fmt: skip
    _field(*_entry)


def _request(
    name: str, method: str, ask: Callable[[Call], Call | Reply], fields: Item, doc: str, *, good: bool
) -> None:
    """A mutant that takes a request which is wrong, or refuses one which is right."""
    _mutant(name, doc, method, lambda api: api(method, **fields).ok is not good, ask=ask)


def _drop(*path: str, when: Callable[[Any], bool], value: Any = None) -> Callable[[Call], Call]:
    """Reads past a value, or takes it for another."""
    return lambda call: call.having(value, *path) if when(call.get(*path)) else call


def _refuse(*path: str, when: Callable[[Any], bool]) -> Callable[[Call], Call | Reply]:
    return lambda call: failure(400, "invalid_argument") if when(call.get(*path)) else call


def _is(value: Any) -> Callable[[Any], bool]:
    return lambda given: bool(given == value and given is not True)


def _longer(most: int) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, list) and len(given) > most


_PLACE = {"projectId": PROJECT, "environmentClassId": CLASS}
_IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(26)]

for _wrong in (
    ("AlmostTheLeast", "CreatePrebuild", _drop("spec", "timeout", when=_is("299.999999999s")),
     {"projectId": PROJECT, "spec": {"timeout": "299.999999999s"}}, "A nanosecond too short is taken.", False),
    ("TheLongestIsTooLong", "CreatePrebuild", _refuse("spec", "timeout", when=_is("7200s")),
     {"projectId": PROJECT, "spec": {"timeout": "7200s"}}, "The longest timeout is refused.", True),
    ("TheShortestIsTooShort", "CreatePrebuild", _refuse("spec", "timeout", when=_is("300s")),
     {"projectId": PROJECT, "spec": {"timeout": "300s"}}, "The shortest timeout is refused.", True),
    ("TwentyIsTooMany", "CreateWarmPool", _refuse("maxSize", when=_is(20)),
     {**_PLACE, "minSize": 0, "maxSize": 20}, "The largest pool is refused.", True),
    ("UpdateToTwentyIsTooMany", "UpdateWarmPool", _refuse("maxSize", when=_is(20)), {}, "The largest is refused.", True),
    ("LessThanNothing", "CreateWarmPool", _drop("minSize", when=_is(-1), value=0),
     {**_PLACE, "minSize": -1, "maxSize": 2}, "A size below zero is zero.", False),
    ("MoreThanTheMost", "CreateWarmPool", _drop("maxSize", when=_is(21), value=20),
     {**_PLACE, "minSize": 0, "maxSize": 21}, "A size too large is the largest.", False),
    ("WishForTooMany", "CreateWarmPool", _drop("desiredSize", when=_is(21), value=20),
     {**_PLACE, "desiredSize": 21}, "A desired size too large is the largest.", False),
    ("PageOf101", "ListPrebuilds", _drop("pagination", "pageSize", when=_is(101), value=100),
     {"pagination": {"pageSize": 101}}, "A page too large is the largest.", False),
    ("PageOfPoolsOf101", "ListWarmPools", _drop("pagination", "pageSize", when=_is(101), value=100),
     {"pagination": {"pageSize": 101}}, "A page too large is the largest.", False),
    ("PageOfMinusOne", "ListWarmPools", _drop("pagination", "pageSize", when=_is(-1)),
     {"pagination": {"pageSize": -1}}, "A page size below zero is the default.", False),
    ("PageOf100IsTooLarge", "ListPrebuilds", _refuse("pagination", "pageSize", when=_is(100)),
     {"pagination": {"pageSize": 100}}, "The largest page is refused.", True),
    ("ManyCreators", "ListPrebuilds", _drop("filter", "creatorIds", when=_longer(25)),
     {"filter": {"creatorIds": _IDS}}, "More creators than there may be are taken.", False),
    ("ManyExecutors", "ListPrebuilds", _drop("filter", "executorIds", when=_longer(25)),
     {"filter": {"executorIds": _IDS}}, "More executors than there may be are taken.", False),
    ("ManyProjects", "ListPrebuilds", _drop("filter", "projectIds", when=_longer(25)),
     {"filter": {"projectIds": _IDS}}, "More projects than there may be are taken.", False),
    ("ManyPhases", "ListPrebuilds", _drop("filter", "phases", when=_longer(10)),
     {"filter": {"phases": ["PREBUILD_PHASE_PENDING"] * 11}}, "More phases than there may be are taken.", False),
    ("ManyTriggers", "ListPrebuilds", _drop("filter", "triggeredBy", when=_longer(5)),
     {"filter": {"triggeredBy": ["PREBUILD_TRIGGER_MANUAL"] * 6}}, "More triggers than there may be.", False),
    ("ManyClasses", "ListWarmPools", _drop("filter", "environmentClassIds", when=_longer(25)),
     {"filter": {"environmentClassIds": _IDS}}, "More classes than there may be are taken.", False),
    ("ExecutorsMayBeAnything", "ListPrebuilds",
     _drop("filter", "executorIds", when=lambda given: isinstance(given, list) and any(len(str(each)) != 36 for each in given)),
     {"filter": {"executorIds": ["x"]}}, "An executor need not be a UUID.", False),
    ("TriggerOfAnyNumber", "ListPrebuilds",
     _drop("filter", "triggeredBy", when=lambda given: isinstance(given, list) and any(isinstance(each, int) for each in given)),
     {"filter": {"triggeredBy": [9]}}, "A number that no trigger has is read past.", False),
    ("PhaseOfAnyNumber", "CreatePrebuild", _drop("spec", "desiredPhase", when=lambda given: isinstance(given, int)),
     {"projectId": PROJECT, "spec": {"desiredPhase": 7}}, "A number that no phase has is read past.", False),
    ("IdsAreTrimmed", "ListWarmPools",
     lambda call: call.having([str(each)[:36] for each in call.get("filter", "projectIds")], "filter", "projectIds")
     if isinstance(call.get("filter", "projectIds"), list) and call.get("filter", "projectIds") else call,
     {"filter": {"projectIds": [f"{NOBODY}0"]}}, "Characters behind an id are cut off.", False),
):  # fmt: skip
    _name, _method, _ask, _fields, _doc, _good = _wrong
    if _name != "UpdateToTwentyIsTooMany":
        _request(_name, _method, _ask, _fields, _doc, good=_good)
    else:
        _mutant(_name, _doc, _method, lambda api: not api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], maxSize=20).ok, ask=_ask)  # fmt: skip


def _error(name: str, method: str, tell: Callable[[Call, Reply], Reply], shows: Shows, doc: str) -> None:
    """A mutant whose errors, or whose successes, are not as they have to be."""
    _mutant(name, doc, method, shows, tell=tell)


def _of_code(code: str, change: Callable[[Reply], Reply]) -> Callable[[Call, Reply], Reply]:
    return lambda _call, reply: change(reply) if reply.code == code else reply


def _unknown(method: str, **more: Any) -> Callable[[Api], Reply]:
    name = "warmPoolId" if "Pool" in method else "prebuildId"
    return lambda api: api(method, **{name: NOBODY}, **more)


for _entry_ in (
    ("DeleteOfNothingSucceeds", "DeletePrebuild", _of_code("not_found", lambda _: ok()),
     lambda api: _unknown("DeletePrebuild")(api).ok, "Deleting what never was succeeds."),
    ("DeleteOfNoPoolSucceeds", "DeleteWarmPool", _of_code("not_found", lambda _: ok()),
     lambda api: _unknown("DeleteWarmPool")(api).ok, "Deleting a pool that never was succeeds."),
    ("CancelOfNothingFails", "CancelPrebuild", _of_code("not_found", lambda _: failure(400, "failed_precondition")),
     lambda api: _unknown("CancelPrebuild")(api).code == "failed_precondition", "Cancelling what never was is wrong."),
    ("LogsOfNothingAreForbidden", "CreatePrebuildLogsToken",
     _of_code("not_found", lambda _: failure(403, "permission_denied")),
     lambda api: _unknown("CreatePrebuildLogsToken")(api).status == 403, "An unknown id is forbidden."),
    ("UnknownPoolIsGone", "GetWarmPool", _of_code("not_found", lambda reply: replace(reply, status=410)),
     lambda api: _unknown("GetWarmPool")(api).status == 410, "not_found has the status 410."),
    ("CodesAreShouted", "GetPrebuild", _of_code("not_found", lambda r: r.with_json({**r.json, "code": "NOT_FOUND"})),
     lambda api: _unknown("GetPrebuild")(api).code == "NOT_FOUND", "Codes are in capitals."),
    ("CodesAreNumbers", "UpdateWarmPool", _of_code("not_found", lambda r: r.with_json({**r.json, "code": 5})),
     lambda api: _unknown("UpdateWarmPool")(api).code == "5", "Codes are numbers, as gRPC has them."),
    ("MessagesAreObjects", "CancelPrebuild", _of_code("not_found", lambda r: r.with_json({**r.json, "message": {}})),
     lambda api: _unknown("CancelPrebuild")(api).json["message"] == {}, "The text of an error is an object."),
    ("DetailsAreText", "DeleteWarmPool",
     _of_code("not_found", lambda r: r.with_json({**r.json, "details": [{"type": "a", "value": "no base64!"}]})),
     lambda api: "base64!" in _unknown("DeleteWarmPool")(api).body.decode(), "The value of a detail is plain text."),
    ("UnknownsAreServerErrors", "CreatePrebuildLogsToken", _of_code("not_found", lambda _: failure(500, "internal")),
     lambda api: _unknown("CreatePrebuildLogsToken")(api).status == 500, "An unknown id is a server error."),
    ("PrebuildDeletionIsNull", "DeletePrebuild", lambda _call, reply: reply.with_json(None) if reply.ok else reply,
     lambda api: api("DeletePrebuild", prebuildId=api.created()["id"]).body == b"null", "A deletion answers null."),
    ("DeletedHasNoContent", "DeleteWarmPool",
     lambda _call, reply: Reply(204, b"", {}) if reply.ok else reply,
     lambda api: api("DeleteWarmPool", warmPoolId=api.new_pool()["id"]).status == 204, "A deletion answers 204."),
    ("TokenIsMissing", "CreatePrebuildLogsToken", lambda _call, reply: ok() if reply.ok else reply,
     lambda api: api("CreatePrebuildLogsToken", prebuildId=api.created()["id"]).body == b"{}", "There is no token."),
    ("TokenIsANumber", "CreatePrebuildLogsToken", lambda _call, reply: ok(accessToken=12345678) if reply.ok else reply,
     lambda api: b":12345678" in api("CreatePrebuildLogsToken", prebuildId=api.created()["id"]).body.replace(b" ", b""),
     "The token is a number."),
    ("ListsAreCalledItems", "ListWarmPools",
     lambda _call, reply: reply.with_json({"items": reply.json["warmPools"]}) if "warmPools" in reply.json else reply,
     lambda api: bool(api.new_pool()) and "items" in api("ListWarmPools").json, "The list has another name."),
    ("ListsAreObjects", "ListPrebuilds",
     lambda _call, reply: reply.with_json({"prebuilds": {}}) if reply.ok and not reply.json.get("prebuilds") else reply,
     lambda api: api("ListPrebuilds").json == {"prebuilds": {}}, "An empty list is an object."),
):  # fmt: skip
    _error(*_entry_)
