"""How many calls the emulator answers, against a bare application that answers the same bytes."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .measure import Row, medians
from .servers import Callers, bare, emulator, post

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
ITEMS = 100
CALLS = 200
ROUNDS = 25


def answering() -> list[Row]:
    """Calls per second on eight connections, with a durable file, as the ratio of their reciprocals."""
    with tempfile.TemporaryDirectory() as folder, emulator(Path(folder, "data"), speed=6000) as port:
        create = {"projectId": PROJECT, "spec": {}}
        for _ in range(ITEMS):
            created = json.loads(post(port, "CreatePrebuild", create))["prebuild"]["id"]
        time.sleep(0.1)  # ten minutes of the emulator: they have all completed
        calls: list[tuple[str, object, float]] = [
            ("GetPrebuild", {"prebuildId": created}, 0.5),
            ("ListPrebuilds", {"pagination": {"pageSize": ITEMS}}, 0.3),
            ("CreatePrebuild", create, 0.2),
        ]
        return [_row(port, method, body, share) for method, body, share in calls]


def _row(port: int, method: str, body: object, share: float) -> Row:
    content = post(port, method, body)
    sent = [json.dumps(body).encode()] * CALLS
    bodies: Callable[[], list[bytes]] = lambda: sent  # noqa: E731  named for its type
    with bare(content) as bare_port, Callers(port) as ours, Callers(bare_port) as theirs:
        seconds, yardstick = medians(ours.timed(method, bodies), theirs.timed(method, bodies), rounds=ROUNDS, warm_up=3)
    return Row(
        f"{method}, {len(content) / 1000:.1f} kB",
        seconds,
        "bare Starlette",
        yardstick,
        target=1 / share,
        note=f"at least {share}x its calls a second: {yardstick / seconds:.2f}x",
    )
