"""Leaving takes an instant, though a server does not respond: by an exception, by Ctrl-C, or at the exit of Python."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from prebuilds import AsyncPrebuildClient, PrebuildClient

from .both import ID, TOKEN
from .hostile import each_engine, each_name
from .scripted import Answer, Request, ScriptedServer, a_prebuild

AN_INSTANT = 0.2
LEEWAY = 0.3
"""Seconds that a busy machine may add."""


@contextmanager
def hanging(logs: bool = False) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers each method once and then falls silent: its URL, and an event for the silence."""
    silent, over = threading.Event(), threading.Event()
    answered: set[str] = set()

    def reply(request: Request) -> Answer:
        method = request.path.rpartition("/")[2]
        if method in answered:
            silent.set()
            over.wait(20)
        answered.add(method)
        if method == "ListPrebuilds":
            found = [a_prebuild(number=number) for number in (1, 2)]
            return Answer(body={"prebuilds": found, "pagination": {"nextToken": "more"}})
        if method == "CreatePrebuildLogsToken":
            answered.add("log")
            return Answer(body={"accessToken": "logs-token"})
        return Answer(body={"prebuild": a_prebuild(**({"logUrl": f"{server.url}/log"} if logs else {}))})

    with ScriptedServer(reply) as server:
        try:
            yield server.url, silent
        finally:
            over.set()


def listed(client: Any) -> Any:
    return client.prebuilds.list()


def paged(client: Any) -> Any:
    return client.prebuilds.list().iter_pages() if isinstance(client, PrebuildClient) else pages_of(client)


async def pages_of(client: AsyncPrebuildClient) -> Any:
    async for page in (await client.prebuilds.list()).iter_pages():
        yield page


def watched(client: Any) -> Any:
    return client.prebuilds.watch(ID, poll_interval=0.01)


def waited(client: Any) -> Any:
    return client.prebuilds.wait(ID, poll_interval=0.01)


def waited_for_all(client: Any) -> Any:
    return client.prebuilds.wait_all([ID, ID.replace("0", "1")], poll_interval=0.01)


def read_log(client: Any) -> Any:
    return client.prebuilds.logs(ID)


WAYS = [listed, paged, watched, waited, waited_for_all, read_log]


@contextmanager
def an_instant(leave: Callable[[], object], silent: threading.Event) -> Iterator[None]:
    """Call `leave` when the server has fallen silent; the block must end right after that."""
    left: list[float] = []

    def wait() -> None:
        assert silent.wait(10)
        time.sleep(0.05)  # so that the client is waiting for sure
        left.append(time.monotonic())
        leave()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    took = time.monotonic() - left[0]
    thread.join()
    assert took < AN_INSTANT + LEEWAY


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@each_engine
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_ctrl_c_ends_what_hangs_at_once(kind, engine, way):
    def work() -> None:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=url, engine=engine) as client:
                outcome = way(client)
                if hasattr(outcome, "__iter__"):
                    list(outcome)
        else:
            asyncio.run(main())

    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=url, engine=engine) as client:
            outcome = way(client)
            if hasattr(outcome, "__aiter__"):
                async for _ in outcome:
                    pass
            else:
                await outcome

    with (
        hanging(logs=way is read_log) as (url, silent),
        an_instant(interrupt, silent),
        pytest.raises(KeyboardInterrupt),
    ):
        work()


@each_engine
@pytest.mark.parametrize("way", [listed, paged], ids=lambda way: way.__name__)
def test_a_list_that_is_left_halfway_ends_at_once_while_the_next_page_is_fetched(kind, engine, way):
    class LeftError(Exception):
        pass

    def work() -> None:
        with PrebuildClient(TOKEN, base_url=url, engine=engine) as client:
            for number, _ in enumerate(way(client)):
                if number == (way is listed):  # the next page is fetched once the first item was worked on
                    assert silent.wait(10)
                    began.append(time.monotonic())
                    raise LeftError

    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=url, engine=engine) as client:
            number = 0
            async for _ in way(client):
                if number == (way is listed):
                    assert await asyncio.to_thread(silent.wait, 10)
                    began.append(time.monotonic())
                    raise LeftError
                number += 1

    began: list[float] = []
    with hanging() as (url, silent):
        with pytest.raises(LeftError):
            work() if kind == "sync" else asyncio.run(main())
        assert time.monotonic() - began[0] < AN_INSTANT + LEEWAY


PROGRAM = """
import os, sys, time
from prebuilds import PrebuildClient
client = PrebuildClient(os.environ["TOKEN"], base_url=sys.argv[1], engine=sys.argv[2])
items = iter(client.prebuilds.list())
next(items), next(items)
input()
print("left", flush=True)
"""


@each_name
def test_the_interpreter_exits_at_once_while_the_next_page_is_fetched(engine):
    with hanging() as (url, silent):
        command = [sys.executable, "-c", PROGRAM, url, engine]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=os.environ | {"TOKEN": TOKEN}
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert silent.wait(10)
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == "left\n"
            begin = time.monotonic()
            assert program.wait(10) == 0
            assert time.monotonic() - begin < AN_INSTANT + LEEWAY


AT_EXIT = """
import atexit, os, sys
from prebuilds import PrebuildClient

@atexit.register
def last_words():
    with PrebuildClient(os.environ["TOKEN"], base_url=sys.argv[1], engine=sys.argv[2]) as client:
        print(len(list(client.prebuilds.list())))
"""


@each_name
def test_a_list_can_be_read_where_no_thread_can_be_started(engine, monkeypatch):
    pages = [{"prebuilds": [a_prebuild()], "pagination": {"nextToken": "more"}}, {"prebuilds": [a_prebuild(number=2)]}]
    with ScriptedServer(*(Answer(body=page) for page in pages)) as server:
        # Python 3.12 and later start no thread at exit.
        command = [sys.executable, "-c", AT_EXIT, server.url, engine]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"TOKEN": TOKEN}, check=False, timeout=20
        )
        assert (done.stdout, done.stderr, done.returncode) == ("2\n", "", 0)
    with ScriptedServer(*(Answer(body=page) for page in pages)) as server:

        def refused(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with PrebuildClient(TOKEN, base_url=server.url, engine=engine) as client:
            serve = threading.Thread.start

            def start(self: threading.Thread) -> None:
                # The server, which shares the process, may go on to start threads.
                refused(self) if threading.current_thread() is threading.main_thread() else serve(self)

            monkeypatch.setattr(threading.Thread, "start", start)
            assert len(list(client.prebuilds.list())) == 2
