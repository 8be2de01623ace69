"""Interceptors that guard requests: where a request comes from, and how long its method may take.

They act in the dispatches of kind ``request`` and ``opening``, and in nothing that is dispatched inside
them. The kind is given by the code that starts a dispatch: no stage before a guard can change it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tornado.web import HTTPError

from ..dispatch.dispatched import is_awaitable
from ..errors import RegistryError
from .origin import is_own_host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tornado.httputil import HTTPServerRequest

    from ..dispatch import Context, Interceptor

__all__ = ("require_origin", "timeout")

#: The dispatches that a client has asked for.
_ASKED: Final = ("request", "opening")


def require_origin(*allowed: str) -> Interceptor:
    """Return an interceptor that refuses requests which a page of another site made, with 403.

    A browser sends cookies with them, so that a stranger's page could open a stream, or post, in the user's name.
    Tornado's own check of a token exempts GET, and so every stream. What no browser sent passes: it has no user's cookies.

    Not for pages that other sites may link to: following a link is such a request too.

    Args:
        allowed: origins of other sites that may, as ``https://app.example.org``.

    Raises:
        RegistryError: when one of them is no origin.
    """
    for origin in allowed:
        parts = urlsplit(origin)
        if not parts.scheme or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            raise RegistryError(
                f"{origin!r} is no origin; write it as https://app.example.org, with nothing behind it"
            )

    def check(ctx: Context) -> None:
        if ctx.kind in _ASKED and not _is_own(ctx.system["request"], allowed):
            raise HTTPError(403, reason="This request comes from a page of another site")

    return {"id": "require_origin", "before_dispatch": check}


def timeout(seconds: float) -> Interceptor:
    """Return an interceptor that bounds how long a request's method may be awaited; then it is cancelled, and answered 503.

    A method that never awaits cannot be cancelled. A stream may stay open for ever; only the method that returns what is
    to be sent on it is bounded.

    Args:
        seconds: more than 0.

    Raises:
        RegistryError: when they are not.
    """
    if not seconds > 0:
        raise RegistryError(f"timeout takes seconds, more than 0, not {seconds!r}")

    def bound(ctx: Context) -> None:
        visit = ctx.subject
        if ctx.kind == "request" and visit.answer is not None:
            visit.answer = partial(_within, seconds, visit.answer)

    return {"id": "timeout", "before_dispatch": bound}


def _within(seconds: float, answer: Callable[[Context], Any], ctx: Context) -> Any:
    value = answer(ctx)
    return _awaited_within(seconds, value) if value is not None and is_awaitable(value) else value


async def _awaited_within(seconds: float, waiting: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(seconds) as bound:
            return await waiting
    except TimeoutError as error:
        # One of the method's own is its own affair.
        if not bound.expired():
            raise
        raise HTTPError(503, "the method took longer than %s s", seconds) from error


def _is_own(request: HTTPServerRequest, allowed: tuple[str, ...]) -> bool:
    origin = request.headers.get("Origin")
    if origin in allowed:
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        # The browser's own judgement, which a page cannot change; "none" is what the user himself has typed.
        return site in ("same-origin", "none")
    return origin is None or is_own_host(request, origin)
