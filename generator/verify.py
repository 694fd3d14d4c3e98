"""Stage `verify`: do the generated packages work, before anything in the tree changes?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import examples, spec
from .problems import PipelineError, Problem

_CHECK = Path(__file__).parent / "verify_packages.py"


def verify(document: dict[str, Any], api: spec.Api, root: Path) -> None:
    """Import both packages below `root` in a clean interpreter and send every example through them.

    Every operation has to be there, and every example has to come back the same by way of
    schema -> attrs -> JSON -> pydantic -> JSON -> attrs.

    Raises:
        PipelineError: with each thing that does not work.
    """
    question = {
        "operations": [
            {
                "name": operation.name,
                "module": operation.module,
                "client_method": operation.client_method,
            }
            for operation in api.operations
        ],
        "messages": sorted(api.messages),
        "enums": sorted(api.enums),
        "examples": [
            {"pointer": example.pointer, "component": example.component, "value": example.value}
            for example in examples.find(document)
        ],
    }
    result = subprocess.run(
        [sys.executable, "-I", "-B", "-W", "error", str(_CHECK), str(root)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode not in (0, 1) or result.stderr.strip():
        raise PipelineError("verify", [Problem(result.stderr.strip() or f"exit code {result.returncode}")])
    problems = [Problem(item["reason"], item["pointer"]) for item in json.loads(result.stdout)]
    if problems:
        raise PipelineError("verify", problems)
