"""Contract tests as items of pytest, as a suite of another project runs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prebuilds.contract.properties import PROPERTIES
from prebuilds.emulator import EmulatorServer, ManualClock

pytest_plugins = ["pytester"]

PAIRS = sum(len(item.methods) for item in PROPERTIES.values() if item.name != "strict-input")

# The layer that is soon through.
OPTIONS = """
import pytest
from dataclasses import replace

@pytest.fixture(scope="session")
def contract_options(contract_options):
    return replace(contract_options, layers=("probes",), token="anything", assumptions=False)
"""

# A suite that names its server.
SUITE = (
    OPTIONS
    + """
from prebuilds.emulator import ManualClock, PrebuildService, Store, create_app

def test_contract(prebuild_contract):
    prebuild_contract.check()
"""
)

CORRECT = """
@pytest.fixture(scope="session")
def contract_target():
    store = Store()
    yield create_app(PrebuildService(store, ManualClock()))
    store.close()
"""

FORGETFUL = """
@pytest.fixture(scope="session")
def contract_target():
    store = Store()
    app = create_app(PrebuildService(store, ManualClock()))
    async def forgetful(scope, receive, send):
        if scope["type"] == "http" and scope["path"].endswith("/UpdateWarmPool"):
            scope = {**scope, "path": scope["path"].replace("Update", "Get")}
        await app(scope, receive, send)
    yield forgetful
    store.close()
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    def run(source: str, *arguments: str) -> pytest.RunResult:
        if source:
            pytester.makepyfile(test_suite=source)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "--strict-markers", *arguments)

    return run


def test_an_application_is_tested_property_by_property(run, pytester):
    result = run(SUITE + CORRECT, "-W", "error")
    outcomes = result.parseoutcomes()
    assert "failed" not in outcomes
    assert "errors" not in outcomes
    assert outcomes["passed"] > 200
    assert outcomes["passed"] + outcomes["skipped"] == PAIRS
    assert [path.name for path in pytester.path.iterdir() if path.name != "__pycache__"] == ["test_suite.py"]


def test_what_is_broken_fails_with_the_calls_that_show_it(run):
    result = run(SUITE + FORGETFUL, "-k", "UpdateWarmPool")
    assert result.parseoutcomes()["failed"] > 0
    result.stdout.fnmatch_lines(["*test_contract?echo-UpdateWarmPool?*", "*UpdateWarmPool*", "*curl *"])
    result.stdout.no_fnmatch_line("*anything*")


def test_known_failures_are_expected_and_those_that_pass_are_told(run, pytester):
    known = pytester.makefile(".txt", known="echo UpdateWarmPool\nids-are-fresh CreateWarmPool\n")
    result = run(SUITE + FORGETFUL, "-k", "echo or ids-are-fresh", f"--prebuilds-contract-known-failing={known}")
    result.stdout.fnmatch_lines(["*ids-are-fresh CreateWarmPool is a known failure, and is kept*"])
    outcomes = result.parseoutcomes()
    assert outcomes["xfailed"] == 1
    assert outcomes["failed"] == 1


def test_only_what_is_chosen_is_looked_at(run):
    source = (
        SUITE
        + CORRECT
        + """
def test_choice(contract_report):
    assert {result.property.name for result in contract_report.results} == {"echo"}
"""
    )
    assert run(source, "-k", "echo or choice").parseoutcomes()["passed"] == len(PROPERTIES["echo"].methods) + 1


def test_a_server_is_named_on_the_command_line(run, pytester):
    pytester.makeconftest(OPTIONS)
    with EmulatorServer(clock=ManualClock()) as server:
        result = run(
            "",
            f"--prebuilds-contract-url={server.url}",
            "-m",
            "prebuilds_contract",
            "-k",
            "read-your-write or malformed-json",
        )
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 13
    assert "failed" not in outcomes


def test_items_can_be_listed_without_a_server(run):
    result = run("", "--prebuilds-contract-url=http://127.0.0.1:9", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["prebuilds-contract::test_contract?no-server-error-CreatePrebuild?"])
    assert f"{PAIRS} tests collected" in result.stdout.str()


def test_a_server_elsewhere_wants_a_token_of_its_own(run):
    result = run("", "--prebuilds-contract-url=https://prebuilds.invalid", "-k", "malformed-json")
    result.stdout.fnmatch_lines(["*prebuilds.invalid wants a token*--prebuilds-contract-token-env*"])


def test_the_token_comes_from_the_environment(run, monkeypatch):
    result = run("", "--prebuilds-contract-url=http://127.0.0.1:9", "--prebuilds-contract-token-env=NO_SUCH", "-x")
    result.stdout.fnmatch_lines(["*no token in the environment variable NO_SUCH*"])


def test_a_suite_without_a_server_is_told(run):
    result = run("def test_contract(prebuild_contract): pass", "-k", "malformed-json", "-x")
    result.stdout.fnmatch_lines(["*which server? Give --prebuilds-contract-url=URL*"])


def test_a_server_that_is_not_there_keeps_nothing(run):
    result = run("", "--prebuilds-contract-url=http://127.0.0.1:9", "-k", "malformed-json")
    assert "passed" not in result.parseoutcomes()


def test_a_run_of_pytest_without_contract_tests_loads_nothing(tmp_path):
    # What else is installed here for pytest takes long to load.
    program = """
import pytest, sys
others = ("schemathesis", "hypothesispytest", "xdist", "randomly", "anyio", "typeguard")
pytest.main(["--collect-only", "-q", *(f"-pno:{name}" for name in ("cacheprovider", *others))])
assert "pytest_prebuilds.contract" in sys.modules
loaded = [name for name in sys.modules if name.split(".")[0] in ("prebuilds", "prebuild_wire")]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, timeout=60)


def test_one_worker_tests_the_server_and_tells_the_others(run, tmp_path, monkeypatch):
    """The workers of pytest-xdist have folders next to each other, and a variable with their name."""
    (tmp_path / "run").mkdir()

    def outcomes(worker: str, url: str) -> dict[str, int]:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        chosen = ["-k", "no-server-error and List", f"--basetemp={tmp_path / 'run' / worker}"]
        result = run("", f"--prebuilds-contract-url={url}", "--prebuilds-contract-mode=read", *chosen)
        assert result.ret == 0
        return result.parseoutcomes()

    with EmulatorServer(clock=ManualClock()) as server:
        alone = outcomes("gw0", server.url)
    # Whoever asks the server now gets no answer.
    assert outcomes("gw1", server.url) == alone
    assert alone["passed"] == 2
