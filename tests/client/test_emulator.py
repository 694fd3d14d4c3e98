"""Both clients against the emulator, over a real socket."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from prebuilds import (
    AlreadyExistsError,
    AsyncPrebuildClient,
    InvalidArgumentError,
    NotFoundError,
    Prebuild,
    PrebuildCancelledError,
    PrebuildClient,
    PrebuildDeletedError,
    PrebuildPhase,
)
from prebuilds.emulator import EmulatorServer

from .both import TOKEN
from .scripted import Answer, ScriptedServer

DOCUMENTED = Path(__file__).parent / "documented"

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
UNKNOWN = "07e03a28-65a5-4d98-b532-8ea67b188048"

CREATE = """
import os
from gitpod import Gitpod

client = Gitpod(
    bearer_token=os.environ.get("GITPOD_API_KEY"),  # This is the default and can be omitted
)
prebuild = client.prebuilds.create(
    project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047",
    spec={
        "timeout": "3600s"
    },
)
print(prebuild.prebuild)
"""

RETRIEVE = """
import os
from gitpod import Gitpod

client = Gitpod(
    bearer_token=os.environ.get("GITPOD_API_KEY"),  # This is the default and can be omitted
)
prebuild = client.prebuilds.retrieve(
    prebuild_id="07e03a28-65a5-4d98-b532-8ea67b188048",
)
print(prebuild.prebuild)
"""


@pytest.fixture(scope="module")
def url():
    with EmulatorServer(speed=2000) as server:
        yield server.url


@pytest.fixture
def client(url):
    with PrebuildClient(TOKEN, base_url=f"{url}/api/") as client:
        yield client


def run_sample(sample: str) -> str:
    """Run a documented sample with nothing but its import line changed, and return what it prints."""
    code = sample.replace("from gitpod import Gitpod", "from prebuilds import PrebuildClient as Gitpod")
    assert code != sample
    printed = StringIO()
    names: dict[str, Any] = {}
    try:
        with redirect_stdout(printed):
            exec(code, names)
    finally:
        names["client"].close()
    return printed.getvalue()


@pytest.fixture
def environment(monkeypatch, url):
    monkeypatch.setenv("GITPOD_API_KEY", TOKEN)
    monkeypatch.setenv("GITPOD_BASE_URL", url)


@pytest.mark.usefixtures("environment")
def test_the_documented_create_runs():
    printed = run_sample(CREATE)
    assert printed.startswith("Prebuild(id='")
    assert f"project_id='{PROJECT}'" in printed
    assert "timeout='3600s'" in printed


@pytest.mark.usefixtures("environment")
def test_the_documented_retrieve_runs(client):
    # The emulator gives out ids of its own: the sample's stands for one of them.
    prebuild_id = client.prebuilds.create(project_id=PROJECT).prebuild.id
    printed = run_sample(RETRIEVE.replace(UNKNOWN, prebuild_id))
    assert printed.startswith(f"Prebuild(id='{prebuild_id}'")
    with pytest.raises(NotFoundError, match=UNKNOWN):
        run_sample(RETRIEVE)


@pytest.mark.parametrize("name", ["Create", "Get"])
def test_the_documented_samples_print_the_documented_answer(name, monkeypatch):
    """Unchanged but for the import, against a server that knows the sample's ids and answers as published."""
    published = json.loads((DOCUMENTED / f"{name}PrebuildResponse.json").read_text(encoding="utf-8"))
    with ScriptedServer(Answer(body=published)) as server:
        monkeypatch.setenv("GITPOD_API_KEY", TOKEN)
        monkeypatch.setenv("GITPOD_BASE_URL", server.url)
        printed = run_sample({"Create": CREATE, "Get": RETRIEVE}[name])
    assert printed == f"{Prebuild.from_dict(published['prebuild'])}\n"
    sent = {"Create": {"projectId": PROJECT, "spec": {"timeout": "3600s"}}, "Get": {"prebuildId": UNKNOWN}}
    assert [request.body for request in server.requests] == [sent[name]]


def test_a_prebuild_is_created_followed_and_removed(client):
    created = client.prebuilds.create(
        project_id=PROJECT, environment_class_id=CLASS, spec={"timeout": "3600s"}
    ).prebuild
    phases: list[PrebuildPhase] = []
    done = client.prebuilds.wait(created, on_update=lambda each: phases.append(each.status.phase), poll_interval=0.02)
    assert done.id == created.id
    assert done.status.phase is PrebuildPhase.COMPLETED
    assert phases[-1] is PrebuildPhase.COMPLETED
    assert client.prebuilds.create_logs_token(prebuild_id=created.id).access_token
    client.prebuilds.delete(prebuild_id=created.id)
    with pytest.raises((PrebuildDeletedError, NotFoundError)):
        client.prebuilds.wait(created, poll_interval=0.02)


def test_a_cancelled_prebuild_is_not_a_failed_one(client):
    created = client.prebuilds.create(project_id=PROJECT).prebuild
    cancelling = client.prebuilds.cancel(prebuild_id=created.id).prebuild
    assert cancelling.spec.desired_phase is PrebuildPhase.CANCELLED
    with pytest.raises(PrebuildCancelledError, match="was cancelled"):
        client.prebuilds.wait(created, poll_interval=0.02)


def test_a_refused_request_says_what_is_wrong_with_it(client):
    with pytest.raises(InvalidArgumentError, match=re.escape("spec.timeout")) as caught:
        client.prebuilds.create(project_id=PROJECT, spec={"timeout": "1s"})
    assert not caught.value.maybe_executed


def test_lists_are_read_to_their_end_and_filtered(client):
    project = "11111111-0000-4000-8000-000000000000"
    made = {client.prebuilds.create(project_id=project).prebuild.id for _ in range(7)}
    page = client.prebuilds.list(project_ids=[project], page_size=2)
    assert len(page.prebuilds) == 2
    assert {each.id for each in page} == made
    assert [len(each) for each in page.iter_pages()] == [2, 2, 2, 1]
    same = client.prebuilds.list(filter={"project_ids": [project]}, pagination={"page_size": 5})
    assert {each.id for each in same} == made
    assert not list(client.prebuilds.list(project_ids=[UNKNOWN]))


def test_a_warm_pool_is_managed(client):
    pool = client.prebuilds.create_warm_pool(
        project_id=PROJECT, environment_class_id=CLASS, min_size=1, max_size=3
    ).warm_pool
    with pytest.raises(AlreadyExistsError):
        client.prebuilds.create_warm_pool(project_id=PROJECT, environment_class_id=CLASS)
    client.prebuilds.update_warm_pool(warm_pool_id=pool.id, max_size=5)
    again = client.prebuilds.retrieve_warm_pool(warm_pool_id=pool.id).warm_pool
    assert (again.spec.min_size, again.spec.max_size) == (1, 5)
    assert [each.id for each in client.prebuilds.list_warm_pools(project_ids=[PROJECT])] == [pool.id]
    client.prebuilds.delete_warm_pool(warm_pool_id=pool.id)


def test_the_asynchronous_client_tells_the_same_story(url):
    async def main() -> None:
        project = "22222222-0000-4000-8000-000000000000"
        async with AsyncPrebuildClient(TOKEN, base_url=url) as client:
            made = await asyncio.gather(*(client.prebuilds.create(project_id=project) for _ in range(20)))
            ids = {each.prebuild.id for each in made}
            assert len(ids) == 20
            found = {each.id async for each in client.prebuilds.list(project_ids=[project], page_size=6)}
            assert found == ids
            assert len(await client.prebuilds.list(project_ids=[project], page_size=6)) == 6
            phases: list[PrebuildPhase] = []

            async def on_update(prebuild) -> None:
                await asyncio.sleep(0)
                phases.append(prebuild.status.phase)

            done = await client.prebuilds.wait(made[0].prebuild, on_update=on_update, poll_interval=0.02)
            assert done.status.phase is PrebuildPhase.COMPLETED
            assert phases[-1] is PrebuildPhase.COMPLETED
            with pytest.raises(NotFoundError):
                await client.prebuilds.retrieve(prebuild_id=UNKNOWN)
            pool = await client.prebuilds.create_warm_pool(
                project_id=project, environment_class_id=CLASS, min_size=0, max_size=1
            )
            pools = await client.prebuilds.list_warm_pools(project_ids=[project])
            assert [each.id for each in pools.warm_pools] == [pool.warm_pool.id]

    asyncio.run(main())


def test_one_client_serves_many_threads(client):
    from concurrent.futures import ThreadPoolExecutor

    project = "33333333-0000-4000-8000-000000000000"
    with ThreadPoolExecutor(16) as threads:
        made = set(threads.map(lambda _: client.prebuilds.create(project_id=project).prebuild.id, range(64)))
    assert len(made) == 64
    assert {each.id for each in client.prebuilds.list(project_ids=[project])} == made
