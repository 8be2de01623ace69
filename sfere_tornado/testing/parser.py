"""Reading an event stream as a client does (WHATWG HTML, 9.2.6): bytes in, events out."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from ..errors import EventStreamError
from ..wire.event_stream import MAX_RETRY

__all__ = ("MAX_BUFFERED", "MAX_COMMENTS", "Parser", "Received")

#: Bytes that a reader keeps of an unfinished event, 1 MiB: four times what this library sends.
MAX_BUFFERED: Final = 1024 * 1024

#: Comments that a reader keeps, the newest: a stream that is only heartbeats must not fill the memory of its reader.
MAX_COMMENTS: Final = 1000

_BOM: Final = "\ufeff"


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
            raise EventStreamError(
                f"an event of more than {self.max_buffered} bytes; raise max_buffered", self.line
            )

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
