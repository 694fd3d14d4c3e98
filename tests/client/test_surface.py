"""What the package offers, and what importing it costs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import prebuilds
from prebuild_api.operations import OPERATIONS
from prebuilds import AsyncPrebuildClient, AsyncPrebuilds, PrebuildClient, Prebuilds

CLIENTS = {"AsyncPrebuildClient", "AsyncPrebuilds", "PrebuildClient", "Prebuilds"}
ERRORS = {
    "APIError",
    "AbortedError",
    "AlreadyExistsError",
    "CallError",
    "CanceledError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectionFailedError",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "LogError",
    "NotFoundError",
    "OutOfRangeError",
    "PaginationError",
    "PermissionDeniedError",
    "PrebuildCancelledError",
    "PrebuildDeletedError",
    "PrebuildFailedError",
    "PrebuildsError",
    "RequestTimeoutError",
    "ResourceExhaustedError",
    "ResponseError",
    "StalledError",
    "TokenError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "WaitError",
    "WaitManyError",
    "WaitTimeoutError",
    "WarmPoolDeletedError",
}
DETAILS = {"BadRequest", "FieldViolation", "RetryInfo", "Violations"}
GENERATED = {
    "AsyncListing",
    "Attempt",
    "AsyncPrebuildsPage",
    "AsyncWarmPoolsPage",
    "CallOptions",
    "ConnectCode",
    "ConnectErrorDetail",
    "DecodeError",
    "ListPrebuildsRequestFilter",
    "ListWarmPoolsRequestFilter",
    "PaginationRequest",
    "Prebuild",
    "PrebuildMetadata",
    "PrebuildPhase",
    "PrebuildSpec",
    "PrebuildStatus",
    "PrebuildTrigger",
    "PrebuildsPage",
    "Principal",
    "Subject",
    "WarmPool",
    "WarmPoolMetadata",
    "WarmPoolPhase",
    "WarmPoolSpec",
    "WarmPoolStatus",
    "WarmPoolsPage",
}


METHODS = sorted(
    {operation.client_method for operation in OPERATIONS}
    | {"cancel_active", "create_and_wait", "ensure_warm_pool", "latest", "logs", "prune", "wait", "wait_all"}
    | {"wait_warm_pool", "watch"}
)


def test_the_public_names_are_these():
    assert set(prebuilds.__all__) == CLIENTS | ERRORS | DETAILS | GENERATED | {"LINE_CONTINUES", "__version__"}
    assert len(set(prebuilds.__all__)) == len(prebuilds.__all__)
    assert all(hasattr(prebuilds, name) for name in prebuilds.__all__)


@pytest.mark.parametrize("name", sorted(CLIENTS | ERRORS | DETAILS | GENERATED))
def test_a_public_name_is_documented_and_written_where_it_belongs(name):
    thing = getattr(prebuilds, name)
    package = "prebuild_api" if name in GENERATED else "prebuilds"
    assert thing.__module__.partition(".")[0] == package
    assert thing.__doc__


def test_both_clients_have_the_same_methods():
    def names(resource: type) -> set[str]:
        return {name for name in dir(resource) if not name.startswith("_")}

    assert names(Prebuilds) == names(AsyncPrebuilds) == set(METHODS)
    assert len(METHODS) == 21


@pytest.mark.parametrize("method", METHODS)
def test_both_clients_take_the_same_arguments(method):
    one, other = (inspect.signature(getattr(each, method)).parameters for each in (Prebuilds, AsyncPrebuilds))
    assert list(one.values()) == list(other.values())


def test_both_clients_are_made_with_the_same_arguments():
    one, other = (inspect.signature(each).parameters for each in (PrebuildClient, AsyncPrebuildClient))
    assert list(one) == list(other)
    assert {name: each.default for name, each in one.items()} == {
        "bearer_token": None,
        "base_url": None,
        "timeout": 60.0,
        "retries": 8,
        "headers": None,
        "on_attempt": None,
        "max_response_bytes": 64 * 2**20,
        "engine": "httpx",
        "ssl_context": None,
        "http_client": None,
        "transport": None,
        "_runtime": None,
    }


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"].get("version", prebuilds.__version__) == prebuilds.__version__


def run_python(code: str, **environment: str) -> str:
    path = os.pathsep.join(
        str(Path(each).resolve().parent.parent)
        for each in (prebuilds.__file__, sys.modules["prebuild_api"].__file__ or "")
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


HEAVY = ("pydantic", "click", "rich", "starlette", "uvicorn", "google", "schemathesis", "hypothesis")


def test_importing_the_client_loads_nothing_of_the_extras():
    # httpx itself tries to import its command line, and with it rich: that is kept from it.
    code = f"""
import sys
sys.modules["httpx._main"] = None
from prebuilds import PrebuildClient
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    assert run_python(code).split() == []


def test_importing_the_package_loads_no_client():
    """The emulator is in it as well, which has to start fast."""
    assert run_python("import sys, prebuilds\nprint('httpx' in sys.modules)").split() == ["False"]
