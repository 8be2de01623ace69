"""Signs that a client gives with requests of its own, and the script that sends them.

The signs are ``beat``, ``hidden``, ``visible`` and ``leave``.

A beat is a sign of life for streams behind a proxy. The kernel hears acknowledgements of the
nearest hop. Behind a proxy that is the proxy, and a client whose cable was pulled looks alive for
as long as the proxy keeps the connection. Only the client itself can say that it is there: with a
POST without a body, which renews the lease of its open stream.

Its cost: one request for each client and interval, about 0.1 ms of the server each. Ten thousand
clients that beat once a minute take 2 % of a processor; beating every 5 s takes 20 %. Set
``store.renewed_by: [request]``, so that the proxy's acknowledgements no longer count, and a lease
of about three intervals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tornado.web import HTTPError, RequestHandler

from ..presence.effects import hide, leave, show
from .origin import is_own_host, refuse_foreign_page
from .requests import InterceptorMixin

__all__ = ("SCRIPT", "BeatHandler", "ScriptHandler", "SignHandler")

#: The file of the JavaScript module, package data.
SCRIPT: Final = Path(__file__).with_name("static") / "sfere.js"

#: The effect of each sign that has one.
_EFFECTS: Final = {"hidden": hide, "visible": show, "leave": leave}


class BeatHandler(InterceptorMixin, RequestHandler):
    """Answers POST with 204 when the client's stream is open, and with 404 when it is not.

    Override ``connection_key``.
    """

    def post(self) -> None:
        """Renew the lease of the client's stream; the chain has done that before this method runs.

        Raises:
            HTTPError: 404 when no stream is open under the key: the client should open one.
        """
        if self.connection is None:
            raise HTTPError(404, reason="No open stream")
        self.set_status(204)


class SignHandler(BeatHandler):
    """Answers POST of ``sign`` and ``tab``, as the shipped script sends them.

    Override ``connection_key``. ``hidden`` and ``visible`` say whether the tab is in view,
    ``leave`` that it is closed or left for good, ``beat`` only that the client is there. Each is a
    sign of life.
    """

    def check_origin(self, origin: str) -> bool:
        """Return whether a page of another origin may give signs; for overriding.

        By default only pages of the own host may.

        Args:
            origin: as the browser sends it, such as ``https://example.org``.
        """
        return is_own_host(self.request, origin)

    def post(self) -> None:
        """Record the sign.

        Raises:
            HTTPError: 403 for a page of a foreign origin, which could make another member leave;
                400 for another sign; 404 for a beat without an open stream.
        """
        refuse_foreign_page(self.request, self.check_origin)
        sign = self.get_body_argument("sign", "beat")
        if sign == "beat":
            super().post()
            return
        effect = _EFFECTS.get(sign)
        if effect is None:
            raise HTTPError(400, reason="A sign is beat, hidden, visible or leave")
        self.dispatch(effect(tab=self.get_body_argument("tab", None)))
        self.set_status(204)


class ScriptHandler(RequestHandler):
    """Serves the JavaScript module: ``("/sfere.js", ScriptHandler)``."""

    def get(self) -> None:
        """Send the script; a browser asks each time whether it has changed."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(SCRIPT.read_bytes())
