"""The second layer: calls in any order, checked against a model of the expected state.

Hypothesis state machines draw the calls and their arguments. Decisions of the server are observed, never drawn: no draw
depends on a response. A seed therefore stands for the same calls on every server that decides alike. Each run of a
machine starts with its own projects and classes as far as available, and deletes its resources.

- `rules`: the machines, one for each area and one for all of them: the actions to draw.
- `prebuilds`, `pools`, `deletion`, `lists`: the actions of the rules, and their expected results.
- `world`: one run: its resources, requests, polls, waits and checks.
- `model`: conclusions from the known state, without requests.
- `search`: all runs together: their number, their limits, and the shortening of failures.

The meaning of a call depends on time, and the server controls time. The machine waits for expected transitions, up to
a patience that is bounded for all runs together. When the patience is used up, transitions that need more time stay
unchecked.
"""

from prebuilds.contract.machine.search import run_machine, without_files

__all__ = ["run_machine", "without_files"]
