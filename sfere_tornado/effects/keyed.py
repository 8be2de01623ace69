"""Connections by key, inside a dispatch: the sfere interceptor, ``broadcast``, ``with_connection``.

The interceptor stands innermost in the chain, after every stage that may refuse a request:

- A dispatch with a key and a connection of its own stores the connection under the key, also when
  others are stored there; the same-key rule decides what that means.
- A dispatch with a key and no connection gets the open one of the key as its target, and renews its
  lease, because the client has asked.
- The action ``sse_closed`` purges the connection of the dispatch from all its keys, with the cause
  ``explicit``. It does so in any company: alone, beside other effects, dispatched by the hub or by
  the application. The connection is compared by identity, so a late close never removes a
  successor.

The key is that of the dispatch's :class:`.Visit`, or ``dispatch_data["key"]``: ``(category, id)``,
or a function that returns it or None. :func:`.visit_of` has the whole key afterwards, in
continuations too.

Law: **what the server does on its own renews nothing.** ``broadcast`` and ``with_connection`` only
look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dispatch import Effect, Registry
from ..errors import EffectShapeError, KeyShapeError
from ..keys import (
    DEFAULT_SCOPE,
    NO_KEYS,
    Exclude,
    Key,
    KeyLike,
    PatternLike,
    as_audience,
    as_exclusion,
    as_key,
    as_pattern,
)
from ..streams.connection import Connection
from ..streams.delivery import Delivery
from ..streams.writer import AT_ONCE
from .arrivals import Arrivals
from .receivers import Receivers
from .streams import target_of
from .visit import VISIT, Visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..dispatch import Context, Dispatched, DispatchError, Result
    from ..history import History
    from ..presence.feed import PresenceFeed
    from ..stores import Store
    from ..stores.admission import Admission
    from ..streams.delivery import Failure
    from ..streams.fanout import Fanout
    from ..streams.writer import Writer

__all__ = ("BroadcastResult", "KeyedEffects", "broadcast", "default_scope", "with_connection")


class BroadcastResult:
    """What became of a broadcast; complete once the dispatch that it was part of has been awaited.

    Args:
        matched: connections that the pattern matched, without the excluded ones.
        nested: the dispatches of the nested effects.
        fanout: what they delivered to, when it was all of the connections together.
    """

    __slots__ = ("_fanout", "_nested", "matched")

    def __init__(
        self, matched: int, nested: Sequence[Dispatched], fanout: Fanout | None = None
    ) -> None:
        self.matched: int = matched
        self._nested = nested
        self._fanout = fanout

    def __repr__(self) -> str:
        return f"<BroadcastResult: {self.reached} of {self.matched} reached, {self.waited} waited, {len(self.errors)} errors>"

    @property
    def results(self) -> list[Result]:
        """Results of the nested effects."""
        return [result for nested in self._nested for result in nested.results]

    @property
    def errors(self) -> list[DispatchError]:
        """Errors of the nested effects."""
        return [error for nested in self._nested for error in nested.errors]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Receivers that did not take everything, each once, with key and reason."""
        if self._fanout is not None:
            return self._fanout.failures()
        failures = (failure for delivery in self._deliveries() for failure in delivery.failures)
        return tuple({failure.connection: failure for failure in failures}.values())

    @property
    def reached(self) -> int:
        """Connections that took everything, and those that are not yet written to."""
        return self.matched - len(self.failures)

    @property
    def waited(self) -> int:
        """Connections whose socket did not take everything, so that some of it waits."""
        waited = [delivery.waited for delivery in self._deliveries()]
        return max(waited, default=0) if self._fanout is not None else sum(map(bool, waited))

    async def settled(self) -> None:
        """Wait until everything has been written, or waits for its receiver."""
        for delivery in self._deliveries():
            await delivery.settled()

    def _deliveries(self) -> list[Delivery]:
        if self._fanout is not None:
            return self._fanout.deliveries
        return [result.value for result in self.results if isinstance(result.value, Delivery)]


def broadcast(
    pattern: PatternLike,
    *effects: Effect,
    exclude: Exclude = (),
    each: bool = False,
    here: bool = False,
) -> Effect:
    """Return the effect that dispatches effects to all connections whose key matches.

    Args:
        pattern: ``(scope, (category, id))`` with ANY in any place.
        effects: what to dispatch. They run once, with a fan-out of all receivers as the target, so
            an event is encoded once. With no effects the broadcast does nothing. What is not an
            effect, such as a list from JSON, is an error of the dispatch.
        exclude: a set or list of keys, or one pattern, whose connections are left out.
        each: run the effects once per connection instead, for effects that differ by receiver.
        here: reach only the connections of this process, where several processes share a bus.

    Returns:
        The effect. Its result is a :class:`BroadcastResult`.

    Raises:
        KeyShapeError: when pattern or exclude has another shape.
    """
    options = {
        "pattern": as_pattern(pattern),
        "exclude": NO_KEYS if exclude == () else as_exclusion(exclude),
        "each": each,
    }
    if here:
        options["here"] = True
    return Effect(("broadcast", options, *effects))


def with_connection(key: KeyLike, *effects: Effect) -> Effect:
    """Return the effect that dispatches effects to the connections of exactly one key.

    Args:
        key: ``(scope, (category, id))``, complete.
        effects: what to dispatch, once; nothing is dispatched where the key has no connection.

    Returns:
        The effect. Its result is the nested dispatch, or None when there was nothing to do.

    Raises:
        KeyShapeError: when it is not a valid key.
    """
    return Effect(("with_connection", as_key(key), *effects))


def default_scope(ctx: Context) -> str:
    """Return the scope of connections when an application has only one."""
    return DEFAULT_SCOPE


class KeyedEffects(Registry):
    """The sfere interceptor, ``broadcast`` and ``with_connection`` for one store.

    Args:
        store: where the connections are.
        id_fn: gives the scope of a dispatch from its context, such as the tenant of
            ``ctx.system["request"]``; never from what a client may choose. None is an error, not a
            scope for all. By default every connection has the scope ``"default"``.
        writer: writes what is broadcast; by default in the same call.
        admission: refuses a newcomer whose scope or key has too many; by default none is refused.
        history: keeps what is sent to a key also while no connection has it; by default nothing is
            kept.
        presence: is told of each connection that was stored; by default there is no presence.
    """

    def __init__(
        self,
        store: Store[Connection],
        *,
        id_fn: Callable[[Context], Any] | None = None,
        writer: Writer = AT_ONCE,
        admission: Admission | None = None,
        history: History | None = None,
        presence: PresenceFeed | None = None,
    ) -> None:
        super().__init__("connections")
        self._store = store
        self._scope_of = id_fn or default_scope
        self._receivers = Receivers(store, writer, history)
        self._arrivals = Arrivals(store, admission, history, presence)
        self.innermost(
            {"id": "sfere", "before_dispatch": self._find_or_store, "before_action": self._purge}
        )
        self.effect("broadcast")(self._broadcast)
        self.effect("with_connection")(self._with_connection)

    def _find_or_store(self, ctx: Context) -> None:
        visit = ctx.subject if isinstance(ctx.subject, Visit) else None
        if visit is None or ctx.kind == "application":
            # A dispatch of the application's own, or a continuation: only a key of its own counts.
            key_of = ctx.dispatch_data.pop("key", None)
            if key_of is None:
                return
            own = target_of(ctx)
            visit = ctx.dispatch_data[VISIT] = Visit(meta=ctx.dispatch_data.pop("presence", None))
        elif ctx.kind == "closing":
            return
        else:
            key_of, own = visit.key_of, visit.connection
        if key_of is None or ctx.halted or ctx.errors:
            return
        inner = key_of() if callable(key_of) else key_of
        if inner is None:
            return
        visit.key = key = _full_key(self._scope_of(ctx), inner)
        if own is None:
            target = self._receivers.at(key, self._store.get(key))
            if target is not None:
                ctx.system["sse"] = target
        elif isinstance(own, Connection):
            self._arrivals.put(key, own, visit)

    def _purge(self, ctx: Context) -> None:
        if ctx.action[0] != "sse_closed":
            return
        visit = ctx.subject
        closing = ctx.kind == "closing" and isinstance(visit, Visit)
        self._store.purge_connection(visit.connection if closing else target_of(ctx))

    def _broadcast(
        self, ctx: Context, options: dict[str, Any], *effects: Effect
    ) -> BroadcastResult | Awaitable[BroadcastResult] | None:
        """Dispatch effects to all connections whose key matches a pattern.

        Args:
            options: ``pattern``; ``exclude``, keys or a pattern left out; ``each``, once per
                connection instead of once; ``here``, only the connections of this process.
            effects: what to dispatch.
        """
        if not isinstance(options, dict) or not isinstance(options.get("pattern"), tuple):
            raise EffectShapeError("broadcast takes a dict with a pattern, then effects", options)
        if not effects:
            return None
        fanout = self._receivers.matching(
            as_audience(options["pattern"], options.get("exclude", ()))
        )
        if options.get("each"):
            return _to_each(ctx, fanout.connections, effects)
        nested = ctx.dispatch(effects, system={"sse": fanout})
        result = BroadcastResult(len(fanout.connections), (nested,), fanout)
        return result if nested.task is None else _later(result, (nested,))

    def _with_connection(self, ctx: Context, key: Any, *effects: Effect) -> Dispatched | None:
        """Dispatch effects to the connections of exactly one key.

        Args:
            key: the whole key.
            effects: what to dispatch.
        """
        target = self._receivers.at(as_key(key), self._store.peek(key)) if effects else None
        return None if target is None else ctx.dispatch(effects, system={"sse": target})


def _full_key(scope: Any, inner: Any) -> Key:
    if scope is None:
        raise KeyShapeError(
            "id_fn returned no scope; without one, strangers would share a key", inner
        )
    return as_key((scope, inner))


def _to_each(
    ctx: Context, connections: Sequence[Connection], effects: tuple[Any, ...]
) -> BroadcastResult | Awaitable[BroadcastResult]:
    nested = [ctx.dispatch(effects, system={"sse": connection}) for connection in connections]
    result = BroadcastResult(len(connections), nested)
    return result if all(one.done for one in nested) else _later(result, nested)


async def _later(result: BroadcastResult, nested: Sequence[Dispatched]) -> BroadcastResult:
    for one in nested:
        await one
    return result
