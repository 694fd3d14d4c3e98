"""Mutants of the product: small changes to its code, made with the operators of cosmic-ray."""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .areas import Area

# These two need a variable's name as an argument.
_NEED_ARGUMENTS = {"core/VariableReplacer", "core/VariableInserter"}


@dataclass(frozen=True)
class Mutant:
    """One change to one file.

    Attributes:
        path: the file, relative to the project's root.
        line: the first line that differs.
        operator: cosmic-ray's name of the change.
        before: the line as it is.
        after: the same line of the mutant.
        code: the whole file of the mutant.
    """

    path: Path
    line: int
    operator: str
    before: str
    after: str
    code: str

    @property
    def key(self) -> str:
        """What tells the mutant from all others, also after lines were added above it."""
        return f"{self.path}|{self.operator}|{self.before}|{self.after}"


def sample(area: Area, root: Path, size: int, seed: int) -> list[Mutant]:
    """Choose mutants of an area: `size` places in its code, each with one of the changes that can be made there."""
    dice = random.Random(f"{seed} {area.name}")
    places = [(path, place, changes) for path in area.files(root) for place, changes in _places(root / path)]
    dice.shuffle(places)
    chosen: list[Mutant] = []
    for path, _, changes in places:
        if len(chosen) == size:
            break
        operator, occurrence = dice.choice(changes)
        mutant = _mutant(root, path, operator, occurrence)
        if mutant is not None:
            chosen.append(mutant)
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.line))


def _places(path: Path) -> Iterator[tuple[tuple[int, int], list[tuple[str, int]]]]:
    """Each place in a file that can be changed, with its changes: an operator, and which of its places it is."""
    nodes = list(ast_nodes(get_ast(path.read_text(encoding="utf-8"))))
    found: defaultdict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    for name in sorted(set(operator_names()) - _NEED_ARGUMENTS):
        operator = get_operator(name)()
        positions: Iterable[Any] = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(positions):
            found[start].append((name, occurrence))
    yield from sorted(found.items())


def _mutant(root: Path, path: Path, operator: str, occurrence: int) -> Mutant | None:
    """The mutant, or None if it runs as the original does: only annotations or docstrings differ."""
    original = (root / path).read_text(encoding="utf-8")
    changed = mutate_code(original, get_operator(operator)(), occurrence)
    if changed is None or _essence(changed) in {None, _essence(original)}:
        return None
    pairs = zip(original.splitlines(), changed.splitlines(), strict=False)
    for line, (before, after) in enumerate(pairs, start=1):
        if before != after:
            return Mutant(path, line, operator, before.strip(), after.strip(), changed)
    return None


@cache
def _essence(code: str) -> str | None:
    """What of a module's code has an effect when it runs, or None if it is not valid Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.dump(tree)
