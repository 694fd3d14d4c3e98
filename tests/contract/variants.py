"""Servers that differ from the emulator and are as correct: what is left open, another one does in its own way.

The kit must find nothing wrong with any of them.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Any, ClassVar

from prebuild_wire import OPERATIONS
from prebuild_wire.base import Message
from prebuild_wire.enums import PrebuildPhase
from prebuilds.emulator import Plan

from .mutants.base import CLASS, OTHER_CLASS, OTHER_PROJECT, PROJECT, TICK, Server
from .mutants.exchange import Between, Call, Forward, Reply, failure, items

_TIMESTAMP = re.compile(r'("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})(?:\.([0-9]+))?Z"')


_UNDER_WAY = ("PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "CANCELLING")


class Variant(Server):
    """A correct server. Subclasses change what is asked (`ask`) or answered (`tell`)."""

    assumptions: ClassVar[bool] = True
    """Whether it keeps what is assumed about the service as well."""

    plan: ClassVar[Plan | None] = None
    tick: ClassVar[float] = TICK

    def __init__(self) -> None:
        super().__init__(tick=self.tick, plan=self.plan)
        self._emulator = Between(self._emulator, self.answer)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        asked = self.ask(call)
        if isinstance(asked, Reply):
            reply = await forward(call)
            return reply if reply.code == "unauthenticated" or reply.status == 415 else asked
        return self.tell(call, await forward(asked))

    def ask(self, call: Call) -> Call | Reply:
        return call

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply


class TheEmulator(Variant):
    """The emulator itself."""


class StrictInput(Variant):
    """Refuses all input that the schema does not name: unknown fields, snake_case, numbers as strings and the like."""

    def ask(self, call: Call) -> Call | Reply:
        operation = OPERATIONS.get(call.method)
        if operation is None or not call.fields:
            return call
        try:
            message = operation.request.model_validate(call.fields)
        except ValueError:
            return call
        known = message.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return call if known == call.fields else failure(400, "invalid_argument", "input that is not declared")


class LenientInput(Variant):
    """Takes what can be understood: numbers as text, and enum names in any case. What it does not know it ignores."""

    def ask(self, call: Call) -> Call | Reply:
        fields = call.fields
        wanted = fields.get("filter")
        if not isinstance(wanted, dict):
            return call
        changed = dict(wanted)
        for name, prefix in (("phases", "PREBUILD_PHASE_"), ("triggeredBy", "PREBUILD_TRIGGER_")):
            values = wanted.get(name)
            if isinstance(values, list):
                changed[name] = [
                    value.upper() if isinstance(value, str) and value.upper().startswith(prefix) else value
                    for value in values
                ]
        return call if changed == wanted else call.having(changed, "filter")


class IgnoresUnknownEnumNames(Variant):
    """Reads an enum name that it does not know as unspecified, as a client of protobuf JSON may be told to."""

    assumptions = False

    def ask(self, call: Call) -> Call | Reply:
        phase = call.get("spec", "desiredPhase")
        if isinstance(phase, str) and phase not in list(PrebuildPhase):
            call = call.having(None, "spec", "desiredPhase")
        for name, prefix in (("phases", "PREBUILD_PHASE_"), ("triggeredBy", "PREBUILD_TRIGGER_")):
            values = call.get("filter", name)
            if isinstance(values, list) and any(isinstance(value, str) for value in values):
                known = [value for value in values if not isinstance(value, str) or value.startswith(prefix)]
                if known != values:
                    # Nothing is of a phase that there is not.
                    call = call.having(known or [f"{prefix}UNSPECIFIED"], "filter", name)
        return call


class ZeroValues(Variant):
    """Writes every field, those with the zero value as well."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        operation = OPERATIONS.get(call.method)
        if operation is None or not reply.ok:
            return reply
        return reply.with_json(_with_zeros(operation.response, reply.json))


def _with_zeros(kind: type[Message], value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        key = info.alias or name
        given = value.get(key)
        inner = _message_of(info.annotation)
        text = str(info.annotation) + str(info.metadata)
        if inner is not None:
            if isinstance(given, list):
                found[key] = [_with_zeros(inner, item) for item in given]
            elif given is not None:
                found[key] = _with_zeros(inner, given)
            elif "list[" in text:
                found[key] = []
            elif key == "pagination":
                found[key] = {"nextToken": ""}
        elif given is not None:
            found[key] = given
        elif key == "snapshotId" or (info.json_schema_extra or {}).get("x-presence") == "explicit":
            pass
        elif key == "phase" or key.endswith("Phase") or key == "triggeredBy":
            pass  # always set here
        elif "Timestamp" in text or key in ("completionTime", "timeout"):
            pass  # messages, which have no zero value
        elif "WideInteger" in text:
            found[key] = "0"
        elif "Integer" in text:
            found[key] = 0
        else:
            found[key] = ""
    return found


def _message_of(annotation: Any) -> type[Message] | None:
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return annotation
    return next((kind for part in getattr(annotation, "__args__", ()) if (kind := _message_of(part))), None)


class UnknownFields(Variant):
    """Sends fields that the schema does not have yet, at every level."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            item["etag"] = "W/1"
            item["metadata"]["labels"] = {"team": "platform"}
            item["spec"]["priority"] = 3
            item["status"]["conditions"] = [{"type": "Healthy", "since": None}]

        if call.method not in OPERATIONS:
            return reply
        reply = reply.edited(edit)
        return reply.with_json({**reply.json, "serverVersion": {"major": 2}})


class UnknownEnumValues(Variant):
    """Knows members of enums that the schema does not have: a trigger of its own, and a kind of principal."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            creator = item["metadata"].get("creator")
            if creator is not None:
                creator["principal"] = "PRINCIPAL_AGENT"

        return reply.edited(edit)


class Nanoseconds(Variant):
    """Writes timestamps with nine digits."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method not in OPERATIONS or not reply.ok:
            return reply
        text = _TIMESTAMP.sub(lambda found: f'{found[1]}.{(found[2] or "").ljust(9, "0")}Z"', reply.body.decode())
        return replace(reply, body=text.encode())


class OlderStatuses(Variant):
    """Has the HTTP statuses of an earlier version of the Connect protocol."""

    statuses: ClassVar = {"canceled": 408, "deadline_exceeded": 408, "failed_precondition": 412, "unimplemented": 404}

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, status=self.statuses.get(reply.code, reply.status))


class IdentityEncoding(Variant):
    """Names the content encoding of what is not encoded, as the vendor's Python runtime does."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        headers = {"content-encoding": "identity", **reply.headers}
        return replace(reply, headers=headers)


class GoneAtOnce(Variant):
    """Nothing is ever seen to be deleted: the id is unknown as soon as the deletion is through."""

    plan = Plan(deleting=0, draining=0, tombstone=0, stopping=0)


class GoneWithTheCall(Variant):
    """What is deleted is gone with the call that deletes it, without any phase."""

    def __init__(self) -> None:
        super().__init__()
        self._deleted: set[str] = set()

    async def answer(self, call: Call, forward: Forward) -> Reply:
        named = str(call.get("prebuildId") or call.get("warmPoolId") or "").lower()
        if call.method in OPERATIONS and named in self._deleted:
            checked = await forward(call)
            return failure(404, "not_found") if checked.ok or checked.code == "failed_precondition" else checked
        if call.method == "CreateWarmPool":
            # The emulator keeps the place until it has drained; here it is free at once.
            self.clock.advance(200)
        reply = await forward(call)
        if call.method in ("DeletePrebuild", "DeleteWarmPool") and reply.ok:
            self._deleted.add(named)
        return self._without(reply) if call.method in ("ListPrebuilds", "ListWarmPools") else reply

    def _without(self, reply: Reply) -> Reply:
        body = reply.json
        for name in ("prebuilds", "warmPools"):
            if name in body:
                body[name] = [item for item in body[name] if item["id"] not in self._deleted]
        return reply.with_json(body) if reply.ok else reply


class Slow(Variant):
    """Everything takes long: no prebuild comes to an end while anybody looks."""

    plan = Plan(pending=100_000, deleting=3000, draining=3000, cancelling=3000)


class Fast(Variant):
    """Everything is through with the next look."""

    plan = Plan(pending=0, starting=0, running=0.001, stopping=0, snapshotting=0, cancelling=0, deleting=0, draining=0)


class StartsAtOnce(Variant):
    """A prebuild is past PENDING before its creation is answered."""

    plan = Plan(pending=0)
    tick = 5.0


class OtherSnapshotIds(Variant):
    """A snapshot has an id of its own, which is not that of its prebuild."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if "snapshotId" in item["spec"]:
                item["spec"]["snapshotId"] = str(uuid.uuid5(uuid.NAMESPACE_OID, item["spec"]["snapshotId"]))

        return reply.edited(edit)


class EmptyPages(Variant):
    """Ends each list with a page that has no items, and answers empty pages in between."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens: dict[str, tuple[Any, str]] = {}

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if call.method not in ("ListPrebuilds", "ListWarmPools"):
            return await forward(call)
        token = call.get("pagination", "token")
        if isinstance(token, str) and token in self._tokens:
            wanted, following = self._tokens[token]
            if wanted == (call.method, call.get("filter")):
                checked = await forward(call.having(None, "pagination", "token"))
                if not checked.ok or not following:
                    return Reply(200, b"{}") if checked.ok else checked
                return await self._page(call, await forward(call.having(following, "pagination", "token")))
        return await self._page(call, await forward(call))

    async def _page(self, call: Call, reply: Reply) -> Reply:
        if not reply.ok or not any(True for _ in items(reply.json)):
            return reply
        following = reply.json.get("pagination", {}).get("nextToken", "")
        token = uuid.uuid5(uuid.NAMESPACE_OID, f"{len(self._tokens)}").hex
        self._tokens[token] = ((call.method, call.get("filter")), following)
        return reply.with_json({**reply.json, "pagination": {"nextToken": token}})


class OtherTexts(Variant):
    """Words its errors in its own way, braces and other scripts among them."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        if reply.ok or not reply.code:
            return reply
        return reply.with_json({**reply.json, "message": "{nope} 不行 \u202e%s <b>"})


class NoTexts(Variant):
    """Its errors say nothing but their code: neither message nor details."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.with_json({"code": reply.code}) if reply.code else reply


class NoDetails(Variant):
    """Its errors have no details."""

    def tell(self, call: Call, reply: Reply) -> Reply:
        if not reply.code:
            return reply
        return reply.with_json({key: value for key, value in reply.json.items() if key != "details"})


class NoGet(Variant):
    """Takes POST only, as servers do that have not implemented GET."""

    def ask(self, call: Call) -> Call | Reply:
        if call.by_get and call.method in OPERATIONS:
            reply = failure(405, "unknown", "POST only")
            return replace(reply, headers={**reply.headers, "allow": "POST"})
        return call


class IgnoresTheQuery(Variant):
    """Looks for the page in the body only, as a plain Connect server does."""

    def ask(self, call: Call) -> Call | Reply:
        if call.by_get or not call.scope.get("query_string"):
            return call
        return replace(call, scope={**call.scope, "query_string": b""})


class GoneDeletesSucceed(Variant):
    """Deletes what it has deleted before as often as it is asked to, as an idempotent method may."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: set[str] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method not in ("DeletePrebuild", "DeleteWarmPool"):
            return reply
        item_id = str(call.get("prebuildId") or call.get("warmPoolId"))
        if reply.ok:
            self.deleted.add(f"{call.method} {item_id}")
        elif reply.code == "not_found" and f"{call.method} {item_id}" in self.deleted:
            return Reply(200, b"{}")
        return reply


class ActiveIsNotDeleted(Variant):
    """Deletes a prebuild once it has ended, and wants to have it cancelled before."""

    assumptions = False

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if call.method == "DeletePrebuild":
            there = await forward(call.other("GetPrebuild", **call.fields))
            phase = there.json.get("prebuild", {}).get("status", {}).get("phase", "") if there.ok else ""
            if phase and phase.removeprefix("PREBUILD_PHASE_") not in ("COMPLETED", "FAILED", "CANCELLED", "DELETING"):
                return failure(400, "failed_precondition", "it is under way: cancel it first")
        return await super().answer(call, forward)


class EveryPlaceIsTaken(Variant):
    """Has the given projects and classes only, and in each place for a pool there is one, of somebody else."""

    projects = (PROJECT, OTHER_PROJECT)
    environment_classes = (CLASS, OTHER_CLASS)

    def __init__(self) -> None:
        super().__init__()
        self._is_ready = False

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if not self._is_ready and (await forward(call.other("ListWarmPools"))).ok:
            self._is_ready = True
            for project in self.projects:
                for name in self.environment_classes:
                    await forward(call.other("CreateWarmPool", projectId=project, environmentClassId=name))
        return await super().answer(call, forward)

    def ask(self, call: Call) -> Call | Reply:
        project = call.get("projectId")
        known = project in self.projects or not isinstance(project, str) or not _is_uuid(project)
        return call if known else failure(404, "not_found", "there is no such project")


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return len(text) == 36


class OneAtATime(Variant):
    """Begins no prebuild in a project in which another one is under way."""

    assumptions = False

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if call.method == "CreatePrebuild" and self._is_valid(call):
            wanted = {
                "projectIds": [call.get("projectId")],
                "phases": [f"PREBUILD_PHASE_{name}" for name in _UNDER_WAY],
            }
            if (await forward(call.other("ListPrebuilds", filter=wanted))).json.get("prebuilds"):
                return failure(400, "failed_precondition", "a prebuild of this project is under way")
        return await super().answer(call, forward)

    def _is_valid(self, call: Call) -> bool:
        try:
            OPERATIONS[call.method].request.model_validate(call.fields)
        except ValueError:
            return False
        return True


class Several(Variant):
    """Differs from the emulator in all the ways of its `parts` at once, the last of them next to the caller.

    No part may undo what another one does. What takes time is as the plan and the tick of the class say.
    """

    parts: ClassVar[tuple[type[Variant], ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        for kind in self.parts:
            part = kind()
            part.close()  # what it has of an emulator is not asked
            part.clock = self.clock
            self._emulator = Between(self._emulator, part.answer)


class OtherWriting(Several):
    """Writes everything in another way."""

    parts = (
        ZeroValues,
        UnknownEnumValues,
        OtherSnapshotIds,
        UnknownFields,
        Nanoseconds,
        OtherTexts,
        OlderStatuses,
        IdentityEncoding,
    )


class OtherReading(Several):
    """Takes less than the emulator, and tells less of what is wrong; and nothing is ever seen to be deleted."""

    plan = GoneAtOnce.plan
    parts = (StrictInput, NoGet, NoTexts)


class OtherLists(Several):
    """Lists with empty pages, deletes again what is gone, takes what can be understood; and everything takes long."""

    plan = Slow.plan
    parts = (LenientInput, EmptyPages, IgnoresTheQuery, GoneDeletesSucceed, NoDetails)


class OtherRules(Several):
    """Has rules of its own for what is under way, which everything is at once; and what is deleted is gone."""

    assumptions = False
    plan = StartsAtOnce.plan
    tick = StartsAtOnce.tick
    parts = (IgnoresUnknownEnumNames, GoneWithTheCall, ActiveIsNotDeleted, OneAtATime)


VARIANTS: dict[str, type[Variant]] = {
    kind.__name__: kind for kind in Variant.__subclasses__() if kind.__module__ == __name__ and kind is not Several
}
"""All variants by their names, the emulator first."""

COMBINED: dict[str, type[Variant]] = {kind.__name__: kind for kind in (*Several.__subclasses__(), EveryPlaceIsTaken)}
"""A few servers that differ from the emulator in all of these ways: soon tried out, if not as easy to see through."""
