"""Bugs of warm pools."""

from __future__ import annotations

from typing import Any

from .base import CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, PROJECT, Api, Mutant, phase
from .exchange import Call, Forward, Reply, failure, ok

_SIZES = ("desiredSize", "minSize", "maxSize")


def _plain(call: Call) -> bool:
    """Whether the emulator would take the request for one of JSON."""
    return call.headers.get("content-type") == "application/json" and not call.by_get


async def _pair(call: Call, forward: Forward) -> dict[str, Any] | None:
    """The pool of the pair that a creation names."""
    wanted = {"projectIds": [call.get("projectId")], "environmentClassIds": [call.get("environmentClassId")]}
    found = await forward(call.other("ListWarmPools", filter=wanted))
    there = [item for item in found.json.get("warmPools", []) if phase(item) != "DELETED"]
    return there[0] if there else None


# -- Creation


class PoolsAreNotUnique(Mutant):
    """A second pool of one project and class is made, under an id that leads to the first."""

    methods = ("CreateWarmPool", "GetWarmPool", "DeleteWarmPool", "UpdateWarmPool")

    def begin(self) -> None:
        self.others: dict[str, str] = {}

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if call.method != "CreateWarmPool":
            key = str(call.get("warmPoolId"))
            if key not in self.others:
                return await forward(call)
            reply = await forward(call.having(self.others[key], "warmPoolId"))
            return reply.edited(lambda item: item.update(id=key))
        reply = await forward(call)
        if reply.code != "already_exists":
            return reply
        first = await _pair(call, forward)
        if first is None:
            return reply
        other = f"{len(self.others):08d}{first['id'][8:]}"
        self.others[other] = first["id"]
        return ok(warmPool={**first, "id": other})

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS).ok


class PlaceIsTakenForEver(Mutant):
    """The place of a deleted pool is not given free."""

    methods = ("CreateWarmPool",)

    def begin(self) -> None:
        self.taken: set[Any] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        key = (call.get("projectId"), call.get("environmentClassId"))
        if reply.ok and key in self.taken:
            return failure(409, "already_exists")
        if reply.ok:
            self.taken.add(key)
        return reply

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=made)
        assert api.gone("GetWarmPool", warmPoolId=made)
        return not api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS).ok


class OnePoolPerProject(Mutant):
    """A project can have one pool only, whatever its class."""

    methods = ("CreateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("ListWarmPools", filter={"projectIds": [call.get("projectId")]}))
        there = [item for item in found.json.get("warmPools", []) if phase(item) not in ("DELETING", "DELETED")]
        sized = call.get("minSize") is None or 0 <= call.get("minSize") <= (call.get("maxSize") or 20)
        if there and _plain(call) and call.get("environmentClassId") and sized:
            return failure(409, "already_exists")
        return await forward(call)

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return not api("CreateWarmPool", projectId=PROJECT, environmentClassId=OTHER_CLASS).ok


class OnePoolPerClass(Mutant):
    """Two projects cannot have a pool of the same class."""

    methods = ("CreateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        wanted = {"environmentClassIds": [call.get("environmentClassId")]}
        found = await forward(call.other("ListWarmPools", filter=wanted))
        there = [item for item in found.json.get("warmPools", []) if phase(item) not in ("DELETING", "DELETED")]
        other = any(item["metadata"]["projectId"] != call.get("projectId") for item in there)
        return failure(409, "already_exists") if other and _plain(call) else await forward(call)

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return not api("CreateWarmPool", projectId=OTHER_PROJECT, environmentClassId=CLASS).ok


class CreatesOrAnswers(Mutant):
    """A creation for a pair that is taken answers the pool that is there."""

    methods = ("CreateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code != "already_exists":
            return reply
        there = await _pair(call, forward)
        return reply if there is None else ok(warmPool=there)

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS).ok


class SizesAreForgotten(Mutant):
    """A new pool has one environment, whatever sizes were asked for."""

    methods = ("CreateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        sized = any(call.get(name) is not None for name in _SIZES)
        reply = await forward(call)
        if not reply.ok or not sized:
            return reply
        made = {"warmPoolId": reply.json["warmPool"]["id"]}
        await forward(call.other("UpdateWarmPool", **made, minSize=1, maxSize=1))
        return await forward(call.other("GetWarmPool", **made))

    def shows(self, api: Api) -> bool:
        return bool(api.new_pool(minSize=2, maxSize=4)["spec"]["maxSize"] == 1)


class DesiredSizeIsNotTaken(Mutant):
    """The deprecated size has no effect on the bounds."""

    methods = ("CreateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        alone = call.get("desiredSize") and call.get("minSize") is None and call.get("maxSize") is None
        reply = await forward(call)
        if not reply.ok or not alone:
            return reply
        made = {"warmPoolId": reply.json["warmPool"]["id"]}
        await forward(call.other("UpdateWarmPool", **made, minSize=1, maxSize=1))
        return await forward(call.other("GetWarmPool", **made))

    def shows(self, api: Api) -> bool:
        return bool(api.new_pool(desiredSize=3)["spec"]["maxSize"] == 1)


# -- Looking up


class MinimumOfZeroIsLeftOut(Mutant):
    """A minimum of 0 is not written, though it has explicit presence: it reads as not set."""

    methods = ("GetWarmPool", "ListWarmPools", "CreateWarmPool", "UpdateWarmPool")

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if not item["spec"]["minSize"]:
                del item["spec"]["minSize"]

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        return "minSize" not in api.new_pool(minSize=0, maxSize=2)["spec"]


class GetLagsBehind(Mutant):
    """A pool is read from a copy that has not heard of the last update: the state before it is answered once."""

    methods = ("GetWarmPool",)
    watches = ("UpdateWarmPool",)

    def begin(self) -> None:
        self.old: dict[str, Reply] = {}

    async def answer(self, call: Call, forward: Forward) -> Reply:
        key = str(call.get("warmPoolId"))
        if call.method == "UpdateWarmPool":
            before = await forward(call.other("GetWarmPool", warmPoolId=key))
            reply = await forward(call)
            if reply.ok and before.ok:
                self.old[key] = before
            return reply
        reply = await forward(call)
        return self.old.pop(key, reply) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        made = api.new_pool(minSize=1, maxSize=2)["id"]
        api("UpdateWarmPool", warmPoolId=made, maxSize=5)
        return bool(api.pool(made)["spec"]["maxSize"] == 2)


class PoolOfAnotherProject(Mutant):
    """The project of a pool is answered as that of its runner."""

    methods = ("GetWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["metadata"].update(projectId=item["metadata"]["runnerId"]))

    def shows(self, api: Api) -> bool:
        return bool(api.pool(api.new_pool()["id"])["metadata"]["projectId"] != PROJECT)


class PoolIsCreatedAgain(Mutant):
    """The time of a pool's creation is that of its last update."""

    methods = ("GetWarmPool", "UpdateWarmPool")

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["metadata"].update(createdAt=item["metadata"]["updatedAt"]))

    def shows(self, api: Api) -> bool:
        made = api.new_pool()
        api("UpdateWarmPool", warmPoolId=made["id"], maxSize=7)
        return bool(api.pool(made["id"])["metadata"]["createdAt"] != made["metadata"]["createdAt"])


class PoolStaysPending(Mutant):
    """A pool is PENDING for ever, and serves no snapshot: it does not hear of prebuilds that complete."""

    methods = ("GetWarmPool", "ListWarmPools")

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if phase(item) == "READY":
                item["status"]["phase"] = "WARM_POOL_PHASE_PENDING"
                item["spec"].pop("snapshotId", None)

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        pool = api.new_pool()["id"]
        api.until(api.created()["id"], "COMPLETED")
        return "snapshotId" not in api.pool(pool)["spec"]


class SnapshotIsKept(Mutant):
    """A pool keeps its first snapshot: newer prebuilds do not rotate it."""

    methods = ("GetWarmPool", "ListWarmPools")

    def begin(self) -> None:
        self.first: dict[str, str] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if "snapshotId" in item["spec"]:
                item["spec"]["snapshotId"] = self.first.setdefault(item["id"], item["spec"]["snapshotId"])

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        pool = api.new_pool()["id"]
        api.until(api.created()["id"], "COMPLETED")
        before = api.pool(pool)["spec"]["snapshotId"]
        api.until(api.created()["id"], "COMPLETED")
        return bool(api.pool(pool)["spec"]["snapshotId"] == before)


class NewPoolsAreNotListed(Mutant):
    """Pools that have no snapshot yet are missing in the list."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if not reply.ok or "warmPools" not in reply.json:
            return reply
        there = [item for item in reply.json["warmPools"] if phase(item) != "PENDING"]
        return reply.with_json({**reply.json, "warmPools": there})

    def shows(self, api: Api) -> bool:
        return api.new_pool()["id"] not in api.pools()


class ListHasNoSpec(Mutant):
    """Items of the list have no spec."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item.pop("spec"))

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return "spec" not in api("ListWarmPools").json["warmPools"][0]


# -- Updates


class UpdateResetsTheRest(Mutant):
    """What an update leaves out is reset to 1, or to the minimum."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call:
        low, high = call.get("minSize"), call.get("maxSize")
        if isinstance(low, int) and high is None:
            return call.having(max(low, 1), "maxSize")
        if isinstance(high, int) and low is None:
            return call.having(1, "minSize")
        return call

    def shows(self, api: Api) -> bool:
        made = api.new_pool(minSize=2, maxSize=6)["id"]
        api("UpdateWarmPool", warmPoolId=made, minSize=3)
        return bool(api.pool(made)["spec"]["maxSize"] == 3)


class UpdateLiftsTheMaximum(Mutant):
    """A minimum above the stored maximum is not refused, and lifts it."""

    methods = ("UpdateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        low = call.get("minSize")
        if reply.code == "invalid_argument" and call.get("maxSize") is None and isinstance(low, int) and low <= 20:
            return await forward(call.having(low, "maxSize"))
        return reply

    def shows(self, api: Api) -> bool:
        made = api.new_pool(minSize=1, maxSize=2)["id"]
        return api("UpdateWarmPool", warmPoolId=made, minSize=5).ok


class UpdateIsNotKept(Mutant):
    """An update is answered, and not kept."""

    methods = ("UpdateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        before = await forward(call.other("GetWarmPool", warmPoolId=call.get("warmPoolId")))
        reply = await forward(call)
        if reply.ok and before.ok:
            spec = before.json["warmPool"]["spec"]
            sizes = {"minSize": spec["minSize"], "maxSize": spec["maxSize"]}
            await forward(call.other("UpdateWarmPool", warmPoolId=call.get("warmPoolId"), **sizes))
        return reply

    def shows(self, api: Api) -> bool:
        made = api.new_pool(minSize=1, maxSize=2)["id"]
        api("UpdateWarmPool", warmPoolId=made, maxSize=5)
        return bool(api.pool(made)["spec"]["maxSize"] == 2)


class UpdateKeepsTheVersion(Mutant):
    """An update does not count up the version of the spec."""

    methods = ("UpdateWarmPool", "GetWarmPool", "ListWarmPools")

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["spec"].update(specVersion="1"))

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("UpdateWarmPool", warmPoolId=made, maxSize=5)
        return bool(api.pool(made)["spec"]["specVersion"] == "1")


class UpdateToZeroIsIgnored(Mutant):
    """A minimum of 0 counts as not given when a pool is updated."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call:
        return call.having(None, "minSize") if call.get("minSize") == 0 else call

    def shows(self, api: Api) -> bool:
        made = api.new_pool(minSize=1, maxSize=2)["id"]
        api("UpdateWarmPool", warmPoolId=made, minSize=0)
        return bool(api.pool(made)["spec"]["minSize"] == 1)


class EmptyUpdateIsRefused(Mutant):
    """An update that changes nothing is an error."""

    methods = ("UpdateWarmPool",)
    assumption = True

    def ask(self, call: Call) -> Call | Reply:
        empty = call.get("warmPoolId") and all(call.get(name) is None for name in _SIZES)
        return failure(400, "invalid_argument", "nothing to update") if empty else call

    def shows(self, api: Api) -> bool:
        return not api("UpdateWarmPool", warmPoolId=api.new_pool()["id"]).ok


class DeletedCanBeUpdated(Mutant):
    """A pool that is being deleted can still be resized."""

    methods = ("UpdateWarmPool",)
    assumption = True

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code != "failed_precondition":
            return reply
        return await forward(call.other("GetWarmPool", warmPoolId=call.get("warmPoolId")))

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=made)
        return api("UpdateWarmPool", warmPoolId=made, maxSize=4).ok


class UpdateTakesAll(Mutant):
    """An update resizes every pool of the project."""

    methods = ("UpdateWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.ok:
            pool = reply.json["warmPool"]
            wanted = {"projectIds": [pool["metadata"]["projectId"]]}
            found = await forward(call.other("ListWarmPools", filter=wanted))
            sizes = {"minSize": pool["spec"]["minSize"], "maxSize": pool["spec"]["maxSize"]}
            for item in found.json["warmPools"]:
                await forward(call.other("UpdateWarmPool", warmPoolId=item["id"], **sizes))
        return reply

    def shows(self, api: Api) -> bool:
        other = api.new_pool(minSize=1, maxSize=2)["id"]
        api("UpdateWarmPool", warmPoolId=api.new_pool(environment_class=OTHER_CLASS)["id"], maxSize=9)
        return bool(api.pool(other)["spec"]["maxSize"] == 9)


class UnknownIsCreated(Mutant):
    """The update of a pool that is not there is a success."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok(warmPool={"id": call.get("warmPoolId")}) if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("UpdateWarmPool", warmPoolId=NOBODY, minSize=1).ok


# -- Deletion


class PoolIsNeverGone(Mutant):
    """A deletion of a pool is confirmed, and not carried out."""

    methods = ("DeleteWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetWarmPool", **call.fields))
        return ok() if found.ok and _plain(call) else await forward(call)

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=made)
        return not api.gone("GetWarmPool", warmPoolId=made)


class DrainsForEver(Mutant):
    """A deleted pool is DELETING for ever."""

    methods = ("GetWarmPool",)

    def begin(self) -> None:
        self.draining: dict[str, Reply] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        key = str(call.get("warmPoolId"))
        if reply.ok and phase(reply.json["warmPool"]) == "DELETING":
            self.draining[key] = reply
        return reply if reply.code == "unauthenticated" else self.draining.get(key, reply)

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=made)
        return not api.gone("GetWarmPool", warmPoolId=made)


class DeletionIsNotWanted(Mutant):
    """A pool that is being deleted is still to be READY, as its spec has it."""

    methods = ("GetWarmPool", "ListWarmPools")
    assumption = True

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["spec"].update(desiredPhase="WARM_POOL_PHASE_READY"))

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=made)
        return bool(api.pool(made)["spec"]["desiredPhase"] == "WARM_POOL_PHASE_READY")


class DeletingAPoolTwiceIsRefused(Mutant):
    """A second deletion of a pool, while it drains, is an error."""

    methods = ("DeleteWarmPool",)
    assumption = True

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetWarmPool", **call.fields))
        reply = await forward(call)
        if reply.ok and found.ok and phase(found.json["warmPool"]) == "DELETING":
            return failure(400, "failed_precondition")
        return reply

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=made)
        return not api("DeleteWarmPool", warmPoolId=made).ok


class UnknownPoolCanBeDeleted(Mutant):
    """The deletion of a pool that is not there is a success."""

    methods = ("DeleteWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok() if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("DeleteWarmPool", warmPoolId=NOBODY).ok


class DeletionTakesAllPools(Mutant):
    """A deletion takes all pools of the project."""

    methods = ("DeleteWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetWarmPool", **call.fields))
        reply = await forward(call)
        if reply.ok and found.ok:
            wanted = {"projectIds": [found.json["warmPool"]["metadata"]["projectId"]]}
            listed = await forward(call.other("ListWarmPools", filter=wanted))
            for item in listed.json.get("warmPools", []):
                await forward(call.other("DeleteWarmPool", warmPoolId=item["id"]))
        return reply

    def shows(self, api: Api) -> bool:
        other = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=api.new_pool(environment_class=OTHER_CLASS)["id"])
        return api.gone("GetWarmPool", warmPoolId=other)


class DeletedPoolIsListed(Mutant):
    """A pool that is no longer found is still in the list."""

    methods = ("ListWarmPools",)
    watches = ("GetWarmPool",)

    def begin(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method == "GetWarmPool":
            reply.edited(lambda item: self.known.update({item["id"]: item}))
            return reply
        if not reply.ok or call.get("pagination", "token") or reply.json.get("pagination"):
            return reply
        wanted = call.get("filter") or {}
        projects, classes = wanted.get("projectIds"), wanted.get("environmentClassIds")
        there = reply.json.get("warmPools", [])
        ids = {item["id"] for item in there}
        lost = [
            item
            for key, item in self.known.items()
            if key not in ids
            and (not projects or item["metadata"]["projectId"] in projects)
            and (not classes or item["metadata"]["environmentClassId"] in classes)
        ]
        size = int(call.get("pagination", "pageSize") or 25)
        found = [*there, *lost][:size]
        return reply.with_json({"warmPools": found} if found else {})

    def shows(self, api: Api) -> bool:
        made = api.new_pool()["id"]
        api.pool(made)
        api("DeleteWarmPool", warmPoolId=made)
        return api.gone("GetWarmPool", warmPoolId=made) and made in api.pools()


# -- Snapshots of others


class _Snapshot(Mutant):
    """A pool without a snapshot gets one that is not for it."""

    methods = ("GetWarmPool",)

    def wanted(self, pool: dict[str, Any]) -> dict[str, Any]:
        """The filter for the prebuilds whose snapshot it takes."""
        raise NotImplementedError

    def fits(self, pool: dict[str, Any], prebuild: dict[str, Any]) -> bool:
        return bool(prebuild["metadata"]["environmentClassId"] == pool["metadata"]["environmentClassId"])

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        pool = reply.json.get("warmPool", {})
        if not reply.ok or "snapshotId" in pool["spec"]:
            return reply
        page = {"pageSize": 100}
        listed = await forward(call.other("ListPrebuilds", filter=self.wanted(pool), pagination=page))
        for item in listed.json.get("prebuilds", []):
            if self.fits(pool, item):
                return reply.edited(lambda shown: shown["spec"].update(snapshotId=item["id"]))  # noqa: B023  called here
        return reply


class SnapshotOfAnotherClass(_Snapshot):
    """A pool takes the snapshot of any prebuild of its project, whatever its class."""

    def wanted(self, pool: dict[str, Any]) -> dict[str, Any]:
        return {"projectIds": [pool["metadata"]["projectId"]], "phases": ["PREBUILD_PHASE_COMPLETED"]}

    def fits(self, pool: dict[str, Any], prebuild: dict[str, Any]) -> bool:
        return not super().fits(pool, prebuild)

    def shows(self, api: Api) -> bool:
        api.until(api.created()["id"], "COMPLETED")
        return "snapshotId" in api.pool(api.new_pool(environment_class=OTHER_CLASS)["id"])["spec"]


class SnapshotOfAnotherProject(_Snapshot):
    """A pool takes the snapshot of any prebuild of its class, whatever its project."""

    def wanted(self, pool: dict[str, Any]) -> dict[str, Any]:
        return {"phases": ["PREBUILD_PHASE_COMPLETED"]}

    def shows(self, api: Api) -> bool:
        api.until(api.created()["id"], "COMPLETED")
        return "snapshotId" in api.pool(api.new_pool(OTHER_PROJECT)["id"])["spec"]


class SnapshotOfTheCancelled(_Snapshot):
    """A pool takes the snapshot of a prebuild that was cancelled, which has none."""

    def wanted(self, pool: dict[str, Any]) -> dict[str, Any]:
        return {"projectIds": [pool["metadata"]["projectId"]], "phases": ["PREBUILD_PHASE_CANCELLED"]}

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("CancelPrebuild", prebuildId=made)
        api.until(made, "CANCELLED")
        return "snapshotId" in api.pool(api.new_pool()["id"])["spec"]


class SnapshotComesBack(Mutant):
    """A pool that was rotated to a newer snapshot has the one before again at the third look."""

    methods = ("GetWarmPool",)

    def begin(self) -> None:
        self.seen: dict[str, list[str]] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            seen = self.seen.setdefault(item["id"], [])
            if "snapshotId" in item["spec"]:
                seen.append(item["spec"]["snapshotId"])
                former = [each for each in seen if each != seen[-1]]
                if former and seen.count(seen[-1]) >= 3:
                    item["spec"]["snapshotId"] = former[-1]

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        pool = api.new_pool()["id"]
        shown: list[str] = []
        for _ in range(2):
            api.until(api.created()["id"], "COMPLETED")
            shown += [api.pool(pool)["spec"]["snapshotId"] for _ in range(3)]
        return shown[-1] == shown[0]


# -- Updates that do too much


class RefusedUpdateCounts(Mutant):
    """An update that is refused counts up the version of the spec all the same."""

    methods = ("UpdateWarmPool", "GetWarmPool", "ListWarmPools")

    def begin(self) -> None:
        self.more: dict[str, int] = {}

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method == "UpdateWarmPool" and reply.code == "invalid_argument":
            made = str(call.get("warmPoolId"))
            self.more[made] = self.more.get(made, 0) + 1

        def edit(item: dict[str, Any]) -> None:
            version = int(item["spec"]["specVersion"]) + self.more.get(item["id"], 0)
            item["spec"]["specVersion"] = str(version)

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        pool = api.new_pool(minSize=1, maxSize=2)
        api("UpdateWarmPool", warmPoolId=pool["id"], minSize=3)
        return bool(api.pool(pool["id"])["spec"]["specVersion"] != pool["spec"]["specVersion"])


class UpdateBringsBackTheDeleted(Mutant):
    """A pool that drains is READY again after an update."""

    methods = ("UpdateWarmPool", "GetWarmPool")

    def begin(self) -> None:
        self.kept: dict[str, Any] = {}

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        made = str(call.get("warmPoolId"))
        if call.method == "UpdateWarmPool" and reply.code == "failed_precondition":
            found = await forward(call.other("GetWarmPool", warmPoolId=made))
            if found.ok and phase(found.json["warmPool"]) == "DELETING":
                item = found.json["warmPool"]
                item["status"]["phase"] = "WARM_POOL_PHASE_READY"
                item["spec"].setdefault("snapshotId", NOBODY)
                item["spec"]["desiredPhase"] = "WARM_POOL_PHASE_READY"
                self.kept[made] = item
        return ok(warmPool=self.kept[made]) if made in self.kept else reply

    def shows(self, api: Api) -> bool:
        pool = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=pool)
        return api("UpdateWarmPool", warmPoolId=pool, minSize=0, maxSize=2).ok


class DeletionTakesTheClass(Mutant):
    """A deletion takes all pools of the class, in whichever project."""

    methods = ("DeleteWarmPool",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        found = await forward(call.other("GetWarmPool", **call.fields))
        reply = await forward(call)
        if reply.ok and found.ok:
            wanted = {"environmentClassIds": [found.json["warmPool"]["metadata"]["environmentClassId"]]}
            listed = await forward(call.other("ListWarmPools", filter=wanted))
            for item in listed.json.get("warmPools", []):
                await forward(call.other("DeleteWarmPool", warmPoolId=item["id"]))
        return reply

    def shows(self, api: Api) -> bool:
        other = api.new_pool()["id"]
        api("DeleteWarmPool", warmPoolId=api.new_pool(OTHER_PROJECT)["id"])
        return api.gone("GetWarmPool", warmPoolId=other)
