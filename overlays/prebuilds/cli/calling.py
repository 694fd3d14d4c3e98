"""`prebuilds call`: any method of the service by its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final, cast, get_args, get_type_hints

import click
from click.shell_completion import CompletionItem

from prebuilds.cli.options import ParamType
from prebuilds.cli.output import Column, Layout
from prebuilds.cli.session import Session, with_session

_MAX_BYTES: Final = 4 * 2**20


class _MethodType(ParamType[Any]):
    """A method of the service, by its name in the protocol or on the client."""

    name = "method"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The method."""
        from prebuild_api.operations import OPERATIONS

        for operation in OPERATIONS:
            if str(value).lower() in (operation.name.lower(), operation.client_method):
                return operation
        return self.fail(f"expected one of {', '.join(each.name for each in OPERATIONS)}, found {value!r}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that complete the typed text."""
        from prebuild_api.operations import OPERATIONS

        return [CompletionItem(each.name) for each in OPERATIONS if each.name.lower().startswith(incomplete.lower())]


@click.command("call", epilog="""Example: prebuilds call GetPrebuild '{"prebuildId": "ID"}'""")
@click.argument("method", type=_MethodType())
@click.argument("request", metavar="[JSON]", default="{}")
@click.option("--paginate", is_flag=True, help="Print the items of all pages of a list.")
@with_session
def call_command(session: Session, *, method: Any, request: str, paginate: bool) -> None:
    """Call METHOD of the service, and print the response.

    JSON is the request: a document, @FILE, or - for standard input.
    """
    from prebuild_api.operations import PagedOperation

    paged = isinstance(method, PagedOperation)
    if paginate and not paged:
        raise click.UsageError(f"--paginate: {method.name} does not return a list")
    arguments = _arguments(method, _document(request))
    response: Any = getattr(_service(session.client, method), method.client_method)(**arguments)
    if paginate:
        _print(session, response)
    else:
        _print(session, [response.response if paged else response])


def _service(client: Any, operation: Any) -> Any:
    """The methods of the service that an operation belongs to."""
    from prebuild_api.resources import Services

    name = operation.path.split("/")[-2].rpartition(".")[2]
    for attribute, member in vars(Services).items():
        if not attribute.startswith("_") and f"`{name}`" in (member.__doc__ or ""):
            return getattr(client, attribute)
    return client.prebuilds


def _document(text: str) -> dict[str, Any]:
    """The request.

    Raises:
        click.UsageError: it is not a JSON object.
    """
    if text == "-":
        content = sys.stdin.read(_MAX_BYTES + 1)
    elif text.startswith("@"):
        with Path(text[1:]).open(encoding="utf-8-sig") as file:
            content = file.read(_MAX_BYTES + 1)
    else:
        content = text
    if len(content) > _MAX_BYTES:
        raise click.UsageError(f"the request: expected at most {_MAX_BYTES // 2**20} MiB")
    try:
        document = json.loads(content or "{}")
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"the request is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise click.UsageError(f"the request: expected a JSON object, found {type(document).__name__}")
    return cast("dict[str, Any]", document)


def _arguments(operation: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The request as the client's method takes it. Unknown fields are sent unchanged.

    Raises:
        click.UsageError: a value has the wrong type, or is missing.
    """
    from prebuild_api import operations
    from prebuild_api.types import DecodeError

    hints = get_type_hints(operations)
    name = next(name for name, hint in hints.items() if get_args(hint) and getattr(operations, name) is operation)
    request_type: Any = get_args(hints[name])[0]
    try:
        request = request_type.from_dict(document)
    except DecodeError as error:
        raise click.UsageError(f"the request: {error}") from None
    arguments = {field: getattr(request, field) for field in get_type_hints(request_type) if not field.startswith("_")}
    arguments = {field: value for field, value in arguments.items() if value not in (None, [])}
    if request.additional_properties:
        arguments["extra_body"] = dict(request.additional_properties)
    return arguments


def _print(session: Session, messages: Any) -> None:
    """Print messages. A table makes no sense for any message, so that JSON takes its place."""
    output = session.output
    if output.format == "table":
        for message in messages:
            output.json(message.to_dict())
        return
    layout: Layout[Any] = Layout(
        columns=(Column(header="ID", text=_id),),
        item_id=_id,
        record=lambda each: each.to_dict(),
        paths=lambda: ("id",),
    )
    output.show(messages, layout)


def _id(message: Any) -> str:
    return str(getattr(message, "id", None) or "")
