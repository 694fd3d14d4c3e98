"""The samples of the documentation, for type checkers. Written by `python -m tests.docs.samples`."""

# pyright: reportUnusedVariable=false, reportUnusedFunction=false

from __future__ import annotations

from prebuilds import Prebuild, PrebuildClient


def readme() -> None:
    from contextlib import ExitStack
    from prebuilds import PrebuildClient
    from prebuilds.emulator import EmulatorServer

    resources = ExitStack()  # resources.close() stops the emulator and closes the client
    emulator = resources.enter_context(EmulatorServer(speed=600))  # ten minutes of the service pass in a second
    client = resources.enter_context(PrebuildClient("any-token", base_url=emulator.url))

    project = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
    prebuild = client.prebuilds.create_and_wait(project_id=project, spec={"timeout": "3600s"})
    print(prebuild.status.phase, prebuild.status.snapshot_size_bytes)

    from prebuilds import WaitError

    created = client.prebuilds.create(project_id=project)
    try:
        prebuild = client.prebuilds.wait(created.prebuild, timeout=3600, stalled_after=1800)
    except WaitError as error:
        print(error, error.failure_message, error.log_url)

    for line in client.prebuilds.logs(prebuild):
        print(line)

    for prebuild in client.prebuilds.list(project_ids=[project], phases=["completed"]):
        print(prebuild.id, prebuild.status.completion_time)

    import asyncio
    from prebuilds import AsyncPrebuildClient


    async def main() -> None:
        async with AsyncPrebuildClient("any-token", base_url=emulator.url) as client:
            page = await client.prebuilds.list(project_ids=[project])
            await client.prebuilds.wait_all(page.prebuilds, timeout=3600)


    asyncio.run(main())

    import pytest
    from prebuilds import PrebuildFailedError
    from prebuilds.emulator import Outcome
    from pytest_prebuilds import PrebuildEmulator


    def test_a_full_disk_is_reported(prebuild_emulator: PrebuildEmulator) -> None:
        prebuild_emulator.control.plan_outcome(Outcome(fails_in="RUNNING", message="no space left on device"))
        prebuilds = prebuild_emulator.client.prebuilds
        with pytest.raises(PrebuildFailedError, match="no space left"):
            prebuilds.create_and_wait(project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047", timeout=3600)


def docs_client(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from pathlib import Path
    from prebuilds import PrebuildClient


    def token() -> str:
        return Path("/run/secrets/prebuild-token").read_text()


    short_lived = PrebuildClient(bearer_token=token, timeout=30, retries=4, headers={"X-Team": "build"})
    impatient = short_lived.with_options(timeout=5, retries=0)  # shares the connections
    short_lived.close()

    for failed in client.prebuilds.list(project_ids=[project], phases=["failed"]):
        print(failed.id, failed.status.failure_message)

    page = client.prebuilds.list(page_size=50)
    while page.has_next_page():
        page = page.get_next_page()

    completed = client.prebuilds.create_and_wait(
        project_id=project,
        timeout=3600,
        stalled_after=1800,
        on_update=lambda seen: print(seen.status.phase),
    )
    if completed.status.warning_message:
        print("completed with a warning:", completed.status.warning_message)

    for line in client.prebuilds.logs(prebuild):
        print(line)

    from datetime import timedelta

    client.prebuilds.cancel_active(project)  # before you build a newer commit
    newest = client.prebuilds.latest(project)
    if newest:
        print(newest.id, newest.status.completion_time)
    old = client.prebuilds.prune(project_ids=[project], older_than=timedelta(days=3), keep=2, dry_run=True)
    pool = client.prebuilds.ensure_warm_pool(project, "d2c94c27-3b76-4a42-b88c-95a85e392c68", min_size=1, max_size=3)

    import asyncio
    from prebuilds import AsyncPrebuildClient


    async def main() -> None:
        async with AsyncPrebuildClient() as client:
            async for prebuild in client.prebuilds.list(page_size=100):
                print(prebuild.id)
            page = await client.prebuilds.list()  # the first page only
            async for line in client.prebuilds.logs(page.prebuilds[0], follow=False):
                print(line)


    asyncio.run(main())

    from prebuilds import APIError, CallError, InvalidArgumentError

    try:
        client.prebuilds.create(project_id=project, spec={"timeout": "5s"})
    except InvalidArgumentError as error:
        print(error.message, [str(violation) for violation in error.violations])
    except APIError as error:
        print(error.code, error.status, error.retry_after, error.request_id)
    except CallError as error:
        print("no valid response; the call may have run:", error.maybe_executed)

    from prebuilds import Attempt

    attempts: list[Attempt] = []
    client.prebuilds.list(on_attempt=attempts.append)
    for attempt in attempts:
        print(attempt.number, attempt.status, attempt.duration, attempt.retry_in)
        if attempt.response is not None:
            print(attempt.response.headers["content-type"], len(attempt.response.content))

    from prebuild_api.api.prebuild_service import list_prebuilds
    from prebuild_api.models import ListPrebuildsRequest

    response = list_prebuilds.sync(client=client, body=ListPrebuildsRequest())


def docs_emulator(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import PrebuildClient
    from prebuilds.emulator import EmulatorServer, ManualClock

    clock = ManualClock()
    with EmulatorServer(clock=clock) as server, PrebuildClient("any-token", base_url=server.url) as manual:
        started = manual.prebuilds.create(project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
        clock.advance(seconds=300)
        assert manual.prebuilds.wait(started.prebuild).status.phase.is_terminal

    from prebuilds.emulator import ConnectCode, EmulatorControl, EmulatorServer, ErrorFault, Outcome, Plan

    with EmulatorServer() as server, EmulatorControl(server.url) as control:
        # Outcomes: of the next prebuild, of the next three of a project, of all of a project.
        control.plan_outcome(Outcome(warning="the dev container did not build"))
        control.plan_outcome(Outcome(stalls_in="STARTING"), project_id=project, times=3)
        control.declare_project(project, daily_at_hour=4, outcome=Outcome(takes=900))
        control.put_plan(Plan(running=600, draining=0))  # durations, in emulated seconds

        # Faults: the second and third GetPrebuild fail. `consumed` counts the calls that met the fault.
        fault = control.plan_fault(
            ErrorFault(method="GetPrebuild", code=ConnectCode.RESOURCE_EXHAUSTED, retry_after=5, times=2, after=1)
        )
        assert control.fault(fault.id).consumed == 0

        # Time and state.
        control.freeze()
        control.advance(24 * 3600)
        state = control.dump_state()
        control.reset()
        control.load_state(state)


def docs_explanation_decoding(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import Prebuild, PrebuildPhase

    newer = Prebuild.from_dict(prebuild.to_dict() | {"priority": "high"})
    assert newer.additional_properties == {"priority": "high"}
    assert newer.status.phase == PrebuildPhase.COMPLETED and newer.status.phase.is_known


def docs_explanation_never_two(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import CallError

    try:
        client.prebuilds.create(project_id=project)
    except CallError as error:
        if error.maybe_executed:
            print("look for the prebuild before you create another one")


def docs_explanation_retries(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds.emulator import EmulatorControl, EmulatorServer, HtmlFault
    from prebuilds import Attempt, PrebuildClient

    attempts: list[Attempt] = []
    with EmulatorServer() as server, EmulatorControl(server.url) as control:
        control.plan_fault(HtmlFault(status=503, times=2))
        with PrebuildClient("any-token", base_url=server.url, on_attempt=attempts.append) as retrying:
            retrying.prebuilds.list()
    assert [attempt.status for attempt in attempts] == [503, 503, 200]


def docs_how_to_fixtures(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    import pytest
    from prebuilds import PrebuildFailedError
    from prebuilds.emulator import DropFault, Outcome
    from pytest_prebuilds import PrebuildEmulator

    PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"


    def test_a_failed_prebuild_raises(prebuild_emulator: PrebuildEmulator) -> None:
        prebuild_emulator.control.plan_outcome(Outcome(fails_in="RUNNING", message="no space left on device"))
        client = prebuild_emulator.client
        started = client.prebuilds.create(project_id=PROJECT)
        with pytest.raises(PrebuildFailedError, match="no space left"):
            client.prebuilds.wait(started.prebuild, timeout=3600)  # takes milliseconds


    def test_a_lost_response_is_retried(prebuild_emulator: PrebuildEmulator) -> None:
        prebuild_emulator.control.plan_fault(DropFault(method="ListPrebuilds"))
        assert prebuild_emulator.client.prebuilds.list().prebuilds == []
        assert [request.status for request in prebuild_emulator.control.requests()] == [None, 200]

    import pytest
    from prebuilds import NotFoundError
    from pytest_prebuilds import PrebuildEmulator


    @pytest.mark.prebuild_emulator(strict_projects=True)
    def test_an_unknown_project_is_not_found(prebuild_emulator: PrebuildEmulator) -> None:
        with pytest.raises(NotFoundError):
            prebuild_emulator.client.prebuilds.create(project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")


def docs_how_to_migrate(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import PrebuildClient

    with PrebuildClient() as gitpod:  # was: from gitpod import Gitpod; gitpod = Gitpod()
        created = gitpod.prebuilds.create(project_id=project, spec={"timeout": "3600s"})
        for each in gitpod.prebuilds.list(filter={"project_ids": [project]}):
            print(each.id)


def docs_how_to_network(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    import httpx
    from prebuilds import PrebuildClient

    through_proxy = PrebuildClient("token", http_client=httpx.Client(proxy="http://proxy.example:3128"))
    through_proxy.close()

    import ssl
    from prebuilds import PrebuildClient

    context = ssl.create_default_context()  # context.load_verify_locations("ca.pem") adds a certificate of your own
    private = PrebuildClient("token", base_url="https://gateway.example/api", ssl_context=context)
    private.close()


def docs_how_to_observe(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    from prebuilds import telemetry

    telemetry.instrument()  # takes tracer_provider= and meter_provider=, too
    client.prebuilds.list(project_ids=[project])
    telemetry.uninstrument()


def docs_how_to_test_a_server(client: PrebuildClient, project: str, prebuild: Prebuild) -> None:
    import schemathesis
    from prebuilds.contract import register_formats, schema_document

    register_formats()
    schema = schemathesis.openapi.from_dict(schema_document())
