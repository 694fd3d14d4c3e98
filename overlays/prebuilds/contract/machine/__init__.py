"""The second layer: calls in any order, against a model of what has to be there afterwards.

State machines of Hypothesis draw what is called, and with what. What the server decides is observed, never drawn: no
draw depends on an answer, so that a seed stands for the same calls on every server that decides alike. Each run of a
machine begins with projects and classes of its own as far as there are any, and deletes what it has made.

- `rules`: the machines, one for each area and one for all of them: what may be drawn.
- `prebuilds`, `pools`, `deletion`, `lists`: what a rule does, and what has to hold then.
- `world`: one run: what was made, sending, looking, waiting, judging.
- `model`: what follows from what is known, without sending anything.
- `search`: all runs together: how many there are, what they may cost, and how a failure is shown in a short sequence.

What a call means depends on time, and time is the server's. Where something has to come about, the machine waits for
it, up to a patience that is bounded for all runs together; when it is used up, what would need more of it is left
undecided.
"""

from prebuilds.contract.machine.search import run_machine, without_files

__all__ = ["run_machine", "without_files"]
