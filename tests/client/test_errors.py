from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import prebuilds
from prebuild_api.models import ConnectCode, ConnectErrorDetail, Prebuild
from prebuilds import (
    APIError,
    CallError,
    ConnectionFailedError,
    PaginationError,
    PrebuildFailedError,
    PrebuildsError,
    RequestTimeoutError,
    ResponseError,
    WaitError,
)
from prebuilds.errors import error_class

from .both import ID
from .scripted import a_prebuild

EXPORTED = [getattr(prebuilds, name) for name in prebuilds.__all__]
ERRORS = [each for each in EXPORTED if inspect.isclass(each) and issubclass(each, PrebuildsError)]


def test_every_error_of_the_package_is_public():
    from prebuilds import errors

    defined = {each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, Exception)}
    assert defined == set(ERRORS)


@pytest.mark.parametrize("code", ConnectCode)
def test_each_code_has_a_class_named_after_it(code):
    kind = error_class(code)
    assert kind.__name__ == "".join(map(str.capitalize, code.split("_"))) + "Error"
    assert kind.__mro__[1:4] == (APIError, CallError, PrebuildsError)
    assert kind is getattr(prebuilds, kind.__name__)


def test_there_are_16_codes_and_an_unknown_one_has_the_class_above():
    assert len({error_class(code) for code in ConnectCode}) == 16
    assert error_class(ConnectCode("brand_new")) is APIError


def test_a_timeout_is_a_connection_failure():
    assert issubclass(RequestTimeoutError, ConnectionFailedError)


@pytest.mark.parametrize(
    "error",
    [
        error_class(ConnectCode.NOT_FOUND)(
            "text",
            operation="retrieve",
            code=ConnectCode.NOT_FOUND,
            status=404,
            message="gone",
            details=[ConnectErrorDetail(type="x", value="AA")],
            maybe_executed=False,
        ),
        APIError("text", operation="create", code=ConnectCode("brand_new"), status=500),
        RequestTimeoutError("text", operation="create", retryable=True),
        ResponseError("text", operation="create", status=200),
        PaginationError("text", token="b"),
        PrebuildFailedError("text", item_id=ID, prebuild=Prebuild.from_dict(a_prebuild())),
        WaitError("text", item_id=ID, prebuild=None),
        PrebuildsError("text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickle_and_copy(error):
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == "text"
        assert twin.__dict__ == error.__dict__
