"""Every setting of a hub: its default, its bounds, and why.

Times are seconds, sizes are bytes. A record is checked when it is made, so one that cannot work does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the documentation resolves it
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import ConfigError
from .features import HistoryConfig, PresenceConfig
from .fields import (
    DAY,
    HOUR,
    KIB,
    MIB,
    by_category,
    check_categories,
    check_parts,
    check_record,
    part,
    setting,
)
from .values import Choice, Choices, Count, Duration, Names, Size, Switch, size_text

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = (
    "CategoryConfig",
    "HubConfig",
    "LimitsConfig",
    "StoreConfig",
    "StreamConfig",
    "refuse_pointless",
)

#: Leases: shorter ones end while a client is still connecting, longer ones are no leases; use type memory.
TTL: Final = Duration(0.1, 365 * DAY)

#: Connections stored: ten million would be some ten gigabytes, more than one process serves.
MAXSIZE: Final = Count(1, 10_000_000)

#: Heartbeats: faster ones are load without use, and proxies drop a stream that is silent for longer.
HEARTBEAT: Final = Duration(1.0, HOUR)

#: Reconnection times: below, a server that is down is stormed by its clients; above, nobody would call it coming back.
RETRY: Final = Duration(0.1, DAY)

#: Waiting for a client to close: 0 cuts at once; a minute is far beyond any answer that is still on its way.
LINGER: Final = Duration(0.0, 60.0)

#: Time-outs of the kernel, which counts most of them in whole seconds of 15 bits.
KERNEL_TIME: Final = Duration(1.0, HOUR)

#: Unanswered probes; Linux allows up to 127.
PROBES: Final = Count(1, 127)

#: An outbox: below, a single event fills it; above, some stalled clients fill the memory.
OUTBOX: Final = Size(4 * KIB, 1024 * MIB)

#: One event: below, there is no room for a message; above, it belongs behind a link.
EVENT_SIZE: Final = Size(KIB, 64 * MIB)

#: Bytes from a client: some send a line end after a body; megabytes are an attack.
UNREAD: Final = Size(64, 16 * MIB)

#: Bytes that the kernel holds unsent: below, it sends in crumbs; above, it hoards.
UNSENT: Final = Size(KIB, 16 * MIB)

#: Waiting for an answer about a client's rights: below, a database hardly answers; above, proxies cut the held stream.
ANSWER_TIME: Final = Duration(0.1, 60.0)

#: Waiting for a client to read on: below, a train's tunnel cuts it; above, it may as well be gone.
STALL: Final = Duration(1.0, HOUR)

#: Lifetimes of streams: below, clients do little else than come back; above, it is no lifetime.
AGE: Final = Duration(1.0, 365 * DAY)

#: Streams open, in all or for somebody.
STREAMS: Final = Count(1, 10_000_000)

#: Streams written to in one go: below, the loop's own work is more than the writing; above, everybody else waits.
SLICE: Final = Count(10, 100_000)

TYPE: Final = Choice(("memory", "expiring"))
EXPIRY: Final = Choice(("sliding", "fixed"))
RENEWED_BY: Final = Choices(Choice(("request", "ack")))
SAME_KEY: Final = Choice(("join", "replace", "refuse"))
ON_FULL: Final = Choice(("refuse", "evict"))
ANSWER: Final = Choice(("retry", "unavailable", "too_many"))
COMPRESS: Final = Names()
ON_SLOW: Final = Choice(("disconnect", "conflate"))

#: See :attr:`StreamConfig.max_event_size`.
DEFAULT_EVENT_SIZE: Final = 256 * KIB

#: The settings of a lease, which a store that never ends one does not have.
LEASE_SETTINGS: Final = ("ttl", "expiry", "renewed_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryConfig:
    """The rules of one category of keys; None means the store's own.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Seconds that a connection stays without a sign of life.
    ttl: float | None = setting(None, TTL)
    #: What a lease counts from: ``sliding``, the last sign of life; ``fixed``, the first storing.
    expiry: Literal["sliding", "fixed"] | None = setting(None, EXPIRY)
    #: What happens when a key is held already; see :attr:`StoreConfig.same_key`.
    same_key: Literal["join", "replace", "refuse"] | None = setting(None, SAME_KEY)

    def __post_init__(self) -> None:
        check_record(self, "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where connections are kept by key, and for how long.

    Raises:
        ConfigError: when a value is not allowed, or means nothing beside the others.
    """

    #: ``expiring`` ends leases; ``memory`` keeps a connection until it closes.
    type: Literal["memory", "expiring"] = setting("expiring", TYPE)
    #: Seconds that a connection stays without a sign of life; 10 minutes outlast a laptop's short sleep.
    ttl: float = setting(600.0, TTL)
    #: What a lease counts from: ``sliding``, the last sign of life; ``fixed``, the first storing.
    expiry: Literal["sliding", "fixed"] = setting("sliding", EXPIRY)
    #: Signs of life that renew a sliding lease: a client's ``request`` under the key, its kernel's ``ack`` of bytes.
    renewed_by: frozenset[Literal["request", "ack"]] = setting(
        frozenset({"request", "ack"}), RENEWED_BY
    )
    #: A second connection under a key: both stay (``join``), the newest wins (``replace``), or it is not taken
    #: (``refuse``).
    same_key: Literal["join", "replace", "refuse"] = setting("join", SAME_KEY)
    #: Connections stored at most; 10,000 is what one process serves with ease.
    maxsize: int = setting(10_000, MAXSIZE)
    #: At ``maxsize``: the newcomer is refused (``refuse``), or the longest idle one leaves (``evict``).
    on_full: Literal["refuse", "evict"] = setting("refuse", ON_FULL)
    #: Whether a stream is closed when its connection leaves the store, so that nobody stays connected but deaf.
    close_on_evict: bool = setting(True, Switch())
    #: Rules of single categories of keys.
    categories: Mapping[Any, CategoryConfig] = by_category(CategoryConfig)

    def __post_init__(self) -> None:
        check_record(self, "store")
        check_categories(self, "store", CategoryConfig)
        refuse_pointless(
            self, [one.name for one in fields(self) if getattr(self, one.name) != one.default]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """How open event streams are kept, watched and ended.

    Raises:
        ConfigError: when a value is not allowed, or does not fit the others.
    """

    #: Bytes that may wait for one client before it is cut, 1 MiB: some thousand events, far beyond a short stall.
    max_outbox: int = setting(MIB, OUTBOX)
    #: What becomes of the events that wait for a slow client: ``disconnect`` keeps them all, and cuts it at ``max_outbox``;
    #: ``conflate`` keeps of those sent with one ``conflate`` name only the newest, and cuts it for the others.
    on_slow: Literal["disconnect", "conflate"] = setting("disconnect", ON_SLOW)
    #: Seconds that a client may take nothing of what waits for it before it is cut, 30: a tunnel, not a journey.
    stall: float = setting(30.0, STALL)
    #: Streams that a broadcast writes to before the loop turns, 100: half a millisecond, or one.
    fan_out_slice: int = setting(100, SLICE)
    #: Categories whose streams are compressed, for clients that accept gzip. What is sent to many is compressed once, in one
    #: context for all: only for what everybody of the category may read, never for one person's secrets.
    compress: frozenset[str] = setting(frozenset(), COMPRESS)
    #: Bytes of one event on the wire, 256 KiB: a large page fragment fits.
    max_event_size: int = setting(DEFAULT_EVENT_SIZE, EVENT_SIZE)
    #: Bytes that a client may send on its open stream before it is cut, 16 KiB: nobody has reason to send any.
    max_unread: int = setting(16 * KIB, UNREAD)
    #: Seconds of silence after which a comment is sent, 15: proxies commonly cut after 60, and a vanished client is
    #: found only by something that it fails to acknowledge.
    heartbeat: float = setting(15.0, HEARTBEAT)
    #: Seconds that ``revalidate`` may take, 5: what is sent meanwhile waits, and must not wait for a database that hangs. It
    #: is looked at on each tick, a third of the heartbeat.
    revalidate_timeout: float = setting(5.0, ANSWER_TIME)
    #: Seconds that clients shall wait before they come back, told to them when a stream opens; 2 spares a server that
    #: restarts, and a person hardly notices.
    retry: float = setting(2.0, RETRY)
    #: Seconds after which a stream is cut, so that its client comes back, perhaps to another process; never by default.
    #: The jitter takes up to a fifth off.
    max_age: float | None = setting(None, AGE)
    #: Seconds that a clean end waits for the client to close first, 5: closing at once may destroy the last bytes.
    linger: float = setting(5.0, LINGER)
    #: Seconds that sent bytes may stay unacknowledged, 20 (``TCP_USER_TIMEOUT``); without it a pulled cable is noticed
    #: after a quarter of an hour.
    user_timeout: float = setting(20.0, KERNEL_TIME)
    #: Seconds of silence before the kernel probes, 15 (``TCP_KEEPIDLE``).
    keepalive_idle: float = setting(15.0, KERNEL_TIME)
    #: Seconds between probes, 5 (``TCP_KEEPINTVL``).
    keepalive_interval: float = setting(5.0, KERNEL_TIME)
    #: Probes without an answer before the connection counts as lost, 3 (``TCP_KEEPCNT``).
    keepalive_count: int = setting(3, PROBES)
    #: Bytes that the kernel may hold unsent, 16 KiB (``TCP_NOTSENT_LOWAT``): by default it takes 4 MiB for a client
    #: that does not read, before anybody notices.
    notsent_lowat: int = setting(16 * KIB, UNSENT)

    def __post_init__(self) -> None:
        check_record(self, "stream")
        if self.max_event_size > self.max_outbox:
            # One of the two at least was set on purpose; that one is named.
            changed = (
                "max_outbox" if self.max_event_size == DEFAULT_EVENT_SIZE else "max_event_size"
            )
            raise ConfigError(
                f"an event of {size_text(self.max_event_size)} would cut every client that is busy, for max_outbox is "
                f"{size_text(self.max_outbox)}; raise max_outbox, or lower max_event_size",
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
    #: Streams stored under one key, 100: more tabs than anybody has, and few enough to write to at once.
    per_key: int = setting(100, STREAMS)
    #: Streams from one address; no limit by default: behind one address there may be a company, or a proxy.
    per_address: int | None = setting(None, STREAMS)
    #: What a newcomer over a limit is answered: ``retry``, a stream that is cut after telling when to come back; or
    #: ``unavailable`` (503) or ``too_many`` (429), after which a browser's EventSource never comes back.
    answer: Literal["retry", "unavailable", "too_many"] = setting("retry", ANSWER)

    def __post_init__(self) -> None:
        check_record(self, "limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """Every setting of a hub.

    Raises:
        ConfigError: when a part is no record of its kind.
    """

    #: Where connections are kept by key, and for how long.
    store: StoreConfig = part(StoreConfig)
    #: How open event streams are kept, watched and ended.
    stream: StreamConfig = part(StreamConfig)
    #: How many of them there may be.
    limits: LimitsConfig = part(LimitsConfig)
    #: Who is here, and how long a departure waits before it is announced; None does without.
    presence: PresenceConfig | None = part(PresenceConfig, optional=True)
    #: Past events, for clients that come back; None keeps none.
    history: HistoryConfig | None = part(HistoryConfig, optional=True)

    def __post_init__(self) -> None:
        check_parts(self)


def refuse_pointless(store: StoreConfig, given: Collection[str]) -> None:
    """Refuse settings that mean nothing beside the others: whoever wrote them expects something that will not happen.

    Args:
        store: the record.
        given: the names that were set on purpose.

    Raises:
        ConfigError: for the first one.
    """
    leases = [f"store.{name}" for name in LEASE_SETTINGS if name in given]
    for category, rules in store.categories.items():
        leases += [
            f"store.categories.{category}.{name}"
            for name in ("ttl", "expiry")
            if getattr(rules, name) is not None
        ]
    if store.type == "memory" and leases:
        raise ConfigError(
            "means nothing with type memory, where no lease ends; choose type expiring, or leave it out",
            path=leases[0],
        )
    sliding = "sliding" in (store.expiry, *(rules.expiry for rules in store.categories.values()))
    if "renewed_by" in given and not sliding:
        raise ConfigError(
            "means nothing with expiry fixed, which nothing renews; choose expiry sliding, or leave it out",
            path="store.renewed_by",
        )
