"""Effects of presence: what members say of themselves, and who is here.

Each is a call of the :class:`.PresenceFeed`, which records it and tells the others. Without a key
an effect is about the client whose request is being answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dispatch import Effect, Registry
from ..effects.streams import receiver
from ..effects.visit import visit_of
from ..errors import KeyShapeError
from ..keys import as_key

if TYPE_CHECKING:
    from ..dispatch import Context
    from ..keys import Key, KeyLike
    from ..streams.delivery import Delivery
    from .feed import PresenceFeed

__all__ = ("PresenceEffects", "hide", "leave", "presence_state", "show", "update_meta")


def leave(key: KeyLike | None = None, *, tab: str | None = None) -> Effect:
    """Return the effect that lets a member leave, without a grace by default.

    Its streams are closed, and their clients are told not to reconnect.

    Args:
        key: ``(scope, (category, id))``; None for the client whose request is being answered.
        tab: only the streams of this tab; None for all.

    Raises:
        KeyShapeError: It is not a valid key.
    """
    return Effect(("leave", _options(key, tab)))


def hide(key: KeyLike | None = None, *, tab: str | None = None) -> Effect:
    """Return the effect that records that a member's tab is hidden.

    Args:
        key: as for :func:`leave`.
        tab: only this tab; None for all.

    Raises:
        KeyShapeError: It is not a valid key.
    """
    return Effect(("hide", _options(key, tab)))


def show(key: KeyLike | None = None, *, tab: str | None = None) -> Effect:
    """Return the effect that records that a member's tab is visible again.

    Args:
        key: as for :func:`leave`.
        tab: only this tab; None for all.

    Raises:
        KeyShapeError: It is not a valid key.
    """
    return Effect(("show", _options(key, tab)))


def update_meta(data: Any, *, key: KeyLike | None = None, tab: str | None = None) -> Effect:
    """Return the effect that replaces the application's data of a member.

    Args:
        data: what JSON can say, up to 1 KiB.
        key: as for :func:`leave`.
        tab: only for this tab; None for all of the member's.

    Raises:
        KeyShapeError: It is not a valid key.
    """
    return Effect(("update_meta", data, _options(key, tab)))


def presence_state(key: KeyLike | None = None) -> Effect:
    """Return the effect that sends who is here to the connections of the dispatch.

    Args:
        key: the members of its scope and category are sent. None for the key of the client whose
            request is being answered.

    Raises:
        KeyShapeError: It is not a valid key.
    """
    return Effect(("presence_state", _options(key, None)))


class PresenceEffects(Registry):
    """The effects in this module.

    Args:
        feed: records what members say, and tells the others.
    """

    def __init__(self, feed: PresenceFeed) -> None:
        super().__init__("presence")
        self._feed = feed
        self.effect("presence_state", system_keys=["sse"])(self._state)
        self.effect("leave")(self._leave)
        self.effect("hide")(self._hide)
        self.effect("show")(self._show)
        self.effect("update_meta")(self._update_meta)

    def _state(self, ctx: Context, options: dict[str, Any] | None = None) -> list[Delivery]:
        """Send to the target of the dispatch who is here.

        Args:
            options: ``key``, of whose scope and category.
        """
        target = receiver(ctx, "presence_state")
        key = _key_of(ctx, options, "presence_state")
        return [target.deliver(payload) for payload in self._feed.announcer.state(key)]

    def _leave(self, ctx: Context, options: dict[str, Any] | None = None) -> None:
        """Let a member leave.

        Args:
            options: ``key``, whose; ``tab``, only of this tab.
        """
        self._feed.leave(_key_of(ctx, options, "leave"), _tab_of(options))

    def _hide(self, ctx: Context, options: dict[str, Any] | None = None) -> None:
        """Record that a member's tab is hidden.

        Args:
            options: ``key``, whose; ``tab``, only this tab.
        """
        self._feed.hide(_key_of(ctx, options, "hide"), _tab_of(options))

    def _show(self, ctx: Context, options: dict[str, Any] | None = None) -> None:
        """Record that a member's tab is visible again.

        Args:
            options: ``key``, whose; ``tab``, only this tab.
        """
        self._feed.show(_key_of(ctx, options, "show"), _tab_of(options))

    def _update_meta(self, ctx: Context, data: Any, options: dict[str, Any] | None = None) -> None:
        """Replace the application's data of a member.

        Args:
            data: what JSON can say.
            options: ``key``, whose; ``tab``, only for this tab.
        """
        self._feed.update(_key_of(ctx, options, "update_meta"), data, _tab_of(options))


def _options(key: Any, tab: str | None) -> dict[str, Any]:
    options = {"key": None if key is None else as_key(key), "tab": tab}
    return {name: value for name, value in options.items() if value is not None}


def _key_of(ctx: Context, options: dict[str, Any] | None, effect: str) -> Key:
    key = (options or {}).get("key")
    if key is None:
        visit = visit_of(ctx)
        key = None if visit is None else visit.key
    if key is None:
        raise KeyShapeError(
            f"{effect} needs a key: pass one, or dispatch it in a handler with a connection_key",
            key,
        )
    return as_key(key)


def _tab_of(options: dict[str, Any] | None) -> str | None:
    return (options or {}).get("tab")
