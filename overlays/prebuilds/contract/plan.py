"""Plans a run without sending requests: a transport that records requests and simulates responses."""

from __future__ import annotations

import json
import uuid
from typing import Any, cast

from pydantic import ValidationError

from prebuild_wire import OPERATIONS
from prebuilds.contract.methods import ID_FIELD, LISTS, METHODS
from prebuilds.contract.wire import CODES, JSON, Answer, Request, at

_MOMENT = "2030-01-01T00:00:00Z"


class PlanTransport:
    """Records requests instead of sending them to a server.

    Args:
        base_url: the URL of the server.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[Request] = []
        """The recorded requests, in order."""
        self._items: dict[str, dict[str, Any]] = {}
        self._count = 0

    def send(self, request: Request) -> Answer:
        """Record a request, and simulate its response."""
        self.requests.append(request)
        status, content = self._answer(request)
        return Answer(status, {"content-type": JSON}, json.dumps(content).encode(), 0.0, request)

    def close(self) -> None:
        """There is nothing to close."""

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        method = request.method
        if method not in METHODS or request.http_method != "POST":
            return 405, {}
        if not (request.header("authorization") or "").startswith("Bearer "):
            return _error("unauthenticated")
        if request.header("content-type") != JSON:
            return 415, {}
        if request.header("content-encoding"):
            return _error("unimplemented")
        try:
            fields = json.loads(request.body or b"")
            OPERATIONS[method].request.model_validate(fields)
        except (ValidationError, ValueError, RecursionError):
            return _error("invalid_argument")
        return self._act(method, cast("dict[str, Any]", fields))

    def _act(self, method: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method in LISTS:
            kind = "prebuild" if method == "ListPrebuilds" else "warmPool"
            return 200, {f"{kind}s": [item for item in self._items.values() if item["kind"] == kind][:1]}
        if method == "CreatePrebuild":
            spec = {"timeout": "3600s", **fields["spec"]}
            return 200, {"prebuild": self._make("prebuild", fields, spec, "PREBUILD_PHASE_PENDING")}
        if method == "CreateWarmPool":
            place = fields["projectId"], fields["environmentClassId"]
            if any(item["kind"] == "warmPool" and _place(item) == place for item in self._items.values()):
                return _error("already_exists")
            sizes = fields.get("desiredSize")
            spec = {"minSize": fields.get("minSize", sizes or 1), "maxSize": fields.get("maxSize", sizes or 1)}
            return 200, {"warmPool": self._make("warmPool", fields, spec, "WARM_POOL_PHASE_PENDING")}
        if method not in ID_FIELD:
            return _error("unimplemented")
        item = self._items.get(fields[ID_FIELD[method]])
        if item is None:
            return _error("not_found")
        if method.startswith("Delete"):
            del self._items[item["id"]]
            return 200, {}
        if method == "CreatePrebuildLogsToken":
            return 200, {"accessToken": "a-logs-token"}
        if method == "CancelPrebuild":
            item["spec"]["desiredPhase"] = "PREBUILD_PHASE_CANCELLED"
        if method == "UpdateWarmPool":
            size = fields.get("desiredSize")
            both = {} if size is None else {"minSize": size, "maxSize": size}
            item["spec"] |= both | {name: fields[name] for name in ("minSize", "maxSize") if name in fields}
        return 200, {item["kind"]: item}

    def _make(self, kind: str, fields: dict[str, Any], spec: dict[str, Any], phase: str) -> dict[str, Any]:
        self._count += 1
        made_id = str(uuid.UUID(int=self._count, version=4))
        metadata = {
            "projectId": fields["projectId"],
            "environmentClassId": fields.get("environmentClassId") or made_id,
            "creator": {"id": str(uuid.UUID(int=0, version=4))},
            "createdAt": _MOMENT,
            "updatedAt": _MOMENT,
            "triggeredBy": "PREBUILD_TRIGGER_MANUAL",
        }
        item = {"kind": kind, "id": made_id, "metadata": metadata, "spec": spec, "status": {"phase": phase}}
        self._items[made_id] = item
        return item


def _place(item: dict[str, Any]) -> tuple[Any, Any]:
    return at(item, "metadata.projectId"), at(item, "metadata.environmentClassId")


def _error(code: str) -> tuple[int, dict[str, Any]]:
    return CODES[code], {"code": code, "message": ""}
