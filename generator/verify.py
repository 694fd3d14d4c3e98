"""Stage `verify`: do the generated packages work, before anything in the tree changes?"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import examples, samples, spec, type_check
from .document import Document, join
from .problems import PipelineError, Problem

_CHECK = Path(__file__).parent / "verify_packages.py"

# How long the programs may take that verify runs, in seconds.
TIME_LIMIT = 600


def verify(document: Document, api: spec.Api, root: Path, *, types: bool = True) -> None:
    """Import both packages below `root` in a clean interpreter, and use everything in them.

    Every message goes with all its fields, and with those that it needs, from JSON to the attrs model, the pydantic
    model and protobuf's binary form, and back. Every client method and endpoint function is called, synchronous and
    asynchronous, against a stub. With `types`, mypy and pyright read both packages.

    Raises:
        PipelineError: with each problem.
    """
    with ThreadPoolExecutor(max_workers=3) as pool:
        checkers: list[Future[list[Problem]]] = []
        if types and not type_check.is_known(root):
            checkers = [pool.submit(check, root, api, TIME_LIMIT) for check in (type_check.mypy, type_check.pyright)]
        problems = _used(api, document.data, root)
        for checker in checkers:
            problems += checker.result()
    if problems:
        raise PipelineError("verify", [document.problem(item.pointer or "#", item.reason) for item in problems])
    if types:
        type_check.remember(root)


def _used(api: spec.Api, document: dict[str, Any], root: Path) -> list[Problem]:
    try:
        result = subprocess.run(
            [sys.executable, "-I", "-B", "-W", "error", str(_CHECK), str(root)],
            input=json.dumps(_question(api, document)),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return [Problem(f"using the packages took more than {TIME_LIMIT} s")]
    if result.returncode not in (0, 1) or result.stderr.strip():
        # The last line of a traceback is what it is about.
        reason = (result.stderr.strip() or f"exit code {result.returncode}").splitlines()[-1]
        return [Problem(f"the packages cannot be used: {reason}")]
    return [Problem(item["reason"], item["pointer"]) for item in json.loads(result.stdout)]


def _question(api: spec.Api, document: dict[str, Any]) -> dict[str, Any]:
    """The tasks of the verification."""
    return {
        "messages": {name: _message(api, message) for name, message in api.messages.items()},
        "enums": {name: [member.name for member in enum.members] for name, enum in api.enums.items()},
        "services": [
            {
                "resource": service.resource,
                "module": service.module,
                "operations": [_operation(operation) for operation in service.operations],
            }
            for service in api.services
        ],
        "examples": [asdict(example) for example in examples.find(document)],
    }


def _message(api: spec.Api, message: spec.Message) -> dict[str, Any]:
    return {
        "pointer": join("#/components/schemas", message.name),
        "protobuf_name": message.protobuf_name,
        "names": {field.json_name: field.name for field in message.fields},
        "full": samples.full(api, message),
        "minimal": samples.minimal(api, message),
        "wrong": {
            field.json_name: "text" if field.repeated or field.mapped or field.kind == "message" else {"a": 1}
            for field in message.fields
            if field.kind != "json" or field.repeated or field.mapped
        },
        "enums": [
            field.json_name for field in message.fields if field.kind == "enum" and not (field.repeated or field.mapped)
        ],
    }


def _operation(operation: spec.Operation) -> dict[str, Any]:
    return {
        "pointer": join("#/paths", operation.path, "post"),
        "name": operation.name,
        "path": operation.path,
        "module": operation.module,
        "constant": operation.constant,
        "method": operation.client_method,
        "paged": operation.paging is not None,
        "request": operation.request.name,
        "response": operation.response.name,
        "keywords": [
            {
                "name": keyword.name,
                "field": keyword.field.json_name,
                "outer": keyword.outer.json_name if keyword.outer else None,
                "needed": keyword.outer is None and keyword.field.required,
            }
            for keyword in operation.keywords
        ],
        "query": [[field.name, field.kind] for field in operation.query],
    }
