"""What waits to be sent of one list: the members of one scope and category.

How it works. Time is cut into windows, which begin with a change. What is sent in a window is
counted. While it is little, each change leaves in the call that brings it. From then on changes and
newcomers are gathered until the window ends, and leave together, as one step.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from ..keys import ANY, Pattern
from .records import Diff

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from ..keys import Key
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .records import Change

__all__ = ("SENT_AT_ONCE", "Gathering", "Window")

#: What may leave in one window before changes are gathered, 1,000: some 7 ms of work. Each
#: connection that gets an event counts as one, and each member in a state as one. So a list of ten
#: gathers from the 51st arrival in a window, and a list of 500 from the second.
SENT_AT_ONCE: Final = 1000


class Window:
    """A stretch of time, and what is sent in it."""

    __slots__ = ("_ends", "sent")

    def __init__(self) -> None:
        self._ends = -inf
        #: Connections to which an event was sent, and members in a state.
        self.sent: int = 0

    def __repr__(self) -> str:
        return f"<Window until {self._ends:g}, {self.sent} sent>"

    def due(self, now: float, seconds: float) -> float:
        """Return the time at which more may be sent.

        Args:
            now: the time; it may begin the next window.
            seconds: how long that lasts.
        """
        if now >= self._ends:
            self._ends = now + seconds
            self.sent = 0
        return now if self.sent < SENT_AT_ONCE else self._ends


class Gathering:
    """The changes and the newcomers of one list that wait, and what its clients know.

    Args:
        key: of any member of the list.
    """

    __slots__ = (
        "_fresh",
        "awaited",
        "count_due",
        "diff",
        "is_large",
        "is_sending",
        "key",
        "newcomers",
        "pattern",
        "version",
        "waits",
        "window",
    )

    def __init__(self, key: Key) -> None:
        self.key: Key = key
        #: Matches the keys of the list.
        self.pattern: Pattern = Pattern(key.scope, (key.inner[0], ANY))
        #: Whether a change or a newcomer has come since the last step.
        self.waits: bool = False
        #: The changes that wait, as one step.
        self.diff: Diff = Diff({}, {})
        #: The connections that wait for what a newcomer is sent, and the keys under which each has
        #: arrived.
        self.newcomers: dict[Connection, list[Key]] = {}
        #: Whether clients are sent the count, and not each change.
        self.is_large: bool = False
        #: The version of the last count that was sent, and when the next may be sent.
        self.version: int = 0
        self.count_due: float = -inf
        #: When it will be looked at.
        self.awaited: float = inf
        #: Whether it is being sent; what comes then waits for that.
        self.is_sending: bool = False
        # Members that have joined since the last step: a departure of them is not news.
        self._fresh: set[Key] = set()
        #: What is sent in the present window.
        self.window: Window = Window()

    def __repr__(self) -> str:
        return (
            f"<Gathering of {self.pattern}: {len(self.newcomers)} newcomers, "
            f"{len(self.diff.joins)} joins, {len(self.diff.leaves)} leaves>"
        )

    def add(self, change: Change) -> None:
        """Add a change.

        A member that joins and leaves before anything is sent is left out: the others have never
        heard of it.
        """
        self.waits = True
        joins, leaves = self.diff
        if change.kind != "left":
            if change.kind == "joined" and change.key not in leaves:
                self._fresh.add(change.key)
            joins[change.key] = change
            return
        joins.pop(change.key, None)
        if change.key in self._fresh:
            self._fresh.remove(change.key)
        else:
            leaves[change.key] = change

    def take(self) -> tuple[list[Change], dict[Connection, list[Key]]]:
        """Return what waits, leaves first, and let nothing wait."""
        (joins, leaves), newcomers = self.diff, self.newcomers
        self.diff, self.newcomers, self.waits = Diff({}, {}), {}, False
        self._fresh.clear()
        return [*leaves.values(), *joins.values()], newcomers

    def deliver(
        self,
        writer: Writer,
        receivers: Sequence[Connection],
        payloads: Iterable[bytes],
        name: Hashable = None,
    ) -> None:
        """Deliver events to some clients of the list, and count them.

        Args:
            writer: writes them.
            receivers: the clients.
            payloads: encoded events.
            name: that of events that replace each other while they wait for a slow client.
        """
        self.window.sent += len(receivers)
        for payload in payloads:
            writer.deliver(receivers, payload, name)
