"""Connections that wait for their next request."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from prebuilds.engines.exchange import MAX_CONNECTIONS, MAX_IDLE_SECONDS

T = TypeVar("T")


class IdleStack(Generic[T]):
    """The idle connections of an engine, by where they lead. It may be shared by threads.

    The connection that was used last is used next, so that the others grow old and are closed.
    """

    def __init__(self) -> None:
        self._stacks: defaultdict[Hashable, deque[tuple[T, float]]] = defaultdict(deque)

    def pop(self, where: Hashable) -> T | None:
        """Take a connection to the same place, or return None."""
        try:
            return self._stacks[where].pop()[0]
        except IndexError:
            return None

    def push(self, where: Hashable, connection: T) -> list[T]:
        """Add a connection. Returns the surplus and expired connections, which the caller closes."""
        stack = self._stacks[where]
        now = time.monotonic()
        stack.append((connection, now))
        surplus: list[T] = []
        try:
            while len(stack) > MAX_CONNECTIONS or stack[0][1] < now - MAX_IDLE_SECONDS:
                surplus.append(stack.popleft()[0])
        except IndexError:  # another thread has taken the last one
            pass
        return surplus

    def clear(self) -> list[T]:
        """Take all connections, so that the caller closes them."""
        stacks, self._stacks = self._stacks, defaultdict(deque)
        return [connection for stack in stacks.values() for connection, _ in stack]
