"""The lines of a log that is received in pieces, and that a server may repeat after a broken connection."""

from __future__ import annotations

import codecs
from array import array
from collections import deque

LINE_CONTINUES = " [line continues]"
"""The end of each piece of a line that is too long to be yielded at once, but for the last piece."""

MAX_LINE = 2**20
"""The number of characters after which a line is yielded in pieces."""

_MAX_HELD_LINES = 10_000
"""The number of lines that are held back until it is known whether the server repeats them."""

_MAX_HELD_CHARACTERS = 2**24
"""Like `_MAX_HELD_LINES`, in characters."""

_MAX_REMEMBERED = 2**23
"""The number of lines whose hashes are kept for recognising repetitions: 64 MiB of them."""


class Lines:
    """The lines of a log, without the lines that a connection repeats.

    A new connection may repeat the log from its start, its latest lines, or nothing. Its first lines count as repeated
    if the log so far ends with them. If several readings are possible because lines are equal, the longest stretch
    counts as repeated. Lines are held back until that is known.
    """

    def __init__(self) -> None:
        self._seen = array("q")
        """A hash of each line, the latest ones at least."""
        self._forgotten = 0
        """The number of lines whose hashes are no longer stored."""
        self.begin()

    @property
    def count(self) -> int:
        """The number of lines so far, without repeated ones."""
        return self._forgotten + len(self._seen)

    def begin(self) -> None:
        """A new connection begins. The incomplete line of the previous one is dropped."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._incomplete: list[str] = []
        self._incomplete_size = 0
        self._repeating = bool(self._seen)
        # The algorithm of Knuth, Morris and Pratt searches the log so far for the lines of the connection. All lines
        # before `_place` have been compared. The last `_matched` of them are the first lines of the connection. The
        # repetition cannot begin any earlier.
        self._place = self._matched = 0
        self._again = array("q")
        self._borders = array("q")
        """For each beginning of the connection, the number of lines that both begin and end it, not counting itself."""
        self._held: deque[str] = deque()
        self._held_size = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Add the received data. Returns the lines that are complete now and not repeated."""
        *lines, incomplete = self._decoder.decode(chunk).split("\n")
        complete: list[str] = []
        for line in lines:
            self._append(line, complete)
            complete.append(self._taken().removesuffix("\r"))
        self._append(incomplete, complete)
        return [new for line in complete for new in self._new(line)]

    def rest(self) -> list[str]:
        """The lines that are left when the connection has delivered the whole log.

        These are lines that were held back, and the last line if it has no line end.
        """
        complete: list[str] = []
        self._append(self._decoder.decode(b"", True), complete)
        last = self._taken()
        new = [new for line in [*complete, *([last] if last else [])] for new in self._new(line)]
        return new + self._compare(at_end=True) if self._repeating and self._again else new

    def _append(self, text: str, complete: list[str]) -> None:
        """Add text to the incomplete line. Full pieces of a line that is too long go to `complete`."""
        while self._incomplete_size + len(text) > MAX_LINE:
            room = MAX_LINE - self._incomplete_size
            self._incomplete.append(text[:room])
            text = text[room:]
            complete.append(self._taken() + LINE_CONTINUES)
        self._incomplete.append(text)
        self._incomplete_size += len(text)

    def _taken(self) -> str:
        """The incomplete line, which is then empty."""
        text = "".join(self._incomplete)
        self._incomplete.clear()
        self._incomplete_size = 0
        return text

    def _new(self, line: str) -> list[str]:
        """The lines to yield now that `line` is complete."""
        value = hash(line)
        if not self._repeating:
            self._remember(value)
            return [line]
        border = self._borders[-1] if self._borders else 0
        while border and self._again[border] != value:
            border = self._borders[border - 1]
        self._borders.append(border + 1 if self._again and self._again[border] == value else 0)
        self._again.append(value)
        self._held.append(line)
        self._held_size += len(line)
        while len(self._held) > _MAX_HELD_LINES or self._held_size > _MAX_HELD_CHARACTERS:
            # So much that has been there before is a repetition.
            self._held_size -= len(self._held.popleft())
        return self._compare()

    def _compare(self, *, at_end: bool = False) -> list[str]:
        """Find out how much of the connection is repeated. Returns the lines that are not, if that is known.

        Args:
            at_end: whether the connection has delivered everything.
        """
        while self._place < len(self._seen):
            if self._matched < len(self._again) and self._again[self._matched] == self._seen[self._place]:
                self._place += 1
                self._matched += 1
            elif self._matched == len(self._again) and not at_end:
                return []
            elif self._matched:
                self._matched = self._borders[self._matched - 1]
            else:
                self._place += 1
        self._repeating = False
        new = self._again[self._matched :]
        for value in new:
            self._remember(value)
        lines = list(self._held)[-len(new) :] if new else []
        self._held.clear()
        self._held_size = 0
        return lines

    def _remember(self, value: int) -> None:
        if len(self._seen) >= _MAX_REMEMBERED:
            del self._seen[: _MAX_REMEMBERED // 2]
            self._forgotten += _MAX_REMEMBERED // 2
        self._seen.append(value)
