"""What a client without models costs: httpx and `json.loads`."""

from __future__ import annotations

import json
from typing import Any

import httpx
from measuring import PAGE_SIZE, PREBUILD_ID, SERVICE, TOKEN, AsyncCall, Call, Setting, Values, measure

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
GET = f"{SERVICE}/GetPrebuild"
LIST = f"{SERVICE}/ListPrebuilds"


def get(setting: Setting) -> Call:
    http = httpx.Client(base_url=setting.url, headers=HEADERS)

    def call() -> Values:
        prebuild = json.loads(http.post(GET, json={"prebuildId": PREBUILD_ID}).content)["prebuild"]
        return prebuild["id"], prebuild["status"]["logUrl"]

    return call


def get_async(setting: Setting) -> AsyncCall:
    http = httpx.AsyncClient(base_url=setting.url, headers=HEADERS)

    async def call() -> Values:
        prebuild = json.loads((await http.post(GET, json={"prebuildId": PREBUILD_ID})).content)["prebuild"]
        return prebuild["id"], prebuild["status"]["logUrl"]

    return call


def list_all(setting: Setting) -> Call:
    http = httpx.Client(base_url=setting.url, headers=HEADERS)

    def call() -> Values:
        response = http.post(LIST, json={"pagination": {"pageSize": PAGE_SIZE}})
        for prebuild in json.loads(response.content)["prebuilds"]:
            values = all_values(prebuild)
        return values

    return call


def decode(setting: Setting) -> Call:
    content = setting.content("GetPrebuild", "application/json")
    return lambda: all_values(json.loads(content)["prebuild"])


def all_values(prebuild: dict[str, Any]) -> Values:
    metadata, spec, status = prebuild["metadata"], prebuild["spec"], prebuild["status"]
    creator, executor = metadata["creator"], metadata["executor"]
    return (
        prebuild["id"],
        status["logUrl"],
        metadata["organizationId"],
        metadata["projectId"],
        metadata["environmentClassId"],
        creator["id"],
        creator["principal"],
        metadata["createdAt"],
        metadata["updatedAt"],
        metadata["triggeredBy"],
        executor["id"],
        executor["principal"],
        spec["specVersion"],
        spec["desiredPhase"],
        spec["timeout"],
        status["phase"],
        status["completionTime"],
        status["failureMessage"],
        status["environmentId"],
        status["statusVersion"],
        status["warningMessage"],
        status["snapshotCompletionPercentage"],
        status["snapshotSizeBytes"],
    )


if __name__ == "__main__":
    measure(get=get, get_async=get_async, list_all=list_all, decode=decode)
