"""The README's samples, for type checkers. Written by `python -m tests.test_readme`; never run."""

# pyright: reportUnusedVariable=false

from __future__ import annotations

from prebuilds import Prebuild, PrebuildClient


def sample_0(project: str, prebuild: Prebuild) -> None:
    from prebuilds import PrebuildClient

    with PrebuildClient() as client:  # takes the token from GITPOD_API_KEY
        prebuild = client.prebuilds.create_and_wait(
            project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", spec={"timeout": "3600s"}
        )
        print(prebuild.status.phase, prebuild.status.snapshot_size_bytes)


def sample_1(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from pathlib import Path
    from prebuilds import PrebuildClient


    def token() -> str:
        return Path("/tmp/prebuild-token").read_text()


    short_lived = PrebuildClient(bearer_token=token, timeout=30, retries=4, headers={"X-Team": "build"})
    impatient = short_lived.with_options(timeout=5, retries=0)  # on the same connections


def sample_2(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    for prebuild in client.prebuilds.list(project_ids=[project], phases=["PREBUILD_PHASE_FAILED"]):
        print(prebuild.id, prebuild.status.failure_message)


def sample_3(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    prebuild = client.prebuilds.create_and_wait(
        project_id=project,
        timeout=3600,
        stalled_after=1800,
        on_update=lambda seen: print(seen.status.phase),
    )
    if prebuild.status.warning_message:
        print("completed, but:", prebuild.status.warning_message)


def sample_4(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    for line in client.prebuilds.logs(prebuild):
        print(line)


def sample_5(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from datetime import timedelta

    client.prebuilds.cancel_active(project)  # before a newer commit is built
    newest = client.prebuilds.latest(project)
    if newest:
        print(newest.id, newest.status.completion_time)
    old = client.prebuilds.prune(project_ids=[project], older_than=timedelta(days=3), keep=2, dry_run=True)
    pool = client.prebuilds.ensure_warm_pool(project, "d2c94c27-3b76-4a42-b88c-95a85e392c68", min_size=1, max_size=3)


async def sample_6(project: str, prebuild: Prebuild) -> None:
    from prebuilds import AsyncPrebuildClient

    async with AsyncPrebuildClient() as client:
        async for prebuild in client.prebuilds.list(page_size=100):
            print(prebuild.id)
        page = await client.prebuilds.list()  # the first page alone
        async for line in client.prebuilds.logs(page.prebuilds[0], follow=False):
            print(line)


def sample_7(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import APIError, CallError, InvalidArgumentError

    try:
        client.prebuilds.create(project_id=project, spec={"timeout": "5s"})
    except InvalidArgumentError as error:
        print(error.message, [str(violation) for violation in error.violations])
    except APIError as error:
        print(error.code, error.status, error.retry_after, error.request_id)
    except CallError as error:
        print("no proper answer; it may have run:", error.maybe_executed)


def sample_8(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import Attempt

    attempts: list[Attempt] = []
    client.prebuilds.list(on_attempt=attempts.append)
    for attempt in attempts:
        print(attempt.number, attempt.status, attempt.duration, attempt.retry_in)
        if attempt.response is not None:
            print(attempt.response.headers["content-type"], len(attempt.response.content))


def sample_9(project: str, prebuild: Prebuild) -> None:
    from prebuilds import PrebuildClient
    from prebuilds.emulator import EmulatorServer, ManualClock

    clock = ManualClock()
    with EmulatorServer(clock=clock) as server, PrebuildClient("anything", base_url=server.url) as client:
        started = client.prebuilds.create(project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
        clock.advance(seconds=300)
        assert client.prebuilds.wait(started.prebuild).status.phase.is_terminal


def sample_10(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    import schemathesis
    from prebuilds.contract import register_formats, schema_document

    register_formats()
    schema = schemathesis.openapi.from_dict(schema_document())
