"""The methods of the service and their roles, as far as possible from the schema."""

from __future__ import annotations

from typing import Final

from prebuild_wire import OPERATIONS
from prebuilds.contract import schema

METHODS: Final = tuple(OPERATIONS)
"""All methods of the service, in the order of the schema."""

READS: Final = tuple(name for name, operation in OPERATIONS.items() if operation.idempotency == "no_side_effects")
"""The methods that change nothing."""

WRITES: Final = tuple(name for name in METHODS if name not in READS)
"""The methods that may change something."""

CREATES: Final = ("CreatePrebuild", "CreateWarmPool")
"""The methods that create a resource to clean up."""

DELETES: Final = ("DeletePrebuild", "DeleteWarmPool")
"""The methods that delete something."""

LISTS: Final = ("ListPrebuilds", "ListWarmPools")
"""The methods that list created resources, page by page."""

HAND_WRITTEN: Final = (
    *CREATES,
    *LISTS,
    *DELETES,
    *("GetPrebuild", "CancelPrebuild", "CreatePrebuildLogsToken", "GetWarmPool", "UpdateWarmPool"),
)
"""The methods whose behaviour the kit knows. For other methods, it checks only the schema."""


def _id_field(method: str) -> str | None:
    """The request field with the id of the method's resource, None if there is no such field."""
    of = schema.fields(OPERATIONS[method].request_name)
    ids = [name for name in schema.required(method) if of[name].get("format") == "uuid"]
    return ids[0] if len(ids) == 1 and method not in CREATES else None


ID_FIELD: Final = {method: name for method in METHODS if (name := _id_field(method)) is not None}
"""The field of the request that carries the id of something that exists, by method."""

OF_ID: Final = tuple(ID_FIELD)
"""The methods that are called with the id of something that exists."""

OF_PREBUILD: Final = tuple(method for method, name in ID_FIELD.items() if name == "prebuildId")
"""The methods that are called with the id of a prebuild."""

OF_POOL: Final = tuple(method for method, name in ID_FIELD.items() if name == "warmPoolId")
"""The methods that are called with the id of a warm pool."""

SHOWS_PREBUILD: Final = ("CreatePrebuild", "GetPrebuild", "ListPrebuilds", "CancelPrebuild")
"""The methods that return prebuilds."""

SHOWS_POOL: Final = ("CreateWarmPool", "GetWarmPool", "ListWarmPools", "UpdateWarmPool")
"""The methods that return warm pools."""
