"""How long a filtered page takes from a million prebuilds, against ten thousand."""

import json
import random
import sqlite3
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prebuild_wire.enums import PrebuildPhase, PrebuildTrigger
from prebuilds.emulator import Plan
from prebuilds.emulator.lifecycle import PrebuildRecord, Step, SubjectRecord, cancel, prebuild_timeline, take_step
from prebuilds.emulator.store import Store

from .measure import Row, medians
from .servers import Callers, emulator, post

FEW = 10_000
COPIES = 100
CALLS = 20
ROUNDS = 11

CHANCE = random.Random(7)
ENDED = ["PREBUILD_PHASE_FAILED", "PREBUILD_PHASE_CANCELLED"]


def some_ids(count: int) -> list[str]:
    return [str(uuid.UUID(int=CHANCE.getrandbits(128), version=4)) for _ in range(count)]


PROJECTS, CREATORS, EXECUTORS = some_ids(1000), some_ids(200), some_ids(50)

FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "1 project": {"projectIds": PROJECTS[:1]},
    "25 projects": {"projectIds": PROJECTS[:25]},
    "2 phases": {"phases": ENDED},
    "scheduled": {"triggeredBy": ["PREBUILD_TRIGGER_SCHEDULED"]},
    "25 creators": {"creatorIds": CREATORS[:25]},
    "25 executors": {"executorIds": EXECUTORS[:25]},
    "1 project, 2 phases": {"projectIds": PROJECTS[:1], "phases": ENDED},
    "25 projects, 2 phases": {"projectIds": PROJECTS[:25], "phases": ENDED},
    "1 creator, 1 executor": {"creatorIds": CREATORS[:1], "executorIds": EXECUTORS[:1]},
    "5 projects, 5 creators": {"projectIds": PROJECTS[:5], "creatorIds": CREATORS[:5]},
    "25 projects, 25 creators, scheduled": {
        "projectIds": PROJECTS[:25],
        "creatorIds": CREATORS[:25],
        "triggeredBy": ["PREBUILD_TRIGGER_SCHEDULED"],
    },
}


def listing() -> list[Row]:
    """The first page and one from the middle, for each kind of filter."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        _fill(few)
        many.write_bytes(few.read_bytes())
        _multiply(many)
        # So slow that time stands still.
        with emulator(many, speed=0.001) as many_port, emulator(few, speed=0.001) as few_port:
            return [
                _row(f"{name}, {where}", wanted, where == "from the middle", many_port, few_port)
                for name, wanted in FILTERS.items()
                for where in ("first page", "from the middle")
            ]


def _row(what: str, wanted: dict[str, Any], deep: bool, many_port: int, few_port: int) -> Row:
    sides = []
    for port in (many_port, few_port):
        body: dict[str, Any] = {"filter": wanted}
        if deep and (token := _middle(port, wanted)):
            body["pagination"] = {"token": token}
        sent = [json.dumps(body).encode()] * CALLS
        sides.append(Callers(port, 1).timed("ListPrebuilds", lambda sent=sent: sent))
    many, few = medians(*sides, rounds=ROUNDS, warm_up=1)
    return Row(what, many, f"of {FEW}", few, target=2, note=f"of {FEW * COPIES}, at most 2x")


def _middle(port: int, wanted: dict[str, Any]) -> str:
    """A token for a page that is not among the newest. To page through half a million would take too long."""
    token = ""
    for _ in range(20):
        page = json.loads(
            post(port, "ListPrebuilds", {"filter": wanted, "pagination": {"pageSize": 100, "token": token}})
        )
        following = page.get("pagination", {}).get("nextToken", "")
        if not following:
            break
        token = following
    return token


def _fill(path: Path) -> None:
    """Ten thousand prebuilds in all phases, by the store's own means."""
    store = Store(path)
    start = datetime(2040, 1, 1, tzinfo=UTC)
    plan = Plan()
    with store.transaction(start + timedelta(days=1)) as transaction:
        for number in range(FEW):
            # Some have just begun, most have long completed.
            created = start + (timedelta(days=1, seconds=number / 100 - 400) if number % 10 == 0 else timedelta())
            scheduled = CHANCE.random() < 0.3
            record = PrebuildRecord(
                id=str(uuid.uuid4()),
                organization_id=PROJECTS[0],
                project_id=CHANCE.choice(PROJECTS),
                environment_class_id=PROJECTS[0],
                environment_id=str(uuid.uuid4()),
                creator=SubjectRecord(CHANCE.choice(CREATORS)),
                executor=SubjectRecord(CHANCE.choice(EXECUTORS)) if scheduled else None,
                triggered_by=PrebuildTrigger.SCHEDULED if scheduled else PrebuildTrigger.MANUAL,
                created_at=created,
                updated_at=created,
                timeout="3600s",
                taken=(Step(created, PrebuildPhase.PENDING),),
                timeline=prebuild_timeline(created, timedelta(seconds=200 if number % 7 == 0 else 3600), plan),
            )
            if number % 25 == 0:
                record = cancel(record, created, plan)
            while record.timeline and record.timeline[0].due <= start + timedelta(days=1):
                record = take_step(record) or record
            transaction.add_prebuild(record)
    store.close()


def _multiply(path: Path) -> None:
    """Let each prebuild be there a hundred times, with an id of its own: copied as rows, and indexed at the end."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -200000")
    connection.execute("BEGIN")
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    indexes = connection.execute(query).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(prebuilds)")]
    others = ", ".join(column for column in columns if column not in ("sequence", "id"))
    for copy in range(1, COPIES):
        new = f"substr(id, 1, 28) || printf('%08x', sequence + {copy * FEW})"
        connection.execute(
            f"INSERT INTO prebuilds (sequence, id, {others}) SELECT sequence + {copy * FEW}, {new}, {others}"
            f" FROM prebuilds WHERE sequence <= {FEW}"
        )
        connection.execute(
            f"INSERT INTO documents SELECT sequence + {copy * FEW}, replace(document, id, {new})"
            f" FROM documents JOIN prebuilds USING (sequence) WHERE sequence <= {FEW}"
        )
    for _, statement in indexes:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()
