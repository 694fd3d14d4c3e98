"""Bugs of filters."""

from __future__ import annotations

from typing import Any

from .base import CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, PROJECT, Api, Mutant
from .exchange import Call, Forward, Reply, failure


class _Ignored(Mutant):
    """A filter that has no effect."""

    field: str

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call.having(None, "pagination", "token"))  # it is checked all the same
        if not reply.ok or not call.get("filter", self.field):
            return await forward(call)
        return await forward(call.having(None, "filter", self.field))


class ProjectFilterIsIgnored(_Ignored):
    """Prebuilds of all projects are listed, whichever are asked for."""

    methods = ("ListPrebuilds",)
    field = "projectIds"

    def shows(self, api: Api) -> bool:
        other = api.created(OTHER_PROJECT)["id"]
        return other in api.prebuilds(projectIds=[PROJECT])


class PhaseFilterIsIgnored(_Ignored):
    """Prebuilds in all phases are listed."""

    methods = ("ListPrebuilds",)
    field = "phases"

    def shows(self, api: Api) -> bool:
        return api.created()["id"] in api.prebuilds(phases=["PREBUILD_PHASE_FAILED"])


class TriggerFilterIsIgnored(_Ignored):
    """Prebuilds of all triggers are listed."""

    methods = ("ListPrebuilds",)
    field = "triggeredBy"

    def shows(self, api: Api) -> bool:
        return api.created()["id"] in api.prebuilds(triggeredBy=["PREBUILD_TRIGGER_SCHEDULED"])


class CreatorFilterIsIgnored(_Ignored):
    """Prebuilds of all creators are listed."""

    methods = ("ListPrebuilds",)
    field = "creatorIds"

    def shows(self, api: Api) -> bool:
        return api.created()["id"] in api.prebuilds(creatorIds=[NOBODY])


class ExecutorFilterIsIgnored(_Ignored):
    """Prebuilds of all executors are listed."""

    methods = ("ListPrebuilds",)
    field = "executorIds"

    def shows(self, api: Api) -> bool:
        return api.created()["id"] in api.prebuilds(executorIds=[NOBODY])


class PoolProjectFilterIsIgnored(_Ignored):
    """Pools of all projects are listed."""

    methods = ("ListWarmPools",)
    field = "projectIds"

    def shows(self, api: Api) -> bool:
        return api.new_pool(OTHER_PROJECT)["id"] in api.pools(projectIds=[PROJECT])


class ClassFilterIsIgnored(_Ignored):
    """Pools of all environment classes are listed."""

    methods = ("ListWarmPools",)
    field = "environmentClassIds"

    def shows(self, api: Api) -> bool:
        return api.new_pool()["id"] in api.pools(environmentClassIds=[OTHER_CLASS])


class _Either(Mutant):
    """Several filters are joined by OR."""

    name: str

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        wanted = {name: values for name, values in (call.get("filter") or {}).items() if values}
        if not reply.ok or len(wanted) < 2 or call.get("pagination", "token"):
            return reply
        found: dict[str, Any] = {}
        for name, values in wanted.items():
            one = await forward(call.having({name: values}, "filter"))
            found |= {item["id"]: item for item in one.json.get(self.name, [])}
        body = {key: value for key, value in reply.json.items() if key != self.name}
        size = call.get("pagination", "pageSize") or 25
        return reply.with_json({**body, self.name: list(found.values())[: int(size)]} if found else body)


class FiltersAreAlternatives(_Either):
    """A prebuild that passes one of several filters is listed."""

    methods = ("ListPrebuilds",)
    name = "prebuilds"

    def shows(self, api: Api) -> bool:
        api.created()
        return bool(api.prebuilds(projectIds=[PROJECT], creatorIds=[NOBODY]))


class PoolFiltersAreAlternatives(_Either):
    """A pool that passes one of several filters is listed."""

    methods = ("ListWarmPools",)
    name = "warmPools"

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return bool(api.pools(projectIds=[PROJECT], environmentClassIds=[OTHER_CLASS]))


class _OneValue(Mutant):
    """Only one of several values of a filter counts."""

    field: str
    position: int

    def ask(self, call: Call) -> Call:
        values = call.get("filter", self.field)
        if not isinstance(values, list) or not 2 <= len(values) <= 25:
            return call
        return call.having([values[self.position]], "filter", self.field)


class FirstProjectCounts(_OneValue):
    """Of several projects, only the first is looked for."""

    methods = ("ListPrebuilds",)
    field = "projectIds"
    position = 0

    def shows(self, api: Api) -> bool:
        other = api.created(OTHER_PROJECT)["id"]
        return other not in api.prebuilds(projectIds=[PROJECT, OTHER_PROJECT])


class LastClassCounts(_OneValue):
    """Of several environment classes, only the last is looked for."""

    methods = ("ListWarmPools",)
    field = "environmentClassIds"
    position = -1

    def shows(self, api: Api) -> bool:
        return api.new_pool()["id"] not in api.pools(environmentClassIds=[CLASS, OTHER_CLASS])


class PhaseAsCreatedCounts(Mutant):
    """The index of phases is not kept up: a prebuild is found by the phase in which it was created."""

    methods = ("ListPrebuilds",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        phases = call.get("filter", "phases")
        if not reply.ok or not phases or call.get("pagination", "token"):
            return reply
        if "PREBUILD_PHASE_PENDING" in phases:
            return await forward(call.having(None, "filter", "phases"))
        return Reply(200, b"{}")

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api.until(made, "COMPLETED")
        return made not in api.prebuilds(phases=["PREBUILD_PHASE_COMPLETED"])


class NothingFoundIsNotFound(Mutant):
    """A filter that nothing passes is `not_found` rather than an empty list."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        empty = reply.ok and call.get("filter") and not reply.json.get("warmPools")
        return failure(404, "not_found") if empty else reply

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", filter={"projectIds": [NOBODY]}).code == "not_found"


class EmptyFilterMatchesNothing(Mutant):
    """A filter with an empty list of projects lets nothing through, where it should let everything through."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return Reply(200, b"{}") if reply.ok and call.get("filter", "projectIds") == [] else reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        return made not in api.prebuilds(projectIds=[])


class FilterShowsAnotherOwners(Mutant):
    """The filter of creators is applied to the project's id."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return Reply(200, b"{}") if reply.ok and call.get("filter", "creatorIds") else reply

    def shows(self, api: Api) -> bool:
        made = api.created()
        return made["id"] not in api.prebuilds(creatorIds=[made["metadata"]["creator"]["id"]])


class LastTriggerCounts(_OneValue):
    """Of several triggers, only the last is looked for."""

    methods = ("ListPrebuilds",)
    field = "triggeredBy"
    position = -1

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        return made not in api.prebuilds(triggeredBy=["PREBUILD_TRIGGER_MANUAL", "PREBUILD_TRIGGER_SCHEDULED"])


class ExecutorsAreCreators(Mutant):
    """The filter of executors is applied to the creators."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call:
        wanted = call.get("filter", "executorIds")
        if not isinstance(wanted, list) or not wanted or call.get("filter", "creatorIds"):
            return call
        return call.having(wanted, "filter", "creatorIds").having(None, "filter", "executorIds")

    def shows(self, api: Api) -> bool:
        made = api.created()
        return made["id"] in api.prebuilds(executorIds=[made["metadata"]["creator"]["id"]])


class FilterNeedsAPage(Mutant):
    """A filter is looked at only where the request has a pagination."""

    methods = ("ListWarmPools",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if not reply.ok or call.get("pagination") or not call.get("filter"):
            return reply
        return await forward(call.having(None, "filter"))

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return bool(api("ListWarmPools", filter={"projectIds": [OTHER_PROJECT]}).json.get("warmPools"))
