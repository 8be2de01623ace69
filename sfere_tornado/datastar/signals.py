"""The signals that a Datastar page sends with a request: bounded, then read.

GET and DELETE have them in the query, as ``datastar``; the other verbs have them as the body, in
JSON. A form has none: its fields are Tornado's arguments.

Law: **nothing that a client sends is parsed without bounds**, and an error says why it was refused.
"""

from __future__ import annotations

import json
import re
from math import isinf
from typing import TYPE_CHECKING, Any, Final

from tornado.web import HTTPError

from .text import refuse_constant

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

__all__ = ("MAX_SIGNALS_DEPTH", "MAX_SIGNALS_SIZE", "check_signals", "parse_json", "sent_text")

#: Bytes of a page's signals, 1 MiB. A page sends all of them with each request, so a thousandth of
#: that is usual.
MAX_SIGNALS_SIZE: Final = 1024 * 1024

#: Dicts and lists within each other, 32. No page has a state that is deeper, and deep data would
#: break recursive code of the application.
MAX_SIGNALS_DEPTH: Final = 32

#: Verbs without a body, in Datastar's view.
_IN_QUERY: Final = ("GET", "DELETE")

_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")

#: Half of a surrogate pair as JSON escapes it, or a whole pair.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def sent_text(request: HTTPServerRequest, max_size: int = MAX_SIGNALS_SIZE) -> str | None:
    """Return the JSON text of a request's signals, or None when it has none.

    Args:
        request: any request.
        max_size: bytes that they may have.

    Raises:
        HTTPError: 413 when they have more, 400 when they are not UTF-8.
    """
    if request.method in _IN_QUERY:
        # Not through the handler: it strips and replaces control characters.
        body = request.query_arguments.get("datastar", [b""])[-1]
    elif request.headers.get("Content-Type", "").split(";")[0].strip().lower() in _FORMS:
        return None
    else:
        body = request.body
    if len(body) > max_size:
        raise HTTPError(413, reason=f"The signals have more than {max_size} bytes")
    try:
        return body.decode().strip() or None
    except UnicodeDecodeError as error:
        raise HTTPError(400, reason="The signals are not UTF-8") from error


def parse_json(text: str) -> Any:
    """Return what a JSON text says (RFC 8259).

    NaN and infinity, which Python would read, or make of a number that is too large, are refused.

    Raises:
        HTTPError: 400 when it is not valid JSON, is nested deeper than Python can read, or has half
            of a surrogate pair, which could never be sent back.
    """
    try:
        value = json.loads(text, parse_constant=refuse_constant, parse_float=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise HTTPError(400, reason="The signals are no JSON") from error
    return value


def check_signals(signals: Any, max_depth: int = MAX_SIGNALS_DEPTH) -> dict[str, Any]:
    """Return signals that have been read, when they are a dict that is not too deep.

    Raises:
        HTTPError: 400 when they are not.
    """
    if not isinstance(signals, dict):
        raise HTTPError(400, reason="The signals are no JSON object")
    level: list[Any] = [signals]
    for _ in range(max_depth):
        inner = [
            value
            for one in level
            for value in (one.values() if isinstance(one, dict) else one)
            if isinstance(value, (dict, list))
        ]
        if not inner:
            return signals
        level = inner
    raise HTTPError(400, reason=f"The signals are nested more than {max_depth} deep")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text} is larger than any number of Python")
    return number
