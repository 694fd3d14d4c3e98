"""The test that `--prebuilds-contract-url` adds to a run."""

from __future__ import annotations

from .contract import ContractItem


def test_contract(prebuild_contract: ContractItem) -> None:
    """The server keeps a property for a method."""
    prebuild_contract.check()
