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
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .errors import EventError, EventStreamError, EventTooLargeError

__all__ = (
    "MAX_BUFFERED",
    "MAX_COMMENTS",
    "MAX_EVENT_SIZE",
    "MAX_ID_SIZE",
    "MAX_RETRY",
    "Event",
    "Parser",
    "Received",
    "comment",
    "data_lines",
    "data_text",
    "encode",
    "retry",
)

#: Bytes one event may have on the wire, 256 KiB: a large page fragment fits; what is larger belongs behind a link, for
#: it would be held once for every stalled client.
MAX_EVENT_SIZE: Final = 256 * 1024

#: Bytes of an event id: it comes back as a request header, and servers and proxies bound those.
MAX_ID_SIZE: Final = 256

#: The longest reconnection time in milliseconds: the largest integer that a browser's number holds exactly.
MAX_RETRY: Final = 2**53 - 1

#: Bytes that a reader keeps of an unfinished event, 1 MiB: four times what this library sends.
MAX_BUFFERED: Final = 1024 * 1024

#: Comments that a reader keeps, the newest: a stream that is only heartbeats must not fill the memory of its reader.
MAX_COMMENTS: Final = 1000

# Made once: json.dumps with options of its own would make an encoder for each event.
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_BOM: Final = "\ufeff"


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
            raise EventError(f"must be a str, not {type(self.data).__name__}; use data_text() for others", "data")
        if self.event is not None:
            _check_line(self.event, "event")
            if not self.event.isascii():
                _to_utf8(self.event, "event")
        if self.id is not None:
            _check_line(self.id, "id")
            if not self.id.isascii():
                raise EventError(f"must be ASCII, for it comes back in a header; got {self.id!r}", "id")
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
        raise EventError(f"cannot be written as JSON ({error}); send text, or plain dicts and lists", "data") from error


def comment(text: str = "") -> bytes:
    """Return a comment, which clients ignore; a heartbeat is an empty one.

    No blank line follows: it would end an event without data, and some client libraries hand that to their application.

    Args:
        text: each of its lines becomes a line of its own.

    Raises:
        EventError: when the text has a lone surrogate.
    """
    return _to_utf8("".join(f": {line}\n" if line else ":\n" for line in data_lines(text)), "comment")


def retry(milliseconds: int) -> bytes:
    """Return a block that sets the client's reconnection time and is no event.

    Args:
        milliseconds: 0 to :data:`MAX_RETRY`.

    Raises:
        EventError: when it is no such integer.
    """
    _check_retry(milliseconds)
    return b"retry: %d\n\n" % milliseconds


class Received(NamedTuple):
    """One event as a client sees it."""

    #: The type; ``message`` when the server gave none.
    event: str
    #: The lines of data, joined with LF.
    data: str
    #: The last event id as of this event, which an earlier event may have set; empty when there is none.
    id: str


class Parser:
    """Reads an event stream in pieces of any size (WHATWG HTML, 9.2.6).

    Args:
        strict: refuse what a correct server never sends: unknown fields, a reconnection time that is no number, an id
            with NUL, bytes that are not UTF-8. False ignores or replaces these, as a browser does.
        max_buffered: bytes kept of an unfinished event; for both kinds of reader.
    """

    def __init__(self, *, strict: bool = True, max_buffered: int = MAX_BUFFERED) -> None:
        self.strict = strict
        self.max_buffered = max_buffered
        #: What a client would send as ``Last-Event-ID`` now.
        self.last_event_id = ""
        #: The last reconnection time in milliseconds, None when none was sent.
        self.retry: int | None = None
        #: The newest comments, without the colon and one space.
        self.comments: deque[str] = deque(maxlen=MAX_COMMENTS)
        #: The line being read, counted from 1.
        self.line = 1
        self._pieces: list[bytes] = []
        self._after_cr = False
        self._buffered = 0
        self._event = ""
        self._id = ""
        self._data: list[str] = []
        self._error: EventStreamError | None = None

    def __repr__(self) -> str:
        return f"<Parser line {self.line}, {self._buffered} bytes of an unfinished event>"

    def feed(self, data: bytes) -> list[Received]:
        """Take the next bytes, and return the events that they finish.

        Raises:
            EventStreamError: when the bytes break a rule, or an event is larger than the bound. There is no reading on
                after it: the same error comes again.
        """
        if self._error is not None:
            raise self._error
        if not data:
            return []
        if self._after_cr:
            # A CR at the end of the last piece has ended its line already; its LF belongs to it.
            self._after_cr = False
            data = data.removeprefix(b"\n")
        events: list[Received] = []
        # For bytes, splitlines cuts at CRLF, CR and LF only. Those never are part of another character in UTF-8.
        lines = data.splitlines()
        rest = b"" if not lines or data.endswith((b"\n", b"\r")) else lines.pop()
        try:
            for ended in lines:
                line = ended
                if self._pieces:
                    line = b"".join([*self._pieces, ended])
                    self._pieces.clear()
                self._grow(len(ended))
                event = self._take_line(line)
                if event is not None:
                    events.append(event)
                self.line += 1
            if rest:
                self._pieces.append(rest)
                self._grow(len(rest))
        except EventStreamError as error:
            self._error = error
            raise
        self._after_cr = data.endswith(b"\r")
        return events

    def _grow(self, size: int) -> None:
        self._buffered += size
        if self._buffered > self.max_buffered:
            raise EventStreamError(f"an event of more than {self.max_buffered} bytes; raise max_buffered", self.line)

    def _take_line(self, raw: bytes) -> Received | None:
        if not raw:
            return self._end_block()
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            self._refuse(f"bytes that are not UTF-8, {raw[error.start : error.end]!r}")
            line = raw.decode(errors="replace")
        if self.line == 1:
            line = line.removeprefix(_BOM)
            if not line:
                return self._end_block()
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if colon and not name:
            self.comments.append(value)
            self._buffered -= len(raw)
        else:
            self._take_field(name, value)
        return None

    def _take_field(self, name: str, value: str) -> None:
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" in value:
                self._refuse("an id with NUL, which clients ignore")
            else:
                self._id = value
        elif name == "retry":
            if value.isascii() and value.isdigit():
                # Beyond 17 digits any number is over the limit, and Python refuses to read very long ones.
                self.retry = min(int(value.lstrip("0")[:17] or "0"), MAX_RETRY)
            else:
                self._refuse(f"a reconnection time that is no number, {value!r}")
        else:
            self._refuse(f"an unknown field, {name!r}")

    def _end_block(self) -> Received | None:
        name, data = self._event, self._data
        self._event, self._data, self._buffered = "", [], 0
        # An id counts also when its block has no data and so is no event.
        self.last_event_id = self._id
        return Received(name or "message", "\n".join(data), self._id) if data else None

    def _refuse(self, problem: str) -> None:
        if self.strict:
            raise EventStreamError(problem, self.line)


def _check_line(value: object, field: str) -> None:
    if not isinstance(value, str):
        raise EventError(f"must be a str, not {type(value).__name__}", field)
    if "\n" in value or "\r" in value or "\0" in value:
        raise EventError(f"must have no CR, LF or NUL, which could add fields or be lost; got {value!r}", field)


def _check_retry(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_RETRY:
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a far larger one"
        raise EventError(f"must be an integer of milliseconds from 0 to {MAX_RETRY}, not {shown}", "retry")


def _to_utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        lone = f"U+{ord(text[error.start]):04X} at character {error.start}"
        raise EventError(f"has half of a surrogate pair, {lone}; UTF-8 cannot say it", field) from error
