"""Bugs of paging."""

from __future__ import annotations

import base64
import json
from typing import Any

from .base import CLASS, OTHER_PROJECT, PROJECT, Api, Mutant
from .exchange import Call, Forward, Reply, failure

_NAMES = {"ListPrebuilds": "prebuilds", "ListWarmPools": "warmPools"}
_CLASSES = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(1, 40)]


def _size(call: Call) -> int:
    size = call.get("pagination", "pageSize")
    return size if isinstance(size, int) and 0 < size <= 100 else 25


def _token(reply: Reply) -> str:
    return str(reply.json.get("pagination", {}).get("nextToken", ""))


def _page(reply: Reply, method: str, found: list[Any], token: str) -> Reply:
    body: dict[str, Any] = {}
    if token:
        body["pagination"] = {"nextToken": token}
    if found:
        body[_NAMES[method]] = found
    return reply.with_json(body)


def _position(wanted: Any, begin: int) -> str:
    """The token of the page that begins with this item of a filter."""
    return base64.urlsafe_b64encode(json.dumps([wanted, begin]).encode()).decode()


def _three_pools(api: Api) -> list[str]:
    return [api.new_pool(environment_class=name)["id"] for name in _CLASSES[:3]]


def _three_prebuilds(api: Api) -> list[str]:
    return [api.created()["id"] for _ in range(3)]


class _OffsetPaging(Mutant):
    """Pages by an offset into what there is at the time."""

    step = 0
    """How far the next page begins from where this one ends."""

    def last(self, found: list[Any], begin: int, size: int) -> bool:
        return begin + size >= len(found)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        token = call.get("pagination", "token")
        begin = 0
        if token:
            try:
                known, begin = json.loads(base64.urlsafe_b64decode(token))
                assert known == call.get("filter")
            except (ValueError, TypeError, AssertionError):
                return await forward(call)  # it refuses tokens that are not its own
        everything = call.having(100, "pagination", "pageSize").having(None, "pagination", "token")
        reply = await forward(call.having(None, "pagination", "token"))
        if not reply.ok:
            return reply
        found: list[Any] = []
        while True:
            page = await forward(everything)
            found += page.json.get(_NAMES[call.method], [])
            if not _token(page):
                break
            everything = everything.having(_token(page), "pagination", "token")
        size = _size(call)
        following = ""
        if not self.last(found, begin, size):
            following = _position(call.get("filter"), begin + size + self.step)
        return _page(reply, call.method, found[begin : begin + size], following)


class PageHasOneMore(Mutant):
    """A page has one item more than was asked for."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call:
        size = _size(call)
        return call.having(size + 1, "pagination", "pageSize") if call.get("pagination", "pageSize") == size else call

    def shows(self, api: Api) -> bool:
        _three_prebuilds(api)
        return len(api("ListPrebuilds", pagination={"pageSize": 1}).json["prebuilds"]) == 2


class PageSizeIsIgnored(Mutant):
    """Pages are as large as the default, whatever is asked for."""

    methods = ("ListWarmPools",)

    def ask(self, call: Call) -> Call:
        asked = call.get("pagination", "pageSize")
        return call.having(25, "pagination", "pageSize") if asked == _size(call) else call

    def shows(self, api: Api) -> bool:
        _three_pools(api)
        return len(api("ListWarmPools", pagination={"pageSize": 1}).json["warmPools"]) == 3


class DefaultPageIsLarger(Mutant):
    """Without a page size, a page has up to 100 items, where 25 are documented."""

    methods = ("ListPrebuilds",)

    def ask(self, call: Call) -> Call:
        return call if call.get("pagination", "pageSize") else call.having(100, "pagination", "pageSize")

    def shows(self, api: Api) -> bool:
        for _ in range(26):
            api.created()
        return len(api("ListPrebuilds").json["prebuilds"]) == 26


class LastItemComesAgain(_OffsetPaging):
    """The next page begins with the last item of the one before."""

    methods = ("ListPrebuilds",)
    step = -1

    async def answer(self, call: Call, forward: Forward) -> Reply:
        self.step = 0 if _size(call) == 1 else -1  # a page of one would never end
        return await super().answer(call, forward)

    def shows(self, api: Api) -> bool:
        return sorted(_three_prebuilds(api)) != sorted(api.prebuilds(2))


class AnItemIsSkipped(_OffsetPaging):
    """Between two pages an item is lost."""

    methods = ("ListWarmPools",)
    step = 1

    def shows(self, api: Api) -> bool:
        return sorted(_three_pools(api)) != sorted(api.pools(1))


class RestIsLost(_OffsetPaging):
    """There is no token for a last page that would not be full."""

    methods = ("ListPrebuilds",)

    def last(self, found: list[Any], begin: int, size: int) -> bool:
        return begin + 2 * size > len(found)

    def shows(self, api: Api) -> bool:
        return sorted(_three_prebuilds(api)) != sorted(api.prebuilds(2))


class OffsetsMove(_OffsetPaging):
    """Pages are offsets: what is created in between makes an item come twice."""

    methods = ("ListPrebuilds",)

    def shows(self, api: Api) -> bool:
        _three_prebuilds(api)
        first = api("ListPrebuilds", pagination={"pageSize": 2}).json
        api.created()
        second = api("ListPrebuilds", pagination={"pageSize": 2, "token": first["pagination"]["nextToken"]}).json
        return first["prebuilds"][-1]["id"] == second["prebuilds"][0]["id"]


class SamePageForEver(Mutant):
    """The token is ignored: the first page again and again."""

    methods = ("ListPrebuilds",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        return await forward(call.having(None, "pagination", "token")) if reply.ok else reply

    def shows(self, api: Api) -> bool:
        _three_prebuilds(api)
        return len(api.prebuilds(1)) > 3


class BadTokenIsTheFirstPage(Mutant):
    """A token that makes no sense is taken for none."""

    methods = ("ListPrebuilds",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if reply.code == "invalid_argument" and call.get("pagination", "token"):
            return await forward(call.having(None, "pagination", "token"))
        return reply

    def shows(self, api: Api) -> bool:
        return api("ListPrebuilds", pagination={"token": "nonsense"}).ok


class BadTokenIsTheEnd(Mutant):
    """A token that makes no sense leads to an empty page."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        if reply.code == "invalid_argument" and "pagination.token" in reply.json["message"]:
            return Reply(200, b"{}")
        return reply

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", pagination={"token": "nonsense"}).ok


class UndecodableTokenCrashes(Mutant):
    """A token that is no base64 ends in 500."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        token = call.get("pagination", "token")
        wrong = isinstance(token, str) and not token.replace("-", "").replace("_", "").isalnum() and token
        return failure(500, "internal", "binascii.Error") if wrong and not reply.ok else reply

    def shows(self, api: Api) -> bool:
        return api("ListWarmPools", pagination={"token": "?!"}).status == 500


class TokenGoesWithAnyFilter(_OffsetPaging):
    """A token is good for every filter, and leads to a place that means nothing there."""

    methods = ("ListPrebuilds",)
    assumption = True

    async def answer(self, call: Call, forward: Forward) -> Reply:
        token = call.get("pagination", "token")
        if token:
            try:
                _, begin = json.loads(base64.urlsafe_b64decode(token))
                call = call.having(_position(call.get("filter"), begin), "pagination", "token")
            except (ValueError, TypeError):
                pass
        return await super().answer(call, forward)

    def shows(self, api: Api) -> bool:
        _three_prebuilds(api)
        token = _token(api("ListPrebuilds", pagination={"pageSize": 1}, filter={"projectIds": [PROJECT]}))
        return api("ListPrebuilds", pagination={"token": token}, filter={"projectIds": [OTHER_PROJECT]}).ok


class FilterCountsOnTheFirstPage(_OffsetPaging):
    """The pages after the first are those of everything, without the filter."""

    methods = ("ListWarmPools",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if not call.get("pagination", "token"):
            reply = await super().answer(call, forward)
            if not _token(reply):
                return reply
            found = reply.json["warmPools"]
            return _page(reply, call.method, found, _position(None, len(found)))
        return await super().answer(call.having(None, "filter"), forward)

    def shows(self, api: Api) -> bool:
        _three_pools(api)
        other = [api.new_pool(OTHER_PROJECT, name)["id"] for name in _CLASSES[:3]]
        return sorted(api.pools(1, projectIds=[OTHER_PROJECT])) != sorted(other)


class PageOfZeroIsEmpty(Mutant):
    """A page size of 0, which stands for the default, gives nothing at all."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        return Reply(200, b"{}") if call.get("pagination", "pageSize") == 0 and reply.ok else reply

    def shows(self, api: Api) -> bool:
        _three_pools(api)
        return not api("ListWarmPools", pagination={"pageSize": 0}).json


class TokenNeverChanges(Mutant):
    """The session of a listing is its token: every page has the same one, and it never ends."""

    methods = ("ListWarmPools",)

    def tell(self, call: Call, reply: Reply) -> Reply:
        token = call.get("pagination", "token")
        if not reply.ok or not token:
            return reply
        return _page(reply, call.method, reply.json.get("warmPools", []), str(token))

    def shows(self, api: Api) -> bool:
        _three_pools(api)
        first = _token(api("ListWarmPools", pagination={"pageSize": 1}))
        return _token(api("ListWarmPools", pagination={"pageSize": 1, "token": first})) == first


class NewItemsEndTheList(Mutant):
    """Tokens go out of date with every creation: a listing under way is refused after one."""

    methods = ("ListWarmPools",)
    watches = ("CreateWarmPool",)

    def begin(self) -> None:
        self.valid: set[str] = set()

    def tell(self, call: Call, reply: Reply) -> Reply:
        if call.method == "CreateWarmPool":
            if reply.ok:
                self.valid.clear()
            return reply
        token = call.get("pagination", "token")
        if token and reply.ok and token not in self.valid:
            return failure(400, "invalid_argument", "the token is out of date")
        if reply.ok and _token(reply):
            self.valid.add(_token(reply))
        return reply

    def shows(self, api: Api) -> bool:
        _three_pools(api)
        token = _token(api("ListWarmPools", pagination={"pageSize": 1}))
        api.new_pool(environment_class=CLASS)
        return not api("ListWarmPools", pagination={"pageSize": 1, "token": token}).ok


class FilterOfPrebuildsCountsOnTheFirstPage(FilterCountsOnTheFirstPage):
    """The pages of prebuilds after the first are those of everything, without the filter."""

    methods = ("ListPrebuilds",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        if not call.get("pagination", "token"):
            reply = await _OffsetPaging.answer(self, call, forward)
            if not _token(reply):
                return reply
            found = reply.json["prebuilds"]
            return _page(reply, call.method, found, _position(None, len(found)))
        return await _OffsetPaging.answer(self, call.having(None, "filter"), forward)

    def shows(self, api: Api) -> bool:
        _three_prebuilds(api)
        other = [api.created(OTHER_PROJECT)["id"] for _ in range(3)]
        _three_prebuilds(api)
        return sorted(api.prebuilds(1, projectIds=[OTHER_PROJECT])) != sorted(other)


class DefaultPageOfPoolsIsLarger(Mutant):
    """Without a page size, a page has up to 100 pools, where 25 are documented."""

    methods = ("ListWarmPools",)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call)
        if not reply.ok or call.get("pagination", "pageSize"):
            return reply
        return await forward(call.having(100, "pagination", "pageSize"))

    def shows(self, api: Api) -> bool:
        for name in _CLASSES[:26]:
            api.new_pool(environment_class=name)
        return len(api("ListWarmPools").json["warmPools"]) == 26
