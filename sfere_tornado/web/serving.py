"""Serving an application that has a hub: limits that fit many open streams.

Each stream is an open file. A process that has none left cannot accept, and Tornado tries again in
each turn of the loop, for ever. So the system is asked for as many as the limits let in. Where it
gives fewer the hub refuses newcomers before that.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from errno import EADDRINUSE, EINVAL
from typing import TYPE_CHECKING, Any, Final

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from ..errors import ListenError
from ..hub.life import warn_of_others

if TYPE_CHECKING:
    from tornado.web import Application

    from ..hub import Hub

__all__ = ("BACKLOG", "MAX_PORT", "OTHER_FILES", "SERVER_LIMITS", "listen")

log: logging.Logger = logging.getLogger("sfere_tornado.web")

#: Connections that wait to be accepted, 4,096: with the usual 128, a thousand that come back at
#: once wait for a second.
BACKLOG: Final = 4096

#: The highest port (RFC 9293, 3.1: two bytes).
MAX_PORT: Final = 2**16 - 1

#: Open files that are no streams, 200, or a quarter of all where that is less: what listens, logs,
#: databases, requests that are no streams, and newcomers until they have been refused.
OTHER_FILES: Final = 200

#: Tornado's own bounds, far smaller than its defaults of 100 MiB for a body and no time-outs at
#: all.
SERVER_LIMITS: Final[dict[str, Any]] = {
    "max_header_size": 64 * 1024,  # a cookie jar, and signals in a query
    "max_body_size": 1024
    * 1024,  # forms and signals; an upload gets a server, or a handler, of its own
    "body_timeout": 30.0,  # seconds for a body to arrive
    # Seconds between requests: longer than the minute for which proxies keep connections.
    "idle_connection_timeout": 75.0,
}


def listen(hub: Hub, application: Application, port: int, address: str, **arguments: Any) -> int:
    """Serve an application with a hub: a backlog for a crowd, and bounds on each request.

    Args:
        hub: is installed in the application, and started.
        application: what is served.
        port: 0 takes any free one.
        address: where to listen; an empty string is everywhere.
        arguments: of :class:`tornado.httpserver.HTTPServer`, over :data:`SERVER_LIMITS`; and
            ``backlog`` and ``reuse_port``.

    Returns:
        The port. A drain of the hub stops the server.

    Raises:
        ListenError: when there is no such port or address, or another process has it; nothing is
            listened on then.
        HubError: when the application has another hub already.
    """
    if not 0 <= port <= MAX_PORT:
        # The system would take it modulo 65,536, and no client would find the server.
        raise ListenError(
            EINVAL, f"ports go from 0, which is any free one, to {MAX_PORT}", address, port
        )
    hub.install(application)
    hub.start()
    backlog, reuse_port = arguments.pop("backlog", BACKLOG), arguments.pop("reuse_port", False)
    # Made first: an argument that it does not know must leave no socket behind.
    server = HTTPServer(application, **{**SERVER_LIMITS, **arguments})
    try:
        sockets = bind_sockets(port, address, backlog=backlog, reuse_port=reuse_port)
    except OSError as error:
        hint = (
            "; stop what listens there, or take another, 0 for any free one"
            if error.errno == EADDRINUSE
            else ""
        )
        raise ListenError(error.errno, f"{error.strerror}{hint}", address, port) from error
    server.add_sockets(sockets)
    hub.streams.serve(server)
    if reuse_port:
        warn_of_others()
    _allow_files(hub)
    return int(sockets[0].getsockname()[1])


def _allow_files(hub: Hub) -> None:
    """Have the system allow a file for each stream, or the hub no more streams than files."""
    try:
        import resource  # noqa: PLC0415  # Windows has none, and no such limit
    except ImportError:
        return
    total = hub.streams.admission.limits.total
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        total + OTHER_FILES if most == resource.RLIM_INFINITY else min(total + OTHER_FILES, most)
    )
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        # Some systems have another limit still, and say so only now.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            allowed = wanted
    if allowed != resource.RLIM_INFINITY and allowed < total + OTHER_FILES:
        hub.streams.admission.files = allowed - min(OTHER_FILES, allowed // 4)
        log.info(
            "the system lets this process have %d open files: it takes %d streams, and "
            "limits.total is %d; raise the limit of open files (ulimit -n, LimitNOFILE of systemd) for more",
            allowed,
            hub.streams.admission.files,
            total,
        )
