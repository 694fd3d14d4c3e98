"""Our client. The side `fast` has the fast engine, `default` the default one."""

from __future__ import annotations

from typing import Any

from measuring import PAGE_SIZE, PREBUILD_ID, TOKEN, AsyncCall, Call, Setting, Values, measure

from prebuild_api.models import GetPrebuildResponse, Prebuild
from prebuild_api.types import DECODERS, decode_json
from prebuilds import AsyncPrebuildClient, PrebuildClient


def options(setting: Setting) -> dict[str, Any]:
    return {"engine": "fast"} if setting.side == "fast" else {}


def get(setting: Setting) -> Call:
    prebuilds = PrebuildClient(TOKEN, base_url=setting.url, **options(setting)).prebuilds

    def call() -> Values:
        prebuild = prebuilds.retrieve(prebuild_id=PREBUILD_ID).prebuild
        return prebuild.id, prebuild.status.log_url

    return call


def get_async(setting: Setting) -> AsyncCall:
    prebuilds = AsyncPrebuildClient(TOKEN, base_url=setting.url, **options(setting)).prebuilds

    async def call() -> Values:
        prebuild = (await prebuilds.retrieve(prebuild_id=PREBUILD_ID)).prebuild
        return prebuild.id, prebuild.status.log_url

    return call


def list_all(setting: Setting) -> Call:
    prebuilds = PrebuildClient(TOKEN, base_url=setting.url, **options(setting)).prebuilds

    def call() -> Values:
        for prebuild in prebuilds.list(pagination={"page_size": PAGE_SIZE}):
            values = all_values(prebuild)
        return values

    return call


def decode(setting: Setting) -> Call:
    content = setting.content("GetPrebuild", "application/json")
    decoder = DECODERS[GetPrebuildResponse.__name__]
    return lambda: all_values(decode_json(decoder, content).prebuild)


def all_values(prebuild: Prebuild) -> Values:
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
        metadata.created_at,
        metadata.updated_at,
        metadata.triggered_by,
        executor.id,
        executor.principal,
        spec.spec_version,
        spec.desired_phase,
        spec.timeout,
        status.phase,
        status.completion_time,
        status.failure_message,
        status.environment_id,
        status.status_version,
        status.warning_message,
        status.snapshot_completion_percentage,
        status.snapshot_size_bytes,
    )


if __name__ == "__main__":
    measure(get=get, get_async=get_async, list_all=list_all, decode=decode)
