"""`prebuilds demo`: a prebuild, a list, a warm pool.

By default it runs on the bundled emulator. On a real service, the demo only reads, unless told to create. It then
deletes everything it created, also after a failure or an interrupt.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from prebuild_api.models import Prebuild, WarmPool, WarmPoolPhase
from prebuilds import NotFoundError, PrebuildClient
from prebuilds.cli.exit_codes import SUCCESS, USAGE, CommandError
from prebuilds.cli.session import Session, first_set
from prebuilds.cli.terminal import is_unicode, new_console, one_line
from prebuilds.extras import how_to_install, missing_extras
from prebuilds.options import BASE_URL_VARIABLES, TOKEN_VARIABLES

SPEED = 30
"""The number of seconds of the emulated service per real second: a prebuild takes ten of them."""


@dataclass(frozen=True)
class _Pace:
    """The time that a prebuild or a pool may take, and the longest pause between two polls, both in seconds."""

    patience: float
    interval: float


EMULATED = _Pace(patience=15, interval=0.2)
REAL = _Pace(patience=3 * 3600, interval=10)

STARTING_EMULATOR = 15.0
"""Seconds that the emulator may take until it listens."""

ANYONE = "demo"
"""The emulator takes any token, but it wants one."""


@click.command("demo", epilog="Example: prebuilds demo")
@click.option("--base-url", metavar="URL", help="A service to read from; default: the emulator.")
@click.option("--token-env", metavar="VAR", help="The variable with the token.")
@click.option("--create", is_flag=True, help="Create a prebuild and a warm pool there; needs --project.")
@click.option("--project", metavar="ID", help="The project to create in, or to list.")
def demo_command(*, base_url: str | None, token_env: str | None, create: bool, project: str | None) -> int:
    """Show the client at work: create a prebuild and follow it, list, manage a warm pool.

    Uses the bundled emulator, unless there is --base-url, or the environment has a base URL and a token. On such a
    service it only reads, unless there is --create. It deletes everything that it created.
    """
    from prebuilds.errors import PrebuildsError

    session = Session(base_url=base_url, token_env=token_env)
    try:
        _run(session, base_url=base_url, token_env=token_env, create=create, project=project)
    except PrebuildsError as error:
        return session.report(error)
    return SUCCESS


def _run(session: Session, *, base_url: str | None, token_env: str | None, create: bool, project: str | None) -> None:
    has_token = token_env is not None or first_set(TOKEN_VARIABLES) is not None
    own = base_url or (first_set(BASE_URL_VARIABLES) if has_token else None)
    if own is None:
        if token_env or create:
            raise CommandError("--token-env and --create need a service", hint="add --base-url URL", code=USAGE)
        with _emulator() as address, PrebuildClient(base_url=address, bearer_token=ANYONE) as client:
            _Demo(client, pace=EMULATED).manage(project or str(uuid.uuid4()), several=True)
        return
    if create and project is None:
        raise CommandError("--create needs a project", hint="add --project ID", code=USAGE)
    # A user who waits for the demo should soon see that the service is unreachable.
    with PrebuildClient(base_url=own, bearer_token=session.token, retries=2) as client:
        demo = _Demo(client, pace=REAL)
        if create and project is not None:
            demo.manage(project, several=False)
        else:
            demo.read(own, project)


class _Demo:
    """Shows one step after the other: live on a terminal, as plain lines elsewhere."""

    def __init__(self, client: PrebuildClient, *, pace: _Pace) -> None:
        self._prebuilds = client.prebuilds
        self._pace = pace
        self._console = new_console(sys.stdout, no_color=False)
        # The usual spinner has characters that not every terminal can show.
        self._spinner = "dots" if is_unicode(sys.stdout) else "line"

    def manage(self, project: str, *, several: bool) -> None:
        """Create a prebuild and follow it, list it, and make, resize and delete a warm pool."""
        with ExitStack() as leftovers:
            self._title("A prebuild, created and followed to its end")
            completed = self._create_prebuild(project, leftovers)
            self._follow(completed)

            self._title("A list, page by page")
            if several:
                for _ in range(4):
                    self._create_prebuild(project, leftovers)
            self._list_prebuilds(project, page_size=2, most_pages=3)

            self._title("A warm pool, from creation to deletion")
            self._manage_pool(project, completed.metadata.environment_class_id, leftovers)
        self._title("Everything that was created is deleted again.")

    def read(self, base_url: str, project: str | None) -> None:
        """List the newest prebuilds and the warm pools, and change nothing."""
        self._say(f"Reading from {base_url}; nothing is created there without --create.")
        self._title("The newest prebuilds")
        newest = self._list_prebuilds(project, page_size=5, most_pages=2)
        if newest is not None:
            self._title("The newest one, asked for by its id")
            prebuild = self._prebuilds.retrieve(prebuild_id=newest).prebuild
            self._show_prebuild(prebuild)
            if prebuild.status.warning_message:
                self._say(f"  warning: {prebuild.status.warning_message}")
            if prebuild.status.failure_message:
                self._say(f"  failure: {prebuild.status.failure_message}")
        self._title("Warm pools")
        pools = self._prebuilds.list_warm_pools(
            filter={"project_ids": [project]} if project else None, pagination={"page_size": 5}
        )
        for pool in pools.warm_pools:
            self._show_pool(pool)
        self._say(_count(len(pools.warm_pools), "warm pool", more=pools.has_next_page()))
        self._say("Done.")

    def _create_prebuild(self, project: str, leftovers: ExitStack) -> Prebuild:
        prebuild = self._prebuilds.create(project_id=project, spec={"timeout": "3600s"}).prebuild
        prebuild_id = _id(prebuild)
        leftovers.callback(_unless_gone, lambda: self._prebuilds.delete(prebuild_id=prebuild_id))
        self._say(f"  created {prebuild_id}")
        return prebuild

    def _follow(self, prebuild: Prebuild) -> None:
        began = time.monotonic()
        shown = ""
        with self._console.status("waiting for the first phase", spinner=self._spinner) as status:

            def tell(now: Prebuild) -> None:
                nonlocal shown
                phase = _name(now.status.phase)
                if phase != shown:
                    shown = phase
                    self._say(f"  {time.monotonic() - began:5.1f} s  {phase}")
                percentage = now.status.snapshot_completion_percentage
                status.update(phase if percentage is None else f"{phase} {percentage} %")

            end = self._prebuilds.wait(
                prebuild, timeout=self._pace.patience, poll_interval=self._pace.interval, on_update=tell
            )
        if end.status.warning_message:
            self._say(f"  warning: {end.status.warning_message}")

    def _list_prebuilds(self, project: str | None, *, page_size: int, most_pages: int) -> str | None:
        """Show the pages, and return the id of the first prebuild on them."""
        first: str | None = None
        total = 0
        page = self._prebuilds.list(
            filter={"project_ids": [project]} if project else None,
            pagination={"page_size": page_size},
        )
        more = False
        for number, each in enumerate(page.iter_pages(), start=1):
            self._say(f"  page {number}")
            for prebuild in each.prebuilds:
                first = first or prebuild.id
                self._show_prebuild(prebuild)
            total += len(each.prebuilds)
            more = each.has_next_page()
            if number == most_pages:
                break
        self._say(_count(total, "prebuild", more=more))
        return first

    def _manage_pool(self, project: str, environment_class: str | None, leftovers: ExitStack) -> None:
        if environment_class is None:
            raise CommandError("the prebuild names no environment class to make a warm pool of")
        pool = self._prebuilds.create_warm_pool(
            project_id=project, environment_class_id=environment_class, min_size=1, max_size=2
        ).warm_pool
        pool_id = _id(pool)
        self._say(f"  created {pool_id}")
        leftovers.callback(_unless_gone, lambda: self._prebuilds.delete_warm_pool(warm_pool_id=pool_id))
        self._wait_for_pool(pool_id, lambda now: now.status.phase == WarmPoolPhase.READY and bool(now.spec.snapshot_id))
        self._say("  resizing it to 2..4")
        self._show_pool(self._prebuilds.update_warm_pool(warm_pool_id=pool_id, min_size=2, max_size=4).warm_pool)
        self._say("  deleting it")
        self._prebuilds.delete_warm_pool(warm_pool_id=pool_id)
        try:
            self._wait_for_pool(pool_id, "deleted")
        except NotFoundError:  # a server may have forgotten it at once
            self._say("  it is gone")

    def _wait_for_pool(self, pool_id: str, until: str | Callable[[WarmPool], bool]) -> None:
        shown = ""

        def show(pool: WarmPool) -> None:
            nonlocal shown
            shown = self._show_pool(pool, unless=shown)

        with self._console.status("waiting for the warm pool", spinner=self._spinner):
            self._prebuilds.wait_warm_pool(
                pool_id, until=until, timeout=self._pace.patience, poll_interval=self._pace.interval, on_update=show
            )

    def _show_pool(self, pool: WarmPool, *, unless: str = "") -> str:
        line = (
            f"  {pool.id}  {_name(pool.status.phase):<9}  "
            f"{pool.spec.min_size or 0}..{pool.spec.max_size or 0} instances: "
            f"{pool.status.running_instances or 0} running, "
            f"{pool.status.stopped_instances or 0} stopped; "
            f"snapshot {pool.spec.snapshot_id or 'not yet'}"
        )
        if line != unless:
            self._say(line)
        return line

    def _show_prebuild(self, prebuild: Prebuild) -> None:
        created = prebuild.metadata.created_at
        self._say(f"  {prebuild.id}  {_name(prebuild.status.phase):<12}  {created:%Y-%m-%d %H:%M:%S}")

    def _title(self, text: str) -> None:
        self._console.print(f"\n{text}", style="bold", soft_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(one_line(text), soft_wrap=True)


@contextmanager
def _emulator() -> Generator[str]:
    """Run the bundled emulator on a free port, in a separate process; yields its address."""
    missing = missing_extras(["emulator"])
    if missing:
        raise CommandError(how_to_install(missing, "this command"))
    command = [sys.executable, "-m", "prebuilds", "emulator", "--port", "0", "--speed", str(SPEED)]
    with tempfile.TemporaryDirectory() as folder, _ended_by_signals():
        output = Path(folder, "output")
        with output.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603  # this very interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process, which still needs the emulator to delete what it created.
                start_new_session=True,
            )
        try:
            yield _address(process, output)
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], output: Path) -> str:
    deadline = time.monotonic() + STARTING_EMULATOR
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        said = output.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^listening on (http://\S+)\n", said, flags=re.MULTILINE):
            return found[1]
        if ended:
            last = said.strip().rpartition("\n")[2] or "it printed nothing"
            raise CommandError(f"the emulator ended with exit code {process.returncode}: {last}")
        time.sleep(0.02)
    raise CommandError(f"the emulator did not listen within {STARTING_EMULATOR:g} seconds")


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP unwind the stack, so that the emulator ends too."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    # Windows has no SIGHUP.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unless_gone(delete: Callable[[], object]) -> None:
    with suppress(NotFoundError):
        delete()


def _id(created: Prebuild | WarmPool) -> str:
    if created.id is None:
        raise CommandError("the service returned a resource without an id")
    return created.id


def _name(phase: object) -> str:
    return str(phase).partition("_PHASE_")[2] or str(phase)


def _count(number: int, noun: str, *, more: bool) -> str:
    return f"  {number} {noun}{'' if number == 1 else 's'}{', and there are more' if more else ''}"
