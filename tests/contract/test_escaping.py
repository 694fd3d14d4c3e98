"""Text of servers in other languages: read by the readers of those languages, it is what it was, and does nothing."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebuilds.contract import escaping

NASTY = [
    "",
    "'; touch hacked; '",
    "$(touch hacked) `touch hacked` ${HOME} \\",
    "a\nb",
    "a\rtouch hacked\r",
    "\x1b]0;title\x07\x1b[31m",
    '"""\nimport os\n"""',
    "\\(env)",
    '") | env | (".id',
    "<script>alert(1)</script> &amp; '\"",
    "]]> <!-- -->",
    "\u202e \u2028 \u0085 \x7f",
    "@/etc/hostname",
    "-n -e \\c %s",
    "\U0001f600 \u00fc",
]
TEXTS = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=30), st.lists(st.sampled_from(NASTY), max_size=3).map("".join)
)
FEW = settings(max_examples=60, deadline=None, database=None)
SURROGATES = st.one_of(TEXTS, st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=9))


def run(command, script):
    return subprocess.run(command, input=script, capture_output=True, check=True).stdout


def test_words_and_comments_of_a_shell():
    """All of them in one script, as a shell takes a while to start."""
    texts = [text for text in NASTY if "\0" not in text]
    lines = []
    for text in texts:
        lines += [escaping.shell_comment(text), f"printf '%s\\0' {escaping.shell_word(text)}"]
    for shell in filter(shutil.which, ("sh", "bash")):
        found = run([shell], "\n".join(lines).encode("utf-8", "surrogateescape"))
        assert found.decode().split("\0")[:-1] == texts


@FEW
@given(SURROGATES)
def test_a_comment_has_one_line(text):
    shown = escaping.shell_comment(text)
    assert shown.startswith("# ")
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@FEW
@given(st.binary(max_size=30))
def test_a_format_of_printf_is_plain(data):
    shown = escaping.shell_format(data)
    assert shown.isascii()
    assert shown.isprintable()
    assert "'" not in shown
    assert "%" not in shown
    assert not shown.startswith("-")


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is needed")
def test_a_path_of_jq_picks_what_is_there():
    for text in ('") | env | (".id', "\\(env)", "a b", "$__loc__", "é"):
        document = json.dumps({text: [{"id": "found"}]})
        assert run(["jq", "-r", escaping.jq_path((text, 0, "id"))], document.encode()) == b"found\n"


@FEW
@given(SURROGATES)
def test_python_reads_literals_and_docstrings(text):
    assert ast.literal_eval(escaping.python_text(text)) == text
    module = ast.parse(f'"""{escaping.python_docstring(text)}\n"""\n{escaping.shell_comment(text)}\n')
    assert [type(each) for each in module.body] == [ast.Expr]


class Reader(HTMLParser):
    """Notes what is markup."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_comment(self, data):
        self.found.append(data)


@FEW
@given(SURROGATES)
def test_a_page_has_no_more_markup(text):
    reader = Reader()
    reader.feed(f"<p title='{escaping.html_text(text)}'>{escaping.html_text(text)}</p>")
    reader.close()
    assert reader.found == [("p", ["title"])]


@FEW
@given(SURROGATES)
def test_xml_can_be_read(text):
    element = ElementTree.Element("a", b=escaping.xml_text(text))
    element.text = escaping.xml_text(text)
    read = ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode"))
    assert len(read) == 0


@FEW
@given(SURROGATES)
def test_a_terminal_is_sent_no_controls(text):
    shown = escaping.lines(text)
    assert not [each for each in shown if each != "\n" and unicodedata.category(each) in ("Cc", "Cf", "Cs")]
    assert shown.count("\n") == text.count("\n")
    shown.encode()
