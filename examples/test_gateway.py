"""The contract kit against the gateway: a test for each property and method.

pytest examples/test_gateway.py
pytest examples/test_gateway.py -k required-fields
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway import create_gateway
from prebuilds.contract import Options
from prebuilds.emulator import EmulatorServer

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
OTHER = "1f3c4c1e-54a5-4a0e-9a6f-30f7a4c2a7d1"


@pytest.fixture(scope="session")
def service() -> Iterator[EmulatorServer]:
    """A service for the gateway, so fast that its prebuilds complete at once."""
    with EmulatorServer(speed=1000) as server:
        yield server


@pytest.fixture(scope="session")
def contract_target(service: EmulatorServer) -> Any:
    """The ASGI application to test."""
    return create_gateway(httpx.AsyncClient(base_url=service.url), {PROJECT})


@pytest.fixture(scope="session")
def contract_options(contract_options: Options) -> Options:
    """Where the kit may create prebuilds."""
    return replace(contract_options, projects=(PROJECT,), environment_classes=(CLASS,))


def test_contract(prebuild_contract: Any) -> None:
    prebuild_contract.check()


async def create(service: EmulatorServer, project: str) -> int:
    upstream = httpx.AsyncClient(base_url=service.url)
    transport = httpx.ASGITransport(create_gateway(upstream, {PROJECT}))
    async with upstream, httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        response = await client.post(
            "/gitpod.v1.PrebuildService/CreatePrebuild",
            json={"projectId": project, "spec": {}},
            headers={"Authorization": "Bearer any-token"},
        )
    return response.status_code


@pytest.mark.parametrize(("project", "status"), [(PROJECT, 200), (PROJECT.upper(), 200), (OTHER, 403)])
def test_only_listed_projects_get_prebuilds(service: EmulatorServer, project: str, status: int) -> None:
    assert asyncio.run(create(service, project)) == status
