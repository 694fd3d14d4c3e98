"""Requests checked by their pydantic models: what is accepted in which form, and all that is wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from prebuild_wire import Message, Operation
from prebuild_wire.models import PaginationRequest

from .relaxed import with_relaxed_ids


def validated(
    operation: Operation, fields: Mapping[str, Any], page: Mapping[str, str], *, relaxed_ids: bool
) -> dict[str, Any]:
    """The request in the JSON form that `to_json` gives it.

    Args:
        operation: the method that was called.
        fields: the request as it came.
        page: what the query says of the page, which counts for more.
        relaxed_ids: whether ids may be other than UUIDs.

    Raises:
        ConnectError: `invalid_argument`, with all that is wrong.
    """
    model = with_relaxed_ids(operation.request) if relaxed_ids else operation.request
    errors: list[tuple[ValidationError, str | None]] = []
    message: Message | None = None
    try:
        message = model.model_validate(fields)
    except ValidationError as error:
        errors.append((error, None))
    asked = PaginationRequest()
    try:
        asked = PaginationRequest.model_validate(page)
    except ValidationError as error:
        errors.append((error, "pagination"))
    if message is None or errors:
        from .violations import invalid_argument  # it brings protobuf along, which a good request has no need of

        raise invalid_argument(operation, model, errors)
    request = message.to_json()
    if page:
        request["pagination"] = {**request.get("pagination", {}), **asked.to_json()}
    return request
