"""Where a request comes from: the pages of this host, or those of somebody else.

A page of anybody's can make a browser send a request here, with the user's cookies. Browsers say where it comes from, other
clients say nothing (Fetch Metadata, 2.3; RFC 6454, 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tornado.web import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest

__all__ = ("is_own_host", "refuse_foreign_page")


def is_own_host(request: HTTPServerRequest, origin: str) -> bool:
    """Tell whether an origin is the host that the request was sent to.

    Args:
        request: with the header ``Host``.
        origin: as the browser sends it, such as ``https://example.org``.
    """
    return urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower()


def refuse_foreign_page(request: HTTPServerRequest, check_origin: Callable[[str], bool]) -> None:
    """Refuse a request that a page of another site made.

    Args:
        request: what a browser did not send, or the user has typed, passes.
        check_origin: tells whether pages of an origin may.

    Raises:
        HTTPError: 403.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    # The browser's own judgement comes first: behind a proxy that rewrites Host, the two would not be equal.
    if site in {"same-origin", "none"} or (site is None and origin is None):
        return
    if origin is None or not check_origin(origin):
        raise HTTPError(403, reason="Foreign origin")
