"""Bugs of validation: bounds that are off, and rules that were forgotten."""

from __future__ import annotations

import re
from typing import Any

from .base import CLASS, NOBODY, OTHER_CLASS, PROJECT, Api, Mutant
from .exchange import Call, Forward, Reply, failure, ok

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def invalid(message: str = "validation error") -> Reply:
    return failure(400, "invalid_argument", message)


def _malformed(value: Any) -> bool:
    return bool(value) and not _UUID.fullmatch(str(value))


# -- CreatePrebuild


class SpecIsOptional(Mutant):
    """`spec` may be left out."""

    methods = ("CreatePrebuild",)

    def ask(self, call: Call) -> Call:
        return call if "spec" in call.fields or not call.fields else call.having({}, "spec")

    def shows(self, api: Api) -> bool:
        return api("CreatePrebuild", projectId=PROJECT).ok


class _Timeout(Mutant):
    """A bound of the timeout is off."""

    methods = ("CreatePrebuild",)

    def seconds(self, call: Call) -> float | None:
        match = re.fullmatch(r"\+?([0-9]+(?:\.[0-9]+)?)s", str(call.get("spec", "timeout")))
        return float(match[1]) if match else None

    def created(self, api: Api, timeout: str) -> Reply:
        return api("CreatePrebuild", projectId=PROJECT, spec={"timeout": timeout})


class TimeoutMayBeShorter(_Timeout):
    """The least timeout is 60 seconds."""

    def ask(self, call: Call) -> Call:
        seconds = self.seconds(call)
        return call.having("300s", "spec", "timeout") if seconds is not None and 60 <= seconds < 300 else call

    def shows(self, api: Api) -> bool:
        return self.created(api, "299s").ok


class TimeoutIsTruncated(_Timeout):
    """The timeout is compared as whole seconds, so that fractions beyond the maximum get through."""

    def ask(self, call: Call) -> Call:
        seconds = self.seconds(call)
        return call.having("7200s", "spec", "timeout") if seconds is not None and 7200 < seconds < 7201 else call

    def shows(self, api: Api) -> bool:
        return self.created(api, "7200.000000001s").ok or self.created(api, "7200.5s").ok


class LongestTimeoutIsRefused(_Timeout):
    """The greatest timeout is refused: the bound is exclusive."""

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if self.seconds(call) == 7200 else call

    def shows(self, api: Api) -> bool:
        return not self.created(api, "7200s").ok


class ShortestTimeoutIsRefused(_Timeout):
    """The least timeout is refused: the bound is exclusive."""

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if self.seconds(call) == 300 else call

    def shows(self, api: Api) -> bool:
        return not self.created(api, "300s").ok


class FractionsAreRefused(_Timeout):
    """A timeout can be a whole number of seconds only."""

    def ask(self, call: Call) -> Call | Reply:
        seconds = self.seconds(call)
        return invalid() if seconds is not None and seconds % 1 else call

    def shows(self, api: Api) -> bool:
        return not self.created(api, "600.5s").ok


class TimeoutNeedsNoUnit(_Timeout):
    """A timeout that is a number without its unit is taken."""

    def ask(self, call: Call) -> Call:
        timeout = str(call.get("spec", "timeout"))
        return call.having(f"{timeout}s", "spec", "timeout") if timeout.isdigit() else call

    def shows(self, api: Api) -> bool:
        return self.created(api, "3600").ok


class ClassIsNotChecked(Mutant):
    """An environment class that is no UUID is taken for the default."""

    methods = ("CreatePrebuild",)

    def ask(self, call: Call) -> Call:
        return call.having(None, "environmentClassId") if _malformed(call.get("environmentClassId")) else call

    def shows(self, api: Api) -> bool:
        return api("CreatePrebuild", projectId=PROJECT, environmentClassId="large", spec={}).ok


class UnknownDesiredPhaseIsDropped(Mutant):
    """An enum value that does not exist is read as UNSPECIFIED."""

    methods = ("CreatePrebuild",)

    def ask(self, call: Call) -> Call:
        phase = call.get("spec", "desiredPhase")
        known = not isinstance(phase, str) or phase.startswith("PREBUILD_PHASE_")
        return call if known else call.having(None, "spec", "desiredPhase")

    def shows(self, api: Api) -> bool:
        return api("CreatePrebuild", projectId=PROJECT, spec={"desiredPhase": "NO_SUCH_PHASE"}).ok


# -- Ids


class MalformedIsNotFound(Mutant):
    """An id that is no UUID is looked up, and so not found."""

    methods = ("GetPrebuild",)

    def ask(self, call: Call) -> Call | Reply:
        return failure(404, "not_found") if _malformed(call.get("prebuildId")) else call

    def shows(self, api: Api) -> bool:
        return api("GetPrebuild", prebuildId="nonsense").code == "not_found"


class MissingIsNotFound(Mutant):
    """A missing id is looked up, and so not found."""

    methods = ("CancelPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply if call.get("prebuildId") or reply.status != 400 else failure(404, "not_found")

    def shows(self, api: Api) -> bool:
        return api("CancelPrebuild").code == "not_found"


class MalformedIsDeleted(Mutant):
    """The deletion of what cannot be there is a success: ids are not checked."""

    methods = ("DeletePrebuild",)

    def ask(self, call: Call) -> Call | Reply:
        return ok() if _malformed(call.get("prebuildId")) else call

    def shows(self, api: Api) -> bool:
        return api("DeletePrebuild", prebuildId="nonsense").ok


class MalformedCrashes(Mutant):
    """An id that is no UUID cannot be parsed: 500."""

    methods = ("CreatePrebuildLogsToken",)

    def ask(self, call: Call) -> Call | Reply:
        return failure(500, "internal", "badly formed UUID") if _malformed(call.get("prebuildId")) else call

    def shows(self, api: Api) -> bool:
        return api("CreatePrebuildLogsToken", prebuildId="nonsense").status == 500


class EmptyIdCrashes(Mutant):
    """An id that is empty is taken for one that is there: 500."""

    methods = ("GetWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        return failure(500, "internal", "nil") if call.get("warmPoolId") == "" else call

    def shows(self, api: Api) -> bool:
        return api("GetWarmPool", warmPoolId="").status == 500


class MissingIsDeleted(Mutant):
    """A deletion without an id is a success."""

    methods = ("DeleteWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        return call if call.get("warmPoolId") else ok()

    def shows(self, api: Api) -> bool:
        return api("DeleteWarmPool").ok


class MalformedPoolIsNotFound(Mutant):
    """An id that is no UUID is looked up, and so not found."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        return failure(404, "not_found") if _malformed(call.get("warmPoolId")) else call

    def shows(self, api: Api) -> bool:
        return api("UpdateWarmPool", warmPoolId="nonsense", minSize=1).code == "not_found"


# -- Lists


class LargePagesAreCut(Mutant):
    """A page size beyond the maximum is cut to it, where it should be refused."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call:
        size = call.get("pagination", "pageSize")
        return call.having(100, "pagination", "pageSize") if isinstance(size, int) and size > 100 else call

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", pagination={"pageSize": 101}).ok


class NegativePagesAreTheDefault(Mutant):
    """A page size below 0 is taken for the default."""

    methods = ("ListWarmPools",)

    def ask(self, call: Call) -> Call:
        size = call.get("pagination", "pageSize")
        return call.having(0, "pagination", "pageSize") if isinstance(size, int) and size < 0 else call

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", pagination={"pageSize": -1}).ok


class LargestPageIsRefused(Mutant):
    """A page size of 100, the maximum, is refused."""

    methods = ("ListWarmPools",)

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if call.get("pagination", "pageSize") == 100 else call

    def shows(self, api: Api) -> bool:
        return not api("ListWarmPools", pagination={"pageSize": 100}).ok


class _TooMany(Mutant):
    """A filter takes more values than it may."""

    field: str
    most: int

    def ask(self, call: Call) -> Call:
        values = call.get("filter", self.field)
        if not isinstance(values, list) or len(values) <= self.most:
            return call
        return call.having(values[: self.most], "filter", self.field)


class ProjectsWithoutLimit(_TooMany):
    """A filter takes any number of projects."""

    methods = ("ListPrebuilds",)
    field = "projectIds"
    most = 25

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", filter={"projectIds": [PROJECT] * 26}).ok


class PhasesWithoutLimit(_TooMany):
    """A filter takes any number of phases."""

    methods = ("ListPrebuilds",)
    field = "phases"
    most = 10

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", filter={"phases": ["PREBUILD_PHASE_FAILED"] * 11}).ok


class TriggersWithoutLimit(_TooMany):
    """A filter takes any number of triggers."""

    methods = ("ListPrebuilds",)
    field = "triggeredBy"
    most = 5

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", filter={"triggeredBy": ["PREBUILD_TRIGGER_MANUAL"] * 6}).ok


class ClassesWithoutLimit(_TooMany):
    """A filter takes any number of environment classes."""

    methods = ("ListWarmPools",)
    field = "environmentClassIds"
    most = 25

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", filter={"environmentClassIds": [CLASS] * 26}).ok


class TwentyFiveAreTooMany(Mutant):
    """As many projects as a filter may have are refused: the bound is exclusive."""

    methods = ("ListWarmPools",)

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if len(call.get("filter", "projectIds") or ()) == 25 else call

    def shows(self, api: Api) -> bool:
        return not api("ListWarmPools", filter={"projectIds": [PROJECT] * 25}).ok


class MalformedFilterIsIgnored(Mutant):
    """Values of a filter that are no UUIDs are dropped, so that everything is listed."""

    methods = ("ListWarmPools",)

    def ask(self, call: Call) -> Call:
        for field in ("projectIds", "environmentClassIds"):
            values = call.get("filter", field)
            if isinstance(values, list) and any(_malformed(value) for value in values):
                call = call.having([value for value in values if not _malformed(value)], "filter", field)
        return call

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", filter={"projectIds": ["nonsense"]}).ok


class UnknownPhaseIsIgnored(Mutant):
    """Phases of a filter that do not exist are dropped."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call:
        values = call.get("filter", "phases")
        if not isinstance(values, list):
            return call
        known = [value for value in values if not isinstance(value, str) or value.startswith("PREBUILD_PHASE_")]
        return call if known == values else call.having(known, "filter", "phases")

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", filter={"phases": ["NO_SUCH_PHASE"]}).ok


class TextAsPageSizeCrashes(Mutant):
    """A page size that is no number ends in 500."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        size = call.get("pagination", "pageSize")
        wrong = isinstance(size, (str, list, dict)) and reply.code == "invalid_argument"
        return failure(500, "internal", "invalid literal for int()") if wrong else reply

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", pagination={"pageSize": "many"}).status == 500


# -- Sizes of pools


class MinimumWithoutLimit(Mutant):
    """The minimum has no upper bound of its own, and lifts the maximum along."""

    methods = ("CreateWarmPool",)

    def ask(self, call: Call) -> Call:
        size = call.get("minSize")
        return call.having(20, "minSize").having(20, "maxSize") if isinstance(size, int) and size > 20 else call

    def shows(self, api: Api) -> bool:
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS, minSize=21, maxSize=21).ok


class MaximumOfZeroIsOne(Mutant):
    """A maximum of 0 counts as not given."""

    methods = ("CreateWarmPool",)

    def ask(self, call: Call) -> Call:
        return call.having(None, "maxSize") if call.get("maxSize") == 0 else call

    def shows(self, api: Api) -> bool:
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS, maxSize=0).ok


class BoundsAreSwapped(Mutant):
    """A minimum above the maximum is taken, the two swapped."""

    methods = ("CreateWarmPool",)

    def ask(self, call: Call) -> Call:
        low, high = call.get("minSize"), call.get("maxSize")
        if not (isinstance(low, int) and isinstance(high, int)) or low <= high:
            return call
        return call.having(high, "minSize").having(low, "maxSize")

    def shows(self, api: Api) -> bool:
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS, minSize=5, maxSize=2).ok


class MinimumOfZeroIsRefused(Mutant):
    """A minimum of 0 is refused as missing."""

    methods = ("CreateWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if call.get("minSize") == 0 else call

    def shows(self, api: Api) -> bool:
        return not api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS, minSize=0, maxSize=2).ok


class LargestPoolIsRefused(Mutant):
    """A maximum of 20 is refused: the bound is exclusive."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if call.get("maxSize") == 20 else call

    def shows(self, api: Api) -> bool:
        return not api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], maxSize=20).ok


class NegativeMinimumCrashes(Mutant):
    """A minimum below 0 violates a constraint of the database: 500."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        size = call.get("minSize")
        return failure(500, "internal", "check constraint") if isinstance(size, int) and size < 0 else call

    def shows(self, api: Api) -> bool:
        return api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], minSize=-1).status == 500


class UpdateIsCutToTheBounds(Mutant):
    """Sizes beyond the bounds are cut to these when a pool is updated."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call:
        size = call.get("maxSize")
        return call.having(20, "maxSize") if isinstance(size, int) and size > 20 else call

    def shows(self, api: Api) -> bool:
        return api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], maxSize=21).ok


class PoolWithoutClass(Mutant):
    """A pool may be made without an environment class."""

    methods = ("CreateWarmPool",)

    def ask(self, call: Call) -> Call:
        missing = call.get("projectId") and not call.get("environmentClassId")
        return call.having(OTHER_CLASS, "environmentClassId") if missing else call

    def shows(self, api: Api) -> bool:
        return api("CreateWarmPool", projectId=PROJECT).ok


class UnknownIsBadRequest(Mutant):
    """An id that is well-formed and unknown is `invalid_argument`."""

    methods = ("DeleteWarmPool", "GetWarmPool")

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        return invalid("no such pool") if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("DeleteWarmPool", warmPoolId=NOBODY).code == "invalid_argument"


# -- Ids that are nearly right


class IdsAreComparedByTheirBeginning(Mutant):
    """An id that is not known finds the prebuild whose id begins like it."""

    methods = ("GetPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code != "not_found":
            return reply
        listed = await forward(call.other("ListPrebuilds", pagination={"pageSize": 100}))
        for item in listed.json.get("prebuilds", []):
            if item["id"][:8] == str(call.get("prebuildId"))[:8]:
                return ok(prebuild=item)
        return reply

    def shows(self, api: Api) -> bool:
        return api("GetPrebuild", prebuildId=f"{api.created()['id'][:-4]}0000").ok


class PoolIsTakenForAPrebuild(Mutant):
    """The id of a pool, where that of a prebuild is due, ends in 500."""

    methods = ("CancelPrebuild", "DeletePrebuild")

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code != "not_found":
            return reply
        pool = await forward(call.other("GetWarmPool", warmPoolId=call.get("prebuildId")))
        return failure(500, "internal", "TypeError") if pool.ok else reply

    def shows(self, api: Api) -> bool:
        return api("CancelPrebuild", prebuildId=api.new_pool()["id"]).status == 500


class IdsMayBeLonger(Mutant):
    """Of an id that is too long the rest is dropped."""

    methods = ("GetWarmPool", "UpdateWarmPool", "DeleteWarmPool")

    def ask(self, call: Call) -> Call:
        given = call.get("warmPoolId")
        longer = isinstance(given, str) and _UUID.match(given)
        return call.having(given[:36], "warmPoolId") if longer else call

    def shows(self, api: Api) -> bool:
        return api("GetWarmPool", warmPoolId=f"{api.new_pool()['id']}0").ok


class FractionsOfAPageAreCut(Mutant):
    """A page size of 1.5 is one of 1."""

    methods = ("ListWarmPools",)

    def ask(self, call: Call) -> Call:
        size = call.get("pagination", "pageSize")
        return call.having(int(size), "pagination", "pageSize") if isinstance(size, float) else call

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", pagination={"pageSize": 1.5}).ok


class FractionsOfAPoolAreCut(Mutant):
    """A maximum of 1.5 is one of 1 when a pool is updated."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call:
        size = call.get("maxSize")
        return call.having(int(size), "maxSize") if isinstance(size, float) else call

    def shows(self, api: Api) -> bool:
        return api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], minSize=0, maxSize=1.5).ok


class LargestDesiredSizeIsRefused(Mutant):
    """A desired size of 20 is refused when a pool is updated: the bound is exclusive."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        return invalid() if call.get("desiredSize") == 20 else call

    def shows(self, api: Api) -> bool:
        return not api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], desiredSize=20).ok


class UnknownTriggerCrashes(Mutant):
    """The name of a trigger that there is not ends in 500."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call | Reply:
        values = call.get("filter", "triggeredBy")
        known = not isinstance(values, list) or all(
            not isinstance(value, str) or value.startswith("PREBUILD_TRIGGER_") for value in values
        )
        return call if known else failure(500, "internal", "KeyError")

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", filter={"triggeredBy": ["NONSENSE"]}).status == 500
