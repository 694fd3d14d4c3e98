"""Contract tests as items of pytest: one for each property and each method that it is about.

    pytest --prebuilds-contract-url=http://127.0.0.1:8080 -m prebuilds_contract

tests a server. Without `-m`, the other tests run as well; if files are named, only those. A suite with its own server
passes it explicitly and requests the items:

    @pytest.fixture(scope="session")
    def contract_target():
        return app  # an ASGI application, or a URL

    def test_contract(prebuild_contract):
        prebuild_contract.check()

The server is tested once, when the first item runs, for those properties that are among the items (`-k`, `--lf`). An
item fails if its property is violated, or if a run that should test everything did not show it. It is skipped if it
cannot be tested or was excluded. An item in the file of known failures is an expected failure. A property that should
be kept, and need not, is a warning. `strict-input` is included with `--prebuilds-contract-profile=strict`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prebuilds.contract.findings import Result
    from prebuilds.contract.runner import Options, Report

MARKER = "prebuilds_contract"

_OPTION = "--prebuilds-contract"

_FIXTURE = "prebuild_contract"

_NAME = "prebuilds-contract"

# The seconds that a worker of pytest-xdist waits for the worker that tests the server.
_LONGEST_RUN = 3600.0


Verdict = tuple[str, str]
"""The outcome of an item (pass, skip, fail, xfail or warn), and the reason."""


class ContractWarning(UserWarning):
    """A server does not follow a recommendation."""


class ContractItem:
    """One property for one method.

    Attributes:
        property: the name of the property.
        method: the method.
    """

    def __init__(self, property_name: str, method: str, verdict: Verdict) -> None:
        self.property = property_name
        self.method = method
        self._kind, self._text = verdict

    def check(self) -> None:
        """Fail if the property is broken or should have been tested, and skip if it could not be tested."""
        if self._kind == "skip":
            pytest.skip(self._text)
        if self._kind == "fail":
            pytest.fail(self._text, pytrace=False)
        if self._kind == "xfail":
            pytest.xfail(self._text)
        if self._kind == "warn":
            warnings.warn(self._text, ContractWarning, stacklevel=2)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command `prebuilds contract` that matter here."""
    group = parser.getgroup("prebuilds contract", "contract tests of a server of the PrebuildService")
    group.addoption(
        f"{_OPTION}-url", metavar="URL", help="Test this server: adds an item for each property and method."
    )
    group.addoption(f"{_OPTION}-token-env", metavar="VAR", help="The environment variable that holds the token.")
    group.addoption(
        f"{_OPTION}-project", metavar="ID", action="append", default=[], help="A project to write to. May be repeated."
    )
    group.addoption(
        f"{_OPTION}-class", metavar="ID", action="append", default=[], help="An environment class. May be repeated."
    )
    group.addoption(
        f"{_OPTION}-mode",
        choices=("read", "reject", "lifecycle", "full"),
        help="What may be sent; by default `full` to a server on this machine, and `read` to any other.",
    )
    group.addoption(
        f"{_OPTION}-profile",
        choices=("protojson", "strict"),
        default="protojson",
        help="Whether input that the schema does not name may be understood, or is to be refused.",
    )
    group.addoption(f"{_OPTION}-seed", type=int, default=0, metavar="N", help="The same seed sends the same requests.")
    group.addoption(f"{_OPTION}-known-failing", type=Path, metavar="FILE", help="What is known to be broken.")
    group.addoption(
        f"{_OPTION}-assumptions",
        action="store_true",
        default=None,
        help="Look at what is assumed of the service, too; by default only on the emulator.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line("markers", f"{MARKER}: contract tests of a server of the PrebuildService")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Create an item for each property and method, for each test that requests the fixture."""
    if _FIXTURE not in metafunc.fixturenames:
        return
    try:
        from prebuilds.contract.properties import PROPERTIES
    except ImportError as error:
        raise pytest.UsageError(
            f"contract tests need the extra: pip install 'prebuilds[contract]' ({error})"
        ) from error
    metafunc.parametrize(
        _FIXTURE,
        [
            pytest.param((name, method), id=f"{name}-{method}", marks=getattr(pytest.mark, MARKER))
            for name, item in PROPERTIES.items()
            if name != "strict-input" or metafunc.config.getoption(f"{_OPTION}-profile") == "strict"
            for method in item.methods
        ],
        indirect=True,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the items of a server that was named on the command line."""
    if _are_selected(config) and not any(_FIXTURE in _fixtures(item) for item in items):
        path = Path(__file__).with_name("contract_items.py")
        module: pytest.Module = pytest.Module.from_parent(session, path=path, nodeid=_NAME)  # pyright: ignore[reportUnknownMemberType]  # pytest leaves its keywords untyped
        items.extend(session.genitems(module))


def _are_selected(config: pytest.Config) -> bool:
    """Return True if the items of a named server are wanted: by their marker, or in a run that names no files."""
    if not config.getoption(f"{_OPTION}-url"):
        return False
    return MARKER in str(config.getoption("markexpr")) or config.args_source is not pytest.Config.ArgsSource.ARGS


@pytest.fixture(scope="session")
def contract_target(pytestconfig: pytest.Config) -> Any:
    """The server to test: a URL or an ASGI application. Defaults to the value of `--prebuilds-contract-url`."""
    url = pytestconfig.getoption(f"{_OPTION}-url")
    if not url:
        pytest.fail(f"which server? Give {_OPTION}-url=URL, or define the fixture `contract_target`", pytrace=False)
    return url


@pytest.fixture(scope="session")
def contract_options(pytestconfig: pytest.Config) -> Options:
    """How to test it: `prebuilds.contract.Options`. Defaults to the command line's value.

    The target and the properties to test are filled in later.
    """
    from prebuilds.contract.findings import read_known
    from prebuilds.contract.runner import Options

    def given(name: str) -> Any:
        return pytestconfig.getoption(f"{_OPTION}-{name}")

    try:
        known = read_known(given("known-failing")) if given("known-failing") else set[tuple[str, str]]()
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    options = Options(
        projects=tuple(given("project")),
        environment_classes=tuple(given("class")),
        mode=given("mode"),
        profile=given("profile"),
        seed=given("seed"),
        assumptions=given("assumptions"),
        known=known,
    )
    variable = given("token-env")
    if not variable:
        return options
    token = os.environ.get(variable, "").strip()
    if not token:
        pytest.fail(f"there is no token in the environment variable {variable}", pytrace=False)
    return replace(options, token=token)


@pytest.fixture(scope="session")
def contract_report(
    request: pytest.FixtureRequest,
    contract_target: Any,
    contract_options: Options,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Report]:
    """The report of the test of the server: `prebuilds.contract.Report`. The server is tested on first access."""
    from prebuilds.contract.runner import is_local, run
    from prebuilds.contract.transports import AsgiTransport

    # Properties that were not selected are not tested; a suite's own selection takes precedence.
    options = replace(contract_options, only=contract_options.only or _wanted(request.session))
    transport: AsgiTransport | None = None
    if isinstance(contract_target, str):
        if options.token == type(options)().token and not is_local(contract_target):
            pytest.fail(f"{contract_target} wants a token: name its variable, {_OPTION}-token-env=VAR", pytrace=False)
        options = replace(options, url=contract_target)
    else:
        transport = AsgiTransport(contract_target)
        options = replace(options, ledger=options.ledger or tmp_path_factory.mktemp(_NAME) / "ledger")
    try:
        report = run(options, transport=transport)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        if transport is not None:
            transport.close()
    if report.unfinished == "it was interrupted":
        pytest.exit("the contract tests were interrupted", returncode=pytest.ExitCode.INTERRUPTED)
    yield report
    if report.clean_up is not None and not report.clean_up.is_complete:
        pytest.fail(
            f"not everything that was made could be deleted: prebuilds contract cleanup {report.ledger}", pytrace=False
        )


@pytest.fixture(scope="session")
def contract_verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Verdict]:
    """The outcome of each item.

    One worker of pytest-xdist tests the server and shares the results with the other workers.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _verdicts(request.getfixturevalue("contract_report"))
    import sqlite3  # no other run needs it

    shared = tmp_path_factory.getbasetemp().parent / f"{_NAME}.sqlite"
    with closing(sqlite3.connect(shared, timeout=_LONGEST_RUN, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        database.execute("CREATE TABLE IF NOT EXISTS verdicts (content TEXT)")
        row = database.execute("SELECT content FROM verdicts").fetchone()
        if row is None:
            row = (json.dumps(_verdicts(request.getfixturevalue("contract_report"))),)
            database.execute("INSERT INTO verdicts VALUES (?)", row)
        database.execute("COMMIT")
    return {name: (kind, text) for name, (kind, text) in json.loads(row[0]).items()}


@pytest.fixture
def prebuild_contract(request: pytest.FixtureRequest, contract_verdicts: Mapping[str, Verdict]) -> ContractItem:
    """One property for one method. A test that requests it becomes one item per property and method."""
    name, method = request.param
    left_out = ("skip", "it rests on an assumption about the service, or was left out")
    return ContractItem(name, method, contract_verdicts.get(f"{name} {method}", left_out))


def _verdicts(report: Report) -> dict[str, Verdict]:
    from prebuilds.contract.secrets import masked

    secrets = report.session.secrets
    return {
        f"{result.property.name} {result.method}": (kind, masked(text, secrets))
        for result in report.results
        for kind, text in [_verdict(report, result)]
    }


def _verdict(report: Report, result: Result) -> Verdict:
    from prebuilds.contract.findings import State
    from prebuilds.contract.layers import LAYERS
    from prebuilds.contract.reproduction import as_curl

    item, method = result.property, result.method
    must = item.level == "MUST"
    if result.state is State.NOT_TESTED:
        # A property that the run was told to exclude is not a failure. A run that should test everything must do so: a
        # suite of skipped items looks as if all were well.
        expected = report.mode == "full" and len(report.layers) == len(LAYERS) and must and not result.excused
        return "fail" if report.unfinished or expected else "skip", f"not tested: {result.why}"
    if result in report.passing:
        return "fail", f"{item.name} {method} is a known failure, and is kept: strike it out"
    if result.state is State.KEPT:
        return "pass", ""
    text = f"{method}: {result.why}\n{item.says} ({item.level}, {item.source})"
    if result.failure is not None:
        secrets = report.session.secrets
        text += f"\n\n{as_curl(result.failure.sequence, report.url, report.session.token, secrets)}"
    return "xfail" if result.known else "fail" if must else "warn", text


def _wanted(session: pytest.Session) -> tuple[str, ...]:
    """The properties of the items that are to be run."""
    functions = [item for item in session.items if isinstance(item, pytest.Function)]
    params: list[Any] = [item.callspec.params[_FIXTURE] for item in functions if _FIXTURE in _fixtures(item)]
    return tuple(sorted({name for name, _ in params}))


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []
