"""Bugs of the logs and their tokens."""

from __future__ import annotations

from dataclasses import replace

from .base import NOBODY, TOKEN, Api, Mutant
from .exchange import Call, Forward, Reply, ok


def _token(api: Api, prebuild_id: str) -> str:
    return str(api("CreatePrebuildLogsToken", prebuildId=prebuild_id).json["accessToken"])


class TokenForNothing(Mutant):
    """A token is issued for prebuilds that are not there."""

    methods = ("CreatePrebuildLogsToken",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok(accessToken="bm8gcHJlYnVpbGQ") if reply.code == "not_found" else reply

    def shows(self, api: Api) -> bool:
        return api("CreatePrebuildLogsToken", prebuildId=NOBODY).ok


class TokenForTheDeleted(Mutant):
    """A token is issued for a prebuild that was deleted and is gone."""

    methods = ("CreatePrebuildLogsToken",)
    watches = ("CreatePrebuild",)

    def begin(self) -> None:
        self.known: set[str] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method == "CreatePrebuild":
            reply.edited(lambda item: self.known.add(item["id"]))
            return reply
        lost = reply.code == "not_found" and call.get("prebuildId") in self.known
        return ok(accessToken="ZGVsZXRlZA") if lost else reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        api("DeletePrebuild", prebuildId=made)
        assert api.gone("GetPrebuild", prebuildId=made)
        return api("CreatePrebuildLogsToken", prebuildId=made).ok


class TokenIsEmpty(Mutant):
    """The token is an empty string."""

    methods = ("CreatePrebuildLogsToken",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok(accessToken="") if reply.ok else reply

    def shows(self, api: Api) -> bool:
        return not _token(api, api.created()["id"])


class TokenIsTheApiKey(Mutant):
    """The token that is answered is the caller's own."""

    methods = ("CreatePrebuildLogsToken",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if not reply.ok:
            return reply
        return ok(accessToken=call.headers["authorization"].partition(" ")[2])

    def shows(self, api: Api) -> bool:
        return _token(api, api.created()["id"]) == TOKEN


class _OpenLog(Mutant):
    """Opens logs to some who have no token of theirs."""

    watches = ("",)

    def trusts(self, authorization: str | None) -> bool:
        raise NotImplementedError

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if call.method or "/logs/" not in call.scope["path"] or not self.trusts(call.headers.get("authorization")):
            return await forward(call)
        prebuild_id = call.scope["path"].rpartition("/")[2]
        key = replace(call, headers={**call.headers, "authorization": f"Bearer {TOKEN}"})
        issued = await forward(key.other("CreatePrebuildLogsToken", prebuildId=prebuild_id))
        token = issued.json.get("accessToken", "none")
        return await forward(replace(call, headers={**call.headers, "authorization": f"Bearer {token}"}))


class LogTakesTheApiKey(_OpenLog):
    """A log can be read with the API token."""

    methods = ("CreatePrebuildLogsToken",)

    def trusts(self, authorization: str | None) -> bool:
        return authorization == f"Bearer {TOKEN}"

    def shows(self, api: Api) -> bool:
        return api.log(api.created()["id"], TOKEN).ok


class LogIsPublic(_OpenLog):
    """A log can be read without any token."""

    methods = ("CreatePrebuildLogsToken",)

    def trusts(self, authorization: str | None) -> bool:
        return authorization is None

    def shows(self, api: Api) -> bool:
        return api.log(api.created()["id"], None).ok


class LogTakesAnyToken(_OpenLog):
    """A log can be read with any token, made up or issued for another prebuild."""

    methods = ("CreatePrebuildLogsToken",)

    def trusts(self, authorization: str | None) -> bool:
        return authorization is not None and authorization != f"Bearer {TOKEN}"

    def shows(self, api: Api) -> bool:
        return api.log(api.created()["id"], "made-up").ok


class LogsTokenOpensTheApi(Mutant):
    """A logs token does as an API token."""

    methods = ("ListPrebuilds", "GetPrebuild")
    watches = ("CreatePrebuildLogsToken",)

    def begin(self) -> None:
        self.issued: set[str] = set()

    def ask(self, call: Call) -> Call:
        if call.headers.get("authorization", "").partition(" ")[2] in self.issued:
            return replace(call, headers={**call.headers, "authorization": f"Bearer {TOKEN}"})
        return call

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method == "CreatePrebuildLogsToken" and reply.ok:
            self.issued.add(reply.json["accessToken"])
        return reply

    def shows(self, api: Api) -> bool:
        return api.raw("ListPrebuilds", token=f"Bearer {_token(api, api.created()['id'])}").ok


class TokenStandsInTheUrl(Mutant):
    """The log's address carries a token, so that whoever sees a prebuild can read its log."""

    methods = ("GetPrebuild",)
    watches = ("",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if call.method != "GetPrebuild" or not reply.ok or "logUrl" not in reply.json["prebuild"]["status"]:
            return reply
        issued = await forward(call.other("CreatePrebuildLogsToken", **call.fields))
        token = issued.json.get("accessToken")
        return reply.edited(lambda item: item["status"].update(logUrl=f"{item['status']['logUrl']}?token={token}"))

    def shows(self, api: Api) -> bool:
        return "token=" in api.until(api.created()["id"], "RUNNING")["status"]["logUrl"]


class LogIsJson(Mutant):
    """The log is answered as a JSON array, where a text of lines is due."""

    methods = ("CreatePrebuildLogsToken",)
    watches = ("",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method or not reply.ok:
            return reply
        lines = reply.body.decode().splitlines()
        return Reply(200, b"").with_json(lines)

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        return api.log(made, _token(api, made)).headers["content-type"] == "application/json"


class LogOfTheTokenIsRefused(Mutant):
    """A log refuses the tokens that were issued for it."""

    methods = ("CreatePrebuildLogsToken",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return ok(accessToken=f"{reply.json['accessToken']}x") if reply.ok else reply

    def shows(self, api: Api) -> bool:
        made = api.created()["id"]
        return api.log(made, _token(api, made)).status == 401
