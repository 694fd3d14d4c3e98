"""How to see a failure again: the requests that it takes, as a shell script and as a test."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any, Final, NamedTuple, cast

from prebuilds.contract.escaping import (
    is_plain,
    jq_path,
    python_docstring,
    python_text,
    shell_comment,
    shell_double_quoted,
    shell_format,
    shell_word,
)
from prebuilds.contract.methods import CREATES, ID_FIELD, LISTS, WRITES
from prebuilds.contract.secrets import masked
from prebuilds.contract.wire import Answer, Request, at

DEFAULT_URL: Final = "http://127.0.0.1:8080"
"""Where a server is taken to be that was tested without an address."""

# Values of a response that later calls use: ids, page tokens, logs tokens.
_HANDED_ON: Final = frozenset({"id", "nextToken", "accessToken", "logUrl"})

# Longer bodies are unreadable on a command line.
_LONG = 4000

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# A list can hand on a lot that nobody uses.
_MOST_VALUES = 60

# So many calls that a list or a conflict builds on are enough to show it.
_MOST_BEFORE = 8

# For how many seconds a script waits for a phase.
_PATIENCE = 60


class Value(NamedTuple):
    """A value of a response that later calls use.

    Attributes:
        variable: the variable of the script that holds the value.
        source: the position of the response in the sequence; -1 for a project, which the script invents.
        path: the path of the value in the response.
    """

    variable: str
    source: int
    path: tuple[str | int, ...]


def shortest(log: Sequence[Answer], shows: Sequence[Answer], made: Mapping[str, str]) -> tuple[Answer, ...]:
    """The calls that reproduce the exchanges `shows`: these exchanges and their prerequisites.

    Args:
        log: all exchanges of the session.
        shows: the exchanges that show the failure, in any order.
        made: the method that created each id.
    """
    needed = {answer.number: answer for answer in shows}
    waiting = list(shows)
    while waiting:
        answer = waiting.pop()
        before = log[: max(answer.number, 0)]
        for earlier in (*_sources(before, answer, made), *_preconditions(before, answer, made)):
            if earlier.number not in needed:
                needed[earlier.number] = earlier
                waiting.append(earlier)
    return tuple(needed[number] for number in sorted(needed))


def _sources(before: Sequence[Answer], answer: Answer, made: Mapping[str, str]) -> Iterator[Answer]:
    """The first exchanges whose responses contain a value that the request uses."""
    text = _sent(answer.request)
    wanted = {item_id for item_id in made if item_id in text}
    token = at(_fields(answer.request), "pagination.token")
    if isinstance(token, str) and token:
        wanted.add(token)
    for earlier in before:
        if not wanted:
            return
        found = {value for value in wanted if value.encode("utf-8", "backslashreplace") in earlier.body}
        if found:
            wanted -= found
            yield earlier


def _preconditions(before: Sequence[Answer], answer: Answer, made: Mapping[str, str]) -> Iterator[Answer]:
    """The changes without which the server would be in another state: in the same projects, or of the same things."""
    method, fields = answer.request.method, _fields(answer.request)
    projects: set[str] = set()
    ids: set[str] = set()
    if method in ID_FIELD:
        ids |= {str(fields.get(ID_FIELD[method]))} & made.keys()
    elif method == "CreateWarmPool":
        projects.add(str(fields.get("projectId")))
    elif method in LISTS:
        given: object = at(fields, "filter.projectIds")
        projects |= set(map(str, cast("Sequence[Any]", given))) if isinstance(given, list) else set()
        ids |= set([each for each in made if each.encode() in answer.body][:_MOST_BEFORE])
    found: list[Answer] = []
    for earlier in before:
        if not earlier.ok or earlier.request.method not in WRITES:
            continue
        sent = _fields(earlier.request)
        if earlier.request.method in CREATES:
            in_project = str(sent.get("projectId")) in projects
            related = in_project or any(each.encode() in earlier.body for each in ids)
        else:
            related = str(sent.get(ID_FIELD.get(earlier.request.method, ""))) in ids
        if related:
            found.append(earlier)
    yield from found[-_MOST_BEFORE:]


def _fields(request: Request) -> dict[str, Any]:
    """The fields of a request in JSON, none if it is anything else."""
    try:
        content: object = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _sent(request: Request) -> str:
    return (request.body or b"").decode("utf-8", "replace") + request.target


def handed_on(sequence: Sequence[Answer], *, made_up_projects: bool = False) -> dict[str, Value]:
    """The values that later calls of a sequence take from earlier responses.

    Args:
        sequence: the calls.
        made_up_projects: whether the projects were invented, and must be new each time.
    """
    found: dict[str, Value] = {}
    if made_up_projects:
        for answer in sequence:
            project = _fields(answer.request).get("projectId")
            if answer.request.method in CREATES and isinstance(project, str) and _UUID.fullmatch(project):
                found.setdefault(project, Value(f"PROJECT_{len(found) + 1}", -1, ()))
    later = [_sent(answer.request) for answer in sequence]
    for place, answer in enumerate(sequence):
        for path, value in _values(answer.content):
            if value and value not in found and any(value in text for text in later[place + 1 :]):
                found[value] = Value(f"VALUE_{len(found) + 1}", place, path)
    return found


def _values(content: Any) -> Iterable[tuple[tuple[str | int, ...], str]]:
    values: list[tuple[tuple[str | int, ...], str]] = []
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), content)]
    while stack and len(values) < _MOST_VALUES:
        where, value = stack.pop(0)
        if isinstance(value, dict):
            stack += [((*where, name), item) for name, item in cast("dict[str, Any]", value).items()]
        elif isinstance(value, list):
            stack += [((*where, number), item) for number, item in enumerate(cast("Sequence[Any]", value))]
        elif isinstance(value, str) and where and where[-1] in _HANDED_ON:
            values.append((where, value))
    return values


def as_curl(
    sequence: Sequence[Answer],
    base_url: str,
    token: str,
    secrets: Collection[str] = (),
    *,
    made_up_projects: bool = False,
) -> str:
    """The sequence as a shell script: curl, and jq where later calls use a value of a response.

    Args:
        sequence: the calls.
        base_url: the URL of the server.
        token: the API token. The script takes it from the variable TOKEN.
        secrets: other values that must not be shown.
        made_up_projects: whether the projects were invented, and must be new each time.
    """
    variables = handed_on(sequence, made_up_projects=made_up_projects)
    lines = [f"BASE={shell_word(base_url or DEFAULT_URL)}"]
    if any(_bearing(name, value, token)[1] for answer in sequence for name, value in answer.request.headers):
        lines.append(": ${TOKEN:?has to be the API token}")
    lines += [f"{value.variable}=$(uuidgen | tr A-F a-f)" for value in variables.values() if value.source < 0]
    for place, answer in enumerate(sequence):
        handed = [value for value in variables.values() if value.source == place]
        phase = _phase_to_wait_for(answer)
        # A call whose response no later call uses shows its status.
        command = _command(answer.request, "-sS" if handed or phase else "-sSi", token, variables, secrets)
        if phase:
            reached = shell_word(f"{jq_path((phase[0], 'status', 'phase'))} == {json.dumps(phase[1])}")
            lines += [
                f"for _ in $(seq {_PATIENCE}); do ANSWER=$({command})",
                f'  printf %s "$ANSWER" | jq -e {reached} > /dev/null && break; sleep 1; done',
                'printf "%s\\n" "$ANSWER"',
            ]
        elif handed:
            lines.append(f"ANSWER=$({command})")
        else:
            lines.append(command)
        lines += [f'{each.variable}=$(printf %s "$ANSWER" | jq -r {shell_word(jq_path(each.path))})' for each in handed]
        lines.append(shell_comment(f"-> {masked(answer.outcome, secrets) if answer.status else 'no answer'}"))
    return "\n".join(lines)


def _phase_to_wait_for(answer: Answer) -> tuple[str, str] | None:
    """The field of a response that holds a resource, and its phase, if the server needs time to reach it."""
    if not answer.ok or answer.request.method not in ("GetPrebuild", "GetWarmPool"):
        return None
    name = "prebuild" if answer.request.method == "GetPrebuild" else "warmPool"
    phase = answer.at(f"{name}.status.phase")
    return (name, phase) if isinstance(phase, str) and not phase.endswith("_PENDING") else None


def _command(
    request: Request,
    flags: str,
    token: str,
    variables: Mapping[str, Value],
    secrets: Collection[str],
) -> str:
    parts = [f"curl {flags}g"]
    if request.http_method not in ("POST", "GET") or (request.http_method == "GET") != (request.body is None):
        parts.append(f"-X {shell_word(request.http_method)}")
    parts.append(f'"$BASE"{_quoted(masked(request.target, secrets), variables)}')
    for name, value in request.headers:
        scheme, kind = _bearing(name, value, token)
        if kind:
            shown = f'"{shell_double_quoted(f"{name}: {scheme} ")}{_IN_SHELL[kind]}"'
        else:
            # curl drops a header without a value unless it ends in a semicolon.
            shown = _quoted(masked(f"{name}: {value}" if value else f"{name};", secrets), variables)
        parts.append(f"-H {shown}")
    if request.body is None:
        return " ".join(parts)
    if request.header("content-type") is None:
        parts.append("-H 'Content-Type:'")  # curl would add its default
    text = _text_of(request.body)
    if text is not None and len(text) <= _LONG:
        # The raw form sends a text that begins with @ as it is, and no file.
        parts.append(f"--data-raw {_quoted(masked(text, secrets), variables)}")
        return " ".join(parts)
    parts.append("--data-binary @-")
    return f"{_printed(request.body, variables, secrets)} | {' '.join(parts)}"


def _bearing(name: str, value: str, token: str) -> tuple[str, str]:
    """The scheme of a header that carries the token, and in which form; ("", "") of any other."""
    if name.lower() != "authorization" or not token:
        return "", ""
    scheme, _, given = value.partition(" ")
    # The last two are wrong tokens that are made from the right one.
    kind = {token: "{TOKEN}", f"{token}x": "{TOKEN}x", token[:-1]: "{CUT}"}.get(given, "") if given else ""
    return (scheme, kind) if kind else ("", "")


_IN_SHELL: Final = {"{TOKEN}": "$TOKEN", "{TOKEN}x": "${TOKEN}x", "{CUT}": "${TOKEN%?}"}


def _text_of(body: bytes) -> str | None:
    """The body as text that can be pasted into a shell, None if it cannot."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if is_plain(text) else None


def _quoted(text: str, variables: Mapping[str, Value]) -> str:
    """A shell word, with variables in place of values from earlier responses."""
    words = [
        f'"${{{variables[piece].variable}}}"' if piece in variables else shell_word(piece)
        for piece in _pieces(text, variables)
    ]
    return "".join(words) or "''"


def _pieces(text: str, variables: Mapping[str, Value]) -> list[str]:
    handed = "|".join(map(re.escape, sorted(variables, key=len, reverse=True)))
    return [piece for piece in (re.split(f"({handed})", text) if handed else [text]) if piece]


def _printed(body: bytes, variables: Mapping[str, Value], secrets: Collection[str]) -> str:
    """A shell command that prints the body: binary bytes in octal, and a long run of one byte by its length."""
    steps: list[str] = []
    for piece in _pieces(masked(body.decode("latin-1"), secrets), variables):
        if piece in variables:
            steps.append(f'printf %s "${{{variables[piece].variable}}}"')
        else:
            steps += _printed_piece(piece.encode("latin-1"))
    return steps[0] if len(steps) == 1 and "|" not in steps[0] else f"{{ {'; '.join(steps or [':'])}; }}"


def _printed_piece(piece: bytes) -> Iterable[str]:
    for part in re.finditer(rb"(.)\1{199,}|(?:(?!(.)\2{199}).)+", piece, re.DOTALL):
        if part[1] is not None:
            yield f"head -c {len(part[0])} /dev/zero | tr '\\000' '\\{part[1][0]:03o}'"
        else:
            yield f"printf '{shell_format(part[0])}'"


def as_pytest(
    sequence: Sequence[Answer],
    *,
    property_name: str,
    method: str,
    why: str,
    url: str,
    token: str,
    secrets: Collection[str] = (),
    options: Mapping[str, Any] | None = None,
    made_up_projects: bool = False,
) -> str:
    """A test that fails as long as the server violates the property.

    It checks the property by the same rule as the run that found the failure, with newly created resources.

    Args:
        sequence: the calls that showed the failure, for the reader.
        property_name: the violated property.
        method: the method that violates it.
        why: the error.
        url: the URL of the server.
        token: the API token. The test does not contain it, and reads the environment variable TOKEN.
        secrets: other values that the test must not contain.
        options: the options of the run that are needed to reproduce the failure.
        made_up_projects: whether the projects were invented.
    """
    name = re.sub(r"\W+", "_", f"{property_name}_{_snake(method)}")
    script = as_curl(sequence, url, token, secrets, made_up_projects=made_up_projects)
    return _template("test.py.txt").substitute(
        title=f"{property_name} of {method}",
        why=python_docstring(masked(why, secrets)),
        file=f"test_{name}.py",
        curl="\n".join(shell_comment(line).rstrip() for line in script.split("\n")),
        name=name,
        property=python_text(property_name),
        method=python_text(method),
        url=python_text(url or DEFAULT_URL),
        options="\n".join(f"        {key}={value!r}," for key, value in (options or {}).items()),
    )


def _template(name: str) -> Template:
    return Template(files("prebuilds.contract").joinpath("templates", name).read_text(encoding="utf-8"))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
