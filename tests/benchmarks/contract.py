"""How long the contract kit takes, and how many requests it sends in that time."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from prebuilds.contract import HttpTransport, Options, Report, run
from tests.contract.measure import LAYERS, run_kit
from tests.contract.mutants import stock
from tests.contract.mutants.base import TOKEN
from tests.contract.variants import TheEmulator

from .measure import Row, medians
from .servers import emulator

OWN = LAYERS[:3]
"""The layers without schemathesis."""

STOCK_EXAMPLES = 100
"""So many requests schemathesis makes up for each method in each of its random phases, if it is not told otherwise."""

PROBES = 300
"""The most requests that the probes may send."""


def contract() -> list[Row]:
    """The kit over a socket against stock schemathesis, and in process against the time that it may take."""
    # Where a prebuild takes no time, what is measured is the sending, not the waiting.
    with emulator(speed=6000) as port:
        url = f"http://127.0.0.1:{port}"
        ours, theirs = medians(lambda: _own_request(url), lambda: _stock_request(url), rounds=1, warm_up=0)
        probes = min((_over_http(url, ("probes",)) for _ in range(5)), key=lambda report: report.seconds)
    whole, own = medians(lambda: _in_process(LAYERS), lambda: _in_process(OWN), rounds=3, warm_up=1)
    sent = sum(layer.requests for layer in probes.layers)
    few = sent <= PROBES
    return [
        Row(
            "contract: a request of our own layers",
            ours,
            "stock schemathesis",
            theirs,
            target=0.1,
            note=f"at least 10x its requests a second: {theirs / ours:.1f}x",
        ),
        _limit("contract: probes over a socket", probes.seconds, 0.5, f"{sent} requests, at most {PROBES}", met=few),
        _limit("contract: all layers in process", whole, 15.0),
        _limit("contract: without schemathesis", own, 5.0),
    ]


def _limit(what: str, seconds: float, limit: float, note: str = "", *, met: bool = True) -> Row:
    """A row for something that may take a number of seconds on any machine."""
    text = ", ".join(filter(None, (f"at most {limit:g} s", note)))
    return Row(what, seconds, "the limit", limit, target=1.0 if met else 0.0, note=text)


def _own_request(url: str) -> float:
    report = _over_http(url, OWN)
    return sum(layer.seconds for layer in report.layers) / sum(layer.requests for layer in report.layers)


def _over_http(url: str, layers: tuple[str, ...]) -> Report:
    transport = HttpTransport(url)
    try:
        with TemporaryDirectory() as folder:
            options = Options(url=url, token=TOKEN, layers=layers, ledger=Path(folder, "ledger"))
            report = run(options, transport=transport)
    finally:
        transport.close()
    assert not report.broken, report.broken
    return report


def _stock_request(url: str) -> float:
    start = time.perf_counter()
    sent = sum(len(recorder.interactions) for recorder in stock.recorders(0, STOCK_EXAMPLES, base_url=url))
    return (time.perf_counter() - start) / sent


def _in_process(layers: tuple[str, ...]) -> float:
    report = run_kit(TheEmulator, layers=layers)
    assert not report.broken, report.broken
    return report.seconds
