"""Contract tests as items of pytest: one for each property and each method that it is about.

    pytest --prebuilds-contract-url=http://127.0.0.1:8080 -m prebuilds_contract

tests a server, beside whatever other tests there are. A suite that has its server at hand says so itself, and asks for
the items:

    @pytest.fixture(scope="session")
    def contract_target():
        return app  # an ASGI application, or a URL

    def test_contract(prebuild_contract):
        prebuild_contract.check()

The server is tested once, when the first item runs, for those properties that are among the items (`-k`, `--lf`). An
item fails if its property is broken, is skipped if it could not be tested, and is an expected failure if the file of
known failures has it. A property that should be kept, and need not, is a warning.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prebuilds.contract.runner import Options, Report

MARKER = "prebuilds_contract"

_OPTION = "--prebuilds-contract"

_FIXTURE = "prebuild_contract"

_NAME = "prebuilds-contract"


class ContractWarning(UserWarning):
    """A server does not do what it should, and need not, do."""


class ContractItem:
    """One property for one method.

    Attributes:
        property: the name of the property.
        method: the method.
        report: what came of testing the server.
    """

    def __init__(self, property_name: str, method: str, report: Report) -> None:
        self.property = property_name
        self.method = method
        self.report = report

    def check(self) -> None:
        """Fail if the property is broken, and skip if it could not be tested."""
        from prebuilds.contract.findings import State
        from prebuilds.contract.reproduction import as_curl
        from prebuilds.contract.secrets import masked

        found = [
            item for item in self.report.results if (item.property.name, item.method) == (self.property, self.method)
        ]
        if not found:
            pytest.skip("it rests on an assumption about the service, or was left out")
        result = found[0]
        session = self.report.session
        if result.state is State.NOT_TESTED:
            pytest.skip(f"not tested: {result.why}")
        if result.state is State.KEPT:
            if result.known:
                pytest.fail(
                    f"{self.property} {self.method} is a known failure, and is kept: strike it out", pytrace=False
                )
            return
        text = f"{self.method}: {masked(result.why, session.secrets)}\n"
        text += f"{result.property.says} ({result.property.level}, {result.property.source})"
        if result.failure is not None:
            text += f"\n\n{as_curl(result.failure.sequence, self.report.url, session.token, session.secrets)}"
        if result.known:
            pytest.xfail(text)
        if result.property.level == "SHOULD":
            warnings.warn(text, ContractWarning, stacklevel=2)
            return
        pytest.fail(text, pytrace=False)


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
    """An item for each property and method, of each test that asks for the fixture."""
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
            for method in item.methods
        ],
        indirect=True,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the items of a server that was named on the command line."""
    if config.getoption(f"{_OPTION}-url") and not any(_FIXTURE in _fixtures(item) for item in items):
        path = Path(__file__).with_name("contract_items.py")
        module: pytest.Module = pytest.Module.from_parent(session, path=path, nodeid=_NAME)  # pyright: ignore[reportUnknownMemberType]  # pytest leaves its keywords untyped
        items.extend(session.genitems(module))


@pytest.fixture(scope="session")
def contract_target(pytestconfig: pytest.Config) -> Any:
    """The server to test: a URL or an ASGI application. By default what `--prebuilds-contract-url` names."""
    url = pytestconfig.getoption(f"{_OPTION}-url")
    if not url:
        pytest.fail(f"which server? Give {_OPTION}-url=URL, or define the fixture `contract_target`", pytrace=False)
    return url


@pytest.fixture(scope="session")
def contract_options(pytestconfig: pytest.Config) -> Options:
    """How to test it: `prebuilds.contract.Options`. By default what the command line says.

    The target and the properties to look at are filled in later.
    """
    from prebuilds.contract.findings import read_known
    from prebuilds.contract.runner import Options

    def given(name: str) -> Any:
        return pytestconfig.getoption(f"{_OPTION}-{name}")

    options = Options(
        projects=tuple(given("project")),
        environment_classes=tuple(given("class")),
        mode=given("mode"),
        seed=given("seed"),
        assumptions=given("assumptions"),
        known=read_known(given("known-failing")) if given("known-failing") else (),
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
    """What came of testing the server: `prebuilds.contract.Report`. It is tested when this is first asked for."""
    from prebuilds.contract.runner import is_local, run
    from prebuilds.contract.transports import AsgiTransport

    # What was not chosen is not looked at; a suite's own choice counts for more.
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


@pytest.fixture
def prebuild_contract(request: pytest.FixtureRequest, contract_report: Report) -> ContractItem:
    """One property for one method. A test that asks for it becomes an item for each of them."""
    name, method = request.param
    return ContractItem(name, method, contract_report)


def _wanted(session: pytest.Session) -> tuple[str, ...]:
    """The properties of the items that are to be run."""
    functions = [item for item in session.items if isinstance(item, pytest.Function)]
    params: list[Any] = [item.callspec.params[_FIXTURE] for item in functions if _FIXTURE in _fixtures(item)]
    return tuple(sorted({name for name, _ in params}))


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []
