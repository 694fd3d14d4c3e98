"""What users write. It is never run: both type checkers read it, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import assert_type

import httpx

from prebuild_api.api.prebuild_service import get_prebuild
from prebuild_api.models import (
    ConnectError,
    CreatePrebuildResponse,
    GetPrebuildRequest,
    GetPrebuildResponse,
)
from prebuilds import (
    APIError,
    AsyncPrebuildClient,
    AsyncPrebuildsPage,
    ConnectCode,
    ListPrebuildsRequestFilter,
    NotFoundError,
    Prebuild,
    PrebuildClient,
    PrebuildFailedError,
    PrebuildPhase,
    PrebuildsError,
    PrebuildsPage,
    PrebuildSpec,
    PrebuildTrigger,
    ResponseError,
    WaitError,
    WarmPool,
    WarmPoolsPage,
)


def configure(http: httpx.Client, headers: Mapping[str, str]) -> None:
    PrebuildClient()
    PrebuildClient("token")
    PrebuildClient(bearer_token=None, base_url="https://app.ona.com/api", timeout=None, retries=0)
    client = PrebuildClient(headers=headers, http_client=http)
    assert_type(client.base_url, str)
    client.close()


def create(client: PrebuildClient) -> None:
    created = client.prebuilds.create(project_id="p", spec={"timeout": "3600s"})
    assert_type(created, CreatePrebuildResponse)
    assert_type(created.prebuild, Prebuild)
    assert_type(created.prebuild.status.phase, PrebuildPhase)
    assert_type(created.prebuild.status.phase.is_terminal, bool)
    assert_type(created.prebuild.status.failure_message, str | None)
    assert_type(created.prebuild.metadata.created_at, datetime)
    client.prebuilds.create(project_id="p", spec=PrebuildSpec(timeout="3600s"), timeout=5)
    client.prebuilds.create(project_id="p", retries=0, headers={"X-Trace": "1"})
    client.prebuilds.create(project_id="p", extra_body={"newField": 1})
    client.prebuilds.create(project_id=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.prebuilds.create(project_id="p", projct=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.prebuilds.create(
        project_id="p",
        spec={"timout": "1s"},  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


def retrieve(client: PrebuildClient) -> Prebuild:
    found = client.prebuilds.retrieve(prebuild_id="id", timeout=None)
    assert_type(found, GetPrebuildResponse)
    return found.prebuild


def iterate(client: PrebuildClient) -> None:
    page = client.prebuilds.list(project_ids=["p"], phases=["PREBUILD_PHASE_RUNNING"])
    assert_type(page, PrebuildsPage)
    assert_type(page.prebuilds, list[Prebuild])
    assert_type(page.next_token, str | None)
    for prebuild in page:
        assert_type(prebuild, Prebuild)
    for each in page.iter_pages():
        assert_type(each, PrebuildsPage)
    while page.has_next_page():
        page = page.get_next_page()
        assert_type(page, PrebuildsPage)
    pools = client.prebuilds.list_warm_pools(filter={"project_ids": ["p"]})
    assert_type(pools, WarmPoolsPage)
    assert_type(pools.warm_pools, list[WarmPool])
    assert_type([pool for pool in pools], list[WarmPool])  # noqa: C416 - the loop is the point


def filters(client: PrebuildClient) -> None:
    client.prebuilds.list(filter={"project_ids": ["p"], "phases": ["PREBUILD_PHASE_FAILED"]})
    client.prebuilds.list(filter=ListPrebuildsRequestFilter(project_ids=["p"]))
    client.prebuilds.list(phases=[PrebuildPhase.FAILED], triggered_by=[PrebuildTrigger.MANUAL])
    client.prebuilds.list(pagination={"page_size": 50, "token": "t"})
    client.prebuilds.list(page_size=50, token="t")
    client.prebuilds.list(phases=["FAILED"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def wait(client: PrebuildClient) -> None:
    created = client.prebuilds.create(project_id="p")

    def on_update(prebuild: Prebuild) -> None:
        print(prebuild.status.phase)

    assert_type(client.prebuilds.wait("id"), Prebuild)
    client.prebuilds.wait(created.prebuild, timeout=600, on_update=on_update, poll_interval=5)
    client.prebuilds.wait("id", on_update=print)


def errors(client: PrebuildClient) -> None:
    try:
        client.prebuilds.wait("id")
    except NotFoundError as error:
        assert_type(error.code, ConnectCode)
    except PrebuildFailedError as error:
        assert_type(error.prebuild, Prebuild | None)
    except WaitError as error:
        assert_type(error.item_id, str)
    except APIError as error:
        assert_type(error.status, int)
        assert_type(error.message, str)
        assert_type(error.retry_after, float | None)
        assert_type(error.operation, str)
        assert_type(error.retryable, bool)
        assert_type(error.maybe_executed, bool)
    except ResponseError as error:
        assert_type(error.status, int)
    except PrebuildsError:
        pass


def endpoint_functions(client: PrebuildClient) -> None:
    answer = get_prebuild.sync(client=client, body=GetPrebuildRequest(prebuild_id="id"))
    assert_type(answer, GetPrebuildResponse | ConnectError)


async def asynchronous(http: httpx.AsyncClient) -> None:
    async with AsyncPrebuildClient(http_client=http) as client:
        created = await client.prebuilds.create(project_id="p", spec={})
        assert_type(created, CreatePrebuildResponse)
        async for prebuild in client.prebuilds.list(project_ids=["p"]):
            assert_type(prebuild, Prebuild)
        page = await client.prebuilds.list(project_ids=["p"])
        assert_type(page, AsyncPrebuildsPage)
        assert_type(page.prebuilds, list[Prebuild])
        async for each in page.iter_pages():
            assert_type(each, AsyncPrebuildsPage)
        assert_type(await page.get_next_page(), AsyncPrebuildsPage)

        async def on_update(prebuild: Prebuild) -> None:
            print(prebuild.status.phase)

        assert_type(await client.prebuilds.wait("id", on_update=on_update), Prebuild)
        answer = await get_prebuild.asyncio(client=client, body=GetPrebuildRequest(prebuild_id="i"))
        assert_type(answer, GetPrebuildResponse | ConnectError)
