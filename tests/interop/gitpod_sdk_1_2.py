"""The vendor's newer client, `gitpod-sdk` 1.2.0, unmodified: its generated Connect clients in each of their modes."""

from __future__ import annotations

import asyncio
import base64
import urllib.request
from dataclasses import dataclass
from importlib.metadata import version

import pytest
from buf.validate import validate_pb2
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from gitpod.v1 import prebuild_pb2 as pb
from gitpod.v1.prebuild_connect import PrebuildServiceClient, PrebuildServiceClientSync
from ona_sdk import create_client
from pyqwest import SyncClient, SyncHTTPTransport

NOBODY = "00000000-0000-4000-8000-000000000000"

COMPLETED = pb.PREBUILD_PHASE_COMPLETED
DELETED = pb.PREBUILD_PHASE_DELETED


@dataclass
class Mode:
    """One way to call: the codec, whether requests are packed, whether reads are GET, and which of the two clients."""

    codec: str
    packed: bool = False
    by_get: bool = False
    asynchronous: bool = False

    def __str__(self):
        marks = [self.codec, *(name for name in ("packed", "by_get", "asynchronous") if getattr(self, name))]
        return "-".join(marks)


MODES = [
    Mode(codec, packed, by_get, asynchronous)
    for codec in ("binary", "json")
    for packed in (False, True)
    for by_get in (False, True)
    for asynchronous in (False, True)
]


class Caller:
    """A client in one mode; the methods are those of the client, and take the fields of the request."""

    def __init__(self, url, mode, token="writer"):
        self._mode = mode
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._runner = asyncio.Runner() if mode.asynchronous else None
        kind = PrebuildServiceClient if mode.asynchronous else PrebuildServiceClientSync
        codec = google_protobuf_binary_codec() if mode.codec == "binary" else google_protobuf_json_codec()
        self._client = kind(url, codec=codec, send_compression=GzipCompression() if mode.packed else None)

    def close(self):
        if self._runner:
            self._runner.close()

    def __getattr__(self, name):
        request = getattr(pb, "".join(part.capitalize() for part in name.split("_")) + "Request")
        method = getattr(self._client, name)
        options = {"use_get": True} if self._mode.by_get and name.startswith(("get_", "list_")) else {}

        def call(timeout_ms=None, **fields):
            def answer():
                return method(request(**fields), headers=self._headers, timeout_ms=timeout_ms, **options)

            async def run():
                return await answer()

            return self._runner.run(run()) if self._runner else answer()

        return call


class Services:
    """The client as the vendor hands it out, with its own transport and interceptors."""

    def __init__(self, url, token="writer"):
        self._service = create_client(api_key=token, base_url=url).services.prebuild

    def close(self):
        pass

    def __getattr__(self, name):
        request = getattr(pb, "".join(part.capitalize() for part in name.split("_")) + "Request")
        return lambda timeout_ms=None, **fields: getattr(self._service, name)(request(**fields), timeout_ms=timeout_ms)


@pytest.fixture(params=[*MODES, "services"], ids=str)
def connect(request, url):
    """Makes a client of the mode for a token."""
    made = []

    def connect(token="writer"):
        client = Services(url, token) if request.param == "services" else Caller(f"{url}/api", request.param, token)
        made.append(client)
        return client

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def prebuilds(connect):
    return connect()


def test_this_is_the_client():
    assert version("gitpod-sdk") == "1.2.0"


def test_a_prebuild_from_beginning_to_end(prebuilds, project, environment_class, until):
    made = prebuilds.create_prebuild(
        project_id=project, environment_class_id=environment_class, spec={"timeout": {"seconds": 3600}}
    ).prebuild
    assert made.metadata.project_id == project
    assert made.spec.timeout.seconds == 3600
    until(lambda: prebuilds.get_prebuild(prebuild_id=made.id).prebuild.status.phase == COMPLETED)
    found = prebuilds.get_prebuild(prebuild_id=made.id).prebuild
    assert found.status.snapshot_size_bytes > 2**32
    assert found.metadata.created_at == made.metadata.created_at

    token = prebuilds.create_prebuild_logs_token(prebuild_id=made.id).access_token
    request = urllib.request.Request(found.status.log_url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as log:
        assert log.read()

    assert prebuilds.delete_prebuild(prebuild_id=made.id) == pb.DeletePrebuildResponse()
    until(lambda: prebuilds.get_prebuild(prebuild_id=made.id).prebuild.status.phase == DELETED)


def test_a_prebuild_that_is_cancelled(prebuilds, project):
    made = prebuilds.create_prebuild(project_id=project, spec={}).prebuild
    cancelled = prebuilds.cancel_prebuild(prebuild_id=made.id).prebuild
    assert cancelled.spec.desired_phase == pb.PREBUILD_PHASE_CANCELLED
    assert cancelled.spec.spec_version > made.spec.spec_version


def test_pages_are_turned(prebuilds, project):
    made = [prebuilds.create_prebuild(project_id=project, spec={}).prebuild.id for _ in range(5)]
    # Twenty-five ids make the response of a page worth compressing.
    filter_ = {"project_ids": [project, *[NOBODY] * 24]}
    found, token = [], ""
    while True:
        page = prebuilds.list_prebuilds(filter=filter_, pagination={"page_size": 2, "token": token})
        found += [item.id for item in page.prebuilds]
        token = page.pagination.next_token
        if not token:
            break
    assert found == made[::-1]
    assert len(prebuilds.list_prebuilds(filter=filter_).prebuilds) == 5
    assert prebuilds.list_prebuilds(filter={"project_ids": [NOBODY]}) == pb.ListPrebuildsResponse()


def test_a_warm_pool_from_beginning_to_end(prebuilds, project, environment_class, until):
    made = prebuilds.create_warm_pool(
        project_id=project, environment_class_id=environment_class, min_size=0, max_size=2
    ).warm_pool
    assert made.spec.HasField("min_size")
    assert (made.spec.min_size, made.spec.max_size) == (0, 2)
    assert prebuilds.update_warm_pool(warm_pool_id=made.id, min_size=1).warm_pool.spec.min_size == 1
    changed = prebuilds.update_warm_pool(warm_pool_id=made.id, min_size=0).warm_pool
    assert (changed.spec.min_size, changed.spec.max_size) == (0, 2)
    pools = prebuilds.list_warm_pools(
        filter={"project_ids": [project], "environment_class_ids": [environment_class]}, pagination={"page_size": 1}
    ).warm_pools
    assert [pool.id for pool in pools] == [made.id]

    prebuilds.create_prebuild(project_id=project, environment_class_id=environment_class, spec={})
    until(lambda: prebuilds.get_warm_pool(warm_pool_id=made.id).warm_pool.status.phase == pb.WARM_POOL_PHASE_READY)
    assert prebuilds.get_warm_pool(warm_pool_id=made.id).warm_pool.spec.snapshot_id

    assert prebuilds.delete_warm_pool(warm_pool_id=made.id) == pb.DeleteWarmPoolResponse()
    until(lambda: prebuilds.get_warm_pool(warm_pool_id=made.id).warm_pool.status.phase == pb.WARM_POOL_PHASE_DELETED)


def refused(call, **fields):
    with pytest.raises(ConnectError) as caught:
        call(**fields)
    return caught.value


def test_errors_arrive_with_their_code_and_details(connect, project, environment_class):
    prebuilds = connect()
    assert refused(prebuilds.get_prebuild, prebuild_id=NOBODY).code == Code.NOT_FOUND
    error = refused(prebuilds.create_prebuild, project_id="mine", spec={"timeout": {"seconds": 1}})
    assert error.code == Code.INVALID_ARGUMENT
    (detail,) = error.details
    assert detail.type_name == "buf.validate.Violations"
    violations = validate_pb2.Violations.FromString(detail.message_bytes).violations
    # The vendor's package has an older name of the field `rule_id`.
    assert [violation.constraint_id for violation in violations] == ["string.uuid", "duration.gte_lte"]
    assert [violation.field.elements[-1].field_name for violation in violations] == ["project_id", "timeout"]

    pool = {"project_id": project, "environment_class_id": environment_class, "max_size": 1}
    prebuilds.create_warm_pool(**pool)
    assert refused(prebuilds.create_warm_pool, **pool).code == Code.ALREADY_EXISTS


def test_tokens_are_looked_at(connect, project):
    for token, code in (
        ("reader", Code.PERMISSION_DENIED),
        ("stranger", Code.UNAUTHENTICATED),
        ("", Code.UNAUTHENTICATED),
    ):
        assert refused(connect(token).create_prebuild, project_id=project, spec={}).code == code
    assert connect("reader").list_prebuilds(filter={"project_ids": [project]}) == pb.ListPrebuildsResponse()


def test_a_generous_deadline_is_kept(prebuilds):
    assert prebuilds.list_prebuilds(filter={"project_ids": [NOBODY]}, timeout_ms=10_000) is not None


def test_every_mode_was_what_it_says(url, project):
    """Looks at what the client sends, so that no mode silently is another."""
    seen = []

    class Spy:
        def __init__(self):
            self._transport = SyncHTTPTransport()

        def execute_sync(self, request):
            headers = request.headers
            seen.append((request.method, headers.get("content-type"), headers.get("content-encoding"), request.url))
            return self._transport.execute_sync(request)

    for codec in (google_protobuf_binary_codec(), google_protobuf_json_codec()):
        client = PrebuildServiceClientSync(
            url, codec=codec, send_compression=GzipCompression(), http_client=SyncClient(Spy())
        )
        headers = {"Authorization": "Bearer writer"}
        request = pb.ListPrebuildsRequest(filter={"project_ids": [project]})
        client.list_prebuilds(request, headers=headers)
        client.list_prebuilds(request, headers=headers, use_get=True)
    assert [item[:3] for item in seen] == [
        ("POST", "application/proto", "gzip"),
        ("GET", None, None),
        ("POST", "application/json", "gzip"),
        ("GET", None, None),
    ]
    query = dict(part.split("=", 1) for part in seen[1][3].partition("?")[2].split("&"))
    assert (query["encoding"], query["compression"], query["base64"]) == ("proto", "gzip", "1")
    assert base64.urlsafe_b64decode(query["message"].replace("%3D", "="))[:2] == b"\x1f\x8b"
