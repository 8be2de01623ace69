"""Serving an application that has a hub: limits that fit many open streams."""

from __future__ import annotations

from errno import EADDRINUSE, EINVAL
from typing import TYPE_CHECKING, Any, Final

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from ..errors import ListenError

if TYPE_CHECKING:
    from tornado.web import Application

    from ..hub import Hub

__all__ = ("BACKLOG", "MAX_PORT", "SERVER_LIMITS", "listen")

#: Connections that wait to be accepted, 4,096: with the usual 128, a thousand that come back at once wait for a second.
BACKLOG: Final = 4096

#: The highest port (RFC 9293, 3.1: two bytes).
MAX_PORT: Final = 2**16 - 1

#: Tornado's own bounds, far smaller than its defaults of 100 MiB for a body and no time-outs at all.
SERVER_LIMITS: Final = {
    "max_header_size": 64 * 1024,  # a cookie jar, and signals in a query
    "max_body_size": 1024 * 1024,  # forms and signals; an upload gets a server, or a handler, of its own
    "body_timeout": 30.0,  # seconds for a body to arrive
    "idle_connection_timeout": 75.0,  # seconds between requests; longer than the minute that proxies keep connections
}


def listen(hub: Hub, application: Application, port: int, address: str, **arguments: Any) -> int:
    """Serve an application; see :meth:`sfere_tornado.hub.Hub.listen`."""
    if not 0 <= port <= MAX_PORT:
        # The system would take it modulo 65,536, and nobody would find the server.
        raise ListenError(EINVAL, f"ports go from 0, which is any free one, to {MAX_PORT}", address, port)
    hub.install(application)
    hub.start()
    backlog, reuse_port = arguments.pop("backlog", BACKLOG), arguments.pop("reuse_port", False)
    # Made first: an argument that it does not know must leave no socket behind.
    server = HTTPServer(application, **{**SERVER_LIMITS, **arguments})
    try:
        sockets = bind_sockets(port, address, backlog=backlog, reuse_port=reuse_port)
    except OSError as error:
        hint = "; stop what listens there, or take another, 0 for any free one" if error.errno == EADDRINUSE else ""
        raise ListenError(error.errno, f"{error.strerror}{hint}", address, port) from error
    server.add_sockets(sockets)
    hub.servers.append(server)
    return int(sockets[0].getsockname()[1])
