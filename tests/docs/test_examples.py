"""The examples do their job, against the emulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prebuilds.emulator import EmulatorServer
from tests.cli.conftest import CLASS, OTHER, PROJECT

from .reader import Reader
from .samples import ROOT

EXAMPLES = ROOT / "examples"
ARGUMENTS = {
    "nightly_refresh.py": [OTHER],
    "pool_sizes.py": [PROJECT, CLASS],
    "chat_report.py": [PROJECT],
    "dashboard.py": [PROJECT],
}
# `test_the_sample_tests_pass` runs the gateway.
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if not re.match("test_|gateway", path.name))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_does_its_job(script: str, reader: Reader, capsys: pytest.CaptureFixture[str]):
    started = reader.service.create()
    reader.run_python([str(EXAMPLES / script), *ARGUMENTS[script]], "")
    output = capsys.readouterr().out
    if script == "chat_report.py":
        assert PROJECT in json.loads(output)["text"]
    elif script == "dashboard.py":
        assert f"{PROJECT} {started} PREBUILD_PHASE_COMPLETED" in output
    elif script == "pool_sizes.py":
        assert re.search(r"WARM_POOL_PHASE_(READY|PENDING) \d\.\.\d$", output.strip())
    else:
        assert output.strip().startswith(f"{OTHER} ")


def run_block(block: str, variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the commands of a job as the CI system runs them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", block],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_jobs_create_a_prebuild(tmp_path: Path):
    """Both jobs run against one emulator, which is so fast that neither waits for long."""
    action = yaml.safe_load((EXAMPLES / "ci" / "github" / "action.yml").read_text(encoding="utf-8"))
    (step,) = (step for step in action["runs"]["steps"] if step["id"] == "create")
    _, component = yaml.safe_load_all((EXAMPLES / "ci" / "gitlab" / "prebuild.yml").read_text(encoding="utf-8"))
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    with EmulatorServer(speed=100_000) as server:
        given = {
            name.upper().replace("-", "_"): str(each["default"])
            for name, each in action["inputs"].items()
            if "default" in each
        }
        shared = given | {"ONA_API_KEY": "a-secret-token", "ONA_BASE_URL": server.url, "PROJECT": PROJECT}
        github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs)}
        done = run_block(step["run"], shared | github, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "COMPLETED" in summary.read_text()
        names = re.findall(r"^([a-z-]+)<<", outputs.read_text(), re.MULTILINE)
        assert set(names) == set(action["outputs"])
        done = run_block("\n".join(component["prebuild"]["script"]), shared, tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "prebuild.json").read_text())


def test_the_workflow_passes_what_the_action_takes():
    action = yaml.safe_load((EXAMPLES / "ci" / "github" / "action.yml").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((EXAMPLES / "ci" / "github" / "workflow.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["prebuild"]["steps"]
    (used,) = (step for step in steps if step.get("id") == "prebuild")
    required = {name for name, each in action["inputs"].items() if each.get("required")}
    assert required <= set(used["with"]) <= set(action["inputs"])
    read = set(re.findall(r"steps\.prebuild\.outputs\.([a-z-]+)", json.dumps(steps)))
    assert read <= set(action["outputs"])


@pytest.mark.parametrize("file", ["ci/github/action.yml", "ci/github/workflow.yml"])
def test_no_input_is_read_as_code(file: str):
    """An expression inside of `run` is replaced before the shell reads the script."""
    document = yaml.safe_load((EXAMPLES / file).read_text(encoding="utf-8"))
    steps = document["runs"]["steps"] if "runs" in document else document["jobs"]["prebuild"]["steps"]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
