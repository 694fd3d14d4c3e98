"""Reading logs, without a network or a clock."""

from __future__ import annotations

import json
from itertools import pairwise

import httpx
import pytest
from hypothesis import strategies as st

from prebuilds import CallError, LogError, NotFoundError, PermissionDeniedError, WaitTimeoutError
from prebuilds.logs.lines import LINE_CONTINUES, MAX_LINE, Lines
from prebuilds.logs.reading import logs

from .both import ID
from .cases import drawn
from .rehearsal import Flow, Rehearsal, answer, error
from .scripted import a_prebuild

URL = "https://logs.example/1?part=a"
DROPPED = httpx.RemoteProtocolError("the server hung up")


class Service:
    """A prebuild that runs until `end`, and a log with a flow for each connection."""

    def __init__(
        self,
        *flows,
        end=0.0,
        phase="COMPLETED",
        log_url=URL,
        url_from=0.0,
        tokens=None,
        gone=float("inf"),
        latency=0.0,
        **more,
    ) -> None:
        self.flows = list(flows)
        self.end, self.phase, self.log_url, self.url_from, self.gone = end, phase, log_url, url_from, gone
        self.tokens = tokens or (lambda number: answer(200, {"accessToken": f"logs-token-number-{number}"}))
        self.minted = 0
        self.rehearsal = Rehearsal(self._answer, latency=latency, flows=self._flow, **more)

    def _answer(self, now):
        sent = self.rehearsal.sent[-1]
        if sent.url.endswith("CreatePrebuildLogsToken"):
            self.minted += 1
            return self.tokens(self.minted)
        assert json.loads(sent.content) == {"prebuildId": ID}
        if now >= self.gone:
            return error("not_found", 404, "no such prebuild")
        phase = self.phase if now >= self.end else "RUNNING"
        status = {"logUrl": self.log_url} if self.log_url and now >= self.url_from else {}
        return answer(200, {"prebuild": a_prebuild(f"PREBUILD_PHASE_{phase}", **status)})

    def _flow(self, effect):
        flow = self.flows.pop(0) if len(self.flows) > 1 else self.flows[0]
        flow = flow(effect) if callable(flow) else flow
        if isinstance(flow, Exception):
            raise flow
        return flow.again()

    def read(self, **arguments):
        return list(self.lines(**arguments))

    def lines(self, **arguments):
        return self.rehearsal.iterate(logs(self.rehearsal.executor, ID, **arguments))

    @property
    def tokens_used(self):
        return [each.headers["Authorization"] for each in self.rehearsal.opened]


def flows_of(*flows):
    return [Flow(*flow) for flow in flows]


# -- Lines -------------------------------------------------------------------------------------------------------------

CHUNKS = st.lists(st.integers(1, 7), min_size=1)


def pieces(content: bytes, sizes: list[int]) -> list[bytes]:
    cut, place, number = [], 0, 0
    while place < len(content):
        size = sizes[number % len(sizes)]
        cut.append(content[place : place + size])
        place += size
        number += 1
    return cut


@drawn(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line)), st.booleans(), CHUNKS)
def test_lines_are_those_of_the_server_whatever_the_pieces(lines, ends, sizes):
    content = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    expected = content.decode(errors="replace").split("\n")
    expected = [line.removesuffix("\r") for line in expected[:-1]] + ([expected[-1]] if expected[-1] else [])
    assert Service(Flow(*pieces(content, sizes))).read() == expected


def test_letters_and_line_ends_may_be_split_and_nothing_else_ends_a_line():
    content = "größe\r\n\r\n\u2028 \x0b a\rb \N{SNOWMAN}\n".encode() + b"\xff\xfe!\n"
    expected = ["größe", "", "\u2028 \x0b a\rb \N{SNOWMAN}", "��!"]
    assert Service(Flow(*pieces(content, [1]))).read() == expected


def test_a_very_long_line_is_read_in_linear_time():
    import time

    def seconds(count: int) -> float:
        begin = time.perf_counter()
        service = Service(Flow(*[b"x" * 16_384] * count, b"\n"))
        assert sum(len(line.removesuffix(LINE_CONTINUES)) for line in service.read()) == 16_384 * count
        return time.perf_counter() - begin

    seconds(100)
    assert seconds(4000) < 2.0


@pytest.mark.parametrize("more", [0, 1, MAX_LINE, MAX_LINE + 1])
def test_a_line_that_is_too_long_is_yielded_in_marked_pieces(more):
    long = "".join(chr(97 + number % 26) for number in range(MAX_LINE + more))
    lines = Service(Flow(f"first\n{long}\r\nlast\n".encode())).read()
    assert (lines[0], lines[-1]) == ("first", "last")
    assert all(line.endswith(LINE_CONTINUES) for line in lines[1:-2])
    assert not lines[-2].endswith(LINE_CONTINUES)
    assert all(len(line) <= MAX_LINE + len(LINE_CONTINUES) for line in lines)
    assert "".join(line.removesuffix(LINE_CONTINUES) for line in lines[1:-1]) == long


def test_pieces_of_a_long_line_are_not_repeated_after_a_broken_connection():
    long = b"x" * (MAX_LINE + 5) + b"\n"
    service = Service(Flow(b"a\n", long, DROPPED), Flow(b"a\n", long + b"b\n"))
    assert [len(line) for line in service.read()] == [1, MAX_LINE + len(LINE_CONTINUES), 5, 1]


WORDS = st.sampled_from(["a", "b", "", "a b"])
UNIQUE = st.integers(1, 60).map(lambda count: [f"line {number}" for number in range(count)])
LINES = UNIQUE | st.lists(WORDS, min_size=1, max_size=40)


def dropped_at(content: bytes, where: int, sizes: list[int]):
    return (*pieces(content[:where], sizes), DROPPED)


@drawn(LINES, st.lists(st.floats(0, 1), max_size=8), st.booleans(), CHUNKS)
def test_a_server_that_repeats_everything_is_read_without_loss_or_repetition(lines, drops, ends, sizes):
    content = "\n".join(lines).encode() + (b"\n" if ends else b"")
    if lines == [""] and not ends:
        lines = []
    elif not ends and lines[-1] == "":
        lines = lines[:-1]
    broken = [dropped_at(content, round(where * len(content)), sizes) for where in drops]
    assert Service(*flows_of(*broken, pieces(content, sizes))).read() == lines


@drawn(UNIQUE, st.integers(0, 70), st.lists(st.floats(0, 1), max_size=6), CHUNKS)
def test_a_server_that_repeats_its_latest_lines_is_read_without_loss_or_repetition(lines, latest, drops, sizes):
    content = [f"{line}\n".encode() for line in lines]
    sent = 0
    flows = []
    for where in drops:
        begin = max(0, sent - latest)
        end = begin + round(where * (len(content) - begin))
        flows.append(dropped_at(b"".join(content[begin:end]), 10**9, sizes))
        sent = max(sent, end)
    begin = max(0, sent - latest)
    flows.append(pieces(b"".join(content[begin:]), sizes))
    assert Service(*flows_of(*flows)).read() == lines


@drawn(UNIQUE, st.lists(st.floats(0, 1), max_size=8), CHUNKS)
def test_a_server_that_goes_on_where_it_was_is_read_without_loss_or_repetition(lines, drops, sizes):
    content = [f"{line}\n".encode() for line in lines]
    ends = sorted(round(where * len(content)) for where in drops)
    flows = [dropped_at(b"".join(content[a:b]), 10**9, sizes) for a, b in pairwise([0, *ends])]
    flows.append(pieces(b"".join(content[ends[-1] if ends else 0 :]), sizes))
    assert Service(*flows_of(*flows)).read() == lines


def longest_overlap(before: list[str], after: list[str]) -> int:
    return max(n for n in range(len(before) + 1) if n <= len(after) and before[len(before) - n :] == after[:n])


@drawn(st.lists(WORDS, max_size=30), st.lists(WORDS, max_size=30), quick=100)
def test_the_longest_stretch_that_can_be_repeated_is(before, after):
    lines = Lines()
    for line in before:
        lines.feed(f"{line}\n".encode())
    lines.begin()
    got = [new for line in after for new in lines.feed(f"{line}\n".encode())]
    got += lines.rest()
    assert got == after[longest_overlap(before, after) :]
    assert lines.count == len(before) + len(got)


@drawn(st.lists(WORDS, min_size=1, max_size=20), st.lists(WORDS, min_size=1, max_size=10))
def test_new_lines_are_not_held_back_once_all_has_been_repeated(before, after):
    lines = Lines()
    lines.feed("".join(f"{line}\n" for line in before).encode())
    lines.begin()
    assert lines.feed("".join(f"{line}\n" for line in before).encode()) == []
    assert [lines.feed(f"{line}\n".encode()) for line in after] == [[line] for line in after]


def test_repetition_is_found_in_linear_time():
    import time

    lines = Lines()
    lines.feed(b".\n" * 200_000 + b"x\n")
    lines.begin()
    begin = time.perf_counter()
    assert lines.feed(b".\n" * 150_000 + b"x\ny\n") == ["y"]
    assert time.perf_counter() - begin < 5


def test_an_early_blank_line_does_not_hide_where_the_repetition_begins():
    log = [text for number in range(500) for text in (f"{number}", "")]
    lines = Lines()
    lines.feed("".join(f"{line}\n" for line in log).encode())
    lines.begin()
    again = [*log[301:], "new"]
    assert lines.feed("".join(f"{line}\n" for line in again).encode()) == ["new"]


# -- From the first look to the last line ------------------------------------------------------------------------------


def test_it_waits_for_the_address_and_reads_to_the_end():
    service = Service(Flow(b"one\ntwo\n"), end=50, url_from=40)
    assert service.read() == ["one", "two"]
    assert 40 <= service.rehearsal.time < 60
    assert service.rehearsal.opened[0].url == URL
    assert service.tokens_used[0] == "Bearer logs-token-number-1"
    assert set(service.rehearsal.opened[0].headers) == {"Authorization", "Accept", "Accept-Encoding", "User-Agent"}


@pytest.mark.parametrize("phase", ["COMPLETED", "FAILED", "CANCELLED", "DELETING", "DELETED"])
def test_it_ends_when_the_prebuild_does(phase):
    service = Service(Flow(b"one\n", 100.0, b"two\n"), Flow(b"one\ntwo\n"), end=90, phase=phase)
    assert service.read() == ["one", "two"]
    assert service.rehearsal.time < 120
    assert len(service.rehearsal.opened) == 2  # the second time from its beginning to its end, for sure
    assert service.minted == 1


@pytest.mark.parametrize("phase", ["COMPLETED", "FAILED", "CANCELLED", "DELETED"])
def test_without_a_log_there_are_no_lines(phase):
    service = Service(end=30, phase=phase, log_url="")
    assert service.read() == []
    assert service.rehearsal.time < 40
    assert service.minted == 0


def test_a_prebuild_that_vanishes_before_it_has_a_log_ends_it():
    assert Service(end=1e9, log_url="", gone=30).read() == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_prebuild_that_is_deleted_midway_ends_it(status):
    service = Service(Flow(b"one\n", 100.0), Flow(status=status), end=60, phase="DELETING")
    assert service.read() == ["one"]
    service = Service(Flow(b"one\n", 100.0, DROPPED), Flow(status=status), end=1e9, gone=90)
    assert service.read() == ["one"]


def test_a_token_that_is_not_given_for_a_deleted_prebuild_ends_it():
    tokens = [answer(200, {"accessToken": "t"}), error("not_found", 404)]
    service = Service(Flow(b"one\n", DROPPED), Flow(status=401), end=1e9, tokens=lambda _: tokens.pop(0))
    lines = service.lines()
    assert next(lines) == "one"
    service.gone = service.rehearsal.time + 0.1
    assert list(lines) == []


def test_the_log_of_a_deleted_prebuild_that_cannot_be_read_is_an_error():
    with pytest.raises(LogError, match="404"):
        Service(Flow(status=404), phase="DELETED").read()


def test_a_prebuild_that_never_was_is_not_found():
    with pytest.raises(NotFoundError):
        Service(gone=0.0).read()


def test_an_end_while_the_prebuild_runs_is_none_and_the_log_is_not_asked_for_all_the_time():
    log = [f"{number}\n".encode() for number in range(100)]
    service = Service(lambda _: Flow(*log[: 1 + int(service.rehearsal.time) // 10]), end=600)
    assert service.read() == [str(number) for number in range(61)]
    assert len(service.rehearsal.opened) < 300
    pauses = service.rehearsal.slept
    assert max(pauses) <= 12
    assert min(pauses) > 0.9
    assert service.rehearsal.time < 615


def test_a_log_that_stands_still_is_asked_for_less_and_less():
    service = Service(Flow(b"one\n"), end=600)
    assert service.read() == ["one"]
    assert len(service.rehearsal.opened) <= 60
    assert service.rehearsal.time < 615


def test_silence_is_no_end_and_no_failure():
    service = Service(*[Flow(b"one\n", 1e9)] * 4, Flow(b"one\ntwo\n"), end=400, retries=0)
    assert service.read() == ["one", "two"]
    assert 400 <= service.rehearsal.time < 700


# -- Failures ----------------------------------------------------------------------------------------------------------


def test_early_502_means_that_it_is_about_to_be_there():
    bad = [Flow(status=502) for _ in range(3)]
    service = Service(*bad, Flow(b"one\n"), end=0, retries=0)
    assert service.read() == ["one"]
    assert service.rehearsal.slept == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("status", [429, 408, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(status):
    service = Service(*[Flow(status=status)] * 8, Flow(b"one\n"))
    assert service.read() == ["one"]


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.ReadTimeout(""), DROPPED])
def test_so_is_one_that_does_not_answer(failure):
    assert Service(*[failure] * 8, Flow(b"one\n")).read() == ["one"]


def test_a_hint_is_kept_to():
    service = Service(Flow(status=429, retry_after="17"), Flow(b"one\n"))
    assert service.read() == ["one"]
    assert 17 <= service.rehearsal.time < 18


@pytest.mark.parametrize("failing", [Flow(b"oh no", status=500), httpx.ConnectError("oh no")])
def test_a_log_that_cannot_be_read_is_an_error_in_the_end(failing):
    service = Service(failing, retries=3, chance=0.5)
    with pytest.raises(LogError, match="oh no") as caught:
        service.read()
    assert len(service.rehearsal.opened) == 4
    assert caught.value.prebuild_id == ID
    assert caught.value.status == (500 if isinstance(failing, Flow) else None)


def test_a_log_that_is_followed_survives_half_a_minute_without_its_server():
    service = Service(Flow(b"one\n", 50.0, DROPPED), end=1000, retries=1)
    restarted = lambda _: Flow(b"one\ntwo\n") if service.rehearsal.time > 75 else Flow(status=503)  # noqa: E731
    service.flows.append(restarted)
    assert service.read() == ["one", "two"]


def test_but_not_for_ever():
    service = Service(Flow(b"one\n", 50.0, DROPPED), Flow(status=503), end=1e9)
    lines = service.lines()
    assert next(lines) == "one"
    with pytest.raises(LogError, match="503"):
        next(lines)
    assert 80 <= service.rehearsal.time < 120


def test_a_server_that_always_breaks_off_at_the_same_place_is_given_up():
    service = Service(Flow(b"one\ntw", DROPPED))
    lines = service.lines()
    assert next(lines) == "one"
    with pytest.raises(LogError, match="hung up"):
        next(lines)
    assert len(service.rehearsal.opened) < 60


@pytest.mark.parametrize("status", [400, 404, 410, 415])
def test_what_cannot_get_better_is_an_error_at_once(status):
    service = Service(Flow(b"no such log", status=status), end=1e9)
    with pytest.raises(LogError, match="no such log") as caught:
        service.read()
    assert caught.value.status == status
    assert len(service.rehearsal.opened) == 1


def test_a_redirect_is_not_followed():
    service = Service(Flow(status=302, location="https://evil.example/?secret=1"))
    with pytest.raises(LogError, match=r"redirects to https://evil\.example/\. The token is not sent there") as caught:
        service.read()
    assert "secret" not in str(caught.value)
    assert len(service.rehearsal.opened) == 1


# -- The token ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_has_run_out_is_renewed_each_time(status):
    refused = lambda _: Flow(status=status)  # noqa: E731
    flows = [
        Flow(b"one\n", DROPPED),
        refused,
        Flow(b"one\n", DROPPED),
        refused,
        Flow(b"one\n", DROPPED),
        refused,
        Flow(b"one\ntwo\n"),
    ]
    service = Service(*flows)
    assert service.read() == ["one", "two"]
    assert service.minted == 4


@pytest.mark.parametrize("status", [401, 403])
def test_a_fresh_token_that_is_refused_is_an_error(status):
    service = Service(Flow(b"go away", status=status), end=1e9)
    with pytest.raises(LogError, match="go away") as caught:
        service.read()
    assert caught.value.status == status
    assert service.minted == 2
    assert service.rehearsal.time == 0


def test_the_service_may_be_away_when_a_token_is_needed():
    away = answer(503, "away")
    service = Service(Flow(b"one\n"), tokens=lambda number: away if number < 5 else answer(200, {"accessToken": "t"}))
    assert service.read() == ["one"]


def test_a_service_that_refuses_a_token_is_an_error():
    denied = error("permission_denied", 403)
    with pytest.raises(PermissionDeniedError):
        Service(Flow(b"one\n"), tokens=lambda _: denied).read()
    with pytest.raises(CallError):
        Service(Flow(b"one\n"), tokens=lambda _: answer(503, "away"), retries=2).read()


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut"])
def test_a_token_that_is_none_is_an_error_that_does_not_show_it(token):
    with pytest.raises(LogError, match="no token") as caught:
        Service(Flow(b"one\n"), tokens=lambda _: answer(200, {"accessToken": token})).read()
    assert not token or token not in str(caught.value)


TOKEN = "logs-token-number-1"


@pytest.mark.parametrize(
    "flow",
    [
        Flow(f"bad token {TOKEN}".encode(), status=404),
        Flow(b"x" * 195 + TOKEN.encode() + b"y" * 5000, status=404),
        lambda _: Flow(*pieces(b"x" * 195 + TOKEN.encode(), [3]), status=404),
        Flow(status=302, location=f"https://evil.example/{TOKEN}"),
        httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}'"),
    ],
)
def test_no_error_shows_the_token(flow):
    with pytest.raises(LogError) as caught:
        Service(flow, retries=0).read()
    assert "logs-t" not in str(caught.value)


def test_a_token_is_for_one_server_only():
    service = Service(Flow(b"one\n", DROPPED), Flow(b"one\ntwo\n"))
    lines = service.lines()
    assert next(lines) == "one"
    service.log_url = "https://other.example/1"
    assert list(lines) == ["two"]
    assert service.tokens_used == ["Bearer logs-token-number-1", "Bearer logs-token-number-2"]


@pytest.mark.parametrize(
    "url",
    ["nonsense", "ftp://logs.example/1", "https:///1", "/logs/1", "https://h:99999/", "https://a..b/", "https://[/"],
)
def test_an_address_that_is_not_a_valid_URL_is_an_error(url):
    service = Service(Flow(b"one\n"), log_url=url)
    with pytest.raises(LogError, match="not a valid URL"):
        service.read()
    assert service.minted == 0


def test_a_token_does_not_go_over_a_line_that_is_less_safe_than_the_service():
    with pytest.raises(LogError, match="not encrypted"):
        Service(Flow(b"one\n"), log_url="http://logs.example/1").read()
    service = Service(Flow(b"one\n"), log_url="http://logs.example/1", base_url="http://api.example.com")
    assert service.read() == ["one"]


# -- Without following, and with a timeout -----------------------------------------------------------------------------


def test_who_does_not_follow_gets_what_there_is():
    service = Service(Flow(b"one\ntwo\nthr", 1e9), end=1e9)
    assert service.read(follow=False) == ["one", "two", "thr"]
    assert service.rehearsal.time < 3
    assert Service(Flow(b"one\ntwo\n"), end=1e9).read(follow=False) == ["one", "two"]
    assert Service(Flow(b"one\ntwo\n")).read(follow=False) == ["one", "two"]
    assert Service(end=1e9, log_url="").read(follow=False) == []


def test_who_does_not_follow_a_log_that_never_rests_gets_an_end_too():
    service = Service(Flow(*[b"line\n", 0.5] * 10_000), end=1e9)
    assert len(service.read(follow=False)) >= 20
    assert service.rehearsal.time < 25


def test_an_old_log_is_read_whole_however_slowly_it_comes():
    service = Service(Flow(*[b"line\n", 10.0] * 100))
    assert len(service.read(follow=False)) == 100


@pytest.mark.parametrize(
    "flow",
    [
        Flow(b"one\n", 1e9),
        Flow(*[b"one\n", 7.0] * 1000),
        Flow(b"one\n", DROPPED),
        Flow(b"one\n"),
        Flow(status=503, retry_after="50"),
        httpx.ConnectError("refused"),
    ],
)
@pytest.mark.parametrize("timeout", [20.0, 100.0])
def test_the_time_to_read_is_limited(flow, timeout):
    service = Service(flow, end=1e9, retries=10**6)
    with pytest.raises(WaitTimeoutError, match=f"after {timeout:g} s") as caught:
        service.read(timeout=timeout)
    assert timeout <= service.rehearsal.time <= timeout + 0.5
    assert caught.value.prebuild.id


def test_the_time_to_wait_for_an_address_is_limited_too():
    service = Service(end=1e9, log_url="")
    with pytest.raises(WaitTimeoutError):
        service.read(timeout=20)
    assert service.rehearsal.time == 20


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_has_to_be_one(timeout):
    with pytest.raises(ValueError, match="timeout"):
        logs(Rehearsal([]).executor, ID, timeout=timeout)
