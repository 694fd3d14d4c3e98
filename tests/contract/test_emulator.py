"""The emulator keeps the contract: an item for each property and each method that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .mutants.base import TOKEN, Server

# One worker tests the server for all of them.
pytestmark = pytest.mark.xdist_group("contract")


@pytest.fixture(scope="session")
def contract_target():
    server = Server()
    yield server.app
    server.close()


@pytest.fixture(scope="session")
def contract_options(contract_options):
    return replace(contract_options, token=TOKEN, assumptions=True)


def test_contract(prebuild_contract):
    prebuild_contract.check()


def test_nothing_is_left_out(contract_report):
    """A property that nobody has seen kept is no property."""
    assert [(result.property.name, result.method, result.why) for result in contract_report.not_tested] == []
    assert contract_report.exit_code == 0
