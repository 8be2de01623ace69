"""What presence tells: states and diffs to the members, changes to the application's callbacks.

The roster (:class:`.Presence`) records what happens and returns what changed. The feed calls it,
gives the changes to the :class:`.Announcer`, which sends them straight to the connections, and
calls the callbacks from one queue, in the same call. Nothing of this is dispatched, so no stage of
an interceptor can delay, reorder or lose it.

Laws:

- **One order of changes for all callbacks.** The changes of one call are all queued before the
  first callback is called; what a callback causes comes after them.
- **Callbacks wait for nothing.** Each change is reported in the call that brings it, also when the
  announcer gathers changes for the clients.
- **A stream opens, whatever its metadata.** What the application says of a connection and cannot be
  kept is logged and left out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ..callbacks import Callbacks, call_guarded
from ..errors import MetaError
from .records import Departure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..keys import Key
    from ..stores import Cause, Store
    from ..streams.connection import Connection
    from .announcer import Announcer
    from .presence import Presence
    from .records import Change, DepartureReason

__all__ = ("PresenceFeed",)

log: logging.Logger = logging.getLogger("sfere_tornado.presence")

#: Why a connection leaves one of its keys and keeps others, by the store's cause.
_REASON_OF_CAUSE: Final[Mapping[Cause, DepartureReason]] = {
    "explicit": "revoked",
    "expired": "expired",
    "replaced": "replaced",
    "size": "server",
}


class PresenceFeed:
    """Records who arrives and departs, and tells of it.

    Args:
        roster: who is here.
        store: where the connections are.
        dispatch: dispatches what a callback returns.
        announcer: sends the changes to the clients.
        set_alarm: looks what is due next, because a grace may end earlier than what was due.
    """

    __slots__ = (
        "_callbacks",
        "_dispatch",
        "_queue",
        "_replaced",
        "_set_alarm",
        "_store",
        "announcer",
        "roster",
    )

    def __init__(
        self,
        roster: Presence,
        store: Store[Connection],
        dispatch: Callable[[Any], object],
        announcer: Announcer,
        *,
        set_alarm: Callable[[], object] | None = None,
    ) -> None:
        self.roster: Presence = roster
        #: Sends states, diffs, counts and pages.
        self.announcer: Announcer = announcer
        self._callbacks: list[Callable[[Change], Any]] = []
        self._store = store
        self._dispatch = dispatch
        self._set_alarm = set_alarm
        self._queue = Callbacks("presence", log)
        # By the connection that took their place: the departures of connections that were replaced.
        # The store removes those first; they stay in the roster until the successor arrives, or the
        # member would look gone for a moment.
        self._replaced: dict[Connection, list[Departure]] = {}

    def __repr__(self) -> str:
        return f"<PresenceFeed of {self.roster!r}>"

    def add_callback(self, callback: Callable[[Change], Any]) -> None:
        """Have a function called with each change; what it returns is dispatched."""
        self._callbacks.append(callback)

    def arrive(self, key: Key, connection: Connection, meta: Mapping[str, Any]) -> None:
        """Record that a stored connection is here; send it the state, and tell the others.

        Args:
            key: under which it was stored.
            connection: the connection; one that is known under the key changes nothing.
            meta: any of ``tab``, ``device``, ``data``, ``hidden``.

        Raises:
            PresenceFullError: There are too many members; nothing has changed.
        """
        if self.roster.is_open(key, connection):
            return
        changes = self._arrive(key, connection, meta)
        replaced = self._replaced.pop(connection, None)
        if replaced is not None:
            changes += self.roster.depart_many(replaced)
        # The arrival itself begins no grace.
        self._tell(changes, newcomer=(key, connection), alarm=replaced is not None)

    def depart(self, connection: Connection) -> None:
        """Record that a connection has ended, for its own reason, and tell the others."""
        key, reason = connection.key, connection.reason or "client"
        if not self._replaced and reason != "replaced":
            self._tell(self.roster.depart(connection, reason))
            return
        departures = [*self._replaced.pop(connection, ()), Departure(connection, reason)]
        if reason == "replaced" and key is not None and self._wait(key, departures):
            return
        self._tell(self.roster.depart_many(departures))

    def depart_from(self, key: Key, connection: Connection, cause: Cause) -> None:
        """Record that a connection has left one of its keys, and keeps others."""
        reason = _REASON_OF_CAUSE[cause]
        if reason == "replaced" and self._wait(key, [Departure(connection, reason, key)]):
            return
        self._tell(self.roster.depart(connection, reason, key=key))

    def leave(self, key: Key, tab: str | None = None) -> None:
        """Let a member leave: close its streams, tell their clients to stay away, tell the others.

        Args:
            key: the member's.
            tab: only the streams of this tab; None for all.
        """
        closing = self.roster.connections(key, tab)
        # The departure is recorded first, so that the closings find no member; it is told last,
        # when the store has let go.
        changes = self.roster.leave(key, tab)
        if tab is None:
            self._store.purge(key)
        for connection in closing:
            if tab is not None or not self._store.keys_of(connection):
                connection.close(reconnect=False)
        self._tell(changes)

    def hide(self, key: Key, tab: str | None = None) -> None:
        """Record that a member's tab is hidden; None for all of its tabs."""
        self._tell(self.roster.hide(key, tab))

    def show(self, key: Key, tab: str | None = None) -> None:
        """Record that a member's tab is visible again; None for all of its tabs."""
        self._tell(self.roster.show(key, tab))

    def update(self, key: Key, data: Any, tab: str | None = None) -> None:
        """Replace the application's data of a member.

        Raises:
            MetaError: The data is too large, or cannot be written as JSON.
        """
        self._tell(self.roster.update(key, data, tab))

    def expire(self) -> None:
        """Announce some of the members whose grace has ended, and send what was gathered."""
        changes = self.roster.expire()
        if changes:
            self._tell(changes)
        self.announcer.send_due()

    def _wait(self, key: Key, departures: list[Departure]) -> bool:
        """Keep replaced connections until their successor arrives; return whether there is one."""
        successors = self._store.peek(key)
        if not successors or self.roster.is_open(key, successors[-1]):
            return False
        self._replaced.setdefault(successors[-1], []).extend(departures)
        return True

    def _arrive(self, key: Key, connection: Connection, meta: Mapping[str, Any]) -> list[Change]:
        while True:
            try:
                return self.roster.arrive(key, connection, **meta)
            except MetaError as error:
                # The connection is stored. An error status would keep a browser away for good,
                # because of a name that is too long.
                log.error(  # noqa: TRY400  # the text says all
                    "%s (of the stream of %s, which opens without it)",
                    error,
                    key,
                )
                meta = {**meta, error.field: None}

    def _tell(
        self,
        changes: list[Change],
        *,
        newcomer: tuple[Key, Connection] | None = None,
        alarm: bool = True,
    ) -> None:
        """Tell of changes.

        Args:
            changes: what changed.
            newcomer: a connection that has arrived under a key.
            alarm: whether a grace may have begun, so that the alarm is set again.
        """
        if alarm and self._set_alarm is not None:
            self._set_alarm()
        if changes or newcomer is not None:
            self.announcer.announce(changes, newcomer)
        if not changes or not self._callbacks:
            return
        # Only callbacks read who remains, and listing it copies all keys of a category.
        for change in self.roster.with_remaining(changes):
            self._queue.add(self._call, change)
        self._queue.run()

    def _call(self, change: Change) -> None:
        for callback in self._callbacks:
            effects = call_guarded(log, "the presence callback", callback, change)
            if effects is not None:
                call_guarded(log, "dispatching for the presence callback", self._dispatch, effects)
