"""What the kit says of a server, and how it says it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree

import pytest

from prebuilds import cli
from prebuilds.contract import report as reports
from prebuilds.contract.findings import State, read_known, write_known
from prebuilds.contract.methods import METHODS
from prebuilds.contract.runner import LAYERS, Options
from prebuilds.contract.wire import Answer
from prebuilds.emulator import EmulatorServer
from prebuilds.emulator.server import Options as EmulatorOptions

from .mutants.base import TOKEN, Server
from .test_safety import Watched, kit


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def options(tmp_path):
    return {"token": TOKEN, "layers": ("probes", "lifecycle"), "ledger": tmp_path / "ledger", "assumptions": True}


def wrong_timeout(count, request, answer):
    """A server that forgets the timeout that it was asked for."""
    if request.method != "CreatePrebuild" or not answer.ok:
        return None
    body = answer.json
    body["prebuild"]["spec"]["timeout"] = "600s"
    return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode(), 0.0, request)


def test_the_emulator_conforms(server, options):
    report = kit(server, Watched(server), options)
    assert report.exit_code == 0
    assert [result for result in report.results if result.state is State.BROKEN] == []
    reached = report.session.findings.reached
    assert {method for method in METHODS if reached[method].missing()} == set()


def test_the_probes_are_few(server, options):
    report = kit(server, Watched(server), {**options, "layers": ("probes",)})
    assert report.layers[0].requests <= 300


def test_what_is_broken_is_told_with_the_calls_that_show_it(server, options):
    report = kit(server, Watched(server, after=wrong_timeout), options)
    assert report.exit_code == 1
    echo = next(result for result in report.broken if result.property.name == "echo")
    assert "'300s'" in echo.why
    assert "'600s'" in echo.why
    assert [answer.request.method for answer in echo.failure.sequence] == ["CreatePrebuild"]
    text = reports.as_text(report)
    assert text.startswith("FAILED  echo  CreatePrebuild: ")
    assert "FAILED: echo CreatePrebuild" in text
    assert '"Authorization: Bearer $TOKEN"' in text


def test_a_method_that_never_succeeds_is_not_tested(server, options):
    def after(count, request, answer):
        if request.method == "CancelPrebuild" and answer.ok:
            body = b'{"code":"failed_precondition","message":""}'
            return Answer(400, {"content-type": "application/json"}, body, 0.0, request)
        return None

    report = kit(server, Watched(server, after=after), {**options, "skip": ("cancel-takes-effect", "cancel-rules")})
    states = {result.state for result in report.results if result.method == "CancelPrebuild"}
    assert State.KEPT not in states
    assert report.exit_code == 2
    assert "CancelPrebuild has not answered with a success" in reports.as_text(report)


def test_a_method_that_takes_everything_is_not_tested(server, options):
    def after(count, request, answer):
        empty = Answer(200, {"content-type": "application/json"}, b"{}", 0.0, request)
        return empty if request.method == "ListWarmPools" else None

    report = kit(server, Watched(server, after=after), options)
    assert State.KEPT not in {result.state for result in report.results if result.method == "ListWarmPools"}


@pytest.mark.parametrize("layer", ["probes", "lifecycle"])
def test_each_layer_is_right_on_its_own(server, options, layer):
    report = kit(server, Watched(server), {**options, "layers": (layer,)})
    assert report.exit_code == 0, reports.as_text(report)


def test_a_server_that_takes_any_token_is_not_accused_by_a_layer_alone(options):
    server = Server()

    def any_token(count, request):
        headers = tuple(pair for pair in request.headers if pair[0] != "Authorization")
        known = request.header("authorization") is not None and request.path is None
        return (
            transport.forward(replace(request, headers=(*headers, ("Authorization", f"Bearer {TOKEN}"))))
            if known
            else None
        )

    transport = Watched(server, before=any_token)
    try:
        report = kit(server, transport, {**options, "layers": ("lifecycle",)})
    finally:
        server.close()
    assert report.broken == []


@pytest.mark.parametrize("status", [501, 404])
def test_a_method_that_is_not_implemented_is_one_line(server, options, status):
    body = b'{"code":"unimplemented"}' if status == 501 else b"404 page not found"
    kind = "application/json" if status == 501 else "text/plain"

    def after(count, request, answer):
        missing = request.method in ("CancelPrebuild", "CreateWarmPool") and answer.status not in (401, 415)
        return Answer(status, {"content-type": kind}, body, 0.0, request) if missing else None

    report = kit(server, Watched(server, after=after), options)
    assert report.broken == []
    assert report.not_implemented == ("CancelPrebuild", "CreateWarmPool")
    assert report.exit_code == 2
    assert report.clean_up.is_complete
    assert reports.as_text(report).count("NOT IMPLEMENTED") == 1
    others = tuple(method for method in METHODS if "Pool" not in method and method != "CancelPrebuild")
    report = kit(server, Watched(server, after=after), {**options, "methods": others})
    assert report.exit_code == 0
    assert {result.method for result in report.results} == set(others)


def test_one_property_takes_a_few_requests(server, options):
    report = kit(server, Watched(server), {**options, "layers": LAYERS, "only": ("unknown-id-is-not-found",)})
    assert report.exit_code == 0
    assert len(report.session.log) < 30


def test_known_failures_do_no_harm_until_they_pass(server, options, tmp_path):
    broken = kit(server, Watched(server, after=wrong_timeout), options)
    known = tmp_path / "known.txt"
    write_known(known, broken.results)
    assert kit(server, Watched(server, after=wrong_timeout), {**options, "known": read_known(known)}).exit_code == 0
    mended = kit(server, Watched(server), {**options, "known": read_known(known)})
    assert {result.property.name for result in mended.passing} >= {"echo"}
    assert mended.exit_code == 1
    assert "the list of known failures is out of date" in reports.as_text(mended)
    assert "KNOWN FAILURE THAT PASSES NOW: echo CreatePrebuild" in reports.as_text(mended)


def test_a_list_of_known_failures_with_a_mistake_is_refused(tmp_path):
    (tmp_path / "known.txt").write_text("echo CreatePrebuild\nno-such-thing\n")
    with pytest.raises(ValueError, match="line 2"):
        read_known(tmp_path / "known.txt")


@pytest.mark.parametrize(("name", "meant"), [("ecko", "echo"), ("no-server-eror", "no-server-error")])
def test_a_name_that_is_nearly_right_is_suggested(tmp_path, name, meant, capsys):
    assert cli.main(["contract", "http://127.0.0.1:9", "--only", name]) == 2
    assert f"{meant}" in capsys.readouterr().err
    (tmp_path / "known.txt").write_text(f"{name} CreatePrebuild\n")
    with pytest.raises(ValueError, match=meant):
        read_known(tmp_path / "known.txt")


@pytest.mark.parametrize("answers", [0, 30])
def test_a_server_that_hangs_is_left_in_time(tmp_path, answers, capsys, monkeypatch):
    """It takes connections, and does not answer: from the beginning, or after a while."""
    monkeypatch.chdir(tmp_path)
    over = threading.Event()
    count = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(count) >= answers:
                over.wait(20)
                return
            self.send_response(404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"code": "not_found"}')

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    begun = time.monotonic()
    url = f"http://127.0.0.1:{server.server_port}"
    code = cli.main(["contract", url, "--mode", "read", "--max-time", "0.5"])
    seconds = time.monotonic() - begun
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()
    assert code in (1, 2)
    assert seconds < 3
    assert "does not answer" in (shown := capsys.readouterr().out) or "the time of 0.5 s was over" in shown


def test_properties_can_be_chosen(server, options):
    report = kit(server, Watched(server), {**options, "only": ("echo", "bounds")[:1]})
    assert {result.property.name for result in report.results} == {"echo"}
    assert report.exit_code == 0
    with pytest.raises(ValueError, match="no-such-thing"):
        kit(server, Watched(server), {**options, "only": ("no-such-thing",)})


def test_the_reports_for_programs(server, options):
    report = kit(server, Watched(server, after=wrong_timeout), options)
    content = json.loads(reports.as_json(report))
    assert content["exit_code"] == 1
    assert content["methods"]["GetPrebuild"]["success"]
    suite = ElementTree.fromstring(reports.as_junit(report)).find("testsuite")
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) == len(report.broken)
    assert int(suite.get("tests")) == len(report.results)
    page = reports.as_html(report)
    assert "<td class='failed'><a href='#echo-CreatePrebuild'>X</a></td>" in page
    assert "<section id='echo-CreatePrebuild'>" in page


def test_the_test_for_a_failure_fails_until_it_is_mended(tmp_path, monkeypatch):
    """An emulator that takes any text for an id, and one that does what it should."""
    monkeypatch.chdir(tmp_path)
    with EmulatorServer(options=EmulatorOptions(relaxed_ids=True)) as broken, EmulatorServer() as mended:
        options = ["--layer", "probes", "--tests", "found", "--ledger", "ledger"]
        assert cli.main(["contract", broken.url, *options]) == 1
        found = tmp_path / "found" / "test_malformed_id_is_refused_CreatePrebuild.py"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(found)]
        for url, expected in ((broken.url, 1), (mended.url, 0)):
            environment = {**os.environ, "BASE_URL": url, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert ran.returncode == expected, ran.stdout


def _program(folder, *arguments, **environment):
    command = [sys.executable, "-m", "prebuilds", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_the_command_over_a_socket(tmp_path):
    with EmulatorServer(speed=3600) as server:
        files = "json=a.json,junit=a.xml,html=a.html"
        done = _program(
            tmp_path, "contract", server.url, "--layer", "probes", "--layer", "lifecycle", "--report", files
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the server conforms" in done.stdout
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.json", "a.xml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing argument URL"),
        (["ftp://127.0.0.1"], "no address of HTTP"),
        (["http://127.0.0.1:9", "--only", "nonsense"], "no property nonsense"),
        (["http://127.0.0.1:9", "--rate", "fast"], "no rate"),
        (["http://127.0.0.1:9", "--report", "pdf=x"], "no report"),
        (["http://127.0.0.1:9", "--layer", "cake"], "'cake' is not one of"),
        (["http://127.0.0.1:9", "--token-env", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL"),
        (["https://prebuilds.example", "--mode", "full", "--token-env", "HOME"], "add --project"),
        (["cleanup"], "missing argument 'LEDGER'"),
        (["cleanup", "a-ledger", "--token-env", "HOME"], "name the server"),
        (["http://127.0.0.1:9", "--method", "Nonsense"], "unknown method Nonsense"),
        (["cleanup", "/nonexistent"], "cannot be read"),
    ],
)
def test_what_does_not_go_together_is_told(arguments, message, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert cli.main(["contract", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_server_that_is_not_there(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["contract", "http://127.0.0.1:9", "--layer", "probes"]) == 2
    assert "nothing was tested: ListPrebuilds: no connection" in capsys.readouterr().out


def test_all_properties_can_be_listed(capsys):
    assert cli.main(["contract", "properties"]) == 0
    assert "echo (MUST): The answer to a change shows what was asked for." in capsys.readouterr().out


def test_options_do_not_show_the_token():
    assert TOKEN not in repr(Options(token=TOKEN))
