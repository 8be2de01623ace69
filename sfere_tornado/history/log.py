"""The kept events of one category, and the places of those that were dropped.

How it works. Events are kept in order until a bound is reached; then the oldest are dropped. For
each pattern and exclusion the log remembers the place of the latest dropped event. So it knows
exactly whether a hole concerns a key, for up to :data:`MAX_DROPPED` different patterns. Of older
drops one place remains, which concerns every key.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from ..defaults import KEEP_AGE, KEEP_BYTES, KEEP_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..keys import Audience, Key

__all__ = ("MAX_DROPPED", "Keep", "Log", "Record")

#: Patterns of dropped events that are remembered, 1,000: to check an old id against them takes 0.1
#: ms. With more, a client may be told of a gap that does not concern it.
MAX_DROPPED: Final = 1000

#: Dropped records that a list bears at its beginning before it is cut off.
_DEAD: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much of a category is kept; what exceeds any of the bounds is dropped, the oldest first.

    Raises:
        ValueError: when a bound is outside its range.
    """

    #: Events, 0 or more; 0 keeps nothing, and events have no id then.
    count: int = KEEP_COUNT
    #: Seconds, above 0.
    age: float = KEEP_AGE
    #: Bytes on the wire, 1 or more.
    bytes: int = KEEP_BYTES

    def __post_init__(self) -> None:
        for name, value, low in (("count", self.count, 0), ("bytes", self.bytes, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name} of a history is a whole number from {low}, not {value!r}")
        age = self.age
        if (
            isinstance(age, bool)
            or not isinstance(age, (int, float))
            or not isfinite(age)
            or age <= 0
        ):
            raise ValueError(f"age of a history is a number of seconds above 0, not {age!r}")


class Record(NamedTuple):
    """One kept event."""

    sequence: int
    payload: bytes
    audience: Audience
    #: When it was recorded, on the history's timer.
    at: float


class Log:
    """The events of one category.

    Args:
        keep: how much is kept.
        forgotten: events up to this place may have been dropped before this log was made.
    """

    __slots__ = ("_bytes", "_dropped", "_forgotten", "_keep", "_records", "_start", "latest")

    def __init__(self, keep: Keep, forgotten: int) -> None:
        #: The place of the latest event in the sequence, kept or not.
        self.latest: int = forgotten
        self._keep = keep
        self._forgotten = forgotten
        # Those before the start have been dropped.
        self._records: list[Record] = []
        self._start = 0
        self._bytes = 0
        # The latest place that was dropped of each audience, in order of places.
        self._dropped: dict[Audience, int] = {}

    def __repr__(self) -> str:
        return f"<Log of {len(self)} events, {self._bytes} bytes, up to {self.latest}>"

    def __len__(self) -> int:
        return len(self._records) - self._start

    def append(self, record: Record) -> None:
        """Keep an event and drop the oldest; an event larger than the bounds is not kept."""
        self._records.append(record)
        self._bytes += len(record.payload)
        self.latest = record.sequence
        self.trim(record.at)

    def trim(self, now: float) -> None:
        """Drop what exceeds the bounds."""
        records, keep = self._records, self._keep
        start, size = self._start, len(self._records)
        oldest = now - keep.age
        while start < size and (
            size - start > keep.count or self._bytes > keep.bytes or records[start].at <= oldest
        ):
            self._bytes -= len(records[start].payload)
            self._remember(records[start])
            start += 1
        if start > _DEAD and start * 2 > size:
            del records[:start]
            start = 0
        self._start = start

    def after(self, position: int) -> Iterator[Record]:
        """Return the kept events after a place in the sequence, in order."""
        records = self._records
        first = bisect_right(records, position, lo=self._start, key=_sequence_of)
        return (records[number] for number in range(first, len(records)))

    def missed(self, position: int, key: Key) -> bool:
        """Return whether an event for a key after a place was, or may have been, dropped."""
        if self._forgotten > position:
            return True
        for audience, sequence in reversed(self._dropped.items()):
            if sequence <= position:
                return False
            if audience.includes(key):
                return True
        return False

    def _remember(self, record: Record) -> None:
        dropped = self._dropped
        # Taken out first, so that it comes last.
        dropped.pop(record.audience, None)
        dropped[record.audience] = record.sequence
        if len(dropped) > MAX_DROPPED:
            oldest = next(iter(dropped))
            self._forgotten = dropped.pop(oldest)


def _sequence_of(record: Record) -> int:
    return record.sequence
