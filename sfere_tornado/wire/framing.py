"""The frame that HTTP puts around bytes of a body; fixed text, made once for all connections framed alike."""

from __future__ import annotations

from typing import Final

__all__ = ("LAST_CHUNK", "chunked", "unframed")

#: What ends a chunked body cleanly (RFC 9112, 7.1). A client that never gets it knows that the stream was cut.
LAST_CHUNK: Final = b"0\r\n\r\n"


def chunked(payload: bytes) -> bytes:
    """Return bytes as one chunk of an HTTP/1.1 body (RFC 9112, 7.1); nothing for nothing."""
    # A chunk of size 0 is the last one: for an empty payload it would end the response.
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def unframed(payload: bytes) -> bytes:
    """Return bytes as they are: a client of HTTP/1.0 gets a bare body, which closing ends."""
    return payload
