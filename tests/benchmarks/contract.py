"""How long the contract kit takes, and how many requests it sends in that time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from prebuilds.contract import HttpTransport, Options, run, schema_document
from prebuilds.emulator import EmulatorControl
from tests.contract.measure import LAYERS, run_kit
from tests.contract.mutants.base import TOKEN
from tests.contract.variants import TheEmulator

from .measure import Row, medians
from .servers import emulator

OWN = LAYERS[:3]
"""The layers without schemathesis."""

PROBES = 300
"""The most requests that the probes may send, with those that clean up behind them."""


def contract() -> list[Row]:
    """The kit as a command beside stock schemathesis as a command, and the kit against the time that it may take."""
    own, stock = medians(_own_command, _stock_command, rounds=5, warm_up=0)
    with emulator(speed=60_000) as port:
        probes = [_probes(f"http://127.0.0.1:{port}") for _ in range(5)]
    seconds, sent = min(each[0] for each in probes), max(each[1] for each in probes)
    whole, without = medians(lambda: _in_process(LAYERS), lambda: _in_process(OWN), rounds=3, warm_up=1)
    return [
        Row(
            "contract: a request of our own layers",
            own,
            "schemathesis run",
            stock,
            target=0.1,
            note=f"at least 10x its requests a second: {stock / own:.1f}x",
        ),
        _limit(
            "contract: probes over a socket", seconds, 0.5, f"{sent} requests, at most {PROBES}", met=sent <= PROBES
        ),
        _limit("contract: all layers in process", whole, 15.0),
        _limit("contract: without schemathesis", without, 5.0),
    ]


def _limit(what: str, seconds: float, limit: float, note: str = "", *, met: bool = True) -> Row:
    """A row for something that may take a number of seconds on any machine."""
    text = ", ".join(filter(None, (f"at most {limit:g} s", note)))
    return Row(what, seconds, "the limit", limit, target=1.0 if met else 0.0, note=text)


def _own_command() -> float:
    """The seconds that `prebuilds contract` takes for each request, its start included."""
    layers = [word for layer in OWN for word in ("--layer", layer)]
    return _seconds_per_request(
        "prebuilds", lambda url, _: ["contract", url, "--token-env", "TOKEN", *layers], passes=(0,)
    )


def _stock_command() -> float:
    """The same of `schemathesis run`, which is to go on after a failure. Those that it tells of are false alarms."""

    def arguments(url: str, schema: Path) -> list[str]:
        return [
            "run",
            str(schema),
            "--url",
            url,
            "-H",
            f"Authorization: Bearer {TOKEN}",
            "--continue-on-failure",
            "--seed=0",
        ]

    return _seconds_per_request("schemathesis.cli", arguments, passes=(0, 1))


def _seconds_per_request(module: str, arguments: Callable[[str, Path], list[str]], *, passes: tuple[int, ...]) -> float:
    """Run a command against an emulator of its own, which counts the requests."""
    # Where a prebuild takes no time, what is measured is the sending, not the waiting.
    with emulator(speed=60_000) as port, TemporaryDirectory() as folder:
        url, schema = f"http://127.0.0.1:{port}", Path(folder, "schema.json")
        schema.write_text(json.dumps(schema_document()), "utf-8")
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments(url, schema)],
            cwd=folder,
            env={**os.environ, "TOKEN": TOKEN},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        assert done.returncode in passes, done.stdout + done.stderr
        return seconds / _requests(url)


def _probes(url: str) -> tuple[float, int]:
    """The seconds that the probes take, and how many requests are sent in all."""
    before = _requests(url)
    transport = HttpTransport(url)
    try:
        with TemporaryDirectory() as folder:
            options = Options(url=url, token=TOKEN, layers=("probes",), ledger=Path(folder, "ledger"))
            report = run(options, transport=transport)
    finally:
        transport.close()
    assert not report.broken, report.broken
    return report.seconds, _requests(url) - before


def _requests(url: str) -> int:
    """How many requests the emulator has answered."""
    with EmulatorControl(url) as control:
        return max((record.number for record in control.requests(limit=1)), default=0)


def _in_process(layers: tuple[str, ...]) -> float:
    report = run_kit(TheEmulator, layers=layers)
    assert not report.broken, report.broken
    return report.seconds
