"""Contract tests: they check whether a server conforms to `schema/prebuild_service.yaml`.

`run` is equivalent to the command `prebuilds contract URL`, and `PROPERTIES` lists the checked properties. Suites that
use schemathesis alone can register the schema's own string formats:

    import schemathesis
    from prebuilds.contract import register_formats, schema_document

    register_formats()
    schema = schemathesis.openapi.from_dict(schema_document())

It needs the `contract` extra.
"""

from typing import TYPE_CHECKING, Any

from prebuilds.extras import load

if TYPE_CHECKING:
    from prebuilds.contract.formats import format_strategy, register_formats, schema_document
    from prebuilds.contract.properties import PROPERTIES
    from prebuilds.contract.rules.registry import Property
    from prebuilds.contract.runner import Options, Report, check, run
    from prebuilds.contract.transports import AsgiTransport, HttpTransport, Transport, TransportError

__all__ = [
    "PROPERTIES",
    "AsgiTransport",
    "HttpTransport",
    "Options",
    "Property",
    "Report",
    "Transport",
    "TransportError",
    "check",
    "format_strategy",
    "register_formats",
    "run",
    "schema_document",
]

# Where the names come from. Each is loaded when it is first used: schemathesis takes a second.
_HOMES = {
    "formats": ("format_strategy", "register_formats", "schema_document"),
    "properties": ("PROPERTIES",),
    "rules.registry": ("Property",),
    "runner": ("Options", "Report", "check", "run"),
    "transports": ("AsgiTransport", "HttpTransport", "Transport", "TransportError"),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(load(f"{__name__}.{home}", "contract"), name)
    return value
