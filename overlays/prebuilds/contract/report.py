"""What came of a run, for people and for programs: a table, JSON, JUnit, HTML, and tests that show each failure."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from prebuilds.contract.findings import Failure, Result, State, count
from prebuilds.contract.properties import METHODS, PROPERTIES
from prebuilds.contract.reproduction import as_curl, as_pytest
from prebuilds.contract.runner import Report
from prebuilds.contract.secrets import masked
from prebuilds.contract.wire import Request
from prebuilds.version import __version__


def _short(methods: tuple[str, ...]) -> dict[str, str]:
    """Each method in three characters: the beginning of its first and last word, or a number where that is taken."""
    result: dict[str, str] = {}
    for number, method in enumerate(methods):
        words = re.findall(r"[A-Z]+[a-z0-9]*|[a-z0-9]+", method) or [method]
        noun = "W" if "WarmPool" in method else words[-1][:1]
        short = "Log" if "Logs" in method else f"{words[0][:2]:.2}{noun}"
        result[method] = short if len(short) == 3 and short not in result.values() else f"{number:03}"
    return result


SHORT: Final = _short(METHODS)
"""The methods in three letters, for the head of the table."""

_MARK: Final = {State.KEPT: "+", State.BROKEN: "X", State.NOT_TESTED: "?"}

_ENDS: Final = {
    0: "the server conforms",
    1: "the contract is broken",
    2: "not fully tested",
    3: "the clean-up is incomplete",
}

# So many reasons for what was not tested are enough for a person.
_MOST_REASONS = 12


def as_text(report: Report) -> str:
    """The report for a person."""
    return "\n".join(_text(report)) + "\n"


def as_json(report: Report) -> str:
    """The report for a program."""
    counts = count(report.results)
    content: dict[str, Any] = {
        "version": __version__,
        "url": report.url,
        "mode": report.mode,
        "seed": report.seed,
        "assumptions": report.assumptions,
        "exit_code": report.exit_code,
        "unfinished": report.unfinished,
        "seconds": round(report.seconds, 3),
        "layers": [asdict(layer) for layer in report.layers],
        "methods": {
            method: {"success": reached.success, "errors": sorted(reached.codes)}
            for method, reached in report.session.findings.reached.items()
        },
        "counts": {state.value: number for state, number in counts.items()},
        "results": [_result(report, result) for result in report.results],
        "known_failures_that_pass": [f"{r.property.name} {r.method}" for r in report.passing],
        "clean_up": _clean_up(report),
    }
    return json.dumps(content, indent=2) + "\n"


def as_junit(report: Report) -> str:
    """The report as JUnit's XML: a test case for each property and method."""
    suite = ElementTree.Element("testsuite", name="prebuilds contract", time=f"{report.seconds:.3f}")
    for result in report.results:
        case = ElementTree.SubElement(suite, "testcase", classname=result.property.name, name=result.method, time="0")
        if result in report.passing:
            ElementTree.SubElement(case, "failure", message="it is a known failure, and is kept: take it off the list")
        if result.state is State.KEPT:
            continue
        why = _clean(_masked(report, result.why))
        if result.state is State.BROKEN and result.property.level == "MUST" and not result.known:
            element = ElementTree.SubElement(case, "failure", message=why)
            if result.failure is not None:
                element.text = _clean(_curl(report, result.failure))
        else:
            what = "known failure: " if result.known else "should: " if result.state is State.BROKEN else ""
            ElementTree.SubElement(case, "skipped", message=what + why)
    if report.unfinished:
        # A run of which all is skipped looks as if all were well.
        case = ElementTree.SubElement(suite, "testcase", classname="run", name="complete", time="0")
        ElementTree.SubElement(case, "error", message=_clean(report.unfinished))
    if report.clean_up is not None and not report.clean_up.is_complete:
        case = ElementTree.SubElement(suite, "testcase", classname="clean-up", name="complete", time="0")
        ElementTree.SubElement(case, "failure", message=f"something is left: see {report.ledger}")
    for count_of, kind in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        suite.set(count_of, str(sum(1 for _ in suite.iter(kind))))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def as_html(report: Report) -> str:
    """The report as one page without scripts."""
    rows = "".join(_row(name, cells) for name, cells in _rows(report.results))
    head = "".join(f"<th title='{method}'>{SHORT[method]}</th>" for method in METHODS)
    failures = "".join(_html_failure(report, r) for r in report.results if r.failure is not None)
    reasons = "".join(
        f"<li><code>{html.escape(why)}</code>: {html.escape(', '.join(names))}</li>" for why, names in _reasons(report)
    )
    return _PAGE.format(
        title=html.escape(f"Contract of {report.url}"),
        summary=html.escape(_summary(report)),
        head=head,
        rows=rows,
        failures=failures or "<p>None.</p>",
        reasons=reasons or "<li>Nothing.</li>",
    )


def write_tests(report: Report, folder: Path) -> list[Path]:
    """Write a test for each failure into a folder, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for result in report.results:
        if result.failure is None:
            continue
        name = f"test_{result.property.name}_{result.method}.py".replace("-", "_")
        write(folder / name, _test(report, result.failure))
        written.append(folder / name)
    return written


def write(path: Path, text: str) -> None:
    """Write a text, whatever a server has put into it."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def plan_as_text(report: Report) -> str:
    """What a run would send."""
    lines = [f"This would be sent to {report.url}, and nothing was:", ""]
    lines += [_request(request) for request in report.planned]
    lines += [
        "",
        f"{len(report.planned)} requests of the probes and the lifecycle, as long as the server does what it should;",
        "the model machine and schemathesis then send requests that depend on the answers.",
    ]
    return "\n".join(_masked(report, line) for line in lines) + "\n"


def _masked(report: Report, text: str) -> str:
    """What came from the server, or went to it, without secrets. Words of our own are not looked at."""
    return masked(text, report.session.secrets)


def _request(request: Request) -> str:
    body = "" if request.body is None else request.body.decode("utf-8", "backslashreplace")
    if len(body) > 160:
        body = f"{body[:160]}... ({len(body)} characters)"
    return f"{request.http_method:4} {request.target[:160]} {body}".rstrip()


def _text(report: Report) -> Iterator[str]:
    if report.unfinished and not report.layers:
        yield f"nothing was tested: {report.unfinished}"
        yield from _left_behind(report)
        return
    width = max(len(name) for name in PROPERTIES) + 2
    yield " " * width + " ".join(SHORT.values())
    for name, cells in _rows(report.results):
        level = " " if PROPERTIES[name].level == "MUST" else "~"
        yield f"{level}{name:{width - 1}}" + " ".join(f" {cells.get(method, ' ')} " for method in METHODS).rstrip()
    yield ""
    yield "+ kept   X broken   ? not tested   - cannot be tested here   ~ should, a warning only"
    yield "   ".join(f"{short} {method}" for method, short in SHORT.items())
    for title, results in (("BROKEN", report.broken), ("WARNING", report.warnings), ("KNOWN FAILURE", report.known)):
        for result in results:
            yield ""
            yield f"{title}: {result.property.name} {result.method}"
            yield f"  {result.property.says} ({result.property.source})"
            yield f"  {_masked(report, result.why)}"
            if result.failure is not None and title != "KNOWN FAILURE":
                yield ""
                yield from (f"    {line}" for line in _curl(report, result.failure).splitlines())
    for result in report.passing:
        yield ""
        yield f"KNOWN FAILURE THAT PASSES NOW: {result.property.name} {result.method} - take it off the list"
    reasons = _reasons(report)
    if reasons:
        yield ""
        yield "Not tested:"
        for why, names in reasons[:_MOST_REASONS]:
            yield f"  {why}: {', '.join(names)}"
        if len(reasons) > _MOST_REASONS:
            yield f"  and for {len(reasons) - _MOST_REASONS} more reasons"
    yield from _left_behind(report)
    yield ""
    yield _summary(report)


def _left_behind(report: Report) -> Iterator[str]:
    clean = report.clean_up
    if clean is not None and not clean.is_complete:
        yield ""
        yield "LEFT BEHIND:"
        yield from (f"  {made.method} {made.id}: {_masked(report, why)}" for made, why in clean.left)
        yield from (f"  {intent.method} in project {intent.project}: its answer was lost" for intent in clean.unknown)
        yield f"  To delete it later: prebuilds contract cleanup {shlex.quote(str(report.ledger))}"


def _summary(report: Report) -> str:
    counts = count(report.results)
    requests = len(report.session.log)
    parts = [f"{number} {state.value}" for state, number in counts.items()]
    known = f", {len(report.known)} known failures" if report.known else ""
    early = f"; it ended early: {report.unfinished}" if report.unfinished else ""
    made = len(report.session.made)
    outdated = not report.broken and report.exit_code == 1
    end = "the list of known failures is out of date" if outdated else _ENDS[report.exit_code]
    return (
        f"{end}: {', '.join(parts)}{known}; {requests} requests, {made} things made, "
        f"{report.seconds:.1f} s, mode {report.mode}, seed {report.seed}, "
        f"assumptions {'on' if report.assumptions else 'off'}{early}"
    )


def _rows(results: Iterable[Result]) -> list[tuple[str, dict[str, str]]]:
    rows: dict[str, dict[str, str]] = {}
    for result in results:
        mark = "-" if result.excused else _MARK[result.state]
        rows.setdefault(result.property.name, {})[result.method] = mark
    return list(rows.items())


def _reasons(report: Report) -> list[tuple[str, list[str]]]:
    """Why something was not tested, and what."""
    found: dict[str, list[str]] = {}
    for result in report.results:
        if result.state is State.NOT_TESTED:
            names = found.setdefault(_masked(report, result.why), [])
            if result.property.name not in names:
                names.append(result.property.name)
    return [
        (why, [*names[:4], f"{len(names) - 4} more"] if len(names) > 5 else names)
        for why, names in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def _result(report: Report, result: Result) -> dict[str, Any]:
    content: dict[str, Any] = {
        "property": result.property.name,
        "method": result.method,
        "level": result.property.level,
        "assumption": result.property.assumption,
        "state": result.state.value,
    }
    if result.why:
        content["why"] = _masked(report, result.why)
    if result.state is State.NOT_TESTED:
        content["excused"] = result.excused
    if result.known:
        content["known_failure"] = True
    if result.failure is not None:
        content["curl"] = _curl(report, result.failure)
        content["pytest"] = _test(report, result.failure)
    return content


def _clean_up(report: Report) -> dict[str, Any] | None:
    clean = report.clean_up
    if clean is None:
        return None
    return {
        "complete": clean.is_complete,
        "deleted": clean.deleted,
        "left": [{"method": made.method, "id": made.id, "why": _masked(report, why)} for made, why in clean.left],
        "unknown": [asdict(intent) for intent in clean.unknown],
        "ledger": None if report.ledger is None else str(report.ledger),
    }


def _curl(report: Report, failure: Failure) -> str:
    return as_curl(failure.sequence, report.url, report.session.token, report.session.secrets)


def _test(report: Report, failure: Failure) -> str:
    expected = asdict(failure.expected) if failure.expected is not None else {}
    return as_pytest(
        failure.sequence,
        property_name=failure.property.name,
        method=failure.method,
        why=failure.why,
        expected=expected,
        base_url=report.url,
        token=report.session.token,
        secrets=report.session.secrets,
        made_up_projects=report.session.is_open,
    )


def _clean(text: str) -> str:
    """The text without what XML cannot hold."""
    return "".join(c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" else "?" for c in text)


_CLASS: Final = {"+": "kept", "X": "broken", "?": "untested", "-": "untested"}


def _row(name: str, cells: dict[str, str]) -> str:
    item = PROPERTIES[name]
    said = html.escape(f"{item.level}. {item.says} ({item.source})", quote=True)
    marks = "".join(
        f"<td class='{_CLASS[cells[method]]}'>{cells[method]}</td>" if method in cells else "<td></td>"
        for method in METHODS
    )
    return f"<tr><th class='name' title=\"{said}\">{html.escape(name)}</th>{marks}</tr>\n"


def _html_failure(report: Report, result: Result) -> str:
    if result.failure is None:
        return ""
    kind = "known failure" if result.known else "broken" if result.property.level == "MUST" else "warning"
    return (
        f"<section><h3>{html.escape(result.property.name)} {result.method} ({kind})</h3>"
        f"<p>{html.escape(result.property.says)}</p><p><b>{html.escape(_masked(report, result.why))}</b></p>"
        f"<pre>{html.escape(_curl(report, result.failure))}</pre>"
        "<details><summary>as a test</summary>"
        f"<pre>{html.escape(_test(report, result.failure))}</pre></details></section>"
    )


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em; max-width: 80em }}
table {{ border-collapse: collapse }} td, th {{ padding: 1px 6px; text-align: center }}
.name {{ text-align: left; font-weight: normal }} .kept {{ background: #d7f0d7 }} .broken {{ background: #f6b9b9 }}
.untested {{ background: #eee }} pre {{ background: #f6f6f6; padding: 1em; overflow: auto }}
</style></head><body><h1>{title}</h1><p>{summary}</p>
<table><tr><th></th>{head}</tr>
{rows}</table><h2>Failures</h2>{failures}<h2>Not tested</h2><ul>{reasons}</ul></body></html>
"""
