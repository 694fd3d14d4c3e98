"""Measures one row with one client, in this process: `python CLIENT.py ROW SIDE URL [--profile]`.

It prints JSON: the CPU seconds of one call, and the first values that the last call read. The clients beside this
file run in environments of their own, which have the standard library and the vendor's package.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import pstats
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

SERVICE = "/gitpod.v1.PrebuildService"
PREBUILD_ID = "35f9377f-d5b9-4e5c-b69b-dcf368e1a44a"
TOKEN = "benchmark"
PAGE_SIZE = 100

CONCURRENT = 100
"""How many asynchronous calls start at once."""

WARM_UP = 0.05
"""CPU seconds of calls, at least, before those that are measured."""

MEASURED = 0.2
"""CPU seconds of the calls that are measured, at least."""

TOP = 25
"""How many functions a profile lists."""

Values = tuple[Any, ...]
"""What a call reads: the id and the log's URL of a prebuild come first, as all sides have them in the same form."""

Call = Callable[[], Values]
AsyncCall = Callable[[], Awaitable[Values]]


@dataclass(frozen=True)
class Setting:
    """Which variant of a client to measure, and the server."""

    side: str
    url: str

    def content(self, method: str, content_type: str) -> bytes:
        """The body of the server's response to a method."""
        request = urllib.request.Request(
            f"{self.url}{SERVICE}/{method}", data=b"{}", headers={"Content-Type": content_type}
        )
        with urllib.request.urlopen(request) as response:
            content: bytes = response.read()
            return content


def measure(**rows: Callable[[Setting], Any]) -> None:
    """Measure the row that the command line names, and end the process. Each row makes the call to measure."""
    row, side, url, *options = sys.argv[1:]
    work = _Work(rows[row](Setting(side, url)))
    work.run(1)
    if not work.is_async:
        # A burst has been a hundred calls, and has opened the connections. The next one has to be measured: it finds
        # all of them idle, which not every client copes with.
        _cpu_seconds(work, WARM_UP)
    profile = cProfile.Profile() if options else None
    with profile or nullcontext():
        seconds = _cpu_seconds(work, MEASURED)
    if profile is None:
        print(json.dumps({"seconds": seconds, "read": work.values[:2]}))
    else:
        pstats.Stats(profile).sort_stats("tottime").print_stats(TOP)
    sys.stdout.flush()
    # Ends without the interpreter's shutdown: now and then the threads of pyqwest abort the process in it.
    os._exit(0)


class _Work:
    """One call, or a burst of CONCURRENT calls at once if they are asynchronous."""

    def __init__(self, call: Any) -> None:
        self.values: Values = ()
        self.is_async = iscoroutinefunction(call)
        self.calls = CONCURRENT if self.is_async else 1
        self._call = call
        self._runner = asyncio.Runner()

    def run(self, times: int) -> None:
        if self.is_async:
            self._runner.run(self._bursts(times))
        else:
            for _ in range(times):
                self.values = self._call()

    async def _bursts(self, times: int) -> None:
        for _ in range(times):
            *_, self.values = await asyncio.gather(*(self._call() for _ in range(CONCURRENT)))


def _cpu_seconds(work: _Work, least: float) -> float:
    """The CPU seconds of one call: user and system, in all threads of this process, over `least` seconds or more."""
    times, done = 1, 0
    begin = time.process_time()
    while True:
        work.run(times)
        done += times
        seconds = time.process_time() - begin
        if seconds >= least:
            return seconds / (done * work.calls)
        times *= 2
