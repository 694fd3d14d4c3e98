"""What is shipped: the wheel, what it needs, and how it behaves where only that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from prebuilds.cli import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "prebuild_api": ROOT / "generated",
    "prebuild_wire": ROOT / "generated",
    "prebuilds": ROOT / "overlays",
    "pytest_prebuilds": ROOT / "overlays",
}


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Nothing of the environment that the tests run in may reach the one that is examined.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def build(source: Path, target: str, into: Path) -> Path:
    done = run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", into, cwd=source)
    assert done.returncode == 0, done.stderr
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what it cannot do without."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    done = run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    assert done.returncode == 0, done.stderr
    return python


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_three_packages_and_nothing_else(wheel: Path):
    expected = {
        path.relative_to(folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert shipped == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_tells_type_checkers_that_it_is_typed(wheel: Path, package: str):
    assert f"{package}/py.typed" in contents(wheel)


def test_the_descriptor_set_is_shipped(wheel: Path):
    assert any(name.startswith("prebuild_wire/") and name.endswith(".binpb") for name in contents(wheel))


def test_the_licence_is_shipped(wheel: Path):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in contents(wheel))


def test_a_wheel_built_from_the_source_distribution_is_the_same(
    wheel: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    archive = build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))
    with tarfile.open(archive) as file:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on; 3.14 makes it the default
            file.extraction_filter = tarfile.data_filter
        file.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert contents(build(unpacked, "wheel", tmp_path_factory.mktemp("again"))) == contents(wheel)


def requirements(wheel: Path, extra: str) -> set[str]:
    """The distributions that one extra adds, by name."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return {
        each.name
        for each in required
        if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
    }


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_line_knows_the_modules_of_each_extra(wheel: Path, extra: str):
    distributions = packages_distributions()
    # A namespace such as `google` can be shared: any of its distributions will do.
    known = {name for module in EXTRAS[extra] for name in distributions[module.partition(".")[0]]}
    assert requirements(wheel, extra) <= known
    assert len(requirements(wheel, extra)) == len(EXTRAS[extra])


def test_the_client_needs_no_extra(installed: Path, tmp_path: Path):
    done = run(installed, "-W", "error", "-c", "from prebuilds import PrebuildClient", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "extras"),
    [(["emulator"], "cli,emulator"), (["demo"], "cli"), (["--version"], "cli")],
)
@pytest.mark.parametrize("way", ["script", "module"])
def test_a_command_whose_extra_is_missing_names_it(
    installed: Path, tmp_path: Path, way: str, arguments: list[str], extras: str
):
    command = [installed.with_name("prebuilds")] if way == "script" else [installed, "-m", "prebuilds"]
    done = run(*command, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("prebuilds: this command needs the ")
    assert line.endswith(f": pip install 'prebuilds[{extras}]'")
