"""Compression that is made once, for all clients that get the same: gzip (RFC 1952) of a running context.

Nothing here knows sockets, time or HTTP's frame. Whoever writes asks :meth:`SharedCompressor.shares` which bytes each
receiver gets.

How it works. Every client gets :data:`HEADER` when its stream opens, then deflate blocks (RFC 1951), each of which ends
on a whole byte, so that the event in it is decoded at once. A block may point back into the text that came before it.
So it can only be read by a client that got all of what its context has been given since the last reset, and nothing in
between: one that is *in step*. A connection's ``step`` is the number of the last such block that it got; a context
remembers the number of its last block, and equal numbers mean "in step". All others are *behind*. They get a block that
points to nothing, made once for all of them, until a reset: after it the context points to nothing from before, so
anybody can read it, and those who do are in step from there on.

There are a few contexts, because there are audiences: what goes to one room is not seen by another. An event goes into
the context with which most of its receivers are in step, unless they are only half of its followers or fewer: that would
leave the others behind. It begins a new context then, in place of the one that is worth least.

Laws:

- **A context holds only what everybody in step with it has been sent.** Nobody gets a block whose length depends on what
  was sent to others only.
- **It is the text that counts, not its blocks.** What :meth:`SharedCompressor.shares` gave for a receiver may reach it later
  in an independent block, with all that waited; it is still in step. If it loses some of that text, or gets other text
  in between, its step must be set to :data:`BEHIND`.
- **Text is written in the order in which it is given**, for every receiver.
- **Nothing is done per connection but to compare a number and to set it.** So there is no end of the gzip stream either:
  its checksum would have to be kept for every connection. Browsers, curl, wget, Node's fetch and Python's clients
  take the end of the response for the end; a wrong checksum they would refuse. Tornado's own client wants the right one,
  and reports an error in place of a clean end.

Security. The length of compressed text tells what is in it to whoever can see the encrypted lengths and have words of his
own put beside a secret (the BREACH attack). So this is for categories that say so, whose events anybody may read: never one
person's secrets and another's input in one context. ``Cache-Control: no-transform`` keeps proxies from compressing anew.

Not thread-safe: a compressor is used from the thread of its event loop.
"""

from __future__ import annotations

import zlib
from itertools import chain, count
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = (
    "BEHIND",
    "HEADER",
    "LEVEL",
    "MAX_CONTEXTS",
    "OPENING",
    "PLAIN",
    "RESET_EVERY",
    "Follower",
    "Share",
    "SharedCompressor",
    "accepts_gzip",
)

#: What a compressed stream begins with: deflate, no name, no time, system unknown (RFC 1952, 2.3).
HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

#: The step of a connection whose stream is not open: whether it compresses is decided when it opens, and that may be
#: between the making of a block and its writing.
OPENING: Final = -1

#: The step of a connection that does not compress.
PLAIN: Final = 0

#: The step of a connection that compresses, and is in step with no context; so it is when its stream opens.
BEHIND: Final = 1

#: How hard zlib looks for repetitions, 1 to 9: above 6 a page fragment takes three times as long, for 3 % fewer bytes.
LEVEL: Final = 6

#: Blocks after which those behind are taken back in step at the latest, 64: with a reset that often, all blocks together
#: are a sixth larger than without any. Where nobody is behind there is none.
RESET_EVERY: Final = 64

#: Contexts at most, 16: audiences that are told different things at the same time. With one more for those behind they
#: take 4.25 MiB when all are in use, 256 KiB each.
MAX_CONTEXTS: Final = 16

#: Independent blocks that cost as many bytes more as a reset costs each of those in step, whose blocks are larger until
#: there is something to point to again; for JSON of 120 to 500 bytes it is three to four.
_RESET_COST: Final = 4

#: Bits of the window, the most there are: 32 KiB, so that a page fragment sent again is found in what was sent before.
#: Negative, as zlib wants it, for blocks without a header of their own.
_WINDOW: Final = -15


class Follower(Protocol):
    """**Protocol:** one connection, as the compressor needs it."""

    #: :data:`OPENING`, :data:`PLAIN`, :data:`BEHIND`, or the number of the last block that it got from a context.
    step: int


R = TypeVar("R", bound=Follower)


class Share(NamedTuple, Generic[R]):
    """Receivers that get the same bytes of one event, not framed."""

    #: None for those of whom it is not known yet what they can read: they must take the event itself.
    data: bytes | None
    receivers: Sequence[R]


class _Context:
    """One running context, and who follows it."""

    __slots__ = ("blocks", "deflate", "followers", "owed", "step", "worth")

    def __init__(self, level: int) -> None:
        self.deflate = _deflate(level)
        #: The number of the last block; before the first one a number that nobody has who compresses.
        self.step = PLAIN
        #: Blocks since the last reset, and independent ones that somebody needed instead.
        self.blocks = 0
        self.owed = 0
        #: Receivers of the last block.
        self.followers = 0
        #: The least one gives way to a new context.
        self.worth = 0

    def reset(self) -> None:
        """Point to nothing from before."""
        # What this returns is an empty block. It adds nothing to the text, so nobody needs it.
        self.deflate.flush(zlib.Z_FULL_FLUSH)
        self.blocks = self.owed = 0

    def encode(self, payload: bytes) -> bytes:
        """Return the next block."""
        self.blocks += 1
        return self.deflate.compress(payload) + self.deflate.flush(zlib.Z_SYNC_FLUSH)


class SharedCompressor:
    """Makes the compressed bytes of each event once for those in step, and at most once for all others.

    Args:
        level: how hard zlib looks for repetitions, 1 to 9.
        reset_every: blocks of one context after which those behind are taken back in step at the latest; at least 1.
        max_contexts: contexts kept; at least 1, each takes 256 KiB once it is used.
    """

    __slots__ = ("_alone", "_contexts", "_level", "_steps", "_sunk", "max_contexts", "reset_every")

    def __init__(
        self,
        *,
        level: int = LEVEL,
        reset_every: int = RESET_EVERY,
        max_contexts: int = MAX_CONTEXTS,
    ) -> None:
        self.reset_every = reset_every
        self.max_contexts = max_contexts
        self._level = level
        self._alone = _deflate(level)
        #: Contexts by the step of their last block; a number is never used twice.
        self._contexts: dict[int, _Context] = {}
        self._steps = count(BEHIND + 1)
        #: What the last context that gave way was worth.
        self._sunk = 0

    def __repr__(self) -> str:
        return f"<SharedCompressor: {len(self._contexts)} of {self.max_contexts} contexts>"

    def shares(self, payload: bytes, receivers: Sequence[R]) -> list[Share[R]]:
        """Return which bytes each receiver gets, and take note that it gets them: its step is set.

        Args:
            payload: bytes of the event stream, one event or several, not framed.
            receivers: each once. Who does not get the payload in the end must have its step set to :data:`BEHIND`.

        Returns:
            At most four: for those who are opening, do not compress, are in step, are behind; none without receivers.
        """
        groups: dict[int, list[R]] = {}
        for receiver in receivers:
            step = receiver.step
            if step in groups:
                groups[step].append(receiver)
            else:
                groups[step] = [receiver]
        shares: list[Share[R]] = []
        for step, data in ((OPENING, None), (PLAIN, payload)):
            uncompressed = groups.pop(step, None)
            if uncompressed:
                shares.append(Share(data, uncompressed))
        if groups:
            shares += self._compressed(payload, groups)
        return shares

    def independent(self, payload: bytes) -> bytes:
        """Return a block that every client can read, for what one of them alone gets, or gets later than the others.

        Args:
            payload: bytes of the event stream, not framed.
        """
        return self._alone.compress(payload) + self._alone.flush(zlib.Z_FULL_FLUSH)

    def _compressed(self, payload: bytes, groups: dict[int, list[R]]) -> list[Share[R]]:
        context = self._followed(groups)
        in_step = groups.pop(context.step, [])
        behind = list(chain.from_iterable(groups.values()))
        context.owed += len(behind)
        # The reset comes when those behind have cost as much as it does: so both together never cost more than twice what
        # they would have at the best moment, which nobody knows beforehand.
        if behind and (
            context.owed >= _RESET_COST * len(in_step) or context.blocks >= self.reset_every
        ):
            context.reset()
            in_step, behind = [*in_step, *behind], []
        self._contexts.pop(context.step, None)
        context.step = step = next(self._steps)
        self._contexts[step] = context
        context.followers = len(in_step)
        context.worth = self._sunk + len(in_step)
        for receiver in in_step:
            receiver.step = step
        shares = [Share(context.encode(payload), in_step)]
        if behind:
            # Also those who were in step with another context: they are no longer.
            for receiver in behind:
                receiver.step = BEHIND
            shares.append(Share(self.independent(payload), behind))
        return shares

    def _followed(self, groups: dict[int, list[R]]) -> _Context:
        """Return the context with which most are in step, or a new one where they are half of its followers or fewer."""
        known = [step for step in groups if step in self._contexts]
        if known:
            context = self._contexts[max(known, key=lambda step: len(groups[step]))]
            if 2 * len(groups[context.step]) > context.followers:
                return context
        if len(self._contexts) < self.max_contexts:
            return _Context(self._level)
        # What is worth least gives way, and what it was worth is the floor for all who come after it. So events for few do
        # not push out the context of many, and one that nobody uses any more goes in the end.
        least = min(self._contexts.values(), key=lambda context: context.worth)
        self._sunk = least.worth
        return least


def accepts_gzip(header: str) -> bool:
    """Tell whether a client takes gzip, from its ``Accept-Encoding`` (RFC 9110, 12.5.3); one that sends none does not."""
    accepted: dict[str, bool] = {}
    for item in header.lower().split(","):
        coding, _, weight = item.partition(";")
        # Of all weights, only zero is made of nothing else: it refuses.
        accepted[coding.strip()] = not weight or bool(weight.strip("q=0. \t"))
    return accepted.get("gzip", accepted.get("*", False))


def _deflate(level: int) -> zlib._Compress:
    return zlib.compressobj(level, zlib.DEFLATED, _WINDOW)
