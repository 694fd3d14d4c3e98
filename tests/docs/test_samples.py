"""Every sample of the documentation runs as it is printed, against the emulator."""

from __future__ import annotations

import re

import pytest

from prebuilds import PrebuildClient
from tests.cli.conftest import PROJECT

from .reader import Reader
from .samples import BLOCKS, ROOT, STANDALONE, TYPED, typed_samples

pytest_plugins = ["pytester"]

# Plugins that take long to load and that the samples do not use.
UNUSED_PLUGINS = ("cacheprovider", "schemathesis", "hypothesispytest", "randomly", "xdist")


@pytest.fixture(scope="session")
def loaded() -> None:
    """The sample tests run in a process of their own, so nothing has to be imported here."""


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_the_samples_of_a_page_run_in_order(page: str, reader: Reader):
    with PrebuildClient() as client:
        if page not in STANDALONE:
            prebuild = client.prebuilds.retrieve(prebuild_id=reader.variables["ID"]).prebuild
            reader.session |= {"client": client, "project": PROJECT, "prebuild": prebuild}
        for block in BLOCKS[page]:
            reader.follow(block)
    for name in ("resources", "client"):
        if hasattr(opened := reader.session.get(name), "close"):
            opened.close()


def test_the_sample_tests_pass(pytester: pytest.Pytester):
    """One run for the tests of all pages and examples, next to the scripts that they import."""
    samples = [block.text for blocks in BLOCKS.values() for block in blocks if block.is_test]
    scripts = {
        block.title.removesuffix(".py"): block.text
        for blocks in BLOCKS.values()
        for block in blocks
        if block.language == "python" and block.title and not block.is_test
    }
    for path in (ROOT / "examples").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name.startswith("test_"):
            samples.append(text)
        else:
            scripts[path.stem] = text
    pytester.makepyfile(**scripts, **{f"test_sample_{number}": sample for number, sample in enumerate(samples)})
    # A process of its own: this one has loaded modules that these tests would load a second time.
    without = [option for name in UNUSED_PLUGINS for option in ("-p", f"no:{name}")]
    # Of the contract tests, a few show that the gateway is tested.
    chosen = ("-k", "not test_contract or required-fields or echo")
    result = pytester.runpytest_subprocess(*without, *chosen, "--strict-markers", "-W", "error", timeout=60)
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] > sum(sample.count("def test_") for sample in samples)


def test_type_checkers_read_the_samples():
    assert TYPED.read_text(encoding="utf-8") == typed_samples(), (
        "Run `python -m tests.docs.samples` and commit the file."
    )


def test_samples_begin_at_the_margin():
    """An indented block is not found by the tests above."""
    for page in BLOCKS:
        assert not re.search(r"^ +```(python|console)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE), page
