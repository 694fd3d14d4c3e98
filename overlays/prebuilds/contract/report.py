"""The report of a run, for people and for programs: text, JSON, JUnit, HTML, and tests that show each failure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree

from prebuilds.contract.escaping import html_text, lines, one_line, xml_text
from prebuilds.contract.findings import Failure, Result, State, count
from prebuilds.contract.layers import LAYERS
from prebuilds.contract.methods import METHODS
from prebuilds.contract.properties import PROPERTIES
from prebuilds.contract.reproduction import as_curl, as_pytest
from prebuilds.contract.runner import Report, is_local
from prebuilds.contract.secrets import masked
from prebuilds.contract.wire import Request
from prebuilds.version import __version__

_MARK: Final = {State.KEPT: "+", State.BROKEN: "X", State.NOT_TESTED: "?"}

_ENDS: Final = {
    0: "the server conforms",
    1: "the contract is broken",
    2: "not fully tested",
    3: "the clean-up is incomplete",
}

# The report lists at most this many reasons for untested properties.
_MOST_REASONS = 12

# How much of a script a page shows. The whole of it is in the report in JSON.
_LONGEST_SCRIPT = 1200

_BOLD, _RED, _YELLOW, _GREEN, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"


class Group(NamedTuple):
    """Failures that are likely to have one cause.

    Attributes:
        results: the failures of one property, of each method one.
        others: further properties that the same response breaks.
    """

    results: list[Result]
    others: list[str]

    @property
    def first(self) -> Result:
        """The failure that stands for all."""
        return self.results[0]

    @property
    def methods(self) -> str:
        """The methods that fail, by their names."""
        return ", ".join(result.method for result in self.results)


def groups(results: Sequence[Result]) -> list[Group]:
    """Failures in groups: alike in several methods, or shown by the same response. Those of one method come first."""
    alike: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        alike.setdefault((result.property.name, _shape(result)), []).append(result)
    found: list[Group] = []
    by_response: dict[int, Group] = {}  # by identity: each lane counts its own responses
    for members in alike.values():
        failure = members[0].failure
        number = id(failure.sequence[-1]) if failure is not None and failure.sequence else -1
        same = by_response.get(number)
        if same is not None and len(members) == 1:
            same.others.append(members[0].property.name)
            continue
        group = Group(members, [])
        found.append(group)
        by_response.setdefault(number, group)
    return sorted(found, key=lambda group: len(group.results) > 1)


def _shape(result: Result) -> str:
    """The reason of a failure without the parts that differ between methods."""
    text = result.why.replace(result.method, "METHOD")
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+", "N", text)


def as_text(report: Report, *, width: int = 80, colour: bool = False, grid: bool = False) -> str:
    """The report for a person.

    Args:
        report: the report.
        width: how many characters a line of the overview may have.
        colour: whether to write colours for a terminal.
        grid: whether to add a table of all properties and methods.
    """
    return "\n".join(_Text(report, width, colour=colour, grid=grid).lines()) + "\n"


class _Text:
    """The report in lines."""

    def __init__(self, report: Report, width: int, *, colour: bool, grid: bool) -> None:
        self.report = report
        self.width = width
        self.colour = colour
        self.grid = grid

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self.colour else text

    def shown(self, text: str) -> str:
        """Data from or to the server, on one line and without secrets."""
        return one_line(_masked(self.report, text))

    def lines(self) -> Iterator[str]:
        report = self.report
        if report.unfinished and not report.layers:
            yield f"nothing was tested: {self.shown(report.unfinished)}"
            yield from self.left_behind()
            return
        kinds = (("FAILED", _RED, report.broken), ("WARNING", _YELLOW, report.warnings))
        folded = [(title, style, groups(results)) for title, style, results in kinds]
        for title, style, found in folded:
            for group in found:
                yield self.overview(title, style, group)
        yield from (f"KNOWN FAILURE  {result.property.name}  {result.method}" for result in report.known)
        for result in report.passing:
            name = f"{result.property.name} {result.method}"
            yield self.paint(_RED, f"KNOWN FAILURE THAT PASSES NOW: {name}: remove the line")
        if report.not_implemented:
            yield f"NOT IMPLEMENTED by the server: {', '.join(report.not_implemented)} (leave them out with --method)"
        for title, style, found in folded:
            for group in found:
                yield from self.details(title, style, group)
        yield from self.not_tested()
        if self.grid:
            yield ""
            yield from self.table()
        yield from self.left_behind()
        yield from (f"Shortened: {each}" for each in report.session.shortened)
        yield ""
        good = report.exit_code == 0
        yield self.paint(_BOLD + (_GREEN if good else _RED), self.shown(_summary(report)))

    def overview(self, title: str, style: str, group: Group) -> str:
        """One line of a failure. It is cut where the terminal ends."""
        name = group.first.property.name
        methods = group.methods if len(group.results) < 3 else f"{group.first.method} and {len(group.results) - 1} more"
        line = f"{title}  {name}  {methods}: {self.shown(group.first.why)}"
        cut = line if len(line) <= self.width else f"{line[: self.width - 3]}..."
        return self.paint(style, cut[: len(title)]) + cut[len(title) :]

    def details(self, title: str, style: str, group: Group) -> Iterator[str]:
        report, result = self.report, group.first
        yield ""
        yield self.paint(style + _BOLD, f"{title}: {result.property.name} {group.methods}")
        yield f"  {result.property.says} ({result.property.source})"
        yield f"  {self.shown(result.why)}"
        if group.others:
            yield f"  The same response breaks: {', '.join(group.others)}"
        if result.failure is not None:
            yield ""
            yield from (f"    {line}" for line in lines(_curl(report, result.failure)).split("\n"))

    def not_tested(self) -> Iterator[str]:
        reasons = _reasons(self.report)
        if reasons:
            yield ""
            yield "Not tested:"
            for why, names in reasons[:_MOST_REASONS]:
                yield f"  {one_line(why)}: {', '.join(names)}"
            if len(reasons) > _MOST_REASONS:
                yield f"  and for {len(reasons) - _MOST_REASONS} more reasons (see --report json=FILE)"

    def table(self) -> Iterator[str]:
        short = {method: _short(method) for method in METHODS}
        cell = max(map(len, short.values())) + 1
        name_width = max(len(name) for name in PROPERTIES) + 2
        yield " " * name_width + "".join(f"{each:{cell}}" for each in short.values()).rstrip()
        for name, cells in _rows(self.report.results):
            level = " " if PROPERTIES[name].level == "MUST" else "~"
            marks = "".join(f"{cells.get(method, ' '):{cell}}" for method in METHODS)
            yield f"{level}{name:{name_width - 1}}{marks}".rstrip()
        yield "+ passed   X failed   ? not tested   - cannot be tested here   ~ should, a warning only"
        yield "   ".join(f"{each} {method}" for method, each in short.items())

    def left_behind(self) -> Iterator[str]:
        clean = self.report.clean_up
        if clean is not None and not clean.is_complete:
            yield ""
            yield self.paint(_RED, "LEFT BEHIND:")
            yield from (f"  {made.method} {one_line(made.id)}: {self.shown(why)}" for made, why in clean.left)
            for intent in clean.unknown:
                yield f"  {intent.method} in project {one_line(intent.project)}: its response was lost"
            command = f"prebuilds contract cleanup {shlex.quote(str(self.report.ledger))}"
            where = "" if is_local(self.report.url) else f" {shlex.quote(self.report.url)} --token-env VAR"
            yield f"  To delete it later: {command}{where}"


def _short(method: str) -> str:
    """A method in a few letters: two of its verb, and one of each further word."""
    words: list[str] = re.findall(r"[A-Z][a-z]*", method) or [method]
    first, *rest = words
    return f"{first[:2]}{''.join(word[0] for word in rest)}"


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
        "not_implemented": list(report.not_implemented),
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
            ElementTree.SubElement(case, "failure", message="the file of known failures lists it, and it passes")
        if result.state is State.KEPT:
            continue
        why = xml_text(_masked(report, result.why))
        if result.state is State.BROKEN and result.property.level == "MUST" and not result.known:
            element = ElementTree.SubElement(case, "failure", message=why)
            if result.failure is not None:
                element.text = xml_text(_curl(report, result.failure))
        else:
            what = "known failure: " if result.known else "should: " if result.state is State.BROKEN else ""
            ElementTree.SubElement(case, "skipped", message=what + why)
    if report.unfinished:
        # A run of which all is skipped looks as if all were well.
        case = ElementTree.SubElement(suite, "testcase", classname="run", name="complete", time="0")
        ElementTree.SubElement(case, "error", message=xml_text(report.unfinished))
    if report.clean_up is not None and not report.clean_up.is_complete:
        case = ElementTree.SubElement(suite, "testcase", classname="clean-up", name="complete", time="0")
        ElementTree.SubElement(case, "failure", message=f"something is left: see {report.ledger}")
    for count_of, kind in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        suite.set(count_of, str(sum(1 for _ in suite.iter(kind))))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def as_html(report: Report) -> str:
    """The report as one page, which loads nothing else."""
    failures = "".join(
        _html_failure(report, result) for result in (*report.broken, *report.warnings, *report.known) if result.failure
    )
    reasons = "".join(f"<li>{html_text(why)}: {html_text(', '.join(names))}</li>" for why, names in _reasons(report))
    page = Template(files("prebuilds.contract").joinpath("templates", "report.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=html_text(f"Contract of {report.url}"),
        summary=html_text(_masked(report, _summary(report))),
        head="".join(f"<th class='method'>{html_text(method)}</th>" for method in METHODS),
        rows="".join(_html_row(name, results) for name, results in _by_property(report.results).items()),
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
    """The requests that a run would send."""
    found = [f"This would be sent to {one_line(report.url)}, and nothing was:", ""]
    found += [_request(request) for request in report.planned]
    found += [
        "",
        f"{len(report.planned)} requests of the probes and the lifecycle, as long as the server does what it should;",
        "the model machine and schemathesis then send requests that depend on the answers.",
    ]
    return "\n".join(_masked(report, line) for line in found) + "\n"


def _masked(report: Report, text: str) -> str:
    """Data from or to the server, without secrets. The kit's own words stay unchanged."""
    return masked(text, report.session.secrets)


def _request(request: Request) -> str:
    body = "" if request.body is None else request.body.decode("utf-8", "backslashreplace")
    if len(body) > 160:
        body = f"{body[:160]}... ({len(body)} characters)"
    return one_line(f"{request.http_method:4} {request.target[:160]} {body}".rstrip())


def _summary(report: Report) -> str:
    counts = count(report.results)
    parts = [f"{counts[State.KEPT]} passed", f"{counts[State.BROKEN]} failed", f"{counts[State.NOT_TESTED]} not tested"]
    known = f", {len(report.known)} known failures" if report.known else ""
    early = f"; it ended early: {report.unfinished}" if report.unfinished else ""
    outdated = not report.broken and report.exit_code == 1
    end = "the list of known failures is out of date" if outdated else _ENDS[report.exit_code]
    requests, made = len(report.session.log), len(report.session.made)
    return (
        f"{end}: {', '.join(parts)}{known}; {requests} requests, {made} things made, "
        f"{report.seconds:.1f} s, mode {report.mode}, seed {report.seed}, "
        f"assumptions {'on' if report.assumptions else 'off'}{early}"
    )


def _by_property(results: Iterable[Result]) -> dict[str, dict[str, Result]]:
    found: dict[str, dict[str, Result]] = {}
    for result in results:
        found.setdefault(result.property.name, {})[result.method] = result
    return found


def _rows(results: Iterable[Result]) -> list[tuple[str, dict[str, str]]]:
    return [
        (name, {method: "-" if each.excused else _MARK[each.state] for method, each in of.items()})
        for name, of in _by_property(results).items()
    ]


def _reasons(report: Report) -> list[tuple[str, list[str]]]:
    """The reasons for untested properties, and the properties."""
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
    session = report.session
    return as_curl(failure.sequence, report.url, session.token, session.secrets, made_up_projects=session.is_open)


def _test(report: Report, failure: Failure) -> str:
    session = report.session
    options: dict[str, Any] = {
        "layers": (failure.layer if failure.layer in LAYERS else "probes",),
        "mode": report.mode,
        "seed": report.seed,
        "assumptions": report.assumptions,
        "settle": session.settle,
        "patience": session.patience,
    }
    if session.profile == "strict":
        options["profile"] = session.profile
    if not session.is_open:
        options |= {"projects": session.projects, "environment_classes": session.environment_classes}
    return as_pytest(
        failure.sequence,
        property_name=failure.property.name,
        method=failure.method,
        why=failure.why,
        url=report.url,
        token=session.token,
        secrets=session.secrets,
        options=options,
        made_up_projects=session.is_open,
    )


def _html_row(name: str, results: dict[str, Result]) -> str:
    item = PROPERTIES[name]
    said = html_text(f"{item.level}. {item.says} ({item.source})")
    cells = "".join(_html_cell(results[method]) if method in results else "<td></td>" for method in METHODS)
    return f"<tr><th class='name' title=\"{said}\">{html_text(name)}</th>{cells}</tr>\n"


def _kind(result: Result) -> str:
    """The class of a result on the page."""
    if result.state is not State.BROKEN:
        return "passed" if result.state is State.KEPT else "untested"
    return "known" if result.known else "failed" if result.property.level == "MUST" else "warning"


def _html_cell(result: Result) -> str:
    kind = _kind(result)
    mark = {"passed": "+", "failed": "X", "warning": "!", "known": "K", "untested": "?"}[kind]
    if result.failure is None:
        return (
            f"<td class='{kind}' title=\"{html_text(result.why)}\">{mark}</td>"
            if result.why
            else (f"<td class='{kind}'>{mark}</td>")
        )
    return f"<td class='{kind}'><a href='#{_anchor(result)}'>{mark}</a></td>"


def _anchor(result: Result) -> str:
    return html_text(f"{result.property.name}-{result.method}")


def _html_failure(report: Report, result: Result) -> str:
    script = "" if result.failure is None else _curl(report, result.failure)
    if len(script) > _LONGEST_SCRIPT:
        script = f"{script[:_LONGEST_SCRIPT]}\n# ... the whole script is in the report in JSON"
    return (
        f"<section id='{_anchor(result)}'><h3 class='{_kind(result)}'>{html_text(result.property.name)} "
        f"{html_text(result.method)}</h3><p>{html_text(result.property.says)}</p>"
        f"<p><b>{html_text(_masked(report, result.why)[:600])}</b></p><pre>{html_text(script)}</pre></section>\n"
    )
