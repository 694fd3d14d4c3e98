"""What shows a failure again: a test, and commands for a shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from prebuilds.contract.report import as_json
from prebuilds.contract.reproduction import as_curl, as_pytest
from prebuilds.contract.wire import Answer, Request

from .measure import run_kit
from .mutants import MUTANTS
from .mutants.base import NOBODY, TOKEN, Server
from .replay import fails


class HttpServer:
    """Answers each POST with the same, and keeps what was sent."""

    def __init__(self, status, content):
        bodies = self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _ran(folder, found, url):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(found)]
    # It needs pytest alone; what else is installed here takes long to load.
    environment = {**os.environ, "BASE_URL": url, "TOKEN": TOKEN, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _sequence(*answers):
    headers = (("Content-Type", "application/json"), ("Authorization", f"Bearer {TOKEN}"))
    return [
        Answer(status, {}, body.encode(), 0.0, Request(method, json.dumps(fields).encode(), headers), number)
        for number, (method, fields, status, body) in enumerate(answers)
    ]


def _test_file(folder, sequence, **options):
    known = {"property_name": "no-server-error", "method": "GetWarmPool", "why": "it is wrong", "url": ""}
    text = as_pytest(sequence, **{**known, "token": TOKEN, **options})
    path = folder / "test_found.py"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def test_a_server_that_is_gone_has_not_mended_anything(tmp_path):
    found = _test_file(tmp_path, _sequence(("GetWarmPool", {"warmPoolId": NOBODY}, 500, '{"code": "internal"}')))
    assert _ran(tmp_path, found, "http://127.0.0.1:9").returncode == 1


@pytest.mark.parametrize(
    "name", ["FilterShowsAnotherOwners", "CompletedGoesOn", "SamePageForEver", "UpdateKeepsTheVersion"]
)
def test_the_test_of_a_failure_shows_it_and_passes_on_a_correct_server(name):
    """On a new server of the same kind, and twice on one that is correct."""
    report = run_kit(MUTANTS[name], layers=("probes", "lifecycle"), until_broken=True)
    result = report.broken[0]
    text = next(each["pytest"] for each in json.loads(as_json(report))["results"] if each.get("pytest"))
    assert result.property.name in text
    for kind, expected in ((MUTANTS[name], [True]), (Server, [False, False])):
        server = kind()
        try:
            assert [fails(text, server) for _ in expected] == expected
        finally:
            server.close()


def test_a_test_can_be_read_whatever_the_server_has_said(tmp_path):
    path = _test_file(tmp_path, _sequence(("GetWarmPool", {}, 200, "{}")), why='a\0b\r\f \\ """ \u202e \ud800 \x1b[0m')
    compile(path.read_bytes(), "found", "exec")


BODIES = [
    b"",
    b"""it's "quoted" $HOME `id` \\n %s \\""",
    b"\0\x01\xff\xfe",
    b"@/etc/hostname",
    "ü 😀 \u202e".encode(),
    b"a\tb\rc\n\x1b[31m\x7f",
    b'{"a": "' + b"z'%\\" * 1500 + b'"}',
    b"y" * 300 + b"-e" + b"\0" * 1000 + b"-",
    b"\0 " + NOBODY.encode() + TOKEN.encode(),
]


@pytest.mark.skipif(not all(map(shutil.which, ("sh", "curl", "jq"))), reason="curl and jq are needed")
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_pasted_into_a_shell_sends_the_same(body):
    """What an earlier answer has handed on comes from the answer of now, and secrets are left out."""
    made = Request("CreatePrebuild", b"{}", (("Content-Type", "application/json"),))
    sent = replace(made, method="GetPrebuild", body=body)
    handed = json.dumps({"prebuild": {"id": NOBODY}}).encode()
    fresh = NOBODY.replace("0", "1").encode()
    answer = b'{"prebuild": {"id": "%s"}}' % fresh
    sequence = [Answer(200, {}, handed, 0.0, made, 0), Answer(200, {}, b"{}", 0.0, sent, 1)]
    with HttpServer(200, answer) as server:
        script = as_curl(sequence, server.url, TOKEN, {TOKEN})
        assert TOKEN not in script
        assert not [character for character in script if not character.isprintable() and character not in "\n\u202e"]
        done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert server.bodies[-1] == body.replace(NOBODY.encode(), fresh).replace(TOKEN.encode(), b"***")
