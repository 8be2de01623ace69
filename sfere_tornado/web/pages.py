"""Pages of a list of members that is too large to be sent whole, asked for by the client."""

from __future__ import annotations

from typing import Final

from tornado.web import HTTPError, RequestHandler

from ..effects.visit import visit_of
from ..errors import HubError
from .origin import is_own_host, refuse_foreign_page
from .requests import InterceptorMixin

__all__ = ("PresencePageHandler",)

#: Digits of ``after`` at most: no process counts further.
_DIGITS: Final = 15


class PresencePageHandler(InterceptorMixin, RequestHandler):
    """Answers GET with a page of the members that the client's own stream is told of, as JSON.

    Override ``connection_key``: the scope and the category of its key decide whose list it is. The
    query argument ``after`` is ``next`` of the page before. See :mod:`sfere_tornado.presence.events`
    for the fields.
    """

    def check_origin(self, origin: str) -> bool:
        """Return whether a page of another origin may ask; for overriding.

        By default only pages of the own host may.

        Args:
            origin: as the browser sends it, such as ``https://example.org``.
        """
        return is_own_host(self.request, origin)

    def get(self) -> None:
        """Send the page.

        Raises:
            HTTPError: 403 for a page of a foreign origin; 404 without an open stream, because only
                its members may see a list; 400 where ``after`` is not a number.
            HubError: The hub has no presence.
        """
        refuse_foreign_page(self.request, self.check_origin)
        feed = self.hub.streams.feed
        if feed is None:
            raise HubError("this hub has no presence; give its configuration a section presence")
        visit = None if self._context is None else visit_of(self._context)
        if self.connection is None or visit is None or visit.key is None:
            raise HTTPError(404, reason="No open stream")
        after = self.get_query_argument("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) <= _DIGITS):
            raise HTTPError(400, reason="after is a number")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(feed.announcer.pager.page(visit.key, int(after)))
