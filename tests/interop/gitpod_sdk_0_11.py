"""The vendor's older client, `gitpod-sdk` 0.11.0, unmodified: JSON, with retries and lists that page by themselves."""

from __future__ import annotations

import asyncio
import inspect
import urllib.request
from importlib.metadata import version

import gitpod
import pytest

NOBODY = "00000000-0000-4000-8000-000000000000"


class AsyncCaller:
    """The asynchronous client, called like the synchronous one."""

    def __init__(self, url, token):
        self._runner = asyncio.Runner()
        self._client = gitpod.AsyncGitpod(base_url=url, bearer_token=token)

    def close(self):
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name):
        method = getattr(self._client.prebuilds, name)

        def call(**arguments):
            async def run():
                answer = method(**arguments)
                return await answer if inspect.isawaitable(answer) else answer

            return self._runner.run(run())

        return call

    def all(self, name, **arguments):
        async def run():
            return [item async for item in getattr(self._client.prebuilds, name)(**arguments)]

        return self._runner.run(run())


class SyncCaller:
    def __init__(self, url, token):
        self._client = gitpod.Gitpod(base_url=url, bearer_token=token)

    def close(self):
        self._client.close()

    def __getattr__(self, name):
        return getattr(self._client.prebuilds, name)

    def all(self, name, **arguments):
        return list(getattr(self._client.prebuilds, name)(**arguments))


@pytest.fixture(params=[SyncCaller, AsyncCaller], ids=["sync", "async"])
def caller(request):
    return request.param


@pytest.fixture(params=["", "/api"], ids=["root", "api"])
def prebuilds(request, caller, url):
    client = caller(url + request.param, "writer")
    yield client
    client.close()


def test_this_is_the_client():
    assert version("gitpod-sdk") == "0.11.0"


def test_a_prebuild_from_beginning_to_end(prebuilds, project, environment_class, until):
    spec = {"timeout": "3600s"}
    made = prebuilds.create(project_id=project, environment_class_id=environment_class, spec=spec).prebuild
    assert made.metadata.project_id == project
    assert made.spec.timeout == "3600s"

    def completed():
        found = prebuilds.retrieve(prebuild_id=made.id).prebuild
        return found.status.phase == "PREBUILD_PHASE_COMPLETED"

    until(completed)
    found = prebuilds.retrieve(prebuild_id=made.id).prebuild
    assert int(found.status.snapshot_size_bytes) > 0
    assert found.metadata.created_at == made.metadata.created_at

    token = prebuilds.create_logs_token(prebuild_id=made.id).access_token
    request = urllib.request.Request(found.status.log_url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as log:
        assert log.read()

    prebuilds.delete(prebuild_id=made.id)
    until(lambda: prebuilds.retrieve(prebuild_id=made.id).prebuild.status.phase == "PREBUILD_PHASE_DELETED")


def test_a_prebuild_that_is_cancelled(prebuilds, project, until):
    made = prebuilds.create(project_id=project, spec={"timeout": "7200s"}).prebuild
    cancelled = prebuilds.cancel(prebuild_id=made.id).prebuild
    assert cancelled.spec.desired_phase == "PREBUILD_PHASE_CANCELLED"
    until(lambda: prebuilds.retrieve(prebuild_id=made.id).prebuild.status.phase == "PREBUILD_PHASE_CANCELLED")


def test_a_list_goes_on_by_itself(prebuilds, project):
    """From the second page on, the token stands in the query, next to the body of the first call."""
    made = [prebuilds.create(project_id=project, spec={}).prebuild.id for _ in range(7)]
    found = prebuilds.all("list", filter={"project_ids": [project]}, pagination={"page_size": 3})
    assert [item.id for item in found] == made[::-1]
    found = prebuilds.all("list", filter={"project_ids": [project]}, page_size=2)
    assert [item.id for item in found] == made[::-1]


def test_a_list_without_anything_in_it(prebuilds, project):
    assert prebuilds.all("list", filter={"project_ids": [project]}) == []
    assert prebuilds.all("list_warm_pools", filter={"project_ids": [project]}) == []


def test_a_warm_pool_from_beginning_to_end(prebuilds, project, environment_class, until):
    made = prebuilds.create_warm_pool(
        project_id=project, environment_class_id=environment_class, min_size=0, max_size=2
    ).warm_pool
    assert (made.spec.min_size, made.spec.max_size) == (0, 2)
    changed = prebuilds.update_warm_pool(warm_pool_id=made.id, max_size=3).warm_pool
    assert (changed.spec.min_size, changed.spec.max_size) == (0, 3)

    prebuilds.create(project_id=project, environment_class_id=environment_class, spec={})
    until(lambda: prebuilds.retrieve_warm_pool(warm_pool_id=made.id).warm_pool.status.phase == "WARM_POOL_PHASE_READY")

    prebuilds.delete_warm_pool(warm_pool_id=made.id)
    until(
        lambda: prebuilds.retrieve_warm_pool(warm_pool_id=made.id).warm_pool.status.phase == "WARM_POOL_PHASE_DELETED"
    )


def test_a_list_of_warm_pools_goes_on_by_itself(prebuilds, project, environment_class):
    made = [
        prebuilds.create_warm_pool(
            project_id=project, environment_class_id=class_id, min_size=1, max_size=1
        ).warm_pool.id
        for class_id in (environment_class, NOBODY, project)
    ]
    found = prebuilds.all("list_warm_pools", filter={"project_ids": [project]}, pagination={"page_size": 1})
    assert [item.id for item in found] == made[::-1]


def test_errors_arrive_as_the_classes_that_they_should(caller, prebuilds, project, environment_class, url):
    with pytest.raises(gitpod.NotFoundError, match=NOBODY):
        prebuilds.retrieve(prebuild_id=NOBODY)
    with pytest.raises(gitpod.BadRequestError) as caught:
        prebuilds.create(project_id=project, spec={"timeout": "1s"})
    assert caught.value.body["code"] == "invalid_argument"
    assert caught.value.body["details"][0]["type"] == "buf.validate.Violations"
    sizes = {"min_size": 1, "max_size": 1}
    prebuilds.create_warm_pool(project_id=project, environment_class_id=environment_class, **sizes)
    with pytest.raises(gitpod.ConflictError):
        prebuilds.create_warm_pool(project_id=project, environment_class_id=environment_class, **sizes)
    for token, error in (("reader", gitpod.PermissionDeniedError), ("stranger", gitpod.AuthenticationError)):
        client = caller(url, token)
        with pytest.raises(error):
            client.create(project_id=project, spec={})
        client.close()
