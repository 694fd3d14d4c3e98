"""How long the client takes to import."""

import os
import subprocess
import sys

from .measure import Row, medians

_CHILD = """
import time
start = time.perf_counter()
import {modules}
seconds = time.perf_counter() - start
for module in ({modules},):
    # A folder that is no package imports as well, in no time.
    assert module.__file__, f"there is nothing in {{module}}"
print(seconds)
"""


def importing() -> list[Row]:
    """The client against what it is made of, each time in an interpreter of its own."""
    whole, parts = medians(
        lambda: _import_in_a_fresh_interpreter("prebuilds.client"),
        lambda: _import_in_a_fresh_interpreter("httpx, attrs"),
        rounds=15,
        warm_up=2,
    )
    return [Row("import prebuilds.client", whole, "import httpx, attrs", parts, target=1.4)]


def _import_in_a_fresh_interpreter(modules: str) -> float:
    command = [sys.executable, "-c", _CHILD.format(modules=modules)]
    # What is imported is compiled in the first of the warm-up rounds, as pip compiles what it installs.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)
