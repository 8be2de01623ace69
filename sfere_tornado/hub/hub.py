"""The hub: what an application holds.

A hub has a store, a dispatcher with the registries of the library and of the application, and the
library's only timer. It passes each call on to the object that has the subject:

- ``hub.parts`` makes the objects from the configuration.
- ``hub.streams`` admits streams and ends them. ``hub.departures`` closes the streams of connections
  that leave the store. ``hub.release`` ends the requests of closed streams.
- ``hub.serving`` is what the handlers of requests need. ``hub.chains`` keeps chains of
  interceptors.
- ``hub.ticks`` has the clocks and the timer, ``hub.alarm``. ``hub.lease_clock`` is the clock of
  leases. ``hub.watch`` checks open streams on every tick; ``hub.questions`` asks the application
  whether clients may stay.
- ``hub.life`` binds to the event loop. ``hub.draining`` ends everything in time. ``hub.watchdog``
  ends the process when nothing else does.
- ``hub.threads`` takes dispatches from other threads.

Thread safety: use a hub only in the thread of its event loop, except
:meth:`Hub.dispatch_threadsafe`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from ..config import HubConfig
from ..config import load as load_config
from ..dispatch import Dispatcher
from ..effects.previews import explain
from ..errors import HubError
from .departures import check_callback
from .draining import STOP_TIMEOUT, TIMEOUT, WINDOW, Drain, Draining
from .life import Life
from .parts import Parts
from .serving import Serving
from .ticks import Ticks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future as ThreadFuture

    from ..dispatch import Chain, Context, Dispatched, Effects, Interceptor
    from ..dispatch.explain import Explanation
    from ..history import History
    from ..keys import Key, PatternLike
    from ..presence import Change, Presence
    from ..presence.feed import PresenceFeed
    from ..stores import Cause, Store
    from ..streams.connection import Connection
    from ..streams.fanout import Fanout
    from .streams import Streams

__all__ = ("Hub",)


class Hub:
    """Open event streams by key, reached through dispatched effects.

    Args:
        config: every setting; the defaults when left out. :meth:`from_yaml` reads it from a file.
        registries: the application's registries, or what one can be made from. Where a name is
            taken, the application's wins, with a warning in the log.
        interceptors: stages around every dispatch of this hub, outside those of handler classes and
            routes; plain functions only.
        system: what effects need, such as a database; the system of each dispatch is merged over
            it.
        id_fn: gives a connection's scope from the context of the dispatch that opens it, such as
            the tenant of ``ctx.system["request"]``; by default every connection has the scope
            ``"default"``.
        store: another store than the one that the configuration describes.
        timer: the clock, in seconds; monotonic, so that a step of the wall clock ends no lease.

    Raises:
        RegistryError: when a registry or interceptor has the wrong shape, or an interceptor has a
            coroutine function as a stage.
    """

    def __init__(
        self,
        config: HubConfig | None = None,
        *,
        registries: Iterable[Any] = (),
        interceptors: Sequence[Interceptor] = (),
        system: Mapping[str, Any] | None = None,
        id_fn: Callable[[Context], Any] | None = None,
        store: Store[Connection] | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        config = config or HubConfig()
        self._max_event_size = config.stream.max_event_size
        #: The clocks: ``connection.expires_at = hub.clock.time() + seconds``.
        self.clock: Ticks = Ticks(timer)
        parts = Parts(config, self.clock, store)
        #: Open connections by key, in this process.
        self.store: Store[Connection] = parts.store
        self._departures = parts.departures
        self._life = Life(self.clock, parts.writer, parts.departures)
        feed = parts.make_feed(self.dispatch)
        #: Runs effects through the chain; says which there are.
        self.dispatcher: Dispatcher = Dispatcher(
            [*parts.registries(id_fn, feed), *registries],
            interceptors=interceptors,
            spawn=self._life.spawn,
            awaiting=("request", "opening"),
        )
        base = dict(system or {})
        #: The open streams, stored or not.
        self.streams: Streams = parts.make_streams(self._life, self.dispatcher, base, feed)
        #: What the handlers of requests need.
        self.serving: Serving = Serving(config, self.dispatcher, self.streams, parts.history, base)
        #: Start, readiness and end.
        self._draining = Draining(
            self._life, self.streams, parts.writer, self._say, config.stream.retry
        )

    def __repr__(self) -> str:
        return f"<Hub {self._life.state}: {len(self.streams)} streams, {self.store!r}>"

    @property
    def history(self) -> History:
        """Past events. ``hub.history.cursor()`` is the id of this moment, for a page.

        Raises:
            HubError: when the hub keeps no history; give the configuration a section ``history``.
        """
        if self.serving.history is None:
            raise HubError("this hub keeps no history; give its configuration a section history")
        return self.serving.history

    @property
    def presence(self) -> Presence:
        """The members that are here.

        Raises:
            HubError: when the hub has no presence; give the configuration a section ``presence``.
        """
        return self._feed().roster

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], **arguments: Any) -> Self:
        """Return a hub with the settings of a YAML file.

        Args:
            path: the file; see the reference of settings in the documentation.
            arguments: those of :class:`Hub`, except ``config``.

        Raises:
            ConfigError: when the document is not valid; the text names file, line, setting and
                remedy.
        """
        return cls(load_config(path), **arguments)

    # -- for applications

    def on_evict(
        self, callback: Callable[[Key, Connection, Cause], object]
    ) -> Callable[[Key, Connection, Cause], object]:
        """Register a callback for keys that have lost their last connection; a decorator.

        Args:
            callback: called with key, connection and cause (``explicit``, ``expired``, ``replaced``
                or ``size``) after the entry is removed: ``hub.keys()`` has only the other keys
                then. It may dispatch, purge and store. An exception in it is logged; the next
                callback is called.

        Returns:
            The callback.

        Raises:
            RegistryError: when it is a coroutine function, which would not be awaited;
                dispatch an effect.
        """
        return self._departures.add(callback)

    def on_presence(self, callback: Callable[[Change], Any]) -> Callable[[Change], Any]:
        """Register a callback for every change of presence; a decorator.

        Args:
            callback: called with the :class:`~sfere_tornado.presence.Change`, whose ``kind`` is
                ``joined``, ``left``, ``away``, ``back`` or ``changed``. Effects that it returns are
                dispatched.

        Raises:
            HubError: when the hub has no presence; give the configuration a section ``presence``.
            RegistryError: when it is a coroutine function.
        """
        feed = self._feed()
        check_callback(callback, "on_presence")
        feed.add_callback(callback)
        return callback

    def dispatch(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
    ) -> Dispatched:
        """Dispatch one effect or several. All that is synchronous runs in this call.

        What they send is written at the end of this turn of the event loop, in one send per client.

        Args:
            effects: an effect, such as ``broadcast(...)`` returns, or a list of them.
            system: merged over the hub's.
            dispatch_data: what placeholders and handlers may read.
            chain: the interceptors, when not only the hub's.

        Returns:
            Results and errors. Await it to wait for asynchronous effects, and until all is written.

        Raises:
            HubError: when called from another thread than the event loop's.
        """
        self._life.check_thread()
        merged = {**self.serving.system, **system} if system else self.serving.system
        return self.dispatcher.dispatch(
            effects, system=merged, dispatch_data=dispatch_data, chain=chain
        )

    def dispatch_threadsafe(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
    ) -> ThreadFuture[Dispatched]:
        """Dispatch from any thread; dispatches of one thread keep their order.

        Returns:
            A future of the finished dispatch. Do not wait for it in the thread of the event loop.
            It gets a HubError when the hub stops before the dispatch has finished.

        Raises:
            HubError: when the hub has not been started, so that it has no event loop.
        """
        return self._life.calls.soon(
            lambda: self.dispatch(effects, system=system, dispatch_data=dispatch_data),
            self._life.spawn,
        )

    def explain(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
    ) -> Explanation:
        """Return what :meth:`dispatch` would do, and do nothing.

        The answer has values, expansion, stages, receivers and bytes.
        """
        return explain(
            self.dispatcher,
            self.store,
            effects,
            system={**self.serving.system, **(system or {})},
            dispatch_data=dispatch_data,
            chain=chain,
            max_event_size=self._max_event_size,
            history=self.serving.history,
        )

    def keys(self, pattern: PatternLike | None = None) -> list[Key]:
        """Return the stored keys, all or those that match a pattern.

        Raises:
            KeyShapeError: when it is not a valid pattern.
        """
        return self.store.keys(pattern)

    def count(self, pattern: PatternLike | None = None) -> int:
        """Return how many connections are stored, all or those that match; each counts once.

        Raises:
            KeyShapeError: when it is not a valid pattern.
        """
        return self.store.count(pattern)

    def purge(self, pattern: PatternLike) -> int:
        """Remove the connections whose key matches, cause ``explicit``, and close their streams.

        Returns:
            How many connections were removed.

        Raises:
            KeyShapeError: when it is not a valid pattern.
        """
        keys = self.store.keys(pattern)
        return len({id(gone.connection) for key in keys for gone in self.store.purge(key)})

    def revoke(self, pattern: PatternLike) -> int:
        """End matching streams, with reason ``revoked``; tell the clients to stay away.

        What was dispatched before, such as a reason, is written if the socket takes it in this
        call. What waits, because the client is slow or :meth:`.SSEMixin.revalidate` has not
        answered, is dropped.

        Returns:
            How many streams were ended.

        Raises:
            KeyShapeError: when it is not a valid pattern.
        """
        self.streams.writer.flush()
        connections = self.store.connections(pattern)
        for connection in connections:
            connection.close(reconnect=False, reason="revoked")
        return len(connections)

    def install(self, application: Any) -> None:
        """Make the handlers of a finished :class:`tornado.web.Application` find this hub.

        The same as ``Application(..., sfere=hub)``, for code that makes its own application.

        Raises:
            HubError: when the application has another hub already.
        """
        present = application.settings.setdefault("sfere", self)
        if present is not self:
            raise HubError("the application has another hub already; one application has one hub")

    # -- start and end

    @property
    def ready(self) -> bool:
        """Whether a load balancer may send new streams here; for its readiness probe."""
        return not (self._life.draining or self._life.lame_duck)

    def start(self) -> None:
        """Use the running event loop: heartbeats are sent and leases end from now on.

        The first stream that is opened calls it; a second call changes nothing. Call it yourself to
        use :meth:`dispatch_threadsafe` before that, and in each process after a fork.

        Raises:
            HubError: when no event loop runs here, or the hub is running in another one.
        """
        self._life.start()

    async def stop(self, timeout: float = STOP_TIMEOUT) -> None:  # noqa: ASYNC109  # bounds several waits
        """Cut every stream, with reason ``shutdown``, and wait for dispatches under way.

        A dispatch that awaits it is not waited for: it would wait for itself.

        Args:
            timeout: seconds after which dispatches that are still under way are cancelled.
        """
        await self._draining.stop(timeout)

    async def drain(
        self,
        *,
        window: float = WINDOW,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  # bounds several waits
        farewell: Effects = None,
        lame_duck: float = 0.0,
    ) -> None:
        """Stop gracefully: refuse new clients, send the farewell, cut streams over a window.

        A dispatch that awaits it is not waited for: it would wait for itself.

        Args:
            window: seconds over which streams are cut, and over which their clients are told to
                come back; 0 cuts all in one turn.
            timeout: seconds after which the drain is over, whatever hooks and dispatches do; it
                bounds all the others.
            farewell: effects for every open stream, such as ``send("restarting", event="notice")``.
            lame_duck: seconds before all that in which :attr:`ready` is False and new clients are
                served: a load balancer sends them until its next probe.
        """
        await self._draining.drain(
            Drain(window=window, timeout=timeout, farewell=farewell, lame_duck=lame_duck)
        )

    async def run_until_signal(
        self,
        *,
        window: float = WINDOW,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  # bounds several waits
        farewell: Effects = None,
        lame_duck: float = 0.0,
    ) -> None:
        """Wait for SIGINT or SIGTERM, then :meth:`drain`; a second signal exits with code 0.

        Half a second after the time-out the process ends in any case, with exit code 0, and what is
        left is logged: a hook that blocks the loop, a task that ignores its cancellation, or a
        thread, would keep it alive. The application may close its own things after the drain, in
        the rest of that time. Call it in the main thread; arguments as for :meth:`drain`.
        """
        self._life.start()
        await self._draining.run_until_signal(
            Drain(window=window, timeout=timeout, farewell=farewell, lame_duck=lame_duck)
        )

    def _say(self, effects: Effects, fanout: Fanout) -> None:
        self.dispatcher.dispatch(effects, system={**self.serving.system, "sse": fanout})

    def _feed(self) -> PresenceFeed:
        feed = self.streams.feed
        if feed is None:
            raise HubError("this hub has no presence; give its configuration a section presence")
        return feed
