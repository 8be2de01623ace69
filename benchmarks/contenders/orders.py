"""Orders to a server that runs in an event loop of asyncio; see the package."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from ..clients import HOST, allow_many_files
from ..lateness import Lateness

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pace import Pace

__all__ = ("listening", "obey", "orders_on")

#: Delays of the loop that one answer has at most: some thirty kilobytes.
MOST: Final = 4_000


def listening() -> tuple[socket.socket, socket.socket]:
    """Return a listening socket and one for orders, on the same port."""
    allow_many_files()
    http = socket.create_server((HOST, 0), backlog=4096)
    http.setblocking(False)
    return http, orders_on(http.getsockname()[1])


def orders_on(port: int) -> socket.socket:
    """Return the socket for orders to the server of a port."""
    orders = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    orders.bind((HOST, port))
    orders.setblocking(False)
    return orders


def obey(
    orders: socket.socket,
    dispatch: Callable[[int], Any],
    status: Callable[[], dict[str, int]] | None = None,
    pace: Pace | None = None,
) -> None:
    """Run orders from now on, and print the port, which says that the server is ready.

    Args:
        orders: the socket that receives them.
        dispatch: dispatches a number of events to every stream.
        status: returns what the server has open, by name.
        pace: of the tasks that feed single streams.
    """
    lateness: Lateness | None = None

    def delays() -> list[float]:
        nonlocal lateness
        if lateness is None:
            lateness = Lateness()
        seconds, lateness.seconds = lateness.seconds[-MOST:], []
        # In milliseconds: a datagram has little space.
        return [round(late * 1e3, 3) for late in seconds]

    def read() -> None:
        order, sender = orders.recvfrom(100)
        if order == b"?":
            gc.collect()
            counts = {"tasks": len(asyncio.all_tasks()), **(status() if status is not None else {})}
            orders.sendto(json.dumps(counts).encode(), sender)
        elif order == b"late":
            orders.sendto(json.dumps(delays()).encode(), sender)
        elif order.endswith(b"/s"):
            if pace is not None:
                pace.set(int(order[:-2]))
        else:
            dispatch(int(order))

    loop = asyncio.get_running_loop()
    loop.add_reader(orders.fileno(), read)
    # The measuring process has the other end. If it is killed, its end is all that comes.
    loop.add_reader(sys.stdin.fileno(), os._exit, 0)
    print(orders.getsockname()[1], flush=True)
