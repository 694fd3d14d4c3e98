import pkgutil
from importlib import import_module

import pytest

import prebuild_wire
import prebuilds

# What is imported in the course of the tests as well, and cannot be imported a second time.
OTHERS = ("google._upb._message", "httpcore")


@pytest.fixture(scope="session")
def loaded() -> None:
    """Everything is imported that can be."""
    for package in (prebuild_wire, prebuilds):
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
