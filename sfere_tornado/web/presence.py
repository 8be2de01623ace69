"""The client's signs for presence: hidden, visible, leaving; and the script that gives them."""

from __future__ import annotations

from pathlib import Path

from tornado.web import HTTPError, RequestHandler

from ..presence.effects import hide, leave, show
from .beat import BeatHandler
from .origin import is_own_host, refuse_foreign_page

__all__ = ("SCRIPT", "ScriptHandler", "SignHandler")

#: The JavaScript module, package data.
SCRIPT = Path(__file__).with_name("static") / "sfere.js"

_EFFECTS = {"hidden": hide, "visible": show, "leave": leave}


class SignHandler(BeatHandler):
    """Answers POST of ``sign`` and ``tab``, as the shipped script sends them; override ``connection_key``.

    ``hidden`` and ``visible`` say whether somebody looks at the tab, ``leave`` that it is left for good, ``beat`` only that
    the client is there. Each is a sign of life.
    """

    def check_origin(self, origin: str) -> bool:
        """Tell whether a page of another origin may give signs; for overriding. By default only the own host may.

        Args:
            origin: as the browser sends it, such as ``https://example.org``.
        """
        return is_own_host(self.request, origin)

    def post(self) -> None:
        """Take note of the sign.

        Raises:
            HTTPError: 403 for a page of a foreign origin, which could make somebody leave; 400 for another sign, 404 for a
                beat without an open stream.
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
        """Send it; browsers ask again whether it has changed."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(SCRIPT.read_bytes())
