"""The generated pages and the tables that people write follow the code."""

from __future__ import annotations

import re

import pytest
import yaml

from docs.builder.assumptions import MARK, assumptions_page, code_notes, notes_in, schema_notes
from docs.builder.command_line import command_line_page
from docs.builder.control_plane import control_plane_page
from docs.builder.errors import errors_page
from docs.builder.schema_pages import schema_page
from prebuild_wire import OPERATIONS
from prebuilds.cli import exit_codes
from prebuilds.cli.app import COMMANDS

from .samples import ROOT

PREFIXES = "GITPOD|ONA|PREBUILDS|GITHUB|SSL"
VARIABLE = re.compile(rf'"\$?((?:{PREFIXES})_[A-Z_]+|(?:HTTPS?|ALL|NO)_PROXY|NO_COLOR)"')


def test_each_command_has_its_section_and_options():
    page = command_line_page()
    for name in (name for section in COMMANDS.values() for name in section):
        assert f"\n### prebuilds {name}\n" in page
    assert "### prebuilds warm-pool apply" in page
    assert "| `-p, --project, --project-id ID` |" in page


def test_each_method_and_field_is_described():
    page = schema_page()
    for method in OPERATIONS:
        assert f"\n### {method}\n" in page
    document = yaml.safe_load((ROOT / "schema" / "prebuild_service.yaml").read_text(encoding="utf-8"))
    for name, schema in document["components"]["schemas"].items():
        (section,) = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
        for field in (*schema.get("properties", ()), *schema.get("enum", ())):
            assert f"| `{field}`" in section, (name, field)


def test_each_assumption_is_listed():
    """The number of notes is counted in a second, simpler way."""
    files = [ROOT / "schema" / "prebuild_service.yaml", *(ROOT / "overlays").rglob("*.py")]
    marks = sum(path.read_text(encoding="utf-8").count(MARK) for path in files)
    notes = [*schema_notes(), *code_notes()]
    assert len(notes) == marks > 50
    page = assumptions_page()
    for note in notes:
        assert f"- {note.text}\n" in page


def test_a_note_ends_with_its_paragraph_or_at_the_next_note():
    text = "What it does. ASSUMPTION: it is\nfast. ASSUMPTION: it is small.\n\nArgs:\n    name: no note."
    assert list(notes_in(text)) == ["It is fast.", "It is small."]


def test_each_operation_of_the_control_plane_is_described():
    page = control_plane_page()
    assert "### `POST /_emulator/faults`" in page
    assert "### `PUT /_emulator/projects/{project_id}`" in page
    links, anchors = set(re.findall(r"\]\(#([\w-]+)\)", page)), set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    assert links <= {each.lower() for each in anchors}


def test_each_error_class_is_listed():
    page = errors_page()
    for name in ("PrebuildsError", "StalledError", "ResourceExhaustedError", "WarmPoolDeletedError"):
        assert f"`{name}`" in page


def test_each_exit_code_is_described():
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    codes = {value for value in vars(exit_codes).values() if isinstance(value, int)}
    assert {int(each) for each in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes


def test_each_environment_variable_is_described():
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    read = {
        name for path in (ROOT / "overlays" / "prebuilds").rglob("*.py") for name in VARIABLE.findall(path.read_text())
    }
    assert len(read) > 10
    assert read <= set(re.findall(r"`([A-Z_]+)`", page))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "examples/README.md"])
def test_links_between_files_lead_somewhere(page: str):
    """The site builder checks the links of docs/."""
    path = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_the_files_that_contributors_are_sent_to_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## Where things go") : text.index("Never edit")]
    for row in table.splitlines()[4:]:
        for name in re.findall(r"`([\w./*]+)`", " ".join(row.split("|")[2:])):
            assert list(ROOT.glob(name)) or list(ROOT.glob(f"overlays/**/{name}")), name
