"""The emulator's page in a real browser. `make browser` runs it: its name keeps it out of `make test`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from prebuilds.emulator import EmulatorControl, EmulatorServer, ManualClock, Options, Outcome
from tests.emulator.driver import ENVIRONMENT_CLASS, PROJECT, Driver

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NASTY = """it's "quoted" $(touch x) `touch x` <img src=x onerror=alert(1)> \\n \u202e \u2028 %s {} 🙂"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def emulator() -> Iterator[Driver]:
    clock = ManualClock()
    with EmulatorServer(clock=clock) as server:
        driver = Driver(server, clock)
        yield driver
        driver.close()


@pytest.fixture
def page(browser: Browser, emulator: Driver) -> Iterator[Page]:
    """The page, which must stay without any message in the console."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(10_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        visit(page, emulator.url)
        yield page
        assert problems == []


def visit(page: Page, url: str, view: str = "prebuilds") -> None:
    page.goto(f"{url}/#{view}")
    expect(page.locator("#connection")).to_have_text("live")


def choose(page: Page, view: str) -> Locator:
    page.get_by_role("navigation").get_by_role("link", name=re.compile(view)).click()
    return page.get_by_role("region", name=view)


def rows(place: Page | Locator) -> Locator:
    """The rows of the list there that can be seen."""
    return place.get_by_role("listbox").get_by_role("option")


def form(page: Page, button: str) -> Locator:
    page.get_by_role("button", name=button, exact=True).first.click()
    return page.get_by_role("dialog").last


def code(dialog: Locator, language: str) -> str:
    return dialog.locator(f"[data-language={language}]").text_content() or ""


def run_shell(text: str, folder: Path) -> None:
    subprocess.run(["bash", "-c", text], check=True, cwd=folder, timeout=30, capture_output=True)


def run_python(text: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run(
        [sys.executable, "-c", text], check=True, cwd=folder, timeout=30, env=environment, capture_output=True
    )


def test_a_prebuild_is_created_and_completes(page: Page, emulator: Driver):
    view = choose(page, "Prebuilds")
    expect(view.get_by_text("No prebuilds here")).to_be_visible()
    dialog = form(page, "Create a prebuild…")
    dialog.get_by_label("Project").fill(PROJECT)
    dialog.get_by_role("button", name="Create a prebuild").click()
    row = rows(view)
    expect(row).to_contain_text("PENDING")
    for seconds, phase in [
        (20, "STARTING"),
        (60, "RUNNING"),
        (130, "STOPPING"),
        (60, "SNAPSHOTTING"),
        (60, "COMPLETED"),
    ]:
        emulator.control.advance(seconds)
        expect(row).to_contain_text(phase)
    expect(view.get_by_role("button", name="Completed 1")).to_be_visible()


def test_a_phase_changes_while_the_time_runs(page: Page, emulator: Driver):
    emulator.create()
    row = rows(choose(page, "Prebuilds"))
    expect(row).to_contain_text("PENDING")
    emulator.control.resume(120)
    expect(row).to_contain_text("COMPLETED")


def test_a_fault_is_planned_and_consumed(page: Page, emulator: Driver):
    view = choose(page, "Arrange")
    dialog = form(page, "Plan a fault…")
    dialog.get_by_label("Method").select_option("GetPrebuild")
    dialog.get_by_label("Code", exact=True).select_option("resource_exhausted")
    dialog.get_by_label("Message").fill(NASTY)
    dialog.get_by_role("button", name="Plan a fault").click()
    faults = view.get_by_role("region", name="Faults")
    expect(faults).to_contain_text("pending: met 0 of 1 call")
    expect(faults).to_contain_text("<img src=x onerror=alert(1)>")
    assert emulator.post("GetPrebuild", {}).status_code == 429
    expect(faults).to_contain_text("consumed: met 1 of 1 call")

    # The request shows what met it, with both bodies, and text is never more than text.
    requests = choose(page, "Requests")
    row = rows(requests).first
    expect(row).to_contain_text("429 resource_exhausted (fault 1)")
    row.click()
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("img").count() == 0


def test_the_time_is_moved_and_the_emulator_reset(page: Page, emulator: Driver):
    emulator.create()
    view = choose(page, "Prebuilds")
    expect(rows(view)).to_contain_text("PENDING")
    page.get_by_role("button", name="+1 h").click()
    expect(page.locator("#clock time")).to_have_text("2030-01-01 01:00:00")
    expect(rows(view)).to_contain_text("COMPLETED")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("button", name="Freeze")).to_be_visible()
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()
    form(page, "Reset…").get_by_role("button", name="Reset the emulator").click()
    expect(view.get_by_text("No prebuilds here")).to_be_visible()
    assert emulator.prebuilds() == []


def test_a_prebuild_is_followed_with_its_log_and_cancelled(page: Page, emulator: Driver):
    emulator.create()
    rows(choose(page, "Prebuilds")).click()
    dialog = page.get_by_role("dialog")
    log = dialog.get_by_role("log")
    emulator.control.advance(120)
    expect(log).to_contain_text("task output, line 2")
    emulator.control.advance(30)
    expect(log).to_contain_text("task output, line 3")
    form(page, "Cancel…").get_by_role("button", name="Cancel the prebuild").click()
    expect(log).to_contain_text("cancelling the prebuild")
    page.keyboard.press("Escape")
    expect(rows(page)).to_contain_text("CANCELLING")


def test_a_warm_pool_shows_its_instances_and_snapshot(page: Page, emulator: Driver):
    prebuild = emulator.create()
    emulator.create_pool(minSize=1, maxSize=3)
    view = choose(page, "Warm pools")
    expect(view).to_contain_text("PENDING")
    emulator.control.advance(400)
    expect(view).to_contain_text("1 running, 2 stopped")
    expect(view.get_by_role("button", name=f"Snapshot of prebuild {prebuild}")).to_be_visible()
    form(page, "Degrade…").get_by_role("button", name="Degrade the warm pool").click()
    expect(view).to_contain_text("DEGRADED")
    form(page, "Recover…").get_by_role("button", name="Let the warm pool recover").click()
    expect(view).to_contain_text("READY")
    dialog = form(page, "Resize…")
    dialog.get_by_label("Maximum size").fill("5")
    dialog.get_by_role("button", name="Resize the warm pool").click()
    expect(view).to_contain_text("1 running, 4 stopped")


def test_the_code_does_the_same_as_the_button_whatever_the_text(page: Page, emulator: Driver, tmp_path: Path):
    choose(page, "Arrange")
    dialog = form(page, "Plan an outcome…")
    dialog.get_by_label("Fails in").select_option("RUNNING")
    dialog.get_by_label("Failure message").fill(NASTY)
    dialog.get_by_label("Project").fill(PROJECT)
    dialog.get_by_label("For how many").fill("2")
    curl, python = code(dialog, "curl"), code(dialog, "Python")
    assert "\u202e" not in curl + python  # it would show the code in another order
    dialog.get_by_role("button", name="Plan an outcome").click()
    expect(dialog).to_have_count(0)
    run_python(python, tmp_path)
    if shutil.which("curl"):
        run_shell(curl, tmp_path)
    planned = emulator.control.outcomes()
    assert len(planned) == 2 + bool(shutil.which("curl"))
    assert {(each.outcome.message, each.project_id, each.times) for each in planned} == {
        (planned[0].outcome.message, PROJECT, 2)
    }
    assert planned[0].outcome.message == NASTY.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_code_of_every_form_is_python_that_runs(page: Page, emulator: Driver, tmp_path: Path):
    emulator.create()
    choose(page, "Arrange")
    kinds = ("error", "status", "html", "drop", "latency", "truncate", "slow", "repeat_token")
    programs: list[str] = []
    for kind in kinds:
        dialog = form(page, "Plan a fault…")
        dialog.get_by_label("Fault").select_option(kind)
        programs.append(code(dialog, "Python"))
        page.keyboard.press("Escape")
    dialog = form(page, "Declare a project…")
    dialog.get_by_label("Project").fill(PROJECT)
    dialog.get_by_label("Prebuild classes").fill(ENVIRONMENT_CLASS)
    dialog.get_by_label("Daily at").fill("4")
    programs.append(code(dialog, "Python"))
    page.keyboard.press("Escape")
    for button in ("Change…", "Save…", "Move to…", "Speed…", "Advance…"):
        programs.append(code(form(page, button), "Python"))
        page.keyboard.press("Escape")
    run_python("\n\n".join(programs), tmp_path)
    assert [each.fault.kind for each in emulator.control.faults()] == list(kinds)
    (project,) = emulator.control.projects()
    assert project.prebuilds is not None
    assert project.prebuilds.environment_class_ids == (ENVIRONMENT_CLASS,)
    assert json.loads((tmp_path / "emulator-state.json").read_text())["format"] == "prebuilds-emulator-state"


def test_the_state_is_saved_and_loaded(page: Page, emulator: Driver, tmp_path: Path):
    prebuild = emulator.create()
    choose(page, "Arrange")
    dialog = form(page, "Save…")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Save the state").click()
    download.value.save_as(tmp_path / "state.json")
    emulator.control.reset()
    dialog = form(page, "Load…")
    dialog.get_by_label("File").set_input_files(tmp_path / "state.json")
    dialog.get_by_role("button", name="Load the state").click()
    expect(dialog).to_have_count(0)
    assert [each["id"] for each in emulator.prebuilds()] == [prebuild]


def test_ten_thousand_prebuilds_stay_usable(page: Page, emulator: Driver):
    emulator.control.plan_outcome(Outcome(fails_in="RUNNING", message="needle"))
    needle = emulator.create()
    emulator.create()
    state = emulator.control.dump_state()
    records = [item["record"] for item in state["prebuilds"]]
    usual = next(record for record in records if record["id"] != needle)
    found = next(record for record in records if record["id"] == needle)
    copies = [{**usual, "id": str(uuid.uuid4()), "environment_id": str(uuid.uuid4())} for _ in range(9_999)]
    copies.insert(5_000, found)
    state["prebuilds"] = [{"sequence": at, "record": record} for at, record in enumerate(copies, 1)]
    state["counters"]["prebuilds"] = len(copies)
    emulator.control.load_state(state)
    view = choose(page, "Prebuilds")
    expect(view.get_by_role("button", name="All 10000")).to_be_visible(timeout=30_000)
    assert rows(view).count() < 60
    emulator.control.resume(1)
    frames = page.evaluate(
        "() => new Promise((done) => { let n = 0; const end = performance.now() + 1000;"
        " const next = () => performance.now() < end ? (n += 1, requestAnimationFrame(next)) : done(n); next(); })"
    )
    assert frames > 10  # frames in a second, on a machine that has other things to do
    page.keyboard.press("/")
    page.keyboard.type("needle")
    emulator.control.advance(300)
    expect(rows(view)).to_have_count(1)
    expect(rows(view)).to_contain_text(needle[:8])
    view.get_by_label("Search prebuilds").fill("")
    listbox = view.get_by_role("listbox")
    listbox.focus()
    page.keyboard.press("End")
    expect(view.locator("[role=option][aria-selected=true]")).to_have_attribute("aria-posinset", "10000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(listbox).to_be_focused()


def test_every_view_fits_a_small_screen_and_has_names(page: Page, emulator: Driver):
    emulator.create()
    emulator.create_pool(minSize=1, maxSize=20)
    emulator.control.declare_project(PROJECT)
    page.set_viewport_size({"width": 360, "height": 640})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for view in ("prebuilds", "pools", "requests", "arrange"):
            page.goto(f"{emulator.url}/#{view}")
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            nameless = page.evaluate(
                "() => [...document.querySelectorAll('button, input, select, a, [role=listbox], dialog')]"
                ".filter((one) => one.checkVisibility() && !(one.textContent.trim() || one.getAttribute('aria-label')"
                " || one.labels?.length)).map((one) => one.outerHTML)"
            )
            assert nameless == []


def test_a_control_token_is_asked_for_and_never_shown(browser: Browser):
    with EmulatorServer(clock=ManualClock(), options=Options(control_token="confidential")) as server:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(server.url)
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Control token").fill("confidential")
            dialog.get_by_role("button", name="Unlock").click()
            expect(page.locator("#connection")).to_have_text("live")
            page.get_by_role("button", name="+1 h").click()
            expect(page.locator("#clock time")).to_have_text("2030-01-01 01:00:00")
            page.locator("footer summary").click()
            text = page.locator("body").text_content() or ""
            assert "$PREBUILDS_CONTROL_TOKEN" in text
            assert "confidential" not in text
        with EmulatorControl(server.url, token="confidential") as control:
            assert control.clock().now.hour == 1


def test_the_page_comes_back_with_the_server(browser: Browser):
    with browser.new_context() as context:
        page = context.new_page()
        with EmulatorServer(clock=ManualClock()) as server:
            driver = Driver(server, ManualClock())
            driver.create()
            visit(page, server.url)
            expect(rows(page)).to_have_count(1)
            port = int(server.url.rpartition(":")[2])
            driver.close()
        expect(page.locator("#connection")).to_have_text("connection lost")
        with EmulatorServer(clock=ManualClock(), port=port):
            expect(page.locator("#connection")).to_have_text("live")
            expect(rows(page)).to_have_count(0)
