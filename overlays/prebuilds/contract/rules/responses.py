"""Rules about a single response, whatever was sent before."""

from __future__ import annotations

from typing import Final

from prebuilds.contract import schema
from prebuilds.contract.methods import METHODS
from prebuilds.contract.rules.registry import CONNECT, PROTOJSON, Property, Registry
from prebuilds.contract.wire import CODES, JSON, OLDER_STATUSES, Answer, are_details

_REGISTRY: Final = Registry()

RULES: Final = _REGISTRY.rules
"""The rules, in the order of reports."""

# A server may answer with these before the service itself has seen the request, and without an error of the protocol.
_BODILESS: Final = frozenset({404, 405, 413, 414, 415, 431})

# Statuses that a server may give for what is wrong with the HTTP request, whatever the code is.
_OF_HTTP: Final = frozenset({405, 413, 414, 415, 431})


@_REGISTRY.rule("no-server-error", "MUST", CONNECT, METHODS)
def no_server_error(answer: Answer) -> str | None:
    """No request whatever is answered with a status of 500 or more."""
    # An encoding that is unknown is unimplemented, which the protocol gives a status of 501.
    permitted = answer.code == "unimplemented" and answer.request.header("content-encoding")
    return "" if answer.status < 500 or permitted else f"{answer.request.method} answered {answer.outcome}"


@_REGISTRY.rule("matches-schema", "MUST", PROTOJSON, METHODS)
def matches_schema(answer: Answer) -> str | None:
    """An answer has the fields, types, formats and bounds of its schema."""
    if not answer.ok or not _is_call(answer):
        return None
    return "; ".join(schema.problems(answer.request.method, answer.content))


@_REGISTRY.rule("content-type", "MUST", CONNECT, METHODS)
def content_type(answer: Answer) -> str | None:
    """The answer to a call in JSON is application/json, errors included."""
    kind = answer.media_type or "no type"
    if answer.ok:
        right = not _is_call(answer) or (answer.status == 200 and answer.media_type == JSON)
        return "" if right else f"a success has to be 200 with application/json, and is {answer.status} with {kind}"
    if not _has_error(answer):
        return None
    return "" if answer.media_type == JSON else f"an error has to be application/json, and has {kind}"


@_REGISTRY.rule("error-envelope", "MUST", CONNECT, METHODS)
def error_envelope(answer: Answer) -> str | None:
    """An error is a JSON object: a known code, a text as message, typed details."""
    if not _has_error(answer):
        return None
    if not _is_envelope(answer):
        return (
            f"the error {answer.status} has to be an object with a known code and a text, and is {answer.body[:80]!r}"
        )
    details = answer.json.get("details")
    if are_details(details):
        return ""
    return f"the details of an error have to be objects, each with a type and a base64 value: {details!r}"[:300]


@_REGISTRY.rule("code-and-status-agree", "MUST", CONNECT, METHODS)
def code_and_status_agree(answer: Answer) -> str | None:
    """The HTTP status of an error is the one of its code."""
    if not _is_envelope(answer):
        return None
    code = str(answer.code)
    return "" if _agrees(answer) else f"{code} has the status {CODES[code]}, and came with {answer.status}"


@_REGISTRY.rule("current-status-mapping", "SHOULD", CONNECT, METHODS)
def current_status_mapping(answer: Answer) -> str | None:
    """The HTTP statuses are those of today's protocol, not of its older versions (412 for failed_precondition)."""
    if not _is_envelope(answer) or not _agrees(answer):
        return None
    code = str(answer.code)
    older = answer.status != CODES[code] and answer.status == OLDER_STATUSES.get(code)
    why = f"{code} has the status {CODES[code]} today, and came with {answer.status} of an older version"
    return why if older else ""


def _is_call(answer: Answer) -> bool:
    """Whether it is the answer to an ordinary call in JSON."""
    request = answer.request
    return request.http_method == "POST" and (request.header("content-type") or JSON).startswith(JSON)


def _has_error(answer: Answer) -> bool:
    """Whether it has to be an error of the protocol."""
    if answer.ok or (answer.status >= 500 and not answer.code):
        return False
    return answer.code in CODES or answer.status == 404 or answer.status not in _BODILESS


def _is_envelope(answer: Answer) -> bool:
    """Whether it is an error of the protocol with a code that is known."""
    return _has_error(answer) and answer.code in CODES and isinstance(answer.json.get("message", ""), str)


def _agrees(answer: Answer) -> bool:
    code = str(answer.code)
    return answer.status in (CODES[code], OLDER_STATUSES.get(code)) or answer.status in _OF_HTTP


RESPONSE_PROPERTIES: Final[tuple[Property, ...]] = tuple(rule.property for rule in RULES)
"""The properties that these rules check."""
