"""Calls an emulator on many connections at once, and tells what came of it.

python -m tests.emulator.load URL SECONDS [CALLS [CONNECTIONS]]

It lasts so many seconds, and longer if so many calls take longer.

It is a program of its own, so that the server has a processor for itself. Nobody waits for anybody: each connection
makes calls of all methods, reads logs, vanishes in the middle of a call, or sends a body byte by byte.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress

from .driver import SERVICE

PROJECTS = [str(uuid.UUID(int=number, version=4)) for number in range(20)]
CLASSES = [str(uuid.UUID(int=1000 + number, version=4)) for number in range(40)]
PHASES = ["PREBUILD_PHASE_COMPLETED", "PREBUILD_PHASE_RUNNING", "PREBUILD_PHASE_FAILED", "PREBUILD_PHASE_DELETING"]


class Load:
    def __init__(self, url, until, least):
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)
        self.until = until
        self.least = least
        self.prebuilds = []
        self.pools = []
        self.outcomes = Counter()
        self.faults = []

    @property
    def over(self):
        return time.monotonic() >= self.until and self.outcomes.total() >= self.least

    async def worker(self, number):
        chance = random.Random(number)
        while not self.over:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                for _ in range(chance.randint(1, 50)):
                    if self.over:
                        break
                    if chance.random() < 0.02:
                        await self.vanish(chance, reader, writer)
                        break
                    if chance.random() < 0.02:
                        await self.follow_log(chance)
                    await self.call(chance, reader, writer, trickle=chance.random() < 0.01)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def call(self, chance, reader, writer, *, trickle):
        method, fields = self.some_call(chance)
        request = self.request(method, fields)
        if trickle:
            for byte in request:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(request)
        status, body = await self.answer(reader)
        self.outcomes[f"{method} {status}"] += 1
        if status == 200:
            answer = json.loads(body)
            if method == "CreatePrebuild":
                self.prebuilds.append(answer["prebuild"]["id"])
            elif method == "CreateWarmPool":
                self.pools.append(answer["warmPool"]["id"])
            del self.prebuilds[:-300], self.pools[:-30]
        elif status not in (400, 404, 409) or b"SQL" in body or b"locked" in body:
            self.faults.append(f"{method} {fields} {status} {body!r}")

    async def vanish(self, chance, reader, writer):
        """Go away after a part of the request, or without the answer."""
        request = self.request(*self.some_call(chance))
        writer.write(request[: chance.randint(1, len(request))])
        await writer.drain()
        if chance.random() < 0.5:
            writer.transport.abort()
        self.outcomes["vanished"] += 1

    async def follow_log(self, chance):
        """Read a log on a connection of its own, some of it or all."""
        if not self.prebuilds:
            return
        prebuild_id = chance.choice(self.prebuilds[-20:])
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(self.request("CreatePrebuildLogsToken", {"prebuildId": prebuild_id}))
            status, body = await self.answer(reader)
            if status == 200:
                token = json.loads(body)["accessToken"]
                writer.write(
                    f"GET /logs/{prebuild_id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
                    "Connection: close\r\n\r\n".encode()
                )
                status = int((await reader.readline()).split()[1])
                if chance.random() < 0.5:
                    await reader.read()
            self.outcomes[f"log {status}"] += 1
            if status not in (200, 404, 502):
                self.faults.append(f"log {status}")
        finally:
            writer.close()

    def some_call(self, chance):
        project, environment_class = chance.choice(PROJECTS), chance.choice(CLASSES)
        prebuild_id = chance.choice(self.prebuilds) if self.prebuilds else str(uuid.uuid4())
        pool_id = chance.choice(self.pools) if self.pools else str(uuid.uuid4())
        size = {"pagination": {"pageSize": chance.choice((1, 25, 100))}}
        calls = [
            (4, "CreatePrebuild", {"projectId": project, "environmentClassId": environment_class, "spec": {}}),
            (6, "GetPrebuild", {"prebuildId": prebuild_id}),
            (1, "ListPrebuilds", size),
            (1, "ListPrebuilds", {"filter": {"projectIds": PROJECTS[:3], "phases": chance.sample(PHASES, 2)}, **size}),
            (1, "CancelPrebuild", {"prebuildId": prebuild_id}),
            (4, "DeletePrebuild", {"prebuildId": prebuild_id}),
            (1, "CreatePrebuildLogsToken", {"prebuildId": prebuild_id}),
            (2, "CreateWarmPool", {"projectId": project, "environmentClassId": environment_class}),
            (2, "GetWarmPool", {"warmPoolId": pool_id}),
            (1, "ListWarmPools", {"filter": {"projectIds": [project]}}),
            (1, "UpdateWarmPool", {"warmPoolId": pool_id, "minSize": 0, "maxSize": chance.randint(1, 20)}),
            (1, "DeleteWarmPool", {"warmPoolId": pool_id}),
        ]
        (_, method, fields), *_ = chance.choices(calls, [weight for weight, *_ in calls])
        return method, fields

    @staticmethod
    def request(method, fields):
        body = json.dumps(fields).encode()
        return (
            f"POST {SERVICE}/{method} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer somebody\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    @staticmethod
    async def answer(reader):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


async def main(url, seconds, calls=0, connections=64):
    load = Load(url, time.monotonic() + seconds, calls)
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(load.worker(number))
    print(json.dumps({"outcomes": load.outcomes, "faults": load.faults[:10]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:])))
