"""`python -m generator` as a maintainer runs it: all or nothing, the same bytes each time, and a report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from generator import api, pipeline, spec, stamp, wire
from generator.__main__ import main
from generator.problems import PipelineError

from .conftest import TINY, Schema, digest, small, write
from .test_lint import SCHEMAS, at
from .test_report import add_operation

# One worker makes the project that the others would copy.
pytestmark = pytest.mark.xdist_group("pipeline")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the small schema, generated; to be copied, not changed."""
    root = tmp_path_factory.mktemp("project")
    (root / "schema").mkdir()
    (root / "schema" / "prebuild_service.yaml").write_text(TINY)
    assert main(["--root", str(root), "--no-types"]) == 0
    return root


@pytest.fixture
def project(generated_once: Path, tmp_path: Path) -> pipeline.Project:
    """A copy of that project, to be changed."""
    shutil.copytree(generated_once, tmp_path, dirs_exist_ok=True)
    return pipeline.Project(tmp_path)


@pytest.fixture
def copied(generated_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are not made but copied, which saves a second: for tests of the stages after that.

    The document within them is the one that was asked for, as what has changed is told by it.
    """
    made = generated_once / "generated"

    def make_api(model: spec.Api, out: Path) -> None:
        shutil.copytree(made / "prebuild_api", out)

    def make_wire(schema: Schema, model: spec.Api, out: Path) -> None:
        shutil.copytree(made / "prebuild_wire", out)
        if schema != small():
            (out / "openapi.json").write_text(json.dumps(schema), encoding="utf-8")

    monkeypatch.setattr(api, "generate", make_api)
    monkeypatch.setattr(wire, "generate", make_wire)
    monkeypatch.setattr(stamp, "format_and_stamp", lambda root: None)


def run(project: pipeline.Project, *options: str) -> int:
    return main(["--root", str(project.root), "--no-types", *options])


def test_both_packages_are_made(project: pipeline.Project) -> None:
    names = {path.name for path in project.generated.iterdir()}
    assert names == {"prebuild_api", "prebuild_wire"}
    for package in names:
        assert (project.generated / package / "py.typed").exists()


def test_generating_again_changes_nothing_and_leaves_nothing_beside_the_packages(
    project: pipeline.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(project.generated)
    assert run(project) == 0
    assert digest(project.generated) == before
    assert not project.change_log.exists()
    assert "no change of the API" in capsys.readouterr().out
    assert {path.name for path in project.root.iterdir()} == {"schema", "generated"}


def dangling(schema: Schema) -> str:
    at(schema, *SCHEMAS, "BrewResponse", "properties", "pot")["$ref"] = "#/components/schemas/Cup"
    return yaml.dump(schema, sort_keys=False)


BROKEN = {
    "invalid YAML": (lambda schema: (TINY + "\n  - ]").encode(), "", "invalid YAML"),
    "not UTF-8": (lambda schema: b"\xff\xfe" + TINY.encode(), "", "cannot be read"),
    "a dangling reference": (
        lambda schema: dangling(schema).encode(),
        "#/components/schemas/BrewResponse/properties/pot/$ref",
        "nothing stands at #/components/schemas/Cup",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_schema_leaves_everything_as_it_was(
    name: str, project: pipeline.Project, tiny: Schema, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, pointer, reason = BROKEN[name]
    project.schema.write_bytes(broken(tiny))
    before = digest(project.root)
    assert run(project) == 1
    assert digest(project.root) == before
    message = capsys.readouterr().err
    assert str(project.schema) in message
    assert pointer in message
    assert reason in message
    assert "generated/ is as it was" in message


def test_a_stage_that_fails_late_leaves_everything_as_it_was(
    project: pipeline.Project,
    copied: None,
    tiny: Schema,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at(tiny, *SCHEMAS, "BrewRequest", "properties", "cups")["maximum"] = 6
    write(tiny, project.schema)
    before = digest(project.root)

    real = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name != "generated" or target != project.generated:
            return real(path, target)
        assert "maximum: 8 -> 6" in project.change_log.read_text()
        monkeypatch.setattr(Path, "rename", real)
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    assert run(project) == 1
    assert "no space left on device; generated/ is as it was" in capsys.readouterr().err
    assert digest(project.root) == before


def test_a_changed_schema_changes_the_packages_and_the_change_log(
    project: pipeline.Project, tiny: Schema, capsys: pytest.CaptureFixture[str]
) -> None:
    add_operation(tiny)
    at(tiny, *SCHEMAS, "BrewRequest", "properties", "cups")["maximum"] = 6
    del tiny["paths"]["/kettle.v1.KettleService/ListPots"]
    for name in ("ListPotsRequest", "PageRequest", "ListPotsResponse"):
        del tiny["components"]["schemas"][name]
    write(tiny, project.schema)
    assert list(project.generated.rglob("*list_pots*"))
    assert run(project) == 0
    assert (project.generated / "prebuild_api" / "api" / "kettle_service" / "boil.py").exists()
    assert not list(project.generated.rglob("*list_pots*"))
    for text in (capsys.readouterr().out, project.change_log.read_text()):
        assert "- operation Boil: new, client.kettles.boil" in text
        assert "- operation ListPots: gone" in text
        assert "- field BrewRequest.cups: maximum: 8 -> 6" in text
        assert text.index("### Breaks callers") < text.index("maximum: 8 -> 6") < text.index("### Changed")


def test_what_is_not_as_it_was_generated_is_shown_with_the_remedy(
    project: pipeline.Project, copied: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("prebuild_api/errors.py", "prebuild_api/stray.py", "prebuild_wire/data.bin"):
        with (project.generated / name).open("a") as file:
            file.write("# by hand\n")
    (project.generated / "prebuild_api" / "pages.py").unlink()
    before = digest(project.generated)
    assert run(project, "--check") == 1
    output = capsys.readouterr()
    assert "+++ generated/prebuild_api/errors.py (regenerated)" in output.out
    assert "generated/prebuild_api/stray.py: stray file" in output.out
    assert "generated/prebuild_wire/data.bin: stray file" in output.out
    assert "generated/prebuild_api/pages.py: missing" in output.out
    assert "run `make gen`" in output.err
    assert digest(project.generated) == before


def test_packages_that_do_not_work_are_refused(
    project: pipeline.Project, copied: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier has to see it when a generated file is broken."""
    from generator import verify

    real = verify.verify

    def sabotage(document: object, model: object, root: Path, *, types: bool) -> None:
        (root / "prebuild_api" / "api" / "kettle_service" / "list_pots.py").unlink()
        path = root / "prebuild_api" / "models" / "pot.py"
        path.write_text(path.read_text().replace('get("id")', 'get("di")'))
        real(document, model, root, types=types)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "verify", sabotage)
    with pytest.raises(PipelineError) as caught:
        pipeline.generate(pipeline.Project(project.root, types=False), lambda stage: None, print)
    text = str(caught.value)
    assert "kettle_service.list_pots" in text

    monkeypatch.setattr(verify, "verify", real)


def test_the_generated_packages_of_this_project_are_up_to_date_and_made_in_time() -> None:
    def seconds() -> float:
        """The time of processors that the programs took which this one has run: others may be busy meanwhile."""
        times = os.times()
        return times.children_user + times.children_system

    start = seconds()
    result = subprocess.run(
        [sys.executable, "-m", "generator", "--check", "--no-types"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert seconds() - start < 15
