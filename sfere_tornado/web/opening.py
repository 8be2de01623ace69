"""What a stream gets before it goes live: what its client has missed, then what the application greets it with.

While this goes on the connection is *opening*: it is stored, so whatever is sent to its key waits in its outbox, bounded,
and follows. So nothing is lost between the past and the present, and nothing comes twice.

Everything here is written in parts, each awaited: a replay longer than the outbox would otherwise cut the client, which
would come back, and be cut again for ever.
"""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from tornado.iostream import StreamClosedError

from ..streams.delivery import Delivery, Failure
from ..wire.event_stream import Event, data_text, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from tornado.httputil import HTTPServerRequest
    from tornado.iostream import IOStream

    from ..dispatch import Context
    from ..history import History, Mark
    from ..hub.questions import Questions
    from ..keys import Key
    from ..reasons import Reason
    from ..streams.connection import Connection

__all__ = ("Greeting", "Opening", "cursor_block", "last_event_id", "maybe_await", "replay")

#: Bytes of a greeting that are written in one go.
_PART: Final = 64 * 1024


class Greeting:
    """Stands for a connection that is opening: what is sent to it comes before everything that waits.

    Args:
        connection: the one that is greeted.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._payloads: list[bytes] = []
        self._ending: tuple[bool, Reason] | None = None
        self._came: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Greeting of {self.connection!r}, {len(self._payloads)} events>"

    @property
    def closed(self) -> bool:
        """Whether the stream has ended, or ends when what was sent before is written."""
        return self._ending is not None or self.connection.closed

    def send(self, event: Event) -> Delivery:
        """Encode one event and let it come before everything that waits."""
        return self.deliver(encode(event))

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Let ready bytes of the event stream come before everything that waits."""
        delivery = Delivery([self.connection])
        delivery.finish()
        if self.closed:
            reason = self.connection.reason or (
                self._ending[1] if self._ending is not None else "client"
            )
            delivery.failures.append(Failure(self.connection.key, self.connection, reason))
        else:
            self._payloads.append(payload)
            self._wake()
        return delivery

    def close(self, *, reconnect: bool = True, reason: Reason = "server") -> None:
        """End the stream, after what was sent before; see :meth:`.Connection.close`."""
        if not self.closed:
            self._ending = reconnect, reason
            self._wake()

    async def write(self, write: Callable[[bytes], Awaitable[Any]]) -> None:
        """Write what was sent so far, in parts; then end the stream, where that was asked for."""
        data, self._payloads = b"".join(self._payloads), []
        for begin in range(0, len(data), _PART):
            await write(data[begin : begin + _PART])
        if self._ending is not None:
            reconnect, reason = self._ending
            self.connection.close(reconnect=reconnect, reason=reason)

    async def write_until(
        self, done: asyncio.Future[Any], write: Callable[[bytes], Awaitable[Any]]
    ) -> None:
        """Write what is sent as it comes, until something is done: text that is made word by word is read so."""
        while not done.done():
            self._came = asyncio.get_running_loop().create_future()
            if not self._payloads:
                await asyncio.wait({done, self._came}, return_when=asyncio.FIRST_COMPLETED)
            await self.write(write)

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)


class Opening:
    """Writes what a stream gets before it goes live, each part when the client has taken the one before.

    Args:
        ctx: the dispatch that opens the stream.
        connection: the stream.
        stream: Tornado's, of the connection.
        frame: frames what is written to it.
        questions: about the rights of clients.
    """

    def __init__(
        self,
        ctx: Context,
        connection: Connection,
        stream: IOStream,
        frame: Callable[[bytes], bytes],
        questions: Questions,
    ) -> None:
        self._ctx = ctx
        self.connection = connection
        self._stream = stream
        self._frame = frame
        self._questions = questions
        self._greeting = Greeting(connection)

    def __repr__(self) -> str:
        return f"<Opening of {self.connection!r}>"

    async def write(self, data: bytes) -> None:
        """Write bytes of the event stream, and return when the socket has taken them.

        Raises:
            StreamClosedError: when the stream has ended.
        """
        # Whether the client may have it may just be asked.
        await self._questions.closed(self.connection)
        if self.connection.reason is not None:
            # Its last words have been said.
            raise StreamClosedError
        await self._stream.write(self._frame(self.connection.alone(data)))

    async def dispatch(self, effects: Any) -> None:
        """Dispatch effects, or nothing, and write what they send, as it comes.

        Raises:
            StreamClosedError: when the stream has ended; what is under way goes on without it.
        """
        if effects is None:
            return
        dispatched = self._ctx.dispatch(effects, system={"sse": self._greeting})
        if dispatched.task is not None:
            await self._greeting.write_until(dispatched.task, self.write)
        await dispatched
        await self._greeting.write(self.write)


def last_event_id(request: HTTPServerRequest) -> str | None:
    """Return what the client says it got last, or None when it says nothing; never an error, whatever it is.

    The header comes from a browser that comes back (WHATWG HTML 9.2.4), as UTF-8; Tornado has read it as latin-1. The query
    argument ``last_event_id`` comes from a page that was rendered with a cursor, once.
    """
    header = request.headers.get("Last-Event-ID")
    if header is not None:
        return header.encode("latin-1", "replace").decode("utf-8", "replace")
    values = request.query_arguments.get("last_event_id")
    return values[-1].decode("utf-8", "replace") if values else None


async def maybe_await(value: Any) -> Any:
    """Return a value, or what it promises."""
    return await value if isawaitable(value) else value


def cursor_block(cursor: str) -> bytes:
    """Return the block that makes a client remember an id without telling anybody (WHATWG HTML 9.2.6: no data, no event)."""
    return b"id: " + cursor.encode("ascii") + b"\n\n"


async def replay(
    history: History,
    sent_id: str,
    key: Key,
    until: Mark,
    write: Callable[[bytes], Awaitable[Any]],
    on_gap: Callable[[str], Awaitable[bool]],
) -> None:
    """Write what matched a key since an event, up to a place in the sequence.

    Args:
        history: of the hub.
        sent_id: what the client sent.
        key: the client's, from the server: what it may see is decided as of now.
        until: where its live events begin.
        write: writes a part, and returns when the socket has taken it.
        on_gap: called after the event ``gap``, with the reason; True says that it has written what serves better than the
            events that are still kept.

    Raises:
        StreamClosedError: when the client leaves meanwhile.
    """
    part = history.since(sent_id, key, until=until)
    while True:
        if part.gap is not None:
            await write(encode(Event(data_text({"reason": part.gap}), "gap")))
            if await on_gap(part.gap):
                break
        if part.events:
            await write(b"".join(part.events))
        if part.done:
            break
        part = history.more(part)
    await write(cursor_block(history.cursor(until)))
