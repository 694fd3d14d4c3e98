"""The properties of a correct server: each with its name, level, source and methods.

Probes, the state machines and the checks of schemathesis refer to these names only. A property that rests on an
assumption is checked only with `--assumptions`: the documentation does not state it, and a different server may be
right.
"""

from __future__ import annotations

from typing import Final

from prebuilds.contract import schema
from prebuilds.contract.methods import (
    CREATES,
    LISTS,
    METHODS,
    OF_ID,
    READS,
    SHOWS_POOL,
    SHOWS_PREBUILD,
    WRITES,
)
from prebuilds.contract.rules.registry import API, ASSUMED, CONNECT, INFERRED, PROTOJSON, RULES, Property
from prebuilds.contract.rules.responses import RESPONSE_PROPERTIES


def _must(name: str, methods: tuple[str, ...], source: str, says: str) -> Property:
    return Property(name, "MUST", says, source, assumption=False, methods=methods)


def _should(name: str, methods: tuple[str, ...], source: str, says: str) -> Property:
    return Property(name, "SHOULD", says, source, assumption=False, methods=methods)


def _assumed(name: str, methods: tuple[str, ...], says: str) -> Property:
    return Property(name, "MUST", says, ASSUMED, assumption=True, methods=methods)


_BOUNDED = tuple(method for method in METHODS if schema.bounds(method))
_WITH_FIELDS = tuple(method for method in METHODS if schema.leaves(method))
_WITH_IDS = tuple(method for method in METHODS if any(leaf.is_id for leaf in schema.leaves(method)))
_WITH_ENUMS = tuple(method for method in METHODS if any(leaf.enum for leaf in schema.leaves(method)))
_WITH_REQUIRED = tuple(method for method in METHODS if schema.required(method))
_SHOWS = (*SHOWS_PREBUILD, *SHOWS_POOL)
_SHOWS_AGAIN = tuple(method for method in _SHOWS if method not in CREATES)
_CHANGES = ("CreateWarmPool", "UpdateWarmPool")

_ALL = (
    # -- The protocol
    _must("unauthenticated-without-token", METHODS, API, "A call without a token is unauthenticated."),
    _must(
        "unauthenticated-with-wrong-token",
        METHODS,
        API,
        "A call with a wrong token is unauthenticated, for all methods alike.",
    ),
    _must("unsupported-media-type", METHODS, CONNECT, "A body that is neither JSON nor protobuf is refused with 415."),
    _must("malformed-json", METHODS, CONNECT, "A body that is no JSON object is invalid_argument."),
    _must("no-write-by-get", WRITES, CONNECT, "A GET of a method that may change something does not reach it."),
    _should("method-not-allowed", METHODS, CONNECT, "An HTTP method that is not supported is 405, with Allow."),
    _should("get-for-reads", READS, CONNECT, "A method without side effects can be called with GET."),
    _should("gzip-requests", LISTS[:1], CONNECT, "The body of a request may be compressed with gzip."),
    _should("unknown-encoding", LISTS[:1], CONNECT, "A body in an unknown encoding is unimplemented."),
    _must("protocol-version-is-optional", READS, CONNECT, "A call without Connect-Protocol-Version is answered."),
    _must("deadline-is-taken", LISTS[:1], CONNECT, "A call with a deadline in Connect-Timeout-Ms is answered."),
    # -- What a request may say
    _must("unknown-id-is-not-found", OF_ID, API, "An id that does not exist is not_found."),
    _must("malformed-id-is-refused", _WITH_IDS, RULES, "An id that is no UUID is invalid_argument."),
    _must(
        "required-fields",
        _WITH_REQUIRED,
        RULES,
        "A required field that is missing or empty is invalid_argument.",
    ),
    _must("inside-bounds-is-accepted", _BOUNDED, RULES, "A value on the inner side of a bound is accepted."),
    _must("outside-bounds-is-refused", _BOUNDED, RULES, "A value on the outer side of a bound is invalid_argument."),
    _must("min-at-most-max", _CHANGES, RULES, "A pool with minSize above maxSize is invalid_argument."),
    _must(
        "undefined-enum-is-refused",
        _WITH_ENUMS,
        RULES,
        "The number of no member of an enum is invalid_argument.",
    ),
    _assumed("unknown-enum-name-is-refused", _WITH_ENUMS, "So is the name of no member."),
    _must("wrong-type-is-refused", _WITH_FIELDS, PROTOJSON, "A value of a JSON type that cannot be meant is refused."),
    _must(
        "input-forms",
        LISTS,
        PROTOJSON,
        "Numbers of enums, numbers in strings, snake_case and null are understood, or refused with invalid_argument.",
    ),
    _must(
        "strict-input",
        LISTS,
        "the profile `strict`",
        "With the profile strict: what the schema does not declare is invalid_argument.",
    ),
    # -- Making and reading
    _must("ids-are-fresh", CREATES, API, "Each thing that is made has an id of its own."),
    _must(
        "echo", (*CREATES, "CancelPrebuild", "UpdateWarmPool"), API, "The answer to a change shows what was asked for."
    ),
    _must("made-by-caller", CREATES[:1], API, "A prebuild that is asked for is MANUAL, and its creator is the caller."),
    _must("default-timeout", CREATES[:1], API, "A prebuild without a timeout has one of 3600 s."),
    _must("default-class", CREATES[:1], API, "A prebuild without an environment class has that of its project."),
    _must("read-your-write", ("GetPrebuild", "GetWarmPool"), API, "Get shows what the latest change has answered."),
    _must(
        "answers-what-was-asked",
        ("GetPrebuild", "CancelPrebuild", "GetWarmPool", "UpdateWarmPool"),
        API,
        "The answer is about the id of the request.",
    ),
    _must(
        "reads-change-nothing",
        ("GetPrebuild", "GetWarmPool", "CreatePrebuildLogsToken"),
        API,
        "Reading something, its log too, does not change it.",
    ),
    _must("created-at-is-stable", _SHOWS_AGAIN, API, "The time of creation, and what else is fixed, never changes."),
    _must("updated-at-moves-forward", _SHOWS, API, "updatedAt never goes back, and is not before createdAt."),
    _must(
        "versions-grow", _SHOWS_AGAIN, API, "specVersion and statusVersion never go back, and grow with each change."
    ),
    # -- Lists
    _must("list-contains", LISTS, API, "What was made is listed."),
    _must("list-agrees-with-get", LISTS, API, "A list shows an item as Get does."),
    _must("page-size-kept", LISTS, API, "A page has no more items than were asked for."),
    _must("default-page-size", LISTS, API, "Without a size, or with 0, a page has at most 25 items."),
    _must("no-item-twice", LISTS, API, "No item comes twice in the pages of a list."),
    _must("no-item-skipped", LISTS, API, "No item is left out of the pages of a list."),
    _must("page-tokens-are-new", LISTS, API, "The token of the next page is another one each time."),
    _must("paging-ends", LISTS, API, "A list comes to an end: its last page has no token."),
    _assumed("bad-page-token-is-refused", LISTS, "A page token that the server did not make is invalid_argument."),
    _assumed("page-token-is-bound-to-filter", LISTS, "A page token is of no use with another filter."),
    _assumed("newest-first", LISTS[:1], "A list begins with what was made last."),
    _must("filters", LISTS, API, "A filter lets through what matches it, and nothing else."),
    _must("filters-combine", LISTS, INFERRED, "Values within a list are alternatives, several lists narrow down."),
    # -- Prebuilds
    _must("phases-move-forward", SHOWS_PREBUILD[1:], API, "The phase of a prebuild never goes back."),
    _must(
        "terminal-phases-stay", SHOWS_PREBUILD[1:3], API, "A prebuild that has ended stays so, unless it is deleted."
    ),
    _must("completion-time-at-the-end", SHOWS_PREBUILD, API, "completionTime is absent until the end; then it is set."),
    _must("size-once-completed", SHOWS_PREBUILD, API, "snapshotSizeBytes is not there before COMPLETED."),
    _must("failure-message-of-failures", SHOWS_PREBUILD, API, "failureMessage is empty unless the prebuild failed."),
    _must("cancel-takes-effect", ("CancelPrebuild",), API, "A prebuild that was cancelled does not just go on."),
    _must(
        "others-are-untouched",
        ("CancelPrebuild", "DeletePrebuild", "UpdateWarmPool", "DeleteWarmPool"),
        API,
        "A change is one of what was named, and of nothing else.",
    ),
    _assumed(
        "cancel-rules", ("CancelPrebuild",), "An active prebuild becomes CANCELLED, one that has ended is refused."
    ),
    _assumed("repeated-cancel", ("CancelPrebuild",), "Cancelling again succeeds, and changes nothing."),
    # -- Deleting
    _must("delete-takes-effect", ("DeletePrebuild", "DeleteWarmPool"), API, "What was deleted goes away."),
    _must(
        "repeated-delete",
        ("DeletePrebuild", "DeleteWarmPool"),
        API,
        "Deleting again succeeds, or says that there is nothing to delete any more.",
    ),
    _assumed("delete-again-succeeds", ("DeletePrebuild", "DeleteWarmPool"), "Deleting again while DELETING succeeds."),
    _assumed("delete-is-wanted", ("DeleteWarmPool",), "A pool that was deleted has the desired phase DELETED at once."),
    _must("gone-is-gone", (*OF_ID, *LISTS), API, "What Get does not find is not found by other methods either."),
    # -- Warm pools
    _must("pool-is-unique", ("CreateWarmPool",), API, "A second pool for a project and class is already_exists."),
    _must("pool-is-free-again", ("CreateWarmPool",), API, "A pool can be made again once the former one is gone."),
    _must("desired-size-sets-both", _CHANGES, API, "desiredSize alone sets minSize and maxSize."),
    _assumed("default-pool-size", ("CreateWarmPool",), "A pool without any size has one environment."),
    _must("update-changes-what-is-named", ("UpdateWarmPool",), API, "An update keeps what it does not name."),
    _must(
        "update-checks-stored-bounds", ("UpdateWarmPool",), API, "One bound alone is checked against the stored one."
    ),
    _must(
        "refused-changes-nothing",
        (*CREATES, "UpdateWarmPool"),
        API,
        "A creation or update that is refused leaves everything as it was, the versions too.",
    ),
    _assumed("empty-update", ("UpdateWarmPool",), "An update that names nothing succeeds, and changes nothing."),
    _assumed("update-while-deleting", ("UpdateWarmPool",), "An update of a pool that drains is failed_precondition."),
    _must("ready-needs-a-snapshot", SHOWS_POOL, API, "A pool that is READY has a snapshot."),
    _must("snapshot-needs-a-prebuild", ("GetWarmPool",), API, "Without a completed prebuild a pool has no snapshot."),
    _must("snapshot-rotates", ("GetWarmPool",), API, "A newer completed prebuild replaces the snapshot of a pool."),
    # -- Logs
    _must(
        "logs-token-is-secret",
        tuple(method for method in METHODS if method != "CreatePrebuildLogsToken"),
        API,
        "A logs token is shown by CreatePrebuildLogsToken alone.",
    ),
    _must("logs-token-is-no-api-token", LISTS[:1], API, "A logs token opens no method of the service."),
    _must(
        "log-refuses-others", ("CreatePrebuildLogsToken",), API, "The log's address refuses the API token, and none."
    ),
    _must(
        "log-opens",
        ("CreatePrebuildLogsToken",),
        API,
        "The log's address takes the logs token, and answers text/plain.",
    ),
)

PROPERTIES: Final[dict[str, Property]] = {item.name: item for item in (*RESPONSE_PROPERTIES, *_ALL)}
"""Each property by its name, in the order of reports."""
