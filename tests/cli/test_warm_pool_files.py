"""`warm-pool apply`: the file, the plan, and a year of a schedule."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from prebuilds.cli.pool_files import Size, read_pools

from .conftest import CLASS, OTHER, PROJECT, Run, Service

BERLIN = ZoneInfo("Europe/Berlin")


def test_the_second_run_only_reads(cli: Run, service: Service, pools_file):
    file = pools_file(f"pools:\n- {{project: {PROJECT}, class: {CLASS}, min: 1, max: 3}}\n")
    plan = cli("warm-pool", "apply", file)
    assert (plan.code, plan.lines[0].split("\t")[:3]) == (0, ["+", "create", "1..3"])
    assert service.writes() == []
    assert cli("warm-pool", "apply", file, "--yes").code == 0
    service.control.forget_requests()
    again = cli("warm-pool", "apply", file, "--yes")
    assert (again.code, again.lines[0].split("\t")[:3]) == (0, ["=", "keep", "1..3"])
    assert "nothing to change" in again.err
    assert {each.method for each in service.control.requests()} == {"ListWarmPools"}


def test_pools_are_resized_and_those_not_listed_deleted(cli: Run, service: Service, pools_file, terminal: Run):
    first = cli("warm-pool", "create", PROJECT, "--class", CLASS, "--min", "0", "--max", "1", "-o", "id").out.strip()
    second = cli("warm-pool", "create", PROJECT, "--class", OTHER, "--min", "0", "--max", "1", "-o", "id").out.strip()
    kept = cli("warm-pool", "create", OTHER, "--class", CLASS, "--min", "0", "--max", "1", "-o", "id").out.strip()
    file = pools_file(f"pools: [{{project: {PROJECT.upper()}, class: {CLASS}, min: 2, max: 4}}]")
    shown = terminal("warm-pool", "apply", file).plain
    assert "0..1 -> 2..4" in shown
    assert second not in shown
    done = cli("warm-pool", "apply", file, "--delete-others", "-p", PROJECT, "--yes", "--json")
    assert [(each["action"], each["warmPoolId"]) for each in json.loads(done.out)] == [
        ("resize", first),
        ("delete", second),
    ]
    living = json.loads(cli("warm-pool", "list", "--json").out)
    assert {each["id"] for each in living if each["status"]["phase"] != "WARM_POOL_PHASE_DELETING"} == {first, kept}
    # The place of a pool that drains is taken: a new one waits for it.
    file = pools_file(f"pools: [{{project: {PROJECT}, class: {OTHER}, min: 1, max: 1}}]")
    assert cli("warm-pool", "apply", file, "--yes").code == 0


SCHEDULED = "pools: [{{project: p, class: c, min: 1, max: 2, schedule: {{time_zone: UTC, sizes: [{}]}}}}]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pools: {", "not valid YAML"),
        ("other: []", "unknown key 'other', expected pools"),
        ("pools: 5", "pools: expected a list, found '5'"),
        ("pools: [{project: p, class: c, min: 1}]", "pools[0]: missing key 'max'"),
        ("pools: [{project: p, class: c, min: 1, max: x}]", "pools[0].max: expected a whole number"),
        ("pools: [{project: p, class: c, min: 3, max: 2}]", "pools[0].max: expected at least 1, and at least the min"),
        ("pools: [{project: p, class: c, min: 1, max: 2, size: 1}]", "unknown key 'size'"),
        ("pools: [{project: p, project: q, class: c, min: 1, max: 2}]", "'project' occurs twice"),
        ("a: &a [1]\npools: [*a]", "aliases are not supported"),
        (
            "pools: [{project: p, class: c, min: 1, max: 2}, {project: P, class: C, min: 1, max: 2}]",
            "one pool for each",
        ),
        ("pools: [{project: p, class: c, min: 1, max: 2, schedule: {time_zone: Mars, sizes: []}}]", "Europe/Berlin"),
        (SCHEDULED.format("{days: fun, min: 1, max: 1}"), "sizes[0].days: expected weekdays such as mon-fri"),
        (SCHEDULED.format("{from: 25:00, min: 1, max: 1}"), "sizes[0].from: expected a time such as 08:00"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(cli: Run, service: Service, pools_file, text: str, said: str):
    done = cli("warm-pool", "apply", pools_file(text))
    assert done.code == 2
    assert said in done.err
    assert service.control.requests() == []


SCHEDULE = """
pools:
  - project: p
    class: c
    min: 0
    max: 1
    schedule:
      time_zone: Europe/Berlin
      sizes:
        - {days: "mon-fri", from: 08:00, to: 18:00, min: 2, max: 6}
        - {days: [sat, sun], from: 02:00, to: 03:00, min: 3, max: 3}
        - {days: fri-sat, from: 22:00, to: 01:30, min: 1, max: 2}
"""


def test_a_year_of_a_schedule_follows_the_clock_on_the_wall(tmp_path: Path):
    path = tmp_path / "pools.yaml"
    path.write_text(SCHEDULE)
    (pool,) = read_pools(path)
    sizes: Counter[str] = Counter()
    weekends: dict[str, int] = {}
    moment = datetime(2030, 1, 1, tzinfo=BERLIN).astimezone(UTC)
    end = datetime(2031, 1, 1, tzinfo=BERLIN).astimezone(UTC)
    while moment < end:
        local = moment.astimezone(BERLIN)
        size = pool.size_at(moment)
        sizes[str(size)] += 1
        if size == Size(3, 3):
            weekends[f"{local:%m-%d}"] = weekends.get(f"{local:%m-%d}", 0) + 1
        moment += timedelta(minutes=30)
    days = [datetime(2030, 1, 1) + timedelta(days=number) for number in range(365)]  # noqa: DTZ001
    # Ten hours on each working day, whatever the season.
    assert sizes["2..6"] == 2 * 10 * sum(day.weekday() < 5 for day in days)
    # Three and a half hours from each Friday and Saturday evening on.
    assert sizes["1..2"] == 7 * sum(day.weekday() in (4, 5) for day in days)
    # On 31 March there is no hour from two to three, on 27 October there are two.
    expected = {f"{day:%m-%d}": 2 for day in days if day.weekday() > 4}
    del expected["03-31"]
    expected["10-27"] = 4
    assert weekends == expected
    assert sum(sizes.values()) == 2 * 365 * 24


def test_apply_gives_the_size_of_the_hour_through_both_changes_of_the_clock(cli: Run, service: Service, pools_file):
    file = pools_file(SCHEDULE.replace("project: p", f"project: {PROJECT}").replace("class: c", f"class: {CLASS}"))
    for begin in (datetime(2030, 3, 30, 21, tzinfo=UTC), datetime(2030, 10, 26, 21, tzinfo=UTC)):
        service.clock.move_to(begin)
        seen: list[str] = []
        for _ in range(6):
            assert cli("warm-pool", "apply", file, "--yes").code == 0
            row = cli("warm-pool", "list").lines[0].split("\t")
            seen.append(row[2])
            service.clock.advance(3600)
        if begin.month == 3:  # local hours: 22, 23, 0, 1, 3, 4
            assert seen == ["1..2", "1..2", "1..2", "1..2", "0..1", "0..1"]
        else:  # local hours: 23, 0, 1, 2, 2, 3
            assert seen == ["1..2", "1..2", "1..2", "3..3", "3..3", "0..1"]
