"""The frame of HTTP around a body."""

import http.client
import io

import pytest

from sfere_tornado.wire.framing import LAST_CHUNK, chunked, unframed


class _Socket:
    def __init__(self, data):
        self.data = data

    def makefile(self, mode):
        return io.BytesIO(self.data)


def read_by_http_client(body):
    """Read a chunked body with the standard library's reader."""
    response = http.client.HTTPResponse(
        _Socket(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    )
    response.begin()
    return response.read()


@pytest.mark.parametrize(
    "payload", [b"a", b"data: x\n\n", b"\r\n0\r\n\r\n", b"x" * 70_000, bytes(range(256))]
)
def test_chunked_is_read_back_by_another_reader(payload):
    """A chunk carries its payload unchanged, whatever bytes it has, as RFC 9112 7.1 says."""
    assert (
        read_by_http_client(chunked(payload) + chunked(b"next") + LAST_CHUNK) == payload + b"next"
    )


def test_chunk_has_its_size_in_hexadecimal():
    """The size of a chunk is written in hexadecimal digits, without a prefix."""
    assert chunked(b"0123456789abcdefg") == b"11\r\n0123456789abcdefg\r\n"


def test_nothing_makes_no_chunk():
    """An empty payload makes no chunk: one of size 0 would end the response."""
    assert chunked(b"") == b""


def test_a_body_without_its_last_chunk_is_visibly_cut():
    """A client that has not got the last chunk knows that the stream was cut."""
    with pytest.raises(http.client.IncompleteRead):
        read_by_http_client(chunked(b"half"))


def test_unframed_changes_nothing():
    """Without framing the bytes are the very same object."""
    payload = b"data: x\n\n"
    assert unframed(payload) is payload
