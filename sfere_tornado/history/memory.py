"""Past events in memory, for clients that come back.

How it works. All events of a hub have one sequence, because a stream has one id and so one order.
An id is ``<sequence>-<tag>``. The tag belongs to this history alone, so an id of another history,
or of the same server before a restart, is recognised. A client that comes back sends the id of the
last event it got. :meth:`MemoryHistory.since` returns the later events that match its key, in
parts: those of its category merged with those for every category.

Laws:

- **No hole is silent.** When an event that was, or may have been, for the key is no longer kept,
  the replay begins with a gap. Events for other keys are no gap, as far as :mod:`.log` knows.
- **An id is never trusted.** Any bytes that a client sends are either an id of this history or a
  gap, never an error. An id cannot name another client's events, because the key comes from the
  server.
- **Everything is bounded:** events, age and bytes of a category, categories, and each part of a
  replay in work and size.
- **An event becomes bytes once**, when it is recorded. A replay sends the same bytes.

The hand-over. Record an event and deliver it in one turn of the loop. A stream that goes live in
the turn in which a replay says :attr:`Replay.done` misses nothing and gets nothing twice. If live
events wait for the end of the replay, take :meth:`MemoryHistory.mark` in the turn in which they
begin to wait, and replay ``until`` there.

Time is an argument. Not thread-safe: use a history in the thread of its event loop.
"""

from __future__ import annotations

import re
import secrets
import time
from heapq import merge
from typing import TYPE_CHECKING, Any, Final

from ..defaults import MAX_EVENT_SIZE
from ..errors import EventError, EventTooLargeError
from ..keys import ANY, Key, as_audience, as_key
from ..wire.event_stream import encode
from .base import Mark, Replay
from .log import Keep, Log, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..keys import Audience, Exclude, PatternLike
    from ..wire.event_stream import Event
    from .base import Gap

__all__ = ("MAX_CATEGORIES", "MAX_SCAN", "PIECE_SIZE", "MemoryHistory")

#: Categories that are kept, 100: at most 100 MiB with the default bounds. Raise it where each
#: topic is a category. The category that has been silent longest is dropped; its clients get a gap.
MAX_CATEGORIES: Final = 100

#: Events read for one part of a replay, 10,000, some milliseconds. It bounds the turn of a client
#: that sends an old id in a category whose events are mostly for others.
MAX_SCAN: Final = 10_000

#: Bytes of one part of a replay, 64 KiB: one part is sent while the next is read, far below an
#: outbox.
PIECE_SIZE: Final = 64 * 1024

# Eighteen digits are more events than there will ever be, and short enough to be read at once.
_ID: Final = re.compile("([0-9]{1,18})-([0-9a-zA-Z]{1,32})")


class MemoryHistory:
    """The past events of a hub.

    Args:
        keep: how much of each category is kept; the defaults when left out. Events for every
            category at once (``ANY``) are a category of their own.
        categories: what is different for a category, or for ``ANY``.
        timer: the clock, in seconds, monotonic.
        tag: 1 to 32 ASCII letters and digits that make this history's ids its own. By default they
            are random, and made on first use: processes that were forked before it have different
            ones.
        max_categories: categories kept, 1 or more.
        part_size: bytes of one part of a replay, 1 or more; at most an outbox. An event larger than
            that is a part of its own.
        max_event_size: bytes that one event may have on the wire.

    Raises:
        ValueError: for a setting outside its range.
    """

    def __init__(
        self,
        keep: Keep | None = None,
        *,
        categories: Mapping[Any, Keep] | None = None,
        timer: Callable[[], float] = time.monotonic,
        tag: str | None = None,
        max_categories: int = MAX_CATEGORIES,
        part_size: int = PIECE_SIZE,
        max_event_size: int = MAX_EVENT_SIZE,
    ) -> None:
        for name, value in (("max_categories", max_categories), ("part_size", part_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is a whole number from 1, not {value!r}")
        if tag is not None and not _ID.fullmatch(f"0-{tag}"):
            raise ValueError(f"a tag has 1 to 32 ASCII letters and digits, not {tag!r}")
        self.keep: Keep = keep or Keep()
        self.categories: dict[Any, Keep] = dict(categories or {})
        self.timer = timer
        self.max_categories = max_categories
        self.part_size = part_size
        self.max_event_size = max_event_size
        #: The place of the latest event in the sequence; 0 before the first one.
        self.position: int = 0
        self._tag = tag
        # Events for every category; never dropped as a whole, which would be a hole for all
        # clients.
        self._for_all = Log(self.categories.get(ANY, self.keep), 0)
        # By category; the one that was recorded to last comes last.
        self._logs: dict[Any, Log] = {}
        # The place of the latest event of all categories that were dropped as a whole.
        self._forgotten = 0

    def __repr__(self) -> str:
        return f"<MemoryHistory {self.tag}: {len(self)} events, {len(self._logs)} categories, up to {self.position}>"

    def __len__(self) -> int:
        """Return how many events are kept, also those that are too old and not yet dropped."""
        return len(self._for_all) + sum(map(len, self._logs.values()))

    def __bool__(self) -> bool:
        """Return True: a history that keeps nothing yet is a history all the same."""
        return True

    @property
    def tag(self) -> str:
        """What makes the ids of this history its own."""
        if self._tag is None:
            self._tag = secrets.token_hex(4)
        return self._tag

    def keeps(self, category: Any) -> bool:
        """Return whether what is sent to a category is kept; see :meth:`.History.keeps`."""
        return self.categories.get(category, self.keep).count > 0

    def mark(self) -> Mark:
        """Return the present moment in the sequence."""
        return Mark(self.position)

    def cursor(self, mark: Mark | None = None) -> str:
        """Return the id of a moment, of the present one by default; see :meth:`.History.cursor`."""
        return f"{self.position if mark is None else mark}-{self.tag}"

    def check(self, audience: Audience, event_id: str | None) -> None:
        """Check that an event can be kept; see :meth:`.History.check`."""
        category = audience.pattern.category
        if event_id is not None and self.keeps(category):
            raise EventError(
                f"is {event_id!r}, but a kept event gets its id from the history; keep nothing of the "
                f"category {category!r}, or leave the id out",
                "id",
            )

    def with_next_id(self, payload: bytes) -> bytes:
        """Return the bytes of an event with the id that the next one gets.

        The id stands where :func:`.encode` writes it: behind the type, before everything else.
        """
        line = b"id: %d-%b\n" % (self.position + 1, (self._tag or self.tag).encode("ascii"))
        if payload.startswith(b"event: "):
            end = payload.index(b"\n") + 1
            payload = payload[:end] + line + payload[end:]
        else:
            payload = line + payload
        if len(payload) > self.max_event_size:
            raise EventTooLargeError(len(payload), self.max_event_size)
        return payload

    def append(self, audience: Audience, payload: bytes) -> bytes:
        """Keep a checked event and return its bytes with its id; see :meth:`.History.append`.

        Raises:
            EventTooLargeError: when it is too large with its id; nothing was kept.
        """
        category = audience.pattern[1][0]
        keep = self.categories.get(category, self.keep)
        if keep.count == 0:
            return payload
        payload = self.with_next_id(payload)
        self.position += 1
        # Without the named tuple's constructor, which is a function in Python.
        record = tuple.__new__(Record, (self.position, payload, audience, self.timer()))
        self._log(category, keep).append(record)
        return payload

    def record(self, pattern: PatternLike, event: Event, *, exclude: Exclude = ()) -> bytes:
        """Check, encode and keep an event, in one call.

        Args:
            pattern: for which clients it is: ``(scope, (category, id))``, with ANY in any place.
            event: without an id, where the category is kept.
            exclude: for which clients it is not: keys, or one pattern.

        Returns:
            The bytes to deliver. Where the category is not kept the event has no id.

        Raises:
            KeyShapeError: when pattern or exclude has another shape.
            EventError: when the event has an id already, or must not be on the wire; nothing was
                kept.
        """
        audience = as_audience(pattern, exclude)
        self.check(audience, event.id)
        return self.append(audience, encode(event, self.max_event_size))

    def since(self, last_event_id: object, key: object, *, until: Mark | None = None) -> Replay:
        """Return the first part of what a client has missed.

        Args:
            last_event_id: what the client sent, as it came; an empty one is garbage like any other.
            key: the client's, from the server.
            until: the mark after which the client gets its events live; None: the present end.

        Raises:
            KeyShapeError: when it is no key.
        """
        wanted = key if type(key) is Key else as_key(key)
        match = _ID.fullmatch(last_event_id) if isinstance(last_event_id, str) else None
        gap: Gap = "garbage"
        if match is not None:
            position = int(match[1])
            if match[2] == self.tag and position <= self.position:
                return self._part(wanted, position, until, 0)
            gap = "foreign"
        # What this client got is not known, so a replay might send events twice.
        end = self.position if until is None else until
        return Replay(wanted, gap, (), Mark(end), done=True, until=until, reported=Mark(end))

    def more(self, replay: Replay) -> Replay:
        """Return the part after another one.

        A gap in it is a new one: events that were dropped while the replay was under way.
        """
        return self._part(replay.key, replay.position, replay.until, replay.reported)

    def _part(self, key: Key, position: int, until: Mark | None, reported: int) -> Replay:
        end = self.position if until is None else until
        logs = self._logs_of(key)
        gap: Gap | None = None
        known = max(position, reported)
        if known < end and any(log.missed(known, key) for log in logs):
            # One gap covers everything up to the end: later drops need no second one.
            gap, reported = "too_old", end
        events: list[bytes] = []
        size = 0
        for looked_at, record in enumerate(merge(*[log.after(position) for log in logs]), 1):
            if record.sequence > end:
                break
            if record.audience.includes(key):
                size += len(record.payload)
                if events and size > self.part_size:
                    return Replay(
                        key,
                        gap,
                        tuple(events),
                        Mark(position),
                        done=False,
                        until=until,
                        reported=Mark(reported),
                    )
                events.append(record.payload)
            position = record.sequence
            if looked_at == MAX_SCAN:
                return Replay(
                    key,
                    gap,
                    tuple(events),
                    Mark(position),
                    done=False,
                    until=until,
                    reported=Mark(reported),
                )
        return Replay(
            key, gap, tuple(events), Mark(end), done=True, until=until, reported=Mark(reported)
        )

    def _logs_of(self, key: Key) -> list[Log]:
        now = self.timer()
        self._for_all.trim(now)
        category = key[1][0]
        own = self._logs.get(category)
        if own is not None:
            own.trim(now)
            return [own, self._for_all]
        keep = self.categories.get(category, self.keep)
        # Perhaps it was never there; perhaps it has been dropped, and who could tell.
        return [self._for_all] if keep.count == 0 else [Log(keep, self._forgotten), self._for_all]

    def _log(self, category: Any, keep: Keep) -> Log:
        if category is ANY:
            return self._for_all
        logs = self._logs
        log = logs.pop(category, None)
        if log is None:
            log = Log(keep, self._forgotten)
            if len(logs) >= self.max_categories:
                silent = next(iter(logs))
                self._forgotten = max(self._forgotten, logs.pop(silent).latest)
        logs[category] = log
        return log
