"""What is shipped: the wheel, what it needs, and how it behaves where only that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from prebuilds.extras import EXTRAS

# One worker builds the wheel, and installs it.
pytestmark = pytest.mark.xdist_group("wheel")

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


def metadata(wheel: Path) -> list[Requirement]:
    """What the wheel requires, with and without extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        headers = Parser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in headers.get_all("Requires-Dist", [])]


def needed(required: Iterable[Requirement], found: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """The distributions that are required without any extra, and what they require in turn, as they are installed."""
    found = {} if found is None else found
    for each in required:
        if each.name not in found and (each.marker is None or each.marker.evaluate({"extra": ""})):
            found[each.name] = distribution(each.name)
            assert each.specifier.contains(found[each.name].version), each
            needed(map(Requirement, found[each.name].requires or []), found)
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what it cannot do without.

    What that is, the wheel says; it is copied, so that nothing has to be fetched.
    """
    home = tmp_path_factory.mktemp("installed")
    venv.create(home)
    python = home / "bin" / "python"
    (packages,) = home.glob("lib/python*/site-packages")
    for each in needed(metadata(wheel)).values():
        for file in each.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), packages / file)
    options = ("-q", "--no-index", "--no-deps", "--no-compile")
    done = run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.campaign
def test_pip_fetches_what_the_client_needs(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "home", with_pip=True)
    python = tmp_path / "home" / "bin" / "python"
    done = run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    assert done.returncode == 0, done.stderr
    done = run(python, "-W", "error", "-c", "from prebuilds import PrebuildClient", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


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


def test_the_emulators_page_is_read_from_within_a_zip_file(wheel: Path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from prebuilds.emulator.page import files\n"
        "assert files.__file__.startswith(sys.argv[1])\n"
        "assert b'module' in files.file_response('index.html').body\n"
    )
    done = run(sys.executable, "-c", code, wheel)
    assert done.returncode == 0, done.stderr


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
    return {
        each.name
        for each in metadata(wheel)
        if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
    }


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_line_knows_the_modules_of_each_extra(wheel: Path, extra: str):
    distributions = packages_distributions()
    # A namespace such as `google` can be shared: any of its distributions will do.
    known = {canonicalize_name(name) for module in EXTRAS[extra] for name in distributions[module.partition(".")[0]]}
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


@pytest.mark.parametrize(("name", "extra"), [("emulator.EmulatorServer", "emulator"), ("contract.run", "contract")])
def test_a_package_whose_extra_is_missing_names_it(installed: Path, tmp_path: Path, name: str, extra: str):
    done = run(installed, "-c", f"import prebuilds; prebuilds.{name}", cwd=tmp_path)
    package = f"prebuilds.{extra}"
    expected = f"ImportError: {package} needs the \"{extra}\" extra: pip install 'prebuilds[{extra}]'"
    assert done.stderr.splitlines()[-1] == expected
