"""The state machines: the actions to draw, in each area and in all areas together.

Hypothesis disables some rules of a machine in each run, and different rules in each run. The weight of an area is the
number of runs of its machine. Each draw has few values, because the combinations matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import ClassVar, Concatenate, Final, Literal, ParamSpec, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from prebuilds.contract import schema
from prebuilds.contract.machine.deletion import Deletion
from prebuilds.contract.machine.lists import Lists, Query, WrongToken
from prebuilds.contract.machine.model import Kind, Made
from prebuilds.contract.machine.pools import Pools, Size
from prebuilds.contract.machine.prebuilds import Prebuilds
from prebuilds.contract.machine.search import Broken, Enough, Search
from prebuilds.contract.machine.world import Skip, World, has_ended
from prebuilds.contract.wire import at

FollowUp = Literal["get", "list", "delete", "change", "change-all", "create", "logs"]
"""The action on a resource that is being deleted or cancelled."""

M = TypeVar("M", bound="Machine")
P = ParamSpec("P")

# Integers are small, as Hypothesis tries constants that it finds in loaded modules in place of larger ones, and which
# are loaded is not the seed's.
_WHICH = st.integers(0, 5)
_PLACE = st.integers(0, 5)
_KIND = st.sampled_from(("prebuild", "pool"))
_TIMEOUTS = st.sampled_from((None, *schema.timeouts()))

_SIZES: Final = schema.pool_sizes()
_MIN = st.one_of(
    st.sampled_from((_SIZES.min_low, _SIZES.near(1), _SIZES.near(2), _SIZES.top)),
    st.integers(_SIZES.min_low, _SIZES.top),
)
_MAX = st.one_of(
    st.sampled_from((_SIZES.max_low, _SIZES.near(2), _SIZES.near(3), _SIZES.top)),
    st.integers(_SIZES.max_low, _SIZES.top),
)
_RELATIVES: Final[tuple[Size, ...]] = ("stored-min", "stored-max", "below-stored-min", "above-stored-max")
_RELATIVE = st.sampled_from(_RELATIVES)


def _sizes(low: st.SearchStrategy[Size], high: st.SearchStrategy[Size]) -> st.SearchStrategy[dict[str, Size]]:
    """Sizes to request: every subset of the two bounds, or the deprecated size alone."""
    return st.one_of(
        st.fixed_dictionaries({"minSize": low, "maxSize": high}),
        st.fixed_dictionaries({"minSize": low}),
        st.fixed_dictionaries({"maxSize": high}),
        *([st.fixed_dictionaries({"desiredSize": high})] if _SIZES.desired else []),
        st.just(dict[str, Size]()),
    )


_NEW_SIZES = st.one_of(
    st.tuples(_MIN, _MAX).map(lambda two: {"minSize": min(two), "maxSize": max(two)}), _sizes(_MIN, _MAX)
)
_UPDATES = st.one_of(_sizes(_MIN, _MAX), _sizes(_RELATIVE, _RELATIVE))

_LARGEST_PAGE: Final = schema.max_page_size()

_PROJECTS = st.sampled_from(("0", "1", "01", "0?", "?", ""))
_CLASSES = st.sampled_from(("0", "2", "02", "?0", "?", ""))
_SUBJECTS = st.sampled_from(("caller", "?", "? caller", ""))
_PREBUILD_FIELDS: Mapping[str, st.SearchStrategy[str]] = {
    "projectIds": _PROJECTS,
    "phases": st.sampled_from(("of-one", "of-others", "of-two", "")),
    "triggeredBy": st.sampled_from(("MANUAL", "SCHEDULED", "SCHEDULED MANUAL", "")),
    "creatorIds": _SUBJECTS,
    "executorIds": _SUBJECTS,
}
_POOL_FIELDS: Mapping[str, st.SearchStrategy[str]] = {"projectIds": _PROJECTS, "environmentClassIds": _CLASSES}


def _queries(fields: Mapping[str, st.SearchStrategy[str]]) -> st.SearchStrategy[list[Query]]:
    """Lists to request: with each field of the filter alone, several fields together, and no filter."""
    alone = [st.fixed_dictionaries({name: values}) for name, values in fields.items()]
    together = [st.fixed_dictionaries({name: fields[name] for name in names}) for names in _pairs(tuple(fields))]
    with_project = {"projectIds": st.sampled_from(("0", "01"))}
    filters = st.one_of(
        st.one_of(*alone),
        st.one_of(*together),
        st.fixed_dictionaries(with_project),
        st.fixed_dictionaries(dict(fields)),
        st.just(dict[str, str]()),
    )
    sizes = st.sampled_from((None, 1, 2, 3, 0, 4, schema.max_page_size()))
    meddling = st.sampled_from(("", "", "create", "delete", "both"))
    return st.lists(st.builds(Query, filters, sizes, meddling), min_size=1, max_size=4)


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(one, other) for at_one, one in enumerate(names) for other in names[at_one + 1 :]]


_PREBUILD_QUERIES = _queries(_PREBUILD_FIELDS)
_POOL_QUERIES = _queries(_POOL_FIELDS)
_FOLLOW_UPS = st.lists(
    st.sampled_from(("get", "list", "delete", "change", "change-all", "create", "logs")), min_size=1, max_size=4
)


def step(function: Callable[Concatenate[M, P], None]) -> Callable[Concatenate[M, P], None]:
    """A rule that ends when the server cannot respond. Errors that Hypothesis must not handle end all machines."""

    @wraps(function)
    def run(machine: M, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(machine, *args, **kwargs)
        except Skip:
            return
        except Broken:
            raise
        except Exception as error:
            machine.search.error = error
            raise Enough from error

    return run


class Machine(RuleBasedStateMachine):
    """One run. Each rule creates its prerequisites, and checks its results."""

    search: ClassVar[Search]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.search)
        self.prebuilds = Prebuilds(self.world)
        self.pools = Pools(self.world)
        self.deletion = Deletion(self.world)
        self.lists = Lists(self.world, self.prebuilds, self.pools, self.deletion)
        self._turn = 0

    def teardown(self) -> None:
        """Delete the created resources."""
        self._close()

    @step
    def _close(self) -> None:
        self.world.close()

    @invariant()
    @step
    def nothing_changes_by_itself(self) -> None:
        """After each step, check one of the created resources, a different one each time."""
        self._turn += 1
        known = [made for made in self.world.made if not (made.gone or made.lost)]
        if known:
            self.world.look(known[self._turn % len(known)])

    def pick(self, kind: Kind, which: int) -> Made | None:
        """One of the created resources; if there is none, create it."""
        found = self.world.pick(kind, which)
        if found is None:
            found = self.pools.at(which) if kind == "pool" else self.prebuilds.create(which)
        return found

    def delete(self, kind: Kind, which: int, follow_ups: Sequence[FollowUp]) -> None:
        """Delete something that is there, and call other methods on it while it goes."""
        made = self.world.pick(kind, which, there=True) or self.pick(kind, which)
        if made is None:
            return
        self.deletion.delete(made, beside=0 if follow_ups[0] != "get" else 2)
        for what in follow_ups:
            self.follow_up(made, what)

    def follow_up(self, made: Made, what: FollowUp) -> None:
        """Do something with a thing that was deleted."""
        if what == "get":
            self.world.look(made)
        elif what == "list":
            self.lists.compare_with_get(made.kind)
        elif what == "delete":
            self.deletion.delete(made)
        elif made.kind == "prebuild":
            if what == "logs":
                self.prebuilds.create_logs_token(made)
            else:
                self.prebuilds.cancel(made)
        elif what == "create" and made.place in self.world.places:
            self.pools.create(self.world.places.index(made.place), _SIZES.least)
        else:
            both: dict[str, Size] = {"minSize": _SIZES.near(1), "maxSize": _SIZES.near(2)}
            self.pools.update(made, both if what == "change-all" else {"maxSize": "stored-max"})


class PrebuildRules(Machine):
    """Prebuilds are made, cancelled, deleted, and followed to their end."""

    @rule(place=_PLACE, named=st.booleans(), timeout=_TIMEOUTS, listed=st.booleans())
    @step
    def create_prebuild(self, place: int, named: bool, timeout: str | None, listed: bool) -> None:
        """A prebuild is made, with or without a class and a timeout."""
        made = self.prebuilds.create(place, named=named, timeout=timeout)
        if made is not None and listed:
            self.lists.see_listed(made)

    @rule(which=_WHICH, fresh=st.booleans(), times=st.integers(1, 3))
    @step
    def cancel_prebuild(self, which: int, fresh: bool, times: int) -> None:
        """A prebuild is cancelled, once or more, in whatever phase it is."""
        # A new prebuild is still running on most servers, and so is a second one.
        prebuild = (self.prebuilds.create(which) if fresh else None) or self.pick("prebuild", which)
        if prebuild is None:
            return
        if fresh and len(self.world.there("prebuild")) < 2:
            self.prebuilds.create(which)
        for _ in range(times):
            self.prebuilds.cancel(prebuild)

    @rule(which=_WHICH, follow_ups=_FOLLOW_UPS)
    @step
    def delete_prebuild(self, which: int, follow_ups: list[FollowUp]) -> None:
        """A prebuild is deleted, and other methods are called on it while it goes."""
        self.delete("prebuild", which, follow_ups)

    @rule(which=_WHICH)
    @step
    def create_logs_token(self, which: int) -> None:
        """Request the token of a log, possibly of a deleted prebuild."""
        prebuild = self.pick("prebuild", which)
        if prebuild is not None:
            self.prebuilds.create_logs_token(prebuild)

    @rule(place=_PLACE, then=st.sampled_from(("", "cancel", "delete")))
    @step
    def see_a_prebuild_through(self, place: int, then: str) -> None:
        """A prebuild comes to its end; if it completes, the pool of its project and class gets its snapshot."""
        pool = self.pools.at(place)
        if pool is not None:
            self.world.look(pool)
        earlier = "" if pool is None else at(pool.seen, "spec.snapshotId") or ""
        prebuild = self.prebuilds.create(place)
        if prebuild is None:
            return
        if self.prebuilds.see_through(prebuild) and pool is not None and prebuild.place == pool.place:
            self.pools.see_snapshot(pool, earlier, prebuild)
        if then == "cancel" and has_ended(prebuild):
            self.prebuilds.cancel(prebuild)
        elif then == "delete":
            self.deletion.delete(prebuild)

    @rule(which=_WHICH)
    @step
    def see_a_prebuild_gone(self, which: int) -> None:
        """A prebuild that was deleted goes, for all methods."""
        prebuild = self.pick("prebuild", which)
        if prebuild is not None and self.deletion.see_gone(prebuild):
            self.lists.see_not_listed(prebuild)


class PoolRules(Machine):
    """Pools are made, resized, deleted, and made again."""

    @rule(place=_PLACE, sizes=_NEW_SIZES, listed=st.booleans())
    @step
    def create_pool(self, place: int, sizes: dict[str, int], listed: bool) -> None:
        """Request a pool where one may exist."""
        made = self.pools.create(place, sizes)
        if made is not None and listed:
            self.lists.see_listed(made)

    @rule(place=_PLACE, low=st.integers(_SIZES.min_low, _SIZES.near(8)), more=st.integers(1, 8))
    @step
    def create_pools_beside_another(self, place: int, low: int, more: int) -> None:
        """Pools of one project, and of one class, do not get in each other's way."""
        for number in (place, place + 1, place + 2):
            self.pools.create(number, {"minSize": low, "maxSize": _SIZES.near(low + more)})

    @rule(which=_WHICH, updates=st.lists(_UPDATES, min_size=1, max_size=4))
    @step
    def update_pool(self, which: int, updates: list[dict[str, Size]]) -> None:
        """Resize a pool several times, within its bounds and beyond the stored snapshots."""
        pool = self.world.pick("pool", which, there=True) or self.pick("pool", which)
        if pool is not None:
            for sizes in updates:
                self.pools.update(pool, sizes)

    @rule(which=_WHICH, follow_ups=_FOLLOW_UPS)
    @step
    def delete_pool(self, which: int, follow_ups: list[FollowUp]) -> None:
        """A pool is deleted, and other methods are called on it while it drains."""
        self.delete("pool", which, follow_ups)

    @rule(which=_WHICH, sizes=_NEW_SIZES, update=st.booleans())
    @step
    def make_a_pool_again(self, which: int, sizes: dict[str, int], update: bool) -> None:
        """A pool that was deleted goes, and its place is free again."""
        pool = self.pick("pool", which)
        if pool is None or not self.deletion.see_gone(pool):
            return
        if update:
            self.pools.update(pool, {"minSize": _SIZES.near(1), "maxSize": _SIZES.near(2)})
        self.lists.see_not_listed(pool)
        if pool.place in self.world.places:
            self.pools.create(self.world.places.index(pool.place), sizes)


class ListRules(Machine):
    """Everything is listed: with filters, in pages, while things come and go."""

    @rule(queries=_PREBUILD_QUERIES, which=_WHICH)
    @step
    def list_prebuilds(self, queries: list[Query], which: int) -> None:
        """Prebuilds are listed in several ways."""
        self.lists.ask("prebuild", queries, which)

    @rule(queries=_POOL_QUERIES, which=_WHICH)
    @step
    def list_pools(self, queries: list[Query], which: int) -> None:
        """Pools are listed in several ways."""
        self.lists.ask("pool", queries, which)

    @rule(size=st.sampled_from([size for size in (None, 0, 5, 13, 25, 26, 7, 100) if (size or 0) <= _LARGEST_PAGE]))
    @step
    def page_through_crowd(self, size: int | None) -> None:
        """A list of more than a page is read."""
        self.lists.page_through_crowd(size)

    @rule(kind=_KIND)
    @step
    def compare_list_with_get(self, kind: Kind) -> None:
        """A list shows the same as Get."""
        self.lists.compare_with_get(kind)

    @rule(kind=_KIND, token=st.sampled_from(("other-filter", "other-method", "garbage", "half")))
    @step
    def use_wrong_token(self, kind: Kind, token: WrongToken) -> None:
        """Request a page with a token that is not valid for it."""
        self.lists.use_wrong_token(kind, token)


class AllRules(PrebuildRules, PoolRules, ListRules):
    """All of it in any order."""


MACHINES: Final[Mapping[type[Machine], int]] = {AllRules: 9, PrebuildRules: 9, PoolRules: 9, ListRules: 9}
"""The default number of runs per machine. From the tenth run on, Hypothesis varies earlier runs."""
