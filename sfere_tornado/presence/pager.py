"""Sends a large list: first pages to newcomers, counts to the others, and pages to who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .presence import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..keys import Key
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .events import PresenceEvents
    from .gathering import Gathering
    from .presence import Presence
    from .records import Member, Page

__all__ = ("COUNT_EVERY", "SHARED_SIZE", "Pager")

#: Seconds between two counts of one list, 1: a number that changes faster cannot be read.
COUNT_EVERY: Final = 1.0

#: Bytes of newcomers' own entries that share one event, 8 KiB: some 80 newcomers. Each of them is
#: sent the entries of all of them, so that the event is encoded and compressed once.
SHARED_SIZE: Final = 8 * 1024


class Pager:
    """Sends pages and counts.

    Args:
        roster: who is here.
        events: makes the events.
        writer: writes them.
    """

    __slots__ = ("_events", "_roster", "_writer")

    def __init__(self, roster: Presence, events: PresenceEvents, writer: Writer) -> None:
        self._roster = roster
        self._events = events
        self._writer = writer

    def __repr__(self) -> str:
        return f"<Pager of {self._roster!r}>"

    def here(self, newcomers: dict[Connection, list[Key]]) -> list[Connection]:
        """Return the newcomers that are still open under one of the keys of their arrivals."""
        here = []
        for connection, keys in newcomers.items():
            for key in keys:
                if self._roster.is_open(key, connection):
                    here.append(connection)
                    break
        return here

    def send_pages(self, gathering: Gathering, newcomers: dict[Connection, list[Key]]) -> None:
        """Send the first page, their own entries and the count to newcomers of a list."""
        connections: list[Connection] = []
        own: list[Member] = []
        size = 0
        for connection in self.here(newcomers):
            members = [
                each for key in newcomers[connection] for each in self._roster.announced(key)
            ]
            connections.append(connection)
            own += members
            size += self._events.size(members)
            if size > SHARED_SIZE:
                self._send_page(gathering, connections, own)
                connections, own, size = [], [], 0
        if connections:
            self._send_page(gathering, connections, own)

    def send_count(self, gathering: Gathering, receivers: Sequence[Connection], now: float) -> None:
        """Send the count of a list, if something has changed since the last one."""
        page = self._roster.page(gathering.key, limit=1)
        if page.version == gathering.version:
            return
        gathering.version = page.version
        gathering.count_due = now + COUNT_EVERY
        # Of the counts that wait for a slow client only the last is news.
        name = ("presence_count", gathering.pattern)
        gathering.deliver(self._writer, receivers, [self._events.count(page)], name)

    def first_page(self, key: Key, own: Sequence[Member] = ()) -> list[bytes]:
        """Return the events that tell the beginning of a list, and some of its members.

        Args:
            key: of any member of the list.
            own: the members.
        """
        page = self._page(key, 0)
        return [self._events.first_page(page, own), self._events.count(page)]

    def page(self, key: Key, after: int = 0) -> str:
        """Return a page of the members in the scope and category of a key, as JSON.

        Args:
            key: of a member that may see them.
            after: where the page begins; see :meth:`.Presence.page`.
        """
        return self._events.page(self._page(key, after))

    def _send_page(
        self, gathering: Gathering, connections: Sequence[Connection], own: Sequence[Member]
    ) -> None:
        gathering.window.sent += PAGE_SIZE
        payloads = self.first_page(gathering.key, own)
        gathering.deliver(self._writer, connections, payloads)

    def _page(self, key: Key, after: int) -> Page:
        """Return a page that fits into an event, at least one member."""
        page = self._roster.page(key, after)
        fitting = self._events.fitting(page.members)
        if fitting < len(page.members):
            page = self._roster.page(key, after, fitting)
        return page
