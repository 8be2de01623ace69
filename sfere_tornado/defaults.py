"""Defaults and words that a setting and the code that it configures share, with their reasons.

A default that only a setting has stands in :mod:`sfere_tornado.config`. The range of values that a
setting allows stands there too. Times are seconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = (
    "GATHER",
    "KEEP_AGE",
    "KEEP_BYTES",
    "KEEP_COUNT",
    "LARGE",
    "MAXSIZE",
    "MAX_EVENT_SIZE",
    "MAX_OUTBOX",
    "SLICE",
    "TTL",
    "Expiry",
    "OnFull",
    "SameKey",
    "Source",
)

#: Bytes of one event on the wire, 256 KiB: a large page fragment fits. Each stalled client holds a
#: copy, so send a link to anything larger.
MAX_EVENT_SIZE: Final = 256 * 1024

#: Bytes that may wait for one client, 1 MiB: some thousand events, far more than a short stall
#: gathers; a thousand stalled clients still fit in memory.
MAX_OUTBOX: Final = 1024 * 1024

#: Receivers written to before the loop turns, 100: 0.5 to 1 ms of work. A client that leaves is
#: noticed within three turns; a turn costs as much as writing to five receivers.
SLICE: Final = 100

#: Seconds of a lease, 600: it outlasts a laptop's short sleep.
TTL: Final = 600.0

#: Connections that a store takes, 10,000: about 180 MB of streams. A flood of clients is refused
#: before the machine runs out of memory or descriptors.
MAXSIZE: Final = 10_000

#: Events that a history keeps of a category, 1,000: some minutes of a busy chat.
KEEP_COUNT: Final = 1000

#: Seconds that a history keeps an event, 300: longer than a tunnel or a restart of the server. A
#: client that was away for longer is better served with a fresh page.
KEEP_AGE: Final = 300.0

#: Bytes that a history keeps of a category, 1 MiB: as many as a client may be sent in one turn.
KEEP_BYTES: Final = MAX_OUTBOX

#: Seconds for which presence gathers changes in a crowd, 0.1: a person does not notice it, and a
#: thousand arrivals a second make ten diffs.
GATHER: Final = 0.1

#: Members up to which each of them is sent the whole list and each change, 500: more than a person
#: reads. One arrival is one event for each member, so N arrivals are N x N entries: 13 MB for 500,
#: 1.3 GB for 5,000.
LARGE: Final = 500

#: What happens when another connection has the key: both stay, the newest wins, or it is refused.
SameKey: TypeAlias = Literal["join", "replace", "refuse"]

#: What happens at ``maxsize``: the newcomer is refused, or the longest idle connection leaves.
OnFull: TypeAlias = Literal["refuse", "evict"]

#: What a lease counts from: the last sign of life, or the first storing.
Expiry: TypeAlias = Literal["sliding", "fixed"]

#: Where a sign of life came from: a client's request under the key, or its kernel's ACK of bytes.
Source: TypeAlias = Literal["request", "ack"]
