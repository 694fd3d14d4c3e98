"""Validation of requests by their pydantic models, with all violations of an invalid request."""

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
    """Return the request in the JSON form of `to_json`.

    Args:
        operation: the method of the request.
        fields: the request as received.
        page: the pagination in the query, which takes precedence.
        relaxed_ids: whether ids need not be UUIDs.

    Raises:
        ConnectError: `invalid_argument`, with all violations.
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
        from .violations import invalid_argument  # it imports protobuf, which a valid request does not need

        raise invalid_argument(operation, model, errors)
    request = message.to_json()
    if page:
        request["pagination"] = {**request.get("pagination", {}), **asked.to_json()}
    return request
