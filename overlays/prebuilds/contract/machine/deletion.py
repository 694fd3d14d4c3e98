"""Deletion of prebuilds and pools: it takes effect, is repeatable, and holds for all methods."""

from __future__ import annotations

from prebuilds.contract.checks import may_refuse_deletion
from prebuilds.contract.machine.model import Made, is_at_rest, is_leaving
from prebuilds.contract.machine.world import DELETE, ITEM, World
from prebuilds.contract.methods import ID_FIELD
from prebuilds.contract.observations import desired_phase_of, phase_of


class Deletion:
    """The deletions of a run, and their expected results.

    Args:
        world: the run.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def delete(self, made: Made, *, beside: int = 2) -> None:
        """Delete a resource, possibly again, and check that the deletion takes effect.

        Args:
            made: the resource.
            beside: the number of other resources to check, which must stay unchanged. This gives the deletion time.
        """
        world, method = self.world, DELETE[made.kind]
        world.look(made)
        if made.lost:
            return
        before = phase_of(made.seen)
        others = [] if made.deleting else world.others(made, beside)
        answer = world.call_with_id(method, made)
        if made.gone:
            why = f"{made.name} is gone, and {method} is {answer.outcome}, not not_found"
            world.judge("gone-is-gone", method, answer.ok or answer.code == "not_found", why, made)
        elif made.deleting:
            why = f"{method} of {made.name} a second time is {answer.outcome}"
            # ASSUMPTION: that it succeeds while DELETING is a property of its own.
            right = answer.ok or answer.code in ("not_found", "failed_precondition")
            world.judge("repeated-delete", method, right, why, made)
            if world.look(made) and before == "DELETING" and phase_of(made.seen) == "DELETING":
                world.judge("delete-again-succeeds", method, answer.ok, why, made)
        elif may_refuse_deletion(world.session, answer, made.seen):
            pass
        elif not answer.ok:
            why = f"{method} of {made.name}, which is {before}, has to succeed, and is {answer.outcome}"
            world.broken("delete-takes-effect", method, why, made)
        else:
            made.deleting = True
            self._see_leaving(made)
        world.check_others(method, made, others)

    def _see_leaving(self, made: Made) -> None:
        """A deleted resource shows its deletion, once it has no work left."""
        world, method = self.world, DELETE[made.kind]
        if world.look(made) and made.kind == "pool":
            why = f"{made.name} was deleted, and its desired phase is {desired_phase_of(made.seen) or 'none'}"
            world.judge("delete-is-wanted", method, desired_phase_of(made.seen) == "DELETED", why, made)
        if not is_away(made) and is_at_rest(made, made.seen):
            world.wait_for(made, lambda: is_away(made) or not is_at_rest(made, made.seen))
        if is_away(made):
            world.kept("delete-takes-effect", method)

    def see_gone(self, made: Made, *, most: int = 0) -> bool:
        """Delete a thing if it is there, wait until it is gone, and see that no method finds it; False if it stays.

        Args:
            made: the thing.
            most: how many times to look for it at most, 0 for any number.
        """
        world = self.world
        if made.there:
            self.delete(made)
        if made.lost or not (made.gone or world.wait_for(made, lambda: made.gone or made.lost, most=most)):
            return False
        for method, name in ID_FIELD.items():
            if made.gone and name == f"{ITEM[made.kind]}Id":
                answer = world.call_with_id(method, made)
                why = f"{made.name} is gone, and {method} is {answer.outcome}, not not_found"
                # To delete it once more may succeed as well.
                right = answer.code == "not_found" or (answer.ok and method == DELETE[made.kind])
                world.judge("gone-is-gone", method, right, why, made)
        return made.gone


def is_away(made: Made) -> bool:
    """Whether a thing is gone, or is seen to be on its way."""
    return made.gone or is_leaving(made.seen)
