"""Requests that nobody means well with, and what has to hold whatever they are: `python -m tests.emulator.fuzzing`.

What a request is like follows from its seed, and from the ids and tokens that the emulator has handed out by then. One
that does harm is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import json
import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote_from_bytes

from prebuild_wire import OPERATIONS
from prebuild_wire.descriptors import request_class, response_class
from prebuild_wire.enums import ConnectCode
from prebuilds.emulator import ManualClock, PrebuildService, Store, create_app

from .driver import ENVIRONMENT_CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, PROJECT, SERVICE

METHODS = [*OPERATIONS]
STATUSES = {code.value: code.http_status for code in ConnectCode}
# Statuses of HTTP's own, each with the code that goes with it.
EXTRA = {(404, "unimplemented"), (405, "unknown"), (413, "resource_exhausted"), (415, "unknown")}

ODD_TEXTS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\U0001f600",
    "\u202e\u0000\ufeff",
    "e\u0301" * 50,
    "x" * 5000,
    "'; DROP TABLE prebuilds; --",
    "%s%n{0}{reason}",
    "../../etc/passwd",
    PROJECT.upper(),
    PROJECT + "\n",
    f" {PROJECT}",
    f"{{{PROJECT}}}",
    PROJECT.replace("-", ""),
    "\u0660" + PROJECT[1:],
    "NaN",
    "Infinity",
    "-0",
    "1e400",
    "9" * 400,
    "0x10",
    "300s",
    "7200.000000001s",
    "-300s",
    "1e3s",
    "\u0663\u0660\u0660s",
    "315576000001s",
    "PREBUILD_PHASE_COMPLETED",
    "prebuild_phase_completed",
    "PREBUILD_TRIGGER_UNSPECIFIED",
    "60",
]
ODD_VALUES = [
    None,
    True,
    False,
    0,
    -0.0,
    1,
    -1,
    20,
    21,
    100,
    101,
    2**31,
    -(2**31) - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**300,
    10**30,
    1.5,
    5e-324,
    1.7976931348623157e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"@type": "type.googleapis.com/google.protobuf.Any"},
    {"seconds": 300, "nanos": 5},
]
ODD_BYTES = [
    b"",
    b"\x00",
    b"\xff" * 12,
    b"\x80" * 12,
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\x0b" * 200,
    b"\x0c",
    b"\x08" + b"\xff" * 9 + b"\x01",
    b"\x0a\xff\xff\xff\xff\x07",
    b"\x1f\x8b\x08\x00",
    b"[" * 2000,
    b'{"a":' * 2000,
    b"\\ud800",
    b'"\\udc00"',
    b"NaN",
    b"1e999",
    b"-" + b"9" * 5000,
    b"/*",
    b"\xef\xbb\xbf",
]


@dataclass
class Request:
    verb: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]
    method: str


@dataclass
class Fuzzer:
    """An emulator without a socket, and what it has been asked."""

    clock: ManualClock = field(default_factory=ManualClock)
    store: Store = field(default_factory=Store)
    prebuilds: list[str] = field(default_factory=lambda: [NOBODY])
    pools: list[str] = field(default_factory=lambda: [NOBODY])
    tokens: list[str] = field(default_factory=lambda: [""])
    answers: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.app = create_app(PrebuildService(self.store, self.clock))

    async def run(self, seeds, every=500):
        """Send the requests of these seeds; look at what is stored every so often, and at everything at the end."""
        for number, seed in enumerate(seeds, 1):
            random = Random(seed)
            request = self.hostile(random)
            try:
                await self.send(request)
                if random.random() < 0.002:
                    self.clock.advance(random.choice([1, 100, 86_400, 8 * 86_400]))
                if number % every == 0:
                    await self.read(limit=100)
            except Exception as error:
                error.add_note(f"with seed {seed}, after {number} requests: {request}")
                raise
        await self.read()

    # -- Making requests

    def hostile(self, random):
        method = random.choice(METHODS)
        reads = OPERATIONS[method].idempotency == "no_side_effects"
        fields = self.fields(random, method)
        for _ in range(random.choice([0, 0, 1, 1, 2, 5])):
            fields = mutated(random, fields)
        proto = random.random() < 0.5
        body = proto_body(random, method, fields) if proto else json_body(random, fields)
        for _ in range(random.choice([0, 0, 0, 1, 3])):
            body = damaged(random, body)
        headers = {
            b"host": b"emulator",
            b"authorization": b"Bearer somebody",
            b"content-type": b"application/proto" if proto else b"application/json",
        }
        if random.random() < 0.1:
            headers[b"content-encoding"] = random.choice([b"gzip", b"gzip", b"br", b"GZIP", b"\xff", b"gzip,gzip"])
            body = gzip.compress(body, 1)
            if random.random() < 0.3:
                body = damaged(random, body)
        if random.random() < 0.1:
            name = random.choice(
                [*headers, b"connect-timeout-ms", b"connect-protocol-version", b"accept-encoding", b"x-" * 9]
            )
            headers[name] = random.choice(
                [
                    b"",
                    b"1",
                    b"0",
                    b"gzip;q=x, *;q=2",
                    b"99999999999",
                    b"\xff\xfe",
                    b"Bearer \x00",
                    b"Basic x",
                    b"a;b=c;charset=\xe9",
                    b"gzip",
                ]
            )
        query = self.query(random)
        verb, chunks = "POST", [body]
        if reads and random.random() < 0.2:
            verb, chunks = "GET", []
            in_base64 = random.random() < 0.5
            message = base64.urlsafe_b64encode(body) if in_base64 else quote_from_bytes(body).encode()
            query += (
                b"&encoding=" + (b"proto" if proto else b"json") + b"&message=" + message + b"&base64=1" * in_base64
            )
            if headers.get(b"content-encoding") == b"gzip":
                query += b"&compression=gzip"
        elif random.random() < 0.05:
            cut = random.randrange(len(body) + 1)
            chunks = [body[:cut], b"", body[cut:]]
        if random.random() < 0.02:
            verb = random.choice(["GET", "HEAD", "PUT", "OPTIONS", "\u2603"])
        path = f"{SERVICE}/{method}"
        if random.random() < 0.02:
            path = random.choice(
                [path + "/", path.lower(), f"{SERVICE}/\x00", "/\ud800", f"/api{path}", "//" + path, f"/logs/{method}"]
            )
        return Request(verb, path, query, [*headers.items()], chunks, method)

    def query(self, random):
        if random.random() < 0.85:
            return b""
        name = random.choice(
            [b"token", b"pageSize", b"page_size", b"tok%65n", b"encoding", b"message", b"connect", b"\xff"]
        )
        value = random.choice(
            [*ODD_BYTES, b"1", b"100", b"1e1", b"0", b"%00", b"%ff", b"%", random.choice(self.tokens).encode()]
        )
        return name + b"=" + value.replace(b"#", b"")

    def fields(self, random, method):
        """A request that is in order."""
        page = {"pageSize": random.choice([0, 1, 5, 100]), "token": random.choice(["", random.choice(self.tokens)])}
        project = random.choice([PROJECT, OTHER_PROJECT])
        class_id = random.choice([ENVIRONMENT_CLASS, OTHER_CLASS])
        prebuild, pool = random.choice(self.prebuilds[-50:]), random.choice(self.pools[-50:])
        sizes = random.choice([{}, {"minSize": 0}, {"minSize": 1, "maxSize": 20}, {"desiredSize": 3}, {"maxSize": 1}])
        timeout = random.choice(
            [{}, {"timeout": "300s"}, {"timeout": "3600.5s"}, {"desiredPhase": 60, "specVersion": "3"}]
        )
        return {
            "CreatePrebuild": {"projectId": project, "environmentClassId": class_id, "spec": timeout},
            "ListPrebuilds": {
                "pagination": page,
                "filter": {"projectIds": [project], "phases": ["PREBUILD_PHASE_COMPLETED", 10], "triggeredBy": [1]},
            },
            "CreateWarmPool": {"projectId": project, "environmentClassId": class_id, **sizes},
            "ListWarmPools": {"pagination": page, "filter": {"environmentClassIds": [class_id]}},
            "UpdateWarmPool": {"warmPoolId": pool, **sizes},
            "GetWarmPool": {"warmPoolId": pool},
            "DeleteWarmPool": {"warmPoolId": pool},
        }.get(method, {"prebuildId": prebuild})

    # -- Sending them

    async def send(self, request):
        """Send a request, and check that the answer is in order. Returns its status and body."""
        status, headers, body = await exchange(self.app, request)
        self.answers[status] += 1
        assert status < 500 or status in (501, 504), body
        if headers.get(b"content-encoding") == b"gzip":
            body = gzip.decompress(body)
        if request.path.startswith("/logs"):
            return status, body
        if status == 200:
            self.check(request.method, headers[b"content-type"], body)
        elif request.verb != "HEAD":
            assert headers[b"content-type"] == b"application/json"
            error = json.loads(body)
            assert STATUSES[error["code"]] == status or (status, error["code"]) in EXTRA
            assert error["message"]
        return status, body

    def check(self, method, content_type, body):
        """Check that a response is what the schema says, and remember the ids and tokens in it."""
        if content_type == b"application/proto":
            message = response_class(method).FromString(body)
            assert message.SerializeToString() == body or method.startswith("Delete")
            return
        response = json.loads(body)
        assert OPERATIONS[method].response.model_validate(response).to_json() == response
        if method == "CreatePrebuild":
            self.prebuilds.append(response["prebuild"]["id"])
        elif method == "CreateWarmPool":
            self.pools.append(response["warmPool"]["id"])
        elif token := response.get("pagination", {}).get("nextToken"):
            self.tokens = [*self.tokens[-20:], token]

    async def read(self, limit=None):
        """Read what is stored, page by page in both codecs, which have to say the same."""
        for method, name in (("ListPrebuilds", "prebuilds"), ("ListWarmPools", "warmPools")):
            token, seen = "", set()
            while True:
                page = {"pagination": {"pageSize": 100, "token": token}}
                status, text = await self.ask(method, json.dumps(page).encode(), b"application/json")
                assert status == 200
                message = request_class(method)(pagination={"page_size": 100, "token": token})
                status, data = await self.ask(method, message.SerializeToString(), b"application/proto")
                assert status == 200
                response = json.loads(text)
                binary = response_class(method).FromString(data)
                items = response.get(name, [])
                ids = [item["id"] for item in items]
                assert ids == [
                    item.id for item in getattr(binary, "prebuilds" if name == "prebuilds" else "warm_pools")
                ]
                assert seen.isdisjoint(ids)
                seen.update(ids)
                token = response.get("pagination", {}).get("nextToken", "")
                if not token or (limit and len(seen) >= limit):
                    break

    async def ask(self, method, body, content_type):
        headers = [(b"authorization", b"Bearer reader"), (b"content-type", content_type)]
        return await self.send(Request("POST", f"{SERVICE}/{method}", b"", headers, [body], method))


async def exchange(app, request):
    """What the application answers: status, headers, body."""
    chunks = iter(request.chunks or [b""])
    left = len(request.chunks or [b""])
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.verb,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(errors="surrogatepass"),
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    found = {}
    body = b""

    async def receive():
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": next(chunks), "more_body": left > 0}

    async def send(message):
        nonlocal body
        if message["type"] == "http.response.start":
            found.update(status=message["status"], headers=dict(message["headers"]))
        else:
            body += message.get("body", b"")

    await app(scope, receive, send)
    return found["status"], found["headers"], body


# -- Harm


def odd(random):
    return random.choice(ODD_TEXTS) if random.random() < 0.5 else random.choice(ODD_VALUES)


def mutated(random, value, depth=0):
    """The value with one thing in it that is not as it should be."""
    if isinstance(value, dict) and value and (depth == 0 or random.random() < 0.8):
        name = random.choice([*value])
        result = dict(value)
        match random.randrange(8):
            case 0:
                del result[name]
            case 1:
                result[random.choice(ODD_TEXTS)] = odd(random)
            case 2:
                snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
                result[snake] = odd(random) if random.random() < 0.5 else value[name]
            case _:
                result[name] = mutated(random, value[name], depth + 1)
        return result
    if isinstance(value, list) and value and random.random() < 0.7:
        if len(value) < 10 and random.random() < 0.2:
            return value * random.choice([2, 26, 300])
        at = random.randrange(len(value))
        return [*value[:at], mutated(random, value[at], depth + 1), *value[at + 1 :]]
    return odd(random)


def json_body(random, fields):
    """JSON that Python writes: with NaN and lone surrogates where there are some."""
    text = json.dumps(fields, ensure_ascii=random.random() < 0.5)
    if isinstance(fields, dict) and random.random() < 0.02:
        depth = random.choice([50, 500, 5000, 50_000])
        text = text[:-1] + (", " if fields else "") + '"deep": ' + "[" * depth + "]" * depth + "}"
    return text.encode(errors="surrogatepass")


def proto_body(random, method, fields):
    """Fields in the binary form, written by hand so that each may be of the wrong kind."""
    if not isinstance(fields, dict):
        return random.choice(ODD_BYTES)
    return message_body(random, request_class(method).DESCRIPTOR, fields)


def message_body(random, descriptor, fields):
    data = b""
    for name, value in fields.items():
        known = next((item for item in descriptor.fields if name in (item.json_name, item.name)), None)
        number = known.number if known else random.choice([7, 15, 99, 2**29 - 1, 19_000])
        for item in value if isinstance(value, list) else [value]:
            data += field_body(random, number, known, item)
    return data


def field_body(random, number, known, value):
    if known is not None and known.message_type is not None:
        if known.message_type.full_name == "google.protobuf.Duration":
            parts = [
                random.choice([300, 3600, 7200, 0, -1, 2**63 - 1, -(2**63)]),
                random.choice([0, 1, -1, 10**9, 2**31 - 1]),
            ]
            inner = b"".join(varint(index << 3) + varint(part) for index, part in enumerate(parts, 1))
        else:
            inner = (
                message_body(random, known.message_type, value) if isinstance(value, dict) else random.choice(ODD_BYTES)
            )
        return varint(number << 3 | 2) + varint(len(inner)) + inner
    if isinstance(value, str) and (known is None or known.enum_type is None):
        inner = value.encode(errors="surrogatepass")
        return varint(number << 3 | 2) + varint(len(inner)) + inner
    if isinstance(value, str):
        value = next((item.number for item in known.enum_type.values if item.name == value), 7)
    if isinstance(value, int) and random.random() < 0.95:
        return varint(number << 3) + varint(value)
    return varint(number << 3 | random.randrange(8)) + random.choice(ODD_BYTES)


def varint(value):
    value &= 2**64 - 1
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def damaged(random, data):
    """The bytes with something in them flipped, lost, doubled or put in."""
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice([1, 1, 2, 8, 64]))
    match random.randrange(5):
        case 0:
            return data[:at] + bytes(byte ^ (1 << random.randrange(8)) for byte in data[at:end]) + data[end:]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:end] + data[at:]
        case _:
            return data[:at] + random.choice(ODD_BYTES) + data[at:]


def main():
    parser = argparse.ArgumentParser(description="Send an emulator requests that nobody means well with.")
    parser.add_argument("--requests", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="the first of the seeds (default: one of the clock)")
    options = parser.parse_args()
    first = time.time_ns() if options.seed is None else options.seed
    logging.basicConfig(stream=sys.stderr)
    print(f"{options.requests:,} requests, seeds from {first}")
    fuzzer = Fuzzer()
    began = time.perf_counter()
    asyncio.run(fuzzer.run(range(first, first + options.requests)))
    seconds = time.perf_counter() - began
    told = ", ".join(f"{status}: {count:,}" for status, count in sorted(fuzzer.answers.items()))
    print(f"no harm done in {seconds:.0f} s ({options.requests / seconds:,.0f} a second; answers by status: {told})")


if __name__ == "__main__":
    main()
