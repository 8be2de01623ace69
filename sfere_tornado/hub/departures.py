"""Connections that leave the store: close their streams, call the callbacks.

Law: **a connection that leaves the store is closed**, unless ``close_on_evict`` is false. Left
open, it would get no events. A client that is allowed back is cut. Any other is told to stay away.
"""

from __future__ import annotations

import logging
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, TypeAlias

from ..callbacks import call_guarded
from ..errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..keys import Key
    from ..stores import Cause, Removal, Store
    from ..streams.connection import Connection

    Callback: TypeAlias = Callable[
        [Key, Connection, Cause], object
    ]  # called after the entry is removed

__all__ = ("Departures", "check_callback")

log: logging.Logger = logging.getLogger("sfere_tornado.hub")


def check_callback(callback: object, name: str) -> None:
    """Check a callback of the application.

    Raises:
        RegistryError: when it cannot be called, or is a coroutine function, which is not awaited.
    """
    if not callable(callback) or iscoroutinefunction(callback):
        raise RegistryError(
            f"{name} takes a plain function, not {callback!r}; dispatch an effect for what must wait"
        )


class Departures:
    """What a hub does with connections that leave its store.

    Args:
        store: its callbacks are taken over.
        close: whether their streams are closed.
    """

    def __init__(self, store: Store[Connection], *, close: bool) -> None:
        self._callbacks: list[Callback] = []
        self._close = close
        # While the hub drains, it cuts the streams itself, at its own pace.
        self._paused = False
        #: Called when a connection has left one of its keys and keeps others.
        self.on_kept: Callable[[Key, Connection, Cause], object] | None = None
        self._store = store
        store.on_removal = self._close_removed
        store.on_evict = self._tell

    def __repr__(self) -> str:
        return f"<Departures: {len(self._callbacks)} callbacks, {'closing' if self._close else 'not closing'}>"

    def add(self, callback: Callback) -> Callback:
        """Register a callback for every departure; see :meth:`Hub.on_evict`."""
        check_callback(callback, "on_evict")
        self._callbacks.append(callback)
        return callback

    def resume(self) -> None:
        """Close the streams of connections that leave the store, if ``close`` is true."""
        self._paused = False

    def let_all_go(self) -> None:
        """Empty the store without closing a stream."""
        self._paused = True
        self._store.clear()

    def _close_removed(self, removal: Removal[Connection]) -> None:
        if removal.connection.reason is not None:
            # The usual case: it has left the store because its stream has ended.
            return
        if self._store.keys_of(removal.connection):
            # Events for its other keys still reach it.
            if self.on_kept is not None:
                self.on_kept(removal.key, removal.connection, removal.cause)
            return
        if self._paused or not self._close:
            return
        if removal.cause == "expired":
            removal.connection.close(reason="expired")
        elif removal.cause == "replaced":
            # If it came back, the two would replace each other for ever.
            removal.connection.close(reconnect=False, reason="replaced")
        elif removal.cause == "size":
            removal.connection.close(reason="server")
        else:
            removal.connection.close(reconnect=False, reason="server")

    def _tell(self, key: Key, connection: Connection, cause: Cause) -> None:
        for callback in self._callbacks:
            call_guarded(log, "on_evict callback", callback, key, connection, cause)
