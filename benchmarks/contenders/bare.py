"""The limit: an epoll loop that sends every request the same headers, and a loop of ``send``."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

from ..clients import text
from .orders import listening

if TYPE_CHECKING:
    import socket

HEADERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(4096)
    except ConnectionResetError:
        return b""


def send_rest(sock: socket.socket, rest: bytes) -> None:
    """Send what the kernel did not take; the process sleeps while the socket is full.

    On a busy machine a client falls behind, and its socket fills up. To drop the bytes would break
    the stream. A queue for each client would no longer be the limit that this contender shows.
    """
    writable = select.poll()
    writable.register(sock, select.POLLOUT)
    while rest:
        writable.poll()
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            continue


def main() -> None:
    http, orders = listening()
    poll = select.epoll()
    poll.register(http, select.EPOLLIN)
    poll.register(orders, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    streams = {}
    sends = {}
    print(http.getsockname()[1], flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == http.fileno():
                sock = http.accept()[0]
                sock.setblocking(False)
                streams[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
            elif descriptor == orders.fileno():
                for _ in range(int(orders.recv(100))):
                    event = f"data: {text()}\n\n".encode()
                    framed = b"%x\r\n%b\r\n" % (len(event), event)
                    size = len(framed)
                    for send in sends.values():
                        try:
                            sent = send(framed)
                        except BlockingIOError:
                            sent = 0
                        if sent != size:
                            send_rest(send.__self__, framed[sent:])
            elif descriptor == sys.stdin.fileno():
                return
            elif received(streams[descriptor]):
                streams[descriptor].send(HEADERS)
                sends[descriptor] = streams[descriptor].send
            else:
                sends.pop(descriptor, None)
                streams.pop(descriptor).close()


if __name__ == "__main__":
    main()
