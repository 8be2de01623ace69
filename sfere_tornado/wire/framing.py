"""The frame that HTTP puts around bytes of a body, made once for all connections framed alike."""

from __future__ import annotations

from typing import Final

__all__ = ("LAST_CHUNK", "chunked", "unframed")

#: The end of a chunked body (RFC 9112, 7.1). A client that does not get it knows that the stream
#: was cut.
LAST_CHUNK: Final = b"0\r\n\r\n"


def chunked(payload: bytes) -> bytes:
    """Return bytes as one chunk of an HTTP/1.1 body (RFC 9112, 7.1); no bytes for no bytes."""
    # A chunk of size 0 is the last one: it would end the response.
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def unframed(payload: bytes) -> bytes:
    """Return bytes as they are: the body of HTTP/1.0 ends when the socket closes."""
    return payload
