"""The hub of a Tornado application, with a method that serves the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..hub import Hub as PlainHub
from .serving import listen

if TYPE_CHECKING:
    from tornado.web import Application

__all__ = ("Hub",)


class Hub(PlainHub):
    """Open event streams by key, reached through dispatched effects.

    An application makes one and installs it: ``Application(..., sfere=hub)``. All but
    :meth:`listen` is inherited from :class:`sfere_tornado.hub.Hub`, which does not import Tornado;
    its page has the arguments.
    """

    def listen(
        self,
        application: Application,
        port: int,
        address: str = "127.0.0.1",
        **arguments: Any,
    ) -> int:
        """Serve an application with this hub: a backlog for a crowd, and bounds on each request.

        Args:
            application: the application; the hub is installed in it.
            port: 0 takes any free one.
            address: where to listen; an empty string is everywhere.
            arguments: of :class:`tornado.httpserver.HTTPServer`, over the defaults of
                :mod:`sfere_tornado.web.serving`.

        Returns:
            The port. ``drain`` stops the server.

        Raises:
            ListenError: when there is no such port or address, or it is taken; nothing is listened
                on then.
            HubError: when the application has another hub already.
        """
        return listen(self, application, port, address, **arguments)
