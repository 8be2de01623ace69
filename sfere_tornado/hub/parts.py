"""The library's registries for a hub, and the rooms that a configuration switches on: history and presence."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from ..effects.keyed import KeyedEffects
from ..effects.streams import StreamEffects
from ..history import History, Keep
from ..presence import MAX_MEMBERS, Grace, Presence
from ..presence.effects import PresenceEffects

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import GraceConfig, HubConfig
    from ..dispatch import Context, Registry
    from ..presence.feed import PresenceFeed
    from .hub import Hub

__all__ = ("MEMBERS_PER_CONNECTION", "make_history", "make_presence", "make_registries")

#: Members of the presence room for each connection that the store takes, 5: a grace of minutes after everybody has left
#: once.
MEMBERS_PER_CONNECTION: Final = 5


def make_registries(
    hub: Hub, id_fn: Callable[[Context], Any] | None, feed: PresenceFeed | None
) -> list[Registry]:
    """Return the library's registries."""
    registries: list[Registry] = [
        StreamEffects(max_event_size=hub.config.stream.max_event_size, history=hub.history),
        KeyedEffects(
            hub.store,
            id_fn=id_fn,
            writer=hub.writer,
            admission=hub.admission,
            history=hub.history,
            presence=feed,
        ),
    ]
    if feed is not None:
        registries.append(PresenceEffects(feed))
    return registries


def make_history(config: HubConfig, timer: Callable[[], float]) -> History | None:
    """Return the history that a configuration describes, or None when it has none."""
    settings = config.history
    if settings is None:
        return None
    keep = Keep(count=settings.count, age=settings.age, bytes=settings.bytes)
    categories = {
        name: replace(keep, **_given(rules)) for name, rules in settings.categories.items()
    }
    return History(
        keep, categories=categories, timer=timer, max_event_size=config.stream.max_event_size
    )


def make_presence(config: HubConfig, timer: Callable[[], float]) -> Presence | None:
    """Return the presence room that a configuration describes, or None when it has none.

    Args:
        config: the hub's.
        timer: the clock of leases: while the process stands still nobody can come back, so no grace ends.
    """
    settings = config.presence
    if settings is None:
        return None
    grace = _grace(Grace(), settings.grace)
    categories = {name: _grace(grace, rules) for name, rules in settings.categories.items()}
    # Those who are waited for are members too; and a store that was made larger must not be too large for presence.
    max_members = max(MAX_MEMBERS, MEMBERS_PER_CONNECTION * config.store.maxsize)
    return Presence(grace, categories=categories, timer=timer, max_members=max_members)


def _grace(grace: Grace, rules: GraceConfig) -> Grace:
    return replace(grace, **_given(rules))


def _given(rules: Any) -> dict[str, Any]:
    """Return the settings that are not left to a default."""
    return {name: value for name, value in asdict(rules).items() if value is not None}
