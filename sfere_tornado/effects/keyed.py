"""Connections by key, inside a dispatch: the sfere interceptor, ``broadcast`` and ``with_connection``.

The interceptor stands innermost in the chain, after every stage that may refuse a request:

- ``[("sse_closed",)]``: the connection in the system is purged, under all its keys, cause ``explicit``. It is found by
  identity: a closing stream knows no key, and a late one must not remove its successor.
- a dispatch with a ``key`` and a connection of its own: the connection is stored under it, also when others are there
  already; the same-key rule decides what that means.
- a dispatch with a ``key`` and no connection: the open one of that key becomes the dispatch's connection, and its lease
  is renewed, for this is the client asking.

``dispatch_data["key"]`` is ``(category, id)``, or a function that returns it or None. The interceptor takes it out, so
that a continuation does none of this a second time, and leaves the whole key as ``dispatch_data["stored_key"]``.

Law: **what the server does on its own renews nothing.** ``broadcast`` and ``with_connection`` only look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dispatch import Registry
from ..errors import EffectShapeError, KeyShapeError
from ..keys import DEFAULT_SCOPE, Key, Pattern, as_key, as_pattern
from ..streams.connection import Connection
from ..streams.fanout import Fanout
from ..streams.writer import AT_ONCE, Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..dispatch import Context, Dispatched, DispatchError, Result
    from ..history import History
    from ..stores import Store
    from ..stores.admission import Admission
    from ..streams.writer import Failure, Writer

__all__ = ("BroadcastResult", "broadcast", "connections", "default_scope", "with_connection")


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
        self.matched = matched
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
        """Connections that took everything; those not yet written to are counted as if they will."""
        return self.matched - len(self.failures)

    @property
    def waited(self) -> int:
        """Connections whose socket did not take everything at once, so that some of it waits for them."""
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
    pattern: Any, *effects: tuple[Any, ...], exclude: Any = (), each: bool = False
) -> tuple[Any, ...]:
    """Return the effect that dispatches effects to all connections whose key matches.

    Args:
        pattern: ``(scope, (category, id))`` with ANY in any place.
        effects: what to dispatch; they run once, with a fan-out of all receivers as the connection, so that an event is
            encoded once. None at all makes the broadcast do nothing.
        exclude: a set or list of keys, or one pattern, whose connections are left out.
        each: run the effects once per connection instead, for effects that differ by receiver.

    Returns:
        The tuple. The effect's result is a :class:`BroadcastResult`.

    Raises:
        KeyShapeError: when pattern or exclude has another shape.
    """
    options = {"pattern": as_pattern(pattern), "exclude": _excluded(exclude), "each": each}
    return ("broadcast", options, *effects)


def with_connection(key: Any, *effects: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the effect that dispatches effects to the connections of exactly one key; nothing happens if it has none.

    Args:
        key: ``(scope, (category, id))``, complete.
        effects: what to dispatch, once.

    Returns:
        The tuple. The effect's result is the nested dispatch, or None when there was nothing to do.

    Raises:
        KeyShapeError: when it is no key.
    """
    return ("with_connection", as_key(key), *effects)


def default_scope(ctx: Context) -> str:
    """Return the scope of connections when an application has only one."""
    return DEFAULT_SCOPE


def connections(
    store: Store[Connection],
    *,
    id_fn: Callable[[Context], Any] | None = None,
    writer: Writer = AT_ONCE,
    admission: Admission | None = None,
    history: History | None = None,
) -> Registry:
    """Return the registry of the sfere interceptor, ``broadcast`` and ``with_connection`` for one store.

    Args:
        store: where the connections are.
        id_fn: gives the scope of a dispatch from its context, such as the tenant of ``ctx.system["request"]``; never from
            what a client may choose. None is an error, not a scope for everybody. By default all are in ``"default"``.
        writer: writes what is broadcast; by default at once.
        admission: refuses a newcomer whose scope or key has too many; by default nobody.
        history: keeps what is sent to a key also while nobody is there; by default nothing is kept.
    """
    scope_of = id_fn or default_scope
    registry = Registry("connections")

    def keep(ctx: Context) -> None:
        if ctx.actions == [("sse_closed",)]:
            store.purge_connection(ctx.system.get("sse"))
            return
        given = ctx.dispatch_data.pop("key", None)
        if given is None or ctx.halted or ctx.errors:
            return
        inner = given() if callable(given) else given
        if inner is None:
            return
        key = _full_key(scope_of(ctx), inner)
        ctx.dispatch_data["stored_key"] = key
        own = ctx.system.get("sse")
        if own is None:
            found = store.get(key)
            if found or _is_kept(history, key):
                ctx.system["sse"] = _as_one(found, writer, key, history)
        elif isinstance(own, Connection):
            # Nothing may be awaited between this look and the put: a client that leaves in between would stay for ever.
            if own.closed:
                return
            if admission is not None:
                admission.check_key(key, own)
            store.put(key, own)
            if history is not None:
                # From here on its events wait for it; what came before is replayed, up to just here.
                ctx.dispatch_data["stored_position"] = history.position
            if own.key is None:
                own.key = key

    registry.innermost({"id": "sfere", "before_dispatch": keep})

    @registry.effect("broadcast")
    def broadcast_effect(
        ctx: Context, options: dict[str, Any], *effects: tuple[Any, ...]
    ) -> BroadcastResult | Awaitable[BroadcastResult] | None:
        """Dispatch effects to all connections whose key matches a pattern.

        Args:
            options: ``pattern``; ``exclude``, keys or a pattern left out; ``each``, once per connection instead of once.
            effects: what to dispatch.
        """
        if not isinstance(options, dict) or not isinstance(options.get("pattern"), tuple):
            raise EffectShapeError("broadcast takes a dict with a pattern, then effects", options)
        if not effects:
            return None
        found = store.connections(options["pattern"], exclude=options.get("exclude", ()))
        if options.get("each"):
            return _to_each(ctx, found, effects)
        pattern, exclude = options["pattern"], options.get("exclude", ())
        return _to_all(ctx, Fanout(found, writer, pattern=pattern, exclude=exclude), effects)

    @registry.effect("with_connection")
    def with_connection_effect(
        ctx: Context, key: Any, *effects: tuple[Any, ...]
    ) -> Dispatched | None:
        """Dispatch effects to the connections of exactly one key.

        Args:
            key: the whole key.
            effects: what to dispatch.
        """
        found = store.peek(key)
        if not effects or not (found or _is_kept(history, as_key(key))):
            return None
        return ctx.dispatch(effects, system={"sse": _as_one(found, writer, as_key(key), history)})

    return registry


def _full_key(scope: Any, inner: Any) -> Key:
    if scope is None:
        raise KeyShapeError(
            "id_fn returned no scope; without one, strangers would share a key", inner
        )
    return as_key((scope, inner))


def _is_kept(history: History | None, key: Key) -> bool:
    return history is not None and history.categories.get(key.category, history.keep).count > 0


def _as_one(
    found: Sequence[Connection], writer: Writer, key: Key, history: History | None
) -> Connection | Fanout:
    if len(found) == 1 and not _is_kept(history, key):
        return found[0]
    return Fanout(found, writer, pattern=key)


def _to_all(
    ctx: Context, fanout: Fanout, effects: tuple[Any, ...]
) -> BroadcastResult | Awaitable[BroadcastResult]:
    nested = ctx.dispatch(effects, system={"sse": fanout})
    told = BroadcastResult(len(fanout), (nested,), fanout)
    return told if nested.done else _later(told, (nested,))


def _to_each(
    ctx: Context, found: Sequence[Connection], effects: tuple[Any, ...]
) -> BroadcastResult | Awaitable[BroadcastResult]:
    nested = [ctx.dispatch(effects, system={"sse": connection}) for connection in found]
    told = BroadcastResult(len(found), nested)
    return told if all(one.done for one in nested) else _later(told, nested)


async def _later(told: BroadcastResult, nested: Sequence[Dispatched]) -> BroadcastResult:
    for one in nested:
        await one
    return told


def _excluded(exclude: Any) -> Pattern | frozenset[Key]:
    """Tell one pattern from several keys: what begins with a tuple is several keys, unless it is a Pattern already."""
    if exclude == ():
        return frozenset()
    if isinstance(exclude, Pattern) or (
        isinstance(exclude, tuple) and len(exclude) == 2 and not isinstance(exclude[0], tuple)
    ):
        return as_pattern(exclude)
    if not isinstance(exclude, (tuple, list, set, frozenset)):
        raise KeyShapeError("exclude takes a set or list of keys, or one pattern", exclude)
    return frozenset(as_key(key) for key in exclude)
