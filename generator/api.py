"""Stage `generate`, first half: the package `prebuild_api`, by openapi-python-client with our templates.

openapi-python-client receives the skeleton of the schema: each message, enum and method, under a name that it cannot
change. It determines the files; the templates take everything else from `spec.Api`.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from openapi_python_client import Project
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError

from . import attributes, decoding, parameters, skeleton, spec, texts, wording
from .problems import PipelineError, Problem

TEMPLATES = Path(__file__).parent / "templates" / "api"
RUNTIME = Path(__file__).parent / "runtime"

# Templates of ours that openapi-python-client knows nothing of: name -> module.
OWN_MODULES = ("operations", "params", "pages", "resources")

# Modules that do not depend on the schema, and are copied.
RUNTIME_MODULES = ("calls", "client", "display", "http", "paging", "readers", "timestamps", "types")

_RUNTIME_IMPORT = re.compile(r"^( *)from generator\.runtime(?:\.(\w+))? import", re.MULTILINE)


def generate(api: spec.Api, out: Path) -> None:
    """Write the package `prebuild_api` to the directory `out`, unformatted.

    Raises:
        PipelineError: openapi-python-client reported a warning or error; it drops input that it does not understand.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    source = out.parent / "openapi.json"
    bones = skeleton.build(api)
    source.write_text(json.dumps(bones.document), encoding="utf-8")
    settings = ConfigFile(
        post_hooks=[],
        package_name_override=out.name,
        project_name_override=out.name,
        package_version_override="0",
    )
    config = Config.from_sources(settings, MetaType.NONE, source, "utf-8", overwrite=False, output_path=out)
    data = GeneratorData.from_dict(bones.document, config=config)
    if isinstance(data, GeneratorError):
        raise _rejected([data])
    project = Project(openapi=data, config=config, custom_template_path=TEMPLATES)
    environment: Any = project.env
    api = wording.in_python(api)
    environment.globals.update(_globals(api, bones))
    environment.filters.update(_filters(api))
    with contextlib.redirect_stdout(io.StringIO()):
        errors = list(project.build())
    source.unlink()
    if errors:
        raise _rejected(errors)
    _rename(out, bones)
    for name in OWN_MODULES:
        template = project.env.get_template(f"{name}.py.jinja")
        (out / f"{name}.py").write_text(template.render(), encoding="utf-8")
    copy_runtime("api", RUNTIME_MODULES, out)
    (out / "py.typed").touch()
    shutil.rmtree(out / "__pycache__", ignore_errors=True)


def copy_runtime(folder: str, modules: tuple[str, ...], out: Path) -> None:
    """Copy modules of `runtime` that do not depend on the schema, and `scalars`, which both packages have."""
    for name in modules:
        # In the package, `scalars` is in the same directory.
        source = (RUNTIME / folder / f"{name}.py").read_text(encoding="utf-8")
        text = _RUNTIME_IMPORT.sub(r"\1from .\2 import", source)
        (out / f"{name}.py").write_text(text, encoding="utf-8")
    shutil.copyfile(RUNTIME / "scalars.py", out / "scalars.py")


def _rejected(errors: list[GeneratorError]) -> PipelineError:
    return PipelineError(
        "generate",
        [Problem(f"openapi-python-client: {error.header} {error.detail or ''}".strip()) for error in errors],
    )


def _rename(out: Path, bones: skeleton.Skeleton) -> None:
    """Give the files that openapi-python-client has written their own names."""
    folder = out / "models"
    for placeholder, name in bones.components.items():
        (folder / f"{placeholder.lower()}.py").rename(folder / f"{bones.modules[name]}.py")
    for placeholder, service in bones.services.items():
        target = (out / "api" / placeholder).rename(out / "api" / service.module)
        for operation in service.operations:
            (target / f"{bones.placeholder(operation)}.py").rename(target / f"{operation.module}.py")


def _globals(api: spec.Api, bones: skeleton.Skeleton) -> dict[str, Any]:
    everything: dict[str, Any] = {**api.messages, **api.enums}
    nested = api.reachable(*(operation.request for operation in api.operations))
    own = [operation.request for operation in api.operations]
    # A request that contains itself is a parameter, too.
    nested += [message for message in own if message not in nested and message.name in _types_of([*own, *nested])]
    enums = {field.type for message in [*own, *nested] for field in message.fields if field.kind == "enum"}
    return {
        "api": api,
        "components": {placeholder: everything[name] for placeholder, name in bones.components.items()},
        "endpoints": {bones.placeholder(operation): operation for operation in api.operations},
        "param_messages": nested,
        "param_enums": [api.enums[name] for name in sorted(enums)],
    }


def _types_of(messages: list[spec.Message]) -> set[str]:
    return {field.type for message in messages for field in message.fields if field.kind == "message"}


def _filters(api: spec.Api) -> dict[str, Callable[..., Any]]:
    return {
        "attribute_default": partial(attributes.attribute_default, api),
        "attribute_doc": attributes.attribute_doc,
        "attribute_type": partial(attributes.attribute_type, api),
        "cyclic_types": partial(decoding.cyclic_types, api),
        "docstring": texts.docstring,
        "endpoint_doc": endpoint_doc,
        "literal": texts.literal,
        "method_doc": partial(method_doc, api),
        "optional_fields": decoding.optional_fields,
        "other_names": decoding.other_names,
        "param_type": partial(parameters.param_type, api),
        "parameters": partial(parameters.parameters, api),
        "query_value": parameters.query_value,
        "reader": partial(decoding.reader, api),
        "request_arguments": partial(parameters.request_arguments, api),
        "unusual": decoding.unusual,
        "zero_member": partial(attributes.zero_member, api),
    }


def method_doc(api: spec.Api, operation: spec.Operation, indent: int) -> str:
    """The docstring of a client method."""
    options = "`timeout`, `retries`, `headers`, `extra_body`, `on_attempt`: see `CallOptions`."
    given = [(parameter.name, parameter.doc) for parameter in parameters.parameters(api, operation)]
    return texts.call_docstring(
        [operation.summary, _deprecation(operation), operation.description],
        arguments=[*given, ("**options", options)],
        raises=[("PrebuildsError", "the call failed; there is a subclass for each Connect code.")],
        indent=indent,
    )


def endpoint_doc(operation: spec.Operation, returns: str) -> str:
    """The docstring of an endpoint function; the module's docstring describes the method."""
    given = [(field.name, attributes.attribute_doc(field)) for field in operation.query]
    return texts.call_docstring(
        [operation.summary, _deprecation(operation)],
        arguments=[
            ("client", "where to send the request, a `Client` for instance."),
            ("body", "the request message."),
            *given,
        ],
        returns=returns,
        raises=[
            ("httpx.HTTPError", "there was no response."),
            ("DecodeError", "the response does not have the shape that the schema promises."),
        ],
        indent=4,
    )


def _deprecation(operation: spec.Operation) -> str:
    return f"Deprecated: the service has deprecated `{operation.name}`." if operation.deprecated else ""
