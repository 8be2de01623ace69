"""The parts of a hub, made as its configuration describes them."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from ..effects.keyed import KeyedEffects
from ..effects.streams import StreamEffects
from ..history import Keep, MemoryHistory
from ..presence import MAX_MEMBERS, Grace, Presence
from ..presence.announcer import Announcer
from ..presence.effects import PresenceEffects
from ..presence.feed import PresenceFeed
from ..stores import from_config
from ..stores.admission import Admission
from ..streams.writer import Writer
from ..wire.compression import SharedCompressor
from .departures import Departures
from .streams import Streams
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..config import GraceConfig, HubConfig
    from ..dispatch import Context, Dispatcher, Registry
    from ..history import History
    from ..stores import Store
    from ..streams.connection import Connection
    from .life import Life
    from .ticks import Ticks

__all__ = ("MEMBERS_PER_CONNECTION", "Parts", "make_history", "make_presence")

#: Members at most for each connection that the store takes, 5: members in their grace count too,
#: also when all clients have left and others have come.
MEMBERS_PER_CONNECTION: Final = 5


class Parts:
    """The parts of one hub that its configuration describes.

    Args:
        config: the hub's.
        ticks: its clocks.
        store: another store than the one that the configuration describes.
    """

    def __init__(
        self, config: HubConfig, ticks: Ticks, store: Store[Connection] | None = None
    ) -> None:
        self._config = config
        self._ticks = ticks
        self.store: Store[Connection] = (
            from_config(config.store, ticks.leases) if store is None else store
        )
        self.departures: Departures = Departures(self.store, close=config.store.close_on_evict)
        self.writer: Writer = Writer(
            slice_size=config.stream.fan_out_slice,
            compressor=SharedCompressor() if config.stream.compress else None,
        )
        self.history: History | None = make_history(config, ticks.time)
        self._admission = Admission(config.limits, self.store)

    def make_feed(self, dispatch: Callable[[Any], object]) -> PresenceFeed | None:
        """Return the feed that announces presence; None when the configuration has none."""
        settings = self._config.presence
        leases = self._ticks.leases
        roster = make_presence(self._config, leases, starts=leases.starts)
        if roster is None or settings is None:
            return None
        announcer = Announcer(
            roster,
            self.store,
            writer=self.writer,
            categories=None if settings.announce else (),
            gather=settings.gather,
            large=settings.large,
            set_alarm=self._ticks.set_alarm,
        )
        set_alarm = self._ticks.set_alarm
        feed = PresenceFeed(roster, self.store, dispatch, announcer, set_alarm=set_alarm)
        self.departures.on_kept = feed.depart_from
        return feed

    def registries(
        self, id_fn: Callable[[Context], Any] | None, feed: PresenceFeed | None
    ) -> list[Registry]:
        """Return the library's registries."""
        registries: list[Registry] = [
            StreamEffects(max_event_size=self._config.stream.max_event_size),
            KeyedEffects(
                self.store,
                id_fn=id_fn,
                writer=self.writer,
                admission=self._admission,
                history=self.history,
                presence=feed,
            ),
        ]
        if feed is not None:
            registries.append(PresenceEffects(feed))
        return registries

    def make_streams(
        self,
        life: Life,
        dispatcher: Dispatcher,
        system: Mapping[str, Any],
        feed: PresenceFeed | None,
    ) -> Streams:
        """Return the register of open streams, which are checked from now on."""
        watch = Watch(self._config.stream, self.store, self.writer, self._ticks.time, life.spawn)
        self._ticks.look_after(self.store, watch, feed)
        return Streams(
            self.store, watch, self._admission, life, self.writer, dispatcher, system, feed
        )


def make_history(config: HubConfig, timer: Callable[[], float]) -> History | None:
    """Return the history that a configuration describes, or None when it has none."""
    settings = config.history
    if settings is None:
        return None
    keep = Keep(count=settings.count, age=settings.age, bytes=settings.bytes)
    categories = {
        name: replace(keep, **_given(rules)) for name, rules in settings.categories.items()
    }
    return MemoryHistory(
        keep, categories=categories, timer=timer, max_event_size=config.stream.max_event_size
    )


def make_presence(
    config: HubConfig, timer: Callable[[], float], starts: Callable[[], float] | None = None
) -> Presence | None:
    """Return the presence that a configuration describes, or None when it has none.

    Args:
        config: the hub's.
        timer: the clock of leases: no grace ends while the process stands still, because no client
            can come back then.
        starts: the clock of departures; by default ``timer``.
    """
    settings = config.presence
    if settings is None:
        return None
    grace = _grace(Grace(), settings.grace)
    categories = {name: _grace(grace, rules) for name, rules in settings.categories.items()}
    # Members in their grace count too, and presence must also fit a store that was made larger.
    max_members = max(MAX_MEMBERS, MEMBERS_PER_CONNECTION * config.store.maxsize)
    return Presence(
        grace, categories=categories, timer=timer, starts=starts, max_members=max_members
    )


def _grace(grace: Grace, rules: GraceConfig) -> Grace:
    return replace(grace, **_given(rules))


def _given(rules: Any) -> dict[str, Any]:
    """Return the settings that are not left to a default."""
    return {name: value for name, value in asdict(rules).items() if value is not None}
