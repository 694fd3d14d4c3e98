"""Prebuilds: they are created, cancelled, followed to their end, and their logs opened."""

from __future__ import annotations

from prebuilds.contract.machine.model import CANCELLING, UNDER_WAY, Json, Made, misplaced, seconds
from prebuilds.contract.machine.world import World, has_ended, item_of
from prebuilds.contract.observations import ENDED, LEAVING, desired_phase_of, phase_of
from prebuilds.contract.wire import at

MANUAL = "PREBUILD_TRIGGER_MANUAL"
SCHEDULED = "PREBUILD_TRIGGER_SCHEDULED"


class Prebuilds:
    """The actions on prebuilds in a run, and their expected results.

    Args:
        world: the run.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def create(self, place: int, *, named: bool = True, timeout: str | None = None) -> Made | None:
        """Create a prebuild, and check that it matches the request.

        Args:
            place: the place in the run.
            named: whether to name the environment class.
            timeout: the requested timeout.
        """
        world, method = self.world, "CreatePrebuild"
        found = world.place(place)
        if found is None:
            return None
        project, environment_class = found
        fields: Json = {"projectId": project, "spec": {} if timeout is None else {"timeout": timeout}}
        if named and environment_class:
            fields["environmentClassId"] = environment_class
        answer = world.call(method, fields)
        made = world.register(answer, "prebuild", (project, fields.get("environmentClassId", "")))
        if made is None:
            world.refused(answer, found)
            return None
        wrong = misplaced(made)
        told = at(made.seen, "spec.timeout")
        if timeout is not None and seconds(told) != seconds(timeout):
            wrong.append(f"a timeout of {timeout} and got {told}")
        world.judge("echo", method, not wrong, f"{method} asked for {' and '.join(wrong)}", made)
        if timeout is None and told is not None:
            why = f"{method} named no timeout and got {told}"
            world.judge("default-timeout", method, seconds(told) == 3600, why, made)
        if "environmentClassId" not in fields:
            usual = str(at(made.seen, "metadata.environmentClassId") or "").lower()
            known = world.search.classes.setdefault(project, usual)
            why = f"{method} named no environment class and got {usual or 'none'}, and {known} before"
            world.judge("default-class", method, bool(usual) and usual == known, why, made)
        self._check_caller(made)
        world.look(made)
        return made

    def _check_caller(self, made: Made) -> None:
        world, method = self.world, "CreatePrebuild"
        trigger, creator = at(made.seen, "metadata.triggeredBy"), at(made.seen, "metadata.creator.id")
        if trigger in (MANUAL, SCHEDULED):
            why = f"{method} was called, and triggeredBy is {trigger}"
            world.judge("made-by-caller", method, trigger == MANUAL, why, made)
        if isinstance(creator, str) and creator:
            caller = world.search.caller = world.search.caller or creator
            why = f"one caller made prebuilds of the creators {caller} and {creator}"
            world.judge("made-by-caller", method, creator == caller, why, made)

    def cancel(self, prebuild: Made) -> None:
        """Cancel a prebuild, and check the effect for its current phase."""
        world, method = self.world, "CancelPrebuild"
        others = [] if prebuild.deleting else world.others(prebuild, 2)
        if not world.look(prebuild) and not prebuild.gone:
            return
        before, version = phase_of(prebuild.seen), at(prebuild.seen, "spec.specVersion")
        answer = world.call_with_id(method, prebuild)
        world.check_others(method, prebuild, others)
        if prebuild.gone:
            why = f"{prebuild.name} is gone, and {method} is {answer.outcome}, not not_found"
            world.judge("gone-is-gone", method, answer.code == "not_found", why, prebuild)
            return
        asked = f"{method} of a prebuild that was {before}"
        shown = item_of(answer, "prebuild")
        if answer.ok and not world.check_id(method, prebuild, answer):
            shown = prebuild.seen
        under_way = before in UNDER_WAY and not prebuild.deleting
        if under_way and answer.ok:
            prebuild.cancelled = phase_of(shown) not in ENDED - {"CANCELLED"}
            if prebuild.cancelled:
                self._see_cancelled(prebuild, asked, shown)
            return
        shown_again = world.look(prebuild)
        after = phase_of(prebuild.seen)
        if under_way:
            # It may have come to its end at that moment.
            if after in UNDER_WAY and prebuild.there:
                why = f"{asked}, and still is {after}, has to succeed, and is {answer.outcome}"
                world.broken("cancel-takes-effect", method, why, prebuild)
        elif prebuild.deleting or before in LEAVING:
            if after == "DELETING" and shown_again:
                why = f"{asked} has to be failed_precondition, and is {answer.outcome}"
                world.judge("cancel-rules", method, answer.code == "failed_precondition", why, prebuild)
        elif before in CANCELLING and desired_phase_of(prebuild.seen) != "DELETED":
            same = at(prebuild.seen, "spec.specVersion") == version
            why = f"{asked} has to succeed and change nothing, and is {answer.outcome}"
            world.judge("repeated-cancel", method, answer.ok and same, why, prebuild)
        elif before in ENDED:
            why = f"{asked} has to be failed_precondition, and is {answer.outcome}"
            world.judge("cancel-rules", method, answer.code == "failed_precondition", why, prebuild)

    def _see_cancelled(self, prebuild: Made, asked: str, shown: Json) -> None:
        """A prebuild that was cancelled stops."""
        world, name, method = self.world, "cancel-takes-effect", "CancelPrebuild"
        desired = desired_phase_of(shown)
        why = f"{asked} has to give it the desiredPhase CANCELLED, and gave it {desired}"
        world.judge("cancel-rules", method, desired == "CANCELLED" or phase_of(shown) == "FAILED", why, prebuild)
        begun = world.session.now()
        while True:
            world.look(prebuild)
            phase = phase_of(prebuild.seen)
            if phase not in UNDER_WAY or not prebuild.there:
                if phase in (CANCELLING | {"FAILED"}):
                    world.kept(name, method)
                return
            if world.session.now() - begun > world.grace(name, method):
                world.broken(name, method, f"{asked} succeeded, and still it is {phase}", prebuild)
                return
            if not world.wait(0.05, doubt=True):
                return

    def create_logs_token(self, prebuild: Made) -> None:
        """Request the token of a log. A deleted prebuild has no log."""
        world, method = self.world, "CreatePrebuildLogsToken"
        world.look(prebuild)
        if prebuild.lost:
            return
        answer = world.call_with_id(method, prebuild)
        if prebuild.gone:
            why = f"{prebuild.name} is gone, and {method} is {answer.outcome}, not not_found"
            world.judge("gone-is-gone", method, answer.code == "not_found", why, prebuild)

    def see_through(self, prebuild: Made) -> bool:
        """Follow a prebuild to its end, and return whether it has completed."""
        self.world.wait_for(prebuild, lambda: has_ended(prebuild) or not prebuild.there)
        return phase_of(prebuild.seen) == "COMPLETED"
