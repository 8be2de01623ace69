"""Every setting of a hub: its default, its range, and the reason for both.

Times are seconds, sizes are bytes. A record is checked when it is made, so a record that cannot
work does not exist. Defaults that the configured code shares are in :mod:`sfere_tornado.defaults`.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the documentation resolves it
from collections.abc import Set as AbstractSet  # noqa: TC003  # as above
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from ..defaults import (
    MAX_EVENT_SIZE,
    MAX_OUTBOX,
    MAXSIZE,
    SLICE,
    TTL,
    Expiry,
    OnFull,
    SameKey,
    Source,
)
from ..errors import ConfigError
from .features import HistoryConfig, PresenceConfig
from .fields import (
    DAY,
    HOUR,
    KIB,
    MIB,
    by_category,
    check_by_category,
    check_record,
    check_sections,
    section,
    setting,
)
from .values import Choice, Choices, Count, Duration, Names, Size, Switch, size_text

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = (
    "CategoryRules",
    "HubConfig",
    "LimitsConfig",
    "StoreConfig",
    "StreamConfig",
    "refuse_pointless",
)

#: What a store does with leases: end them, or keep a connection until it closes.
StoreType: TypeAlias = Literal["memory", "expiring"]

#: What becomes of the events that wait for a slow client.
OnSlow: TypeAlias = Literal["disconnect", "conflate"]

#: The answer to a newcomer over a limit.
Answer: TypeAlias = Literal["retry", "unavailable", "too_many"]

#: Leases: shorter ones end while a client still connects; for longer ones use type memory.
LEASE: Final = Duration(0.1, 365 * DAY)

#: Connections stored: ten million would take some 10 GB, more than one process serves.
STORED: Final = Count(1, 10_000_000)

#: Heartbeats: faster ones are load without use; proxies drop a stream that is silent for longer.
HEARTBEAT: Final = Duration(1.0, HOUR)

#: Reconnection times: below, clients storm a server that is down; above, they hardly come back.
RETRY: Final = Duration(0.1, DAY)

#: Waiting for a client to close: 0 cuts without waiting; no answer is on its way for a minute.
LINGER: Final = Duration(0.0, 60.0)

#: Time-outs of the kernel, which counts most of them in whole seconds of 15 bits.
KERNEL_TIME: Final = Duration(1.0, HOUR)

#: Unanswered probes; Linux allows up to 127.
PROBES: Final = Count(1, 127)

#: An outbox: below, a single event fills it; above, a few stalled clients fill the memory.
OUTBOX: Final = Size(4 * KIB, 1024 * MIB)

#: One event: below, a message does not fit; above, send a link instead.
EVENT_SIZE: Final = Size(KIB, 64 * MIB)

#: Bytes from a client: some send a line end after a body; megabytes are an attack.
UNREAD: Final = Size(64, 16 * MIB)

#: Bytes that the kernel holds unsent: below, it sends small packets; above, it hides a slow client.
UNSENT: Final = Size(KIB, 16 * MIB)

#: Waiting for an answer about a client's rights: below, no database answers in time; above, proxies
#: cut the stream that waits.
ANSWER_TIME: Final = Duration(0.1, 60.0)

#: Waiting for a client to read on: below, a tunnel cuts it; above, the client is as good as gone.
STALL: Final = Duration(1.0, HOUR)

#: Range of ``max_age``: under 1 s clients only reconnect; for "never" leave the setting out.
LIFETIME: Final = Duration(1.0, 365 * DAY)

#: Streams open: in all, in a scope, under a key, or from an address.
STREAMS: Final = Count(1, 10_000_000)

#: Streams written to in one go: below, the loop's own work costs more than the writing; above,
#: requests wait for too long.
SLICES: Final = Count(10, 100_000)

#: The settings of a lease; a store of type memory has none.
LEASE_SETTINGS: Final = ("ttl", "expiry", "renewed_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRules:
    """What is different for the keys of one category; None means the store's own setting.

    Raises:
        ConfigError: A value is not allowed.
    """

    #: Seconds that a connection stays without a sign of life.
    ttl: float | None = setting(None, LEASE)
    #: What a lease counts from: ``sliding``, the last sign of life; ``fixed``, the first storing.
    expiry: Expiry | None = setting(None, Choice(get_args(Expiry)))
    #: What happens when another connection has the key; see :attr:`StoreConfig.same_key`.
    same_key: SameKey | None = setting(None, Choice(get_args(SameKey)))

    def __post_init__(self) -> None:
        check_record(self, "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where connections are kept by key, and for how long.

    Raises:
        ConfigError: when a value is not allowed, or means nothing beside the others.
    """

    #: ``expiring`` ends leases; ``memory`` keeps a connection until it closes.
    type: StoreType = setting("expiring", Choice(get_args(StoreType)))
    #: Seconds that a connection stays without a sign of life.
    ttl: float = setting(TTL, LEASE)
    #: What a lease counts from: ``sliding``, the last sign of life; ``fixed``, the first storing.
    expiry: Expiry = setting("sliding", Choice(get_args(Expiry)))
    #: Signs of life that renew a sliding lease: a client's ``request`` under the key, its kernel's
    #: ``ack`` of bytes.
    renewed_by: AbstractSet[Source] = setting(
        frozenset(get_args(Source)), Choices(Choice(get_args(Source)))
    )
    #: A second connection under a key: both stay (``join``), the newest wins (``replace``), or it
    #: is refused (``refuse``).
    same_key: SameKey = setting("join", Choice(get_args(SameKey)))
    #: Connections stored at most.
    maxsize: int = setting(MAXSIZE, STORED)
    #: At ``maxsize``: the newcomer is refused (``refuse``), or the longest idle connection leaves
    #: (``evict``).
    on_full: OnFull = setting("refuse", Choice(get_args(OnFull)))
    #: Whether a stream is closed when its connection leaves the store. An open stream outside the
    #: store would get no broadcast any more.
    close_on_evict: bool = setting(True, Switch())
    #: Rules of single categories of keys.
    categories: Mapping[Any, CategoryRules] = by_category(CategoryRules)

    def __post_init__(self) -> None:
        check_record(self, "store")
        check_by_category(self, "store", CategoryRules)
        refuse_pointless(
            self, [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """How open event streams are kept, watched and ended.

    Raises:
        ConfigError: when a value is not allowed, or does not fit the others.
    """

    #: Bytes that may wait for one client before it is cut.
    max_outbox: int = setting(MAX_OUTBOX, OUTBOX)
    #: What becomes of the events that wait for a slow client: ``disconnect`` keeps all of them, and
    #: cuts the client at ``max_outbox``; ``conflate`` keeps only the newest of those sent with the
    #: same ``conflate`` name, and cuts the client for the others.
    on_slow: OnSlow = setting("disconnect", Choice(get_args(OnSlow)))
    #: Seconds that a client may take nothing of what waits for it before it is cut, 30: a tunnel,
    #: not a journey.
    stall: float = setting(30.0, STALL)
    #: Streams that a broadcast writes to before the loop turns.
    fan_out_slice: int = setting(SLICE, SLICES)
    #: Categories whose streams are compressed, for clients that accept gzip. An event to many is
    #: compressed once, in a context that its receivers share: only for what every client of the
    #: category may read, never for secrets of one client.
    compress: AbstractSet[str] = setting(frozenset(), Names())
    #: Bytes of one event on the wire.
    max_event_size: int = setting(MAX_EVENT_SIZE, EVENT_SIZE)
    #: Bytes that a client may send on its open stream before it is cut, 16 KiB: no client has a
    #: reason to send any.
    max_unread: int = setting(16 * KIB, UNREAD)
    #: Seconds of silence after which a comment is sent, 15: proxies commonly cut after 60, and only
    #: bytes that are not acknowledged reveal a client that has vanished.
    heartbeat: float = setting(15.0, HEARTBEAT)
    #: Seconds that ``revalidate`` may take, 5: events for the client wait for it, and must not wait
    #: for a database that hangs. It is checked on each tick, a third of the heartbeat.
    revalidate_timeout: float = setting(5.0, ANSWER_TIME)
    #: Seconds that a client waits before it reconnects, 2: it spares a server that restarts, and a
    #: person hardly notices. The client is told when its stream opens.
    retry: float = setting(2.0, RETRY)
    #: Seconds after which a stream is cut, so that its client reconnects, perhaps to another
    #: process; never by default. The jitter takes up to a fifth off.
    max_age: float | None = setting(None, LIFETIME)
    #: Seconds that a clean end waits for the client to close first, 5: a close before that may
    #: destroy the last bytes.
    linger: float = setting(5.0, LINGER)
    #: Seconds that sent bytes may stay unacknowledged, 20 (``TCP_USER_TIMEOUT``); without it a
    #: pulled cable is noticed after 15 minutes.
    user_timeout: float = setting(20.0, KERNEL_TIME)
    #: Seconds of silence before the kernel probes, 15 (``TCP_KEEPIDLE``).
    keepalive_idle: float = setting(15.0, KERNEL_TIME)
    #: Seconds between probes, 5 (``TCP_KEEPINTVL``).
    keepalive_interval: float = setting(5.0, KERNEL_TIME)
    #: Probes without an answer before the connection counts as lost, 3 (``TCP_KEEPCNT``).
    keepalive_count: int = setting(3, PROBES)
    #: Bytes that the kernel may hold unsent, 16 KiB (``TCP_NOTSENT_LOWAT``): by default it takes
    #: 4 MiB for a client that does not read, before the client looks slow.
    notsent_lowat: int = setting(16 * KIB, UNSENT)

    def __post_init__(self) -> None:
        check_record(self, "stream")
        if self.max_event_size > self.max_outbox:
            # At least one of the two was set on purpose; the error names that one.
            changed = "max_outbox" if self.max_event_size == MAX_EVENT_SIZE else "max_event_size"
            raise ConfigError(
                f"an event of {size_text(self.max_event_size)} would cut every busy client: "
                f"max_outbox is {size_text(self.max_outbox)}; raise max_outbox, or lower "
                "max_event_size",
                path=f"stream.{changed}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """How many streams may be open; over a limit a newcomer is refused.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Streams open in this process, stored or not, 20,000: about 370 MB.
    total: int = setting(20_000, STREAMS)
    #: Streams stored in one scope; no limit by default.
    per_scope: int | None = setting(None, STREAMS)
    #: Streams stored under one key, 100: more tabs than one user opens, and few enough to write to
    #: in one turn.
    per_key: int = setting(100, STREAMS)
    #: Streams from one address; no limit by default, because a company or a proxy may be behind it.
    per_address: int | None = setting(None, STREAMS)
    #: The answer to a newcomer over a limit: ``retry``, a stream that says when to come back and is
    #: then cut; ``unavailable`` (503) or ``too_many`` (429), after which a browser's EventSource
    #: never comes back.
    answer: Answer = setting("retry", Choice(get_args(Answer)))

    def __post_init__(self) -> None:
        check_record(self, "limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """Every setting of a hub.

    Raises:
        ConfigError: when a section is not a record of its kind.
    """

    #: Where connections are kept by key, and for how long.
    store: StoreConfig = section(StoreConfig)
    #: How open event streams are kept, watched and ended.
    stream: StreamConfig = section(StreamConfig)
    #: How many of them there may be.
    limits: LimitsConfig = section(LimitsConfig)
    #: Which members are here, and how long a departure waits before it is announced; None means
    #: that there is no presence.
    presence: PresenceConfig | None = section(PresenceConfig, optional=True)
    #: Past events, for clients that come back; None keeps none.
    history: HistoryConfig | None = section(HistoryConfig, optional=True)

    def __post_init__(self) -> None:
        check_sections(self)


def refuse_pointless(store: StoreConfig, chosen: Collection[str]) -> None:
    """Refuse settings that mean nothing beside the others, because they will not do what they say.

    Args:
        store: the record.
        chosen: the names that were set on purpose.

    Raises:
        ConfigError: for the first one.
    """
    leases = [f"store.{name}" for name in LEASE_SETTINGS if name in chosen]
    for category, rules in store.categories.items():
        leases += [
            f"store.categories.{category}.{name}"
            for name in ("ttl", "expiry")
            if getattr(rules, name) is not None
        ]
    if store.type == "memory" and leases:
        raise ConfigError(
            "means nothing with type memory, where no lease ends; "
            "choose type expiring, or leave it out",
            path=leases[0],
        )
    sliding = "sliding" in (store.expiry, *(rules.expiry for rules in store.categories.values()))
    if "renewed_by" in chosen and not sliding:
        raise ConfigError(
            "means nothing with expiry fixed, which nothing renews; "
            "choose expiry sliding, or leave it out",
            path="store.renewed_by",
        )
