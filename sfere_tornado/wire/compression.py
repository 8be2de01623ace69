"""Compression made once for all clients that get the same: gzip (RFC 1952) of a running context.

This module knows no sockets, no time and no HTTP framing. The writer calls
:meth:`SharedCompressor.shares`, which says which bytes each receiver gets.

How it works. Each client gets :data:`HEADER` when its stream opens. Then it gets deflate blocks
(RFC 1951), each of which ends on a whole byte, so that the client decodes the event in it without
waiting for more. A block may point back into the text before it. Such a block is readable only for
a client that got all text that its context was given since the last reset, and no other text: a
client that is *in step*. The ``step`` of a connection is the number of the last such block that it
got. A context remembers the number of its last block; equal numbers mean "in step". All other
clients are *behind*. They get a block that points to nothing, made once for all of them, until the
context is reset. After a reset the context points to nothing from before, so every client can read
its next block and is in step from there on.

There are several contexts because there are several audiences: a client of one category does not
see the events of another. An event goes into the context with which most of its receivers are in
step. But if these are half of that context's followers or fewer, the event would leave the other
half behind; then it begins a new context, in place of the context that is worth least.

Laws:

- **A context holds only what each client in step with it has been sent.** No client gets a block
  whose length depends on what was sent only to others.
- **The text counts, not its blocks.** What :meth:`SharedCompressor.shares` returns for a receiver
  may reach it later in an independent block, together with all that waited; it is still in step.
  If it loses some of that text, or gets other text in between, the caller must set its step to
  :data:`BEHIND`.
- **Text is written in the order in which it is given**, for each receiver.
- **The only work per connection is to compare a number and to set it.** So the gzip stream has no
  end: its checksum would have to be kept for each connection. Browsers, curl, wget, Node's fetch
  and Python's clients accept the end of the response as the end, but would refuse a wrong checksum.
  Tornado's own client requires the right checksum, and reports an error in place of a clean end.

Security. The length of compressed text reveals what is in it to an attacker who sees the encrypted
lengths and can have words of his own put beside a secret (the BREACH attack). So compression is
only for categories that are listed for it, whose events every client of the category may read.
Never put secrets of one client and input of another into one context. ``Cache-Control:
no-transform`` keeps proxies from compressing the stream once more.

Not thread-safe: use a compressor from the thread of its event loop.
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

#: The first bytes of a compressed stream: deflate, no name, no time, unknown system (RFC 1952,
#: 2.3).
HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

#: The step of a connection whose stream is not open yet. Whether it compresses is decided when it
#: opens, which may be after a block was made and before it is written.
OPENING: Final = -1

#: The step of a connection that does not compress.
PLAIN: Final = 0

#: The step of a connection that compresses and is in step with no context, as when it has opened.
BEHIND: Final = 1

#: How hard zlib looks for repetitions, 1 to 9. Above 6 a page fragment takes three times as long,
#: and is only 3 % smaller.
LEVEL: Final = 6

#: Blocks after which a context is reset at the latest while clients are behind, 64. Resets that
#: often make all blocks together a sixth larger. Without clients behind there are no resets.
RESET_EVERY: Final = 64

#: Contexts at most, 16: audiences that get different events at the same time. Each takes 256 KiB,
#: also the one for clients that are behind: 4.25 MiB when all are in use.
MAX_CONTEXTS: Final = 16

#: Break-even: one reset costs each client in step about as many bytes as 4 independent blocks
#: (measured with JSON of 120 to 500 bytes). Its blocks are larger until there is text to point to.
_RESET_COST: Final = 4

#: Bits of the window, the most there are: 32 KiB, so that a page fragment that is sent again is
#: found in the text before. Negative tells zlib to write no header.
_WINDOW: Final = -15


class Follower(Protocol):
    """**Protocol:** one connection, as the compressor needs it."""

    #: :data:`OPENING`, :data:`PLAIN`, :data:`BEHIND`, or the number of the last block that it got
    #: from a context.
    step: int


R = TypeVar("R", bound=Follower)


class Share(NamedTuple, Generic[R]):
    """Receivers that get the same bytes of one event, not framed."""

    #: None for receivers whose stream is not open yet: they must take the event itself.
    data: bytes | None
    receivers: Sequence[R]


class _Context:
    """One running context, and the numbers that decide on its reset and its end."""

    __slots__ = ("blocks", "deflate", "followers", "owed", "step", "worth")

    def __init__(self, level: int) -> None:
        self.deflate = _deflate(level)
        #: The number of the last block; before the first one a number that no compressing client
        #: has.
        self.step = PLAIN
        #: Blocks since the last reset.
        self.blocks = 0
        #: Independent blocks since the last reset, one for each receiver that was behind.
        self.owed = 0
        #: Receivers of the last block.
        self.followers = 0
        #: The context with the least worth gives way to a new one.
        self.worth = 0

    def reset(self) -> None:
        """Let the next block point to nothing before it."""
        # The return value is an empty block. It adds no text, so no client needs it.
        self.deflate.flush(zlib.Z_FULL_FLUSH)
        self.blocks = self.owed = 0

    def encode(self, payload: bytes) -> bytes:
        """Return the next block."""
        self.blocks += 1
        return self.deflate.compress(payload) + self.deflate.flush(zlib.Z_SYNC_FLUSH)


class SharedCompressor:
    """Makes the bytes of an event once for receivers in step, and at most once for all others.

    Args:
        level: how hard zlib looks for repetitions, 1 to 9.
        reset_every: blocks after which a context is reset at the latest while receivers are behind;
            at least 1.
        max_contexts: contexts kept, at least 1; each takes 256 KiB once it is used.
    """

    __slots__ = ("_alone", "_contexts", "_level", "_steps", "_sunk", "max_contexts", "reset_every")

    def __init__(
        self,
        *,
        level: int = LEVEL,
        reset_every: int = RESET_EVERY,
        max_contexts: int = MAX_CONTEXTS,
    ) -> None:
        self.reset_every: int = reset_every
        self.max_contexts: int = max_contexts
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
        """Return which bytes each receiver gets, and set its step: from now on it has got them.

        Args:
            payload: bytes of the event stream, one event or several, not framed.
            receivers: each once. If one does not get the payload in the end, the caller must set
                its step to :data:`BEHIND`.

        Returns:
            At most four shares: for receivers that are opening, that do not compress, that are in
            step, that are behind. None without receivers.
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
        """Return a block that every client can read, for text that one client gets alone or later.

        Args:
            payload: bytes of the event stream, not framed.
        """
        return self._alone.compress(payload) + self._alone.flush(zlib.Z_FULL_FLUSH)

    def _compressed(self, payload: bytes, groups: dict[int, list[R]]) -> list[Share[R]]:
        context = self._followed(groups)
        in_step = groups.pop(context.step, [])
        behind = list(chain.from_iterable(groups.values()))
        context.owed += len(behind)
        # Reset when the receivers behind have cost as many bytes as a reset costs. The best moment
        # depends on the future; with this rule both together cost at most twice as much as with it.
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
            # A receiver that was in step with another context no longer is.
            for receiver in behind:
                receiver.step = BEHIND
            shares.append(Share(self.independent(payload), behind))
        return shares

    def _followed(self, groups: dict[int, list[R]]) -> _Context:
        """Return the context with which most are in step, if they are more than half its followers.

        Otherwise return a new context, in place of the one that is worth least.
        """
        known = [step for step in groups if step in self._contexts]
        if known:
            context = self._contexts[max(known, key=lambda step: len(groups[step]))]
            if 2 * len(groups[context.step]) > context.followers:
                return context
        if len(self._contexts) < self.max_contexts:
            return _Context(self._level)
        # The context that is worth least gives way, and its worth is added to that of all later
        # ones. So events for few receivers do not push out the context of many, and a context that
        # is no longer used gives way in the end.
        least = min(self._contexts.values(), key=lambda context: context.worth)
        self._sunk = least.worth
        return least


def accepts_gzip(header: str) -> bool:
    """Tell whether a client takes gzip (RFC 9110, 12.5.3).

    Args:
        header: its ``Accept-Encoding``; empty, which means no, when the client sends none.
    """
    accepted: dict[str, bool] = {}
    for item in header.lower().split(","):
        coding, _, weight = item.partition(";")
        # A weight refuses only if it is zero: made of these characters and no others.
        accepted[coding.strip()] = not weight or bool(weight.strip("q=0. \t"))
    return accepted.get("gzip", accepted.get("*", False))


def _deflate(level: int) -> zlib._Compress:
    return zlib.compressobj(level, zlib.DEFLATED, _WINDOW)
