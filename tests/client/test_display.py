"""How the models of the service look in `repr`, with rich and in a notebook.

The rules: tests/generator/test_api_display.py.
"""

import copy
import json
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from prebuild_api.models import (
    CreatePrebuildLogsTokenResponse,
    ListPrebuildsRequestFilter,
    Prebuild,
    PrebuildMetadata,
    PrebuildPhase,
    PrebuildSpec,
    PrebuildStatus,
    Subject,
)
from prebuild_api.types import Response, parse_timestamp

DOCUMENTED = json.loads((Path(__file__).parent / "documented" / "GetPrebuildResponse.json").read_text("utf-8"))
MOMENT = parse_timestamp("2019-12-27T18:11:19.117Z")
TOKEN = "eyJhbGciOi"


def a_bare_prebuild() -> Prebuild:
    return Prebuild(
        metadata=PrebuildMetadata(creator=Subject(), created_at=MOMENT, updated_at=MOMENT),
        spec=PrebuildSpec(),
        status=PrebuildStatus(),
    )


def test_a_bare_prebuild_is_one_short_line():
    assert repr(a_bare_prebuild()) == (
        "Prebuild(metadata=PrebuildMetadata(creator=Subject(), created_at=2019-12-27T18:11:19.117Z,"
        " updated_at=2019-12-27T18:11:19.117Z), spec=PrebuildSpec(), status=PrebuildStatus())"
    )


def test_what_is_set_is_shown():
    status = PrebuildStatus(phase=PrebuildPhase.RUNNING, snapshot_completion_percentage=0)
    assert repr(status) == "PrebuildStatus(phase=PrebuildPhase.RUNNING, snapshot_completion_percentage=0)"
    status = PrebuildStatus.from_dict({"phase": 31, "failureMessage": "", "ofNextYear": 1})
    assert repr(status) == (
        "PrebuildStatus(phase=PrebuildPhase('31'), failure_message='', additional_properties={'ofNextYear': 1})"
    )
    phases = ListPrebuildsRequestFilter(phases=[PrebuildPhase.FAILED, PrebuildPhase("NEW")])
    assert repr(phases) == "ListPrebuildsRequestFilter(phases=[PrebuildPhase.FAILED, PrebuildPhase('NEW')])"


@pytest.mark.parametrize("show", [repr, str, pretty_repr, lambda shown: shown._repr_html_()])
def test_the_token_of_a_log_is_hidden(show):
    token = CreatePrebuildLogsTokenResponse.from_dict({"access_token": TOKEN})
    assert TOKEN not in show(token)
    assert "hidden" in show(token)
    assert token.access_token == TOKEN
    assert json.loads(token.to_json()) == {"accessToken": TOKEN}
    response = Response(status_code=200, content=token.to_json().encode(), headers={}, parsed=token)
    assert TOKEN not in repr(response)


def test_rich_and_notebooks_show_every_value_of_the_documented_prebuild():
    prebuild = Prebuild.from_dict(DOCUMENTED["prebuild"])
    for shown in (repr(prebuild), pretty_repr(prebuild), prebuild._repr_html_()):
        for text in ("failureMessage", "https://example.com", "+9125115.360s", "2019-12-27T18:11:19.117Z"):
            assert text in shown


def test_a_table_is_text():
    document = copy.deepcopy(DOCUMENTED["prebuild"])
    document["status"]["failureMessage"] = "<img src=x onerror=alert(1)>"
    table = Prebuild.from_dict(document)._repr_html_()
    assert "<img" not in table
    assert "&lt;img src=x onerror=alert(1)&gt;" in table
    assert table.count("<table>") == table.count("</table>") == 6
