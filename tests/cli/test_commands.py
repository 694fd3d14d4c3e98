"""Each command through a pipe, and on real terminals of 80 and 120 columns."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.cells import cell_len

from prebuilds.emulator import DropFault, Outcome

from .conftest import CLASS, MISSING, OTHER, PROJECT, Run, Service


def test_list_prints_the_newest_first_and_filters(cli: Run, service: Service):
    old = service.completed()
    service.clock.advance(3 * 86_400)
    service.control.plan_outcome(Outcome(fails_in="RUNNING", message="no space left"))
    failed = service.completed(OTHER)
    newest = service.create()
    assert cli("list", "-o", "id").lines == [newest, failed, old]
    assert cli("list", "--phase", "FAILED", "--phase", "completed", "-o", "id").lines == [failed, old]
    assert cli("list", "-p", PROJECT, "--since", "2d", "-o", "id").lines == [newest]
    assert cli("list", "--project-id", PROJECT, "--class", CLASS, "-L", "1", "-o", "id").lines == [newest]
    assert cli("list", "--since", "2029-01-01", "--trigger", "manual", "--all", "-o", "id").lines == [
        newest,
        failed,
        old,
    ]
    row = cli("list", "-p", OTHER).lines[0].split("\t")
    assert (row[0], row[1], row[-1]) == (failed, "FAILED", "failure: no space left")


def test_a_list_of_more_projects_than_a_filter_can_name_is_merged(cli: Run, service: Service):
    projects = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 28)]
    made = [service.create(project) for project in (projects[26], projects[0], projects[13])]
    # The emulator creates them at the same moment unless its time moves on.
    assert set(cli("list", "-p", "-", "-o", "id", stdin="\n".join(projects)).lines) == set(made)


def test_get_prints_one_array_and_goes_on_after_an_error(cli: Run, service: Service):
    made = service.create()
    (found,) = json.loads(cli("get", made, "--json").out)
    assert found["id"] == made
    done = cli("get", MISSING, made, "-o", "id")
    assert (done.code, done.lines) == (7, [made])
    assert done.err.startswith("prebuilds: not_found")
    assert MISSING in done.err
    assert len(done.err.splitlines()) == 1
    assert cli("get", MISSING).code == 5
    assert cli("get", "-", "-o", "id", stdin=f"\ufeff# ids\r\n{made} a comment\r\n\n").lines == [made]


def test_status_says_how_fresh_a_project_is(cli: Run, service: Service):
    completed = service.completed()
    service.control.plan_outcome(Outcome(fails_in="RUNNING", message="out of memory"))
    service.completed()
    active = service.create()
    done = cli("status", PROJECT, OTHER, "-o", "json")
    fresh, empty = json.loads(done.out)
    assert (done.code, fresh["state"], fresh["latestCompleted"]["id"]) == (0, "FAILED", completed)
    assert [each["id"] for each in fresh["active"]] == [active]
    assert empty["state"] == "NONE"
    assert cli("status", PROJECT, "--max-age", "26h").code == 0
    service.clock.advance(27 * 3600)
    assert cli("status", PROJECT, "--max-age", "26h").code == 1


def test_create_prints_the_id_first_and_waits(cli: Run, service: Service):
    done = cli("create", PROJECT, "--class", CLASS, "--prebuild-timeout", "2h", "--wait")
    (made,) = done.lines
    assert done.code == 0
    prebuild = service.client.prebuilds.retrieve(prebuild_id=made).prebuild
    assert (prebuild.spec.timeout, prebuild.status.phase.name) == ("7200s", "COMPLETED")
    assert f"{made} COMPLETED" in done.err


@pytest.mark.parametrize(
    ("outcome", "options", "code", "said"),
    [
        (Outcome(fails_in="RUNNING", message="no space left"), [], 1, "no space left"),
        (Outcome(stalls_in="STARTING"), ["--stalled-after", "10m"], 6, "has not changed"),
        (Outcome(stalls_in="STARTING"), ["--max-wait", "90s"], 6, "after 90 s"),
        (Outcome(warning="the dev container did not build"), ["-q"], 0, "warning: "),
    ],
)
def test_create_ends_with_the_code_of_the_outcome(cli: Run, service: Service, outcome, options, code, said):
    service.control.plan_outcome(outcome)
    done = cli("trigger", PROJECT, "--wait", *options)
    assert done.code == code
    assert said in done.err


def test_create_for_programs_prints_the_object_at_the_end_and_the_id_to_standard_error(cli: Run, service: Service):
    active = service.create()
    done = cli("create", PROJECT, "--cancel-active", "--logs", "--json")
    (made,) = json.loads(done.out)
    assert made["status"]["phase"] == "PREBUILD_PHASE_COMPLETED"
    assert done.err.index(f"cancelled {active}") < done.err.index(f"created {made['id']}")
    assert "task output, line 3" in done.err


def test_create_makes_one_prebuild_of_each_class_and_never_repeats_a_lost_request(cli: Run, service: Service):
    done = cli("create", PROJECT, "--class", CLASS, "--class", OTHER)
    made = {str(each.id): each.metadata.environment_class_id for each in service.client.prebuilds.list()}
    assert {each: made[each] for each in done.lines} == dict(zip(done.lines, (CLASS, OTHER), strict=True))
    service.control.plan_fault(DropFault(method="CreatePrebuild", when="after"))
    lost = cli("create", OTHER)
    assert (lost.code, lost.out) == (1, "")
    assert f"the prebuild may exist; to look for it: prebuilds list -p {OTHER}" in lost.err
    assert len(cli("list", "-p", OTHER, "-o", "id").lines) == 1


def test_wait_and_watch_follow_to_the_end(cli: Run, service: Service):
    first, second = service.create(), service.create(OTHER)
    assert cli("wait", first, "--until", "running", "-o", "id").code == 0
    service.client.prebuilds.cancel(prebuild_id=second)
    done = cli("watch", first, second)
    assert done.code == 7
    phases = [line.split("\t")[1] for line in done.lines if line.startswith(first)]
    assert phases[-1] == "COMPLETED"
    assert len(phases) == len(set(phases)) > 2
    assert cli("wait", second).code == 3
    assert "no prebuild is active" in cli("watch", "-p", PROJECT).err


def test_logs_are_printed_or_written_to_a_file(cli: Run, service: Service, tmp_path):
    made = service.completed()
    printed = cli("logs", made, "--no-follow")
    assert printed.code == 0
    assert any("task output" in line for line in printed.lines)
    file = tmp_path / "log"
    assert cli("logs", made, "--timestamps", "--output-file", str(file)).out == ""
    assert file.read_text().startswith("2030-01-01T00:10:00Z ")


def test_cancel_delete_and_prune(cli: Run, service: Service, terminal: Run):
    old = [service.completed() for _ in range(4)]
    active = service.create()
    assert cli("cancel", "--active", "-p", PROJECT, "-p", OTHER, "-o", "id").lines == [active]
    assert service.phase(active) == "CANCELLING"
    assert cli("cancel", old[0]).code == 1
    assert cli("prune", "-p", PROJECT, "--keep", "3", "--dry-run", "-o", "id").lines == [old[0]]
    refused = cli("prune", "-p", PROJECT, "--keep", "3")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert "COMPLETED" in service.phase(old[0])
    assert terminal("prune", "-p", PROJECT, "--keep", "3", typed="n\n").code == 130
    assert cli("prune", "-p", PROJECT, "--keep", "3", "--older-than", "7d", "--yes").out == ""
    assert terminal("prune", "-p", PROJECT, "--keep", "3", typed="y\n").code == 0
    assert "DELET" in service.phase(old[0])
    assert cli("delete", old[1], MISSING, "-y", "-o", "id").lines == [old[1]]
    assert cli("delete", "-", "--yes", stdin="").code == 0


def test_the_life_of_a_warm_pool(cli: Run, service: Service):
    service.completed()
    (pool,) = cli("warm-pool", "create", PROJECT, "--class", CLASS, "--min", "1", "--max", "2", "-o", "id").lines
    assert cli("warm-pool", "wait", pool).code == 0
    assert cli("warm-pool", "ensure", PROJECT, "--class", CLASS, "--min", "2", "--max", "4", "-o", "id").lines == [pool]
    assert cli("warm-pool", "update", pool, "--min", "0").lines[0].split("\t")[2] == "0..4"
    assert cli("warm-pool", "list", "-p", PROJECT, "--class", CLASS, "-o", "id").lines == [pool]
    assert json.loads(cli("warm-pool", "get", pool, "--json").out)[0]["spec"]["maxSize"] == 4
    assert cli("warm-pool", "create", PROJECT, "--class", CLASS).code == 1
    assert cli("warm-pool", "delete", pool, "--yes").code == 0
    assert cli("warm-pool", "wait", pool, "--until", "deleted").code == 0
    assert cli("warm-pool", "get", MISSING).code == 5


def test_call_reaches_every_method_and_pages(cli: Run, service: Service, tmp_path):
    made = [service.create() for _ in range(3)]
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"prebuildId": made[0]}))
    assert json.loads(cli("call", "GetPrebuild", f"@{request}").out)["prebuild"]["id"] == made[0]
    assert json.loads(cli("call", "cancelprebuild", "-", stdin=request.read_text()).out)["prebuild"]["id"] == made[0]
    page = cli("call", "ListPrebuilds", '{"pagination": {"pageSize": 1}}')
    assert len(json.loads(page.out)["prebuilds"]) == 1
    every = cli("call", "ListPrebuilds", '{"pagination": {"pageSize": 1}}', "--paginate", "--json")
    assert {each["id"] for each in json.loads(every.out)} == set(made)
    for arguments in (
        ["GetPrebuild"],
        ["GetPrebuild", "[]"],
        ["GetPrebuild", "{"],
        ["Nothing"],
        ["GetPrebuild", "@/no"],
    ):
        assert cli("call", *arguments).code in (1, 2)


@pytest.mark.parametrize(("columns", "encoding"), [(80, "utf-8"), (120, "utf-8"), (80, "cp1252"), (120, "ascii")])
def test_every_command_fits_the_terminal(terminal: Run, service: Service, columns: int, encoding: str, pools_file):
    service.control.plan_outcome(Outcome(warning="das Gerät \u2713 \u4e2d\u6587 " * 20))
    made = service.completed()
    pool = service.client.prebuilds.create_warm_pool(
        project_id=PROJECT, environment_class_id=CLASS, min_size=1, max_size=2
    ).warm_pool.id
    file = pools_file(f"pools: [{{project: {OTHER}, class: {CLASS}, min: 1, max: 2}}]")
    commands = [
        ["list"],
        ["status", PROJECT],
        ["wait", made],
        ["watch", made],
        ["logs", made],
        ["create", OTHER, "--wait"],
        ["cancel", "--active", "-p", OTHER],
        ["prune", "-p", PROJECT, "--keep", "0", "--dry-run"],
        ["warm-pool", "list"],
        ["warm-pool", "get", str(pool)],
        ["warm-pool", "update", str(pool), "--max", "3"],
        ["warm-pool", "ensure", PROJECT, "--class", CLASS, "--max", "4"],
        ["warm-pool", "wait", str(pool)],
        ["warm-pool", "apply", file],
        ["refresh", OTHER],
    ]
    for command in commands:
        done = terminal(*command, columns=columns, encoding=encoding)
        assert done.code == 0, (command, done.out)
        # Standard error is for lines of any length; a table is not.
        tables = [line for line in done.plain.splitlines() if made in line or "ID  " in line or "PROJECT" in line]
        assert all(cell_len(line) <= columns for line in tables if "warning: " not in line), (command, done.plain)
    details = terminal("get", made, columns=columns, encoding=encoding)
    assert "status.phase" in details.plain


def test_a_long_command_shows_a_person_how_far_it_is(terminal: Run, cli: Run, service: Service):
    made = [service.create() for _ in range(20)]
    shown = terminal("cancel", *made).plain
    assert "20/20" in shown
    assert all(each in shown for each in made)
    assert cli("cancel", *made).err == ""


def test_bytes_that_are_no_text_are_an_error_like_any_other(cli: Run, service: Service, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"\xff\n" + PROJECT.encode())
    done = cli("refresh", "--projects-from", str(file))
    assert done.code == 7
    assert [line.split("\t")[3] for line in done.lines] == ["refused", "completed"]
    assert "\\xff" in done.lines[0]
    assert cli("call", "GetPrebuild", f"@{file}").code == 1
    file.write_bytes(b"\xff: [")
    assert cli("warm-pool", "apply", str(file)).code == 2


def test_colours_are_for_terminals_that_want_them(terminal: Run, cli: Run, service: Service, monkeypatch):
    service.completed()
    assert "\x1b[32mCOMPLETED" in terminal("list").out
    assert "\x1b" not in terminal("list", "--no-color").out
    assert "\x1b" not in cli("list").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in terminal("list").out


HOSTILE = "\x1b]0;title\x07\x9b31m\u202eevil\ttab\nline \ud800"


def test_text_of_the_service_controls_nothing(terminal: Run, cli: Run, service: Service):
    service.control.plan_outcome(Outcome(fails_in="RUNNING", message=HOSTILE.replace("\ud800", "")))
    made = service.completed()
    for command in (["list"], ["get", made], ["get", made, "--json"], ["status", PROJECT], ["wait", made]):
        shown = terminal(*command, "--no-color").out
        assert not set(shown) & set("\x1b\x07\x9b\u202e"), command
    row = cli("list").lines
    assert len(row) == 1
    assert row[0].count("\t") == 7
    # A program gets the text as it is.
    (found,) = json.loads(cli("get", made, "--json").out)
    assert found["status"]["failureMessage"] == HOSTILE.replace("\ud800", "")


def test_csv_is_flat_and_safe_for_spreadsheets(cli: Run, service: Service):
    service.control.plan_outcome(Outcome(fails_in="RUNNING", message='=1+1,"quoted"\nline'))
    made = service.completed()
    (row,) = csv.DictReader(io.StringIO(cli("list", "-o", "csv").out))
    assert row["id"] == made
    assert row["metadata.createdAt"] == "2030-01-01T00:00:00Z"
    assert row["status.failureMessage"] == '\'=1+1,"quoted" line'
    assert json.loads(cli("list", "-o", "jsonl").lines[0])["id"] == made
    assert json.loads(cli("list", "--phase", "deleted", "--json").out) == []


def test_json_in_ascii_escapes_what_the_encoding_lacks(cli: Run, service: Service):
    service.control.plan_outcome(Outcome(warning="Gerät \U0001f600"))
    made = service.completed()
    (found,) = json.loads(cli("get", made, "--json", encoding="ascii").out)
    assert found["status"]["warningMessage"] == "Gerät \U0001f600"
