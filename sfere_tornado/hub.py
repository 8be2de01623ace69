"""One of each part, wired: what an application holds.

A hub has a store, a dispatcher with the library's registries and the application's, and the only timer of the library.
It acts on what the rooms below decide: it closes the streams that the store lets go of, tells the application that
somebody has left, sends heartbeats, and lets leases end on time.

Laws:

- **Whoever leaves the store is closed**, unless ``close_on_evict`` is false: nobody stays connected but deaf.
- **Nothing is bound to an event loop before** :meth:`Hub.start`, which the first stream calls; so a hub may be made at
  import, and before a fork.
- **Heartbeats renew nothing.** A lease is renewed by the client's requests, and by bytes that its kernel acknowledges.

Thread safety: everything here belongs to the thread of the event loop, except :meth:`Hub.dispatch_threadsafe`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future as ThreadFuture
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Self

from .config import HubConfig, StoreConfig
from .config import load as load_config
from .dispatch import Dispatcher
from .errors import HubError, RegistryError
from .event_stream import comment
from .registries.connections import connections
from .registries.sse import sse
from .stores import CategoryRules, ExpiringStore, MemoryStore
from .writer import Writer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from .connection import Connection
    from .dispatch import Chain, Context, Dispatched
    from .keys import Key
    from .stores import Cause, Removal, Store

__all__ = ("MAX_CHAINS", "Hub")

log = logging.getLogger("sfere_tornado.hub")

#: Ticks of the hub's timer in one heartbeat interval. An idle stream gets its heartbeat between one interval and one
#: third more after its last event: exact enough for proxies, and one timer serves all streams.
TICKS_PER_HEARTBEAT: Final = 3

#: Interceptor chains kept ready, one for each combination of class and route. An application has a few dozen; one that
#: makes its interceptors anew for each request must not fill the memory with them.
MAX_CHAINS: Final = 1024


class Hub:
    """Open event streams by key, reached through dispatched effects.

    Args:
        config: every setting; the defaults when left out. :meth:`from_yaml` reads it from a file.
        registries: the application's registries, or what one can be made from; where a name is taken already, theirs
            wins over the library's, with a warning in the log.
        interceptors: stages around every dispatch of this hub, outside of those of handler classes and routes.
        system: what effects need, such as a database; the system of each dispatch is merged over it.
        id_fn: gives a connection's scope from the context of the dispatch that opens it, such as the tenant of
            ``ctx.system["request"]``; by default every connection has the scope ``"default"``.
        store: another store than the one that the configuration describes.
        timer: the clock, in seconds; monotonic, so that a step of the wall clock ends no lease.

    Raises:
        RegistryError: when a registry or interceptor has the wrong shape.
    """

    def __init__(
        self,
        config: HubConfig | None = None,
        *,
        registries: Iterable[Any] = (),
        interceptors: Sequence[Mapping[str, Any]] = (),
        system: Mapping[str, Any] | None = None,
        id_fn: Callable[[Context], Any] | None = None,
        store: Store[Connection] | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config or HubConfig()
        self.store: Store[Connection] = make_store(self.config.store, timer) if store is None else store
        self.store.on_removal = self._close_removed
        self.store.on_evict = self._tell_evicted
        self.system: dict[str, Any] = dict(system or {})
        self.writer = Writer(slice_size=self.config.stream.fan_out_slice)
        library = [
            sse(max_event_size=self.config.stream.max_event_size),
            connections(self.store, id_fn=id_fn, writer=self.writer),
        ]
        self.dispatcher = Dispatcher([*library, *registries], interceptors=interceptors, spawn=self._spawn)
        #: Every open stream, stored or not, in the order of opening.
        self.streams: dict[Connection, None] = {}
        self._on_evict: list[Callable[[Key, Connection, Cause], object]] = []
        self._chains: dict[tuple[int, ...], tuple[tuple[Mapping[str, Any], ...], Chain]] = {}
        self._timer = timer
        self._tick_seconds = self.config.stream.heartbeat / TICKS_PER_HEARTBEAT
        self._stalled_ticks = self.config.stream.stall / self._tick_seconds
        self._next_beat = 0.0
        self._heartbeat = comment()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def __repr__(self) -> str:
        state = "stopping" if self._stopping else "new" if self._loop is None else "running"
        return f"<Hub {state}: {len(self.streams)} streams, {self.store!r}>"

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], **arguments: Any) -> Self:
        """Return a hub with the settings of a YAML file.

        Args:
            path: the file; see the reference of settings in the documentation.
            arguments: those of :class:`Hub`, except ``config``.

        Raises:
            ConfigError: when the document cannot be used; the text names file, line, setting and the nearest right word.
        """
        return cls(load_config(path), **arguments)

    # -- for applications

    def on_evict(
        self, callback: Callable[[Key, Connection, Cause], object]
    ) -> Callable[[Key, Connection, Cause], object]:
        """Register a function that is told when a key has let go of its last connection; use it as a decorator.

        Args:
            callback: called with key, connection and cause (``explicit``, ``expired``, ``replaced`` or ``size``), after
                the entry is gone: ``hub.store.keys()`` in it is exactly who remains. It may dispatch, purge and store.
                An exception in it is logged, and the others are called all the same.

        Returns:
            The callback.

        Raises:
            RegistryError: when it is a coroutine function, which nobody would await; dispatch an effect instead.
        """
        if not callable(callback) or iscoroutinefunction(callback):
            raise RegistryError(
                f"on_evict takes a plain function, not {callback!r}; dispatch an effect for what must wait"
            )
        self._on_evict.append(callback)
        return callback

    def dispatch(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
    ) -> Dispatched:
        """Dispatch one effect or several, at once, as far as everything in them is synchronous.

        Args:
            effects: an effect, such as ``broadcast(...)`` returns, or a list of them.
            system: merged over the hub's.
            dispatch_data: what placeholders and handlers may read.
            chain: the interceptors, when not only the hub's.

        Returns:
            Results and errors; await it where something in it may have to be waited for.

        Raises:
            HubError: when called from another thread than the event loop's.
        """
        if self._thread and threading.get_ident() != self._thread:
            raise HubError("dispatch was called from another thread than the event loop's; use dispatch_threadsafe")
        merged = {**self.system, **system} if system else self.system
        return self.dispatcher.dispatch(effects, system=merged, dispatch_data=dispatch_data, chain=chain)

    def dispatch_threadsafe(
        self, effects: Any, *, system: Mapping[str, Any] | None = None, dispatch_data: Mapping[str, Any] | None = None
    ) -> ThreadFuture[Dispatched]:
        """Dispatch from any thread; what one thread dispatches arrives in its order.

        Returns:
            A future of the finished dispatch. Do not wait for it in the event loop's own thread.

        Raises:
            HubError: when the hub has not been started, so that there is no event loop to go to.
        """
        loop = self._loop
        if loop is None or loop.is_closed():
            raise HubError("the hub has not been started; call hub.start() in the event loop first")
        told: ThreadFuture[Dispatched] = ThreadFuture()

        def dispatch() -> None:
            if not told.set_running_or_notify_cancel():
                return
            try:
                dispatched = self.dispatch(effects, system=system, dispatch_data=dispatch_data)
            except Exception as error:
                told.set_exception(error)
                return
            self._spawn(tell_later(dispatched, told))

        loop.call_soon_threadsafe(dispatch)
        return told

    def install(self, application: Any) -> None:
        """Make the handlers of a finished :class:`tornado.web.Application` find this hub.

        The same as ``Application(..., sfere=hub)``, for hosts that own their application.

        Raises:
            HubError: when the application has another hub already.
        """
        present = application.settings.setdefault("sfere", self)
        if present is not self:
            raise HubError("the application has another hub already; one application has one hub")

    # -- life

    def start(self) -> None:
        """Meet the running event loop: from now on heartbeats are sent and leases end; a second call changes nothing.

        The first stream that is opened calls it. Call it yourself to use :meth:`dispatch_threadsafe` before that, and in
        each process after a fork.

        Raises:
            HubError: when no event loop runs here, or the hub is running in another one.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise HubError("hub.start() needs a running event loop; call it in a coroutine or callback") from None
        if loop is self._loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise HubError("the hub is running in another event loop; one process and one loop have one hub")
        self._loop = loop
        self._thread = threading.get_ident()
        self._stopping = False
        self.writer.meet(loop.call_soon)
        self._next_beat = self._timer() + self._tick_seconds
        self._set_alarm()

    async def stop(self) -> None:
        """Cut every stream, with reason ``shutdown``, and wait for dispatches that are under way.

        The store is emptied first: a farewell broadcast by ``on_evict`` meets nobody, instead of everybody's farewell
        going to everybody who is about to be cut too.
        """
        self._stopping = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.store.clear()
        for connection in list(self.streams):
            connection.close(reason="shutdown")
        while self._tasks:
            await asyncio.wait(self._tasks)
        self.writer.meet(None)
        self._loop = None
        self._thread = 0

    def tick(self) -> None:
        """Do what is due by the hub's clock: end leases, send heartbeats. The hub's own timer calls it."""
        if self._timer() >= self._next_beat:
            self._next_beat = self._timer() + self._tick_seconds
            self._beat()
        self.store.expire()

    # -- for the web room

    def opened(self, connection: Connection) -> None:
        """Take note of a stream that has been opened."""
        self.start()
        self.streams[connection] = None
        self._set_alarm()

    def ended(self, connection: Connection) -> None:
        """Take note of a stream that has ended."""
        self.streams.pop(connection, None)

    def chain(self, interceptors: Sequence[Mapping[str, Any]]) -> Chain:
        """Return the chain of the hub's interceptors and these, outermost first; made once for each combination."""
        key = tuple(map(id, interceptors))
        kept = self._chains.get(key)
        if kept is None:
            # The interceptors are kept with the chain: while they live, nothing else can have their ids.
            kept = (tuple(interceptors), self.dispatcher.chain(*interceptors))
            if len(self._chains) < MAX_CHAINS:
                self._chains[key] = kept
        return kept[1]

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back after some seconds; returns the handle that cancels it."""
        if self._loop is None:
            raise HubError("the hub has not been started")
        return self._loop.call_later(seconds, callback)

    # -- acting on what was decided below

    def _close_removed(self, removal: Removal[Connection]) -> None:
        if not self.config.store.close_on_evict or self.store.keys_of(removal.connection):
            return
        if self._stopping:
            removal.connection.close(reason="shutdown")
        elif removal.cause == "expired":
            removal.connection.close(reason="expired")
        elif removal.cause == "replaced":
            # Were it to come back, the two would replace each other for ever.
            removal.connection.close(reconnect=False, reason="replaced")
        elif removal.cause == "size":
            removal.connection.close(reason="server")
        else:
            removal.connection.close(reconnect=False, reason="server")

    def _tell_evicted(self, key: Key, connection: Connection, cause: Cause) -> None:
        for callback in self._on_evict:
            try:
                callback(key, connection, cause)
            except Exception:
                log.exception("on_evict callback %r failed for key %s, cause %s", callback, key, cause)

    def _beat(self) -> None:
        """Look after every stream: signs of life, heartbeats, stalls."""
        idle: list[Connection] = []
        stalled: list[Connection] = []
        for connection in list(self.streams):
            if connection.read_acknowledged():
                self.store.renew(connection)
                connection.stalled_ticks = 0
            elif connection.outbox:
                connection.stalled_ticks += 1
                if connection.stalled_ticks > self._stalled_ticks:
                    stalled.append(connection)
            connection.idle_ticks += 1
            if connection.idle_ticks >= TICKS_PER_HEARTBEAT and not connection.outbox:
                idle.append(connection)
        if idle:
            self.writer.deliver(idle, self._heartbeat)
        for connection in stalled:
            connection.close(reason="slow")

    def _set_alarm(self) -> None:
        """Set the timer for what is due next; called again whenever that may have come nearer."""
        if self._loop is None:
            return
        due = self._next_beat
        expiry = self.store.next_expiry()
        if expiry is not None and expiry < due:
            due = expiry
        when = self._loop.time() + max(0.0, due - self._timer())
        if self._alarm is not None:
            if self._alarm.when() <= when:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        try:
            self.tick()
        except Exception:
            log.exception("the hub's tick failed; the next one comes all the same")
        if not self._stopping:
            self._set_alarm()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        # The loop itself keeps tasks only weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def make_store(settings: StoreConfig, timer: Callable[[], float] = time.monotonic) -> Store[Connection]:
    """Return the store that a configuration describes.

    Args:
        settings: the ``store`` part of a configuration.
        timer: the clock of leases, in seconds, monotonic.
    """
    rules = {
        name: CategoryRules(ttl=category.ttl, expiry=category.expiry, same_key=category.same_key)
        for name, category in settings.categories.items()
    }
    if settings.type == "memory":
        return MemoryStore(
            same_key=settings.same_key, maxsize=settings.maxsize, on_full=settings.on_full, categories=rules
        )
    return ExpiringStore(
        settings.ttl,
        expiry=settings.expiry,
        renewed_by=settings.renewed_by,
        timer=timer,
        same_key=settings.same_key,
        maxsize=settings.maxsize,
        on_full=settings.on_full,
        categories=rules,
    )


async def tell_later(dispatched: Dispatched, told: ThreadFuture[Dispatched]) -> None:
    """Hand the result of a dispatch to another thread once it is finished."""
    await dispatched
    told.set_result(dispatched)
