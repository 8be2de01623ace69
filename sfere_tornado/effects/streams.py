"""Effects on the connection that a dispatch has: ``send``, ``close_sse``; and what a request is as data.

``system["sse"]`` is one connection or a fan-out of many; the effects here do not know which. Each effect has a constructor
of the same name, which checks its arguments where they are written and returns the tuple.

Two effects are dispatched by the web room only, and call back into it through ``system["answer"]``: ``request`` runs the
verb method of a handler, ``sse_opened`` opens its event stream. As effects they stand in the middle of the interceptor
chain, like everything else. ``sse_closed`` expands to nothing: it is there to be seen by interceptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..defaults import MAX_EVENT_SIZE
from ..dispatch import Registry
from ..errors import NoConnectionError
from ..streams.fanout import Fanout
from ..wire.event_stream import Event, data_text, encode

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..dispatch import Context
    from ..history import History
    from ..streams.connection import Connection
    from ..streams.writer import Delivery

__all__ = ("close_sse", "receiver", "send", "sse", "sse_closed")


def send(
    data: Any,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002  # the field's name in the standard
    retry: int | None = None,
    conflate: Hashable = None,
) -> tuple[Any, ...]:
    """Return the effect that sends one event to the connections of the dispatch.

    Args:
        data: a string, sent as it is, or anything that JSON can say; a placeholder in it is filled in at dispatch.
        event: the event's type; a browser calls it ``message`` when it is missing.
        id: what the client sends back as ``Last-Event-ID``; ASCII, at most 256 bytes.
        retry: the client's new reconnection time in milliseconds.
        conflate: a name for state that only matters in its newest form, such as ``"price"``: while a slow client's events
            wait, a newer one replaces an older one of the same name, where the setting ``on_slow`` is ``conflate``.

    Returns:
        ``("send", data)`` or ``("send", data, {"event": ...})``. The effect's result is a
        :class:`~sfere_tornado.streams.writer.Delivery`; a closed connection is told there and raises nothing.

    Raises:
        EventError: when event, id or retry may not stand on the wire (WHATWG HTML 9.2.6).
    """
    if event is None and id is None and retry is None and conflate is None:
        return ("send", data)
    Event("", event, id, retry)
    fields = {"event": event, "id": id, "retry": retry, "conflate": conflate}
    return ("send", data, {name: value for name, value in fields.items() if value is not None})


def close_sse(*, reconnect: bool = False) -> tuple[Any, ...]:
    """Return the effect that ends the event streams of the dispatch.

    Args:
        reconnect: False tells the clients to stay away; True cuts the streams, so that they come back.
    """
    return ("close_sse", {"reconnect": reconnect})


def sse_closed() -> tuple[Any, ...]:
    """Return the action that says: the connection of this dispatch has ended. The web room dispatches it, once a stream."""
    return ("sse_closed",)


def receiver(ctx: Context, effect: str) -> Connection | Fanout:
    """Return the connection or fan-out of a dispatch, for effects that write.

    Raises:
        NoConnectionError: when there is none; ``effect`` is named in the text.
    """
    found: Connection | Fanout | None = ctx.system.get("sse")
    if found is None:
        raise NoConnectionError(effect)
    return found


def sse(*, max_event_size: int = MAX_EVENT_SIZE, history: History | None = None) -> Registry:
    """Return the registry of the effects in this module.

    Args:
        max_event_size: bytes an event may have on the wire; a larger one is an error to whoever sends it.
        history: keeps what is sent by pattern or key, and gives it its id; by default nothing is kept.
    """
    registry = Registry("sse")

    @registry.effect("send", system_keys=["sse"])
    def send_effect(ctx: Context, data: Any, options: dict[str, Any] | None = None) -> Delivery:
        """Send one event to the connections of the dispatch.

        Args:
            data: a string, or anything that JSON can say.
            options: any of ``event``, ``id``, ``retry``, ``conflate``.
        """
        to = receiver(ctx, "send")
        fields = dict(options) if options else {}
        name = fields.pop("conflate", None)
        event = Event(data_text(data), **fields)
        if history is not None and isinstance(to, Fanout) and to.pattern is not None:
            return to.deliver(history.record(to.pattern, event, exclude=to.exclude), name)
        return to.deliver(encode(event, max_event_size), name)

    @registry.effect("close_sse", system_keys=["sse"])
    def close_effect(ctx: Context, options: dict[str, Any] | None = None) -> None:
        """End the event streams of the dispatch.

        Args:
            options: ``reconnect``, whether the clients shall come back.
        """
        receiver(ctx, "close_sse").close(**({"reconnect": False} | (options or {})))

    @registry.action("sse_closed")
    def closed_action(state: Any) -> list[tuple[Any, ...]]:
        """Say that the connection of the dispatch has ended; expands to nothing."""
        return []

    @registry.effect("sse_opened", system_keys=["sse", "answer"])
    def opened_effect(ctx: Context) -> Any:
        """Open the event stream of the request being answered; dispatched by the web room."""
        return ctx.system["answer"](ctx)

    @registry.effect("request", system_keys=["request", "answer"])
    def request_effect(ctx: Context) -> Any:
        """Run the verb method of the request being answered; dispatched by the web room."""
        return ctx.system["answer"](ctx)

    return registry
