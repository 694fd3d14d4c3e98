import gc
import pkgutil
import shlex
import ssl
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import pytest

import prebuild_api
import prebuild_wire
import prebuilds

# Modules that the tests import along the way, and that cannot be imported a second time.
OTHERS = ("google._upb._message", "httpcore")

RERUNS = 10
"""For at most this many failed tests, the command that runs the test alone is printed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="run only the tests marked `campaign`, at full size")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "campaign(quick, full): a long test. With --campaign, only these tests run, at their full size. "
        "Without it, they run at their quick size, and those without a quick size are left out.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    campaign = config.getoption("campaign")
    chosen, others = [], []
    for item in items:
        marker = item.get_closest_marker("campaign")
        runs = marker is not None if campaign else marker is None or "quick" in marker.kwargs
        (chosen if runs else others).append(item)
    items[:] = chosen
    config.hook.pytest_deselected(items=others)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is loaded by now is there to stay: it is not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture
def size(request: pytest.FixtureRequest) -> int:
    """How much of a campaign to run: the marker's `full` with --campaign, its `quick` otherwise."""
    marker = request.node.get_closest_marker("campaign")
    return marker.kwargs["full" if request.config.getoption("campaign") else "quick"]


@pytest.fixture(scope="session", autouse=True)
def authorities() -> Iterator[None]:
    """httpx reads the certificates of all authorities for each client that is made, which takes longer than most tests.
    Here each file of them is read once. The contexts are real ones, as httpx makes them; any other is made as always.
    """
    make = ssl.create_default_context
    read = cache(make)

    def made(*arguments: Any, **options: Any) -> ssl.SSLContext:
        usual = not arguments and list(options) in (["cafile"], ["capath"])
        return (read if usual else make)(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", made)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print a command for each failed test that runs it alone, with the same random numbers."""
    failed = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])]
    tests = list(dict.fromkeys(report.nodeid for report in failed if "::" in report.nodeid))
    if not tests:
        return
    options = ["-n0"]
    if config.getoption("campaign"):
        options.append("--campaign")
    seed = config.getoption("randomly_seed", None)
    if seed is not None:
        options.append(f"--randomly-seed={seed}")
    terminalreporter.section("to run a failed test alone")
    for test in tests[:RERUNS]:
        # ARGS passes through a shell, through make, which reads a dollar sign, and through another shell.
        arguments = shlex.join([test, *options]).replace("$", "$$")
        plain = not set('"$`\\!') & set(arguments)
        quoted = f'"{arguments}"' if plain else shlex.quote(arguments)
        terminalreporter.write_line(f"make test ARGS={quoted}")
    if len(tests) > RERUNS:
        terminalreporter.write_line(f"... and {len(tests) - RERUNS} more")


@pytest.fixture(scope="session")
def loaded() -> None:
    """Everything is imported that can be."""
    for package in (prebuild_api, prebuild_wire, prebuilds):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(".__main__"):
                import_module(module.name)
    for name in OTHERS:
        import_module(name)


@pytest.fixture
def pytester(loaded: None, pytester: pytest.Pytester) -> pytest.Pytester:
    """Runs tests in this process, and forgets what they were the first to import. What is loaded again is something
    else for those who know it from before, so there must be nothing that they are the first to import.
    """
    return pytester
