"""The rows, the goals, the clients' scripts and the server agree. What is measured is up to `make peers`."""

from __future__ import annotations

import ast
import gzip
import json

import pytest
from google.protobuf.json_format import MessageToDict

from prebuild_wire.descriptors import response_class

from . import __main__ as program
from .clients.measuring import PREBUILD_ID
from .goals import GOALS, ROWS, Goal, judged
from .runs import CLIENTS, SCRIPTS
from .server import Server, responses
from .starting import PROGRAMS
from .table import summary, verdict_line

GOAL = Goal("get", "default", "stainless", 0.5)
SERVER = Server(url="http://127.0.0.1:1", tls_url="https://127.0.0.1:1")


def rows_of(script: str) -> set[str]:
    """The keywords of a script's call of `measure`. The script cannot be imported: its client is not installed here."""
    calls = (node for node in ast.walk(ast.parse((CLIENTS / script).read_text("utf-8"))) if isinstance(node, ast.Call))
    (measure,) = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "measure")
    return {str(keyword.arg) for keyword in measure.keywords}


def test_each_goal_compares_two_sides_of_its_row():
    for goal in GOALS:
        assert {goal.side, goal.yardstick} <= set(ROWS[goal.row].sides), goal


def test_each_row_has_a_goal_for_the_engines_that_it_measures():
    for name, row in ROWS.items():
        assert {goal.side for goal in GOALS if goal.row == name} == {"default", "fast"} & set(row.sides), name


def test_each_row_can_be_chosen_alone():
    for name in ROWS:
        assert [other for other in ROWS if name in other] == [name]


def test_each_side_can_be_measured_in_its_rows():
    for row in ROWS.values():
        for side in row.sides:
            assert row.call in rows_of(SCRIPTS[side][1]) if row.call else side in PROGRAMS


def test_a_goal_is_met_up_to_its_limit():
    at_the_limit = judged(GOAL, {"default": [1.0, 5.0, 9.0], "stainless": [10.0, 9.0, 12.0]})
    assert (at_the_limit.ratio, at_the_limit.missed) == (0.5, False)
    assert (at_the_limit.lowest, at_the_limit.highest) == (0.1, 0.75)
    assert verdict_line(at_the_limit).endswith(" met")
    above = judged(GOAL, {"default": [5.1], "stainless": [10.0]})
    assert above.missed
    assert verdict_line(above).endswith("MISSED")


def test_a_side_that_is_not_installed_misses_no_goal():
    unknown = judged(Goal("get", "fast", "connect", 1.0), {"connect": [1.0]})
    assert not unknown.missed
    assert verdict_line(unknown).endswith("not measured")
    assert summary([unknown]) == "Goals: 0 met, 0 missed, 1 not measured."


@pytest.mark.parametrize(("seconds", "code"), [(0.1, 0), (0.9, 1)])
def test_the_exit_code_and_the_summary_tell_of_a_missed_goal(seconds, code, monkeypatch, capsys):
    def measured(name, sides, server, rounds):
        return {side: [seconds if side == "default" else 1.0] * rounds for side in sides}

    monkeypatch.setattr(program, "measured", measured)
    assert program.compare(["get", "start"], SERVER, rounds=2, absence="there is no such extra") == code
    printed = capsys.readouterr().out
    assert ("MISSED: GetPrebuild: ours, default engine / Stainless: 0.90x, at most 0.50x" in printed) == bool(code)
    assert "The fast engine is not installed: there is no such extra" in printed


def test_the_server_returns_the_same_messages_in_every_form():
    found = responses()
    assert len(found) == 8
    for (method, content_type, packed), response in found.items():
        head, _, body = response.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert (b"Content-Encoding: gzip" in head) == packed
        content = gzip.decompress(body) if packed else body
        message = json.loads(content) if content_type == "application/json" else parsed(method, content)
        items = message["prebuilds"] if method == "ListPrebuilds" else [message["prebuild"]]
        assert items[0]["id"] == PREBUILD_ID
        assert len(items) == (100 if method == "ListPrebuilds" else 1)
        assert "nextToken" not in message.get("pagination", {})


def parsed(method, content):
    return MessageToDict(response_class(method).FromString(content))
