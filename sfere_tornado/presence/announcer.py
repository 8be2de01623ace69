"""Sends who is here and what changed to the clients: states, diffs, counts.

Each scope and category has a list of members of its own, see :mod:`.gathering`. Up to ``large``
members each client of the list is sent all of them, then each change. Beyond it a client is sent
the first page, itself and the count, and the count again when something has changed; it asks for
further pages.

Laws:

- **State first, diffs after.** A newcomer is sent no diff before its state. State and diff are made
  in the same call: after it all clients of a list know the same.
- **The first change after a quiet time leaves in the same call.** Further ones are gathered only
  while much is sent, and for ``gather`` seconds at most.
- **No two orders.** What changes while something is sent, because a stream ends at it, is sent
  afterwards.
- **A client knows whether its list is whole.** It is, from a state on; it is not, from a count on.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

from ..defaults import GATHER, LARGE
from ..streams.writer import AT_ONCE
from .events import PresenceEvents
from .gathering import Gathering
from .pager import Pager

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ..keys import Key
    from ..stores import Store
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .presence import Presence
    from .records import Change

__all__ = ("Announcer",)


class Announcer:
    """Sends states, diffs and counts.

    Args:
        roster: who is here.
        store: where the connections are.
        writer: writes what is sent; by default in the same call.
        categories: those whose clients are sent something; None for all.
        gather: seconds for which changes are gathered in a crowd; 0 gathers none.
        large: members of a list up to which clients are sent all of them.
        set_alarm: looks what is due next; called when something is gathered.
    """

    __slots__ = (
        "_announced",
        "_awaited",
        "_events",
        "_gather",
        "_gatherings",
        "_large",
        "_roster",
        "_set_alarm",
        "_store",
        "_writer",
        "due",
        "pager",
    )

    def __init__(
        self,
        roster: Presence,
        store: Store[Connection],
        *,
        writer: Writer = AT_ONCE,
        categories: Collection[Any] | None = None,
        gather: float = GATHER,
        large: int = LARGE,
        set_alarm: Callable[[], object] | None = None,
    ) -> None:
        self._roster = roster
        self._store = store
        self._writer = writer
        self._announced = categories
        self._gather = gather
        self._large = large
        self._set_alarm = set_alarm
        self._events = PresenceEvents(roster)
        # By scope and category; only those with members.
        self._gatherings: dict[tuple[Any, Any], Gathering] = {}
        # A heap of those that wait for their time. An entry is stale when its gathering is awaited
        # at another time.
        self._awaited: list[tuple[float, int, Gathering]] = []
        #: Sends large lists.
        self.pager: Pager = Pager(roster, self._events, writer)
        #: When, on the timer of the roster, to call :meth:`send_due` next; infinite for never.
        self.due: float = inf

    def __repr__(self) -> str:
        return f"<Announcer of {len(self._gatherings)} lists, {len(self._awaited)} wait>"

    def announce(
        self, changes: Iterable[Change], newcomer: tuple[Key, Connection] | None = None
    ) -> None:
        """Send changes to the clients of their lists, now or soon.

        Args:
            changes: in order.
            newcomer: a connection that has arrived under a key; it is sent who is here.
        """
        touched: dict[Gathering, None] = {}
        for change in changes:
            gathering = self._gathering(change.key)
            if gathering is not None:
                touched[gathering] = None
                if not gathering.is_large:
                    gathering.add(change)
        if newcomer is not None:
            key, connection = newcomer
            gathering = self._gathering(key)
            if gathering is not None:
                touched[gathering] = None
                gathering.newcomers.setdefault(connection, []).append(key)
                gathering.waits = True
        for gathering in touched:
            self._proceed(gathering)

    def send_due(self) -> None:
        """Send what was gathered and may leave by now."""
        now = self._roster.timer()
        while self.due <= now:
            due, _, gathering = heappop(self._awaited)
            self.due = self._awaited[0][0] if self._awaited else inf
            if due == gathering.awaited:
                self._proceed(gathering)

    def state(self, key: Key) -> list[bytes]:
        """Return the events that tell who is here, in the scope and category of a key.

        What was gathered there is sent first, so that no later event says it again.
        """
        gathering = self._gatherings.get((key.scope, key.inner[0]))
        if gathering is not None:
            self._proceed(gathering, force=True)
        group = self._roster.group(key)
        is_large = len(group.states) > self._large if gathering is None else gathering.is_large
        whole = [] if is_large else self._events.state(group.announced())
        if whole or is_large:
            return whole or self.pager.first_page(key)
        if gathering is not None:
            # From now on no client is sent a diff: the one that asked has not the whole list.
            gathering.is_large = True
            self._proceed(gathering)
        return self.pager.first_page(key)

    # -- steps

    def _gathering(self, key: Key) -> Gathering | None:
        """Return the gathering of a key's list; None where its clients are sent nothing."""
        address = (key.scope, key.inner[0])
        gathering = self._gatherings.get(address)
        if gathering is None:
            if self._announced is not None and key.inner[0] not in self._announced:
                return None
            gathering = self._gatherings[address] = Gathering(key)
        return gathering

    def _proceed(self, gathering: Gathering, *, force: bool = False) -> None:
        """Send what may leave, and have the rest looked at when its time has come.

        Args:
            gathering: the list.
            force: whether everything may leave.
        """
        if gathering.is_sending:
            return
        now = self._roster.timer()
        gathering.is_sending = True
        try:
            if force:
                self._send(gathering, now)
            due = self._due(gathering, now)
            while due <= now:
                self._send(gathering, now)
                due = self._due(gathering, now) if gathering.waits or gathering.is_large else inf
        finally:
            gathering.is_sending = False
        if due == gathering.awaited:
            return
        gathering.awaited = due
        if due < inf:
            heappush(self._awaited, (due, id(gathering), gathering))
            self.due = self._awaited[0][0]
            if self._set_alarm is not None:
                self._set_alarm()

    def _due(self, gathering: Gathering, now: float) -> float:
        """Return the time at which something may leave; infinite when nothing waits."""
        due = gathering.window.due(now, self._gather) if gathering.waits else inf
        if gathering.is_large and self._roster.group(gathering.key).version != gathering.version:
            return min(due, gathering.count_due)
        return due

    def _send(self, gathering: Gathering, now: float) -> None:
        changes, newcomers = gathering.take()
        if gathering.is_large:
            self._send_large(gathering, newcomers, now)
            return
        new: Sequence[Connection] = ()
        others: Sequence[Connection] = ()
        if changes:
            receivers = self._store.connections(gathering.pattern)
            if not receivers:
                self._forget(gathering)
                return
            new = [connection for connection in receivers if connection in newcomers]
            others = [connection for connection in receivers if connection not in newcomers]
        elif newcomers:
            # One that comes in this call is here.
            new = list(newcomers) if gathering.awaited == inf else self.pager.here(newcomers)
        group = self._roster.group(gathering.key)
        size = len(group.states)
        whole = self._events.state(group.announced()) if new and size <= self._large else []
        if size > self._large or (new and not whole):
            gathering.is_large = True
            self._send_large(gathering, newcomers, now)
            return
        if new:
            gathering.window.sent += size
            gathering.deliver(self._writer, new, whole)
        if others:
            gathering.deliver(self._writer, others, self._events.diff(changes))

    def _send_large(
        self, gathering: Gathering, newcomers: dict[Connection, list[Key]], now: float
    ) -> None:
        if now < gathering.count_due:
            self.pager.send_pages(gathering, newcomers)
            return
        receivers: Sequence[Connection] = self._store.connections(gathering.pattern)
        if not receivers:
            self._forget(gathering)
            return
        group = self._roster.group(gathering.key)
        # A tenth less: members who come and go at the bound would have the whole list sent to all
        # each time.
        if len(group.states) <= self._large - self._large // 10:
            whole = self._events.state(group.announced())
            if whole:
                gathering.is_large = False
                gathering.window.sent += len(group.states)
                gathering.deliver(self._writer, receivers, whole)
                return
        self.pager.send_pages(gathering, newcomers)
        if newcomers:
            receivers = [connection for connection in receivers if connection not in newcomers]
        self.pager.send_count(gathering, receivers, now)

    def _forget(self, gathering: Gathering) -> None:
        """Forget a list that no client knows anything of."""
        gathering.is_large = False
        self._gatherings.pop((gathering.key.scope, gathering.key.inner[0]), None)
