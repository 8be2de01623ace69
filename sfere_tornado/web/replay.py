"""What a client that comes back has missed, written in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wire.event_stream import Event, data_text, encode, last_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..history import History, Mark
    from ..keys import Key

__all__ = ("replay",)


async def replay(
    history: History,
    sent_id: str,
    key: Key,
    until: Mark,
    write: Callable[[bytes], Awaitable[Any]],
    on_gap: Callable[[str], Awaitable[bool]],
) -> None:
    """Write what matched a key since an event, up to a place in the sequence.

    Args:
        history: the hub's.
        sent_id: what the client sent.
        key: the client's, from the server: what it may see is decided now.
        until: where its live events begin.
        write: writes a piece, and returns when the socket has taken it.
        on_gap: called after the event ``gap``, with the reason; True says that it has written
            something that replaces the events that are still kept.

    Raises:
        StreamClosedError: when the client leaves during the replay.
    """
    missed = history.since(sent_id, key, until=until)
    while True:
        if missed.gap is not None:
            await write(encode(Event(data_text({"reason": missed.gap}), "gap")))
            if await on_gap(missed.gap):
                break
        if missed.events:
            await write(b"".join(missed.events))
        if missed.done:
            break
        missed = history.more(missed)
    await write(last_id(history.cursor(until)))
