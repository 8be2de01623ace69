"""Presence, inside a dispatch: who arrives and departs, what members say of themselves, and what the others are told.

The presence interceptor stands innermost, after the sfere one, so its registry comes after that one's. With it the room
follows the store:

- a dispatch that has stored a connection under a key: the connection arrives. ``dispatch_data["presence"]`` says what is
  known of it: any of ``tab``, ``device``, ``data``, ``hidden``, or a function that returns them. The newcomer is sent
  ``presence_state``, also when nobody is told that it joined, for a stream that opens knows nothing.
- a dispatch of kind ``closing``: the connection departs, for ``connection.reason``, when the store has let go of it.

What the room says has changed is dispatched as the action ``presence_announce``. It becomes the effect
``presence_diff``, which tells the others in one step, and for each change ``presence_change``, which is there to be seen
by interceptors and calls the callbacks. A callback gets the :class:`~sfere_tornado.presence.Change` and may return
effects.

The hub makes one call more: when ``room.next_expiry()`` has come, ``hub.dispatch(announce(room.expire()))``. Whoever else
calls the room dispatches in the same way what it returns, and calls ``hub.set_alarm()`` where it may be waiting for somebody.

Laws:

- **State first, diffs after.** A newcomer's state is what was announced at the moment of its arrival, and what changes
  later reaches it as everybody else; none is missed and none comes twice, as long as no stage of the chain has to be
  awaited.
- **Callbacks never nest.** What one of them causes, such as another departure, waits until the others have been called;
  an exception in one is logged, and the others are called.
- **What is sent fits**: a state or diff is cut into parts that an event and an outbox can hold.
- **No ornament costs a stream**: what the application says of a connection and cannot be kept is logged and left out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..callbacks import Callbacks
from ..dispatch import Registry
from ..effects.streams import receiver
from ..effects.visit import visit_of
from ..errors import KeyShapeError, MetaError
from ..keys import ANY, Pattern, as_key
from ..streams.connection import Connection
from ..streams.fanout import Fanout
from ..streams.writer import AT_ONCE
from .events import PresenceEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from ..dispatch import Context, Dispatched
    from ..keys import Key
    from ..stores import Store
    from ..streams.writer import Delivery, Writer
    from . import Change, Presence

__all__ = ("announce", "hide", "leave", "presence", "presence_state", "show", "update_meta")

log = logging.getLogger("sfere_tornado.effects")


def announce(changes: Iterable[Change]) -> tuple[Any, ...]:
    """Return the action that tells of changes, as a presence room returns them; none at all makes it do nothing."""
    return ("presence_announce", tuple(changes))


def leave(key: Any = None, *, tab: str | None = None) -> tuple[Any, ...]:
    """Return the effect by which a member leaves: its streams are closed and told to stay away, and ``left`` is told at once.

    Args:
        key: ``(scope, (category, id))``; None for the client whose request is being answered.
        tab: only the streams of this tab; None for all.

    Raises:
        KeyShapeError: when it is no key.
    """
    return ("leave", _options(key, tab))


def hide(key: Any = None, *, tab: str | None = None) -> tuple[Any, ...]:
    """Return the effect that takes note that a member's tab is hidden; arguments as for :func:`leave`."""
    return ("hide", _options(key, tab))


def show(key: Any = None, *, tab: str | None = None) -> tuple[Any, ...]:
    """Return the effect that takes note that a member's tab is visible again; arguments as for :func:`leave`."""
    return ("show", _options(key, tab))


def update_meta(data: Any, *, key: Any = None, tab: str | None = None) -> tuple[Any, ...]:
    """Return the effect that puts other data of the application in the place of what a member has.

    Args:
        data: what JSON can say, up to 1 KiB.
        key: as for :func:`leave`.
        tab: only for this tab; None for all of the member's.

    Raises:
        KeyShapeError: when it is no key.
    """
    return ("update_meta", data, _options(key, tab))


def presence_state(key: Any = None) -> tuple[Any, ...]:
    """Return the effect that sends, to the connections of the dispatch, who is here in the scope and category of a key.

    Args:
        key: None for that of the client whose request is being answered.

    Raises:
        KeyShapeError: when it is no key.
    """
    return ("presence_state", _options(key, None))


class PresenceRegistry(Registry):
    """The registry of presence, which also says what changes when a connection has departed."""

    depart: Callable[[Connection], list[Change]]


def presence(
    room: Presence,
    store: Store[Connection],
    *,
    announced: Collection[Any] | None = None,
    on_change: Collection[Callable[[Change], Any]] = (),
    on_wait: Callable[[], object] | None = None,
    writer: Writer = AT_ONCE,
) -> PresenceRegistry:
    """Return the registry of the presence interceptor and of the effects in this module.

    Args:
        room: who is here.
        store: where the connections are.
        announced: the categories whose members are sent ``presence_state`` and ``presence_diff``; None for all. The
            others have the callbacks and ``presence_change`` only.
        on_change: called with each change; what it returns is dispatched. May grow later.
        on_wait: called when ``room.next_expiry()`` may have come nearer; the hub sets its alarm.
        writer: writes the diffs; by default at once.
    """
    registry = PresenceRegistry("presence")
    queue = Callbacks("presence", log)
    events = PresenceEvents(room)
    # Replaced connections by the one that took their place: they stay in the room until it is there. The store lets go of
    # them first, and in between the member would have left.
    replaced: dict[Connection, list[Connection]] = {}

    def tell(ctx: Context, changes: list[Change]) -> Dispatched | None:
        if on_wait is not None:
            on_wait()
        return ctx.dispatch(announce(changes)) if changes else None

    def is_announced(key: Key) -> bool:
        return announced is None or key.category in announced

    def depart(connection: Connection) -> list[Change]:
        departing = [*replaced.pop(connection, ()), connection]
        is_replaced = connection.reason == "replaced" and connection.key is not None
        successors = store.peek(connection.key) if is_replaced else ()
        if successors and not room.is_open(connection.key, successors[-1]):
            replaced.setdefault(successors[-1], []).extend(departing)
            return []
        return [
            change for each in departing for change in room.depart(each, each.reason or "client")
        ]

    registry.depart = depart

    def follow(ctx: Context) -> Awaitable[None] | None:
        connection = ctx.system.get("sse")
        if not isinstance(connection, Connection):
            return None
        if ctx.kind == "closing":
            return None
        visit = visit_of(ctx)
        key = None if visit is None else visit.key
        # A continuation has the key too, and perhaps somebody else's connection.
        if key is None or ctx.halted or ctx.errors or key not in store.keys_of(connection):
            return None
        if room.is_open(key, connection):
            return None
        meta_of = None if visit is None else visit.meta_of
        meta = meta_of() if callable(meta_of) else meta_of
        changes = _arrive(room, key, connection, meta or {})
        for one in replaced.pop(connection, ()):
            changes += room.depart(one, "replaced")
        if on_wait is not None:
            on_wait()
        told: list[tuple[Any, ...]] = [presence_state(key)] if is_announced(key) else []
        nested = ctx.dispatch([*told, announce(changes)])
        return None if nested.done else _wait_for(nested)

    registry.innermost({"id": "presence", "before_dispatch": follow})

    @registry.action("presence_announce")
    def announce_action(state: Any, changes: tuple[Change, ...]) -> list[tuple[Any, ...]]:
        """Tell of changes in who is here.

        Args:
            changes: as the room returned them.
        """
        sent = tuple(change for change in changes if is_announced(change.key))
        return [
            *([("presence_diff", sent)] if sent else []),
            *(("presence_change", change) for change in changes),
        ]

    @registry.effect("presence_diff")
    def diff_effect(ctx: Context, changes: tuple[Change, ...]) -> list[Delivery]:
        """Send changes to the members of the same scope and category; newcomers have them in their state.

        Args:
            changes: as the room returned them.
        """
        places: dict[tuple[Any, Any], list[Change]] = {}
        for change in changes:
            places.setdefault((change.key.scope, change.key.category), []).append(change)
        delivered = []
        for (scope, category), there in places.items():
            newcomers = {change.key for change in there if change.kind == "joined"}
            fanout = Fanout(
                store.connections(Pattern(scope, (category, ANY)), exclude=newcomers), writer
            )
            if len(fanout):
                delivered += [fanout.deliver(payload) for payload in events.diff(there)]
        return delivered

    @registry.effect("presence_state", system_keys=["sse"])
    def state_effect(ctx: Context, options: dict[str, Any] | None = None) -> list[Delivery]:
        """Send to the connections of the dispatch who is here.

        Args:
            options: ``key``, of whose scope and category.
        """
        to = receiver(ctx, "presence_state")
        key = _key_of(ctx, options, "presence_state")
        members = room.announced(Pattern(key.scope, (key.category, ANY)))
        return [to.deliver(payload) for payload in events.state(members)]

    @registry.effect("presence_change")
    def change_effect(ctx: Context, change: Change) -> None:
        """Tell the callbacks of a change in who is here; dispatched by the library only.

        Args:
            change: one of those that the room returned.
        """
        for callback in on_change:
            queue.add(_call, ctx, callback, change)
        queue.run()

    @registry.effect("leave")
    def leave_effect(ctx: Context, options: dict[str, Any] | None = None) -> Dispatched | None:
        """Let a member leave.

        Args:
            options: ``key``, whose; ``tab``, only of this tab.
        """
        key, tab = _key_of(ctx, options, "leave"), (options or {}).get("tab")
        closing = room.connections(key, tab)
        # First of all, so that the closings meet nobody; told last, when the store has let go.
        changes = room.leave(key, tab)
        if tab is None:
            store.purge(key)
        for connection in closing:
            if tab is not None or not store.keys_of(connection):
                connection.close(reconnect=False)
        return tell(ctx, changes)

    @registry.effect("hide")
    def hide_effect(ctx: Context, options: dict[str, Any] | None = None) -> Dispatched | None:
        """Take note that a member's tab is hidden.

        Args:
            options: ``key``, whose; ``tab``, only this tab.
        """
        return tell(ctx, room.hide(_key_of(ctx, options, "hide"), (options or {}).get("tab")))

    @registry.effect("show")
    def show_effect(ctx: Context, options: dict[str, Any] | None = None) -> Dispatched | None:
        """Take note that a member's tab is visible again.

        Args:
            options: ``key``, whose; ``tab``, only this tab.
        """
        return tell(ctx, room.show(_key_of(ctx, options, "show"), (options or {}).get("tab")))

    @registry.effect("update_meta")
    def update_effect(
        ctx: Context, data: Any, options: dict[str, Any] | None = None
    ) -> Dispatched | None:
        """Put other data of the application in the place of what a member has.

        Args:
            data: what JSON can say.
            options: ``key``, whose; ``tab``, only for this tab.
        """
        return tell(
            ctx, room.update(_key_of(ctx, options, "update_meta"), data, (options or {}).get("tab"))
        )

    return registry


def _options(key: Any, tab: str | None) -> dict[str, Any]:
    options = {"key": None if key is None else as_key(key), "tab": tab}
    return {name: value for name, value in options.items() if value is not None}


def _key_of(ctx: Context, options: dict[str, Any] | None, effect: str) -> Key:
    given = (options or {}).get("key")
    visit = visit_of(ctx)
    key = (visit.key if visit is not None else None) if given is None else given
    if key is None:
        raise KeyShapeError(
            f"{effect} needs a key: give one, or dispatch it in a handler that has a connection_key",
            key,
        )
    return as_key(key)


def _arrive(
    room: Presence, key: Key, connection: Connection, meta: Mapping[str, Any]
) -> list[Change]:
    """Let a connection arrive, with as much of what the application says of it as can be kept."""
    while True:
        try:
            return room.arrive(key, connection, **meta)
        except MetaError as error:
            # It is stored already. An error status would keep a browser away for good, for a name that is too long.
            log.error("%s (of the stream of %s, which opens without it)", error, key)  # noqa: TRY400  # the text says all
            meta = {**meta, error.field: None}


async def _wait_for(nested: Dispatched) -> None:
    await nested


def _call(ctx: Context, callback: Callable[[Change], Any], change: Change) -> None:
    try:
        effects = callback(change)
    except Exception:
        log.exception(
            "the presence callback %r failed for %s, %s", callback, change.kind, change.key
        )
        return
    if effects is not None:
        # Whoever's connection caused the change, it is not whom a bare send() is meant for.
        ctx.dispatch(effects, system={"sse": None})
