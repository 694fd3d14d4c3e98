"""What users write. It is never run: both type checkers read it, strictly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import assert_type

import httpx

from prebuild_api.api.prebuild_service import get_prebuild
from prebuild_api.http import RawResponse
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
    Attempt,
    ConnectCode,
    FieldViolation,
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
    WaitManyError,
    WarmPool,
    WarmPoolsPage,
)


def configure(http: httpx.Client, headers: Mapping[str, str]) -> None:
    PrebuildClient()
    PrebuildClient("token")
    PrebuildClient(bearer_token=None, base_url="https://app.ona.com/api", timeout=None, retries=0)
    client = PrebuildClient(headers=headers, http_client=http)
    assert_type(client.base_url, str)
    assert_type(client.with_options(timeout=5, retries=0, headers=headers), PrebuildClient)
    client.with_options(timeout=None, bearer_token=lambda: "token")
    client.with_options(max_retries=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.close()


def arguments(client: PrebuildClient) -> None:
    client.prebuilds.retrieve("id")
    client.prebuilds.create("project", spec={"timeout": timedelta(hours=2)}, timeout=timedelta(seconds=10))
    client.prebuilds.update_warm_pool("id", min_size=1)
    client.prebuilds.list(phases=["failed", "PREBUILD_PHASE_COMPLETED", PrebuildPhase.RUNNING])
    client.prebuilds.list(phases=["broken"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.prebuilds.retrieve("id", "other")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


def configure_tokens(http: httpx.HTTPTransport) -> None:
    async def token() -> str:
        return "token"

    PrebuildClient(lambda: "token", transport=http)
    AsyncPrebuildClient(token)


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


def follow(client: PrebuildClient, prebuild: Prebuild, pool: WarmPool) -> None:
    assert_type(client.prebuilds.wait(prebuild, until="PREBUILD_PHASE_RUNNING", stalled_after=60), Prebuild)
    client.prebuilds.wait(prebuild, until={PrebuildPhase.FAILED, PrebuildPhase.COMPLETED})
    client.prebuilds.wait(prebuild, until=lambda seen: seen.status.environment_id is not None)
    client.prebuilds.wait(prebuild, untill="")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.prebuilds.wait(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(client.prebuilds.wait_all([prebuild, "id"]), list[Prebuild])
    assert_type(client.prebuilds.create_and_wait(project_id="p", spec={"timeout": "600s"}), Prebuild)
    assert_type(client.prebuilds.wait_warm_pool(pool, on_update=print), WarmPool)
    for seen in client.prebuilds.watch(prebuild, timeout=60):
        assert_type(seen, Prebuild)
    for line in client.prebuilds.logs("id", follow=False):
        assert_type(line, str)


def keep_in_order(client: PrebuildClient) -> None:
    assert_type(client.prebuilds.cancel_active("p"), list[Prebuild])
    assert_type(client.prebuilds.latest("p", "class"), Prebuild | None)
    assert_type(client.prebuilds.prune(older_than=timedelta(days=3), keep=2, dry_run=True), list[Prebuild])
    assert_type(client.prebuilds.ensure_warm_pool("p", "class", 0, 3), WarmPool)


def observe(attempts: list[Attempt]) -> None:
    client = PrebuildClient(on_attempt=attempts.append)
    client.prebuilds.retrieve(prebuild_id="id", on_attempt=attempts.append)
    for attempt in attempts:
        assert_type(attempt.response, RawResponse | None)
        assert_type(attempt.status, int | None)
        assert_type(attempt.retry_in, float | None)


def errors(client: PrebuildClient) -> None:
    try:
        client.prebuilds.wait("id")
    except NotFoundError as error:
        assert_type(error.code, ConnectCode)
    except PrebuildFailedError as error:
        assert_type(error.prebuild, Prebuild | None)
    except WaitError as error:
        assert_type(error.item_id, str)
        assert_type(error.failure_message, str | None)
        assert_type(error.log_url, str | None)
    except WaitManyError as error:
        assert_type(error.prebuilds, list[Prebuild])
    except APIError as error:
        assert_type(error.status, int)
        assert_type(error.message, str)
        assert_type(error.retry_after, float | None)
        assert_type(error.operation, str)
        assert_type(error.retryable, bool)
        assert_type(error.maybe_executed, bool)
        assert_type(error.violations, list[FieldViolation])
        assert_type(error.request_id, str | None)
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
        assert_type(await client.prebuilds.latest("p"), Prebuild | None)
        assert_type(client.with_options(retries=1), AsyncPrebuildClient)
        async for seen in client.prebuilds.watch("id"):
            assert_type(seen, Prebuild)
        async for line in client.prebuilds.logs("id"):
            assert_type(line, str)
        waits = [asyncio.create_task(client.prebuilds.wait(each)) for each in ("a", "b")]
        assert_type(await waits[0], Prebuild)
        answer = await get_prebuild.asyncio(client=client, body=GetPrebuildRequest(prebuild_id="i"))
        assert_type(answer, GetPrebuildResponse | ConnectError)
