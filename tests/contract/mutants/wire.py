"""Bugs of the wire: statuses, envelopes, content types, and how values are written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .base import CLASS, NOBODY, PROJECT, Api, Mutant
from .exchange import Call, Forward, Reply, failure, items, ok


class NotFoundCrashes(Mutant):
    """A lookup that finds nothing is not caught: 500 for an id that is unknown."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return failure(500, "internal", "KeyError") if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("GetPrebuild", prebuildId=NOBODY).status == 500


class ErrorsAreSentAsSuccess(Mutant):
    """The error envelope is sent with the status 200."""

    methods = ("GetWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, status=200)

    def shows(self, api: Api) -> bool:
        return api("GetWarmPool", warmPoolId=NOBODY).status == 200


class ErrorsArePlainText(Mutant):
    """Errors are sentences rather than the JSON envelope."""

    methods = ("CancelPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if reply.ok:
            return reply
        return Reply(reply.status, reply.json.get("message", "error").encode(), {"content-type": "text/plain"})

    def shows(self, api: Api) -> bool:
        return not api("CancelPrebuild", prebuildId=NOBODY).code


class ErrorsHaveNoCode(Mutant):
    """Errors have an envelope of the framework's own, without a code."""

    methods = ("DeletePrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply if reply.ok else reply.with_json({"error": {"message": reply.json.get("message")}})

    def shows(self, api: Api) -> bool:
        return not api("DeletePrebuild", prebuildId=NOBODY).code


class CodeOfItsOwn(Mutant):
    """Invalid requests get a code that Connect does not know."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if reply.code != "invalid_argument":
            return reply
        return reply.with_json({**reply.json, "code": "validation_error"})

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", pagination={"pageSize": 101}).code == "validation_error"


class ConflictSentAsBadRequest(Mutant):
    """`already_exists` goes with the status 400 rather than 409."""

    methods = ("CreateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, status=400) if reply.code == "already_exists" else reply

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS).status == 400


class InvalidIsUnprocessable(Mutant):
    """`invalid_argument` goes with the framework's 422 rather than 400."""

    methods = ("CreatePrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, status=422) if reply.code == "invalid_argument" else reply

    def shows(self, api: Api) -> bool:
        return api("CreatePrebuild", projectId="x", spec={}).status == 422


class NotFoundIsGone(Mutant):
    """Unknown pools are answered with `not_found` and the status 410."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, status=410) if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("UpdateWarmPool", warmPoolId=NOBODY, minSize=1).status == 410


class VersionsAreNumbers(Mutant):
    """64 bit integers are written as JSON numbers."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            item["spec"]["specVersion"] = int(item["spec"]["specVersion"])
            item["status"]["statusVersion"] = int(item["status"]["statusVersion"])

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        return isinstance(api.prebuild(api.created()["id"])["spec"]["specVersion"], int)


class SnapshotSizeIsANumber(Mutant):
    """The size of the snapshot is a JSON number, in lists, once there is one."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if "snapshotSizeBytes" in item["status"]:
                item["status"]["snapshotSizeBytes"] = int(item["status"]["snapshotSizeBytes"])

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        api.until(api.created()["id"], "COMPLETED")
        found = api("ListPrebuilds").json["prebuilds"][0]
        return isinstance(found["status"]["snapshotSizeBytes"], int)


class PoolVersionIsANumber(Mutant):
    """The answer to an update has its version as a JSON number."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["spec"].update(specVersion=int(item["spec"]["specVersion"])))

    def shows(self, api: Api) -> bool:
        pool = api("UpdateWarmPool", warmPoolId=api.new_pool()["id"], maxSize=3).json["warmPool"]
        return isinstance(pool["spec"]["specVersion"], int)


class ListsAreText(Mutant):
    """JSON is sent as text/html, the default of the framework."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, headers={**reply.headers, "content-type": "text/html; charset=utf-8"})

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds").headers["content-type"] != "application/json"


class AnyMediaTypeWillDo(Mutant):
    """The content type of a request is not looked at: text/plain is read as JSON, where 415 is due."""

    methods = ("CreatePrebuild",)

    def ask(self, call: Call) -> Call:
        return replace(call, headers={**call.headers, "content-type": "application/json"})

    def shows(self, api: Api) -> bool:
        body = json.dumps({"projectId": PROJECT, "spec": {}}).encode()
        return api.raw("CreatePrebuild", body, content_type="text/plain").ok


class XmlIsServerError(Mutant):
    """A request in another media type than JSON ends in 500."""

    methods = ("DeleteWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return failure(500, "internal") if reply.status == 415 else reply

    def shows(self, api: Api) -> bool:
        return api.raw("DeleteWarmPool", b"<pool/>", content_type="application/xml").status == 500


class BrokenJsonCrashes(Mutant):
    """A body that is no JSON ends in 500."""

    methods = ("CreateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        try:
            json.loads(call.body)
        except (ValueError, RecursionError):
            return failure(500, "internal", "Expecting value: line 1 column 1")
        return reply

    def shows(self, api: Api) -> bool:
        return api.raw("CreateWarmPool", b"{").status == 500


class BrokenJsonIsNoFilter(Mutant):
    """A body that is no JSON counts as an empty request: everything is listed."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call:
        try:
            json.loads(call.body)
        except (ValueError, RecursionError):
            return replace(call, body=b"{}")
        return call

    def shows(self, api: Api) -> bool:
        return api.raw("ListPrebuilds", b'{"filter": ').ok


class ArraysCrash(Mutant):
    """A body that is JSON, but no object, ends in 500."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        try:
            value = json.loads(call.body)
        except (ValueError, RecursionError):
            return reply
        return reply if isinstance(value, dict) else failure(500, "internal", "list has no attribute get")

    def shows(self, api: Api) -> bool:
        return api.raw("UpdateWarmPool", b"[]").status == 500


class GetDeletes(Mutant):
    """A deletion can be had with GET as well."""

    methods = ("DeletePrebuild",)

    def ask(self, call: Call) -> Call:
        return call.other("DeletePrebuild", **call.fields) if call.by_get else call

    def shows(self, api: Api) -> bool:
        query = f'encoding=json&message={{"prebuildId":"{api.created()["id"]}"}}'
        return api.raw("DeletePrebuild", b"", verb="GET", query=query).status != 405


class NulCrashes(Mutant):
    """A NUL in a page token gets as far as the database, which refuses it: 500."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return failure(500, "unknown", "invalid byte 0x00") if "\0" in str(call.get("pagination", "token")) else reply

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", pagination={"token": "a\0b"}).status == 500


class LoneSurrogateCrashes(Mutant):
    """An escaped half of a surrogate pair cannot be encoded: 500."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        try:
            json.dumps(call.fields, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return failure(500, "internal", "surrogates not allowed")
        return reply

    def shows(self, api: Api) -> bool:
        return api.raw("ListWarmPools", b'{"pagination": {"token": "\\ud800"}}').status == 500


class LongTokenCrashes(Mutant):
    """A page token of more than 4096 characters ends in 500."""

    methods = ("ListPrebuilds",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        token = str(call.get("pagination", "token") or "")
        return failure(500, "internal", "value too long for type") if len(token) > 4096 else reply

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", pagination={"token": "x" * 5000}).status == 500


class SnakeCaseAnswer(Mutant):
    """The answer has its fields by their protobuf names."""

    methods = ("CreateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.with_json({"warm_pool": reply.json["warmPool"]}) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return "warm_pool" in api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS).json


class PhasesAreNumbers(Mutant):
    """The phase is written as the number of the enum."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["status"].update(phase=10))

    def shows(self, api: Api) -> bool:
        api.new_pool()
        return next(items(api("ListWarmPools").json))["status"]["phase"] == 10


class TimestampOfPython(Mutant):
    """Timestamps are written without a T and a zone."""

    methods = ("CreatePrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            item["metadata"]["createdAt"] = item["metadata"]["createdAt"].replace("T", " ").rstrip("Z")

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        return " " in api.created()["metadata"]["createdAt"]


class TimestampOfUnix(Mutant):
    """The time of the update is a number of seconds."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["metadata"].update(updatedAt=1893456000))

    def shows(self, api: Api) -> bool:
        pool = api("UpdateWarmPool", warmPoolId=api.new_pool()["id"]).json["warmPool"]
        return isinstance(pool["metadata"]["updatedAt"], int)


class DurationIsANumber(Mutant):
    """The timeout is answered as a number of seconds."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item["spec"].update(timeout=3600))

    def shows(self, api: Api) -> bool:
        return api.prebuild(api.created()["id"])["spec"]["timeout"] == 3600


class DeletedWithoutContent(Mutant):
    """A deletion answers 204 and no body, where Connect asks for 200 and an empty message."""

    methods = ("DeleteWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return Reply(204, b"", {}) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return api("DeleteWarmPool", warmPoolId=api.new_pool()["id"]).status == 204


class DeletedIsNull(Mutant):
    """A deletion answers null."""

    methods = ("DeletePrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, body=b"null") if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return api("DeletePrebuild", prebuildId=api.created()["id"]).body == b"null"


class CreatedIs201(Mutant):
    """A creation answers 201, as REST has it."""

    methods = ("CreateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return replace(reply, status=201) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS).status == 201


class PoolAtTheTop(Mutant):
    """The pool is not wrapped in the response message."""

    methods = ("GetWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.with_json(reply.json["warmPool"]) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return "warmPool" not in api("GetWarmPool", warmPoolId=api.new_pool()["id"]).json


class LogUrlIsRelative(Mutant):
    """The log's address is a path, where a URI is due."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            if "logUrl" in item["status"]:
                item["status"]["logUrl"] = f"/logs/{item['id']}"

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        return str(api.until(api.created()["id"], "RUNNING")["status"]["logUrl"]).startswith("/")


class StatusIsLeftOut(Mutant):
    """The answer to a cancellation has no status, which is always to be there."""

    methods = ("CancelPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.edited(lambda item: item.pop("status"))

    def shows(self, api: Api) -> bool:
        return "status" not in api("CancelPrebuild", prebuildId=api.created()["id"]).json["prebuild"]


class ErrorsLeak(Mutant):
    """After five errors every call fails: what an error takes from a pool of connections is never given back."""

    methods = ("CreatePrebuildLogsToken",)

    def begin(self) -> None:
        self.lost = 0

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if self.lost >= 5:
            return failure(503, "unavailable", "no connection left")
        reply = await forward(call)
        self.lost += not reply.ok
        return reply

    def shows(self, api: Api) -> bool:
        answers = [api("CreatePrebuildLogsToken", prebuildId=NOBODY) for _ in range(7)]
        return answers[-1].status == 503


class EmptyObjectForEverything(Mutant):
    """A stub was left in: the method answers an empty message, whatever is asked."""

    methods = ("CreatePrebuildLogsToken",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok() if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return not api("CreatePrebuildLogsToken", prebuildId=api.created()["id"]).json


class DetailsAreOneObject(Mutant):
    """The details of an error are one object of the framework's own, where a list of typed ones is due."""

    methods = ("GetPrebuild",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.with_json({**reply.json, "details": {"reason": reply.code}}) if reply.code else reply

    def shows(self, api: Api) -> bool:
        return isinstance(api("GetPrebuild", prebuildId=NOBODY).json.get("details"), dict)


class DetailsHaveNoType(Mutant):
    """The details of an error are objects without a type and a value."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply.with_json({**reply.json, "details": [{"field": "warmPoolId"}]}) if reply.code else reply

    def shows(self, api: Api) -> bool:
        return any("field" in item for item in api("UpdateWarmPool", warmPoolId=NOBODY).json.get("details", []))


class BrokenGzipCrashes(Mutant):
    """A body that says it is gzip, and is not, ends in 500."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call | Reply:
        if call.headers.get("content-encoding") != "gzip" or call.body.startswith(b"\x1f\x8b"):
            return call
        return failure(500, "internal", "BadGzipFile")

    def shows(self, api: Api) -> bool:
        return api.raw("ListPrebuilds", b"no gzip", content_encoding="gzip").status == 500


class DeadlineWithoutNumberCrashes(Mutant):
    """A deadline that is no number ends in 500."""

    methods = ("ListPrebuilds", "GetPrebuild", "ListWarmPools", "GetWarmPool")

    def ask(self, call: Call) -> Call | Reply:
        deadline = call.headers.get("connect-timeout-ms")
        return call if deadline is None or deadline.isdigit() else failure(500, "internal", "ValueError")

    def shows(self, api: Api) -> bool:
        return api.raw("ListPrebuilds", connect_timeout_ms="soon").status == 500


class LongDeadlineIsRefused(Mutant):
    """A deadline of more than a minute is refused."""

    methods = ("ListPrebuilds", "GetPrebuild", "ListWarmPools", "GetWarmPool")

    def ask(self, call: Call) -> Call | Reply:
        deadline = call.headers.get("connect-timeout-ms", "")
        return failure(400, "invalid_argument") if deadline.isdigit() and int(deadline) > 60_000 else call

    def shows(self, api: Api) -> bool:
        return not api.raw("ListPrebuilds", connect_timeout_ms="100000").ok


class UnknownEncodingOfGetCrashes(Mutant):
    """A call by GET in an encoding that is not known ends in 500."""

    methods = ("ListPrebuilds", "GetPrebuild", "ListWarmPools", "GetWarmPool")

    def tell(self, call: Call, reply: Reply) -> Reply:
        return failure(500, "internal", "KeyError") if call.by_get and reply.status == 415 else reply

    def shows(self, api: Api) -> bool:
        return api.raw("ListPrebuilds", b"", verb="GET", query="connect=v1&encoding=text&message=%7B%7D").status == 500


class BrokenJsonOfUpdatesCrashes(Mutant):
    """A body that breaks off ends in 500, in one of the methods."""

    methods = ("UpdateWarmPool",)

    def ask(self, call: Call) -> Call | Reply:
        try:
            json.loads(call.body or b"{}")
        except ValueError:
            return failure(500, "internal", "JSONDecodeError")
        return call

    def shows(self, api: Api) -> bool:
        return api.raw("UpdateWarmPool", b'{"').status == 500


class FewerThanNoInstances(Mutant):
    """The count of stopped instances is below zero while a pool has none."""

    methods = ("GetWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        def edit(item: dict[str, Any]) -> None:
            item["status"].setdefault("stoppedInstances", -1)

        return reply.edited(edit)

    def shows(self, api: Api) -> bool:
        return bool(api.pool(api.new_pool()["id"])["status"].get("stoppedInstances") == -1)
