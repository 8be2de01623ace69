"""Read an event stream as a client does (WHATWG HTML, 9.2.6): bytes in, events out."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from ..errors import EventStreamError
from ..wire.event_stream import MAX_RETRY

__all__ = ("MAX_BUFFERED", "MAX_COMMENTS", "Parser", "Received")

#: Bytes that a reader keeps of an unfinished event, 1 MiB: four times the most that is sent.
MAX_BUFFERED: Final = 1024 * 1024

#: Comments that a reader keeps, 1,000, the newest: a stream of heartbeats must not fill the memory.
MAX_COMMENTS: Final = 1000

_BOM: Final = "\ufeff"


class Received(NamedTuple):
    """One event as a client sees it."""

    #: The type; ``message`` when the server gave none.
    event: str
    #: The lines of data, joined with LF.
    data: str
    #: The last event id, which an earlier event may have set; empty when there is none.
    id: str


class _Block:
    """The lines since the last blank line; a blank line makes an event of them."""

    __slots__ = ("data", "event", "size")

    def __init__(self) -> None:
        self.event: str = ""
        self.data: list[str] = []
        #: Bytes, without line ends and comments.
        self.size: int = 0


class Parser:
    """Reads an event stream in pieces of any size (WHATWG HTML, 9.2.6).

    Args:
        strict: refuse what a correct server never sends: unknown fields, a reconnection time that
            is not a number, an id with NUL, bytes that are not UTF-8. False ignores or replaces
            these, as a browser does.
        max_buffered: bytes kept of an unfinished event, 1 or more; both kinds of reader refuse
            more.
    """

    def __init__(self, *, strict: bool = True, max_buffered: int = MAX_BUFFERED) -> None:
        self.strict: bool = strict
        self.max_buffered: int = max_buffered
        #: What a client would send as ``Last-Event-ID`` now.
        self.last_event_id: str = ""
        #: The last reconnection time in milliseconds; None when none was sent.
        self.retry: int | None = None
        #: The newest comments, without the colon and one space.
        self.comments: deque[str] = deque(maxlen=MAX_COMMENTS)
        #: The line being read, counted from 1.
        self.line: int = 1
        #: The beginning of a line whose end has not come; joined once, when it has.
        self._pieces: list[bytes] = []
        self._after_cr: bool = False
        self._block: _Block = _Block()
        self._id: str = ""
        self._error: EventStreamError | None = None

    def __repr__(self) -> str:
        return f"<Parser line {self.line}, {self._block.size} bytes of an unfinished event>"

    def feed(self, data: bytes) -> list[Received]:
        """Take the next bytes, and return the events that they finish.

        Args:
            data: bytes of the stream, cut anywhere.

        Raises:
            EventStreamError: when the bytes break a rule, or an event is larger than the bound.
                Each later call raises the same error.
        """
        if self._error is not None:
            raise self._error
        if not data:
            return []
        if self._after_cr:
            # A CR at the end of the last bytes has ended its line; an LF after it belongs to it.
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        # bytes.splitlines cuts at CRLF, CR and LF only; in UTF-8 no other character contains them.
        lines = data.splitlines()
        rest = b"" if not lines or data.endswith((b"\n", b"\r")) else lines.pop()
        events: list[Received] = []
        try:
            for line in lines:
                self._block.size += len(line)
                if self._block.size > self.max_buffered:
                    self._refuse_size()
                whole = line
                if self._pieces:
                    whole = b"".join([*self._pieces, line])
                    self._pieces.clear()
                if whole:
                    self._take_line(whole)
                else:
                    # An id counts also when its block has no data and so is not an event.
                    self.last_event_id = self._id
                    block, self._block = self._block, _Block()
                    if block.data:
                        text = "\n".join(block.data)
                        events.append(Received(block.event or "message", text, self._id))
                self.line += 1
            if rest:
                self._pieces.append(rest)
                self._block.size += len(rest)
                if self._block.size > self.max_buffered:
                    self._refuse_size()
        except EventStreamError as error:
            self._error = error
            raise
        return events

    def _take_line(self, raw: bytes) -> None:
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            self._refuse(f"bytes that are not UTF-8, {raw[error.start : error.end]!r}")
            line = raw.decode(errors="replace")
        if self.line == 1:
            line = line.removeprefix(_BOM)
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._block.data.append(value)
        elif name == "event":
            self._block.event = value
        elif name == "id":
            if "\0" in value:
                self._refuse("an id with NUL, which clients ignore")
            else:
                self._id = value
        elif name == "retry":
            self._take_retry(value)
        elif name:
            self._refuse(f"an unknown field, {name!r}")
        else:
            # A comment; or, without a colon, a first line of nothing but the byte order mark.
            self._block.size -= len(raw)
            if colon:
                self.comments.append(value)

    def _take_retry(self, value: str) -> None:
        if value.isascii() and value.isdigit():
            # A number of more than 17 digits is over the limit; Python refuses to read very long
            # ones.
            self.retry = min(int(value.lstrip("0")[:17] or "0"), MAX_RETRY)
        else:
            self._refuse(f"a reconnection time that is not a number, {value!r}")

    def _refuse(self, problem: str) -> None:
        if self.strict:
            raise EventStreamError(problem, self.line)

    def _refuse_size(self) -> None:
        raise EventStreamError(
            f"an event of more than {self.max_buffered} bytes; raise max_buffered", self.line
        )
