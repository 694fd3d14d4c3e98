"""Annotations of generated code can be evaluated: `typing.get_type_hints` and `inspect.signature(eval_str=True)`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import FunctionType, ModuleType
from typing import Any

import pytest

import prebuild_api

from .conftest import Schema, imported, small
from .test_lint import LIST


def schema() -> Schema:
    """The small schema, with a parameter of each shape, and with fields that are named like what their types use."""
    changed = small()
    schemas = changed["components"]["schemas"]
    pot = {"$ref": "#/components/schemas/Pot"}
    kind = {"$ref": "#/components/schemas/TeaKind"}
    shapes: Schema = {
        "when": {"type": "string", "format": "date-time"},
        "pot": pot,
        "pots": {"type": "array", "items": pot},
        "byName": {"type": "object", "additionalProperties": pot},
        "kinds": {"type": "array", "items": kind},
        "kindByName": {"type": "object", "additionalProperties": kind},
        **{name: {"type": "string"} for name in ("str", "int", "bool", "float", "class", "models", "params")},
        "list": {"type": "array", "items": {"type": "string"}},
        "dict": {"type": "object", "additionalProperties": {"type": "string"}},
        "datetime": {"type": "string", "format": "date-time"},
        "field": {"type": "integer", "format": "int32"},
    }
    properties = schemas["BrewRequest"]["properties"]
    schemas["Recipe"] = {"type": "object", "x-protobuf-message": "Recipe", "properties": {}}
    for target, first in ((properties, 20), (schemas["Recipe"]["properties"], 1)):
        for number, (name, item) in enumerate(shapes.items(), first):
            target[name] = item | {"x-protobuf-number": number}
    for number, name in enumerate(("steps", "byStep"), 200):
        items = {"$ref": "#/components/schemas/Recipe"}
        shape = (
            {"type": "array", "items": items} if name == "steps" else {"type": "object", "additionalProperties": items}
        )
        schemas["Recipe"]["properties"][name] = shape | {"x-protobuf-number": number}
    properties["recipe"] = {"$ref": "#/components/schemas/Recipe", "x-protobuf-number": 100}
    operation = changed
    for key in LIST:
        operation = operation[key]
    operation["parameters"] = [{"name": "token", "in": "query", "schema": {"type": "string"}}]
    return changed


@pytest.fixture(scope="module")
def kettles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package of `schema`."""
    with imported(schema(), tmp_path_factory.mktemp("hints")) as found:
        yield found


@pytest.fixture(scope="module", params=["the small schema", "the schema of the service"])
def package(request: pytest.FixtureRequest, kettles: ModuleType) -> ModuleType:
    """A generated package."""
    return kettles if request.param == "the small schema" else prebuild_api


def modules(package: ModuleType) -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [package, *map(importlib.import_module, names)]


def defined_in(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions of a module, and the functions of its classes."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield name, value
        elif isinstance(value, type):
            yield name, value
            for key, member in vars(value).items():
                function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                    yield f"{name}.{key}", function


def test_every_annotation_can_be_evaluated(package: ModuleType) -> None:
    seen: dict[str, int] = {}
    for module in modules(package):
        for name, value in defined_in(module):
            hints = typing.get_type_hints(value, include_extras=True)
            if isinstance(value, FunctionType):
                signature = inspect.signature(value, eval_str=True)
                given = {key: each.annotation for key, each in signature.parameters.items()}
                assert not [key for key, hint in given.items() if isinstance(hint, str)], (module, name)
                assert hints.keys() - {"return"} <= given.keys()
            kind = module.__name__.removeprefix(package.__name__).split(".")[1:2]
            seen["".join(kind)] = seen.get("".join(kind), 0) + 1
    assert seen.keys() >= {"models", "params", "resources", "operations", "pages", "api", "types", "client", "errors"}
    assert all(seen.values())


def test_every_method_of_the_resources_says_what_it_takes_and_returns(package: ModuleType) -> None:
    operations = {operation.client_method for operation in package.operations.OPERATIONS}  # type: ignore[attr-defined]
    found = vars(package.resources)  # type: ignore[attr-defined]
    resources = [value for name, value in found.items() if name.endswith("Resource")]
    assert len(resources) == 2
    for resource in resources:
        for name in operations:
            method = getattr(resource, name)
            hints = typing.get_type_hints(method)
            assert hints.keys() == inspect.signature(method).parameters.keys() - {"self"} | {"return"}
            returned = typing.get_origin(hints["return"]) or hints["return"]
            assert returned.__module__.startswith(package.__name__)


def test_the_types_are_those_of_the_models(kettles: Any) -> None:
    models, params = kettles.models, kettles.params
    hints = typing.get_type_hints(kettles.resources.KettlesResource.brew)
    assert hints["kind"] == models.TeaKind | params.TeaKindValue
    assert hints["pot"] == models.Pot | params.PotParam | None
    assert hints["pots"] == Sequence[models.Pot | params.PotParam] | None
    assert hints["by_name"] == Mapping[str, models.Pot | params.PotParam] | None
    assert hints["when"] == datetime | str | None
    assert hints["list_"] == Sequence[str] | None
    assert hints["return"] is models.BrewResponse
    listing = typing.get_type_hints(kettles.resources.AsyncKettlesResource.list)["return"]
    assert listing == kettles.pages.AsyncListing[kettles.pages.AsyncPotsPage, models.Pot]
    assert typing.get_type_hints(kettles.pages.PotsPage)["response"] is models.ListPotsResponse
    assert typing.get_type_hints(kettles.pages.PotsPage.pots.fget)["return"] == list[models.Pot]
    assert typing.get_type_hints(models.Pot)["refill"] == models.Pot | None
    assert typing.get_type_hints(params.PotParam)["kind"] == models.TeaKind | params.TeaKindValue
    assert inspect.signature(models.Pot, eval_str=True).parameters["refill"].annotation == models.Pot | None
    assert typing.get_type_hints(models.Recipe)["steps"] == list[models.Recipe]
    endpoint = importlib.import_module(f"{kettles.__name__}.api.kettle_service.brew")
    answer = typing.get_type_hints(endpoint.sync)["return"]
    assert answer == models.BrewResponse | models.ConnectError


def test_a_field_may_be_named_like_a_type(kettles: Any) -> None:
    names = ("str", "int", "bool", "float", "class")
    given: dict[str, Any] = {f"{name}_": name for name in names}
    given |= {"list_": ["a"], "dict_": {"a": "b"}, "datetime_": "2019-12-27T18:11:19Z"}
    given |= {"field": 7, "models": "a", "params": "b"}
    sent: list[Any] = []

    class Resource(kettles.resources.KettlesResource):  # type: ignore[misc]
        def _call(self, operation: Any, request: Any, options: Any) -> None:
            sent.append(request.to_dict())

        def _list(self, *arguments: Any) -> None: ...

    Resource().brew(kind="TEA_GREEN", recipe=given, **given)
    document = {name.removesuffix("_"): value for name, value in given.items()}
    assert sent == [{"kind": "TEA_GREEN", "recipe": document, **document}]
    assert kettles.models.Recipe.from_dict(document).to_dict() == document


def test_a_message_may_hold_many_of_its_own(kettles: Any) -> None:
    step = {"str": "a", "steps": [{"str": "b"}], "byStep": {"c": {}}}
    recipe = kettles.models.Recipe.from_dict({"steps": [step, {}], "byStep": {"d": step}})
    assert recipe.steps[0].by_step["c"] == kettles.models.Recipe()
    assert recipe.to_dict() == {"steps": [step, {}], "byStep": {"d": step}}
