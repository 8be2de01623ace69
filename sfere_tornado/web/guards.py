"""Interceptors that guard requests: where a request comes from, and how long its method may take.

They act in the dispatches of kind ``request`` and ``opening``, and in nothing that is dispatched
inside them. The kind is given by the code that starts a dispatch: no stage before a guard can
change it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tornado.web import HTTPError

from ..dispatch.dispatched import is_awaitable
from ..errors import RegistryError
from .origin import comes_from_foreign_page, is_own_host, parse_origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..dispatch import Context, Interceptor

__all__ = ("require_origin", "timeout")

#: The dispatches that a client has asked for.
_ASKED: Final = ("request", "opening")


def require_origin(*allowed: str) -> Interceptor:
    """Return an interceptor that refuses requests which a page of another site made, with 403.

    A browser sends cookies with such a request, so another site's page could open a stream, or
    post, in the user's name. Tornado's own check of a token exempts GET, and so every stream. A
    request that no browser sent passes: it has no user's cookies.

    Not for pages that other sites may link to: following a link is such a request too.

    Args:
        allowed: origins of other sites whose pages may, as ``https://app.example.org``.

    Raises:
        RegistryError: when one of them is not a valid origin.
    """
    for text in allowed:
        if parse_origin(text) is None:
            raise RegistryError(
                f"{text!r} is not a valid origin; write it as https://app.example.org, with "
                "nothing behind it"
            )
    origins = frozenset(map(parse_origin, allowed))

    def check(ctx: Context) -> None:
        if ctx.kind not in _ASKED:
            return
        request = ctx.system["request"]

        def may(origin: str) -> bool:
            # A page of plain HTTP on this host passes is_own_host. The guard is stricter: it takes
            # the browser's word, where there is one.
            return parse_origin(origin) in origins or (
                "Sec-Fetch-Site" not in request.headers and is_own_host(request, origin)
            )

        if comes_from_foreign_page(request, may):
            raise HTTPError(403, reason="This request comes from a page of another site")

    return {"id": "require_origin", "before_dispatch": check}


def timeout(seconds: float) -> Interceptor:
    """Return an interceptor that cancels a request's method after a time, and answers 503.

    A method that never awaits cannot be cancelled. A stream may stay open for ever; only the method
    that returns what is to be sent on it is bounded.

    Args:
        seconds: more than 0.

    Raises:
        RegistryError: when it is not more than 0.
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
        # A TimeoutError that the method itself raised is its error.
        if not bound.expired():
            raise
        raise HTTPError(503, "the method took longer than %s s", seconds) from error
