"""Lists: every page of them, with any filter, while things are made and deleted in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple, cast

from prebuilds.contract import schema
from prebuilds.contract.machine.deletion import Deletion
from prebuilds.contract.machine.model import UNDER_WAY, Filter, Json, Kind, Made, difference, made_at, passes
from prebuilds.contract.machine.pools import Pools
from prebuilds.contract.machine.prebuilds import Prebuilds
from prebuilds.contract.machine.world import GET, LIST, UNUSABLE, World
from prebuilds.contract.observations import ENDED, phase_of
from prebuilds.contract.wire import Answer

Meddling = Literal["", "create", "delete", "both"]
"""The action between the first page of a list and the next."""

WrongToken = Literal["other-filter", "other-method", "garbage", "half"]
"""A token that is not valid for the requested page."""

# A page that is read whole, for lists that are to be complete.
_WHOLE: Final = schema.max_page_size()

# The maximum number of pages: for a list of any length, and for a list of one of the run's own projects. A list with
# this many consecutive empty pages counts as endless.
_PAGES: Final = 10
_PAGES_OF_OURS: Final = 60
_EMPTY_PAGES: Final = 20

# The number of resources that exist before a list of them is requested.
_PREBUILDS: Final = 5
_POOLS: Final = 4

_ITEMS: Final[Mapping[Kind, str]] = {"prebuild": "prebuilds", "pool": "warmPools"}
_PHASE: Final = "PREBUILD_PHASE_"


class Query(NamedTuple):
    """A list request, in words that do not depend on responses of the server.

    Attributes:
        filters: the values for each field of the filter, in the words of `Lists.filter`.
        size: the page size, None for no page size.
        meddling: the action between two pages.
    """

    filters: Mapping[str, str]
    size: int | None
    meddling: Meddling = ""


class _Pages(NamedTuple):
    """The content of the pages of a list."""

    items: list[Json]
    pages: int
    ended: bool
    answers: list[Answer]


class _Seen(NamedTuple):
    """A result for a property: the problem, "" if none, the exchanges that show it, and its subjects."""

    property: str
    why: str
    answers: Sequence[Answer]
    about: Sequence[Made] = ()


class Lists:
    """The lists of a run, and their expected properties.

    Args:
        world: the run.
        prebuilds: creates prebuilds.
        pools: creates pools.
        deletion: deletes both.
    """

    def __init__(self, world: World, prebuilds: Prebuilds, pools: Pools, deletion: Deletion) -> None:
        self.world = world
        self.prebuilds = prebuilds
        self.pools = pools
        self.deletion = deletion

    # -- What there is to list

    def populate(self, kind: Kind) -> None:
        """See that there are some things to list, in several places."""
        world = self.world
        if kind == "prebuild":
            for place in range(_PREBUILDS):
                if len(world.there("prebuild")) < _PREBUILDS:
                    self.prebuilds.create(place)
        else:
            for place in range(min(_POOLS, len(world.places))):
                self.pools.at(place)

    def filter(self, words: Mapping[str, str], which: int) -> dict[str, list[str]]:
        """The filter that these words mean, field by field.

        Projects and classes are the numbers of places. Phases are the current phase of one prebuild (`of-one`), all
        phases but this one (`of-others`), or two phases (`of-two`). Creators and executors are the `caller`. A `?` is
        an unknown id, and the empty word an empty list.

        Args:
            words: the word for each field.
            which: the prebuild that determines the phases.
        """
        found: dict[str, list[str]] = {}
        for name, word in words.items():
            if name == "projectIds":
                found[name] = self._ids(word, 0)
            elif name == "environmentClassIds":
                found[name] = self._ids(word, 1)
            elif name == "phases":
                found[name] = self._phases(word, which)
            elif name == "triggeredBy":
                found[name] = [f"PREBUILD_TRIGGER_{trigger}" for trigger in word.split()]
            else:
                caller = [self.world.search.caller] if self.world.search.caller else []
                found[name] = [*([self.world.stranger] if "?" in word else []), *(caller if "caller" in word else [])]
        return found

    def _ids(self, word: str, part: int) -> list[str]:
        places = self.world.places
        ids = [self.world.stranger if each == "?" else places[int(each) % len(places)][part] for each in word]
        return list(dict.fromkeys(each for each in ids if each))

    def _phases(self, word: str, which: int) -> list[str]:
        there = [made for made in self.world.there("prebuild") if self.world.look(made)] if word else []
        phases = [phase_of(made.seen) for made in there if phase_of(made.seen)]
        if not phases:
            return [_PHASE + "PENDING"] if word else []
        one, other = phases[-1 - which % len(phases)], phases[which % len(phases)]
        chosen = {
            "of-one": [one],
            "of-others": [phase for phase in (*sorted(UNDER_WAY), *sorted(ENDED)) if phase != one],
            "of-two": [one, other if other != one else "FAILED"],
        }[word]
        return [_PHASE + phase for phase in chosen[: schema.max_items("ListPrebuilds", "filter.phases")]]

    # -- Asking

    def ask(self, kind: Kind, queries: Sequence[Query], which: int) -> None:
        """Read filtered lists, and compare them with unfiltered lists before and after."""
        if not self.world.places:
            return
        self.populate(kind)
        asked = [(query, self.filter(_known_to(LIST[kind], query.filters), which)) for query in queries]
        # Fields of which nothing is known, such as the caller's id, are left out.
        ready = [
            (query, {name: values for name, values in wanted.items() if values or not query.filters[name]})
            for query, wanted in asked
        ]
        everywhere: Filter = {"projectIds": self.world.projects}
        before = self._whole(kind, everywhere)
        for query, wanted in ready:
            after = self._ask_once(kind, query, wanted, before, everywhere)
            before = after if after is not None else before

    def _whole(self, kind: Kind, wanted: Filter) -> _Pages | None:
        pages, wrong = self._walk(kind, wanted, _WHOLE)
        self._tell(kind, wrong)
        return pages

    def _tell(self, kind: Kind, wrong: Sequence[_Seen]) -> None:
        for seen in wrong:
            self.world.judge(seen.property, LIST[kind], not seen.why, seen.why, *seen.about, shows=seen.answers)

    def _ask_once(
        self, kind: Kind, query: Query, wanted: Filter, before: _Pages | None, everywhere: Filter
    ) -> _Pages | None:
        """Read a list between two that are whole, again if the server may take its time to settle."""
        world = self.world
        meddling, begun = query.meddling, world.session.now()
        while True:
            expected, gone = world.there(kind), [made for made in world.of(kind) if made.gone]
            listed, wrong = self._walk(kind, wanted, query.size, meddling)
            after, more = self._walk(kind, everywhere, _WHOLE)
            wrong += more
            if listed is not None and after is not None:
                if before is not None:
                    wrong += self._compare(kind, wanted, (before, listed, after), expected, gone)
                if not query.meddling:
                    wrong.append(_order(listed))
            if world.session.settle == 0 or not any(seen.why for seen in wrong):
                break
            if world.session.now() - begun >= world.session.settle:
                break
            meddling = ""
            before = after
            world.session.pause(min(0.1, world.session.settle))
        self._tell(kind, wrong)
        return after

    def _compare(
        self,
        kind: Kind,
        wanted: Filter,
        views: tuple[_Pages, _Pages, _Pages],
        expected: Sequence[Made],
        gone: Sequence[Made],
    ) -> list[_Seen]:
        """Missing and unexpected items of a list, by the known state and by whole lists before and after it."""
        before, listed, after = views
        first, shown, last = _by_id(before.items), _by_id(listed.items), _by_id(after.items)
        wrong: list[_Seen] = []
        if before.ended and expected:
            missing = [made for made in expected if made.id.lower() not in first][:1]
            why = "".join(f"{made.name} is not in a list of its project" for made in missing)
            wrong.append(_Seen("list-contains", why, before.answers, missing))
        back = [made for made in gone if made.id.lower() in last or made.id.lower() in shown][:1]
        why = "".join(f"{made.name} is gone, and is listed" for made in back)
        answers = after.answers if back and back[0].id.lower() in last else listed.answers
        wrong.append(_Seen("gone-is-gone", why, answers, back))
        skipped: list[Made] = []
        for made in self.world.there(kind) if listed.ended else ():
            views_of_it = [view for view in (first.get(made.id.lower()), last.get(made.id.lower())) if view is not None]
            # A phase that was the same before and after was the same meanwhile: it never comes back.
            same = len(views_of_it) == 2 and phase_of(views_of_it[0]) == phase_of(views_of_it[1])
            if made.id.lower() not in shown and same and all(passes(view, wanted) for view in views_of_it):
                skipped.append(made)
        stranger = next((str(item.get("id")) for item in listed.items if passes(item, wanted) is False), "")
        asked = f"a list with the filter {dict(wanted)}"
        lacks = "".join(f"{asked} lacks {made.name}, which matches" for made in skipped[:1])
        if listed.pages > 1 and listed.ended:
            wrong.append(_Seen("no-item-skipped", lacks, listed.answers, skipped[:1]))
            lacks = ""
        if wanted:
            name = "filters-combine" if sum(map(bool, wanted.values())) > 1 else "filters"
            why = f"{asked} has {stranger}, which does not match" if stranger else lacks
            about = [made for made in self.world.made if made.id == stranger] or skipped[:1]
            wrong.append(_Seen(name, why, listed.answers, about))
        elif listed.ended:
            wrong.append(_Seen("list-contains", lacks, listed.answers, skipped[:1]))
        return wrong

    def _walk(
        self, kind: Kind, wanted: Filter, size: int | None, meddling: Meddling = ""
    ) -> tuple[_Pages | None, list[_Seen]]:
        """Read all pages of a list, and return them with their problems. Without pages, the request was rejected."""
        items: list[Json] = []
        answers: list[Answer] = []
        tokens: list[str] = []
        wrong: list[_Seen] = []
        empty, ended = 0, False
        projects = wanted.get("projectIds")
        most = _PAGES_OF_OURS if projects else _PAGES
        while len(answers) < most and empty < _EMPTY_PAGES:
            answer = self._page(kind, wanted, size, tokens[-1] if tokens else "")
            answers.append(answer)
            if not answer.ok:
                if set(projects or ()) <= {project for project, _ in self.world.places} or answer.code not in UNUSABLE:
                    why = (
                        f"{LIST[kind]} with {dict(wanted)} and pageSize {size} has to succeed, and is {answer.outcome}"
                    )
                    wrong.append(_Seen("inside-bounds-is-accepted", why, answers))
                return None, wrong
            page = _items(answer, kind)
            name, limit = ("page-size-kept", size) if size else ("default-page-size", schema.default_page_size())
            why = f"a page with pageSize {size} has {len(page)} items" if len(page) > limit else ""
            wrong.append(_Seen(name, why, answers[-1:]))
            items += page
            empty = 0 if page else empty + 1
            token = answer.at("pagination.nextToken")
            if not isinstance(token, str) or not token:
                ended = True
                break
            again = token in tokens
            why = f"the page token {token!r} came twice" if again else ""
            wrong.append(_Seen("page-tokens-are-new", why, list(answers)))
            if again:
                break
            tokens.append(token)
            if len(answers) == 1:
                self._meddle(kind, meddling, page)
        if ended:
            wrong.append(_Seen("paging-ends", "", answers))
        elif empty >= _EMPTY_PAGES:
            wrong.append(_Seen("paging-ends", f"{empty} pages in a row are empty, and there is a next one", answers))
        several = Counter(str(item.get("id")).lower() for item in items if item.get("id"))
        twice = next((each for each, count in several.items() if count > 1), "")
        wrong.append(_Seen("no-item-twice", f"{twice} comes twice in the pages of a list" if twice else "", answers))
        return _Pages(items, len(answers), ended, answers), wrong

    def _page(self, kind: Kind, wanted: Filter, size: int | None, token: str = "") -> Answer:
        pagination: Json = {} if size is None else {"pageSize": size}
        if token:
            pagination["token"] = token
        fields: Json = {name: list(values) for name, values in wanted.items()}
        return self.world.call(
            LIST[kind],
            {**({"filter": fields} if fields else {}), **({"pagination": pagination} if pagination else {})},
        )

    def _meddle(self, kind: Kind, meddling: Meddling, page: Sequence[Json]) -> None:
        """Change the listed resources, between two pages."""
        world = self.world
        if meddling in ("create", "both"):
            if kind == "prebuild":
                self.prebuilds.create(0)
            else:
                taken = {pool.place for pool in world.of("pool") if not pool.gone}
                free = next((number for number, place in enumerate(world.places) if place not in taken), None)
                if free is not None:
                    self.pools.create(free, schema.pool_sizes().least)
        if meddling in ("delete", "both"):
            shown = _by_id(page)
            mine = [made for made in world.there(kind) if made.id.lower() in shown]
            if mine and len(world.there(kind)) > 2:
                # On a server that deletes immediately, the following items move up.
                self.deletion.see_gone(mine[-1], most=12)

    # -- Further lists

    def see_listed(self, made: Made) -> None:
        """A list contains a new resource."""
        world, method, begun = self.world, LIST[made.kind], self.world.session.now()
        while True:
            pages, _ = self._walk(made.kind, {"projectIds": [made.place[0]]}, _WHOLE)
            if pages is None or not pages.ended:
                return
            listed = made.id.lower() in _by_id(pages.items)
            if listed or world.session.settle == 0 or world.session.now() - begun >= world.session.settle:
                break
            world.session.pause(min(0.1, world.session.settle))
        why = f"{made.name} was just made, and is not in a list of its project"
        world.judge("list-contains", method, listed, why, made, shows=pages.answers)

    def see_not_listed(self, made: Made) -> None:
        """No list contains a deleted resource, neither the list of its project nor the list of all."""
        of_its_project: Filter = {"projectIds": [made.place[0]]}
        for wanted in (of_its_project, dict[str, list[str]]()):
            pages = self._whole(made.kind, wanted)
            if pages is not None:
                listed = made.id.lower() in _by_id(pages.items)
                why = f"{made.name} is gone, and is listed"
                self.world.judge("gone-is-gone", LIST[made.kind], not listed, why, made, shows=pages.answers)

    def compare_with_get(self, kind: Kind) -> None:
        """A list shows each resource as Get does. Concurrent changes are ignored."""
        world = self.world
        for made in world.there(kind):
            world.look(made)
        before = {made.id: made.seen for made in world.there(kind)}
        if not before:
            return
        pages = self._whole(kind, {"projectIds": world.projects})
        listed = _by_id(pages.items) if pages is not None else {}
        for made in world.there(kind):
            shown = listed.get(made.id.lower())
            world.look(made)
            if pages is not None and shown is not None and made.there and before.get(made.id) == made.seen:
                differs = difference(shown, made.seen)
                why = f"{LIST[kind]} and {GET[kind]} show {made.name} differently: {differs}"
                world.judge("list-agrees-with-get", LIST[kind], not differs, why, made, shows=pages.answers)

    def page_through_crowd(self, size: int | None) -> None:
        """Read a list that has more items than a page by default, with any page size."""
        crowd = self.world.search.crowd()
        if crowd is None:
            return
        project, made = crowd
        pages, wrong = self._walk("prebuild", {"projectIds": [project]}, size)
        if pages is not None:
            lost = [each for each in made if each.lower() not in _by_id(pages.items)] if pages.ended else []
            why = f"the pages lack {lost[0]} and {len(lost) - 1} more of {len(made)} prebuilds" if lost else ""
            name = "no-item-skipped" if pages.pages > 1 else "list-contains"
            wrong.append(_Seen(name, why, pages.answers))
            wrong.append(_order(pages))
        self._tell("prebuild", wrong)

    def use_wrong_token(self, kind: Kind, which: WrongToken) -> None:
        """A page token is good for the list that it came with, and nothing else is good for a token."""
        world = self.world
        if not world.places:
            return
        self.populate(kind)
        here: Filter = {"projectIds": world.projects}
        first = self._page(kind, here, 1)
        token = first.at("pagination.nextToken")
        if not isinstance(token, str) or not token:
            return
        name, target, wanted = "bad-page-token-is-refused", kind, here
        if which == "other-filter":
            name, wanted = "page-token-is-bound-to-filter", {"projectIds": [world.places[0][0], world.stranger]}
        elif which == "other-method":
            target = "pool" if kind == "prebuild" else "prebuild"
        else:
            token = "no token of this list" if which == "garbage" else token[: len(token) // 2]
        answer = self._page(target, wanted, 1, token)
        why = f"{LIST[target]} with a page token that is wrong ({which}) has to be invalid_argument, and is "
        ok = answer.code == "invalid_argument"
        world.judge(name, LIST[target], ok, why + answer.outcome, shows=[first, answer])


def _known_to(method: str, words: Mapping[str, str]) -> Mapping[str, str]:
    """The fields of a filter that the schema has."""
    return {name: word for name, word in words.items() if schema.leaf(method, f"filter.{name}") is not None}


def _order(pages: _Pages) -> _Seen:
    """Whether the items come in their order."""
    created = [made_at(item) for item in pages.items]
    early = any(one is not None and two is not None and one < two for one, two in pairwise(created))
    why = "an item of a list was created after the one before it" if early else ""
    return _Seen("newest-first", why, pages.answers)


def _items(answer: Answer, kind: Kind) -> list[Json]:
    """The things of a page of a list."""
    shown = answer.json.get(_ITEMS[kind])
    if not isinstance(shown, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", shown) if isinstance(item, dict)]


def _by_id(items: Sequence[Json]) -> dict[str, Json]:
    return {str(item["id"]).lower(): item for item in items if item.get("id")}
