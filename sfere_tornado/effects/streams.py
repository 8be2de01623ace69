"""Effects on the connection of a dispatch: ``send``, ``close_sse``; and a request as data.

``system["sse"]`` is one connection or a fan-out of many; the effects here do not know which. Each
effect has a constructor of the same name, which checks its arguments where they are written and
returns the tuple.

Only the folder ``web`` dispatches two of the effects: ``request`` runs the verb method of a
handler, ``sse_opened`` opens its event stream. Both call the :class:`.Visit` that is the subject of
the dispatch. As effects they stand in the middle of the interceptor chain. The action
``sse_closed`` says that the connection of the dispatch has ended; the sfere interceptor purges it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..defaults import MAX_EVENT_SIZE
from ..dispatch import Effect, Registry
from ..errors import NoConnectionError, hint
from ..streams.writer import check_name
from ..wire.event_stream import check_fields, data_text, encode_fields
from .receivers import Kept
from .visit import Visit

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..dispatch import Context
    from ..streams.delivery import Delivery
    from ..streams.fanout import Target

__all__ = (
    "StreamEffects",
    "close_sse",
    "connection",
    "receiver",
    "send",
    "sse_closed",
    "target_of",
)

#: What the second argument of the effect ``send`` may hold.
_SEND_OPTIONS: Final = frozenset({"event", "id", "retry", "conflate"})


def send(
    data: Any,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002  # the field's name in the standard
    retry: int | None = None,
    conflate: Hashable = None,
) -> Effect:
    """Return the effect that sends one event to the connections of the dispatch.

    Args:
        data: a string, sent unchanged, or JSON data; placeholders in it are filled in at dispatch.
        event: the event's type; a browser calls it ``message`` when it is missing.
        id: what the client sends back as ``Last-Event-ID``; ASCII, at most 256 bytes.
        retry: the client's new reconnection time in milliseconds.
        conflate: a name for state of which only the newest counts, such as ``"price"``. While a
            slow client's events wait, a newer one replaces an older one of the name, if the setting
            ``on_slow`` is ``conflate``.

    Returns:
        ``("send", data)`` or ``("send", data, {"event": ...})``. The effect's result is a
        :class:`~sfere_tornado.streams.delivery.Delivery`; a closed connection is told there and
        raises nothing.

    Raises:
        EventError: when event, id or retry may not stand on the wire (WHATWG HTML 9.2.6).
        TypeError: when conflate is not hashable.
    """
    if conflate is not None:
        check_name(conflate)
    if event is None and id is None and retry is None and conflate is None:
        return Effect(("send", data))
    check_fields(event, id, retry)
    options: dict[str, Any] = {}
    if event is not None:
        options["event"] = event
    if id is not None:
        options["id"] = id
    if retry is not None:
        options["retry"] = retry
    if conflate is not None:
        options["conflate"] = conflate
    return Effect(("send", data, options))


def close_sse(*, reconnect: bool = False) -> Effect:
    """Return the effect that ends the event streams of the dispatch.

    Args:
        reconnect: False tells the clients to stay away; True cuts the streams, so that they come
            back.
    """
    return Effect(("close_sse", {"reconnect": reconnect}))


def connection() -> Effect:
    """Return the effect whose result is the target of the dispatch: a connection or a fan-out."""
    return Effect(("connection",))


def sse_closed() -> Effect:
    """Return the action that says that the connection of the dispatch has ended.

    The hub dispatches it once for each stream. Dispatched by an application, alone or beside other
    effects, it purges the connection of the dispatch, whose stream is closed then.
    """
    return Effect(("sse_closed",))


def target_of(ctx: Context) -> Target | None:
    """Return what the effects of a dispatch send to: a connection, or many; None if nothing.

    An effect of your own writes to it: ``target.send(Event("hello"))``. It is the value of
    ``ctx.system["sse"]``, with its type.
    """
    target: Target | None = ctx.system.get("sse")
    return target


def receiver(ctx: Context, effect: str) -> Target:
    """Return :func:`target_of` a dispatch, for effects that cannot do without.

    Raises:
        NoConnectionError: when there is none; ``effect`` is named in the text.
    """
    target = target_of(ctx)
    if target is None:
        raise NoConnectionError(effect)
    return target


class StreamEffects(Registry):
    """The effects in this module, and the two that the folder ``web`` dispatches.

    Args:
        max_event_size: bytes an event may have on the wire; a larger one is an error to the sender.
    """

    senders: frozenset[str] = frozenset({"send"})

    def __init__(self, *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__("sse")
        self._max_event_size = max_event_size
        self.effect("send", system_keys=["sse"])(self._send)
        self.effect("close_sse", system_keys=["sse"])(self._close_sse)
        self.effect("connection", system_keys=["sse"])(self._connection)
        self.action("sse_closed")(self._sse_closed)
        self.effect("sse_opened", system_keys=["sse"])(self._answer)
        self.effect("request", system_keys=["request"])(self._answer)

    def _send(self, ctx: Context, data: Any, options: dict[str, Any] | None = None) -> Delivery:
        """Send one event to the target of the dispatch.

        Args:
            data: a string, or anything that JSON can say.
            options: any of ``event``, ``id``, ``retry``, ``conflate``.
        """
        target: Target | None = ctx.system.get("sse")
        if target is None:
            raise NoConnectionError("send")
        event = event_id = retry = name = None
        if options:
            event, event_id = options.get("event"), options.get("id")
            retry, name = options.get("retry"), options.get("conflate")
            if not options.keys() <= _SEND_OPTIONS:
                unknown = min(options.keys() - _SEND_OPTIONS, key=str)
                raise TypeError(f"send has no option {unknown!r}; {hint(unknown, _SEND_OPTIONS)}")
            check_fields(event, event_id, retry)
            # Before a history keeps the event, which would be replayed but was never delivered.
            if name is not None:
                check_name(name)
            if event_id is not None and isinstance(target, Kept):
                target.check(event_id)
        text = data if type(data) is str else data_text(data)
        payload = encode_fields(text, event, event_id, retry, self._max_event_size)
        return target.deliver(payload, name)

    def _close_sse(self, ctx: Context, options: dict[str, Any] | None = None) -> None:
        """End the event streams of the dispatch.

        Args:
            options: ``reconnect``, whether the clients shall come back.
        """
        receiver(ctx, "close_sse").close(**({"reconnect": False} | (options or {})))

    def _connection(self, ctx: Context) -> Target:
        """Return the target of the dispatch."""
        return receiver(ctx, "connection")

    def _sse_closed(self, state: Any) -> None:
        """Say that the connection of the dispatch has ended; the sfere interceptor purges it."""

    def _answer(self, ctx: Context) -> Any:
        """Run the verb method of the request, or open its event stream; for the folder ``web``."""
        visit = ctx.subject
        if not isinstance(visit, Visit) or visit.answer is None or ctx.kind == "application":
            raise NoConnectionError("request")
        return visit.answer(ctx)
