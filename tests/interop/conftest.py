"""What the scripts of both clients need. It runs in their environments, which have pytest and the vendor's package."""

from __future__ import annotations

import os
import time
import uuid

import pytest

WRITER = "writer"
READER = "reader"


@pytest.fixture(scope="session")
def url():
    """Where the emulator is that `python -m tests.interop` has started."""
    return os.environ["PREBUILDS_EMULATOR_URL"]


@pytest.fixture
def project():
    """A project that no other test has."""
    return str(uuid.uuid4())


@pytest.fixture
def environment_class():
    return str(uuid.uuid4())


@pytest.fixture
def until():
    """Waits for what the emulator's time, which runs fast, brings about."""

    def until(condition):
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "this takes too long"
            time.sleep(0.02)

    return until
