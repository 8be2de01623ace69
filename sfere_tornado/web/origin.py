"""Where a request comes from: a page of this host, a page of another site, or no page.

A page of another site can make a browser send a request here, with the user's cookies. A browser
says where a request comes from (Fetch Metadata, 2.3; RFC 6454, 7); other clients say nothing. All
of the rule is
here: handlers and guards ask :func:`comes_from_foreign_page`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from tornado.web import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest

__all__ = (
    "Origin",
    "comes_from_foreign_page",
    "is_own_host",
    "parse_origin",
    "refuse_foreign_page",
)

#: The ports that an origin leaves out (RFC 9110, 4.2).
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: What a browser says of requests from pages of this origin, and of addresses that the user has
#: typed.
_OWN: Final = ("same-origin", "none")


class Origin(NamedTuple):
    """An origin, parsed, so that two texts of the same origin are equal."""

    #: In lower case.
    scheme: str
    #: In lower case; an IPv6 address without brackets.
    host: str
    #: Also where the text leaves it out; None where the scheme has no default port.
    port: int | None


def parse_origin(text: str) -> Origin | None:
    """Return what a text of the form ``https://example.org:8443`` says; None for any other text.

    Args:
        text: as a browser sends it, or as an application writes it.
    """
    try:
        parts = urlsplit(text)
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        # An IPv6 address that does not end, a port that is not a number.
        return None
    if parts.hostname is None or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        return None
    if not scheme:
        return None
    return Origin(scheme, parts.hostname, _DEFAULT_PORTS.get(scheme) if port is None else port)


def is_own_host(request: HTTPServerRequest, origin: str) -> bool:
    """Return whether an origin is the host that the request was sent to.

    The scheme may differ, because TLS often ends at a proxy. A port that is left out is the default
    of the origin's scheme.

    Args:
        request: with the header ``Host``.
        origin: as the browser sends it, such as ``https://example.org``.
    """
    sent = parse_origin(origin)
    if sent is None:
        return False
    own = parse_origin(f"{sent.scheme}://{request.headers.get('Host', '')}")
    return own == sent


def comes_from_foreign_page(
    request: HTTPServerRequest, check_origin: Callable[[str], bool]
) -> bool:
    """Return whether a page of another site made a request, and its origin may not.

    The browser's own judgement counts before the origin: behind a proxy that rewrites ``Host`` the
    two differ. A request without ``Sec-Fetch-Site`` and ``Origin`` was not made by a browser.

    Args:
        request: any request.
        check_origin: returns whether pages of an origin may; asked only where the browser has not
            said that the page is of this site, or that the user has typed the address.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site in _OWN or (site is None and origin is None):
        return False
    return origin is None or not check_origin(origin)


def refuse_foreign_page(request: HTTPServerRequest, check_origin: Callable[[str], bool]) -> None:
    """Refuse a request that a page of another site made; see :func:`comes_from_foreign_page`.

    Raises:
        HTTPError: 403.
    """
    if comes_from_foreign_page(request, check_origin):
        raise HTTPError(403, reason="Foreign origin")
