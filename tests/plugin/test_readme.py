"""The README's samples of tests pass, as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SAMPLES = [sample for sample in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "def test_" in sample]


# Plugins of others that take their time to load, and do nothing here.
OTHERS = ("schemathesis", "hypothesispytest", "randomly", "xdist")


@pytest.fixture(scope="session")
def loaded() -> None:
    """Nothing: the tests run in a process of their own."""


def test_a_sample_of_tests_passes(pytester: pytest.Pytester):
    assert SAMPLES
    pytester.makepyfile(*SAMPLES)
    # A process of its own: in this one, what other tests have loaded would be loaded a second time beside it.
    without = [option for name in ("cacheprovider", *OTHERS) for option in ("-p", f"no:{name}")]
    result = pytester.runpytest_subprocess(*without, "--strict-markers", "-W", "error", timeout=60)
    result.assert_outcomes(passed=sum(sample.count("def test_") for sample in SAMPLES))
