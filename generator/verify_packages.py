"""Run by `verify` in an interpreter of its own: `python -I verify_packages.py DIRECTORY < question.json`.

Answers a JSON list of `{"pointer", "reason"}` on standard output; exit code 1 if it is not empty.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main() -> int:
    """Answer the question on standard input."""
    sys.path.insert(0, sys.argv[1])
    question = json.load(sys.stdin)
    problems = [*_missing(question), *_examples(question)]
    json.dump(problems, sys.stdout)
    return 1 if problems else 0


def _missing(question: dict[str, Any]) -> list[dict[str, str]]:
    problems: list[dict[str, str]] = []

    def need(module: str, *names: str) -> None:
        try:
            found = importlib.import_module(module)
        except Exception as error:  # noqa: BLE001, whatever a broken package raises is the finding
            problems.append({"pointer": "", "reason": f"import {module}: {type(error).__name__}: {error}"})
            return
        problems.extend(
            {"pointer": "", "reason": f"{module} lacks {name}"} for name in names if not hasattr(found, name)
        )

    need("prebuild_api.models", *question["messages"], *question["enums"])
    need("prebuild_wire.models", *question["messages"])
    need("prebuild_wire.enums", *question["enums"])
    need("prebuild_wire.descriptors")
    folder = _endpoint_folder()
    for operation in question["operations"]:
        need(
            f"{folder}.{operation['module']}",
            "sync",
            "sync_detailed",
            "asyncio",
            "asyncio_detailed",
        )
        need("prebuild_api.operations", operation["module"].upper())
    need("prebuild_api.resources")
    if not problems:
        problems += _resources(question)
    return problems


def _endpoint_folder() -> str:
    import pkgutil

    import prebuild_api.api

    names = [module.name for module in pkgutil.iter_modules(prebuild_api.api.__path__)]
    return f"prebuild_api.api.{names[0]}"


def _resources(question: dict[str, Any]) -> list[dict[str, str]]:
    from prebuild_api import operations, resources
    from prebuild_wire.operations import OPERATIONS

    problems: list[dict[str, str]] = []
    names = {operation["name"] for operation in question["operations"]}
    for where, found in (
        ("prebuild_api.operations", {operation.name for operation in operations.OPERATIONS}),
        ("prebuild_wire.operations", set(OPERATIONS)),
    ):
        if found != names:
            problems.append({"pointer": "", "reason": f"{where} differs by {sorted(found ^ names)}"})
    bases = [value for name, value in vars(resources).items() if name.endswith("Resource")]
    for base in bases:
        problems.extend(
            {"pointer": "", "reason": f"{base.__name__} lacks {operation['client_method']}"}
            for operation in question["operations"]
            if not callable(getattr(base, operation["client_method"], None))
        )
    if len(bases) != 2:
        problems.append({"pointer": "", "reason": "prebuild_api.resources has no pair of resource classes"})
    return problems


def _examples(question: dict[str, Any]) -> list[dict[str, str]]:
    from prebuild_api import models as api
    from prebuild_wire import models as wire

    problems: list[dict[str, str]] = []
    for example in question["examples"]:
        try:
            message = getattr(api, example["component"]).from_dict(example["value"])
            document = json.loads(json.dumps(message.to_dict()))
            strict = getattr(wire, example["component"]).model_validate(document)
            again = getattr(api, example["component"]).from_dict(strict.to_json())
            expected = getattr(wire, example["component"]).model_validate(example["value"]).to_json()
        except Exception as error:  # noqa: BLE001, whatever a broken package raises is the finding
            reason = f"{example['component']}: {type(error).__name__}: {error}"
            problems.append({"pointer": example["pointer"], "reason": reason})
            continue
        if message.additional_properties:
            reason = f"{example['component']}: fields were not understood: {sorted(message.additional_properties)}"
            problems.append({"pointer": example["pointer"], "reason": reason})
        if not _same(strict.to_json(), expected):
            reason = f"{example['component']}: became {strict.to_json()!r} on its way, instead of {expected!r}"
            problems.append({"pointer": example["pointer"], "reason": reason})
        if again != message:
            reason = f"{example['component']}: came back as {again!r}, went as {message!r}"
            problems.append({"pointer": example["pointer"], "reason": reason})
    return problems


def _same(left: Any, right: Any) -> bool:
    """Whether two JSON documents say the same; a moment may be written in several ways."""
    from prebuild_wire.scalars import parse_timestamp

    kinds = left.__class__.__name__, right.__class__.__name__
    if kinds == ("dict", "dict"):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if kinds == ("list", "list"):
        return len(left) == len(right) and all(map(_same, left, right))
    if left != right and kinds == ("str", "str"):
        try:
            return bool(parse_timestamp(left) == parse_timestamp(right))
        except ValueError:
            return False
    return bool(left == right)


if __name__ == "__main__":
    raise SystemExit(main())
