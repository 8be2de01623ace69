"""Every open stream of a hub, from its admission to its end.

How a stream ends. The client, a bound, the server or an error ends the :class:`.Connection`, which
calls :meth:`Streams.end` once. That method does everything in one order: first the watch and the
limits, then the dispatch of ``sse_closed`` through the chain, in which the sfere interceptor purges
the store. Then, whatever the chain did, come the store and presence, and last the handler's own
listener.

Laws:

- **Nothing that an application may override, replace or raise keeps a stream from ending.** No
  method of a handler is called between the socket and :meth:`Streams.end`. What the chain should
  have done is done after it again: a second purge finds nothing.
- **A departure waits for nothing.** A stage that must be awaited does not run here.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..callbacks import call_guarded
from ..effects.streams import sse_closed
from ..effects.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..dispatch import Dispatcher
    from ..presence.feed import PresenceFeed
    from ..stores import Store
    from ..stores.admission import Admission
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .life import Life
    from .questions import Questions, Revalidate
    from .watch import Watch

__all__ = ("Streams",)

log: logging.Logger = logging.getLogger("sfere_tornado.hub")

_SSE_CLOSED: Final = sse_closed()


class Streams:
    """The streams of a hub that count against its limits, in the order of admission.

    Args:
        store: has the connections by key.
        watch: checks open streams.
        admission: counts them against the limits.
        life: the hub's.
        writer: writes what is delivered.
        dispatcher: its chain runs ``sse_closed``.
        system: the hub's.
        feed: records and announces departures; None without presence.
    """

    def __init__(
        self,
        store: Store[Connection],
        watch: Watch,
        admission: Admission,
        life: Life,
        writer: Writer,
        dispatcher: Dispatcher,
        system: Mapping[str, Any],
        feed: PresenceFeed | None,
    ) -> None:
        self._store = store
        self._watch = watch
        #: Counts streams against the limits.
        self.admission: Admission = admission
        self._life = life
        #: Starts the hub for a first stream; returns whether new streams are admitted.
        self.welcome: Callable[[], bool] = life.welcome
        #: Ends the request of a stream whose socket has closed, in the same call or soon.
        self.let_go: Callable[[Callable[[], object]], None] = life.let_go
        #: The questions about the rights of clients.
        self.questions: Questions = watch.questions
        #: Writes what is delivered.
        self.writer: Writer = writer
        self._dispatcher = dispatcher
        self._system = system
        #: Announces presence; None without it.
        self.feed: PresenceFeed | None = feed
        self._visits: dict[Connection, Visit] = {}

    def __repr__(self) -> str:
        return f"<Streams: {len(self._visits)}>"

    def __len__(self) -> int:
        return len(self._visits)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._visits)

    def __contains__(self, connection: object) -> bool:
        return connection in self._visits

    @property
    def draining(self) -> bool:
        """Whether new clients are sent away, because the hub drains."""
        return self._life.draining

    def serve(self, server: Any) -> None:
        """Record a server that a drain of the hub stops."""
        self._life.servers.append(server)

    def openers(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the requests that have opened the streams."""
        return [visit.opener for visit in self._visits.values() if visit.opener is not None]

    def admit(self, connection: Connection, visit: Visit) -> None:
        """Count a stream against the limits, before anything else is done for it.

        Raises:
            LimitReachedError: when a limit is reached; nothing is counted then.
        """
        self.admission.enter(connection.remote)
        self._visits[connection] = visit
        visit.admitted = True

    def opened(
        self,
        connection: Connection,
        visit: Visit | None = None,
        revalidate: Revalidate | None = None,
    ) -> None:
        """Check from now on a stream whose response the present task began.

        It does nothing for a stream that has ended.

        Args:
            connection: the stream.
            visit: what the hub knows of it.
            revalidate: asks, at each heartbeat interval, whether the client may stay.
        """
        if connection.reason is not None:
            return
        visit = self._visits.setdefault(connection, visit or Visit(connection))
        visit.opened = True
        with suppress(RuntimeError):  # no event loop runs, in a test
            visit.opener = asyncio.current_task()
        self._watch.add(connection, revalidate)
        self._life.set_alarm()

    def end(self, connection: Connection) -> None:
        """Do everything that the end of a stream needs; see the module.

        Args:
            connection: the stream; its ``reason`` is set. One that was never admitted is
                purged, without ``sse_closed`` and without the listener.
        """
        visit = self._visits.pop(connection, None)
        self._watch.remove(connection)
        if visit is not None and visit.admitted:
            self.admission.leave(connection.remote)
        # No sse_closed for a stream that was refused, or left before it was stored.
        news = visit is not None and (visit.opened or connection.key is not None)
        try:
            if visit is not None and news:
                call_guarded(
                    log,
                    "the closing",
                    self._dispatcher.dispatch,
                    _SSE_CLOSED,
                    system={**self._system, **visit.system, "sse": connection},
                    chain=visit.chain,
                    kind="closing",
                    subject=visit,
                )
        finally:
            self._store.purge_connection(connection)
            if self.feed is not None:
                self.feed.depart(connection)
        if visit is not None and news and visit.on_close is not None:
            call_guarded(log, "on_close", visit.on_close, connection)
