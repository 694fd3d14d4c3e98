"""A caller of an emulator that runs in this process, with the time in its hands."""

from __future__ import annotations

from typing import Any

import httpx
from google.protobuf.message import Message

from prebuild_wire import OPERATIONS
from prebuilds.emulator import EmulatorControl, EmulatorServer, ManualClock

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
OTHER_PROJECT = "0b9f2c1e-90a2-4c62-a9ab-7a3b0f4f5f11"
ENVIRONMENT_CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
OTHER_CLASS = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
NOBODY = "00000000-0000-4000-8000-000000000000"

SERVICE = "/gitpod.v1.PrebuildService"


NO_CERTIFICATES = False
"""What `verify` is for the clients here. Loading certificates takes five times as long as starting an emulator."""


class Driver:
    def __init__(self, server: EmulatorServer, clock: ManualClock) -> None:
        self.url = server.url
        self.clock = clock
        headers = {"Authorization": "Bearer somebody"}
        self.http = httpx.Client(base_url=server.url, headers=headers, timeout=30, verify=NO_CERTIFICATES)
        self._control_http = httpx.Client(timeout=30, verify=NO_CERTIFICATES)
        self.control = EmulatorControl(server.url, http_client=self._control_http)

    def close(self) -> None:
        self.http.close()
        self._control_http.close()

    def post(self, method: str, body: Any, **options: Any) -> httpx.Response:
        return self.http.post(f"{SERVICE}/{method}", json=body, **options)

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        """The response, which has to be in order and in the canonical form of protobuf JSON."""
        response = self.post(method, fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        body: dict[str, Any] = response.json()
        assert OPERATIONS[method].response.model_validate(body).to_json() == body
        return body

    def proto(self, method: str, message: Message, **options: Any) -> httpx.Response:
        """The response to a request in the binary form of protobuf."""
        headers = {"Content-Type": "application/proto", **options.pop("headers", {})}
        content = message.SerializeToString()
        return self.http.post(f"{SERVICE}/{method}", content=content, headers=headers, **options)

    def refused(self, method: str, **fields: Any) -> str:
        """The code of the error, which has to go with its HTTP status."""
        response = self.post(method, fields)
        body = response.json()
        assert response.status_code == STATUSES[body["code"]]
        assert body["message"]
        return str(body["code"])

    def create(self, project: str = PROJECT, environment_class: str | None = ENVIRONMENT_CLASS, **spec: Any) -> str:
        fields: dict[str, Any] = {"projectId": project, "spec": spec}
        if environment_class is not None:
            fields["environmentClassId"] = environment_class
        return str(self.call("CreatePrebuild", **fields)["prebuild"]["id"])

    def prebuild(self, prebuild_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GetPrebuild", prebuildId=prebuild_id)["prebuild"]
        return found

    def phase(self, prebuild_id: str) -> str:
        return str(self.prebuild(prebuild_id)["status"]["phase"]).removeprefix("PREBUILD_PHASE_")

    def create_pool(self, project: str = PROJECT, environment_class: str = ENVIRONMENT_CLASS, **sizes: int) -> str:
        fields = {"projectId": project, "environmentClassId": environment_class, **sizes}
        return str(self.call("CreateWarmPool", **fields)["warmPool"]["id"])

    def pool(self, pool_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GetWarmPool", warmPoolId=pool_id)["warmPool"]
        return found

    def status(self, prebuild_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.prebuild(prebuild_id)["status"]
        return found

    def prebuilds(self, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("ListPrebuilds", filter=wanted).get("prebuilds", [])
        return found

    def pool_phase(self, pool_id: str) -> str:
        return str(self.pool(pool_id)["status"]["phase"]).removeprefix("WARM_POOL_PHASE_")


STATUSES = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "already_exists": 409,
    "unimplemented": 501,
}
