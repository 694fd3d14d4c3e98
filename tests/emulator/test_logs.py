from __future__ import annotations

import threading

import httpx
import pytest

from prebuilds.emulator import EmulatorServer, ManualClock, Plan

from .driver import NO_CERTIFICATES, Driver

PLAN = Plan()


def token_for(emulator, prebuild_id):
    return emulator.call("CreatePrebuildLogsToken", prebuildId=prebuild_id)["accessToken"]


def read(emulator, prebuild_id, token, prefix=""):
    headers = {"Authorization": f"Bearer {token}"}
    return emulator.http.get(f"{prefix}/logs/{prebuild_id}", headers=headers)


def code(response):
    return response.status_code, response.json()["code"]


def texts(response):
    return [line.partition(" ")[2] for line in response.text.splitlines()]


@pytest.fixture
def completed(emulator):
    prebuild_id = emulator.create()
    emulator.clock.advance(300)
    return prebuild_id


def test_the_log_of_a_completed_prebuild(emulator, completed):
    status = emulator.prebuild(completed)["status"]
    headers = {"Authorization": f"Bearer {token_for(emulator, completed)}"}
    response = emulator.http.get(status["logUrl"], headers=headers)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert texts(response)[:2] == ["starting the environment", "running the prebuild tasks"]
    assert texts(response)[-1] == "the prebuild completed"
    assert response.text.splitlines()[0].startswith("2030-01-01T00:00:15Z ")
    assert response.text.splitlines()[-1].startswith("2030-01-01T00:05:00Z ")
    assert response.text.splitlines() == sorted(response.text.splitlines())


def test_the_log_stands_under_both_prefixes(emulator, completed):
    token = token_for(emulator, completed)
    assert read(emulator, completed, token, "/api").text == read(emulator, completed, token).text


def test_the_log_of_a_failure_says_why(start):
    emulator = start(Plan(running=1000))
    prebuild_id = emulator.create(timeout="300s")
    emulator.clock.advance(1000)
    message = emulator.prebuild(prebuild_id)["status"]["failureMessage"]
    assert texts(read(emulator, prebuild_id, token_for(emulator, prebuild_id)))[-1] == f"the prebuild failed: {message}"


def test_the_log_of_a_cancelled_prebuild(emulator):
    prebuild_id = emulator.create()
    emulator.clock.advance(100)
    emulator.call("CancelPrebuild", prebuildId=prebuild_id)
    emulator.clock.advance(100)
    lines = texts(read(emulator, prebuild_id, token_for(emulator, prebuild_id)))
    assert lines[-3:] == ["task output, line 1", "cancelling the prebuild", "the prebuild was cancelled"]


def test_before_there_is_an_environment_there_is_no_log(emulator):
    prebuild_id = emulator.create()
    assert read(emulator, prebuild_id, token_for(emulator, prebuild_id)).status_code == 502


def test_the_stream_follows_a_prebuild_that_is_under_way(emulator):
    prebuild_id = emulator.create()
    emulator.clock.advance(PLAN.pending)
    token = token_for(emulator, prebuild_id)
    headers = {"Authorization": f"Bearer {token}"}
    seen = []
    with emulator.http.stream("GET", f"/logs/{prebuild_id}", headers=headers) as response:
        for line in response.iter_lines():
            seen.append(line)
            # Only now time goes on, by more than passes between any two lines.
            emulator.clock.advance(31)
    assert seen == read(emulator, prebuild_id, token).text.splitlines()
    assert seen[-1].endswith("the prebuild completed")
    assert emulator.phase(prebuild_id) == "COMPLETED"


def test_the_stream_ends_when_the_prebuild_is_deleted(start):
    emulator = start(Plan(deleting=0, tombstone=0))
    prebuild_id = emulator.create()
    emulator.clock.advance(PLAN.pending)
    headers = {"Authorization": f"Bearer {token_for(emulator, prebuild_id)}"}
    with emulator.http.stream("GET", f"/logs/{prebuild_id}", headers=headers) as response:
        lines = response.iter_lines()
        assert next(lines).endswith("starting the environment")
        emulator.call("DeletePrebuild", prebuildId=prebuild_id)
        emulator.clock.advance(PLAN.stopping)
        assert [line.partition(" ")[2] for line in lines] in ([], ["stopping the environment"])


def test_the_stream_ends_when_the_server_stops():
    clock = ManualClock()
    reading = threading.Event()
    lines = []
    with EmulatorServer(clock=clock) as server:
        driver = Driver(server, clock)
        prebuild_id = driver.create()
        clock.advance(PLAN.pending)
        headers = {"Authorization": f"Bearer {token_for(driver, prebuild_id)}"}

        def follow():
            url = f"{server.url}/logs/{prebuild_id}"
            with httpx.stream("GET", url, headers=headers, verify=NO_CERTIFICATES) as response:
                for line in response.iter_lines():
                    lines.append(line)
                    reading.set()

        thread = threading.Thread(target=follow)
        thread.start()
        assert reading.wait(10)
        driver.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(lines) == 1


def test_the_api_token_opens_no_log(emulator, completed):
    assert code(read(emulator, completed, "somebody")) == (401, "unauthenticated")
    del emulator.http.headers["Authorization"]
    assert code(emulator.http.get(f"/logs/{completed}")) == (401, "unauthenticated")


def test_a_logs_token_is_no_api_token(emulator, completed):
    token = token_for(emulator, completed)
    for _ in range(2):
        emulator.http.headers["Authorization"] = f"Bearer {token}"
        assert emulator.refused("GetPrebuild", prebuildId=completed) == "unauthenticated"
        emulator.clock.advance(2 * 3600)


def test_a_logs_token_opens_the_log_of_its_prebuild_only(emulator, completed):
    other = emulator.create()
    assert code(read(emulator, other, token_for(emulator, completed))) == (403, "permission_denied")


def test_a_page_token_opens_no_log(emulator, completed):
    emulator.create()
    page_token = emulator.call("ListPrebuilds", pagination={"pageSize": 1})["pagination"]["nextToken"]
    assert code(read(emulator, completed, page_token)) == (401, "unauthenticated")


def test_a_logs_token_lasts_one_hour(emulator, completed):
    token = token_for(emulator, completed)
    emulator.clock.advance(3599.9)
    assert read(emulator, completed, token).status_code == 200
    emulator.clock.advance(0.1)
    assert code(read(emulator, completed, token)) == (401, "unauthenticated")


def test_the_log_of_a_prebuild_that_is_gone_is_not_found(start):
    emulator = start(Plan(deleting=0, tombstone=0))
    prebuild_id = emulator.create()
    token = token_for(emulator, prebuild_id)
    emulator.call("DeletePrebuild", prebuildId=prebuild_id)
    assert code(read(emulator, prebuild_id, token)) == (404, "not_found")


def test_logs_take_GET_only(emulator, completed):
    response = emulator.http.post(f"/logs/{completed}")
    assert code(response) == (405, "unknown")
    assert "GET" in response.headers["allow"]
