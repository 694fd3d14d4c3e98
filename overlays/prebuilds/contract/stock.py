"""The third layer: schemathesis generates requests from the schema, and the kit's properties check the responses.

`schemathesis.toml`, next to this module, configures it. By default the systematic coverage phase runs. `deep` adds the
random phases, of single calls and of sequences. The session sends every request: it enforces the limits of the run,
records created resources in the ledger, and checks each response.

Written for schemathesis 4.32.5, whose inner interfaces change between minor versions.
"""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final, cast
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis.errors import HypothesisWarning
from pydantic import ValidationError
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine.core import Engine, ExecutionPlan
from schemathesis.engine.events import Interrupted
from schemathesis.engine.run import TESTING_PHASES
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.schemas import OpenApiSchema
from schemathesis.transport.requests import REQUESTS_TRANSPORT, RequestsTransport

from prebuild_wire import OPERATIONS, Message
from prebuild_wire.formats import FORMATS
from prebuild_wire.scalars import UUID_PATTERN, parse_duration
from prebuilds.contract.formats import register_formats, schema_document
from prebuilds.contract.machine import without_files
from prebuilds.contract.methods import CREATES, ID_FIELD, LISTS, OF_PREBUILD, READS
from prebuilds.contract.observations import items_in
from prebuilds.contract.session import ForbiddenError, LimitReachedError, OutOfTimeError, Pair, ServerGoneError, Session
from prebuilds.contract.transports import TransportError
from prebuilds.contract.wire import JSON, Answer, Request, at

Json = dict[str, Any]

# The coverage phase alone requests more new prebuilds than are useful.
_MOST_CREATES = 25

# The response that schemathesis receives if nothing was sent. No check reads it.
_NOTHING = 400

# Headers that the transport or the session sets, and headers that schemathesis adds for server logs.
_NOT_SENT: Final = (
    "Accept-Encoding",
    "Authorization",
    "Connection",
    "Content-Length",
    "Cookie",
    "Host",
    "User-Agent",
    "X-Schemathesis-Testcaseid",
)

_DELETES: Final = ("DeletePrebuild", "DeleteWarmPool")

_LINKS: Final = {
    "CreatePrebuild": ("prebuild", ("GetPrebuild", "CancelPrebuild", "CreatePrebuildLogsToken", "DeletePrebuild")),
    "CreateWarmPool": ("warmPool", ("GetWarmPool", "UpdateWarmPool", "DeleteWarmPool")),
}


def run_schemathesis(session: Session, deep: bool = False) -> None:
    """Let schemathesis generate requests, and check the responses.

    Without writes, only read-only methods are called.

    Args:
        session: sends the requests.
        deep: whether to run the random phases as well. They take a minute or more.

    Raises:
        OutOfTimeError: the time of the session is over.
        ServerGoneError: the server no longer responds.
    """
    register_formats()
    run = _Run(session, deep=deep)
    run.make()
    engine = _Engine(run.schema())
    interrupted = False
    with without_files(), warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)  # that it can write no files
        stream = engine.execute()
        try:
            for event in stream:
                interrupted = interrupted or isinstance(event, Interrupted)
                if run.ended is not None:
                    stream.stop()
        finally:
            # A thread of the engine's that is still at it sends nothing any more.
            run.is_over = True
            stream.stop()
    if run.ended is not None:
        raise run.ended
    if interrupted:
        raise KeyboardInterrupt


class _Engine(Engine):
    """Without the engine's own probing, which would go past the session."""

    def _create_execution_plan(self) -> ExecutionPlan:
        plan = super()._create_execution_plan()
        plan.phases = [phase for phase in plan.phases if phase.name in TESTING_PHASES]
        return plan


class _Schema(OpenApiSchema):
    """The schema of a run; its calls go through the session of that run."""

    run: _Run

    @property
    def transport(self) -> _Transport:
        return _Transport(self.run)


class _Transport(RequestsTransport):
    """Sends the requests of schemathesis through the session."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._copy_serializers_from(REQUESTS_TRANSPORT)  # pyright: ignore[reportUnknownMemberType] - its types are partial
        self._run = run

    def send(self, case: Case[Any], *, session: Any = None, **kwargs: Any) -> Response:  # noqa: ARG002  so it is called
        options = {name: kwargs.get(name) for name in ("base_url", "headers")}
        data = self.serialize_case(case, **options)  # pyright: ignore[reportUnknownMemberType] - its types are partial
        prepared = requests.Request(**data).prepare()
        answer = self._run.send(case, prepared)
        return Response(
            status_code=_NOTHING if answer is None else answer.status,
            headers={} if answer is None else {name: [value] for name, value in answer.headers.items()},
            content=b"" if answer is None else answer.body,
            request=prepared,
            elapsed=0.0 if answer is None else answer.seconds,
            verify=True,
        )


class _Run:
    """One run: the permitted requests, the substitutes for generated ids, and the latest response.

    Generated ids identify no resource. Every second valid request therefore receives an id of a resource that the
    session has created, and creates use the projects of the session.
    """

    def __init__(self, session: Session, *, deep: bool) -> None:
        self.session = session
        self._most = _MOST_CREATES * (3 if deep else 1)
        self._deep = deep
        self.ended: Exception | None = None
        self.is_over = False
        self.latest: tuple[str, Answer] | None = None
        # In given projects, the other lanes need the places for pools.
        self._shares_places = session.is_lane and not session.is_open
        self._pair = session.home if self._shares_places else session.new_pair()
        self._created = 0
        self._turns: dict[str, int] = {}
        self._gone: set[str] = set()

    def make(self) -> None:
        """Make two prebuilds and two pools, so that each method has something to be called with."""
        if not self.session.allows(writes=True):
            return
        for pair in (self._pair, None if self._shares_places else self.session.new_pair()):
            if pair is None:
                continue
            self._make_prebuild(pair)
            if pair.environment_class and not self._shares_places:
                with suppress(LimitReachedError, ForbiddenError, TransportError):
                    self.session.call("CreateWarmPool", _place(pair))

    def _make_prebuild(self, pair: Pair | None) -> str | None:
        """A new prebuild's id, None if there cannot be one."""
        if pair is not None and self._created < self._most:
            with suppress(LimitReachedError, ForbiddenError, TransportError):
                self._created += 1
                made = self.session.call("CreatePrebuild", {**_place(pair), "spec": {}}).at("prebuild.id")
                return made if isinstance(made, str) else None
        return None

    def schema(self) -> Any:
        """The schema for schemathesis, with links from methods that create a resource to methods that take its id."""
        document = schema_document()
        for name in LISTS:
            # A server may ignore the page in the query, as long as it uses the page in the body.
            document["paths"][OPERATIONS[name].path]["post"].pop("parameters", None)
        # The coverage phase violates patterns, but neither formats nor the bounds that the kit adds.
        for declared in _declared(document["components"]["schemas"]):
            if declared.get("format") == "uuid":
                declared |= {"pattern": f"^{UUID_PATTERN}$", "minLength": 36, "maxLength": 36}
            bounds = FORMATS.get(str(declared.get("format")))
            if bounds is not None:
                declared["examples"] = [bound for bound in (bounds.minimum, bounds.maximum) if bound is not None]
        if self._deep:
            for source, (name, targets) in _LINKS.items():
                answers = document["paths"][OPERATIONS[source].path]["post"]["responses"]
                answers["200"]["links"] = {
                    target: {"operationId": target, "requestBody": {ID_FIELD[target]: f"$response.body#/{name}/id"}}
                    for target in targets
                }
        settings = tomllib.loads(files("prebuilds.contract").joinpath("schemathesis.toml").read_text(encoding="utf-8"))
        settings["seed"] = self.session.seed
        settings["base-url"] = self.session.transport.base_url or "http://contract.test"
        settings["checks"] |= {name: {"enabled": True} for name in _CHECKS}
        if self._deep:
            settings["phases"]["fuzzing"]["enabled"] = settings["phases"]["stateful"]["enabled"] = True
        config = SchemathesisConfig.from_dict(settings)  # pyright: ignore[reportUnknownMemberType] - likewise
        loaded: Any = schemathesis.openapi.from_dict(document, config=config)
        if not self.session.allows(writes=True):
            loaded = loaded.include(operation_id=list(READS))
        # The loader has no place for a class of one's own.
        loaded.__class__ = _Schema
        loaded.run = self
        return loaded

    def send(self, case: Case[Any], prepared: requests.PreparedRequest) -> Answer | None:
        """Send a request, unless the run may not."""
        self.latest = None
        if self.ended is not None or self.is_over:
            return None
        request = self._request(case, prepared)
        if request is None:
            return None
        try:
            answer = self.session.send(request, refused=not _may_succeed(request))
        except (LimitReachedError, ForbiddenError, TransportError):
            return None
        except (OutOfTimeError, ServerGoneError) as error:
            self.ended = error
            return None
        if answer.ok and request.method in _DELETES:
            self._gone.add(str(_body(request).get(ID_FIELD[request.method])))
        if answer.ok and request.method in CREATES:
            self._created += 1
        self.latest = case.id, answer
        return answer

    def _request(self, case: Case[Any], prepared: requests.PreparedRequest) -> Request | None:
        method = str(case.operation.definition.raw["operationId"])
        parts = urlsplit(prepared.url or "")
        body = prepared.body.encode() if isinstance(prepared.body, str) else cast("bytes | None", prepared.body)
        headers = {
            name.title(): value.decode("latin-1") if isinstance(value, bytes) else value
            for name, value in prepared.headers.items()
        }
        for name in _NOT_SENT:
            headers.pop(name, None)
        own = [*headers.items(), *self.session.headers(content_type=None, version=False)]
        request = Request(method, body, tuple(own), http_method=str(prepared.method), query=parts.query)
        if method in CREATES and _may_succeed(request) and self._created >= self._most:
            return None
        return self._at_home(request)

    def _at_home(self, request: Request) -> Request:
        """The request with ids of existing resources."""
        fields = _body(request)
        if not _is_in_order(request) or self._pair is None:
            return request
        method = request.method
        turn = self._turns[method] = self._turns.get(method, 0) + 1
        if method in CREATES:
            fields["projectId"] = self._pair.project
            if method == "CreateWarmPool" and self._shares_places:
                fields["environmentClassId"] = self.session.new_id()
            elif self._pair.environment_class and (method == "CreateWarmPool" or turn % 2):
                fields["environmentClassId"] = self._pair.environment_class
        elif method in ID_FIELD:
            # An id from a link belongs to the run already.
            if turn % 2 and fields[ID_FIELD[method]] not in self.session.made:
                fields[ID_FIELD[method]] = self._id_for(method) or fields[ID_FIELD[method]]
        elif turn % 2 and at(fields, "filter.projectIds"):
            fields["filter"]["projectIds"][0] = self._pair.project
        return replace(request, body=json.dumps(fields, separators=(",", ":")).encode())

    def _id_for(self, method: str) -> str | None:
        """The id of something that the session has made and not deleted."""
        if method == "CancelPrebuild" and (fresh := self._make_prebuild(self._pair)):
            return fresh  # the others may be through already
        kind = CREATES[0] if method in OF_PREBUILD else CREATES[1]
        ours = [key for key, made_by in self.session.made.items() if made_by == kind and key not in self._gone]
        if method not in _DELETES:
            return ours[-1] if ours else None
        # The oldest goes, and one is kept for the other methods.
        return ours[0] if len(ours) > 1 else None


def _place(pair: Pair) -> Json:
    named = {"environmentClassId": pair.environment_class} if pair.environment_class else {}
    return {"projectId": pair.project, **named}


def _declared(value: Any) -> Iterator[Json]:
    """Every object within a part of the document."""
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        declared = cast("Json", value)
        yield declared
        inner = declared.values()
    elif isinstance(value, list):
        inner = cast("Iterable[Any]", value)
    for each in inner:
        yield from _declared(each)


# -- What a request says


def _body(request: Request) -> Json:
    """The fields of a request in JSON; none if it is anything else."""
    try:
        content: object = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        return {}
    return cast("Json", content) if isinstance(content, dict) else {}


def _is_plain(request: Request) -> bool:
    """Whether it is a POST of JSON, and nothing about it is unusual but its fields."""
    usual = {"content-type", "authorization", "accept"}
    return (
        request.http_method == "POST"
        and not request.query
        and request.header("content-type") == JSON
        and all(name.lower() in usual for name, _ in request.headers)
    )


def _message(request: Request) -> Message | None:
    """The message, if it keeps all rules of the schema, however it is written."""
    try:
        return OPERATIONS[request.method].request.model_validate(json.loads(request.body or b""))
    except (ValueError, RecursionError):
        return None


def _may_succeed(request: Request) -> bool:
    """Whether a server may carry the request out. Where it may read it in its own way, it may."""
    return not _is_plain(request) or not any(True for _ in _wrongs(request))


def _is_in_order(request: Request) -> bool:
    """Whether every server must accept the request: it follows all rules, and is written in the usual form."""
    message = _message(request) if _is_plain(request) else None
    return message is not None and message.to_json() == _body(request)


def _wrongs(request: Request) -> Iterator[str]:
    """The properties that require the server to reject the request, for all its faults."""
    try:
        OPERATIONS[request.method].request.model_validate(json.loads(request.body or b""))
    except ValidationError as error:
        for item in error.errors(include_url=False):
            name = _wrong(item["type"], item["input"], item["loc"])
            if name is not None:
                yield name
    except (ValueError, RecursionError):
        yield "malformed-json"


def _wrong(kind: str, given: Any, where: tuple[int | str, ...]) -> str | None:
    """The property that one fault breaks. None if a server may be lenient here, or may take no notice of the field."""
    if kind == "required":
        return "required-fields"
    if given in (None, "") or isinstance(given, bool) or where[-1:] == ("specVersion",):
        return None
    is_text = isinstance(given, str)
    match kind:
        case "uuid" if is_text:
            return "malformed-id-is-refused"
        case "ordered":
            return "min-at-most-max"
        case "greater_than_equal" | "less_than_equal" | "too_long":
            return "outside-bounds-is-refused"
        case "protobuf-duration" if is_text and _DURATION.fullmatch(given):
            return "outside-bounds-is-refused"
        case "enum" if isinstance(given, int):
            return "undefined-enum-is-refused"
        case "enum" if is_text:
            return "unknown-enum-name-is-refused"
        case "model_type" if not where:
            return "malformed-json"
        case "integer" if isinstance(given, int):
            return "outside-bounds-is-refused"
        case "uuid" | "protobuf-duration" | "enum" | "integer" | "model_type" | "list_type" | "string_type":
            return "wrong-type-is-refused"
        case _:
            return None


# -- The checks: each judges one answer by our properties, and says whether all was well.

_Judge = Callable[[Session, Request, Answer], bool]


def contract_refuses_what_is_wrong(session: Session, request: Request, answer: Answer) -> bool:
    """A request that breaks a rule is refused."""
    if not _is_plain(request):
        return True
    wrongs = set(_wrongs(request)) & session.findings.selected
    codes = ["invalid_argument"]
    # Which of its faults a server looks at first, is its own affair.
    if request.method in ID_FIELD:
        codes.append("not_found")
    elif request.method in CREATES:
        codes += ["not_found", "already_exists", "failed_precondition"]
    if "malformed-json" in wrongs or "malformed-id-is-refused" in wrongs or "required-fields" in wrongs:
        codes = codes[:1] if len(wrongs) == 1 else codes
    what = f"the request {_short(request)}"
    verdicts = [session.refused(name, answer, what, *codes) for name in sorted(wrongs)]
    return all(verdicts)


def contract_takes_what_is_right(session: Session, request: Request, answer: Answer) -> bool:
    """A request that keeps all rules is not invalid."""
    fields = _body(request)
    if not _is_in_order(request) or _is_open(request.method, fields):
        return True
    name = "inside-bounds-is-accepted"
    why = f"the request {_short(request)} keeps all rules, and got {answer.outcome}"
    return session.judge(name, request.method, answer.code != "invalid_argument", why, shows=[answer])


def contract_finds_only_what_is_there(session: Session, request: Request, answer: Answer) -> bool:
    """An id that was made up is not found."""
    fields = _body(request)
    if request.method not in ID_FIELD or not _is_in_order(request) or _is_open(request.method, fields):
        return True
    asked = fields[ID_FIELD[request.method]]
    # schemathesis also uses ids from lists, and those resources may belong to other clients.
    if asked in session.made or session.latest(asked) is not None:
        return True
    return session.refused("unknown-id-is-not-found", answer, "an id that was made up", "not_found")


def contract_shows_what_was_asked(session: Session, request: Request, answer: Answer) -> bool:
    """A created or changed resource has the requested values."""
    shown = next((item for _, item in items_in(answer)), None)
    if shown is None or not _is_in_order(request) or request.method not in (*CREATES, "UpdateWarmPool"):
        return True
    fields = _body(request)
    wrong: list[str] = []
    for name, path in _ECHOED.items():
        asked, got = at(fields, name), at(shown, path)
        if asked not in (None, "") and _plain_value(asked) != _plain_value(got):
            wrong.append(f"{path} is {json.dumps(got)}, and {json.dumps(asked)} was asked for")
    return session.judge("echo", request.method, not wrong, "; ".join(wrong), shows=[answer])


def contract_keeps_the_page_size(session: Session, request: Request, answer: Answer) -> bool:
    """A page has at most the requested number of items."""
    size = at(_body(request), "pagination.pageSize")
    if not answer.ok or not _is_in_order(request) or not isinstance(size, int) or size < 1:
        return True
    count = sum(1 for _ in items_in(answer))
    why = f"a page of {size} was asked for, and has {count} items"
    return session.judge("page-size-kept", request.method, count <= size, why, shows=[answer])


def contract_filters(session: Session, request: Request, answer: Answer) -> bool:
    """A list contains only items that match its filter."""
    wanted = at(_body(request), "filter")
    if not answer.ok or not _is_in_order(request) or not isinstance(wanted, dict):
        return True
    wrong: list[str] = []
    for name, path in _FILTERED.items():
        allowed = {_plain_value(value) for value in cast("Json", wanted).get(name) or ()}
        for _, item in items_in(answer) if allowed else ():
            if _plain_value(at(item, path)) not in allowed:
                wrong.append(f"{path} of {item.get('id')} is none of {name}")
    return session.judge("filters", request.method, not wrong, "; ".join(wrong[:3]), shows=[answer])


def contract_refuses_made_up_page_tokens(session: Session, request: Request, answer: Answer) -> bool:
    """A page token that the server did not make is refused."""
    if not at(_body(request), "pagination.token") or not _is_in_order(request):
        return True
    return session.refused("bad-page-token-is-refused", answer, "a page token that was made up", "invalid_argument")


_JUDGES: Final[tuple[_Judge, ...]] = (
    contract_refuses_what_is_wrong,
    contract_takes_what_is_right,
    contract_finds_only_what_is_there,
    contract_shows_what_was_asked,
    contract_keeps_the_page_size,
    contract_filters,
    contract_refuses_made_up_page_tokens,
)

_ECHOED: Final = {
    "projectId": "metadata.projectId",
    "environmentClassId": "metadata.environmentClassId",
    "spec.timeout": "spec.timeout",
    "minSize": "spec.minSize",
    "maxSize": "spec.maxSize",
}

_FILTERED: Final = {
    "projectIds": "metadata.projectId",
    "environmentClassIds": "metadata.environmentClassId",
    "creatorIds": "metadata.creator.id",
    "executorIds": "metadata.executor.id",
}

_DURATION = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s", re.ASCII)


def _is_open(method: str, fields: Json) -> bool:
    """Whether the response is unspecified, or depends on existing resources."""
    sizes = [name for name in ("desiredSize", "minSize", "maxSize") if fields.get(name) is not None]
    if method in ("CreateWarmPool", "UpdateWarmPool"):
        return sizes not in (["desiredSize"], ["minSize", "maxSize"])
    if method == "CreatePrebuild":
        return not set(fields["spec"]) <= {"timeout"}
    return bool(at(fields, "pagination.token"))


def _plain_value(value: Any) -> Any:
    """The meaning of a value, independent of its notation."""
    if isinstance(value, str):
        return parse_duration(value) if _DURATION.fullmatch(value) else value.lower()
    return value


def _short(request: Request) -> str:
    text = (request.body or b"").decode("utf-8", "replace")
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _registered(judge: _Judge) -> str:
    """Let schemathesis know a check, and return the name that it goes by."""

    def check(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:  # noqa: ARG001  so it is called
        run: _Run | None = getattr(case.operation.schema, "run", None)
        if run is None or run.latest is None or run.latest[0] != case.id:
            return True  # of another user of schemathesis, or nothing was sent
        answer = run.latest[1]
        if not judge(run.session, answer.request, answer):
            raise AssertionError(judge.__doc__)
        return None

    check.__name__ = judge.__name__
    schemathesis.check(check)
    return judge.__name__


_CHECKS: Final = tuple(_registered(judge) for judge in _JUDGES)
