"""Warm pools: one for each project and class, resized within their bounds, with the snapshot of the latest prebuild."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from prebuilds.contract import schema
from prebuilds.contract.machine.model import Json, Made, bounds, fits, misplaced, new_bounds
from prebuilds.contract.machine.world import UNUSABLE, Skip, World, item_of
from prebuilds.contract.observations import desired_phase_of, phase_of
from prebuilds.contract.wire import Answer, at

Size = int | Literal["stored-min", "stored-max", "below-stored-min", "above-stored-max"]
"""A size to request: a number, or a value relative to the current pool."""


class Pools:
    """The actions on warm pools in a run, and their expected results.

    Args:
        world: the run.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def at(self, place: int) -> Made | None:
        """The pool of a place; if there is none, create it."""
        places = self.world.places
        if not places:
            return None
        here = next((pool for pool in self.world.there("pool") if pool.place == places[place % len(places)]), None)
        return here or self.create(place, schema.pool_sizes().least)

    def create(self, place: int, sizes: Mapping[str, int]) -> Made | None:
        """Ask for a pool, and see that it is made if its place is free and its sizes are right, and only then."""
        world, method = self.world, "CreateWarmPool"
        found = world.place(place)
        environment_class = "" if found is None else found[1] or world.search.classes.get(found[0], "")
        if found is None or not environment_class:
            return None
        former = [pool for pool in world.of("pool") if pool.place == found and not pool.lost]
        for pool in former:
            if not pool.gone:
                world.look(pool)
        holder = next((pool for pool in former if _holds_its_place(pool)), None)
        wanted = new_bounds(sizes)
        fields = {"projectId": found[0], "environmentClassId": environment_class, **sizes}
        try:
            answer = world.call(method, fields)
        except Skip:
            world.give_up(found)  # nobody knows whether there is one now
            raise
        if wanted is None:
            # A server may look at the place first.
            ok = not answer.ok and (answer.code == "invalid_argument" or bool(former) or answer.code in UNUSABLE)
            why = f"{method} with {dict(sizes)} has to be invalid_argument, and is {answer.outcome}"
            world.register(answer, "pool", found)
            world.judge("min-at-most-max", method, ok, why)
            return None
        if answer.ok:
            return self._check_new(answer, sizes, wanted, holder, former, found)
        if holder is not None:
            why = f"{method} while {holder.name} has the place has to be already_exists, and is {answer.outcome}"
            world.judge("pool-is-unique", method, answer.code == "already_exists", why, holder)
        elif answer.code == "already_exists" and former:
            return self._wait_for_place(fields, former, found)
        elif answer.code == "already_exists":
            self._check_taken(answer, found)
        else:
            world.refused(answer, found)
        return None

    def _check_taken(self, answer: Answer, place: tuple[str, str]) -> None:
        """A place that the run has not used may be taken by somebody else, but not where nobody else can be."""
        self.world.give_up(place)
        if self.world.session.is_open:
            why = f"CreateWarmPool for a project and class that have no pool is {answer.outcome}"
            beside = [
                pool for pool in self.world.there("pool") if pool.place[0] == place[0] or pool.place[1] == place[1]
            ]
            self.world.broken("pool-is-unique", "CreateWarmPool", why, *beside)

    def _check_new(
        self,
        answer: Answer,
        sizes: Mapping[str, int],
        wanted: tuple[int | None, int | None],
        holder: Made | None,
        former: list[Made],
        place: tuple[str, str],
    ) -> Made | None:
        world, method = self.world, "CreateWarmPool"
        made = world.register(answer, "pool", place)
        if made is None:
            return None
        made.bounds = wanted
        if holder is not None:
            if not holder.there:
                world.look(holder)
            holder.lost = _holds_its_place(holder)
            why = f"{method} made {made.name} beside {holder.name}, which is {phase_of(holder.seen)}"
            world.judge("pool-is-unique", method, not holder.lost, why, holder, made)
        elif former:
            world.kept("pool-is-free-again", method)
        wrong = misplaced(made)
        shown = bounds(made.seen)
        if not fits(shown, (sizes.get("minSize"), sizes.get("maxSize"))):
            wrong.append(f"{dict(sizes)} and got minSize {shown[0]}, maxSize {shown[1]}")
        world.judge("echo", method, not wrong, f"{method} asked for {' and '.join(wrong)}", made)
        came = f"made a pool with minSize {shown[0]} and maxSize {shown[1]}"
        if "desiredSize" in sizes:
            why = f"{method} with {dict(sizes)} {came}"
            world.judge("desired-size-sets-both", method, fits(shown, wanted), why, made)
        if not sizes:
            why = f"{method} without a size {came}"
            world.judge("default-pool-size", method, shown == (1, 1), why, made)
        world.look(made)
        if world.session.is_open and not any(other.place[0] == place[0] for other in world.of("prebuild")):
            early = at(made.seen, "spec.snapshotId")
            why = f"{made.name} has the snapshot {early}, and there was no prebuild in its project"
            world.judge("snapshot-needs-a-prebuild", "GetWarmPool", not early, why, made)
        return made

    def _wait_for_place(self, fields: Json, former: list[Made], place: tuple[str, str]) -> Made | None:
        """A pool can be made again once the former one is gone, be it a moment later."""
        world, name, method = self.world, "pool-is-free-again", "CreateWarmPool"
        begun = world.session.now()
        while world.wait(0.1, doubt=all(pool.gone for pool in former)):
            answer = world.call(method, fields)
            if answer.ok:
                world.kept(name, method)
                made = world.register(answer, "pool", place)
                if made is not None:
                    world.look(made)
                return made
            if world.session.now() - begun > world.grace(name, method):
                if all(pool.gone for pool in former):
                    why = f"{method} is {answer.outcome}, although {former[-1].name}, which had the place, is gone"
                    world.broken(name, method, why, *former)
                break
        return None

    def update(self, pool: Made, sizes: Mapping[str, Size]) -> None:
        """Resize a pool, and check that only the named sizes changed."""
        world, method = self.world, "UpdateWarmPool"
        world.look(pool)
        stored, seen = pool.bounds, pool.seen
        if pool.lost or (not pool.gone and None in stored):
            return
        asked_for = {name: _number(name, size, stored) for name, size in sizes.items()}
        others = [] if pool.deleting else world.others(pool, 2)
        answer = world.call_with_id(method, pool, asked_for)
        world.check_others(method, pool, others)
        wanted = new_bounds(asked_for, stored)
        if pool.gone:
            if new_bounds(asked_for) is not None:
                why = f"{pool.name} is gone, and {method} is {answer.outcome}, not not_found"
                world.judge("gone-is-gone", method, answer.code == "not_found", why, pool)
            return
        if pool.deleting:
            if answer.ok:
                pool.bounds = (None, None)
            if world.look(pool) and phase_of(pool.seen) == "DELETING" and wanted is not None:
                why = f"{method} of a pool that is DELETING has to be failed_precondition, and is {answer.outcome}"
                world.judge("update-while-deleting", method, answer.code == "failed_precondition", why, pool)
            return
        asked = f"{method} with {asked_for} of a pool with minSize {stored[0]} and maxSize {stored[1]}"
        if wanted is None:
            name = "min-at-most-max" if len(asked_for) == 2 else "update-checks-stored-bounds"
            if answer.ok:
                pool.bounds = (None, None)
            why = f"{asked} has to be invalid_argument, and is {answer.outcome}"
            world.judge(name, method, answer.code == "invalid_argument", why, pool)
            if answer.ok:
                world.look(pool)
                return
        elif answer.ok:
            self._check_update(pool, seen, answer, asked_for, wanted, asked)
            return
        elif asked_for:
            why = f"{asked} has to succeed, and is {answer.outcome}"
            world.broken("inside-bounds-is-accepted", method, why, pool)
        else:
            world.broken("empty-update", method, f"{asked} has to succeed, and is {answer.outcome}", pool)
        self._see_unchanged(pool, stored, asked)

    def _see_unchanged(self, pool: Made, stored: tuple[int | None, int | None], asked: str) -> None:
        """A rejected request has changed nothing."""
        pool.bounds = (None, None)
        self.world.look(pool)
        if pool.there:
            why = f"{asked} was refused, and now it has minSize {pool.bounds[0]} and maxSize {pool.bounds[1]}"
            self.world.judge("refused-changes-nothing", "UpdateWarmPool", pool.bounds == stored, why, pool)

    def _check_update(
        self,
        pool: Made,
        seen: Json,
        answer: Answer,
        sizes: Mapping[str, int],
        wanted: tuple[int | None, int | None],
        asked: str,
    ) -> None:
        """An update has changed the requested fields, and nothing else."""
        world, method, changes = self.world, "UpdateWarmPool", "update-changes-what-is-named"
        pool.bounds = wanted
        if not world.check_id(method, pool, answer):
            return
        shown = item_of(answer, "pool")
        now = bounds(shown)
        why = f"{asked} has to come to minSize {wanted[0]} and maxSize {wanted[1]}, and came to {now[0]} and {now[1]}"
        low, high = sizes.get("minSize"), sizes.get("maxSize")
        world.judge("echo", method, fits(now, (low, high)), why, pool)
        if "desiredSize" in sizes:
            world.judge("desired-size-sets-both", method, fits(now, wanted), why, pool)
        else:
            rest = (wanted[0] if low is None else None, wanted[1] if high is None else None)
            world.judge(changes, method, fits(now, rest), why, pool)
        if not sizes:
            world.judge("empty-update", method, fits(now, wanted), why, pool)
        was, desired = desired_phase_of(seen), desired_phase_of(shown)
        lost = at(seen, "spec.snapshotId") and not at(shown, "spec.snapshotId")
        if desired != was and desired == "DELETED":
            world.broken(changes, method, f"{asked} changed its desiredPhase from {was} to {desired}", pool)
        elif lost and not any(prebuild.deleting for prebuild in world.of("prebuild")):
            world.broken(changes, method, f"{asked} took its snapshotId away", pool)
        world.look(pool)

    def see_snapshot(self, pool: Made, earlier: str, prebuild: Made) -> None:
        """A pool starts from a completed prebuild of its project and class."""
        world, name, method = self.world, "snapshot-rotates", "GetWarmPool"
        begun = world.session.now()
        while True:
            world.look(pool)
            if not pool.there or phase_of(pool.seen) == "DEGRADED":
                return
            now = at(pool.seen, "spec.snapshotId") or ""
            if now and now != earlier:
                world.kept(name, method)
                return
            if world.session.now() - begun > world.grace(name, method):
                why = f"{pool.name} has the snapshot {now or 'none'}, as before {prebuild.name} was COMPLETED"
                world.broken(name, method, why, pool)
                return
            if not world.wait(0.05, doubt=True):
                return


def _holds_its_place(pool: Made) -> bool:
    return pool.there or not (pool.gone or pool.lost or phase_of(pool.seen) == "DELETED")


def _number(name: str, size: Size, stored: tuple[int | None, int | None]) -> int:
    """The number that is meant, within the bounds of its field."""
    low, high = stored[0] or 0, stored[1] or 1
    relative = {"stored-min": low, "stored-max": high, "below-stored-min": low - 1, "above-stored-max": high + 1}
    number = size if isinstance(size, int) else relative[size]
    of = schema.pool_sizes()
    return min(max(number, of.min_low if name == "minSize" else of.max_low), of.top)
