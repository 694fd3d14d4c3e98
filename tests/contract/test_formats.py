"""schemathesis generates requests that keep the bounds of the schema's own formats."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from prebuild_wire.formats import FORMATS
from prebuild_wire.models import CreatePrebuildRequest
from prebuild_wire.scalars import PARSERS, Format
from prebuilds.contract import format_strategy, register_formats, schema_document

CREATE = "/gitpod.v1.PrebuildService/CreatePrebuild"

EXAMPLES = settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))

DECLARED = {
    "int64": Format("int64"),
    "uint64": Format("uint64"),
    "duration": Format("protobuf-duration"),
    "small": Format("int64", "-3", "12"),
    "moment": Format("date-time", "2020-01-01T00:00:00Z", "2020-12-31T00:00:00Z"),
    **FORMATS,
}


@pytest.mark.parametrize("declared", DECLARED.values(), ids=DECLARED.keys())
def test_what_is_generated_is_of_the_format(declared):
    @EXAMPLES
    @given(format_strategy(declared))
    def check(text):
        declared.parse(text)

    check()


@pytest.mark.parametrize("text", ["300s", "7200s"])
def test_both_bounds_are_generated(text):
    assert find(format_strategy(FORMATS["prebuild-timeout"]), lambda found: found == text or None, settings=EXAMPLES)


def test_a_format_without_an_order_has_no_strategy():
    with pytest.raises(ValueError, match="uuid"):
        format_strategy(Format("uuid"))


def requests(*, registered):
    document = schema_document()
    if not registered:  # what schemathesis would make of it by itself
        spec = document["components"]["schemas"]["PrebuildSpec"]["properties"]
        for name in ("timeout", "specVersion"):
            spec[name]["format"] = "unknown-to-schemathesis"
    operation = schemathesis.openapi.from_dict(document)[CREATE]["POST"]
    return operation.as_strategy().map(lambda case: case.body)


def test_generated_requests_are_valid():
    register_formats()

    @EXAMPLES
    @given(requests(registered=True))
    def check(body):
        CreatePrebuildRequest.model_validate(body)

    check()


def test_without_the_formats_they_are_not():
    """The test above would be worth nothing if schemathesis left the timeout out, or guessed it."""
    body = find(
        requests(registered=False),
        lambda body: isinstance(body.get("spec", {}).get("timeout"), str),
        settings=settings(EXAMPLES, phases=[Phase.generate]),
        random=None,
    )
    with pytest.raises(ValueError, match="duration"):
        PARSERS["protobuf-duration"](body["spec"]["timeout"])


@settings(EXAMPLES, max_examples=5)
@given(st.data())
def test_registering_twice_changes_nothing(data):
    register_formats()
    register_formats()
    CreatePrebuildRequest.model_validate(data.draw(requests(registered=True)))
