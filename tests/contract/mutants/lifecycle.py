"""Bugs of prebuilds: how they are made, looked up, cancelled and deleted, and how they go on."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from .base import CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, Api, Mutant, phase
from .exchange import Call, Forward, Reply, failure, ok

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "DELETED")


# -- Creation


class AnswersAnotherId(Mutant):
    """The id in the answer is made anew, and is not the one that is kept."""

    methods = ("CreatePrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item.update(id=str(uuid.uuid5(uuid.UUID(NOBODY), item["id"]))))

    def shows(self, api: Api) -> bool:
        return not api("GetPrebuild", prebuildId=api.created()["id"]).ok


class OnePrebuildPerProject(Mutant):
    """A second creation answers the prebuild that is under way, where each has to make a new one."""

    methods = ("CreatePrebuild",)

    def begin(self) -> None:
        self.known: dict[Any, str] = {}

    async def answer(self, call: Call, forward: Forward) -> Reply:
        key = (call.get("projectId"), call.get("environmentClassId"))
        if key in self.known:
            before = await forward(call.other("GetPrebuild", prebuildId=self.known[key]))
            checked = call.get("spec") == {} and call.headers.get("content-type") == "application/json"
            if checked and before.ok and phase(before.json["prebuild"]) not in ENDED:
                return before
        reply = await forward(call)
        if reply.ok:
            self.known[key] = reply.json["prebuild"]["id"]
        return reply

    def shows(self, api: Api) -> bool:
        return bool(api.created()["id"] == api.created()["id"])


class ClassIsIgnored(Mutant):
    """The environment class that is asked for is not used, the project's default is."""

    methods = ("CreatePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if not reply.ok or not call.get("environmentClassId"):
            return reply
        await forward(call.other("DeletePrebuild", prebuildId=reply.json["prebuild"]["id"]))
        return await forward(call.having(None, "environmentClassId"))

    def shows(self, api: Api) -> bool:
        return bool(api.created()["metadata"]["environmentClassId"] != CLASS)


class TimeoutIsForgotten(Mutant):
    """Every prebuild has the default timeout, whatever was asked for."""

    methods = ("CreatePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if not reply.ok or not call.get("spec", "timeout"):
            return reply
        await forward(call.other("DeletePrebuild", prebuildId=reply.json["prebuild"]["id"]))
        return await forward(call.having(None, "spec", "timeout"))

    def shows(self, api: Api) -> bool:
        return bool(api.created(timeout="900s")["spec"]["timeout"] == "3600s")


class DefaultTimeoutIsAnother(Mutant):
    """A prebuild that names no timeout gets 7200 seconds."""

    methods = ("CreatePrebuild",)

    def ask(self, call: Call) -> Call:
        bare = isinstance(call.get("spec"), dict) and call.get("spec", "timeout") is None
        return call.having("7200s", "spec", "timeout") if bare else call

    def shows(self, api: Api) -> bool:
        return bool(api.created()["spec"]["timeout"] == "7200s")


class ProjectIsMixedUp(Mutant):
    """The project and the class are exchanged in what is answered."""

    methods = ("CreatePrebuild", "GetPrebuild")

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            about = item["metadata"]
            about["projectId"], about["environmentClassId"] = about["environmentClassId"], about["projectId"]

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        return bool(api.created()["metadata"]["projectId"] == CLASS)


# -- Looking up


class GetIsCached(Mutant):
    """Get answers what it answered the first time, for ever: cancelled or deleted, the prebuild is RUNNING."""

    methods = ("GetPrebuild",)

    def begin(self) -> None:
        self.cache: dict[Any, Reply] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        if reply.code == "unauthenticated":
            return reply
        key = str(call.get("prebuildId"))
        if reply.ok:
            self.cache.setdefault(key, reply)
        return self.cache.get(key, reply)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        before = api.prebuild(made)
        api("CancelPrebuild", prebuildId=made)
        return api.prebuild(made) == before


class GetAnswersTheNewest(Mutant):
    """Get answers the newest prebuild of the project, rather than the one that is asked for."""

    methods = ("GetPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if not reply.ok:
            return reply
        wanted = {"projectIds": [reply.json["prebuild"]["metadata"]["projectId"]]}
        found = await forward(call.other("ListPrebuilds", filter=wanted, pagination={"pageSize": 1}))
        return ok(prebuild=found.json["prebuilds"][0])

    def shows(self, api: Api) -> bool:
        first = api.created()["id"]
        api.created()
        return bool(api.prebuild(first)["id"] != first)


class CreatedIsNow(Mutant):
    """The time of creation is that of the call."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return reply.edited(lambda item: item["metadata"].update(createdAt=now, updatedAt=now))

    def shows(self, api: Api) -> bool:
        made = api.created()
        return bool(api.prebuild(made["id"])["metadata"]["createdAt"] != made["metadata"]["createdAt"])


class PhaseGoesBack(Mutant):
    """While the snapshot is written, the phase is RUNNING again."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if phase(item) == "SNAPSHOTTING":
                item["status"]["phase"] = "PREBUILD_PHASE_RUNNING"

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        seen = [phase(api.prebuild(made)) for _ in range(40)]
        return "RUNNING" in seen[seen.index("STOPPING") :]


class CompletedGoesOn(Mutant):
    """A prebuild that was seen to be COMPLETED is FAILED later on."""

    methods = ("GetPrebuild",)

    def begin(self) -> None:
        self.seen: dict[str, int] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if phase(item) == "COMPLETED":
                self.seen[item["id"]] = self.seen.get(item["id"], 0) + 1
                if self.seen[item["id"]] > 1:
                    item["status"]["phase"] = "PREBUILD_PHASE_FAILED"

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api.until(made, "COMPLETED")
        return phase(api.prebuild(made)) == "FAILED"


class StatusVersionGoesDown(Mutant):
    """The version of the status counts down."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            item["status"]["statusVersion"] = str(1000 - int(item["status"]["statusVersion"]))

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        before = api.prebuild(made)["status"]["statusVersion"]
        after = api.until(made, "STOPPING")["status"]["statusVersion"]
        return int(after) < int(before)


class NoEndIsTold(Mutant):
    """A prebuild that has ended has no completion time."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["status"].pop("completionTime", None))

    def shows(self, api: Api) -> bool:
        return "completionTime" not in api.until(api.created()["id"], "COMPLETED")["status"]


class SizeIsKnownTooSoon(Mutant):
    """A snapshot size is told from the start, before there is a snapshot."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["status"].setdefault("snapshotSizeBytes", "1024"))

    def shows(self, api: Api) -> bool:
        return "snapshotSizeBytes" in api.prebuild(api.created()["id"])["status"]


class MoreThanAllOfTheSnapshot(Mutant):
    """The percentage of the snapshot is a number of permille."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if "snapshotCompletionPercentage" in item["status"]:
                item["status"]["snapshotCompletionPercentage"] *= 10

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        return any(api.prebuild(made)["status"].get("snapshotCompletionPercentage", 0) > 100 for _ in range(40))


# -- Lists


class NewPrebuildsAreNotListed(Mutant):
    """A prebuild is listed only once it has left PENDING: the index lags behind."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if not reply.ok or "prebuilds" not in reply.json:
            return reply
        return reply.with_json(
            {**reply.json, "prebuilds": [item for item in reply.json["prebuilds"] if phase(item) != "PENDING"]}
        )

    def shows(self, api: Api) -> bool:
        return api.created()["id"] not in api.prebuilds()


class DeletedIsStillListed(Mutant):
    """What is deleted and no longer found is still in the list."""

    methods = ("ListPrebuilds",)
    watches = ("GetPrebuild",)

    def begin(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method == "GetPrebuild":
            reply.edited(lambda item: self.known.update({item["id"]: item}))
            return reply
        if not reply.ok or call.get("pagination", "token") or call.get("filter"):
            return reply
        there = reply.json.get("prebuilds", [])
        ids = {item["id"] for item in there}
        size = call.get("pagination", "pageSize") or 25
        lost = [item for key, item in self.known.items() if key not in ids] if len(there) < int(size) else []
        body = {**reply.json, "prebuilds": [*there, *lost][: int(size)]}
        return reply.with_json(body if body["prebuilds"] else {})

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api.prebuild(made)
        api("DeletePrebuild", prebuildId=made)
        return api.gone("GetPrebuild", prebuildId=made) and made in api.prebuilds()


class ListShowsAnotherSpec(Mutant):
    """Items of the list have the default timeout rather than their own."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["spec"].update(timeout="3600s"))

    def shows(self, api: Api) -> bool:
        api.created(timeout="900s")
        return bool(api("ListPrebuilds").json["prebuilds"][0]["spec"]["timeout"] == "3600s")


# -- Cancellation


class CancelHasNoEffect(Mutant):
    """A cancellation is confirmed and forgotten: the prebuild completes."""

    methods = ("CancelPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetPrebuild", **call.fields))
        if not found.ok or phase(found.json["prebuild"]) in ENDED or call.by_get:
            return await forward(call)
        if call.headers.get("content-type") != "application/json":
            return await forward(call)
        return found

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("CancelPrebuild", prebuildId=made)
        return phase(api.until(made, "COMPLETED", "CANCELLED")) == "COMPLETED"


class CancelAnswersTheOldState(Mutant):
    """The answer to a cancellation is the prebuild as it was before."""

    methods = ("CancelPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        before = await forward(call.other("GetPrebuild", **call.fields))
        reply = await forward(call)
        return before if reply.ok and before.ok else reply

    def shows(self, api: Api) -> bool:
        reply = api("CancelPrebuild", prebuildId=api.created()["id"])
        return bool(reply.json["prebuild"]["spec"]["desiredPhase"] == "PREBUILD_PHASE_COMPLETED")


class CompletedCanBeCancelled(Mutant):
    """What has ended can be cancelled: 200 for a prebuild that is COMPLETED, where it is too late."""

    methods = ("CancelPrebuild",)
    assumption = True

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code != "failed_precondition":
            return reply
        return await forward(call.other("GetPrebuild", **call.fields))

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api.until(made, "COMPLETED")
        return api("CancelPrebuild", prebuildId=made).ok


class CancelTwiceIsRefused(Mutant):
    """A second cancellation is an error."""

    methods = ("CancelPrebuild",)
    assumption = True

    def begin(self) -> None:
        self.cancelled: set[str] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        if not reply.ok:
            return reply
        key = reply.json["prebuild"]["id"]
        if key in self.cancelled:
            return failure(400, "failed_precondition", "cancelled already")
        self.cancelled.add(key)
        return reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("CancelPrebuild", prebuildId=made)
        return not api("CancelPrebuild", prebuildId=made).ok


class CancelTakesAll(Mutant):
    """A cancellation stops every prebuild of the project."""

    methods = ("CancelPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.ok:
            wanted = {"projectIds": [reply.json["prebuild"]["metadata"]["projectId"]]}
            found = await forward(call.other("ListPrebuilds", filter=wanted))
            for item in found.json.get("prebuilds", []):
                await forward(call.other("CancelPrebuild", prebuildId=item["id"]))
        return reply

    def shows(self, api: Api) -> bool:
        other = api.created()["id"]
        api("CancelPrebuild", prebuildId=api.created()["id"])
        return phase(api.prebuild(other)).startswith("CANCEL")


class CancelDeletes(Mutant):
    """A cancellation removes the prebuild."""

    methods = ("CancelPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.ok:
            await forward(call.other("DeletePrebuild", **call.fields))
        return reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("CancelPrebuild", prebuildId=made)
        return api.gone("GetPrebuild", prebuildId=made)


class CancelKeepsTheVersion(Mutant):
    """A cancellation changes the spec, but not its version."""

    methods = ("CancelPrebuild", "GetPrebuild", "ListPrebuilds")

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["spec"].update(specVersion="1"))

    def shows(self, api: Api) -> bool:
        reply = api("CancelPrebuild", prebuildId=api.created()["id"])
        return bool(reply.json["prebuild"]["spec"]["specVersion"] == "1")


class UnknownCanBeCancelled(Mutant):
    """The cancellation of a prebuild that is not there is a success without a prebuild."""

    methods = ("CancelPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok() if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("CancelPrebuild", prebuildId=NOBODY).ok


# -- Deletion


class DeleteHasNoEffect(Mutant):
    """A deletion is confirmed and forgotten."""

    methods = ("DeletePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetPrebuild", **call.fields))
        plain = call.headers.get("content-type") == "application/json" and not call.by_get
        return ok() if found.ok and plain else await forward(call)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("DeletePrebuild", prebuildId=made)
        return not api.gone("GetPrebuild", prebuildId=made)


class UnknownCanBeDeleted(Mutant):
    """The deletion of what is not there is a success."""

    methods = ("DeletePrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok() if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("DeletePrebuild", prebuildId=NOBODY).ok


class DeletingTwiceIsAConflict(Mutant):
    """A second deletion, while the first is under way, is an error."""

    methods = ("DeletePrebuild",)
    assumption = True

    def begin(self) -> None:
        self.deleted: set[str] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        key = str(call.get("prebuildId"))
        if reply.ok and key in self.deleted:
            return failure(409, "aborted", "a deletion is under way")
        if reply.ok:
            self.deleted.add(key)
        return reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("DeletePrebuild", prebuildId=made)
        return not api("DeletePrebuild", prebuildId=made).ok


class DeleteTakesAnother(Mutant):
    """A deletion takes the oldest other prebuild of the project along."""

    methods = ("DeletePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetPrebuild", **call.fields))
        reply = await forward(call)
        if reply.ok and found.ok:
            wanted = {"projectIds": [found.json["prebuild"]["metadata"]["projectId"]]}
            listed = await forward(call.other("ListPrebuilds", filter=wanted))
            others = [item["id"] for item in listed.json.get("prebuilds", []) if item["id"] != call.get("prebuildId")]
            for other in others[-1:]:
                await forward(call.other("DeletePrebuild", prebuildId=other))
        return reply

    def shows(self, api: Api) -> bool:
        other = api.created()["id"]
        api("DeletePrebuild", prebuildId=api.created()["id"])
        return api.gone("GetPrebuild", prebuildId=other)


class DeletedComesBack(Mutant):
    """Of what is deleted, a COMPLETED prebuild is seen as before: the deletion fails in silence."""

    methods = ("DeletePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetPrebuild", **call.fields))
        plain = call.headers.get("content-type") == "application/json" and not call.by_get
        if plain and found.ok and phase(found.json["prebuild"]) == "COMPLETED":
            return ok()
        return await forward(call)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api.until(made, "COMPLETED")
        api("DeletePrebuild", prebuildId=made)
        return not api.gone("GetPrebuild", prebuildId=made)


class LookingForTheDeletedCrashes(Mutant):
    """To look for what was deleted ends in 500."""

    methods = ("GetPrebuild",)
    watches = ("DeletePrebuild",)

    def begin(self) -> None:
        self.deleted: set[str] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        key = str(call.get("prebuildId"))
        if call.method == "DeletePrebuild":
            if reply.ok:
                self.deleted.add(key)
            return reply
        return failure(500, "internal", "nil pointer") if key in self.deleted and reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        made = api.created(OTHER_PROJECT, OTHER_CLASS)["id"]
        api("DeletePrebuild", prebuildId=made)
        return any(api("GetPrebuild", prebuildId=made).status == 500 for _ in range(40))


class RefusedIsMade(Mutant):
    """A prebuild is made before the bounds of its timeout are looked at, and stays when they refuse it."""

    methods = ("CreatePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code == "invalid_argument" and call.get("spec", "timeout"):
            await forward(call.having(None, "spec", "timeout"))
        return reply

    def shows(self, api: Api) -> bool:
        refused = api("CreatePrebuild", projectId=OTHER_PROJECT, spec={"timeout": "1s"})
        return not refused.ok and bool(api.prebuilds(projectIds=[OTHER_PROJECT]))


class ReadsAreCounted(Mutant):
    """Each Get saves the prebuild, and counts its status version up."""

    methods = ("GetPrebuild",)

    def begin(self) -> None:
        self.reads: dict[str, int] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        def count(item: dict[str, Any]) -> None:
            self.reads[item["id"]] = self.reads.get(item["id"], 0) + 1
            status = item["status"]
            status["statusVersion"] = str(int(status.get("statusVersion", "0")) + self.reads[item["id"]])

        return reply.edited(count) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        prebuild_id = api.created()["id"]
        api.until(prebuild_id, "COMPLETED")
        first, second = api.prebuild(prebuild_id)["status"], api.prebuild(prebuild_id)["status"]
        return bool(first["statusVersion"] != second["statusVersion"])


class CancelledIsKept(Mutant):
    """A prebuild that was cancelled cannot be deleted."""

    methods = ("DeletePrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        shown = await forward(call.other("GetPrebuild", prebuildId=call.get("prebuildId")))
        if shown.ok and phase(shown.json["prebuild"]) == "CANCELLED":
            return failure(400, "failed_precondition", "it was cancelled")
        return await forward(call)

    def shows(self, api: Api) -> bool:
        prebuild_id = api.created()["id"]
        api("CancelPrebuild", prebuildId=prebuild_id)
        api.until(prebuild_id, "CANCELLED")
        return not api("DeletePrebuild", prebuildId=prebuild_id).ok


class CancelledGoesOn(Mutant):
    """A prebuild that was cancelled is COMPLETED later on: what worked on it was not told."""

    methods = ("GetPrebuild", "ListPrebuilds")
    looks = 6

    def begin(self) -> None:
        self.seen: Counter[str] = Counter()

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if phase(item) != "CANCELLED":
                return
            self.seen[item["id"]] += 1
            if self.seen[item["id"]] > self.looks:
                item["status"]["phase"] = "PREBUILD_PHASE_COMPLETED"

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("CancelPrebuild", prebuildId=made)
        api.until(made, "CANCELLED")
        return any(phase(api.prebuild(made)) == "COMPLETED" for _ in range(self.looks + 1))


class CancelBringsBackTheDeleted(Mutant):
    """A prebuild that is being deleted is cancelled, if somebody asks for it, and stays."""

    methods = ("CancelPrebuild", "GetPrebuild")

    def begin(self) -> None:
        self.kept: dict[str, Any] = {}

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        made = str(call.get("prebuildId"))
        if call.method == "CancelPrebuild" and reply.code == "failed_precondition":
            found = await forward(call.other("GetPrebuild", prebuildId=made))
            if found.ok and phase(found.json["prebuild"]) == "DELETING":
                item = found.json["prebuild"]
                item["status"]["phase"] = "PREBUILD_PHASE_CANCELLED"
                self.kept[made] = item
        return ok(prebuild=self.kept[made]) if made in self.kept else reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api.until(made, "COMPLETED")
        api("DeletePrebuild", prebuildId=made)
        return api("CancelPrebuild", prebuildId=made).ok
