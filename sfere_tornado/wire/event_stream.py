"""Events as the bytes of an event stream (WHATWG HTML, 9.2.5 and 9.2.6). Knows no I/O.

Laws:

- **An event that could inject a field cannot exist.** An event is checked when it is made, so no
  caller has to remember it.
- **Data is changed in its line ends only.** It is cut at CRLF, CR and LF, each of which reaches the
  client as LF, and nowhere else: ``str.splitlines`` also cuts at U+2028 and others. Nothing is
  stripped.
- **All or nothing.** An event that cannot be encoded, or is too large, raises before a single byte
  is written.

A sender's :class:`Event` is not the reader's ``Received`` of ``sfere_tornado.testing.parser``. A
reader must take whatever the standard lets a server send, and its id is the last id seen, not the
id of this event.
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
    "check_fields",
    "comment",
    "data_lines",
    "data_text",
    "encode",
    "encode_fields",
    "retry",
)

#: Bytes of an event id, 256: it comes back as a request header, and servers and proxies bound
#: those.
MAX_ID_SIZE: Final = 256

#: The longest reconnection time in milliseconds, 2^53 - 1: the largest integer that a JavaScript
#: number holds exactly.
MAX_RETRY: Final = 2**53 - 1

# Made once: json.dumps with these options makes an encoder for each call.
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Event:
    """One event to send, checked when it is made.

    Args:
        data: what the client gets; only line ends change, they become LF. May be empty.
        event: the event's type, without CR, LF, NUL; a browser reads a missing or empty one as
            ``message``.
        id: what the client sends back as ``Last-Event-ID``: ASCII without CR, LF, NUL, at most
            :data:`MAX_ID_SIZE` bytes; an empty one makes the client forget the last one.
        retry: the client's new reconnection time in milliseconds, 0 to :data:`MAX_RETRY`.

    Raises:
        EventError: when a field must not be on the wire (WHATWG HTML, 9.2.6); it names the field.
    """

    data: str
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, str):
            raise EventError(
                f"must be a str, not {type(self.data).__name__}; make it with data_text()", "data"
            )
        # Most events have data only; they are made without a further call.
        if self.event is not None or self.id is not None or self.retry is not None:
            check_fields(self.event, self.id, self.retry)


def check_fields(
    event: str | None,
    id: str | None,  # noqa: A002  # the field's name in the standard
    retry: int | None,
) -> None:
    """Check the fields of an event beside its data; arguments as for :class:`Event`.

    Raises:
        EventError: when a field must not be on the wire (WHATWG HTML, 9.2.6); it names the field.
    """
    if event is not None:
        if type(event) is not str or not event.isprintable():
            # Printable text has none of the characters that are looked for.
            _check_line(event, "event")
        if not event.isascii():
            _to_utf8(event, "event")
    if id is not None:
        _check_line(id, "id")
        if not id.isascii():
            raise EventError(f"must be ASCII, because it comes back in a header; got {id!r}", "id")
        if len(id) > MAX_ID_SIZE:
            raise EventError(f"has {len(id)} bytes, {MAX_ID_SIZE} are allowed", "id")
    if retry is not None:
        _check_retry(retry)


def encode(event: Event, max_event_size: int = MAX_EVENT_SIZE) -> bytes:
    """Return an event as the bytes of an event stream, with the blank line that ends it.

    Args:
        event: what to send.
        max_event_size: bytes that the event may have on the wire, 1 or more.

    Raises:
        EventTooLargeError: when it has more.
        EventError: when the data has a lone surrogate, which UTF-8 cannot encode.
    """
    return encode_fields(event.data, event.event, event.id, event.retry, max_event_size)


def encode_fields(
    data: str,
    event: str | None,
    id: str | None,  # noqa: A002  # the field's name in the standard
    retry: int | None,
    max_event_size: int = MAX_EVENT_SIZE,
) -> bytes:
    """Encode fields that :func:`check_fields` has checked; see :func:`encode`."""
    # A character has one byte at least: refuse data that cannot fit before copying it.
    if len(data) > max_event_size:
        raise EventTooLargeError(len(_to_utf8(data, "data")), max_event_size)
    lines = "\ndata: ".join(data_lines(data)) if "\n" in data or "\r" in data else data
    # Always one space after the colon: the client removes one, and data may begin with a space.
    # Joined with "+": formatting calls __format__ of a str subclass, such as an enum, which may
    # return another text.
    text = "data: " + lines + "\n\n"
    if retry is not None:
        text = f"retry: {retry:d}\n" + text
    if id is not None:
        text = "id: " + id + "\n" + text
    if event is not None:
        text = "event: " + event + "\n" + text
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        # Once more without the other fields: the error counts the characters of the data.
        encoded = _to_utf8(data, "data")
    if len(encoded) > max_event_size:
        raise EventTooLargeError(len(encoded), max_event_size)
    return encoded


def data_lines(text: str) -> list[str]:
    """Return the lines of a text, cut at CRLF, CR and LF and nowhere else."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def data_text(value: Any) -> str:
    """Return a value as the data of an event: a string as it is, anything else as compact JSON.

    Raises:
        EventError: for what JSON cannot express: NaN, a set, an object that contains itself.
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

    No blank line follows: it would end an event without data, and some client libraries pass such
    an event to their application.

    Args:
        text: each of its lines becomes a line of its own.

    Raises:
        EventError: when the text has a lone surrogate.
    """
    return _to_utf8(
        "".join(f": {line}\n" if line else ":\n" for line in data_lines(text)), "comment"
    )


def retry(milliseconds: int) -> bytes:
    """Return a block that sets the client's reconnection time and is not an event.

    Args:
        milliseconds: 0 to :data:`MAX_RETRY`.

    Raises:
        EventError: when it is not such an integer.
    """
    _check_retry(milliseconds)
    return b"retry: %d\n\n" % milliseconds


def last_id(event_id: str) -> bytes:
    """Return a block that sets the client's last event id and is not an event (WHATWG HTML 9.2.6).

    Args:
        event_id: as the history makes it, in ASCII; it is not checked.
    """
    return b"id: %s\n\n" % event_id.encode("ascii")


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
            f"has half of a surrogate pair, {lone}; UTF-8 cannot encode it", field
        ) from error
