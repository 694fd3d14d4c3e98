"""Errors that clients receive, in the form of the Connect protocol."""

from __future__ import annotations

from typing import Any

from prebuild_wire.enums import ConnectCode

__all__ = ["ConnectCode", "ConnectError"]


class ConnectError(Exception):
    """An error response to a request.

    `details` are objects with `type` (the full name of a protobuf message) and `value` (its binary form as base64
    without padding). The code determines the HTTP status. `http_status` overrides it for the few HTTP responses that
    differ (404, 405, 413, 415), and `headers` are additional headers for them.
    """

    def __init__(
        self,
        code: ConnectCode,
        message: str,
        details: tuple[dict[str, Any], ...] = (),
        *,
        http_status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message
        self.details = details
        self.http_status = code.http_status if http_status is None else http_status
        self.headers = headers or {}

    def to_json(self) -> dict[str, Any]:
        """Return the body of the response."""
        body: dict[str, Any] = {"code": self.code.value, "message": self.message}
        if self.details:
            body["details"] = list(self.details)
        return body
