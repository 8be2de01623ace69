"""One of each part, wired: what an application holds.

A hub has a store, a dispatcher with the library's registries and the application's, and the only timer of the library.
The rooms beside it act on what the rooms below decide: :mod:`.departures` closes who leaves the store, :mod:`.watch`
looks after open streams, :mod:`.alarm` is the timer, :mod:`.stopping` the end.

Law: **nothing is bound to an event loop before** :meth:`Hub.start`, which the first stream calls: a hub may be made at
import, and before a fork. Thread safety: everything here belongs to the thread of the event loop, except :meth:`Hub.dispatch_threadsafe`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from ..admission import Admission
from ..compression import SharedCompressor
from ..config import HubConfig
from ..config import load as load_config
from ..dispatch import Dispatcher
from ..errors import HubError
from ..registries.presence import announce
from ..stores import from_config
from ..writer import Writer
from .alarm import Alarm
from .chains import Chains
from .departures import Departures, check_callback
from .rooms import make_history, make_presence, make_registries
from .stopping import TIMEOUT, WINDOW, drain, run_until_signal
from .threads import dispatch_soon
from .watch import Watch

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from concurrent.futures import Future as ThreadFuture

    from ..connection import Connection
    from ..dispatch import Chain, Context, Dispatched
    from ..keys import Key
    from ..presence import Change
    from ..stores import Cause, Store

__all__ = ("Hub",)


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
        #: The clock of leases and lifetimes, in seconds.
        self.time = timer
        self.system: dict[str, Any] = dict(system or {})
        self.store: Store[Connection] = from_config(self.config.store, timer) if store is None else store
        self.departures = Departures(self.store, close=self.config.store.close_on_evict)
        compressor = SharedCompressor() if self.config.stream.compress else None
        self.writer = Writer(slice_size=self.config.stream.fan_out_slice, compressor=compressor)
        self.admission = Admission(self.config.limits, self.store)
        self.watch = Watch(self.config.stream, self.store, self.writer, timer, self.spawn)
        #: Past events, when the configuration keeps any; who is here, when it has presence.
        self.history = make_history(self.config, timer)
        self.presence = make_presence(self.config, timer)
        self.on_change: list[Callable[[Change], Any]] = []
        self.dispatcher = Dispatcher(
            [*make_registries(self, id_fn), *registries], interceptors=interceptors, spawn=self.spawn
        )
        #: Dispatches under way, and other work that a stop waits for.
        self.tasks: set[asyncio.Task[None]] = set()
        #: Servers that :meth:`listen` has started.
        self.servers: list[Any] = []
        #: Whether the hub is being drained: newcomers are sent away for a while.
        self.draining = False
        self._chains = Chains(self.dispatcher)
        self._next_look = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._alarm: Alarm | None = None

    def __repr__(self) -> str:
        state = "new" if self._loop is None else "draining" if self.draining else "running"
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

    @property
    def streams(self) -> dict[Connection, None]:
        """Every open stream, stored or not, in the order of opening."""
        return self.watch.streams

    @property
    def ready(self) -> bool:
        """Whether new streams are welcome, for the readiness probe of a load balancer."""
        return not self.draining

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
        return self.departures.add(callback)

    def on_presence(self, callback: Callable[[Change], Any]) -> Callable[[Change], Any]:
        """Register a function that is told of every change in who is here; use it as a decorator.

        Args:
            callback: called with the :class:`~sfere_tornado.presence.Change`, whose ``kind`` is ``joined``, ``left``,
                ``away``, ``back`` or ``changed``. Effects that it returns are dispatched.

        Raises:
            HubError: when the hub has no presence; give the configuration a section ``presence``.
            RegistryError: when it is a coroutine function.
        """
        if self.presence is None:
            raise HubError("this hub has no presence; give its configuration a section presence")
        check_callback(callback, "on_presence")
        self.on_change.append(callback)
        return callback

    def cursor(self) -> str:
        """Return the id of this moment, to be put into a page: its stream begins with what has happened since.

        Raises:
            HubError: when the hub keeps no history; give the configuration a section ``history``.
        """
        if self.history is None:
            raise HubError("this hub keeps no history; give its configuration a section history")
        return self.history.cursor()

    def dispatch(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
    ) -> Dispatched:
        """Dispatch one effect or several, at once, as far as everything in them is synchronous.

        What they send is written when the present turn of the event loop is over, everything for one client together.

        Args:
            effects: an effect, such as ``broadcast(...)`` returns, or a list of them.
            system: merged over the hub's.
            dispatch_data: what placeholders and handlers may read.
            chain: the interceptors, when not only the hub's.

        Returns:
            Results and errors; awaiting it waits for what is asynchronous, and until everything has been written.

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
        return dispatch_soon(self, loop, effects, system, dispatch_data)

    def revoke(self, pattern: Any) -> int:
        """End the streams whose key matches, with reason ``revoked``; their clients are told to stay away.

        Returns:
            How many there were.

        Raises:
            KeyShapeError: when it is no pattern.
        """
        found = self.store.connections(pattern)
        for connection in found:
            connection.close(reconnect=False, reason="revoked")
        return len(found)

    def install(self, application: Any) -> None:
        """Make the handlers of a finished :class:`tornado.web.Application` find this hub.

        The same as ``Application(..., sfere=hub)``, for hosts that own their application.

        Raises:
            HubError: when the application has another hub already.
        """
        present = application.settings.setdefault("sfere", self)
        if present is not self:
            raise HubError("the application has another hub already; one application has one hub")

    def listen(self, application: Any, port: int, address: str = "127.0.0.1", **arguments: Any) -> int:
        """Serve an application with this hub: a backlog for a crowd, and bounds on what a request may cost.

        Args:
            application: the :class:`tornado.web.Application`; the hub is installed in it.
            port: 0 takes any free one.
            address: where to listen; an empty string is everywhere.
            arguments: of :class:`tornado.httpserver.HTTPServer`, over the defaults of :mod:`sfere_tornado.web.serving`.

        Returns:
            The port. :meth:`drain` stops the server.
        """
        # The only door upwards: everybody looks for it here, and the room behind it knows Tornado.
        from ..web.serving import listen  # noqa: PLC0415  # see above

        return listen(self, application, port, address, **arguments)

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
        self.draining = False
        self.writer.meet(loop.call_soon)
        self.departures.close = self.config.store.close_on_evict
        self._next_look = self.time() + self.watch.tick_seconds
        self._alarm = Alarm(loop, self._due_in, self.tick)
        self._alarm.set()

    async def stop(self) -> None:
        """Cut every stream at once, with reason ``shutdown``, and wait for dispatches that are under way."""
        self.begin_draining()
        for connection in list(self.streams):
            connection.close(reason="shutdown")
        while self.tasks:
            await asyncio.wait(set(self.tasks))
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        self.writer.meet(None)
        self._loop = None
        self._thread = 0

    async def drain(self, *, window: float = WINDOW, timeout: float = TIMEOUT, farewell: Any = None) -> None:  # noqa: ASYNC109  # bounds several waits
        """Stop gracefully: newcomers are sent away, streams told farewell and cut over a window, then everything ends.

        Args:
            window: seconds over which streams are cut, and over which their clients are told to come back; 0 is at once.
            timeout: seconds after which the drain is over, whatever hooks and dispatches do.
            farewell: effects for every open stream, such as ``send("restarting", event="notice")``.
        """
        await drain(self, window=window, timeout=timeout, farewell=farewell)

    async def run_until_signal(
        self,
        *,
        window: float = WINDOW,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  # bounds several waits
        farewell: Any = None,
    ) -> None:
        """Wait for SIGINT or SIGTERM, then :meth:`drain`; a second signal ends the process at once, with exit code 0.

        Should a hook never give the event loop back, the process is ended half a second after the time-out.
        """
        self.start()
        await run_until_signal(self, window=window, timeout=timeout, farewell=farewell)

    def begin_draining(self) -> None:
        """Stop accepting, and let go of every stored connection; the streams stay open until they are cut.

        The store is emptied first: a farewell that ``on_evict`` broadcasts meets nobody, instead of everybody's farewell
        going to everybody who is about to be cut too.
        """
        self.draining = True
        self.departures.close = False
        for server in self.servers:
            server.stop()
        self.store.clear()

    def tick(self) -> None:
        """Do what is due by the hub's clock: look after streams, end leases. The hub's own timer calls it."""
        if self.time() >= self._next_look:
            self._next_look = self.time() + self.watch.tick_seconds
            self.watch.begin()
            self._go_on_watching()
        self.store.expire()
        if self.presence is not None:
            changes = self.presence.expire()
            if changes:
                self.dispatch(announce(changes))

    # -- for the web room

    def opened(self, connection: Connection) -> None:
        """Take note of a stream that has been opened."""
        self.watch.add(connection)
        self.set_alarm()

    def ended(self, connection: Connection) -> None:
        """Take note of a stream that has ended."""
        self.watch.remove(connection)

    def set_alarm(self) -> None:
        """Take note that something may be due earlier than it was."""
        if self._alarm is not None:
            self._alarm.set()

    def chain(self, interceptors: Sequence[Mapping[str, Any]]) -> Chain:
        """Return the chain of the hub's interceptors and these, outermost first; made once for each combination."""
        return self._chains.get(interceptors)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back after some seconds; returns the handle that cancels it."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    def _due_in(self) -> float:
        ends = [self.store.next_expiry(), None if self.presence is None else self.presence.next_expiry()]
        return min([self._next_look, *(end for end in ends if end is not None)]) - self.time()

    def _go_on_watching(self) -> None:
        while self.watch.go_on():
            if self._loop is not None:
                self._loop.call_soon(self._go_on_watching)
                return

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task that a stop waits for."""
        task = asyncio.get_running_loop().create_task(coroutine)
        # The loop itself keeps tasks only weakly.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
