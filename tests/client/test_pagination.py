"""Reading lists page by page, over a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prebuilds import (
    AsyncPrebuildClient,
    AsyncPrebuildsPage,
    NotFoundError,
    PaginationError,
    PrebuildClient,
    PrebuildsPage,
)

from .both import ID, KINDS, TOKEN
from .scripted import Answer, Request, ScriptedServer, a_prebuild, an_error

each_kind = pytest.mark.parametrize("kind", KINDS)


def page(*numbers: int, next_token: str | None = None) -> Answer:
    body: dict[str, Any] = {"prebuilds": [a_prebuild(number=number) for number in numbers]}
    if next_token is not None:
        body["pagination"] = {"nextToken": next_token}
    return Answer(200, body)


PAGES = {None: page(1, 2, next_token="b"), "b": page(3, 4, next_token="c"), "c": page(5)}


def by_body(request: Request) -> Answer:
    return PAGES[request.body.get("pagination", {}).get("token")]


def numbers(prebuilds) -> list[int]:
    return [int(prebuild.id[-12:]) for prebuild in prebuilds]


def all_items(kind: str, url: str, **arguments: Any) -> list[int]:
    if kind == "sync":
        with PrebuildClient(TOKEN, base_url=url) as client:
            return numbers(list(client.prebuilds.list(**arguments)))

    async def main() -> list[int]:
        async with AsyncPrebuildClient(TOKEN, base_url=url) as client:
            return numbers([each async for each in client.prebuilds.list(**arguments)])

    return asyncio.run(main())


@each_kind
def test_iterating_reads_every_page_in_the_body_form(kind):
    with ScriptedServer(by_body) as server:
        found = all_items(kind, server.url + "/api", project_ids=[ID], page_size=2)
    assert found == [1, 2, 3, 4, 5]
    assert {request.path for request in server.requests} == {"/api/gitpod.v1.PrebuildService/ListPrebuilds"}
    assert [request.body for request in server.requests] == [
        {"filter": {"projectIds": [ID]}, "pagination": {"pageSize": 2}},
        {"filter": {"projectIds": [ID]}, "pagination": {"pageSize": 2, "token": "b"}},
        {"filter": {"projectIds": [ID]}, "pagination": {"pageSize": 2, "token": "c"}},
    ]


@each_kind
def test_a_list_can_be_resumed_from_a_token(kind):
    with ScriptedServer(by_body) as server:
        assert all_items(kind, server.url, token="b") == [3, 4, 5]
        assert all_items(kind, server.url, pagination={"token": "c"}) == [5]


@each_kind
@pytest.mark.parametrize("body", [{}, {"prebuilds": None}, {"prebuilds": [], "pagination": {"nextToken": ""}}])
def test_an_empty_list_is_empty(kind, body):
    with ScriptedServer(Answer(200, body)) as server:
        assert all_items(kind, server.url) == []
    assert len(server.requests) == 1


@each_kind
def test_a_server_that_answers_the_first_page_for_ever_is_an_error(kind):
    with (
        ScriptedServer(page(1, next_token="b")) as server,
        pytest.raises(PaginationError, match="'b' twice") as caught,
    ):
        all_items(kind, server.url)
    assert caught.value.token == "b"
    assert len(server.requests) == 2


@each_kind
def test_a_list_that_comes_back_to_an_earlier_page_is_an_error(kind):
    script = [page(1, next_token=each) for each in ("b", "c", "d", "b")]
    with ScriptedServer(*script) as server, pytest.raises(PaginationError):
        all_items(kind, server.url)
    assert len(server.requests) == 4


@each_kind
def test_a_token_that_leads_to_itself_is_an_error_on_the_first_page(kind):
    with ScriptedServer(page(1, next_token="b")) as server, pytest.raises(PaginationError):
        all_items(kind, server.url, token="b")
    assert len(server.requests) == 1


@each_kind
def test_an_error_on_a_later_page_comes_after_the_items_before_it(kind):
    found: list[int] = []
    with ScriptedServer(page(1, 2, next_token="b"), an_error("not_found", 404)) as server:
        if kind == "sync":

            def read() -> None:
                with PrebuildClient(TOKEN, base_url=server.url) as client:
                    for prebuild in client.prebuilds.list():
                        found.extend(numbers([prebuild]))
        else:

            async def main() -> None:
                async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
                    async for prebuild in client.prebuilds.list():
                        found.extend(numbers([prebuild]))

            def read() -> None:
                asyncio.run(main())

        with pytest.raises(NotFoundError):
            read()
    assert found == [1, 2]


def test_a_page_is_read_at_once_and_its_followers_when_their_turn_comes():
    with (
        ScriptedServer(by_body) as server,
        PrebuildClient(TOKEN, base_url=server.url) as client,
    ):
        first = client.prebuilds.list()
        assert len(server.requests) == 1
        assert type(first) is PrebuildsPage
        assert (numbers(first.prebuilds), first.next_token) == ([1, 2], "b")
        assert first.has_next_page()
        second = first.get_next_page()
        assert type(second) is PrebuildsPage
        assert numbers(second.prebuilds) == [3, 4]
        assert numbers(first.get_next_page().prebuilds) == [3, 4]  # again, and no error
        last = second.get_next_page()
        assert not last.has_next_page()
        with pytest.raises(ValueError, match="last page"):
            last.get_next_page()
        assert [numbers(each.prebuilds) for each in second.iter_pages()] == [[3, 4], [5]]
        before = len(server.requests)
        for _ in first:
            break
        assert len(server.requests) == before


def test_an_asynchronous_list_is_awaited_for_its_first_page():
    async def main(url: str):
        async with AsyncPrebuildClient(TOKEN, base_url=url) as client:
            listing = client.prebuilds.list()
            assert not server.requests
            first = await listing
            assert type(first) is AsyncPrebuildsPage
            assert numbers(first.prebuilds) == [1, 2]
            second = await first.get_next_page()
            assert numbers(second.prebuilds) == [3, 4]
            assert [numbers(each.prebuilds) async for each in second.iter_pages()] == [[3, 4], [5]]
            assert [len(each) async for each in listing.iter_pages()] == [2, 2, 1]
            assert numbers([each async for each in first]) == [1, 2, 3, 4, 5]
            last = await second.get_next_page()
            with pytest.raises(ValueError, match="last page"):
                await last.get_next_page()

    with ScriptedServer(by_body) as server:
        asyncio.run(main(server.url))


def test_an_asynchronous_list_refuses_unknown_keywords_before_it_is_awaited():
    client = AsyncPrebuildClient(TOKEN)
    with pytest.raises(TypeError, match="project_ids"):
        client.prebuilds.list(project_id=[ID])


@each_kind
def test_warm_pools_are_listed_the_same_way(kind):
    with ScriptedServer(Answer(200, {})) as server:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=server.url) as client:
                pools = client.prebuilds.list_warm_pools(filter={"project_ids": [ID]}).warm_pools
        else:

            async def main():
                async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
                    return (await client.prebuilds.list_warm_pools(project_ids=[ID])).warm_pools

            pools = asyncio.run(main())
    assert pools == []
    assert server.requests[0].path == "/gitpod.v1.PrebuildService/ListWarmPools"
    assert server.requests[0].body == {"filter": {"projectIds": [ID]}}
