"""Answers of every make: large, compressed, broken, slow, and errors with details, over a real socket."""

from __future__ import annotations

import base64
import gzip
import json
import time
import tracemalloc
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from prebuilds import (
    APIError,
    BadRequest,
    CallError,
    ConnectionFailedError,
    FieldViolation,
    InvalidArgumentError,
    PermissionDeniedError,
    PrebuildClient,
    RequestTimeoutError,
    RetryInfo,
    UnavailableError,
    UnknownError,
    Violations,
)

from .both import ID, KINDS, LOOPS, TOKEN, call, using
from .relay import Fault, Playground, Relay, http, said
from .scripted import Answer, ScriptedServer, a_prebuild, an_error
from .test_sharing import needs_the_table, open_connections

MIB = 2**20
JSON = {"content-type": "application/json"}
GZIP = {**JSON, "content-encoding": "gzip"}
FOUND = json.dumps({"prebuild": a_prebuild()}).encode()


def failure(kind: str, answer: Answer, **options: Any) -> tuple[Any, Any]:
    """What a look raises, and its last attempt."""
    attempts: list[Any] = []
    with ScriptedServer(answer) as server, pytest.raises(CallError) as caught:
        call(kind, server.url, prebuild_id=ID, **{"retries": 0, "on_attempt": attempts.append, **options})
    return caught.value, attempts[-1]


# Large bodies


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        b"<html>" + b"x" * 10_000_000,
        json.dumps({"code": "internal", "message": "y" * 10_000_000}).encode(),
        json.dumps({"code": "internal", "message": "y" * 500_000}).encode(),
    ],
    ids=["page", "Connect error", "half a MiB"],
)
def test_of_a_huge_error_the_beginning_is_read_and_an_excerpt_is_told(kind, body):
    error, attempt = failure(kind, Answer(500, body, JSON))
    assert isinstance(error, APIError)
    assert error.status == 500
    assert len(attempt.response.content) <= 1.25 * MIB
    assert len(str(error)) < 3000
    assert "xxx" in str(error) or "yyy" in str(error)


def test_a_small_error_that_decompresses_to_a_huge_one_does_not_fill_the_memory():
    bomb = gzip.compress(b"x" * 100_000_000, compresslevel=6)
    for kind in KINDS:
        tracemalloc.start()
        try:
            error, _ = failure(kind, Answer(503, bomb, {"content-encoding": "gzip"}))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(error, UnavailableError), kind
        assert "xxx" in str(error), kind
        assert peak < 30 * MIB, kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_success_is_read_whole_however_large_it_is(kind):
    found = {**a_prebuild(), "newField": "z" * 3_000_000}
    with ScriptedServer(Answer(200, {"prebuild": found})) as server:
        answer = call(kind, server.url)
    assert answer.prebuild.to_dict()["newField"] == found["newField"]


# Compressed bodies


@pytest.mark.parametrize("kind", KINDS)
def test_a_compressed_answer_is_read(kind):
    with ScriptedServer(Answer(200, gzip.compress(FOUND), GZIP)) as server:
        assert call(kind, server.url).prebuild is not None
        assert "gzip" in server.requests[0].headers["accept-encoding"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_compressed_error_is_read(kind):
    body = gzip.compress(json.dumps({"code": "permission_denied", "message": "not yours"}).encode())
    error, _ = failure(kind, Answer(403, body, GZIP))
    assert (type(error), error.message) == (PermissionDeniedError, "not yours")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", [b"\x1f\x8b\x08 what?", FOUND, gzip.compress(FOUND, mtime=0)[:-30]])
def test_a_success_whose_compression_is_broken_may_have_run(kind, broken):
    answer = Answer(200, broken, GZIP)
    with ScriptedServer(answer, Answer()) as server:
        assert call(kind, server.url).prebuild is not None
        assert len(server.requests) == 2
    with ScriptedServer(answer) as server, pytest.raises(CallError, match="may have taken effect") as caught:
        call(kind, server.url, "create", project_id=ID, spec={})
    assert caught.value.maybe_executed
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "broken", [b"\x1f\x8b\x08 what?", b"<html>down</html>", gzip.compress(b"<html>down</html>", mtime=0)[:-9]]
)
def test_an_error_whose_compression_is_broken_is_told_by_its_status(kind, broken):
    error, _ = failure(kind, Answer(503, broken, {"content-encoding": "gzip"}))
    assert (type(error), error.status) == (UnavailableError, 503)
    if b"html" in broken or broken.startswith(b"\x1f\x8b\x08\x00"):
        assert "<html>down" in str(error)


# Errors that are not well made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "details",
    [
        "nonsense",
        5,
        [5],
        [None],
        [{}],
        [{"type": 5}],
        [{"type": "google.rpc.BadRequest", "value": "!"}],
        {"a": 1},
        None,
    ],
    ids=json.dumps,
)
def test_malformed_details_do_not_hide_the_error(kind, details):
    error, _ = failure(kind, an_error("permission_denied", 403, "not yours", details=details))
    assert (type(error), error.message) == (PermissionDeniedError, "not yours")
    assert error.violations == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [{"code": 5}, {"code": None, "message": "m"}, {"message": "m"}, {}, [], "text", 7])
def test_an_error_without_a_code_is_told_by_its_status(kind, body):
    error, _ = failure(kind, Answer(503, body))
    assert (type(error), error.code) == (UnavailableError, "unavailable")
    assert "503" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_that_is_not_known_is_kept(kind):
    error, _ = failure(kind, an_error("brand_new", 418, "new"))
    assert type(error) is APIError
    assert (error.code, error.status, error.message) == ("brand_new", 418, "new")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_page_in_any_encoding_is_told(kind, encoding):
    headers = {"content-type": f"text/html; charset={encoding}"}
    error, _ = failure(kind, Answer(500, "<html>überlastet</html>".encode(encoding), headers))
    assert "überlastet" in str(error)
    error, _ = failure(kind, Answer(500, b"\xff\xfe\x00\x9d", {"content-type": "text/html; charset=nonsense"}))
    assert type(error) is UnknownError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "charset", ["utf-16", "utf-32", "idna", "punycode", "zlib", "hex", "rot13", "undefined", "\xff"]
)
def test_a_page_in_another_encoding_than_it_says_is_told_by_its_status(kind, charset):
    error, _ = failure(
        kind, Answer(502, b"<html>bad gateway</html>", {"content-type": f"text/html; charset={charset}"})
    )
    assert type(error) is UnavailableError
    assert "bad gateway" in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body", [b"\x1b]0;title\x07\x1b[31mred\0", {"code": "unavailable", "message": "\x1b]0;title\x07\x1b[31mred\0"}]
)
def test_what_a_server_says_does_not_command_the_terminal(kind, body):
    error, _ = failure(kind, Answer(503, body))
    assert "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}" in str(error)
    assert str(error).replace("\N{REPLACEMENT CHARACTER}", "").isprintable()


# Details


def messages() -> dict[str, Any]:
    """The classes of the messages that are known as details, as the protobuf library makes them."""
    kinds = descriptor_pb2.FieldDescriptorProto
    pool = descriptor_pool.DescriptorPool()

    def add(package: str, *definitions: tuple[str, list[tuple[str, int, Any]]]) -> None:
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        for name, fields in definitions:
            message = file.message_type.add(name=name)
            subscripts = {"index", "bool_key", "int_key", "uint_key", "string_key"} & {field for field, _, _ in fields}
            if subscripts:
                message.oneof_decl.add(name="subscript")
            for field, number, kind in fields:
                repeated = field.endswith("s") and isinstance(kind, str)
                message.field.add(
                    name=field,
                    number=number,
                    label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                    type=kinds.TYPE_MESSAGE if isinstance(kind, str) else kind,
                    type_name=f".{package}.{kind}" if isinstance(kind, str) else None,
                    oneof_index=0 if field in subscripts else None,
                )
        pool.Add(file)

    text = kinds.TYPE_STRING
    add(
        "google.rpc",
        ("Duration", [("seconds", 1, kinds.TYPE_INT64), ("nanos", 2, kinds.TYPE_INT32)]),
        ("RetryInfo", [("retry_delay", 1, "Duration")]),
        ("FieldViolation", [("field", 1, text), ("description", 2, text), ("reason", 3, text)]),
        ("BadRequest", [("field_violations", 1, "FieldViolation")]),
    )
    add(
        "buf.validate",
        (
            "FieldPathElement",
            [
                ("field_number", 1, kinds.TYPE_INT32),
                ("field_name", 2, text),
                ("field_type", 3, kinds.TYPE_INT32),
                ("index", 6, kinds.TYPE_UINT64),
                ("bool_key", 7, kinds.TYPE_BOOL),
                ("int_key", 8, kinds.TYPE_INT64),
                ("uint_key", 9, kinds.TYPE_UINT64),
                ("string_key", 10, text),
            ],
        ),
        ("FieldPath", [("elements", 1, "FieldPathElement")]),
        (
            "Violation",
            [
                ("rule_id", 2, text),
                ("message", 3, text),
                ("for_key", 4, kinds.TYPE_BOOL),
                ("field", 5, "FieldPath"),
                ("rule", 6, "FieldPath"),
            ],
        ),
        ("Violations", [("violations", 1, "Violation")]),
    )
    names = ("google.rpc.RetryInfo", "google.rpc.BadRequest", "buf.validate.Violations")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


MESSAGES = messages()


def detail(name: str, /, **fields: Any) -> dict[str, str]:
    value = base64.b64encode(MESSAGES[name](**fields).SerializeToString()).decode()
    return {"type": name, "value": value.rstrip("=")}


def path(*names: str, **subscript: Any) -> dict[str, Any]:
    elements = [{"field_name": name, "field_number": 3, "field_type": 9} for name in names]
    elements[-1].update(subscript)
    return {"elements": elements}


@pytest.mark.parametrize("kind", KINDS)
def test_the_details_that_are_known_are_decoded_and_the_others_kept(kind):
    unknown = {"type": "google.rpc.Help", "value": "CgA", "debug": {"links": []}}
    details = [
        detail("google.rpc.RetryInfo", retry_delay={"seconds": 2, "nanos": 500_000_000}),
        detail("google.rpc.BadRequest", field_violations=[{"field": "spec.timeout", "description": "is too long"}]),
        detail(
            "buf.validate.Violations",
            violations=[{"field": path("project_id"), "rule_id": "string.uuid", "message": "must be a UUID"}],
        ),
        unknown,
    ]
    error, _ = failure(kind, an_error("invalid_argument", 400, "bad request", details=details))
    assert isinstance(error, InvalidArgumentError)
    timeout = FieldViolation(field="spec.timeout", description="is too long")
    project = FieldViolation(field="project_id", description="must be a UUID", rule="string.uuid")
    assert error.details[:3] == [
        RetryInfo(retry_delay=2.5),
        BadRequest(field_violations=[timeout]),
        Violations(violations=[project]),
    ]
    assert error.details[3].to_dict() == unknown
    assert error.violations == [timeout, project]
    assert error.retry_after == 2.5
    assert "bad request (spec.timeout: is too long; project_id: must be a UUID)" in str(error)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (path("spec", "timeout"), "spec.timeout"),
        (path("filter", "phases", index=0), "filter.phases[0]"),
        (path("filter", "phases", index=12), "filter.phases[12]"),
        (path("labels", string_key="a b"), "labels['a b']"),
        (path("numbers", int_key=-3), "numbers[-3]"),
        (path("numbers", uint_key=3), "numbers[3]"),
        (path("flags", bool_key=True), "flags[true]"),
    ],
)
def test_the_path_of_a_violation_reads_as_one(field, name):
    details = [detail("buf.validate.Violations", violations=[{"field": field, "message": "is wrong"}])]
    error, _ = failure("sync", an_error("invalid_argument", 400, "bad", details=details))
    assert [violation.field for violation in error.violations] == [name]
    assert f"{name}: is wrong" in str(error)


# Slow bodies


@pytest.fixture
def relay():
    with ScriptedServer() as server, Playground() as playground:
        yield playground.relay(server.url)


TIME = 0.3
"""Seconds that a call may take."""
LEEWAY = 0.3
"""Seconds that a busy machine may add."""


def failure_within(limit: float, kind: str, relay: Relay, **options: Any) -> Any:
    """What a look raises in less than `limit` seconds. A machine may be too busy for that once or twice."""
    for _ in range(3):
        relay.arrivals.clear()
        begin = time.monotonic()
        with pytest.raises(CallError) as caught:
            using(kind, look, **{"base_url": relay.url, "timeout": TIME, **options})
        duration = time.monotonic() - begin
        if duration < limit:
            return caught.value
    pytest.fail(f"it took {duration:.2f} s, and {limit} were allowed")


def look(client: Any) -> Any:
    return client.prebuilds.retrieve(prebuild_id=ID)


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("retries", [0, 8])
def test_an_answer_that_drips_ends_with_the_deadline(kind, retries, relay):
    relay.next(Fault("drips", forwards=True, drip=0.03))
    error = failure_within(TIME + LEEWAY, kind, relay, retries=retries)
    assert isinstance(error, RequestTimeoutError)
    assert error.maybe_executed
    assert len(relay.arrivals) == 1 if retries == 0 else len(relay.arrivals) >= 2


@pytest.mark.parametrize("kind", LOOPS)
def test_an_error_that_drips_is_told_by_its_status(kind, relay):
    relay.next(said("drips", http(403, b"<html>no entry</html>" + b"x" * 1000), drip=0.005))
    error = failure_within(TIME + LEEWAY, kind, relay, retries=0)
    assert (type(error), error.status) == (PermissionDeniedError, 403)
    # How much has come by then depends on how busy the machine is.
    assert "<h" in str(error)


@pytest.mark.parametrize("kind", LOOPS)
def test_an_answer_that_drips_and_then_stops_ends_within_twice_the_time(kind, relay):
    begun = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"{" * 8
    relay.next(said("stops", begun, drip=0.03, hangs=True))
    error = failure_within((2 * TIME if kind == "sync" else TIME) + LEEWAY, kind, relay, retries=0)
    assert isinstance(error, RequestTimeoutError)


@pytest.mark.parametrize("kind", LOOPS)
def test_an_endless_error_ends(kind, relay):
    head = b"HTTP/1.1 500 Oh\r\ncontent-length: 1000000000\r\n\r\n"
    relay.next(said("endless", head + b"x" * 3 * MIB, hangs=True))
    error = failure_within(4, kind, relay, timeout=10)
    assert (type(error), error.status) == (UnknownError, 500)


@needs_the_table
def test_an_error_that_is_not_read_to_its_end_gives_its_connection_up(relay):
    head = b"HTTP/1.1 500 Oh\r\ncontent-length: 1000000000\r\n\r\n"
    relay.next(said("endless", head + b"x" * 3 * MIB, hangs=True))
    attempts: list[Any] = []
    with PrebuildClient(TOKEN, base_url=relay.url, on_attempt=attempts.append) as client:
        with pytest.raises(UnknownError):
            client.prebuilds.retrieve(prebuild_id=ID)
        assert open_connections(relay.port) == 0
        assert len(attempts) == 1


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("fault", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"])
def test_a_server_that_falls_silent_ends_with_the_deadline(kind, fault, relay):
    relay.next(said("silent", fault, hangs=True))
    error = failure_within(TIME + LEEWAY, kind, relay)
    assert isinstance(error, ConnectionFailedError)
