"""What the library's own effects would do, and :func:`explain`, which asks them: receivers and bytes, nothing sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..defaults import MAX_EVENT_SIZE
from ..dispatch.explain import explain as explain_dispatch
from ..errors import EffectShapeError, EventError
from ..keys import as_key, as_pattern, format_pattern
from ..streams.fanout import Fanout
from ..wire.event_stream import Event, data_text, encode
from .streams import receiver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..dispatch import Chain, Context, Dispatcher, Effects
    from ..dispatch.explain import Explain, Explanation, Preview
    from ..history import History
    from ..stores import Store
    from ..streams.connection import Connection

__all__ = ("MAX_SHOWN", "explain", "previews")

#: Keys of receivers that are shown, the first ones; ten thousand would help nobody.
MAX_SHOWN = 10


def explain(
    dispatcher: Dispatcher,
    store: Store[Connection],
    effects: Effects,
    *,
    system: Mapping[str, Any] | None = None,
    dispatch_data: Mapping[str, Any] | None = None,
    chain: Chain | None = None,
    max_event_size: int = MAX_EVENT_SIZE,
    history: History | None = None,
) -> Explanation:
    """Explain what a dispatch would do: values, expansion, stages, receivers and bytes; nothing is sent or renewed.

    Args:
        dispatcher: a hub's ``dispatcher``.
        store: the hub's ``store``.
        effects: what would be dispatched.
        system: what effects need.
        dispatch_data: what placeholders read.
        chain: the interceptors, when not only the dispatcher's.
        max_event_size: bytes an event may have; a larger one is among the errors.
        history: the hub's ``history``, which gives what it keeps an id; nothing is kept here.
    """
    return explain_dispatch(
        dispatcher,
        effects,
        system=system,
        dispatch_data=dispatch_data,
        chain=chain,
        previews=previews(store, max_event_size=max_event_size, history=history),
    )


def previews(
    store: Store[Connection],
    *,
    max_event_size: int = MAX_EVENT_SIZE,
    history: History | None = None,
) -> dict[str, Preview]:
    """Return by name what the library's effects would do, for one store; arguments as for :func:`explain`."""

    def send(
        ctx: Context, explain: Explain, data: Any, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        to = receiver(ctx, "send")
        fields = {name: value for name, value in (options or {}).items() if name != "conflate"}
        event = _as_sent(Event(data_text(data), **fields), to, history)
        return {**_shown(_receivers(to)), "bytes": len(encode(event, max_event_size))}

    def close_sse(
        ctx: Context, explain: Explain, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return _shown(_receivers(receiver(ctx, "close_sse")))

    def broadcast(
        ctx: Context, explain: Explain, options: dict[str, Any], *effects: Any
    ) -> dict[str, Any]:
        if not isinstance(options, dict) or not isinstance(options.get("pattern"), tuple):
            raise EffectShapeError("broadcast takes a dict with a pattern, then effects", options)
        pattern, each = options["pattern"], options.get("each")
        found = store.connections(pattern, exclude=options.get("exclude", ()))
        return {
            "pattern": format_pattern(pattern),
            **_shown(found),
            "times": len(found) if each else 1,
            "dispatched": explain(
                effects, {"sse": Fanout(found, pattern=None if each else pattern)}
            ),
        }

    def with_connection(ctx: Context, explain: Explain, key: Any, *effects: Any) -> dict[str, Any]:
        found = store.peek(key)
        would = found or _is_kept(history, as_key(key))
        return {
            **_shown(found),
            "dispatched": explain(effects if would else None, {"sse": Fanout(found, pattern=key)}),
        }

    return {
        "send": send,
        "close_sse": close_sse,
        "broadcast": broadcast,
        "with_connection": with_connection,
    }


def _receivers(sse: Connection | Fanout) -> Sequence[Connection]:
    return sse.connections if isinstance(sse, Fanout) else [sse]


def _shown(connections: Sequence[Connection]) -> dict[str, Any]:
    keys = [format_pattern(one.key) for one in connections[:MAX_SHOWN] if one.key is not None]
    return {"receivers": len(connections), "keys": keys}


def _is_kept(history: History | None, pattern: Any) -> bool:
    return (
        history is not None
        and history.categories.get(as_pattern(pattern).category, history.keep).count > 0
    )


def _as_sent(event: Event, to: Connection | Fanout, history: History | None) -> Event:
    """Return an event with the id that it would get."""
    if (
        history is None
        or not isinstance(to, Fanout)
        or to.pattern is None
        or not _is_kept(history, to.pattern)
    ):
        return event
    if event.id is not None:
        raise EventError(f"is {event.id!r}, but a kept event gets its id from the history", "id")
    return replace(event, id=f"{history.position + 1}-{history.tag}")
