"""The methods of PrebuildService."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from . import models
from .base import Message

__all__ = ["OPERATIONS", "Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of the service.

    `no_side_effects` methods may be sent with GET and repeated, `idempotent` ones may be repeated, and a repeated call
    of an `unsafe` one acts twice. `client_method` is what the Python client calls it.
    """

    name: str
    path: str
    idempotency: Literal["no_side_effects", "idempotent", "unsafe"]
    request: type[Message]
    response: type[Message]
    paged: bool
    client_method: str


OPERATIONS: Final[dict[str, Operation]] = {
    "CreatePrebuild": Operation(
        name="CreatePrebuild",
        path="/gitpod.v1.PrebuildService/CreatePrebuild",
        idempotency="unsafe",
        request=models.CreatePrebuildRequest,
        response=models.CreatePrebuildResponse,
        paged=False,
        client_method="create",
    ),
    "ListPrebuilds": Operation(
        name="ListPrebuilds",
        path="/gitpod.v1.PrebuildService/ListPrebuilds",
        idempotency="no_side_effects",
        request=models.ListPrebuildsRequest,
        response=models.ListPrebuildsResponse,
        paged=True,
        client_method="list",
    ),
    "GetPrebuild": Operation(
        name="GetPrebuild",
        path="/gitpod.v1.PrebuildService/GetPrebuild",
        idempotency="no_side_effects",
        request=models.GetPrebuildRequest,
        response=models.GetPrebuildResponse,
        paged=False,
        client_method="retrieve",
    ),
    "CancelPrebuild": Operation(
        name="CancelPrebuild",
        path="/gitpod.v1.PrebuildService/CancelPrebuild",
        idempotency="unsafe",
        request=models.CancelPrebuildRequest,
        response=models.CancelPrebuildResponse,
        paged=False,
        client_method="cancel",
    ),
    "DeletePrebuild": Operation(
        name="DeletePrebuild",
        path="/gitpod.v1.PrebuildService/DeletePrebuild",
        idempotency="unsafe",
        request=models.DeletePrebuildRequest,
        response=models.DeletePrebuildResponse,
        paged=False,
        client_method="delete",
    ),
    "CreatePrebuildLogsToken": Operation(
        name="CreatePrebuildLogsToken",
        path="/gitpod.v1.PrebuildService/CreatePrebuildLogsToken",
        idempotency="unsafe",
        request=models.CreatePrebuildLogsTokenRequest,
        response=models.CreatePrebuildLogsTokenResponse,
        paged=False,
        client_method="create_logs_token",
    ),
    "CreateWarmPool": Operation(
        name="CreateWarmPool",
        path="/gitpod.v1.PrebuildService/CreateWarmPool",
        idempotency="unsafe",
        request=models.CreateWarmPoolRequest,
        response=models.CreateWarmPoolResponse,
        paged=False,
        client_method="create_warm_pool",
    ),
    "GetWarmPool": Operation(
        name="GetWarmPool",
        path="/gitpod.v1.PrebuildService/GetWarmPool",
        idempotency="no_side_effects",
        request=models.GetWarmPoolRequest,
        response=models.GetWarmPoolResponse,
        paged=False,
        client_method="retrieve_warm_pool",
    ),
    "ListWarmPools": Operation(
        name="ListWarmPools",
        path="/gitpod.v1.PrebuildService/ListWarmPools",
        idempotency="no_side_effects",
        request=models.ListWarmPoolsRequest,
        response=models.ListWarmPoolsResponse,
        paged=True,
        client_method="list_warm_pools",
    ),
    "UpdateWarmPool": Operation(
        name="UpdateWarmPool",
        path="/gitpod.v1.PrebuildService/UpdateWarmPool",
        idempotency="unsafe",
        request=models.UpdateWarmPoolRequest,
        response=models.UpdateWarmPoolResponse,
        paged=False,
        client_method="update_warm_pool",
    ),
    "DeleteWarmPool": Operation(
        name="DeleteWarmPool",
        path="/gitpod.v1.PrebuildService/DeleteWarmPool",
        idempotency="unsafe",
        request=models.DeleteWarmPoolRequest,
        response=models.DeleteWarmPoolResponse,
        paged=False,
        client_method="delete_warm_pool",
    ),
}
"""Each method by its name, in the order of the schema."""
