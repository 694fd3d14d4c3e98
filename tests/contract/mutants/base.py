"""What all mutants have in common: an emulator with one bug, put in from outside."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from starlette.types import ASGIApp, Receive, Scope, Send

from prebuilds.emulator import ManualClock, Plan, PrebuildService, Store, Tokens, create_app
from prebuilds.emulator.injection import CONNECTION

from .exchange import SERVICE, Between, Call, Forward, Reply, exchange

TOKEN = "contract-test-token"
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
OTHER_PROJECT = "0b9f2c1e-90a2-4c62-a9ab-7a3b0f4f5f11"
CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
OTHER_CLASS = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
NOBODY = "00000000-0000-4000-8000-000000000000"

TICK = 10.0
"""So many emulated seconds pass with each request, so that what a server does depends on the requests alone."""

BASE = "http://emulator.test"


class Server:
    """An emulator in this process, whose time moves on with each request.

    `projects` and `environment_classes` are those that the kit is to be given; without any it makes them up.

    Args:
        tick: how many emulated seconds each request takes.
        plan: how long things take.
        service: the class of its service.
    """

    projects: ClassVar[tuple[str, ...]] = ()
    environment_classes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, *, tick: float = TICK, plan: Plan | None = None, service: type[PrebuildService] = PrebuildService
    ) -> None:
        self.clock = ManualClock()
        self._store = Store()
        self._tick = tick
        self._emulator: ASGIApp = create_app(
            service(self._store, self.clock, plan), tokens=Tokens([TOKEN]), control=False, log_interval=5
        )

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "http":
            self.clock.advance(self._tick)
            scope = {**scope, "extensions": {**scope.get("extensions", {}), CONNECTION: self}}
        await self._emulator(scope, receive, send)

    async def idle(self, seconds: float) -> None:
        """Let time pass while a log is followed."""
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def close(self) -> None:
        self._store.close()


class Mutant(Server):
    """An emulator with a bug; the docstring of the subclass says which.

    A subclass changes what is asked (`ask`) or what is answered (`tell`), or both at once (`answer`), of the
    methods in which the bug is. `shows` is a sequence of requests that tells it from the emulator.
    """

    methods: ClassVar[tuple[str, ...]] = ()
    """The methods in which the bug is."""

    watches: ClassVar[tuple[str, ...]] = ()
    """Further ones that `answer` sees, "" for everything that is no method."""

    assumption: ClassVar[bool] = False
    """Whether the rule that is broken is an assumption about the service."""

    def __init__(self) -> None:
        super().__init__()
        self._emulator = Between(self._emulator, self._dispatch)
        self.begin()

    def begin(self) -> None:
        """Set up what the bug remembers."""

    async def _dispatch(self, call: Call, forward: Forward) -> Reply:
        if call.method in self.methods or call.method in self.watches:
            return await self.answer(call, forward)
        return await forward(call)

    async def answer(self, call: Call, forward: Forward) -> Reply:
        asked = self.ask(call)
        if isinstance(asked, Reply):
            # What is answered without the emulator is so only where the emulator would look at the request at all.
            reply = await forward(call)
            return reply if reply.code == "unauthenticated" or reply.status == 415 else asked
        return self.tell(call, await forward(asked))

    def ask(self, call: Call) -> Call | Reply:
        return call

    def tell(self, call: Call, reply: Reply) -> Reply:
        return reply

    def shows(self, api: Api) -> bool:
        """Whether the bug shows: True of the mutant, False of the emulator."""
        raise NotImplementedError


class Together(Server):
    """An emulator with the bugs of several mutants, none of which may hide another one."""

    def __init__(self, *kinds: type[Mutant]) -> None:
        super().__init__()
        for kind in kinds:
            bug = kind()
            bug.close()  # what it has of an emulator is not asked
            self._emulator = Between(self._emulator, bug._dispatch)


class Api:
    """A caller of an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()

    def __call__(self, method: str, **fields: Any) -> Reply:
        """The answer to a call with these fields."""
        return self.raw(method, json.dumps(fields).encode())

    def raw(
        self,
        method: str,
        body: bytes = b"{}",
        *,
        token: str | None = f"Bearer {TOKEN}",
        content_type: str = "application/json",
        verb: str = "POST",
        path: str | None = None,
        query: str = "",
        **more: str,
    ) -> Reply:
        """The answer to any request; `more` are headers, their names with underscores."""
        headers = {"host": "emulator.test", "content-type": content_type}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        if token is not None:
            headers["authorization"] = token
        path = f"{SERVICE}{method}" if path is None else path
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": verb,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "server": ("emulator.test", 80),
            "client": ("127.0.0.1", 1),
        }
        return self._runner.run(exchange(self._app, Call(method, body, headers, scope)))

    def created(self, project: str = PROJECT, environment_class: str | None = CLASS, **spec: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {"projectId": project, "spec": spec}
        if environment_class:
            fields["environmentClassId"] = environment_class
        return self._one(self("CreatePrebuild", **fields), "prebuild")

    def prebuild(self, prebuild_id: str) -> dict[str, Any]:
        return self._one(self("GetPrebuild", prebuildId=prebuild_id), "prebuild")

    def until(self, prebuild_id: str, *phases: str) -> dict[str, Any]:
        """The prebuild when it is first seen in one of the phases."""
        for _ in range(200):
            found = self.prebuild(prebuild_id)
            if phase(found) in phases:
                return found
        raise AssertionError(f"the prebuild came to none of {phases}")

    def gone(self, method: str, **fields: Any) -> bool:
        """Whether the thing is not found, sooner or later."""
        return any(self(method, **fields).code == "not_found" for _ in range(100))

    def new_pool(self, project: str = PROJECT, environment_class: str = CLASS, **sizes: int) -> dict[str, Any]:
        return self._one(
            self("CreateWarmPool", projectId=project, environmentClassId=environment_class, **sizes), "warmPool"
        )

    def pool(self, pool_id: str) -> dict[str, Any]:
        return self._one(self("GetWarmPool", warmPoolId=pool_id), "warmPool")

    def listed(self, method: str, name: str, size: int = 100, pages: int = 20, **wanted: Any) -> list[str]:
        """The ids of all pages."""
        found: list[str] = []
        token = ""
        for _ in range(pages):
            answer = self(method, filter=wanted, pagination={"pageSize": size, "token": token}).json
            found += [item["id"] for item in answer.get(name, [])]
            token = answer.get("pagination", {}).get("nextToken", "")
            if not token:
                break
        return found

    def prebuilds(self, size: int = 100, **wanted: Any) -> list[str]:
        return self.listed("ListPrebuilds", "prebuilds", size, **wanted)

    def pools(self, size: int = 100, **wanted: Any) -> list[str]:
        return self.listed("ListWarmPools", "warmPools", size, **wanted)

    def log(self, prebuild_id: str, token: str | None) -> Reply:
        """The log of a prebuild."""
        url = self.until(prebuild_id, "RUNNING", "COMPLETED")["status"]["logUrl"]
        bearer = None if token is None else f"Bearer {token}"
        return self.raw("", b"", verb="GET", path=url.removeprefix(BASE), token=bearer)

    @staticmethod
    def _one(reply: Reply, name: str) -> dict[str, Any]:
        assert reply.ok, reply.body
        found: dict[str, Any] = reply.json[name]
        return found


def phase(item: dict[str, Any]) -> str:
    """The phase of a prebuild or warm pool, by its short name."""
    return str(item["status"].get("phase", "")).removeprefix("PREBUILD_PHASE_").removeprefix("WARM_POOL_PHASE_")
