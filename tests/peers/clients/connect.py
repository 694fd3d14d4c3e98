"""The vendor's newer client, the generated Connect client of `gitpod-sdk` 1.2.0: binary protobuf over pyqwest.

The side `connect` is the client as it is by default. `connect-plain` neither sends nor accepts gzip. `connect-raw`
leaves times as the messages of seconds and nanoseconds that they are; the others make datetimes of them, as the models
of the JSON clients have.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from operator import attrgetter, methodcaller
from typing import Any

from connectrpc.compat import google_protobuf_binary_codec
from gitpod.v1 import prebuild_pb2 as pb
from gitpod.v1.prebuild_connect import PrebuildServiceClient, PrebuildServiceClientSync
from measuring import PAGE_SIZE, PREBUILD_ID, TOKEN, AsyncCall, Call, Setting, Values, measure

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def options(setting: Setting) -> dict[str, Any]:
    return {"send_compression": None, "accept_compression": []} if setting.side == "connect-plain" else {}


def get(setting: Setting) -> Call:
    client = PrebuildServiceClientSync(setting.url, **options(setting))

    def call() -> Values:
        prebuild = client.get_prebuild(pb.GetPrebuildRequest(prebuild_id=PREBUILD_ID), headers=HEADERS).prebuild
        return prebuild.id, prebuild.status.log_url

    return call


def get_async(setting: Setting) -> AsyncCall:
    client = PrebuildServiceClient(setting.url, **options(setting))

    async def call() -> Values:
        request = pb.GetPrebuildRequest(prebuild_id=PREBUILD_ID)
        prebuild = (await client.get_prebuild(request, headers=HEADERS)).prebuild
        return prebuild.id, prebuild.status.log_url

    return call


def list_all(setting: Setting) -> Call:
    client = PrebuildServiceClientSync(setting.url, **options(setting))

    read = reader(setting)

    def call() -> Values:
        request = pb.ListPrebuildsRequest(pagination={"page_size": PAGE_SIZE})
        for prebuild in client.list_prebuilds(request, headers=HEADERS).prebuilds:
            values = read(prebuild)
        return values

    return call


def decode(setting: Setting) -> Call:
    content = setting.content("GetPrebuild", "application/proto")
    decoded = google_protobuf_binary_codec().decode
    read = reader(setting)
    return lambda: read(decoded(content, pb.GetPrebuildResponse).prebuild)


def reader(setting: Setting) -> Callable[[pb.Prebuild], Values]:
    """A function that reads every value of a prebuild."""
    moment = attrgetter("seconds", "nanos") if setting.side == "connect-raw" else methodcaller("ToDatetime", UTC)

    def all_values(prebuild: pb.Prebuild) -> Values:
        metadata, spec, status = prebuild.metadata, prebuild.spec, prebuild.status
        creator, executor = metadata.creator, metadata.executor
        return (
            prebuild.id,
            status.log_url,
            metadata.organization_id,
            metadata.project_id,
            metadata.environment_class_id,
            creator.id,
            creator.principal,
            moment(metadata.created_at),
            moment(metadata.updated_at),
            metadata.triggered_by,
            executor.id,
            executor.principal,
            spec.spec_version,
            spec.desired_phase,
            spec.timeout.seconds,
            status.phase,
            moment(status.completion_time),
            status.failure_message,
            status.environment_id,
            status.status_version,
            status.warning_message,
            status.snapshot_completion_percentage,
            status.snapshot_size_bytes,
        )

    return all_values


if __name__ == "__main__":
    measure(get=get, get_async=get_async, list_all=list_all, decode=decode)
