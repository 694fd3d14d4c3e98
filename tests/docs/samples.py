"""The samples of the documentation: the fenced blocks of README.md, docs/ and the other pages that people read.

python -m tests.docs.samples     writes tests/typing/samples.py, which mypy and pyright check

A block with `title="FILE"` is a file that the reader saves. Any other `python` block is typed into one Python session
per page, in the order of the page. Lines of a `console` block that begin with `$ ` are commands. A page that is not in
`STANDALONE` continues the README's quickstart: its samples find `client`, `project` and `prebuild`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
STANDALONE = {"README.md", "docs/tutorial.md"}
TYPED = ROOT / "tests" / "typing" / "samples.py"
GIVEN = "client: PrebuildClient, project: str, prebuild: Prebuild"

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    """The line of the page before the first line of the block."""
    language: str
    title: str | None
    """The file name under which the reader saves the block."""
    text: str

    @property
    def is_test(self) -> bool:
        return self.language == "python" and "def test_" in self.text

    @property
    def commands(self) -> Iterator[str]:
        """The command lines of a `console` block; a line that ends with a backslash continues on the next line."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:]


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page.relative_to(ROOT).as_posix(),
            line=text.count("\n", 0, match.start()) + 1,
            language=match[1],
            title=title[1] if (title := _TITLE.search(match[2])) else None,
            text=match[3],
        )
        for match in _FENCE.finditer(text)
    ]


BLOCKS = {page.relative_to(ROOT).as_posix(): read_blocks(page) for page in PAGES}


def typed_samples() -> str:
    """A module with a function for each page that has Python samples."""
    text = (
        '"""The samples of the documentation, for type checkers. Written by `python -m tests.docs.samples`."""\n\n'
        "# pyright: reportUnusedVariable=false, reportUnusedFunction=false\n\n"
        "from __future__ import annotations\n\n"
        "from prebuilds import Prebuild, PrebuildClient\n"
    )
    for page, blocks in BLOCKS.items():
        samples = [block.text for block in blocks if block.language == "python" and block.title is None]
        if samples:
            name = re.sub(r"\W+", "_", page.removesuffix(".md")).lower()
            body = textwrap.indent("\n".join(samples), "    ")
            text += f"\n\ndef {name}({'' if page in STANDALONE else GIVEN}) -> None:\n{body}"
    return text


if __name__ == "__main__":
    TYPED.write_text(typed_samples(), encoding="utf-8")
