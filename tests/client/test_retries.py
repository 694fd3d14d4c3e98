"""Repeating calls, without a network or a clock."""

from __future__ import annotations

import base64
import math
import random
import ssl

import httpx
import pytest

from prebuild_api.models import (
    ConnectErrorDetail,
    CreatePrebuildRequest,
    GetPrebuildRequest,
    PrebuildSpec,
)
from prebuild_api.operations import CREATE_PREBUILD, GET_PREBUILD, OPERATIONS
from prebuilds import (
    CallError,
    ConnectionFailedError,
    PrebuildsError,
    RequestTimeoutError,
    ResourceExhaustedError,
    UnavailableError,
)
from prebuilds.error_details import decode_details
from prebuilds.options import DEFAULT_RETRIES
from prebuilds.retries import backoff_delay, retry_after_of

from .both import ID
from .rehearsal import Rehearsal, Step, answer, error
from .scripted import a_prebuild

LOOK = (GET_PREBUILD, GetPrebuildRequest(prebuild_id=ID))
CREATE = (CREATE_PREBUILD, CreatePrebuildRequest(project_id=ID, spec=PrebuildSpec()))
DONE = answer(200, {"prebuild": a_prebuild()})

HTML = "<html>Bad Gateway</html>"

# Failures after which the service may have acted, or not, and whether another look is of use.
FAILURES: list[tuple[Step, bool, bool]] = [
    # failure, may have run, transient
    (httpx.ConnectError("refused"), False, True),
    (httpx.ConnectTimeout(""), False, True),
    (httpx.PoolTimeout(""), False, True),
    (httpx.ProxyError("407 Proxy Authentication Required"), False, False),
    (httpx.ProxyError("503 Service Unavailable"), False, True),
    (httpx.UnsupportedProtocol("gopher"), False, False),
    (httpx.ReadError(""), True, True),
    (httpx.WriteError(""), True, True),
    (httpx.ReadTimeout(""), True, True),
    (httpx.WriteTimeout(""), True, True),
    (httpx.RemoteProtocolError("disconnected"), True, True),
    (httpx.DecodingError("gzip"), True, True),
    (answer(200, '{"prebuild": {"me'), True, True),
    (answer(200, ""), True, True),
    (answer(200, {"prebuild": 5}), True, False),
    (answer(502, HTML), True, True),
    (answer(503, HTML), True, True),
    (answer(504, HTML), True, True),
    (answer(500, HTML), True, False),
    (answer(429, HTML), False, False),
    (answer(429, HTML, retry_after="1"), False, True),
    (answer(407, HTML), False, False),
    (answer(408, HTML), True, False),
    (answer(404, HTML), False, False),
    (answer(303, "", location="/"), True, False),
    (answer(307, "", location="/"), False, False),
    (error("unavailable", 503), True, True),
    (error("unavailable", 503, retry_after="1"), True, True),
    (error("deadline_exceeded", 504), True, True),
    (error("resource_exhausted", 429), False, False),
    (error("resource_exhausted", 429, retry_after="1"), False, True),
    (error("resource_exhausted", 429, ratelimit_retryafter="1"), False, True),
    (error("canceled", 499), True, False),
    (error("unknown", 500), True, False),
    (error("internal", 500), True, False),
    (error("data_loss", 500), True, False),
    (error("aborted", 409), True, False),
    (error("brand_new", 400), True, False),
    (error("invalid_argument", 400), False, False),
    (error("not_found", 404), False, False),
    (error("already_exists", 409), False, False),
    (error("permission_denied", 403), False, False),
    (error("failed_precondition", 400), False, False),
    (error("out_of_range", 400), False, False),
    (error("unimplemented", 501), False, False),
    (error("unauthenticated", 401), False, False),
]


@pytest.mark.parametrize(("failure", "maybe_executed", "transient"), FAILURES)
def test_a_look_is_repeated_after_every_passing_failure(failure, maybe_executed, transient):
    rehearsal = Rehearsal([failure, DONE])
    if transient:
        rehearsal.run(rehearsal.executor.call(*LOOK, {}))
        assert len(rehearsal.sent) == 2
        return
    with pytest.raises(CallError) as caught:
        rehearsal.run(rehearsal.executor.call(*LOOK, {}))
    assert len(rehearsal.sent) == 1
    assert not caught.value.retryable
    assert caught.value.maybe_executed is maybe_executed


@pytest.mark.parametrize(("failure", "maybe_executed", "transient"), FAILURES)
def test_a_create_is_repeated_only_if_it_surely_did_not_run(failure, maybe_executed, transient):
    rehearsal = Rehearsal([failure, DONE])
    if transient and not maybe_executed:
        rehearsal.run(rehearsal.executor.call(*CREATE, {}))
        assert len(rehearsal.sent) == 2
        return
    with pytest.raises(CallError) as caught:
        rehearsal.run(rehearsal.executor.call(*CREATE, {}))
    assert len(rehearsal.sent) == 1
    assert caught.value.maybe_executed is maybe_executed
    assert ("may have taken effect" in str(caught.value)) is maybe_executed


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_only_calls_that_may_be_repeated_are_after_a_lost_answer(operation):
    rehearsal = Rehearsal(lambda now: httpx.ReadError("lost"))
    with pytest.raises(ConnectionFailedError):
        rehearsal.run(rehearsal.executor.call(operation, GetPrebuildRequest(prebuild_id=ID), {}))
    assert len(rehearsal.sent) == (1 if operation.idempotency == "unsafe" else DEFAULT_RETRIES + 1)


def test_an_earlier_attempt_that_may_have_run_is_not_forgotten():
    rehearsal = Rehearsal([httpx.ReadError("lost"), error("unauthenticated", 401)])
    with pytest.raises(CallError) as caught:
        rehearsal.run(rehearsal.executor.call(*LOOK, {}))
    assert caught.value.maybe_executed


def test_retries_can_be_switched_off():
    for rehearsal, options in (
        (Rehearsal(lambda now: answer(503)), {"retries": 0}),
        (Rehearsal(lambda now: answer(503), retries=0), {}),
    ):
        with pytest.raises(UnavailableError):
            rehearsal.run(rehearsal.executor.call(*LOOK, options))
        assert len(rehearsal.sent) == 1


def test_pauses_double_and_are_random_from_nothing_to_a_limit():
    limits = [backoff_delay(attempt, None, 60, lambda low, high: high) for attempt in range(1, 8)]
    assert limits == [0.25, 0.5, 1, 2, 4, 5, 5]
    assert all(backoff_delay(attempt, None, 60, lambda low, high: low) == 0 for attempt in range(1, 8))
    assert backoff_delay(10_000, None, math.inf, lambda low, high: high) == 5


def test_a_pause_leaves_half_of_the_time_for_another_attempt():
    assert backoff_delay(7, None, 3.0, lambda low, high: high) == 1.5


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_hint_is_kept_to_within_a_tenth(chance):
    script = [error("resource_exhausted", 429, retry_after="7"), DONE]
    rehearsal = Rehearsal(script, chance=chance)
    rehearsal.run(rehearsal.executor.call(*LOOK, {}))
    assert 7 <= rehearsal.slept[0] <= 7.7


def test_a_hint_beyond_the_deadline_ends_the_call_at_once():
    rehearsal = Rehearsal([error("resource_exhausted", 429, "slow down", retry_after="61")])
    with pytest.raises(ResourceExhaustedError, match="slow down") as caught:
        rehearsal.run(rehearsal.executor.call(*LOOK, {}))
    assert caught.value.retry_after == 61
    assert caught.value.retryable
    assert rehearsal.time == 0


def test_a_quota_says_that_it_is_one():
    rehearsal = Rehearsal([error("resource_exhausted", 429)])
    with pytest.raises(ResourceExhaustedError, match="quota") as caught:
        rehearsal.run(rehearsal.executor.call(*LOOK, {}))
    assert caught.value.retry_after is None


def test_all_attempts_share_one_deadline():
    rehearsal = Rehearsal(lambda now: httpx.ReadTimeout(""), latency=3.0, retries=1000)
    with pytest.raises(RequestTimeoutError):
        rehearsal.run(rehearsal.executor.call(*LOOK, {"timeout": 20.0}))
    assert rehearsal.time <= 20 + 3
    told = [int(send.headers["Connect-Timeout-Ms"]) for send in rehearsal.sent]
    assert told[0] == 20_000
    assert told == sorted(told, reverse=True)
    assert len(told) > 2
    for send, milliseconds in zip(rehearsal.sent, told, strict=True):
        # A server that hangs leaves half of the time for the next attempt.
        assert send.timeout == pytest.approx(milliseconds / 2000, abs=0.01)


def test_the_last_attempt_and_one_that_would_act_twice_have_all_the_time():
    for call, options in ((LOOK, {"retries": 0}), (CREATE, {})):
        rehearsal = Rehearsal([DONE])
        rehearsal.run(rehearsal.executor.call(*call, {"timeout": 20.0, **options}))
        assert rehearsal.sent[0].timeout == 20


def test_a_deadline_is_told_in_at_most_ten_digits():
    rehearsal = Rehearsal([DONE])
    rehearsal.run(rehearsal.executor.call(*LOOK, {"timeout": 1e12}))
    assert rehearsal.sent[0].headers["Connect-Timeout-Ms"] == "9999999999"


def test_reads_survive_a_third_of_all_calls_failing():
    dice = random.Random(7)
    failures = [failure for failure, _, transient in FAILURES if transient]

    def step(now: float) -> Step:
        return dice.choice(failures) if dice.random() < 0.3 else DONE

    failed = 0
    for _ in range(1000):
        rehearsal = Rehearsal(step, timeout=60, chance=dice.random())
        try:
            rehearsal.run(rehearsal.executor.call(*LOOK, {}))
        except PrebuildsError:
            failed += 1
    assert failed == 0


def test_the_cause_is_kept():
    cause = httpx.ConnectError("no such host")
    cause.__cause__ = ssl.SSLCertVerificationError("self-signed")
    rehearsal = Rehearsal([cause], retries=0)
    with pytest.raises(ConnectionFailedError, match="no such host") as caught:
        rehearsal.run(rehearsal.executor.call(*LOOK, {}))
    assert caught.value.__cause__ is cause


def retry_info(seconds: int, nanos: int = 0, *, pad: bool = False) -> ConnectErrorDetail:
    def varint(number: int) -> bytes:
        number &= 2**64 - 1
        parts = []
        while True:
            number, low = number >> 7, number & 0x7F
            parts.append(low | (0x80 if number else 0))
            if not number:
                return bytes(parts)

    duration = (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")
    value = base64.b64encode(b"\x0a" + varint(len(duration)) + duration).decode()
    return ConnectErrorDetail(type="google.rpc.RetryInfo", value=value if pad else value.rstrip("="))


NOW = 1_767_225_600.0  # 1 January 2026, 0:00 UTC


@pytest.mark.parametrize(
    ("headers", "details", "hint"),
    [
        ({}, [], None),
        ({}, [retry_info(5)], 5),
        ({}, [retry_info(300, 500_000_000)], 300.5),
        ({}, [retry_info(300, 1, pad=True)], pytest.approx(300)),
        ({}, [retry_info(0)], 0),
        ({}, [ConnectErrorDetail(type="other.Detail", value="AA"), retry_info(5)], 5),
        ({}, [ConnectErrorDetail(type="type.googleapis.com/google.rpc.RetryInfo", value="CgIIBQ")], 5),
        ({"RateLimit-RetryAfter": "9", "Retry-After": "3"}, [retry_info(5)], 5),
        ({"RateLimit-RetryAfter": "9", "Retry-After": "3"}, [], 9),
        ({"Retry-After": "3"}, [], 3),
        ({"Retry-After": "0"}, [], 0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}, [], 30),
        ({"Retry-After": "Wed, 31 Dec 2025 23:00:00 GMT"}, [], 0),
        # What cannot be read is passed over.
        ({"Retry-After": "soon"}, [], None),
        ({"Retry-After": "-3"}, [], None),
        ({"Retry-After": "1.5"}, [], 1.5),
        ({"Retry-After": "\u0663"}, [], None),
        ({"Retry-After": "Thu, 99 Jan 2026 00:00:30 GMT"}, [], None),
        ({"RateLimit-RetryAfter": "x", "Retry-After": "3"}, [], 3),
        ({"Retry-After": "3"}, [retry_info(-5)], 3),
        ({"Retry-After": "3"}, [retry_info(5, 2_000_000_000)], 3),
    ],
)
def test_the_hint_is_the_first_that_can_be_read(headers, details, hint):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert retry_after_of(httpx.Headers(raw), decode_details(details), lambda: NOW) == hint


@pytest.mark.parametrize("value", [None, "", "!", "CgIIB", "CgX/", "DA", "////////////////", "CAU"])
def test_a_damaged_retry_info_is_no_hint(value):
    detail = ConnectErrorDetail(type="google.rpc.RetryInfo", value=value)
    headers = httpx.Headers({"Retry-After": "3"})
    assert retry_after_of(headers, decode_details([detail]), lambda: NOW) == 3
