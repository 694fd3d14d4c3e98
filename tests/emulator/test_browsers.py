"""What a web page can make a browser send: nothing of it reads or changes anything."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest

from prebuilds.emulator import EmulatorControl, EmulatorServer, Options
from prebuilds.emulator.browser_guard import GUARD_HEADER
from prebuilds.emulator.control import ROUTES

from .driver import NO_CERTIFICATES, NOBODY, PROJECT, SERVICE, Driver

EVIL = "http://evil.example"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

API = [(verb, f"{prefix}{SERVICE}/{method}") for verb in ("POST", "GET") for prefix in ("", "/api")
       for method in ("CreatePrebuild", "ListPrebuilds", "DeleteWarmPool")]  # fmt: skip
LOGS = [("GET", f"/logs/{NOBODY}"), ("GET", f"/api/logs/{NOBODY}")]
CONTROL = [
    (route.http_method, f"/_emulator{route.path}".replace("{project_id}", PROJECT)
     .replace("{warm_pool_id}", NOBODY).replace("{fault_id}", "1"))
    for route in ROUTES
]  # fmt: skip
PAGE = [("GET", f"/_emulator/page/{name}") for name in ("main.js", "events", f"prebuilds/{NOBODY}", "requests/1")]
EVERYTHING = [*API, *LOGS, *CONTROL, ("GET", "/_emulator/openapi.json"), ("GET", "/"), *PAGE]


@pytest.fixture
def page(emulator: Driver):
    """Sends what a page sends; in the end, all is as it was."""
    emulator.control.declare_project(PROJECT)
    emulator.create()
    before = emulator.control.dump_state()
    with httpx.Client(base_url=emulator.url, headers={"User-Agent": BROWSER}, verify=NO_CERTIFICATES) as browser:
        yield browser
    assert emulator.control.dump_state() == before


def refused(response: httpx.Response) -> bool:
    return response.status_code == 403 and response.json()["code"] == "permission_denied" and "id" not in response.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example",
                                  "10.1.2.3", "[::ffff:10.1.2.3]", "a b", "localhost@evil.example", ""])  # fmt: skip
def test_a_name_that_was_made_to_resolve_to_this_machine_is_refused(page: httpx.Client, host: str):
    for verb, path in EVERYTHING:
        headers = {"Host": host, "Authorization": "Bearer anything", GUARD_HEADER: "1"}
        assert refused(page.request(verb, path, headers=headers, json={})), (verb, path)


@pytest.mark.parametrize("origin", [EVIL, "null", "https://localhost", "http://localhost:1", "http://[", "file://"])
def test_a_request_from_another_origin_is_refused(page: httpx.Client, origin: str):
    for verb, path in EVERYTHING:
        headers = {"Origin": origin, "Authorization": "Bearer anything"}
        assert refused(page.request(verb, path, headers=headers, json={})), (verb, path)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "websocket"])
def test_an_image_and_a_fetch_without_cors_are_refused(page: httpx.Client, site: str, mode: str):
    for verb, path in EVERYTHING:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "image"}
        assert refused(page.request(verb, path, headers=headers)), (verb, path)


FORMS = [b"", b"a=b", b"--x\r\n\r\n--x--", b'{"seconds": 1, "a=": "b"}']
FORM_TYPES = [None, "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/json"]


@pytest.mark.parametrize("content", FORMS)
@pytest.mark.parametrize("content_type", FORM_TYPES)
def test_a_form_changes_nothing_though_its_browser_tells_no_origin(page: httpx.Client, content, content_type):
    for verb, path in EVERYTHING:
        if verb == "POST":
            headers = {} if content_type is None else {"Content-Type": content_type}
            response = page.post(path, content=content, headers=headers)
            assert response.status_code in (401, 403, 404, 405, 415), (path, response.text)


def test_no_response_lets_another_site_read_it(page: httpx.Client):
    for verb, path in EVERYTHING:
        response = page.request("OPTIONS", path, headers={"Origin": EVIL, "Access-Control-Request-Method": verb})
        assert not [name for name in response.headers if name.startswith("access-control-")]


def test_a_websocket_is_not_opened(page: httpx.Client):
    for _, path in EVERYTHING:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 22 + "==",
                   "Sec-WebSocket-Version": "13", "Origin": EVIL}  # fmt: skip
        assert refused(page.get(path, headers=headers))


def test_who_calls_the_emulator_by_one_of_its_names_is_served(start):
    emulator: Driver = start(allowed_hosts=("emulator", "Ci.Example."))
    port = urlsplit(emulator.url).port
    names = ["localhost", f"localhost:{port}", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.1.2.3:99", "[::1]"]
    for host in [*names, "emulator", "emulator:8080", "ci.example"]:
        assert emulator.post("ListPrebuilds", {}, headers={"Host": host}).status_code == 200, host
        assert emulator.http.get("/_emulator/clock", headers={"Host": host}).status_code == 200, host


def test_the_address_of_the_socket_is_one_of_its_names():
    with EmulatorServer(host="0.0.0.0", allow_remote=True) as server:
        port = urlsplit(server.url).port
        url = f"http://127.0.0.1:{port}/_emulator/clock"
        assert httpx.get(url).status_code == 200
        assert httpx.get(url, headers={"Host": "192.0.2.1"}).status_code == 403
        assert httpx.get(url, headers={"Host": "0.0.0.0"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"content-type": "Application/JSON; charset=utf-8"},
        {GUARD_HEADER: ""},
        {"Authorization": "Bearer x"},
    ],
)
def test_a_change_of_ones_own_page_or_program_is_made(emulator: Driver, headers: dict[str, str]):
    emulator.create()
    own = {"Origin": emulator.url, "Sec-Fetch-Site": "same-origin", "Host": urlsplit(emulator.url).netloc}
    for more in ({}, own):
        response = httpx.post(f"{emulator.url}/_emulator/reset", headers=headers | more)
        assert response.status_code == 200, response.text
    assert emulator.prebuilds() == []


def test_a_link_to_the_emulator_can_be_followed(emulator: Driver):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "User-Agent": BROWSER}
    assert httpx.get(f"{emulator.url}/_emulator/clock", headers=headers).status_code == 200


def test_the_control_client_needs_no_further_setting(emulator: Driver):
    with EmulatorControl(emulator.url) as control:
        control.freeze()
        control.reset()


@pytest.mark.parametrize("name", ["", "a:80", "http://a", "a b", "-", "a/"])
def test_a_name_that_is_not_a_host_name_is_an_error(name: str):
    with pytest.raises(ValueError, match="is not a host name"):
        Options(allowed_hosts=(name,))
