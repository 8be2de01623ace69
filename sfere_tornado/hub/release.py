"""End the requests of closed streams; in a mass disconnect, after all departures are announced.

Tornado's work at the end of a request takes half as long as a departure. When ten thousand clients
leave together, the ends of the first requests would delay the announcements of the others.

How it works. The first ``UNDELAYED`` requests of a burst end in the same call. The others wait
for two turns of the event loop without a departure: in the first, closed sockets are noticed; in
the second, their departures are announced. Then they end, in slices.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ("BURST", "LATEST", "REQUESTS_IN_A_TURN", "UNDELAYED", "Release")

#: Seconds in which departures are one burst, 50 ms: single departures are rarely so close.
BURST: Final = 0.05

#: Requests of a burst that end in the same call, 50: together they take a millisecond.
UNDELAYED: Final = 50

#: Seconds after which requests end although others still leave, 1: they hold memory and tasks.
LATEST: Final = 1.0

#: Requests ended in one turn, 50: about two milliseconds.
REQUESTS_IN_A_TURN: Final = 50

#: Turns without a departure after which a burst is over.
_QUIET_TURNS: Final = 2


class Release:
    """Ends the requests of handlers.

    Args:
        loop: the running one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()
        self._burst_began = self._wait_began = 0.0
        self._in_burst = 0
        # Requests that waited at the last look, and turns since then without a new one.
        self._seen = self._quiet = 0

    def __repr__(self) -> str:
        return f"<Release: {len(self._waiting)} handlers waiting>"

    def let_go(self, end_request: Callable[[], object]) -> None:
        """End a handler's request, in this call or some turns later."""
        now = self._loop.time()
        if now - self._burst_began > BURST:
            self._burst_began, self._in_burst = now, 0
        self._in_burst += 1
        if self._in_burst <= UNDELAYED:
            end_request()
            return
        if not self._waiting:
            self._wait_began, self._quiet = now, 0
            self._look_later()
        self._waiting.append(end_request)

    def flush(self) -> None:
        """End all requests that wait."""
        while self._waiting:
            self._waiting.popleft()()

    def _look_later(self) -> None:
        self._seen = len(self._waiting)
        # A timer of zero seconds runs after the sockets of the turn; call_soon runs before them.
        self._loop.call_later(0, self._look)

    def _look(self) -> None:
        self._quiet = self._quiet + 1 if len(self._waiting) == self._seen else 0
        if self._quiet >= _QUIET_TURNS or self._loop.time() - self._wait_began > LATEST:
            self._let_some_go()
        elif self._waiting:
            self._look_later()

    def _let_some_go(self) -> None:
        for _ in range(min(REQUESTS_IN_A_TURN, len(self._waiting))):
            self._waiting.popleft()()
        if self._waiting:
            self._loop.call_soon(self._let_some_go)
