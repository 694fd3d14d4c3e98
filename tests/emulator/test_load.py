"""The emulator with many callers at once, some of them rude."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prebuild_wire import OPERATIONS

from .program import PATIENCE, SOON, launch, post, stop

ROOT = Path(__file__).parents[2]


def resident_kilobytes(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.campaign(quick=2, full=60)
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read from /proc")
def test_64_connections_get_no_fault_and_leave_nothing_behind(tmp_path, size):
    # A prebuild takes a tenth of a second, and is gone soon after it was deleted.
    program = launch(tmp_path / "data", speed=3000)

    def call_it(seconds):
        # At least so many calls that each method is among them.
        command = [sys.executable, "-m", "tests.emulator.load", program.url, str(seconds), "1000"]
        found = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=size + PATIENCE)
        return json.loads(found.stdout)

    call_it(size / 2)  # until the caches are full
    warm = resident_kilobytes(program.process)
    levels = []
    result = {}
    thread = threading.Thread(target=lambda: result.update(call_it(size)))
    thread.start()
    while thread.is_alive():
        levels.append(resident_kilobytes(program.process))
        thread.join(0.2)
    assert result["faults"] == []
    outcomes = result["outcomes"]
    answered = {name.split()[0] for name in outcomes if name.endswith(" 200")}
    assert answered >= {*OPERATIONS, "log"}
    assert outcomes["vanished"] > 0
    # Over the last fifth, as it goes up and down.
    level = sum(levels[-len(levels) // 5 :]) / len(levels[-len(levels) // 5 :])
    print(f"{sum(outcomes.values()) / size:.0f} calls a second; {warm} kB when warm, {level:.0f} kB at the end")
    assert level < warm * (1.1 if size > 30 else 1.5), f"{warm} kB became {level:.0f} kB"
    assert post(program.url, "ListPrebuilds", {})
    ended = stop(program)
    assert ended.code == 0
    assert ended.seconds < SOON
    assert "Traceback" not in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
