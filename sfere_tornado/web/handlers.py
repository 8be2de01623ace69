"""Event streams on request handlers: :class:`SSEMixin` for a host's own base class, :class:`SSEHandler` for everybody else.

One stream is three short dispatches, not one long: opening (the effect ``("sse_opened",)`` inside the chain), whatever is
sent meanwhile, and closing (the action ``("sse_closed",)``).

How a departure is known. Until the stream is open Tornado's close callback tells; from then on the drain reader sees the
client's FIN or RST. Or a write fails; a bound cuts; the server closes; the handler's task is cancelled. All of these come to
:meth:`~sfere_tornado.streams.connection.Connection.end`, and the first of them dispatches ``sse_closed``, once.

Laws:

- **Nobody is stored who has left.** Whether the client is still there is asked on entry and again immediately before
  storing, with nothing awaited in between; what everything needs to end exists before the request runs.
- **The handler's coroutine is released when the socket is closed, not before**: Tornado then finds nothing to write to,
  and never takes the connection back for another request.
- **A departure waits for nobody**: stages that must be awaited do not delay the purge.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from ..callbacks import call_guarded
from ..dispatch import effect
from ..effects.visit import Visit
from ..errors import KeyTakenError, LimitReachedError, PresenceFullError, StoreFullError
from ..presence import MAX_LABEL
from ..streams.connection import Connection
from ..wire.compression import HEADER, accepts_gzip
from ..wire.event_stream import retry
from .opening import Opening, cursor_block, last_event_id, maybe_await, replay
from .origin import is_own_host, refuse_foreign_page
from .requests import InterceptorMixin
from .sockets import StreamTransport, has_left, has_vanished, tune

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from collections.abc import Set as AbstractSet

    from tornado.iostream import IOStream
    from tornado.web import Application

    from ..dispatch import Context, Dispatched, DispatchError
    from ..history import Mark
    from ..keys import Key
    from ..streams.fanout import Fanout
    from ..wire.compression import SharedCompressor

__all__ = ("EVENT_STREAM_HEADERS", "SSEHandler", "SSEMixin")

log: logging.Logger = logging.getLogger("sfere_tornado.web")

#: Headers of an event stream: its type (WHATWG HTML 9.2.5), no copy kept anywhere, and no holding back of events until a
#: proxy's buffer is full (nginx obeys the last).
EVENT_STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

#: How much longer than ``retry`` a client may be told to wait: those that were cut together must not come back together.
RETRY_JITTER: Final = 0.5

#: The status for ``limits.answer``; ``retry`` has none.
LIMIT_STATUS: Final = {"unavailable": 503, "too_many": 429}


class SSEMixin(InterceptorMixin):
    """Answers GET with an event stream; put it before a handler class of your own or of a host.

    Override :meth:`connection_key`, and :meth:`on_open` where the newcomer or the others are to be told something. A
    subclass that needs decorators overrides ``get`` and returns ``super().get()``.
    """

    #: Verbs, in capitals, whose method opens a stream; the others are ordinary requests inside the chain.
    stream_verbs: ClassVar[AbstractSet[str]] = frozenset({"GET"})

    def __init__(self, application: Application, request: Any, **kwargs: Any) -> None:
        self._connection: Connection | None = None
        self._transport: StreamTransport | None = None
        self._socket_closed: asyncio.Future[None] | None = None
        # The task of the request, until the stream is open: it is cancelled when the client leaves.
        self._opener: asyncio.Task[Any] | None = None
        # The same, once it was cancelled for that.
        self._cancelled: asyncio.Task[Any] | None = None
        super().__init__(application, request, **kwargs)
        # On the instance, before whatever a subclass has there, and may have without super(): Tornado
        # calls the first while the response has not begun, and awaits the second.
        self.__dict__["on_connection_close"] = self._end
        self.__dict__["prepare"] = partial(self._prepare, self.prepare)

    def on_open(self, connection: Connection) -> Any:
        """Return effects for a stream that has just been stored and opened, or None; may be a coroutine function.

        They are dispatched with the new connection as the connection of the dispatch: ``send(...)`` goes to it alone,
        ``broadcast(...)`` to whoever matches. An exception closes the stream; the client comes back.
        """
        return None

    def on_gap(self, connection: Connection, reason: str) -> Any:
        """Return effects for a client that has missed events which are not kept any more; may be a coroutine function.

        It has been sent the event ``gap`` with the reason: ``too_old``, ``foreign`` (the id is of another server, or of
        this one before a restart) or ``garbage``. Return a snapshot, where that serves better than what is still kept: it
        is sent in place of that. None replays what there is.
        """
        return None

    def presence_meta(self) -> dict[str, Any]:
        """Return what presence is to know of the stream: any of ``tab``, ``device``, ``data``, ``hidden``; for overriding.

        By default the tab is the query argument ``tab``, as the shipped script sends it; one that cannot be kept is none.
        """
        tab = self.get_query_argument("tab", "")
        return {"tab": tab} if 0 < len(tab) <= MAX_LABEL and tab.isprintable() else {}

    def on_close(self, connection: Connection) -> None:
        """Take note that the stream has ended, ``connection.reason`` says why; called once, when it has left the store."""

    async def revalidate(self, connection: Connection) -> bool:
        """Tell whether the client may stay; asked at each heartbeat interval where a subclass overrides it.

        Until it has answered nothing is written to the client; what is sent waits, within ``max_outbox``. True lets that
        follow. False ends the stream with reason ``revoked``, none of it is ever written, and the client is told to stay away.
        An exception is logged, as is no answer within ``stream.revalidate_timeout``, when the hook is cancelled; the stream
        stays open then, and what waited follows: a database that is down must not throw everybody out.
        """
        return True

    def get(self, *args: str, **kwargs: str) -> Awaitable[None]:
        """Open the event stream and keep it open."""
        # Not a coroutine around the coroutine: it would be there as long as the stream.
        return self.open_stream()

    async def head(self, *args: str, **kwargs: str) -> None:
        """Answer with the headers of the stream alone."""
        self._set_stream_headers()

    def intercepts(self, verb: str) -> bool:
        """Tell whether the whole method runs inside the chain; that of a stream does not, it would be one long dispatch."""
        return verb not in self.stream_verbs

    def on_connection_close(self) -> None:
        """Listen for the client's departure; for overriding, with or without ``super()``.

        Called once, after the library has dispatched ``sse_closed`` and let go of the stream. An
        exception in it is logged.
        """
        super().on_connection_close()

    @property
    def connection(self) -> Connection | Fanout | None:
        """The handler's own stream, or that of :meth:`connection_key` while another request is being run; None without one."""
        return super().connection if self._connection is None else self._connection

    def dispatch(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
    ) -> Dispatched:
        """Dispatch as :meth:`.InterceptorMixin.dispatch`; once the stream is open, with it as the connection."""
        if self._context is None and self._connection is not None:
            system = {"sse": self._connection, **(system or {})}
        return super().dispatch(effects, system=system, dispatch_data=dispatch_data)

    def check_origin(self, origin: str) -> bool:
        """Tell whether a page of another origin may open this stream; for overriding. By default only the own host may.

        Args:
            origin: as the browser sends it, such as ``https://example.org``.
        """
        return is_own_host(self.request, origin)

    async def open_stream(self) -> None:
        """Open the event stream inside the chain, and return when its socket is closed.

        A stage that raises, or halts, keeps the stream from being opened. At a limit, and while the hub is draining, the
        client is sent away for one reconnection time; an error status would keep it away for good.

        Raises:
            HTTPError: 403 for a page of a foreign origin; 409 where another connection holds the key and ``same_key`` is
                ``refuse``; 429 or 503 at a limit, where the settings say so.
            Exception: what a stage raised.
        """
        refuse_foreign_page(self.request, self.check_origin)
        if has_left(self._stream):
            return
        hub = self.hub
        welcome = hub.streams.welcome()
        closed = self._socket_closed = asyncio.get_running_loop().create_future()
        task = self._opener = asyncio.current_task()
        settings = hub.config.stream
        connection = Connection(
            on_end=hub.streams.end,
            remote=self.request.remote_ip or "",
            max_outbox=settings.max_outbox,
            conflate=settings.on_slow == "conflate",
            writer=hub.streams.writer,
        )
        if type(self).revalidate is not SSEMixin.revalidate:
            connection.revalidate = self.revalidate
        self._connection = connection
        visit = self._visit(connection)
        try:
            if welcome:
                await self._open_or_refuse(visit)
            else:
                self._send_away(connection)
            # The dispatch that has opened the stream is over; kept, it would cost each stream two
            # kilobytes.
            self._context = self._opener = None
            if self._transport is not None:
                await closed
        except asyncio.CancelledError:
            # The loop is ending, or a host gave up on this request, or the client has left. Tornado
            # would put an error page into the stream, and log that it cannot: so the response is
            # finished here, when its socket is closed.
            connection.close(reason="shutdown" if hub.streams.draining else "error")
            if self._abandoned(task):
                self._finish_quietly(task)
                return
            if self._transport is not None and not self._finished:
                self.finish()
            raise
        finally:
            connection.close(reason="error")
            self._context = self._opener = None

    def _visit(self, connection: Connection) -> Visit:
        """Return what the library's stages are to know of the stream."""
        return Visit(
            connection,
            key=self.connection_key,
            meta=self.presence_meta,
            answer=self._begin,
            system={"request": self.request, "handler": self},
            chain=self.chain,
            on_close=self.on_close,
        )

    async def _open_or_refuse(self, visit: Visit) -> None:
        hub, connection = self.hub, self._connection
        if connection is None:
            return
        try:
            hub.streams.admit(connection, visit)
            await self._open_in_chain(visit)
        except (StoreFullError, PresenceFullError, LimitReachedError) as error:
            log.warning("%s was refused a stream: %s", connection.remote, error)
            status = LIMIT_STATUS.get(hub.config.limits.answer)
            if status is not None:
                raise HTTPError(status, "%s", error) from error
            self._send_away(connection)
        except KeyTakenError as error:
            raise HTTPError(409, "%s", error) from error

    async def _open_in_chain(self, visit: Visit) -> None:
        await self._dispatch_request(effect("sse_opened"), "opening", visit)

    def _prepare(self, prepare: Callable[[], Awaitable[None] | None]) -> Awaitable[None] | None:
        del self.__dict__["prepare"]
        waiting = prepare()
        return None if waiting is None else self._prepare_later(waiting)

    async def _prepare_later(self, waiting: Awaitable[None]) -> None:
        task = self._opener = asyncio.current_task()
        try:
            await waiting
        except asyncio.CancelledError:
            if not self._abandoned(task):
                raise
            # Tornado looks whether the request is finished, and runs no method then.
            self._finish_quietly(task)
        finally:
            self._opener = None

    def _end(self) -> None:
        """End the stream and its request, because the socket is closed."""
        self.__dict__.pop("on_connection_close", None)
        if self._connection is not None:
            self._connection.end("timeout" if has_vanished(self._stream) else "client")
        closed, self._socket_closed = self._socket_closed, None
        if closed is not None:
            self.hub.streams.let_go(partial(self._end_request, closed))
        task, self._opener = self._opener, None
        if task is not None and task is not asyncio.current_task():
            # A hook, or a stage, is being awaited for a client that has left.
            self._cancelled = task
            task.cancel()
        call_guarded(log, "on_connection_close", self.on_connection_close)

    def _abandoned(self, task: asyncio.Task[Any] | None) -> bool:
        """Tell whether the task was cancelled because the client has left."""
        return task is not None and self._cancelled is task

    def _finish_quietly(self, task: asyncio.Task[Any] | None) -> None:
        """Finish the response of a client that has left, and let the task go on to its end."""
        if task is not None:
            task.uncancel()
        if not self._finished:
            self.finish()

    def _send_away(self, connection: Connection) -> None:
        """Answer with a stream that only says when to come back; nobody is told that it was there."""
        self._start(connection)
        connection.close(reason="server")

    def _begin(self, ctx: Context) -> Any:
        """Open the stream, as the effect in the middle of the chain; not when a stage refused it or the client has left."""
        connection = self._connection
        if ctx.errors or self._finished or connection is None or connection.closed:
            return None
        self._context = ctx
        visit = ctx.subject
        position = visit.mark
        missed = last_event_id(self.request) if position is not None else None
        # A client that was cut between this id and what it has missed would never get that: the replay ends with the id.
        transport = self._start(
            connection, position if missed is None else None, live=False, visit=visit
        )
        greeting = None
        if missed is None:
            try:
                greeting = self._greeting(connection)
            except Exception:
                connection.close(reason="error")
                raise
            if not inspect.isawaitable(greeting):
                connection.go_live()
                return ctx.dispatch(greeting) if greeting is not None else None
        opening = Opening(
            ctx, connection, self._stream, transport.frame, self.hub.streams.questions
        )
        return self._open_in_parts(visit, opening, missed, greeting)

    def _start(
        self,
        connection: Connection,
        position: Mark | None = None,
        *,
        live: bool = True,
        visit: Visit | None = None,
    ) -> StreamTransport:
        """Send the headers, and join connection and socket; nothing is awaited here.

        Args:
            connection: the stream.
            position: where the history stands, for a client that comes without an id.
            live: False lets what is sent wait, while the opener writes what comes before it.
            visit: of the stream; None for a client that is sent away.
        """
        hub = self.hub
        settings = hub.config.stream
        compressor = self._set_stream_headers(connection.key)
        # Tornado's compression works on what is written through the handler; events are not.
        self._transforms = []
        first = retry(round(settings.retry * random.uniform(1, 1 + RETRY_JITTER) * 1000))  # noqa: S311  # no secret
        if position is not None and hub.history is not None:
            first += cursor_block(hub.history.cursor(position))
        self.write(first if compressor is None else HEADER + compressor.independent(first))
        # Never awaited: while a peer is leaving, a flush may never resolve.
        self.flush()
        tune(self._stream, settings)
        self._transport = StreamTransport(
            connection,
            self._stream,
            settings,
            http_1_1=self.request.version == "HTTP/1.1",
            on_closed=self._end,
        )
        if visit is not None:
            hub.streams.opened(connection, visit)
        connection.open(self._transport, compressed=compressor is not None, live=live)
        self._transport.start_reading()
        return self._transport

    def _greeting(self, connection: Connection) -> Any:
        """Return the effects that the stream begins with, or a promise of them."""
        return self.on_open(connection)

    async def _open_in_parts(
        self, visit: Visit, opening: Opening, missed: str | None, promised: Any
    ) -> None:
        """Open the stream behind what its client has missed, and behind a greeting that has to be awaited.

        Args:
            missed: the id that the client came back with; None where the greeting has been asked for already.
            promised: the greeting, or a promise of it.
        """
        connection, history = opening.connection, self.hub.history

        async def on_gap(reason: str) -> bool:
            snapshot = await maybe_await(self.on_gap(connection, reason))
            await opening.dispatch(snapshot)
            return snapshot is not None

        try:
            key, position = visit.key, visit.mark
            if (
                missed is not None
                and history is not None
                and key is not None
                and position is not None
            ):
                await replay(history, missed, key, position, opening.write, on_gap)
                promised = self._greeting(connection)
            await opening.dispatch(await maybe_await(promised))
            connection.go_live()
        except StreamClosedError:
            connection.end("client")
        except Exception:
            connection.close(reason="error")
            raise

    def _end_request(self, closed: asyncio.Future[None]) -> None:
        """Let the handler's coroutine go on, now that the socket is closed, and Tornado end the request."""
        # The coroutine may have been cancelled meanwhile. Or it hangs in a hook: then only this ends the request.
        if not closed.done():
            closed.set_result(None)
        self.request.connection.close()  # type: ignore[union-attr]  # as for the stream

    def _concerns_tornado(self, error: DispatchError) -> bool:
        # Once the stream has begun there is no status left to send; the error is logged instead.
        return self._transport is None and super()._concerns_tornado(error)

    def _set_stream_headers(self, key: Key | None = None) -> SharedCompressor | None:
        """Set the headers of a stream; returns the compressor, where its category is compressed and the client can read it."""
        for name, value in EVENT_STREAM_HEADERS.items():
            self.set_header(name, value)
        hub = self.hub
        if (
            key is None
            or hub.streams.writer.compressor is None
            or key.category not in hub.config.stream.compress
        ):
            return None
        self.set_header("Vary", "Accept-Encoding")
        # An HTTP/1.0 body has no chunks, and whatever stands between would not pass blocks on one by one.
        accepted = accepts_gzip(self.request.headers.get("Accept-Encoding", ""))
        if not accepted or self.request.version != "HTTP/1.1":
            return None
        self.set_header("Content-Encoding", "gzip")
        self.set_header("Cache-Control", "no-store, no-transform")
        return hub.streams.writer.compressor

    @property
    def _stream(self) -> IOStream:
        stream: IOStream = self.request.connection.stream  # type: ignore[union-attr]  # Tornado's server has set it
        return stream


class SSEHandler(SSEMixin, RequestHandler):
    """A request handler that answers GET with an event stream; see :class:`SSEMixin`."""
