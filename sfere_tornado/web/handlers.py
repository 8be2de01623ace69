"""Event streams on request handlers: :class:`SSEMixin`, and :class:`SSEHandler`.

One stream is three short dispatches, not one long one: opening (the effect ``("sse_opened",)``
inside the chain), what is sent later, and closing (the action ``("sse_closed",)``).

How a departure is known. Until the stream is open Tornado's close callback reports it. From then on
the drain reader sees the client's FIN or RST. Or a write fails, a bound cuts, the server closes, or
the handler's task is cancelled. All of these come to
:meth:`~sfere_tornado.streams.connection.Connection.end`, and the first of them dispatches
``sse_closed``, once.

Laws:

- **No client is stored that has left.** Whether the client is still there is asked on entry and
  again immediately before storing, with nothing awaited in between. What everything needs to end
  exists before the request runs.
- **An open stream needs no request.** When it is open, Tornado gives up the stream of bytes, and
  never takes it back for another request. What is kept of a handler is what is called later.
- **A coroutine that stays is released when the socket is closed, not before**, in a handler with
  ``keep_request``: Tornado then finds nothing to write to.
- **A departure waits for nothing**: stages that must be awaited do not delay the purge.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tornado.web import HTTPError, RequestHandler

from ..callbacks import call_guarded
from ..dispatch import effect
from ..effects.visit import Visit
from ..errors import KeyTakenError, LimitReachedError, PresenceFullError, StoreFullError
from ..presence import MAX_LABEL
from .opening import Opener, Opening, set_stream_headers
from .origin import is_own_host, refuse_foreign_page
from .requests import InterceptorMixin
from .sockets import has_left, stream_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from collections.abc import Set as AbstractSet

    from tornado.web import Application

    from ..dispatch import Context, Dispatched, DispatchError, Effects
    from ..hub.serving import Serving
    from ..reasons import Reason
    from ..streams.connection import Connection
    from ..streams.fanout import Target

__all__ = ("SSEHandler", "SSEMixin")

log: logging.Logger = logging.getLogger("sfere_tornado.web")

#: The status for ``limits.answer``; ``retry`` has none.
LIMIT_STATUS: Final = {"unavailable": 503, "too_many": 429}

#: Opens the stream, in the middle of the chain.
_OPENED: Final = effect("sse_opened")

#: What the library calls on a handler after its stream has opened.
_LATER_HOOKS: Final = ("on_close", "revalidate", "on_connection_close")


class SSEMixin(InterceptorMixin):
    """Answers GET with an event stream; put it before a handler class of your own or of a host.

    Override :meth:`connection_key`, and :meth:`on_open` to send something to the newcomer or to
    others. A subclass that needs decorators overrides ``get`` and returns ``super().get()``.
    """

    #: Verbs, in capitals, whose method opens a stream; the others are ordinary requests inside the
    #: chain.
    stream_verbs: ClassVar[AbstractSet[str]] = frozenset({"GET"})

    #: Whether the request stays open as long as its stream. By default it ends when the stream is
    #: open: the handler, the request and Tornado's connection take three times the memory of the
    #: stream. A handler that overrides :meth:`on_close`, :meth:`revalidate` or
    #: :meth:`on_connection_close` is kept; Tornado's connection is not.
    keep_request: ClassVar[bool] = False

    def __init__(self, application: Application, request: Any, **kwargs: Any) -> None:
        self._opening: Opening | None = None
        self._connection: Connection | None = None
        self._opener = Opener()
        # On the instance, in front of what a subclass has there, perhaps without super(). Tornado's
        # constructor takes the first as the callback of the connection; it awaits the second.
        self.__dict__["on_connection_close"] = self._end
        if type(self).prepare is not RequestHandler.prepare:
            self.__dict__["prepare"] = partial(self._prepare, self.prepare)
        super().__init__(application, request, **kwargs)

    def on_open(self, connection: Connection) -> Effects | Awaitable[Effects]:
        """Return effects for a stream that has just been opened; may be a coroutine function.

        They are dispatched with the new connection as the connection of the dispatch: ``send(...)``
        goes to it alone, ``broadcast(...)`` to all that match. An exception closes the stream; the
        client comes back.

        Args:
            connection: the new stream.

        Returns:
            One effect, a list of them, or None.
        """
        return None

    def on_gap(self, connection: Connection, reason: str) -> Effects | Awaitable[Effects]:
        """Return effects for a client whose missed events are not kept any more.

        It may be a coroutine function. The client has been sent the event ``gap`` with the reason.
        Return a snapshot where that serves better than what is still kept: it is sent in place of
        that.

        Args:
            connection: the stream.
            reason: ``too_old``, ``foreign`` (the id is of another server, or of this one before a
                restart) or ``garbage``.

        Returns:
            One effect, a list of them, or None, which replays what is kept.
        """
        return None

    def presence_meta(self) -> Mapping[str, Any]:
        """Return what presence records of the stream; for overriding.

        By default the tab is the query argument ``tab``, as the shipped script sends it. One that
        is longer than 64 characters, or not printable, is left out.

        Returns:
            Any of ``tab``, ``device``, ``data``, ``hidden``.
        """
        tab = self.get_query_argument("tab", "")
        return {"tab": tab} if 0 < len(tab) <= MAX_LABEL and tab.isprintable() else {}

    def on_close(self, connection: Connection) -> None:
        """Listen for the end of the stream, once, after it has left the store; for overriding.

        Args:
            connection: the stream; its ``reason`` says why it has ended.
        """

    async def revalidate(self, connection: Connection) -> bool:
        """Return whether the client may stay.

        Called at each heartbeat interval, where a subclass overrides it. Until it has answered
        nothing is written to the client. What is sent waits, within ``stream.max_outbox``. An
        exception is logged, and so is no answer within ``stream.revalidate_timeout``, after which
        the hook is cancelled. The stream stays open then, and what waited follows: a database that
        is down must not end every stream.

        Args:
            connection: the stream.

        Returns:
            True lets what waited follow. False ends the stream with reason ``revoked``: nothing
            that waited is written, and the client is told to stay away.
        """
        return True

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Open the event stream and keep it open; return what is awaited for that.

        Declared as Any, so that an override may have the arguments of its route, and any decorator.
        """
        # Not a coroutine around the coroutine: it would be there as long as the stream.
        return self.open_stream()

    async def head(self, *args: Any, **kwargs: Any) -> None:
        """Answer with the headers of the stream alone."""
        set_stream_headers(self)

    def intercepts(self, verb: str) -> bool:
        """Return whether a verb's method runs inside the chain; that of a stream does not."""
        # It would be one dispatch as long as the stream.
        return verb not in self.stream_verbs

    def on_connection_close(self) -> None:
        """Listen for the client's departure; for overriding, with or without ``super()``.

        Called once, after the library has dispatched ``sse_closed`` and let go of the stream. An
        exception in it is logged.
        """
        super().on_connection_close()

    @property
    def connection(self) -> Target | None:
        """The handler's own stream, or that of :meth:`connection_key` during another request."""
        return super().connection if self._connection is None else self._connection

    def dispatch(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
    ) -> Dispatched:
        """Dispatch as :meth:`.InterceptorMixin.dispatch`, with the open stream as connection."""
        if self._context is None and self._connection is not None:
            system = {"sse": self._connection, **(system or {})}
        return super().dispatch(effects, system=system, dispatch_data=dispatch_data)

    def check_origin(self, origin: str) -> bool:
        """Return whether a page of another origin may open this stream; for overriding.

        By default only pages of the own host may.

        Args:
            origin: as the browser sends it, such as ``https://example.org``.
        """
        return is_own_host(self.request, origin)

    def open_stream(self) -> Coroutine[Any, Any, None]:
        """Open the event stream inside the chain, and return when its socket is closed.

        A stage that raises, or halts, keeps the stream from being opened. At a limit, and while the
        hub is draining, the client is sent away for one reconnection time; an error status would
        keep it away for good.

        Raises:
            HTTPError: 403 for a page of a foreign origin; 409 where another connection has the key
                and ``store.same_key`` is ``refuse``; 429 or 503 at a limit, where ``limits.answer``
                says so.
            Exception: what a stage raised.
        """
        return self._open()

    async def _open(self, returned: Effects = None, *, ends: bool = False) -> None:
        """Open the stream, with what a verb method has returned; see :class:`.Opening`."""
        refuse_foreign_page(self.request, self.check_origin)
        stream = stream_of(self.request)
        if has_left(stream):
            return
        serving = self.hub.serving
        opening = self._opening = Opening(
            self,
            serving,
            stream,
            on_open=self.on_open,
            on_gap=self.on_gap,
            revalidate=(None if type(self).revalidate is SSEMixin.revalidate else self.revalidate),
            returned=returned,
            ends=ends,
        )
        # This coroutine is there as long as the stream; the effects need not be.
        del returned
        connection = self._connection = opening.connection
        self._opener.begin()
        try:
            await self._open_or_refuse(serving, opening, ends=ends)
            # The dispatch that has opened the stream is over; kept, it would cost each stream two
            # kilobytes.
            self._context = None
            self._opener.over()
            if self.keep_request or not self._end_request(opening):
                await opening.closed()
        except asyncio.CancelledError:
            # The loop is ending, or a host gave up on this request, or the client has left. Tornado
            # would put an error page into the stream, and log that it cannot: so the response is
            # finished here, when its socket is closed.
            connection.close(reason="shutdown" if serving.streams.draining else "error")
            left = self._opener.absorb()
            if (left or opening.transport is not None) and not self._finished:
                self.finish()
            if not left:
                raise
        finally:
            if self._opening is not None:
                connection.close(reason="error")
            self._context = None
            self._opener.over()

    def _end_request(self, opening: Opening) -> bool:
        """End the request of an open stream, and not the stream; return False if it must stay.

        Tornado does the same with the request of a WebSocket: it logs the request, and never looks
        at the stream again.
        """
        connection = self.request.connection
        if (
            connection is None
            or not hasattr(connection, "detach")
            or opening.connection.reason is not None
            or opening.transport is None
            or opening.visit is None
        ):
            return False
        del self.__dict__["on_connection_close"]
        keep = self._is_called_later()
        opening.transport.report_to(self._left if keep else opening.connection.end)
        opening.visit.let_request_go(keep=keep)
        self._opening = None
        self.detach()
        self._log()
        call_guarded(log, "on_finish", self.on_finish)
        self._break_cycles()
        return True

    def _left(self, reason: Reason) -> None:
        """End the stream of a handler that is kept for its hooks, because the socket is closed."""
        if self._connection is not None:
            self._connection.end(reason)
        call_guarded(log, "on_connection_close", self.on_connection_close)

    def _is_called_later(self) -> bool:
        """Return whether a subclass, or this handler, has a hook that is called after the opening."""
        for hook in _LATER_HOOKS:
            if hook in self.__dict__ or getattr(type(self), hook) is not getattr(SSEMixin, hook):
                return True
        return False

    async def _open_or_refuse(self, serving: Serving, opening: Opening, *, ends: bool) -> None:
        connection = opening.connection
        visit = Visit(
            connection,
            # A stream that ends with what was returned is not stored.
            key=None if ends else self.connection_key,
            meta=self.presence_meta,
            answer=self._begin,
            system={"request": self.request, "handler": self},
            chain=self._chain_of(serving),
            on_close=self.on_close,
        )
        try:
            if not serving.streams.welcome():
                self._send_away(opening)
                return
            serving.streams.admit(connection, visit)
            await self._dispatch_request(serving, _OPENED, "opening", visit)
        except (StoreFullError, PresenceFullError, LimitReachedError) as error:
            log.warning("%s was refused a stream: %s", connection.remote, error)
            status = LIMIT_STATUS.get(serving.config.limits.answer)
            if status is not None:
                raise HTTPError(status, "%s", error) from error
            self._send_away(opening)
        except KeyTakenError as error:
            raise HTTPError(409, "%s", error) from error
        finally:
            # Not an effect, which a stage could have skipped.
            if ends and visit.opened:
                connection.close(reconnect=False)

    def _begin(self, ctx: Context) -> Any:
        """Open the stream, in the middle of the chain, unless a stage refused it."""
        opening = self._opening
        if ctx.errors or self._finished or opening is None or opening.connection.reason:
            return None
        self._context = ctx
        return opening.begin(ctx)

    def _send_away(self, opening: Opening) -> None:
        """Answer with a stream that only says when to come back; it is not stored."""
        opening.start()
        opening.connection.close(reason="server")

    def _prepare(self, prepare: Callable[[], Awaitable[None] | None]) -> Awaitable[None] | None:
        del self.__dict__["prepare"]
        waiting = prepare()
        return None if waiting is None else self._prepare_later(waiting)

    async def _prepare_later(self, waiting: Awaitable[None]) -> None:
        self._opener.begin()
        try:
            await waiting
        except asyncio.CancelledError:
            if not self._opener.absorb():
                raise
            # Tornado looks whether the request is finished, and runs no method then.
            if not self._finished:
                self.finish()
        finally:
            self._opener.over()

    def _end(self) -> None:
        """End the stream and its request, because the socket is closed; called once."""
        if self.__dict__.pop("on_connection_close", None) is None:
            return
        if self._opening is not None:
            self._opening.socket_closed()
        self._opener.cancel()
        call_guarded(log, "on_connection_close", self.on_connection_close)

    def _concerns_tornado(self, error: DispatchError) -> bool:
        # Once the stream has begun there is no status left to send; the error is logged instead.
        begun = self._opening is not None and self._opening.transport is not None
        return not begun and super()._concerns_tornado(error)


class SSEHandler(SSEMixin, RequestHandler):
    """A request handler that answers GET with an event stream; see :class:`SSEMixin`."""
