"""Whenever a run is killed or meets another one, the tree is whole and the change log is right."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from generator import pipeline, swap
from generator.__main__ import main

from .conftest import TINY, digest

# One worker makes the project that the others would copy.
pytestmark = pytest.mark.xdist_group("pipeline")

ROOT = Path(__file__).parents[2]
BEFORE, AFTER = TINY, TINY.replace("maximum: 8", "maximum: 6")
LINE = "- field BrewRequest.cups: maximum: 8 -> 6\n"


class Killed(BaseException):
    """Stands for the end of the process: nothing behind it runs."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two projects: as the schema was, and as it is after a change."""
    projects = {}
    for name, text in (("before", BEFORE), ("after", AFTER)):
        root = projects[name] = tmp_path_factory.mktemp(name)
        (root / "schema").mkdir()
        (root / "schema" / "prebuild_service.yaml").write_text(text)
        assert main(["--root", str(root), "--no-types"]) == 0
    return projects


@pytest.fixture
def project(made: dict[str, Path], tmp_path: Path) -> pipeline.Project:
    """A project whose schema has changed since the last generation."""
    shutil.copytree(made["before"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "schema" / "prebuild_service.yaml").write_text(AFTER)
    (tmp_path / "schema" / "CHANGELOG.md").write_text("# Changes\n\n## Schema 0.9.0\n\n- old\n")
    return pipeline.Project(tmp_path, types=False)


def check(project: pipeline.Project, made: dict[str, Path]) -> None:
    assert digest(project.generated) == digest(made["after"] / "generated")
    log = project.change_log.read_text()
    assert log.count(LINE) == 1
    assert log.count("## Schema 1.0.0\n") == log.count("## Schema 0.9.0\n") == 1
    assert {path.name for path in project.root.iterdir()} == {"schema", "generated"}
    assert {path.name for path in project.schema.parent.iterdir()} == {"prebuild_service.yaml", "CHANGELOG.md"}


def leave(project: pipeline.Project, made: dict[str, Path]) -> Path:
    """The directory of a run that has made both packages, and was about to put them in place."""
    space = project.root / ".generated-run"
    shutil.copytree(made["after"] / "generated", space / "generated")
    return space


@pytest.mark.parametrize("step", range(6))
def test_a_run_that_was_killed_while_it_swapped_is_repaired(
    step: int, project: pipeline.Project, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = leave(project, made)
    steps = 0

    def counted(real: Callable[..., Path]) -> Callable[..., Path]:
        def run(path: Path, target: Path) -> Path:
            nonlocal steps
            if steps == step:
                raise Killed
            steps += 1
            return real(path, target)

        return run

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(swap, "restore_log", lambda *_: None)
        with contextlib.suppress(Killed):
            swap.swap(space, project.generated, project.change_log, f"# Changes\n\n## Schema 1.0.0\n\n{LINE}")
    log = project.change_log.read_text()
    whole = (space / "generated").exists() is False
    assert swap.repair(project.generated, project.change_log)
    assert not space.exists()
    expected = "after" if whole else "before"
    assert digest(project.generated) == digest(made[expected] / "generated")
    assert project.change_log.read_text() == (log if whole else "# Changes\n\n## Schema 0.9.0\n\n- old\n")


def test_the_next_run_repairs_what_it_finds(
    project: pipeline.Project, made: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    space = leave(project, made)
    project.generated.rename(space / "replaced")
    assert main(["--root", str(project.root), "--no-types"]) == 0
    assert "interrupted" in capsys.readouterr().err
    check(project, made)


def test_an_interruption_is_one_line_that_says_how_the_tree_is(
    project: pipeline.Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(project.root)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(swap, "differences", interrupt)
        assert main(["--root", str(project.root), "--no-types"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; generated/ is as it was"
    assert digest(project.root) == before


def test_a_full_disk_leaves_everything_as_it_was(
    project: pipeline.Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(project.root)

    def full(path: Path, text: str, **_: object) -> int:
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device")

    real = swap.swap

    def swap_on_a_full_disk(space: Path, target: Path, log: Path, entries: str | None) -> None:
        monkeypatch.setattr(Path, "write_text", full)
        real(space, target, log, entries)

    monkeypatch.setattr(swap, "swap", swap_on_a_full_disk)
    assert main(["--root", str(project.root), "--no-types"]) == 1
    monkeypatch.undo()
    assert "No space left on device; generated/ is as it was" in capsys.readouterr().err
    assert digest(project.root) == before
    assert {path.name for path in project.root.iterdir()} == {"schema", "generated"}


def start(project: pipeline.Project) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "generator", "--no-types", "--root", str(project.root)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(100))
def test_a_kill_at_any_moment(seed: int, project: pipeline.Project, made: dict[str, Path]) -> None:
    run = start(project)
    try:
        run.communicate(timeout=random.Random(seed).uniform(0.2, 3))
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
    if project.generated.exists():
        assert digest(project.generated) in {digest(each / "generated") for each in made.values()}
    assert main(["--root", str(project.root), "--no-types"]) == 0
    check(project, made)


@pytest.mark.campaign
@pytest.mark.parametrize("pair", range(20))
def test_two_runs_at_once(pair: int, project: pipeline.Project, made: dict[str, Path]) -> None:
    runs = [start(project), start(project)]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    check(project, made)
