"""What callers may write in place of a message: dicts, models, and a message's fields as keywords."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest

from prebuild_api.models import (
    CreatePrebuildRequest,
    ListPrebuildsRequest,
    ListPrebuildsRequestFilter,
    PaginationRequest,
    PrebuildPhase,
    PrebuildSpec,
    PrebuildStatus,
    PrebuildTrigger,
)
from prebuild_api.types import merge_fields, to_model


def merged(model, parameter, value, **fields):
    return merge_fields(model, parameter, value, fields)


PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"


# -- to_model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"page_size": 10, "token": "next"},
        {"pageSize": 10, "token": "next"},
        OrderedDict(page_size=10, token="next"),
        MappingProxyType({"pageSize": 10, "token": "next"}),
        PaginationRequest(page_size=10, token="next"),
    ],
    ids=["snake_case", "camelCase", "a dict of another kind", "a mapping", "the model"],
)
def test_a_message_may_be_given_in_many_forms(value):
    pagination = to_model(PaginationRequest, value, "pagination")
    assert type(pagination) is PaginationRequest
    assert pagination == PaginationRequest(page_size=10, token="next")


def test_a_model_is_taken_as_it_is():
    pagination = PaginationRequest(page_size=10)
    assert to_model(PaginationRequest, pagination, "pagination") is pagination


def test_numbers_may_be_strings_and_enums_may_be_numbers():
    assert to_model(PaginationRequest, {"page_size": "10"}, "pagination") == PaginationRequest(page_size=10)
    assert to_model(PrebuildSpec, {"spec_version": 7}, "spec") == PrebuildSpec(spec_version="7")
    found = to_model(ListPrebuildsRequestFilter, {"phases": [30, "PREBUILD_PHASE_FAILED"]}, "filter")
    assert found.phases == [PrebuildPhase.RUNNING, PrebuildPhase.FAILED]


@pytest.mark.parametrize("name", ["failed", "FAILED", "Failed", "PREBUILD_PHASE_FAILED", 7, PrebuildPhase.FAILED])
def test_an_enum_member_has_a_full_and_a_short_name(name):
    number = PrebuildPhase.FAILED.number
    found = to_model(ListPrebuildsRequestFilter, {"phases": [number if name == 7 else name]}, "filter")
    assert found.phases == [PrebuildPhase.FAILED]
    assert type(found.phases[0]) is PrebuildPhase


def test_a_member_of_a_later_version_is_kept_and_any_other_name_is_refused_with_those_that_exist():
    found = to_model(ListPrebuildsRequestFilter, {"phases": ["PREBUILD_PHASE_ARCHIVED", 77]}, "filter")
    assert found.to_dict() == {"phases": ["PREBUILD_PHASE_ARCHIVED", 77]}
    for wrong in ("broken", "", "PHASE_FAILED", "WARM_POOL_PHASE_READY"):
        with pytest.raises(ValueError, match=rf"^filter\.phases\[1\]: '{wrong}' is not a PrebuildPhase: .* PENDING, "):
            to_model(ListPrebuildsRequestFilter, {"phases": ["failed", wrong]}, "filter")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (timedelta(hours=2), "7200s"),
        (timedelta(seconds=1.5), "1.500s"),
        (timedelta(microseconds=-1), "-0.000001s"),
        ("90s", "90s"),
    ],
)
def test_a_duration_may_be_a_timedelta(given, sent):
    assert to_model(PrebuildSpec, {"timeout": given}, "spec").timeout == sent


def test_a_field_under_both_of_its_names_is_refused():
    with pytest.raises(TypeError, match="^pagination: pageSize: expected either page_size or pageSize, found both$"):
        to_model(PaginationRequest, {"page_size": 10, "pageSize": 10}, "pagination")


def test_an_empty_dict_is_an_empty_message():
    assert to_model(PrebuildSpec, {}, "spec") == PrebuildSpec()


def test_none_in_a_dict_means_absent():
    value = {"page_size": None, "token": "next"}
    assert to_model(PaginationRequest, value, "pagination") == PaginationRequest(token="next")


@pytest.mark.parametrize("sequence", [list, tuple])
def test_enums_may_be_members_or_strings_in_any_sequence(sequence):
    phases = sequence([PrebuildPhase.RUNNING, "PREBUILD_PHASE_FAILED", "PREBUILD_PHASE_OF_MINE"])
    found = to_model(ListPrebuildsRequestFilter, {"phases": phases}, "filter").phases
    assert found == [PrebuildPhase.RUNNING, PrebuildPhase.FAILED, "PREBUILD_PHASE_OF_MINE"]
    assert all(isinstance(phase, PrebuildPhase) for phase in found)


def test_a_set_is_a_list_too():
    value = {"project_ids": {PROJECT}, "triggered_by": frozenset({PrebuildTrigger.MANUAL})}
    assert to_model(ListPrebuildsRequestFilter, value, "filter").to_dict() == {
        "projectIds": [PROJECT],
        "triggeredBy": ["PREBUILD_TRIGGER_MANUAL"],
    }


def test_a_list_of_the_caller_is_not_the_list_of_the_message():
    projects = [PROJECT]
    found = to_model(ListPrebuildsRequestFilter, {"project_ids": projects}, "filter")
    projects.append("another")
    assert found.project_ids == [PROJECT]


@pytest.mark.parametrize(
    "spec",
    [{"timeout": "3600s"}, PrebuildSpec(timeout="3600s"), OrderedDict(timeout="3600s")],
    ids=["a dict", "the model", "a mapping"],
)
@pytest.mark.parametrize("name", ["project_id", "projectId"])
def test_messages_may_be_nested_in_any_form(name, spec):
    request = to_model(CreatePrebuildRequest, {name: PROJECT, "spec": spec}, "request")
    assert type(request.spec) is PrebuildSpec
    assert request.to_dict() == {"projectId": PROJECT, "spec": {"timeout": "3600s"}}


def test_names_are_translated_at_every_level():
    value = {"pagination": {"page_size": 5}, "filter": {"project_ids": [PROJECT]}}
    assert to_model(ListPrebuildsRequest, value, "request").to_dict() == {
        "pagination": {"pageSize": 5},
        "filter": {"projectIds": [PROJECT]},
    }


def test_a_moment_may_be_a_datetime_or_a_string():
    moment = datetime(2019, 12, 27, 19, 11, 19, 117000, tzinfo=timezone(timedelta(hours=1)))
    for value in (moment, "2019-12-27T19:11:19.117+01:00", "2019-12-27T18:11:19.117Z"):
        status = to_model(PrebuildStatus, {"completion_time": value}, "status")
        assert status.completion_time == datetime(2019, 12, 27, 18, 11, 19, 117000, tzinfo=UTC)


@pytest.mark.parametrize("name", ["page_sise", "pagesize", "PageSize", "page-size", "timeout"])
def test_a_field_that_does_not_exist_is_named(name):
    with pytest.raises(TypeError, match="^pagination: PaginationRequest has no field ") as caught:
        to_model(PaginationRequest, {"page_size": 10, name: 10}, "pagination")
    assert str(caught.value).lower().replace("_", "").endswith(name.lower().replace("_", ""))


def test_all_fields_that_do_not_exist_are_named():
    with pytest.raises(TypeError, match="has no field first, second$"):
        to_model(PaginationRequest, {"second": 1, "token": "next", "first": 1}, "pagination")


@pytest.mark.parametrize(
    ("model", "value", "message"),
    [
        (PaginationRequest, {"page_size": "ten"}, "page_size: expected a whole number from"),
        (PaginationRequest, {"page_size": 10.5}, "page_size: expected a whole number from"),
        (PaginationRequest, {"pageSize": True}, "pageSize: expected a whole number from"),
        (PaginationRequest, {"token": 7}, "token: expected a string, found the number 7"),
        (ListPrebuildsRequestFilter, {"project_ids": PROJECT}, "project_ids: expected a list"),
        (ListPrebuildsRequestFilter, {"phases": "PREBUILD_PHASE_FAILED"}, "phases: expected a list"),
        (ListPrebuildsRequestFilter, {"phases": PrebuildPhase.FAILED}, "phases: expected a list"),
        (ListPrebuildsRequestFilter, {"project_ids": {"a": "b"}}, "project_ids: expected a list"),
        (
            ListPrebuildsRequestFilter,
            {"phases": ["x", 10.5]},
            "phases[1]: expected the name or the number of an enum member",
        ),
        (ListPrebuildsRequestFilter, {"creatorIds": [None]}, "creatorIds[0]: expected a string"),
        (CreatePrebuildRequest, {"spec": {}}, "projectId: expected a string, found nothing"),
        (CreatePrebuildRequest, {"project_id": PROJECT}, "spec: expected an object, found nothing"),
        (
            CreatePrebuildRequest,
            {"project_id": PROJECT, "spec": {"timeout": 3600}},
            "spec.timeout: expected a string, found the number 3600",
        ),
        (ListPrebuildsRequest, {"pagination": {"pageSize": ""}}, "pagination.pageSize: expected a"),
        (PrebuildStatus, {"completion_time": "soon"}, "completion_time: expected a timestamp"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(model, value, message):
    with pytest.raises(TypeError) as caught:
        to_model(model, value, "parameter")
    assert str(caught.value).startswith(f"parameter: {message}")


@pytest.mark.parametrize("value", [None, "3600s", 7, [], [("page_size", 10)], PrebuildSpec(), PaginationRequest])
def test_what_is_neither_the_model_nor_a_dict_is_refused(value):
    with pytest.raises(TypeError, match="^pagination: expected PaginationRequest or a dict, got "):
        to_model(PaginationRequest, value, "pagination")


# -- merge_fields ------------------------------------------------------------------------------------------------------


def test_nothing_given_is_no_message():
    assert merged(PaginationRequest, "pagination", None) is None
    assert merged(PaginationRequest, "pagination", None, page_size=None, token=None) is None


def test_keywords_alone_make_a_message():
    found = merged(PaginationRequest, "pagination", None, page_size=10, token=None)
    assert found == PaginationRequest(page_size=10)


def test_a_zero_is_given():
    found = merged(PaginationRequest, "pagination", None, page_size=0)
    assert found == PaginationRequest(page_size=0)


@pytest.mark.parametrize("value", [{"token": "next"}, PaginationRequest(token="next")])
def test_keywords_complete_a_message(value):
    found = merged(PaginationRequest, "pagination", value, page_size=10, token=None)
    assert found == PaginationRequest(page_size=10, token="next")


def test_a_message_without_keywords_stays():
    value = PaginationRequest(token="next")
    assert merged(PaginationRequest, "pagination", value, page_size=None) is value


def test_the_message_of_the_caller_is_not_changed():
    value = PaginationRequest(token="next", additional_properties={"ofMine": 1})
    found = merged(PaginationRequest, "pagination", value, page_size=10)
    assert value == PaginationRequest(token="next", additional_properties={"ofMine": 1})
    assert found is not None
    assert found.to_dict() == {"token": "next", "pageSize": 10, "ofMine": 1}


@pytest.mark.parametrize(
    "value",
    [{"token": "next"}, PaginationRequest(token="next"), {"token": "other", "page_size": 1}],
)
def test_a_field_given_twice_is_refused(value):
    with pytest.raises(TypeError, match="^token is given twice, by keyword and in pagination$"):
        merged(PaginationRequest, "pagination", value, token="next")


def test_a_zero_given_twice_is_refused():
    with pytest.raises(TypeError, match="^page_size is given twice"):
        merged(PaginationRequest, "pagination", {"page_size": 0}, page_size=10)


def test_a_list_completes_a_filter_that_has_none():
    found = merged(
        ListPrebuildsRequestFilter,
        "filter",
        {"phases": [], "project_ids": [PROJECT]},
        phases=["PREBUILD_PHASE_RUNNING"],
        triggered_by=(PrebuildTrigger.MANUAL,),
    )
    assert found == ListPrebuildsRequestFilter(
        project_ids=[PROJECT],
        phases=[PrebuildPhase.RUNNING],
        triggered_by=[PrebuildTrigger.MANUAL],
    )


def test_keywords_are_checked_like_the_fields_of_a_dict():
    with pytest.raises(TypeError, match="^filter: phases: expected a list, found the string"):
        merged(ListPrebuildsRequestFilter, "filter", None, phases="PREBUILD_PHASE_RUNNING")
    with pytest.raises(TypeError, match="^filter: ListPrebuildsRequestFilter has no field phase$"):
        merged(ListPrebuildsRequestFilter, "filter", None, phase=["PREBUILD_PHASE_RUNNING"])
    with pytest.raises(TypeError, match="^filter: expected ListPrebuildsRequestFilter or a dict"):
        merged(ListPrebuildsRequestFilter, "filter", [], phases=["PREBUILD_PHASE_RUNNING"])
