"""The shortest way to see a failure again: which calls it takes, as curl and as a test."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from prebuilds.contract.properties import CREATES
from prebuilds.contract.secrets import masked
from prebuilds.contract.wire import Answer, Request

# What an answer hands on to later calls: ids, page tokens, logs tokens.
_HANDED_ON: Final = re.compile(r"\.(?:id|nextToken|accessToken|logUrl)$")

# Longer bodies are no use on a command line.
_LONG = 4000

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# A list can hand on a lot that nobody uses.
_MOST_VALUES = 60


def shortest(log: Sequence[Answer], shows: Sequence[Answer], made: Mapping[str, str]) -> tuple[Answer, ...]:
    """The calls that it takes to show what the answers `shows` do: those, and what handed ids and tokens on to them.

    Args:
        log: all answers of the session.
        shows: those that show it, in any order.
        made: the method that made each id.
    """
    needed = {answer.number: answer for answer in shows}
    waiting = list(shows)
    while waiting:
        answer = waiting.pop()
        text = _sent(answer.request)
        for earlier in _sources(log, answer, text, made):
            if earlier.number not in needed:
                needed[earlier.number] = earlier
                waiting.append(earlier)
    return tuple(needed[number] for number in sorted(needed))


def _sources(log: Sequence[Answer], answer: Answer, text: str, made: Mapping[str, str]) -> Iterable[Answer]:
    """The first answers that handed on something which the request uses."""
    wanted = {item_id for item_id in made if item_id in text}
    token = _page_token(answer.request)
    if token:
        wanted.add(token)
    for earlier in log[: max(answer.number, 0)]:
        if not wanted:
            return
        found = {value for value in wanted if value.encode("utf-8", "backslashreplace") in earlier.body}
        if found:
            wanted -= found
            yield earlier


def _page_token(request: Request) -> str:
    try:
        content = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        return ""
    pagination = cast("dict[str, Any]", content).get("pagination") if isinstance(content, dict) else None
    token = cast("dict[str, Any]", pagination).get("token") if isinstance(pagination, dict) else None
    return token if isinstance(token, str) else ""


def _sent(request: Request) -> str:
    return (request.body or b"").decode("utf-8", "replace") + request.target


def handed_on(sequence: Sequence[Answer]) -> dict[str, tuple[str, int, str]]:
    """What later calls of a sequence take from earlier ones: value to variable, place of its source, and path there."""
    later = [_sent(answer.request) for answer in sequence]
    found: dict[str, tuple[str, int, str]] = {}
    for place, answer in enumerate(sequence):
        for path, value in _values(answer.content, ""):
            if value in found or not value:
                continue
            if any(value in text for text in later[place + 1 :]):
                found[value] = (f"VALUE_{len(found) + 1}", place, path)
    return found


def _values(content: Any, path: str) -> Iterable[tuple[str, str]]:
    values: list[tuple[str, str]] = []
    stack: list[tuple[str, Any]] = [(path, content)]
    while stack and len(values) < _MOST_VALUES:
        where, value = stack.pop(0)
        if isinstance(value, dict):
            stack += [(f"{where}.{name}", item) for name, item in cast("dict[str, Any]", value).items()]
        elif isinstance(value, list):
            stack += [(f"{where}[{number}]", item) for number, item in enumerate(cast("Sequence[Any]", value))]
        elif isinstance(value, str) and _HANDED_ON.search(where):
            values.append((where, value))
    return values


def as_curl(sequence: Sequence[Answer], base_url: str, token: str, secrets: Collection[str] = ()) -> str:
    """The sequence as a shell script: curl, and jq where an answer hands something on.

    Args:
        sequence: the calls.
        base_url: where the server is.
        token: the API token. The script takes it from the variable TOKEN.
        secrets: what else must not be shown.
    """
    variables = handed_on(sequence)
    lines = [f"BASE={shlex.quote(base_url or 'http://127.0.0.1:8080')}"]
    if any(_bearing(name, value, token)[1] for answer in sequence for name, value in answer.request.headers):
        lines.append(": ${TOKEN:?has to be the API token}")
    for place, answer in enumerate(sequence):
        handed = [(variable, path) for variable, source, path in variables.values() if source == place]
        # What hands nothing on shows its status.
        command = _command(answer.request, "-sS" if handed else "-sSi", token, variables, secrets)
        if handed:
            lines.append(f"ANSWER=$({command})")
            lines += [f'{variable}=$(printf %s "$ANSWER" | jq -r {shlex.quote(path)})' for variable, path in handed]
        else:
            lines.append(command)
        lines.append(f"# -> {masked(answer.outcome, secrets) if answer.status else 'no answer'}")
    return "\n".join(lines)


def _command(
    request: Request,
    flags: str,
    token: str,
    variables: Mapping[str, tuple[str, int, str]],
    secrets: Collection[str],
) -> str:
    parts = [f"curl {flags}g"]
    if request.http_method not in ("POST", "GET") or (request.http_method == "GET") != (request.body is None):
        parts.append(f"-X {request.http_method}")
    parts.append(f'"$BASE"{_quoted(masked(request.target, secrets), variables)}')
    for name, value in request.headers:
        scheme, kind = _bearing(name, value, token)
        if kind:
            shown = f'"{name}: {scheme} {_IN_SHELL[kind]}"'
        else:
            # curl drops a header without a value unless it ends in a semicolon.
            shown = _quoted(masked(f"{name}: {value}" if value else f"{name};", secrets), variables)
        parts.append(f"-H {shown}")
    if request.body is None:
        return " ".join(parts)
    if request.header("content-type") is None:
        parts.append("-H 'Content-Type:'")  # curl would add one of its own
    text = _text_of(request.body)
    if text is not None and len(text) <= _LONG:
        parts.append(f"--data-binary {_quoted(masked(text, secrets), variables)}")
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
    """The body as text that a shell can hold, None if it cannot."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    # At the beginning of what curl is to send, this sign names a file.
    # Other signs than letters are for the terminal that they are pasted into.
    return None if any((byte < 32 and byte != 10) or byte == 127 for byte in body) or text.startswith("@") else text


def _quoted(text: str, variables: Mapping[str, tuple[str, int, str]]) -> str:
    if not any(value in text for value in variables):
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    for value, (variable, _, _) in variables.items():
        quoted = quoted.replace(value, f"${{{variable}}}")
    return f'"{quoted}"'


def _printed(body: bytes, variables: Mapping[str, tuple[str, int, str]], secrets: Collection[str]) -> str:
    """A shell command that prints the body: what is no text in octal, and what is the same for long by its length."""
    steps: list[str] = []
    hidden = masked(body.decode("latin-1"), secrets)
    handed = "|".join(map(re.escape, sorted(variables, key=len, reverse=True)))
    for piece in re.split(f"({handed})", hidden) if handed else [hidden]:
        if piece in variables:
            steps.append(f'printf %s "${{{variables[piece][0]}}}"')
        else:
            steps += _printed_piece(piece.encode("latin-1"))
    return steps[0] if len(steps) == 1 and "|" not in steps[0] else f"{{ {'; '.join(steps or [':'])}; }}"


def _printed_piece(piece: bytes) -> Iterable[str]:
    for part in re.finditer(rb"(.)\1{199,}|(?:(?!(.)\2{199}).)+", piece, re.DOTALL):
        if part[1] is not None:
            octal = f"{part[1][0]:03o}"
            yield f"head -c {len(part[0])} /dev/zero | tr '\\000' '\\{octal}'"
        else:
            shown = "".join(
                chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\%" else f"\\{byte:03o}" for byte in part[0]
            )
            # A format that begins with a minus would be an option.
            yield f"printf '{shown.replace('-', chr(92) + '055', 1) if shown.startswith('-') else shown}'"


_TEST: Final = '''"""{title}

{why}
"""

import http.client
import json
import os
import re
import uuid
from urllib.parse import urlsplit

BASE_URL = os.environ.get("BASE_URL", {base_url!r})
TOKEN = os.environ.get("TOKEN", "any")

CALLS = {calls}

# Projects that are made up anew each time.
NEW = {new}

SEEN = {seen}


def send(call, values):
    """One request; returns the status and the body of its answer."""
    parts = urlsplit(BASE_URL)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=30)
    body = call["body"]
    target = parts.path.rstrip("/") + call["target"]
    for name, value in values.items():
        target = target.replace("{{" + name + "}}", value)
        body = None if body is None else body.replace(b"{{" + name.encode() + b"}}", value.encode())
    connection.putrequest(call["verb"], target, skip_accept_encoding=True)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    for name, value in call["headers"]:
        connection.putheader(name, value.replace("{{TOKEN}}", TOKEN).replace("{{CUT}}", TOKEN[:-1]))
    connection.endheaders(body)
    answer = connection.getresponse()
    status, content = answer.status, answer.read()
    connection.close()
    return status, content


def picked(content, path):
    """The value at `.a.b[0].c` of a JSON document."""
    value = json.loads(content)
    for name, place in re.findall(r"\\.(\\w+)|\\[(\\d+)\\]", path):
        value = value[name] if name else value[int(place)]
    return value


def things_in(call, content):
    """The calls that delete what a call has made."""
    kind = re.search(r"/Create(Prebuild|WarmPool)$", call["target"])
    try:
        made = json.loads(content)[kind[1][0].lower() + kind[1][1:]]["id"] if kind else None
    except (ValueError, LookupError, TypeError):
        made = None
    if made is None:
        return []
    field = "prebuildId" if kind[1] == "Prebuild" else "warmPoolId"
    headers = [("Content-Type", "application/json"), ("Authorization", "Bearer {{TOKEN}}")]
    target = call["target"].replace("/Create", "/Delete")
    return [{{"verb": "POST", "target": target, "headers": headers, "body": json.dumps({{field: made}}).encode()}}]


def plain(content):
    """An answer without what differs each time: ids, times, tokens."""
    text = content.decode("utf-8", "replace")
    text = re.sub(r"[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}", "<id>", text)
    text = re.sub(r"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:.]+Z?", "<time>", text)
    return re.sub(r'"(nextToken|accessToken)":\\s*"[^"]*"', r'"\\1":"<token>"', text)


def test_{name}():
    values, made, status, content = {{name: str(uuid.uuid4()) for name in NEW}}, [], None, b""
    try:
        for call in CALLS:
            try:
                status, content = send(call, values)
            except (OSError, http.client.HTTPException) as error:
                status, content = 0, str(error).encode()
            made += things_in(call, content)
            for name, path in call["keep"]:
                values[name] = picked(content, path)
    finally:
        for call in reversed(made):
            send(call, {{}})
    assert status, content  # no answer is no answer that is right
{asserts}
'''


def as_pytest(
    sequence: Sequence[Answer],
    *,
    property_name: str,
    method: str,
    why: str,
    expected: Mapping[str, Any],
    base_url: str,
    token: str,
    secrets: Collection[str] = (),
    made_up_projects: bool = False,
) -> str:
    """The sequence as a test that needs nothing but pytest: it fails as long as the server answers as it did.

    Args:
        sequence: the calls.
        property_name: the property that is broken.
        method: the method that breaks it.
        why: what is wrong.
        expected: what the last answer has to be: `status`, `code`, or the `value` at `path`.
        base_url: where the server is.
        token: the API token. It is not written down: the test takes it from the environment variable TOKEN.
        secrets: what else must not be written down.
        made_up_projects: whether the projects were made up, and are each time, so that the test can be run again.
    """
    variables = handed_on(sequence)
    projects = _projects(sequence) if made_up_projects else {}
    replaced = {**projects, **{value: variable for value, (variable, _, _) in variables.items()}}
    calls: list[dict[str, Any]] = []
    for place, answer in enumerate(sequence):
        request = answer.request
        body = request.body
        target = request.target
        for value, variable in replaced.items():
            target = target.replace(value, f"{{{variable}}}")
            body = (
                None
                if body is None
                else body.replace(value.encode("utf-8", "backslashreplace"), f"{{{variable}}}".encode())
            )
        calls.append(
            {
                "verb": request.http_method,
                "target": masked(target, secrets),
                "headers": [
                    (name, " ".join(_bearing(name, value, token)).strip() or masked(value, secrets))
                    for name, value in request.headers
                ],
                "body": body if body is None else masked(body.decode("latin-1"), secrets).encode("latin-1"),
                "keep": [(variable, path) for variable, source, path in variables.values() if source == place],
            }
        )
    last = sequence[-1] if sequence else None
    seen = masked(last.body.decode("utf-8", "replace") if last is not None else "", secrets)
    name = re.sub(r"\W+", "_", f"{property_name}_{_snake(method)}")
    return _TEST.format(
        title=f"{property_name} of {method}",
        why=_in_docstring(masked(why, secrets)),
        base_url=base_url or "http://127.0.0.1:8080",
        calls=_literal(calls),
        new=list(projects.values()),
        seen=repr((last.status if last is not None else 0, seen)),
        name=name,
        # An encoding that is unknown may be answered with 501.
        asserts=_asserts(expected, crashed=property_name == "no-server-error" and not _is_encoded(last)),
    )


def _is_encoded(answer: Answer | None) -> bool:
    return answer is not None and answer.request.header("content-encoding") is not None


def _projects(sequence: Sequence[Answer]) -> dict[str, str]:
    """The projects that something is made in, each with a variable."""
    found: dict[str, str] = {}
    for answer in sequence:
        project = _field(answer.request, "projectId")
        if answer.request.method in CREATES and _UUID.fullmatch(project):
            found.setdefault(project, f"PROJECT_{len(found) + 1}")
    return found


def _field(request: Request, name: str) -> str:
    """The text in a field of a request, "" if it has none."""
    try:
        content = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        return ""
    value: object = cast("dict[str, Any]", content).get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""


def _in_docstring(text: str) -> str:
    """The text as it can stand in a file of Python, whatever a server has put into it."""
    plain = text.replace("\\", "\\\\").replace('"', "'")
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in plain)


def _literal(calls: Sequence[Mapping[str, Any]]) -> str:
    lines = ["["]
    for call in calls:
        lines.append("    {")
        lines += [f"        {name!r}: {value!r}," for name, value in call.items()]
        lines.append("    },")
    return "\n".join([*lines, "]"])


def _asserts(expected: Mapping[str, Any], *, crashed: bool) -> str:
    if crashed:
        return "    assert status < 500, content"
    if expected.get("status") is not None:
        return f"    assert status == {expected['status']!r}, content"
    if expected.get("code") is not None:
        return f'    assert status != 200, content\n    assert json.loads(content)["code"] == {expected["code"]!r}'
    if expected.get("path") is not None:
        return f"    assert picked(content, {'.' + expected['path']!r}) == {expected['value']!r}"
    return (
        "    # What is wrong cannot be said in one line: as long as the answer is the same, it is still wrong.\n"
        "    assert (status, plain(content)) != (SEEN[0], plain(SEEN[1].encode()))"
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
