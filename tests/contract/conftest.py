import os

import pytest


@pytest.fixture(scope="package", autouse=True)
def _ledgers_need_not_outlive_the_machine():
    """The kit has each line of its ledger written to the disk, which takes longer than all else that it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
