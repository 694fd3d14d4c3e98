"""Bugs of authentication."""

from __future__ import annotations

from dataclasses import replace

from .base import NOBODY, TOKEN, Api, Mutant
from .exchange import Call, Forward, Reply, failure


class _Trusting(Mutant):
    """Lets some callers through that have no good token."""

    def trusts(self, authorization: str | None) -> bool:
        raise NotImplementedError

    def ask(self, call: Call) -> Call:
        if not self.trusts(call.headers.get("authorization")):
            return call
        return replace(call, headers={**call.headers, "authorization": f"Bearer {TOKEN}"})


class NoTokenNeeded(_Trusting):
    """The method was forgotten when authentication was added: no token is needed."""

    methods = ("ListWarmPools",)

    def trusts(self, authorization: str | None) -> bool:
        return True

    def shows(self, api: Api) -> bool:
        return api.raw("ListWarmPools", token=None).ok


class AnyTokenWillDo(_Trusting):
    """A token has to be there, but is not compared with anything."""

    methods = ("DeletePrebuild",)

    def trusts(self, authorization: str | None) -> bool:
        return bool(authorization)

    def shows(self, api: Api) -> bool:
        return api.raw("DeletePrebuild", token="Bearer wrong").status != 401


class AnySchemeWillDo(_Trusting):
    """The scheme of the header is not looked at: any header does."""

    methods = ("GetPrebuild",)

    def trusts(self, authorization: str | None) -> bool:
        return authorization is not None and not authorization.lower().startswith("bearer")

    def shows(self, api: Api) -> bool:
        return api.raw("GetPrebuild", token=f"Basic {TOKEN}").status != 401


class PrefixOfTheTokenWillDo(_Trusting):
    """Tokens are compared with `startswith`, the wrong way round: an empty one opens everything."""

    methods = ("CreatePrebuildLogsToken",)

    def trusts(self, authorization: str | None) -> bool:
        scheme, _, token = (authorization or "").partition(" ")
        return scheme == "Bearer" and TOKEN.startswith(token)

    def shows(self, api: Api) -> bool:
        return api.raw("CreatePrebuildLogsToken", token=f"Bearer {TOKEN[:-1]}").status != 401


class WritesWithoutToken(_Trusting):
    """Only the methods that read ask for a token."""

    methods = ("CreateWarmPool", "CreatePrebuild", "UpdateWarmPool")

    def trusts(self, authorization: str | None) -> bool:
        return not authorization

    def shows(self, api: Api) -> bool:
        return api.raw("UpdateWarmPool", token=None).status != 401


class NoTokenIsForbidden(Mutant):
    """Without a token, the answer is `permission_denied` rather than `unauthenticated`."""

    methods = ("DeleteWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return failure(403, "permission_denied") if reply.code == "unauthenticated" else reply

    def shows(self, api: Api) -> bool:
        return api.raw("DeleteWarmPool", token=None).status == 403


class ChecksTheTokenLast(Mutant):
    """Authentication comes after the lookup: who has no token learns which ids there are."""

    methods = ("CancelPrebuild",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        known = replace(call, headers={**call.headers, "authorization": f"Bearer {TOKEN}"})
        found = await forward(known.other("GetPrebuild", **call.fields))
        return found if found.code in ("invalid_argument", "not_found") else await forward(call)

    def shows(self, api: Api) -> bool:
        return api.raw("CancelPrebuild", f'{{"prebuildId": "{NOBODY}"}}'.encode(), token=None).code == "not_found"


class LoginPage(Mutant):
    """Who has no token is sent a page to log in, as a proxy does."""

    methods = ("UpdateWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if reply.code != "unauthenticated":
            return reply
        return Reply(401, b"<html><h1>Log in</h1></html>", {"content-type": "text/html"})

    def shows(self, api: Api) -> bool:
        return not api.raw("UpdateWarmPool", token=None).code


class BadTokenCrashes(Mutant):
    """A token that cannot be decoded ends in 500."""

    methods = ("GetWarmPool",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        missing = "authorization" not in call.headers
        return failure(500, "internal", "not a JWT") if reply.code == "unauthenticated" and not missing else reply

    def shows(self, api: Api) -> bool:
        return api.raw("GetWarmPool", token="Bearer wrong").status == 500


class GetNeedsNoToken(_Trusting):
    """Who comes by GET is asked for no token: the check hangs on POST."""

    methods = ("ListPrebuilds", "GetPrebuild", "ListWarmPools", "GetWarmPool")

    def ask(self, call: Call) -> Call:
        return super().ask(call) if call.by_get else call

    def trusts(self, authorization: str | None) -> bool:
        return authorization is None

    def shows(self, api: Api) -> bool:
        query = "connect=v1&encoding=json&message=%7B%7D"
        return api.raw("ListPrebuilds", b"", verb="GET", query=query, token=None).ok
