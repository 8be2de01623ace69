"""One event stream of a handler, from its request to the close of its socket.

What a client gets before its stream goes live: the reconnection time, what it has missed, and the
application's greeting. During that the connection is *opening*: it is stored, so what is sent to
its key waits in its outbox, within its bound, and follows. So nothing is lost between the past and
the present, and nothing comes twice.

A replay, and a greeting that must be awaited, are written in pieces, each when the socket has taken
the one before. Written in one piece, a replay longer than the outbox would cut the client, which
would come back and be cut again.
"""

from __future__ import annotations

import asyncio
import random
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from tornado.iostream import StreamClosedError

from ..dispatch.effect import as_effects
from ..streams.connection import Connection
from ..wire.compression import HEADER, accepts_gzip
from ..wire.event_stream import last_id, retry
from .greeting import Greeting
from .replay import replay
from .sockets import StreamTransport, has_vanished, tune

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tornado.httputil import HTTPServerRequest
    from tornado.iostream import IOStream
    from tornado.web import RequestHandler

    from ..dispatch import Context, Effects
    from ..effects.visit import Visit
    from ..history import Mark
    from ..hub.questions import Revalidate
    from ..hub.serving import Serving
    from ..reasons import Reason
    from ..wire.compression import SharedCompressor

__all__ = ("EVENT_STREAM_HEADERS", "Opener", "Opening", "last_event_id", "set_stream_headers")

#: Headers of an event stream: its type (WHATWG HTML 9.2.5); no copy is kept anywhere; a proxy does
#: not hold events back until its buffer is full (nginx obeys the last).
EVENT_STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

#: How much longer than ``retry`` a client may be told to wait, 50 %: clients that were cut together
#: come back spread over that time.
RETRY_JITTER: Final = 0.5


class Opener:
    """The task that runs a request, for as long as a client that leaves must cancel it.

    A hook or a stage that is awaited for a client that has left would keep the task, the file and
    Tornado's connection for as long as it hangs.
    """

    __slots__ = ("_cancelled", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancelled: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        return f"<Opener {self._task!r}>"

    def begin(self) -> None:
        """Have the present task cancelled when the client leaves, until :meth:`over`."""
        self._task = asyncio.current_task()

    def over(self) -> None:
        """Leave the task alone from now on."""
        self._task = None

    def cancel(self) -> None:
        """Cancel the task, because the client has left; not the present one, which knows."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            self._cancelled = task
            task.cancel()

    def absorb(self) -> bool:
        """Return whether :meth:`cancel` cancelled the present task, and end the cancellation."""
        task = asyncio.current_task()
        if task is None or task is not self._cancelled:
            return False
        task.uncancel()
        return True


class Opening:
    """One event stream, from its request to the close of its socket.

    Args:
        handler: whose response the stream is; its ``on_connection_close`` is called when the socket
            is closed.
        serving: that of the handler's hub.
        stream: Tornado's stream of the request.
        on_open: returns the effects that greet the client.
        on_gap: returns the effects for a client whose missed events are not kept any more.
        revalidate: asks, at each heartbeat interval, whether the client may stay; None asks not.
        returned: effects of a verb method, which come before those of ``on_open``; None where no
            verb method has returned any.
        ends: whether the stream ends with the returned effects; ``on_open`` is not called then.
    """

    __slots__ = (
        "_ends",
        "_handler",
        "_on_gap",
        "_on_open",
        "_released",
        "_returned",
        "_revalidate",
        "_serving",
        "_stream",
        "connection",
        "transport",
        "visit",
    )

    def __init__(
        self,
        handler: RequestHandler,
        serving: Serving,
        stream: IOStream,
        *,
        on_open: Callable[[Connection], Effects | Awaitable[Effects]],
        on_gap: Callable[[Connection, str], Effects | Awaitable[Effects]],
        revalidate: Revalidate | None = None,
        returned: Effects = None,
        ends: bool = False,
    ) -> None:
        settings = serving.config.stream
        self.connection: Connection = Connection(
            on_end=serving.streams.end,
            remote=handler.request.remote_ip or "",
            max_outbox=settings.max_outbox,
            conflate=settings.on_slow == "conflate",
            writer=serving.streams.writer,
        )
        #: The way to the client; None until the response has begun.
        self.transport: StreamTransport | None = None
        #: What the hub knows of the stream; None for a client that is sent away.
        self.visit: Visit | None = None
        self._handler = handler
        self._serving = serving
        self._stream = stream
        self._on_open = on_open
        self._on_gap = on_gap
        self._revalidate = revalidate
        self._returned = returned
        self._ends = ends
        self._released: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<Opening of {self.connection!r}>"

    def begin(self, ctx: Context) -> Any:
        """Open the stream, in the middle of the chain.

        Returns:
            What is still to be awaited: a replay, or the dispatch of a greeting; None where nothing
            is.

        Raises:
            Exception: of ``on_open``; the stream is cut then, and the client comes back.
        """
        visit: Visit = ctx.subject
        mark = visit.mark
        missed = None if mark is None else last_event_id(self._handler.request)
        # A client that is cut between the id of this place and what it has missed would never get
        # that: a replay ends with the id.
        self.start(visit, mark if missed is None else None)
        if missed is not None:
            return self._open_in_pieces(ctx, visit, missed, None)
        try:
            greeting = self._greeting()
        except Exception:
            self.connection.close(reason="error")
            raise
        if isawaitable(greeting):
            return self._open_in_pieces(ctx, visit, None, greeting)
        self.connection.go_live()
        return None if greeting is None else ctx.dispatch(greeting)

    def start(self, visit: Visit | None = None, mark: Mark | None = None) -> None:
        """Send the headers and the first block, and join connection and socket; nothing is awaited.

        Args:
            visit: of the stream; None for a client that is sent away.
            mark: where the history stood, for a client that comes without an id.
        """
        serving, handler, connection = self._serving, self._handler, self.connection
        settings, compressed = serving.config.stream, self._set_headers()
        jitter = random.uniform(1, 1 + RETRY_JITTER)  # noqa: S311  # no secret
        first = retry(round(settings.retry * jitter * 1000))
        if mark is not None and serving.history is not None:
            first += last_id(serving.history.cursor(mark))
        if compressed is not None:
            first = HEADER + compressed.independent(first)
        # Tornado frames the first block, because it leaves in one send with the headers. Tornado's
        # own compression stays away: it works on what is written through the handler, and events
        # are not.
        handler._transforms = []  # noqa: SLF001  # Tornado has no other way
        handler.write(first)
        # Never awaited: when a client is leaving, a flush may never resolve.
        handler.flush()
        tune(self._stream, settings)
        transport = self.transport = StreamTransport(
            self._stream,
            settings,
            http_1_1=handler.request.version == "HTTP/1.1",
            on_closed=self._closed,
        )
        if visit is not None:
            self.visit = visit
            serving.streams.opened(connection, visit, self._revalidate)
        connection.open(transport, compressed=compressed is not None, live=visit is None)
        transport.start_reading()

    async def write(self, data: bytes) -> None:
        """Write bytes of the event stream before it is live; return when the socket has taken them.

        Raises:
            StreamClosedError: when the stream has ended.
        """
        connection, transport = self.connection, self.transport
        # The application may just be asked whether the client may have them.
        await self._serving.streams.questions.closed(connection)
        if connection.reason is not None or transport is None:
            # What a stream that has ended still gets is written already.
            raise StreamClosedError
        await self._stream.write(transport.frame(connection.alone(data)))

    def socket_closed(self) -> None:
        """End the stream, and let go of its request, now or soon."""
        self.connection.end("timeout" if has_vanished(self._stream) else "client")
        self._serving.streams.let_go(self._release)

    async def closed(self) -> None:
        """Wait until the socket is closed, so that the request may end; if it has begun."""
        if self.transport is not None:
            await self._released

    def _closed(self, reason: Reason) -> None:
        self.connection.end(reason)
        self._handler.on_connection_close()

    def _release(self) -> None:
        # The waiting task may have been cancelled, or may hang in a hook: then only the second line
        # ends the request.
        if not self._released.done():
            self._released.set_result(None)
        connection = self._handler.request.connection
        connection.close()  # type: ignore[union-attr]  # Tornado's server has set it

    def _set_headers(self) -> SharedCompressor | None:
        """Set the headers; return the compressor for a client that gets compressed events."""
        serving, handler, key = self._serving, self._handler, self.connection.key
        compressor = serving.streams.writer.compressor
        varies = (
            compressor is not None
            and key is not None
            and key.category in serving.config.stream.compress
        )
        request = handler.request
        # An HTTP/1.0 body has no chunks, and a proxy would not pass its blocks on one by one.
        reads = (
            varies
            and request.version == "HTTP/1.1"
            and accepts_gzip(request.headers.get("Accept-Encoding", ""))
        )
        set_stream_headers(handler, keep=self._returned is not None and not reads)
        if varies:
            handler.set_header("Vary", "Accept-Encoding")
        if not reads:
            return None
        handler.set_header("Content-Encoding", "gzip")
        handler.set_header("Cache-Control", "no-store, no-transform")
        return compressor

    def _greeting(self) -> Effects | Awaitable[Effects]:
        """Return the effects that the stream begins with, or a promise of them."""
        # Not kept: they would be there as long as the stream.
        returned, self._returned = self._returned, None
        if returned is None:
            return self._on_open(self.connection)
        effects = as_effects(returned)
        own = None if self._ends else self._on_open(self.connection)
        return _joined_later(effects, own) if isawaitable(own) else _joined(effects, own)

    async def _open_in_pieces(
        self,
        ctx: Context,
        visit: Visit,
        missed: str | None,
        promised: Effects | Awaitable[Effects],
    ) -> None:
        """Open the stream behind what its client has missed, and behind an awaited greeting.

        Args:
            ctx: the dispatch that opens the stream.
            visit: of the stream.
            missed: the id that the client came back with; None where the greeting is promised
                already.
            promised: the greeting, or a promise of it.
        """
        connection, greeting = self.connection, Greeting(self.connection)

        async def on_gap(reason: str) -> bool:
            snapshot = self._on_gap(connection, reason)
            if isawaitable(snapshot):
                snapshot = await snapshot
            await self._greet(ctx, greeting, snapshot)
            return snapshot is not None

        history, key, mark = self._serving.history, visit.key, visit.mark
        try:
            if missed is not None:
                if history is not None and key is not None and mark is not None:
                    await replay(history, missed, key, mark, self.write, on_gap)
                promised = self._greeting()
            effects = await promised if isawaitable(promised) else promised
            await self._greet(ctx, greeting, effects)
            connection.go_live()
        except StreamClosedError:
            connection.end("client")
        except Exception:
            connection.close(reason="error")
            raise

    async def _greet(self, ctx: Context, greeting: Greeting, effects: Effects) -> None:
        """Dispatch effects, or nothing, and write what they send, as it comes.

        Raises:
            StreamClosedError: when the stream has ended; what is under way goes on without it.
        """
        if effects is None:
            return
        dispatched = ctx.dispatch(effects, system={"sse": greeting})
        if dispatched.task is not None:
            await greeting.write_until(dispatched.task, self.write)
        await dispatched
        await greeting.write(self.write)


def last_event_id(request: HTTPServerRequest) -> str | None:
    """Return the id that the client says it got last, unchecked; None when it says nothing.

    The header comes from a browser that comes back (WHATWG HTML 9.2.4), as UTF-8. Tornado has read
    it as latin-1. The query argument ``last_event_id`` comes from a page that was rendered with a
    cursor.
    """
    header = request.headers.get("Last-Event-ID")
    if header is not None:
        return header.encode("latin-1", "replace").decode("utf-8", "replace")
    values = request.query_arguments.get("last_event_id")
    return values[-1].decode("utf-8", "replace") if values else None


def set_stream_headers(handler: RequestHandler, *, keep: bool = False) -> None:
    """Set the headers of an event stream.

    Args:
        handler: whose response it is.
        keep: keep what the application has set, except the content type.
    """
    for name, value in EVENT_STREAM_HEADERS.items():
        own = name in handler._headers  # noqa: SLF001  # Tornado has no other way
        if not (keep and own) or name == "Content-Type":
            handler.set_header(name, value)


async def _joined_later(effects: list[Any], own: Awaitable[Effects]) -> list[Any] | None:
    return _joined(effects, await own)


def _joined(effects: list[Any], own: Effects) -> list[Any] | None:
    # None, not an empty list: there is then no dispatch for stages to stand around.
    return [*effects, *as_effects(own)] or None
