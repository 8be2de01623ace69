"""The wire: an event becomes bytes, bytes become events. Knows no I/O (WHATWG HTML, 9.2.5 and 9.2.6).

Laws:

- **An event that could inject a field cannot exist.** Names, ids and reconnection times are checked when the event is
  made, so no caller has to remember it.
- **Data is changed in its line ends only.** It is cut at CRLF, CR and LF, each of which reaches the client as LF, and
  at nothing else: ``str.splitlines`` also cuts at U+2028 and others. Nothing is ever stripped.
- **All or nothing.** What cannot be encoded, or is too large, is an error to the sender before there is a single byte.

A sender's :class:`Event` and a reader's :class:`Received` are two things: the reader has to take whatever the standard
lets a server send, and its id is the last one seen, not the one of this event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from ..defaults import MAX_EVENT_SIZE
from ..errors import EventError, EventTooLargeError

__all__ = (
    "MAX_ID_SIZE",
    "MAX_RETRY",
    "Event",
    "comment",
    "data_lines",
    "data_text",
    "encode",
    "retry",
)

#: Bytes of an event id: it comes back as a request header, and servers and proxies bound those.
MAX_ID_SIZE: Final = 256

#: The longest reconnection time in milliseconds: the largest integer that a browser's number holds exactly.
MAX_RETRY: Final = 2**53 - 1

# Made once: json.dumps with options of its own would make an encoder for each event.
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Event:
    """One event to send; it is checked when it is made.

    Args:
        data: what the client gets, unchanged but for line ends, which become LF. May be empty.
        event: the event's type, without CR, LF, NUL; a browser calls it ``message`` when it is missing or empty.
        id: what the client sends back as ``Last-Event-ID``: ASCII without CR, LF, NUL, at most :data:`MAX_ID_SIZE`
            bytes; an empty one makes the client forget the last.
        retry: the client's new reconnection time in milliseconds, 0 to :data:`MAX_RETRY`.

    Raises:
        EventError: when a field may not stand on the wire (WHATWG HTML, 9.2.6); the exception names the field.
    """

    data: str
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, str):
            raise EventError(
                f"must be a str, not {type(self.data).__name__}; use data_text() for others", "data"
            )
        if self.event is not None:
            _check_line(self.event, "event")
            if not self.event.isascii():
                _to_utf8(self.event, "event")
        if self.id is not None:
            _check_line(self.id, "id")
            if not self.id.isascii():
                raise EventError(
                    f"must be ASCII, for it comes back in a header; got {self.id!r}", "id"
                )
            if len(self.id) > MAX_ID_SIZE:
                raise EventError(f"{len(self.id)} bytes, the limit is {MAX_ID_SIZE}", "id")
        if self.retry is not None:
            _check_retry(self.retry)


def encode(event: Event, max_event_size: int = MAX_EVENT_SIZE) -> bytes:
    """Return an event as the bytes of an event stream, closing blank line included.

    Args:
        event: what to send.
        max_event_size: bytes that the event may have on the wire.

    Raises:
        EventTooLargeError: when it has more.
        EventError: when the data has a lone surrogate, which UTF-8 cannot say.
    """
    data = event.data
    # A character is a byte at least: what is hopeless is refused before it is copied.
    if len(data) > max_event_size:
        raise EventTooLargeError(len(_to_utf8(data, "data")), max_event_size)
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(data_lines(data))
    # Always one space after the colon: the client removes one, and data may begin with a space of its own. Joined with
    # "+": formatting would ask a str subclass, such as an enum, for its own idea of its text.
    text = "data: " + data + "\n\n"
    if event.retry is not None:
        text = f"retry: {event.retry:d}\n" + text
    if event.id is not None:
        text = "id: " + event.id + "\n" + text
    if event.event is not None:
        text = "event: " + event.event + "\n" + text
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        # Once more, without the fields around it, so that the error counts the characters of the data.
        encoded = _to_utf8(event.data, "data")
    if len(encoded) > max_event_size:
        raise EventTooLargeError(len(encoded), max_event_size)
    return encoded


def data_lines(text: str) -> list[str]:
    """Return the lines of a text as an event stream knows them: cut at CRLF, CR and LF, and nowhere else."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def data_text(value: Any) -> str:
    """Return a value as the data of an event: a string as it is, anything else as compact JSON.

    Raises:
        EventError: for what JSON cannot say, such as NaN, a set or an object that contains itself.
    """
    if isinstance(value, str):
        return value
    try:
        return _to_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError(
            f"cannot be written as JSON ({error}); send text, or plain dicts and lists", "data"
        ) from error


def comment(text: str = "") -> bytes:
    """Return a comment, which clients ignore; a heartbeat is an empty one.

    No blank line follows: it would end an event without data, and some client libraries hand that to their application.

    Args:
        text: each of its lines becomes a line of its own.

    Raises:
        EventError: when the text has a lone surrogate.
    """
    return _to_utf8(
        "".join(f": {line}\n" if line else ":\n" for line in data_lines(text)), "comment"
    )


def retry(milliseconds: int) -> bytes:
    """Return a block that sets the client's reconnection time and is no event.

    Args:
        milliseconds: 0 to :data:`MAX_RETRY`.

    Raises:
        EventError: when it is no such integer.
    """
    _check_retry(milliseconds)
    return b"retry: %d\n\n" % milliseconds


def _check_line(value: object, field: str) -> None:
    if not isinstance(value, str):
        raise EventError(f"must be a str, not {type(value).__name__}", field)
    if "\n" in value or "\r" in value or "\0" in value:
        raise EventError(
            f"must have no CR, LF or NUL, which could add fields or be lost; got {value!r}", field
        )


def _check_retry(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_RETRY:
        shown = (
            repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a far larger one"
        )
        raise EventError(
            f"must be an integer of milliseconds from 0 to {MAX_RETRY}, not {shown}", "retry"
        )


def _to_utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        lone = f"U+{ord(text[error.start]):04X} at character {error.start}"
        raise EventError(
            f"has half of a surrogate pair, {lone}; UTF-8 cannot say it", field
        ) from error
