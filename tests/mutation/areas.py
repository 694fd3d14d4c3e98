"""The areas of the project: which code each one has, and which tests check it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Area:
    """A part of the product, with the part of `make test` that checks it.

    Attributes:
        name: what `--area` calls it.
        sources: globs of the code, relative to the project's root.
        tests: folders of the tests, relative to the project's root.
    """

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, root: Path) -> Iterator[Path]:
        """The Python files of the area, relative to `root`, sorted."""
        found = {path.relative_to(root) for pattern in self.sources for path in root.glob(pattern)}
        yield from sorted(found)


AREAS = {
    area.name: area
    for area in (
        Area(
            "client",
            # The hand-written part of prebuild_api. Models and endpoints repeat one template, and would crowd it out.
            (
                "overlays/prebuilds/*.py",
                "overlays/prebuilds/cli/*.py",
                "overlays/prebuilds/cli/fleet/*.py",
                "generated/prebuild_api/client.py",
                "generated/prebuild_api/display.py",
                "generated/prebuild_api/errors.py",
                "generated/prebuild_api/pages.py",
                "generated/prebuild_api/readers.py",
                "generated/prebuild_api/timestamps.py",
                "generated/prebuild_api/types.py",
            ),
            ("tests/client", "tests/cli", "tests/packaging"),
        ),
        Area(
            "generator",
            (
                "generator/*.py",
                # Copied from generator/runtime/: only the copies are imported.
                "generated/prebuild_wire/base.py",
                "generated/prebuild_wire/descriptors.py",
                "generated/prebuild_wire/enum_types.py",
                "generated/prebuild_wire/fields.py",
                "generated/prebuild_wire/scalars.py",
            ),
            ("tests/generator",),
        ),
        Area(
            "emulator",
            ("overlays/prebuilds/emulator/**/*.py", "overlays/pytest_prebuilds/emulators.py"),
            ("tests/emulator", "tests/plugin"),
        ),
        Area(
            "contract",
            ("overlays/prebuilds/contract/**/*.py", "overlays/pytest_prebuilds/contract*.py"),
            ("tests/contract",),
        ),
    )
}
