"""What all commands have in common: help, errors and exit codes, start-up, completion, and outputs of a GitHub job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from prebuilds.cli.app import ALIASES, COMMANDS, prebuilds
from prebuilds.cli.terminal import log_line
from prebuilds.emulator import ConnectCode, ErrorFault, Outcome

from .conftest import CLASS, MISSING, PROJECT, TOKEN, Run, Service

NOT_OURS = {"contract", "emulator"}
"""Programs of their own, which have more options."""


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if name in NOT_OURS:
            continue
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(prebuilds)), ids=" ".join)
def test_a_help_is_short_and_has_an_example(cli: Run, path: tuple[str, ...]):
    done = cli(*path, "--help")
    assert done.code == 0
    assert max(map(len, done.lines)) <= 80
    assert len(done.lines) <= 45
    assert "Example: " in done.out or "Example:\n" in done.out
    # Each option says what it does.
    assert not re.search(r"^  -\S+( [A-Z]+)?$", done.out, flags=re.MULTILINE)


def test_the_help_lists_every_command_with_what_it_says_itself(cli: Run):
    done = cli("--help")
    assert max(map(len, done.lines)) <= 80
    for section in COMMANDS.values():
        for name, (_, text) in section.items():
            assert f"{name} " in done.out
            assert text in done.out
    for alias, name in ALIASES.items():
        assert cli(alias, "--help").out == cli(name, "--help").out.replace(
            f"prebuilds {name} [", f"prebuilds {alias} ["
        )


def test_help_loads_neither_the_client_nor_rich():
    program = (
        "import sys; from prebuilds.cli import main; code = main(['--help']);"
        "print(sorted({'attrs', 'attr', 'httpx', 'rich', 'dateutil', 'yaml', 'asyncio', 'prebuild_api', 'logging'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Usage: "),
        (("lits",), 2, "no such command 'lits'"),
        (("list", "--phase", "done"), 2, "expected one of pending, "),
        (("list", "--since", "yesteryear"), 2, "or a date, found 'yesteryear'"),
        (("list", "--json", "-o", "csv"), 2, "exclude one another"),
        (("get",), 2, "expected at least one prebuild"),
        (("get", "\x1b[31m"), 2, "expected a prebuild"),
        (("get", "not-a-uuid"), 2, "must be a valid UUID"),
        (("get", MISSING), 5, "not_found"),
        (("create", PROJECT, "--timeout", "90"), 2, "expected a duration such as 90s"),
        (("create", PROJECT, "--timeout", "1s"), 2, "spec.timeout"),
        (("create", PROJECT, "--max-wait", "1h"), 2, "need --wait"),
        (("create", PROJECT, "--logs", "--class", CLASS, "--class", PROJECT), 2, "one --class"),
        (("create", PROJECT, "--github"), 2, "GITHUB_OUTPUT"),
        (("watch",), 2, "-p PROJECT"),
        (("cancel", "--active"), 2, "-p PROJECT"),
        (("prune",), 2, "expected -p PROJECT"),
        (("delete", MISSING), 2, "add --yes"),
        (("warm-pool", "update", MISSING), 2, "--min, --max"),
        (("warm-pool", "apply", "/no/such/file"), 2, "does not exist"),
        (("logs", MISSING), 5, "not_found"),
        (("wait", MISSING), 5, "not_found"),
        (("call", "CreatePrebuild", f'{{"projectId": "{PROJECT}"}}', "--paginate"), 2, "does not return a list"),
        (("list", "--base-url", "ftp://x"), 2, "ftp://x"),
        (("list", "--token-env", "MINE"), 4, "set MINE"),
        (("list", "--base-url", "http://127.0.0.1:1"), 1, "127.0.0.1:1"),
        (("refresh",), 2, "expected PROJECT"),
        (("refresh", "--projects-from", "/no/such/file"), 2, "/no/such/file"),
        (("refresh", PROJECT, "--rate", "fast"), 2, "5/s"),
        (("refresh", PROJECT, "--max-failures", "many"), 2, "5%"),
        (("refresh", PROJECT, "--report", "xml=f"), 2, "json=FILE or md=FILE"),
    ],
)
def test_an_error_is_a_line_and_a_hint(cli: Run, service: Service, arguments, code, said):
    done = cli(*arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    if arguments:
        assert len(done.err.splitlines()) <= 2
        assert done.err.startswith("prebuilds: ")


@pytest.mark.parametrize(
    ("status", "code"),
    [(ConnectCode.UNAUTHENTICATED, 4), (ConnectCode.PERMISSION_DENIED, 4), (ConnectCode.DATA_LOSS, 1)],
)
def test_the_exit_code_tells_why_the_service_refused(cli: Run, service: Service, monkeypatch, status, code):
    service.control.plan_fault(ErrorFault(method="ListPrebuilds", code=status, message="no \x1b[31m [really]"))
    done = cli("list")
    assert done.code == code
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) <= 2
    # The hint names the variable that the token came from.
    monkeypatch.setenv("MINE", TOKEN)
    service.control.plan_fault(ErrorFault(method="ListPrebuilds", code=status))
    assert "bearer_token" not in cli("list", "--token-env", "MINE").err


def test_a_proxy_that_refuses_is_named_without_its_password(cli: Run, service: Service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:password@{service.url.removeprefix('http://')}")
    # The proxy is an emulator here, and refuses requests for other hosts.
    done = cli("list", "--base-url", "http://service.example/api")
    assert done.code == 4
    assert f"proxy {service.url.removeprefix('http://')}" in done.err
    assert "password" not in done.err
    # This machine needs no proxy.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert cli("list").code == 0


def test_the_log_of_the_client_is_shown_on_request_only(service: Service):
    assert run_here("list", service) == ""
    assert "prebuilds.list: attempt 1: 200" in run_here("list", service, PREBUILDS_LOG="debug")


def run_here(command: str, service: Service, **variables: str) -> str:
    """What a process prints to standard error."""
    environment = {**os.environ, "GITPOD_BASE_URL": service.url, **variables}
    arguments = [sys.executable, "-m", "prebuilds", command]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=True).stderr


def test_completion_scripts_and_choices_need_no_network(cli: Run, monkeypatch, capsys):
    monkeypatch.setenv("GITPOD_BASE_URL", "http://127.0.0.1:1")
    for shell in ("zsh", "fish"):
        assert "_PREBUILDS_COMPLETE" in cli("completion", shell).out
    for words, expected in (
        ("prebuilds re", {"refresh"}),
        ("prebuilds list --phase fa", {"failed"}),
        ("prebuilds list -o js", {"json", "jsonl"}),
        ("prebuilds warm-pool ap", {"apply"}),
        ("prebuilds call GetW", {"GetWarmPool"}),
    ):
        monkeypatch.setenv("_PREBUILDS_COMPLETE", "fish_complete")
        monkeypatch.setenv("COMP_WORDS", words.rpartition(" ")[0])
        monkeypatch.setenv("COMP_CWORD", words.rpartition(" ")[2])
        with pytest.raises(SystemExit):
            prebuilds.main([], prog_name="prebuilds", standalone_mode=False)
        offered = {line.partition("\t")[0].removeprefix("plain,") for line in capsys.readouterr().out.splitlines()}
        assert offered & expected == expected, (words, offered)


def test_a_github_job_gets_a_summary_outputs_and_a_mask(cli: Run, service: Service, monkeypatch, tmp_path):
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    hostile = "<img src=x> | [link](https://evil.example) @team\nphase=COMPLETED"
    service.control.plan_outcome(Outcome(fails_in="RUNNING", message=hostile))
    assert TOKEN not in cli("create", PROJECT, "--wait", "--github", "-q").err
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    service.control.plan_outcome(Outcome(fails_in="RUNNING", message=hostile))
    done = cli("create", PROJECT, "--logs", "--github")
    assert done.code == 1
    assert done.err.startswith(f"::add-mask::{TOKEN}\n")
    # The runner obeys no line of a log.
    (word,) = re.findall(r"^::stop-commands::(\w+)$", done.err, flags=re.MULTILINE)
    assert f"\n::{word}::\n" in done.err
    text = outputs.read_text()
    assert re.search(r"^prebuild-id<<(end-\w+)\n[0-9a-f-]{36}\n\1$", text, flags=re.MULTILINE)
    assert re.search(r"^phase<<(end-\w+)\nFAILED\n\1$", text, flags=re.MULTILINE)
    assert not re.search(r"^phase=", text, flags=re.MULTILINE)
    shown = summary.read_text()
    assert not any(each in shown for each in ("<img", "](", "https://", "@team"))
    # A cell is a cell, whatever is in it.
    assert all(line.count("|") == 5 for line in shown.splitlines() if line.startswith("|"))


def test_a_line_of_a_log_shows_its_text_alone():
    assert log_line("\x1b[1;31mred\x1b[0m\tand \x1b]0;t\x07\x9b2J") == "red     and \ufffd]0;t\ufffd\ufffd2J"
