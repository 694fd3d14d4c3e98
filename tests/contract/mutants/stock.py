"""What schemathesis finds by itself, as it comes: its own checks, its own configuration, nothing of ours.

It raises alarms on the emulator, which is correct. What it says of a mutant counts only where it does not say the
same of the emulator.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import schemathesis
from hypothesis.errors import HypothesisWarning
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from prebuilds.contract.formats import register_formats, schema_document
from prebuilds.contract.machine import without_files

from .base import TOKEN, Server

Alarm = tuple[str, str, str]
"""An operation, a check that it failed, and how."""


def alarms(server: Server, seed: int, examples: int) -> set[Alarm]:
    """What schemathesis says of a server.

    Args:
        server: the server. It is not closed.
        seed: the seed.
        examples: how many requests it makes up for each method in each of its random phases.
    """
    found: set[Alarm] = set()
    for recorder in _recorders(server.app, seed, examples):
        for case_id, nodes in recorder.checks.items():
            for node in nodes:
                if node.status.value == "failure":
                    label = recorder.cases[case_id].value.operation.label
                    failure = node.failure_info.failure if node.failure_info else None
                    found.add((label, node.name, type(failure).__name__))
    return found


def _recorders(app: Any, seed: int, examples: int) -> Iterator[ScenarioRecorder]:
    """A whole run of schemathesis in process: what it has sent and checked, in parts."""
    register_formats()
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "base-url": "http://emulator.test",
            "continue-on-failure": True,
            "cache": {"enabled": False},
            "generation": {"max-examples": examples, "database": "none"},
        }
    )
    schema = schemathesis.openapi.from_dict(schema_document(), config=config)
    schema.app = app
    with without_files(), warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        for event in from_schema(schema).execute():
            recorder = getattr(event, "recorder", None)
            if recorder is not None:
                yield recorder


@cache
def usual_alarms(examples: int, seeds: tuple[int, ...]) -> frozenset[Alarm]:
    """What schemathesis says of the emulator, on any of the seeds."""
    found: set[Alarm] = set()
    for seed in seeds:
        server = Server()
        try:
            found |= alarms(server, seed, examples)
        finally:
            server.close()
    return frozenset(found)
