"""Run by `verify` in an interpreter of its own: `python -I verify_packages.py DIRECTORY < question.json`.

Answers a JSON list of `{"pointer", "reason"}` on standard output; exit code 1 if it is not empty.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast


def main() -> int:
    """Answer the question on standard input."""
    sys.path.insert(0, sys.argv[1])
    question = json.load(sys.stdin)
    check = _Check(question)
    check.imports()
    if not check.problems:
        check.messages()
        check.examples()
        asyncio.run(check.services())
    json.dump(check.problems, sys.stdout)
    return 1 if check.problems else 0


class _Check:
    """The problems so far."""

    def __init__(self, question: dict[str, Any]) -> None:
        self.question = question
        self.problems: list[dict[str, str]] = []

    def add(self, pointer: str, reason: str) -> None:
        self.problems.append({"pointer": pointer, "reason": reason})

    @contextmanager
    def doing(self, pointer: str, what: str) -> Generator[None]:
        """Record the problems in the block."""
        try:
            yield
        except Exception as error:  # noqa: BLE001, whatever a broken package raises is the finding
            self.add(pointer, f"{what}: {type(error).__name__}: {error}")

    def same(self, pointer: str, what: str, found: Any, expected: Any) -> None:
        if not _same(found, expected):
            self.add(pointer, f"{what}: expected {expected!r}, found {found!r}")

    # -- What is there

    def imports(self) -> None:
        messages, enums = list(self.question["messages"]), list(self.question["enums"])
        self.need("prebuild_api.models", "#/components/schemas", *messages, *enums)
        self.need("prebuild_wire.models", "#/components/schemas", *messages)
        self.need("prebuild_wire.enums", "#/components/schemas", *enums)
        for module in ("prebuild_wire.descriptors", "prebuild_api.errors", "prebuild_api.pages", "prebuild_api.params"):
            self.need(module, "#")
        for service in self.question["services"]:
            for operation in service["operations"]:
                names = "sync", "sync_detailed", "asyncio", "asyncio_detailed"
                self.need(f"prebuild_api.api.{service['module']}.{operation['module']}", operation["pointer"], *names)
                self.need("prebuild_api.operations", operation["pointer"], operation["constant"])
            self.need("prebuild_api.resources", "#/paths", service["resource"], f"Async{service['resource']}")

    def need(self, module: str, pointer: str, *names: str) -> None:
        with self.doing(pointer, f"import {module}"):
            found = importlib.import_module(module)
            for name in names:
                if not hasattr(found, name):
                    self.add(pointer, f"{module} lacks {name}")

    # -- Messages

    def messages(self) -> None:
        for name, message in self.question["messages"].items():
            for size in ("full", "minimal"):
                with self.doing(message["pointer"], f"{name}, {size}"):
                    self.message(name, message, message[size])

    def message(self, name: str, message: dict[str, Any], document: dict[str, Any]) -> None:
        from prebuild_api import models as api
        from prebuild_wire import models as wire

        pointer = message["pointer"]
        model = getattr(api, name)
        made = model.from_dict(document)
        if made.additional_properties:
            self.add(pointer, f"{name} does not know its fields {sorted(made.additional_properties)}")
        self.same(pointer, f"{name} as written by the client", made.to_dict(), document)
        by_attribute = {message["names"][key]: value for key, value in document.items()}
        self.same(pointer, f"{name} by its Python names", model.from_dict(by_attribute).to_dict(), document)
        if model(**{key: getattr(made, key) for key in by_attribute}) != made or not repr(made):
            self.add(pointer, f"{name} made by its attributes differs from {document!r}")
        strict = getattr(wire, name).model_validate(json.loads(json.dumps(made.to_dict())))
        self.same(pointer, f"{name} as read by a server", strict.to_json(), document)
        self.tolerance(name, message, model, document)
        if message["protobuf_name"] is not None:
            self.binary(pointer, message["protobuf_name"], document)

    def tolerance(self, name: str, message: dict[str, Any], model: Any, document: dict[str, Any]) -> None:
        """Unknown members are kept, and a value of a wrong type is an error with its path."""
        from prebuild_api.types import DecodeError

        for key in message["enums"]:
            changed = document | {key: "NOT_HEARD_OF"}
            self.same(message["pointer"], f"{name} with an unknown member", model.from_dict(changed).to_dict(), changed)
        for key, value in message["wrong"].items():
            try:
                model.from_dict(document | {key: value})
            except DecodeError:
                continue
            self.add(message["pointer"], f"{name}.{key} accepts {value!r}")

    def binary(self, pointer: str, name: str, document: dict[str, Any]) -> None:
        from google.protobuf import json_format

        from prebuild_wire import descriptors

        kind = descriptors.message_class(name)
        sent = json_format.ParseDict(document, kind(), descriptor_pool=descriptors.pool())
        received = kind.FromString(sent.SerializeToString())
        self.same(pointer, f"{name} in the binary form", json_format.MessageToDict(received), document)

    def examples(self) -> None:
        from prebuild_api import models as api
        from prebuild_wire import models as wire

        for example in self.question["examples"]:
            name, pointer = example["component"], example["pointer"]
            with self.doing(pointer, name):
                message = getattr(api, name).from_dict(example["value"])
                strict = getattr(wire, name).model_validate(json.loads(json.dumps(message.to_dict())))
                expected = getattr(wire, name).model_validate(example["value"]).to_json()
                if message.additional_properties:
                    self.add(pointer, f"{name}: fields were not understood: {sorted(message.additional_properties)}")
                if not _same(strict.to_json(), expected):
                    self.add(pointer, f"{name}: became {strict.to_json()!r} on its way, instead of {expected!r}")
                if getattr(api, name).from_dict(strict.to_json()) != message:
                    self.add(pointer, f"{name}: did not come back as {message!r}")

    # -- Methods

    async def services(self) -> None:
        for service in self.question["services"]:
            for operation in service["operations"]:
                with self.doing(operation["pointer"], f"client.{operation['method']}"):
                    await self.client_method(service, operation)
                with self.doing(operation["pointer"], f"the endpoint functions of {operation['name']}"):
                    await self.endpoint(service, operation)

    async def client_method(self, service: dict[str, Any], operation: dict[str, Any]) -> None:
        from prebuild_api import resources

        answer = self.question["messages"][operation["response"]]["full"]
        for keywords, expected in self.calls(operation):
            sync = _stub(getattr(resources, service["resource"]), answer)
            getattr(sync, operation["method"])(**keywords)
            waiting = _async_stub(getattr(resources, f"Async{service['resource']}"), answer)
            await getattr(waiting, operation["method"])(**keywords)
            for stub in (sync, waiting):
                self.same(operation["pointer"], f"client.{operation['method']} sends", stub.sent, expected)

    def calls(self, operation: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Keywords of a client method, and the request that they make."""
        message = self.question["messages"][operation["request"]]
        full, minimal = message["full"], message["minimal"]
        outer = [item for item in operation["keywords"] if item["outer"] is None]
        inner = [item for item in operation["keywords"] if item["outer"] is not None]
        given = {item["name"]: full[item["field"]] for item in outer if item["field"] in full}
        yield given, full
        yield {item["name"]: minimal[item["field"]] for item in outer if item["field"] in minimal}, minimal
        if inner:
            flat = {item["outer"] for item in inner}
            keywords = {item["name"]: full[item["field"]] for item in outer if item["field"] not in flat}
            keywords |= {
                item["name"]: full[item["outer"]][item["field"]]
                for item in inner
                if item["field"] in full.get(item["outer"], {})
            }
            yield keywords, full

    async def endpoint(self, service: dict[str, Any], operation: dict[str, Any]) -> None:
        from prebuild_api import models

        module = importlib.import_module(f"prebuild_api.api.{service['module']}.{operation['module']}")
        request = self.question["messages"][operation["request"]]["full"]
        answer = self.question["messages"][operation["response"]]["full"]
        body = getattr(models, operation["request"]).from_dict(request)
        samples = {
            "string": "text",
            "integer": 1,
            "number": 1.5,
            "boolean": True,
            "timestamp": datetime(2020, 1, 1, tzinfo=UTC),
        }
        query = {name: samples[kind] for name, kind in operation["query"]}
        for status, content, expected in (
            (200, answer, operation["response"]),
            (404, {"code": "not_found"}, "ConnectError"),
        ):
            provider = _Provider(status, content)
            parsed = [
                module.sync(client=provider, body=body, **query),
                module.sync_detailed(client=provider, body=body, **query).parsed,
                await module.asyncio(client=provider, body=body, **query),
                (await module.asyncio_detailed(client=provider, body=body, **query)).parsed,
            ]
            for result in parsed:
                if type(result).__name__ != expected:
                    self.add(operation["pointer"], f"{operation['name']}: expected {expected}, found {result!r}")
            for sent in provider.sent:
                self.same(operation["pointer"], f"{operation['name']} sends", sent, request)


def _stub(base: Any, answer: dict[str, Any]) -> Any:
    class Stub(base):  # type: ignore[misc]  # a class found at run time
        def _call(self, operation: Any, request: Any, _options: Any) -> Any:
            self.sent = request.to_dict()
            return operation.decode(answer)

        def _list(self, operation: Any, page_type: Any, request: Any, _options: Any) -> Any:
            self.sent = request.to_dict()
            return _page(operation, page_type, request, answer)

    return Stub()


def _async_stub(base: Any, answer: dict[str, Any]) -> Any:
    from prebuild_api.pages import AsyncListing

    class Stub(base):  # type: ignore[misc]  # a class found at run time
        async def _call(self, operation: Any, request: Any, _options: Any) -> Any:
            self.sent = request.to_dict()
            return operation.decode(answer)

        def _list(self, operation: Any, page_type: Any, request: Any, _options: Any) -> Any:
            async def first_page() -> Any:
                self.sent = request.to_dict()
                return _page(operation, page_type, request, answer)

            return cast("Any", AsyncListing)(first_page)

    return Stub()


def _page(operation: Any, page_type: Any, request: Any, answer: dict[str, Any]) -> Any:
    response = operation.decode(answer)
    page = page_type(response, operation.items(response), operation.next_token(response), None)
    following = operation.with_token(request, "next")
    if operation.token(following) != "next" or not page.has_next_page() or not len(page):
        raise ValueError("the next page cannot be asked for")
    return page


class _Provider:
    """Replaces a client: records requests, and returns one response."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        self.status = status
        self.content = json.dumps(content).encode()
        self.sent: list[dict[str, Any]] = []

    def get_httpx_client(self) -> _Transport:
        return _Transport(self.answer)

    def get_async_httpx_client(self) -> _AsyncTransport:
        return _AsyncTransport(self.answer)

    def answer(self, arguments: dict[str, Any]) -> Any:
        import httpx

        self.sent.append(json.loads(arguments["content"]))
        request = httpx.Request(arguments["method"], "http://stub" + arguments["url"], params=arguments.get("params"))
        return httpx.Response(self.status, content=self.content, request=request)


class _Transport:
    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        self.answer = answer

    def request(self, **arguments: Any) -> Any:
        return self.answer(arguments)


class _AsyncTransport(_Transport):
    async def request(self, **arguments: Any) -> Any:
        return self.answer(arguments)


def _same(left: Any, right: Any) -> bool:
    """Whether two JSON documents say the same; a moment may be written in several ways, and zero may be left out."""
    from prebuild_wire.scalars import parse_timestamp

    kinds = left.__class__.__name__, right.__class__.__name__
    if kinds == ("dict", "dict"):
        keys = {
            key for document in (left, right) for key, value in document.items() if value not in (0, "", False, [], {})
        }
        return all(key in left and key in right and _same(left[key], right[key]) for key in keys)
    if kinds == ("list", "list"):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, (int, float)) and isinstance(right, (int, float)) and not isinstance(left, bool):
        return math.isclose(left, right, rel_tol=1e-6)
    if left != right and kinds == ("str", "str"):
        try:
            return bool(parse_timestamp(left) == parse_timestamp(right))
        except ValueError:
            return False
    return bool(left == right)


if __name__ == "__main__":
    raise SystemExit(main())
