"""What the library's own effects would do, and :func:`explain`, which asks them: receivers and bytes, nothing sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dispatch.explain import explain as explain_dispatch
from ..event_stream import MAX_EVENT_SIZE, Event, data_text, encode
from ..fanout import Fanout
from ..keys import format_pattern
from .sse import receiver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..connection import Connection
    from ..dispatch import Chain, Context, Dispatcher, Effects
    from ..dispatch.explain import Explain, Explanation, Preview
    from ..stores import Store

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
    """
    return explain_dispatch(
        dispatcher,
        effects,
        system=system,
        dispatch_data=dispatch_data,
        chain=chain,
        previews=previews(store, max_event_size=max_event_size),
    )


def previews(store: Store[Connection], *, max_event_size: int = MAX_EVENT_SIZE) -> dict[str, Preview]:
    """Return by name what the library's effects would do, for one store."""

    def send(ctx: Context, explain: Explain, data: Any, options: dict[str, Any] | None = None) -> dict[str, Any]:
        to = _receivers(receiver(ctx, "send"))
        fields = {name: value for name, value in (options or {}).items() if name != "conflate"}
        return {**_shown(to), "bytes": len(encode(Event(data_text(data), **fields), max_event_size))}

    def close_sse(ctx: Context, explain: Explain, options: dict[str, Any] | None = None) -> dict[str, Any]:
        return _shown(_receivers(receiver(ctx, "close_sse")))

    def broadcast(ctx: Context, explain: Explain, options: dict[str, Any], *effects: Any) -> dict[str, Any]:
        found = store.connections(options["pattern"], exclude=options.get("exclude", ()))
        times = len(found) if options.get("each") else 1
        dispatched = explain(effects, {"sse": Fanout(found)})
        return {
            "pattern": format_pattern(options["pattern"]),
            **_shown(found),
            "times": times,
            "dispatched": dispatched,
        }

    def with_connection(ctx: Context, explain: Explain, key: Any, *effects: Any) -> dict[str, Any]:
        found = store.peek(key)
        return {**_shown(found), "dispatched": explain(effects if found else None, {"sse": Fanout(found)})}

    return {"send": send, "close_sse": close_sse, "broadcast": broadcast, "with_connection": with_connection}


def _receivers(sse: Connection | Fanout) -> Sequence[Connection]:
    return sse.connections if isinstance(sse, Fanout) else [sse]


def _shown(connections: Sequence[Connection]) -> dict[str, Any]:
    keys = [format_pattern(one.key) for one in connections[:MAX_SHOWN] if one.key is not None]
    return {"receivers": len(connections), "keys": keys}
