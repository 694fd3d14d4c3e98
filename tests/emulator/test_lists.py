from __future__ import annotations

import pytest

from .driver import ENVIRONMENT_CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, PROJECT, SERVICE


def ids(page, name="prebuilds"):
    return [item["id"] for item in page.get(name, [])]


def pages(emulator, size, **fields):
    """All pages of a list, the token of each taken from the one before."""
    token = ""
    while True:
        page = emulator.call("ListPrebuilds", pagination={"pageSize": size, "token": token}, **fields)
        yield page
        token = page.get("pagination", {}).get("nextToken", "")
        if not token:
            return


def test_an_empty_list_is_an_empty_object(emulator):
    assert emulator.call("ListPrebuilds") == {}
    assert emulator.call("ListWarmPools") == {}


def test_the_newest_comes_first(emulator):
    made = [emulator.create() for _ in range(3)]
    assert ids(emulator.call("ListPrebuilds")) == made[::-1]
    pools = [emulator.create_pool(environment_class=item) for item in (ENVIRONMENT_CLASS, OTHER_CLASS)]
    assert ids(emulator.call("ListWarmPools"), "warmPools") == pools[::-1]


@pytest.mark.parametrize("asked", [{}, {"pagination": {}}, {"pagination": {"pageSize": 0}}, {"pagination": None}])
def test_a_page_holds_25_unless_asked_otherwise(emulator, asked):
    for _ in range(26):
        emulator.create()
    page = emulator.call("ListPrebuilds", **asked)
    assert len(page["prebuilds"]) == 25
    assert page["pagination"]["nextToken"]


def test_pages_hold_everything_once_and_the_last_has_no_token(emulator):
    made = [emulator.create() for _ in range(6)]
    for size, lengths in ((1, [1] * 6), (4, [4, 2]), (3, [3, 3]), (100, [6])):
        found = list(pages(emulator, size))
        assert [len(page["prebuilds"]) for page in found] == lengths
        assert [item for page in found for item in ids(page)] == made[::-1]
        assert "pagination" not in found[-1]


def test_the_page_size_may_change_on_the_way(emulator):
    made = [emulator.create() for _ in range(5)]
    first = emulator.call("ListPrebuilds", pagination={"pageSize": 2})
    rest = emulator.call("ListPrebuilds", pagination={"pageSize": 50, "token": first["pagination"]["nextToken"]})
    assert ids(first) + ids(rest) == made[::-1]


def test_nothing_is_skipped_or_repeated_while_others_come_and_go(emulator):
    made = [emulator.create() for _ in range(12)]
    gone = {made[10], made[8], made[7], made[3]}
    seen = []
    for number, page in enumerate(pages(emulator, 2)):
        seen += ids(page)
        emulator.create()
        if number == 0:
            for prebuild_id in gone:
                emulator.call("DeletePrebuild", prebuildId=prebuild_id)
            emulator.clock.advance(200)
    assert [item for item in seen if item not in gone] == [item for item in made[::-1] if item not in gone]
    assert len(seen) == len(set(seen))


def test_filters_of_prebuilds(emulator):
    mine = emulator.create()
    emulator.http.headers["Authorization"] = "Bearer somebody else"
    theirs = emulator.create(project=OTHER_PROJECT)
    creator = emulator.prebuild(theirs)["metadata"]["creator"]["id"]

    def listed(**wanted):
        return ids(emulator.call("ListPrebuilds", filter=wanted))

    assert listed() == [theirs, mine]
    assert listed(projectIds=[PROJECT]) == [mine]
    assert listed(projectIds=[PROJECT, OTHER_PROJECT, NOBODY]) == [theirs, mine]
    assert listed(projectIds=[NOBODY]) == []
    assert listed(creatorIds=[creator]) == [theirs]
    assert listed(creatorIds=[creator], projectIds=[PROJECT]) == []
    assert listed(executorIds=[creator]) == []
    assert listed(triggeredBy=["PREBUILD_TRIGGER_MANUAL"]) == [theirs, mine]
    assert listed(triggeredBy=["PREBUILD_TRIGGER_SCHEDULED"]) == []


def test_the_filter_by_phase_sees_what_is_due(emulator):
    old = emulator.create()
    emulator.clock.advance(200)
    new = emulator.create()

    def listed(*phases):
        return ids(emulator.call("ListPrebuilds", filter={"phases": [f"PREBUILD_PHASE_{phase}" for phase in phases]}))

    assert listed("RUNNING") == [old]
    emulator.clock.advance(100)
    assert listed("COMPLETED") == [old]
    assert listed("RUNNING") == [new]
    assert listed("COMPLETED", "RUNNING") == [new, old]
    assert listed("PENDING", "FAILED") == []


def test_filters_of_pools(emulator):
    first = emulator.create_pool()
    second = emulator.create_pool(environment_class=OTHER_CLASS)
    third = emulator.create_pool(project=OTHER_PROJECT)

    def listed(**wanted):
        return ids(emulator.call("ListWarmPools", filter=wanted), "warmPools")

    assert listed(projectIds=[PROJECT]) == [second, first]
    assert listed(environmentClassIds=[ENVIRONMENT_CLASS]) == [third, first]
    assert listed(projectIds=[PROJECT], environmentClassIds=[ENVIRONMENT_CLASS]) == [first]


def test_pools_are_paged_too(emulator):
    made = [emulator.create_pool(environment_class=f"00000000-0000-4000-8000-00000000000{n}") for n in range(3)]
    wanted = {"projectIds": [PROJECT]}
    first = emulator.call("ListWarmPools", pagination={"pageSize": 2}, filter=wanted)
    token = first["pagination"]["nextToken"]
    second = emulator.call("ListWarmPools", pagination={"pageSize": 2, "token": token}, filter=wanted)
    assert ids(first, "warmPools") + ids(second, "warmPools") == made[::-1]
    assert "pagination" not in second


def test_a_token_belongs_to_its_filter_and_its_method(emulator):
    for _ in range(3):
        emulator.create()
    wanted = {"projectIds": [PROJECT, OTHER_PROJECT], "phases": ["PREBUILD_PHASE_PENDING"]}
    page = emulator.call("ListPrebuilds", pagination={"pageSize": 1}, filter=wanted)
    pagination = {"pageSize": 1, "token": page["pagination"]["nextToken"]}

    # The order of the values, and how a value is written, make no difference.
    same = {"phases": [10], "projectIds": [OTHER_PROJECT.upper(), PROJECT]}
    assert len(emulator.call("ListPrebuilds", pagination=pagination, filter=same)["prebuilds"]) == 1
    for other in ({}, {"projectIds": [PROJECT]}, {"projectIds": [PROJECT, OTHER_PROJECT]}):
        assert emulator.refused("ListPrebuilds", pagination=pagination, filter=other) == "invalid_argument"
    assert emulator.refused("ListWarmPools", pagination=pagination) == "invalid_argument"


def test_a_token_that_was_made_up_or_changed_is_refused(emulator):
    for _ in range(3):
        emulator.create()
    token = emulator.call("ListPrebuilds", pagination={"pageSize": 1})["pagination"]["nextToken"]
    changed = token[:5] + ("A" if token[5] != "A" else "B") + token[6:]
    for bad in (changed, token[:-4], token + "AAAA", "nextToken", "!", "\x00", "\N{SNOWMAN}", "a" * 10_000):
        assert emulator.refused("ListPrebuilds", pagination={"token": bad}) == "invalid_argument"


def test_a_page_size_out_of_bounds_is_refused(emulator):
    for size in (-1, 101, 2**40, "x", 1.5, True):
        for method in ("ListPrebuilds", "ListWarmPools"):
            assert emulator.refused(method, pagination={"pageSize": size}) == "invalid_argument", (method, size)


BEYOND_BOUNDS = [
    ("ListPrebuilds", {"projectIds": [PROJECT] * 26}),
    ("ListPrebuilds", {"creatorIds": [PROJECT] * 26}),
    ("ListPrebuilds", {"executorIds": [PROJECT] * 26}),
    ("ListPrebuilds", {"phases": ["PREBUILD_PHASE_PENDING"] * 11}),
    ("ListPrebuilds", {"triggeredBy": ["PREBUILD_TRIGGER_MANUAL"] * 6}),
    ("ListPrebuilds", {"phases": ["PREBUILD_PHASE_SLEEPING"]}),
    ("ListPrebuilds", {"phases": [11]}),
    ("ListPrebuilds", {"projectIds": ["mine"]}),
    ("ListWarmPools", {"projectIds": [PROJECT] * 26}),
    ("ListWarmPools", {"environmentClassIds": [PROJECT] * 26}),
]


def test_a_filter_out_of_bounds_is_refused(emulator):
    for method, wanted in BEYOND_BOUNDS:
        assert emulator.refused(method, filter=wanted) == "invalid_argument", (method, wanted)


def test_filters_at_their_bounds_are_taken(emulator):
    wanted = {
        "projectIds": [PROJECT] * 25,
        "phases": ["PREBUILD_PHASE_PENDING"] * 10,
        "triggeredBy": ["PREBUILD_TRIGGER_MANUAL"] * 5,
    }
    prebuild_id = emulator.create()
    assert ids(emulator.call("ListPrebuilds", pagination={"pageSize": 100}, filter=wanted)) == [prebuild_id]


# -- The page in the query


def query(emulator, body, **params):
    return emulator.http.post(f"{SERVICE}/ListPrebuilds", json=body, params=params)


def test_the_query_asks_for_a_page_too(emulator):
    made = [emulator.create() for _ in range(3)]
    first = query(emulator, {}, pageSize=2).json()
    second = query(emulator, {}, pageSize=2, token=first["pagination"]["nextToken"]).json()
    assert ids(first) + ids(second) == made[::-1]


def test_the_query_counts_for_more_than_the_body_field_by_field(emulator):
    made = [emulator.create() for _ in range(5)]
    first = emulator.call("ListPrebuilds", pagination={"pageSize": 2})
    second_token = first["pagination"]["nextToken"]
    second = emulator.call("ListPrebuilds", pagination={"pageSize": 2, "token": second_token})
    stale = {"pagination": {"pageSize": 2, "token": second_token}}

    third = query(emulator, stale, token=second["pagination"]["nextToken"]).json()
    assert ids(third) == made[:1]
    sized = query(emulator, stale, pageSize=1).json()
    assert ids(sized) == [made[2]]
    assert query(emulator, stale, token="", pageSize="").json() == second


def test_what_the_query_asks_for_is_checked(emulator):
    for params in ({"pageSize": 101}, {"pageSize": "many"}, {"token": "nextToken"}):
        response = query(emulator, {}, **params)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")


def test_a_method_without_pages_ignores_the_query(emulator):
    prebuild_id = emulator.create()
    response = emulator.http.post(f"{SERVICE}/GetPrebuild?pageSize=many", json={"prebuildId": prebuild_id})
    assert response.status_code == 200
