"""Reading logs over real sockets, with both clients."""

from __future__ import annotations

import asyncio
import random

import pytest

from prebuilds import AsyncPrebuildClient, LogError
from prebuilds.emulator import Plan
from prebuilds.flows.effects import Runtime

from .both import ID, KINDS, TOKEN
from .cases import case
from .emulated import Emulated, Played
from .log_server import Connection, LogServer
from .scripted import Answer, ScriptedServer, a_prebuild

both = pytest.mark.parametrize("kind", KINDS)


async def no_sleep(seconds: float) -> None:
    pass


HASTE = Runtime(sleep=lambda _: None, async_sleep=no_sleep)


def api(log_url, phase="COMPLETED"):
    """A service with one prebuild, whose log is elsewhere."""
    minted = []

    def reply(request):
        if request.path.endswith("CreatePrebuildLogsToken"):
            minted.append(f"logs-token-{len(minted) + 1}")
            return Answer(body={"accessToken": minted[-1]})
        now = phase() if callable(phase) else phase
        return Answer(body={"prebuild": a_prebuild(f"PREBUILD_PHASE_{now}", logUrl=log_url)})

    return ScriptedServer(reply)


def read(kind, *connections, phase="COMPLETED", **options):
    """The lines, the server of the log, and the one of the service."""
    with (
        LogServer(*connections) as log,
        api(f"{log.url}/log?id=1", phase) as service,
        Played(kind, service.url, HASTE, **options) as played,
    ):
        return list(played.stream("logs", ID)), log, service


def pieces(content: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.randrange(len(content) + 1) for _ in range(chance.randrange(30)))
    return [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]


@pytest.mark.campaign(quick=4, full=100)
@both
def test_lines_are_those_of_the_server_whatever_breaks_off(kind, size):
    for seed in range(size):
        with case(f"seed {seed}"):
            chance = random.Random(seed)
            lines = [
                chance.choice(["", "größe \N{SNOWMAN}", f"line {number}", "again", "x" * 5000]) for number in range(200)
            ]
            end = chance.choice(["\n", "\r\n"])
            content = end.join(lines).encode() + b"last"
            lines[-1] += "last"
            broken = [
                Connection(pieces(content[: chance.randrange(len(content))], chance), drop=True)
                for _ in range(chance.randrange(8))
            ]
            found, log, _ = read(kind, *broken, Connection(pieces(content, chance)))
            assert found == lines
            assert len(log.asked) == len(broken) + 1


@both
def test_what_is_not_utf_8_does_not_end_it(kind):
    assert read(kind, Connection([b"\xff\xc3", b"\x28\n"]))[0] == ["\ufffd\ufffd("]


@both
def test_each_server_gets_what_is_meant_for_it_and_nothing_else(kind):
    headers = {"X-Company-Secret": "hush"}
    found, log, service = read(
        kind, Connection([b"one\n"], drop=True), Connection(status=401), Connection([b"one\ntwo\n"]), headers=headers
    )
    assert found == ["one", "two"]
    assert [each["authorization"] for _, each in log.asked] == [
        "Bearer logs-token-1",
        "Bearer logs-token-1",
        "Bearer logs-token-2",
    ]
    for path, each in log.asked:
        assert path == "/log?id=1"
        assert set(each) <= {"host", "authorization", "accept", "user-agent", "accept-encoding", "connection"}
        assert TOKEN not in str(each)
    for request in service.requests:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["x-company-secret"] == "hush"
        assert "logs-token" not in str(request)


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(kind, status):
    with LogServer(Connection([b"secret\n"])) as elsewhere:
        moved = Connection(status=status, headers={"location": f"{elsewhere.url}/"})
        with pytest.raises(LogError, match="redirects to"):
            read(kind, moved)
        assert not elsewhere.asked


@both
def test_a_refused_fresh_token_is_an_error_that_does_not_show_it(kind):
    for status in (401, 403):
        with pytest.raises(LogError) as caught:
            read(kind, lambda headers, status=status: Connection([headers["authorization"].encode()], status=status))
        assert caught.value.status == status
        assert "logs-token" not in str(caught.value)


@both
def test_an_end_while_the_prebuild_runs_leads_to_another_connection(kind):
    phases = ["RUNNING", "RUNNING", "RUNNING", "COMPLETED"]
    found, log, _ = read(
        kind,
        Connection([b"one\n"]),
        Connection([b"one\ntwo\n"]),
        Connection([b"one\ntwo\nthree\n"]),
        phase=lambda: phases.pop(0) if len(phases) > 1 else phases[0],
    )
    assert found == ["one", "two", "three"]
    assert len(log.asked) == 4


@both
def test_who_stops_reading_hangs_up(kind):
    with (
        LogServer(Connection([b"one\n", b"two\n"], hold=True)) as log,
        api(log.url, "RUNNING") as service,
        Played(kind, service.url) as played,
    ):
        lines = played.stream("logs", ID)
        assert next(lines) == "one"
        assert not log.hung_up.is_set()
        lines.close()
        assert log.hung_up.wait(10)


def test_a_reader_that_is_cancelled_hangs_up():
    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=service.url) as client:
            first = asyncio.Event()

            async def follow() -> None:
                async for _ in client.prebuilds.logs(ID):
                    first.set()

            task = asyncio.create_task(follow())
            await first.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(log.hung_up.wait, 10)

    with LogServer(Connection([b"one\n"], hold=True)) as log, api(log.url, "RUNNING") as service:
        asyncio.run(main())


# -- The emulator ------------------------------------------------------------------------------------------------------


@both
def test_the_log_of_the_emulator_is_followed_from_its_beginning_to_its_end(kind):
    with Emulated(kind, Plan(pending=60)) as emulated:
        made = emulated.create()
        lines = []
        for line in emulated.stream("logs", made):
            lines.append(line)
            emulated.clock.advance(40)
        assert len(lines) == len(set(lines)) == 11
        assert "starting" in lines[0]
        assert lines[-1].endswith("the prebuild completed")
        assert list(emulated.stream("logs", made)) == lines
        assert list(emulated.stream("logs", made, follow=False)) == lines


@both
@pytest.mark.parametrize(("method", "last"), [("cancel", "the prebuild was cancelled"), ("delete", "deleting")])
def test_it_ends_with_a_prebuild_that_is_cancelled_or_deleted(kind, method, last):
    with Emulated(kind) as emulated:
        made = emulated.create()
        emulated.clock.advance(60)
        lines = []
        for line in emulated.stream("logs", made):
            if not lines:
                emulated(method, prebuild_id=made.id)
            emulated.clock.advance(30)
            lines.append(line)
        assert last in lines[-1]
        assert len(lines) == len(set(lines))


@both
def test_it_ends_with_a_prebuild_that_is_gone_without_a_trace(kind):
    with Emulated(kind, Plan(stopping=0, deleting=0, tombstone=0)) as emulated:
        made = emulated.create()
        emulated.clock.advance(60)
        lines = emulated.stream("logs", made)
        assert "starting" in next(lines)
        emulated("delete", prebuild_id=made.id)
        assert all("prebuild" in line or "environment" in line for line in lines)


@both
def test_a_token_of_the_emulator_is_renewed_when_its_hour_is_over(kind):
    with Emulated(kind, Plan(running=6900)) as emulated:
        made = emulated.create(spec={"timeout": "7200s"})
        emulated.clock.advance(60)
        lines = emulated.stream("logs", made)
        read = [next(lines)]
        assert emulated.calls["create_logs_token"] == 1
        # The connection outlives the token, and is looked at again when the prebuild is through.
        emulated.clock.advance(7200)
        read += lines
        assert emulated.calls["create_logs_token"] == 2
        assert read[-1].endswith("the prebuild completed")
        assert len(read) == len(set(read))


@both
def test_without_following_there_is_what_there_is(kind):
    with Emulated(kind) as emulated:
        made = emulated.create()
        assert list(emulated.stream("logs", made, follow=False)) == []
        emulated.clock.advance(20)
        assert len(list(emulated.stream("logs", made, follow=False))) == 1
