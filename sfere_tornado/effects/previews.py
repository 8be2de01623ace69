"""What the library's own effects would do: receivers and bytes, with nothing sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..defaults import MAX_EVENT_SIZE
from ..dispatch.explain import explain_dispatch
from ..errors import EffectShapeError
from ..keys import as_audience, as_key, format_pattern
from ..streams.connection import Connection
from ..streams.fanout import Fanout
from ..streams.writer import AT_ONCE
from ..wire.event_stream import Event, data_text, encode
from .receivers import Kept, Receivers
from .streams import receiver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..dispatch import Chain, Context, Dispatcher, Effects
    from ..dispatch.explain import Explain, Explanation, Preview
    from ..history import History
    from ..stores import Store
    from ..streams.fanout import Target

__all__ = ("MAX_SHOWN", "Previews", "explain")

#: Keys of receivers that are shown, 10: the first ones.
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
    """Explain what a dispatch would do: values, expansion, stages, receivers and bytes.

    Nothing is sent, and no lease is renewed.

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
        previews=Previews(Receivers(store, AT_ONCE, history), store, max_event_size).by_name(),
    )


class Previews:
    """What the library's effects would do, for one store.

    Args:
        receivers: makes fan-outs of addresses.
        store: where the connections are.
        max_event_size: bytes an event may have.
    """

    def __init__(
        self,
        receivers: Receivers,
        store: Store[Connection],
        max_event_size: int = MAX_EVENT_SIZE,
    ) -> None:
        self._receivers = receivers
        self._store = store
        self._max_event_size = max_event_size

    def by_name(self) -> dict[str, Preview]:
        """Return the previews by the names of the effects."""
        return {
            "send": self._send,
            "close_sse": self._close_sse,
            "broadcast": self._broadcast,
            "with_connection": self._with_connection,
        }

    def _send(
        self, ctx: Context, explain: Explain, data: Any, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        target = receiver(ctx, "send")
        fields = {name: value for name, value in (options or {}).items() if name != "conflate"}
        event = Event(data_text(data), **fields)
        payload = encode(event, self._max_event_size)
        if isinstance(target, Kept):
            target.check(event.id)
            if target.history.keeps(target.audience.pattern.category):
                payload = target.history.with_next_id(payload)
        return {**_shown(_connections(target)), "bytes": len(payload)}

    def _close_sse(
        self, ctx: Context, explain: Explain, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return _shown(_connections(receiver(ctx, "close_sse")))

    def _broadcast(
        self, ctx: Context, explain: Explain, options: dict[str, Any], *effects: Any
    ) -> dict[str, Any]:
        if not isinstance(options, dict) or not isinstance(options.get("pattern"), tuple):
            raise EffectShapeError("broadcast takes a dict with a pattern, then effects", options)
        fanout = self._receivers.matching(
            as_audience(options["pattern"], options.get("exclude", ()))
        )
        each = options.get("each")
        return {
            "pattern": format_pattern(options["pattern"]),
            **_shown(fanout.connections),
            "times": len(fanout) if each else 1,
            "dispatched": explain(effects, {"sse": Fanout(fanout.connections) if each else fanout}),
        }

    def _with_connection(
        self, ctx: Context, explain: Explain, key: Any, *effects: Any
    ) -> dict[str, Any]:
        connections = self._store.peek(key)
        target = self._receivers.at(as_key(key), connections)
        return {
            **_shown(connections),
            "dispatched": explain(None if target is None else effects, {"sse": target}),
        }


def _connections(target: Target) -> Sequence[Connection]:
    if isinstance(target, Fanout):
        return target.connections
    return [target] if isinstance(target, Connection) else []


def _shown(connections: Sequence[Connection]) -> dict[str, Any]:
    keys = [format_pattern(one.key) for one in connections[:MAX_SHOWN] if one.key is not None]
    return {"receivers": len(connections), "keys": keys}
