"""A client's request, or its event stream, as the library's own stages and effects see it.

The folder ``web`` makes a :class:`Visit` for each request and gives it to the dispatch as its
subject. No stage can replace it, so nothing that an interceptor changes decides what is stored or
purged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..dispatch import Chain, Context
    from ..history import Mark
    from ..keys import Key
    from ..streams.connection import Connection

__all__ = ("VISIT", "Visit", "visit_of")

#: Where a dispatch without a subject keeps its visit: the key in the dispatch data.
VISIT = "visit"


class Visit:
    """One request, or one event stream from its request to its end.

    Args:
        connection: the stream that the request opens; None for a request that opens none.
        key: returns ``(category, id)``, or None for a client without a key.
        meta: what presence is to know of the stream, or a function that returns it.
        answer: runs the verb method, or opens the stream.
        system: of the request: ``request`` and ``handler``.
        chain: the interceptors around the handler.
        on_close: the handler's listener for the end of the stream.
    """

    __slots__ = (
        "admitted",
        "answer",
        "chain",
        "connection",
        "key",
        "key_of",
        "mark",
        "meta_of",
        "on_close",
        "opened",
        "opener",
        "system",
    )

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        key: Callable[[], Any] | None = None,
        meta: Callable[[], Mapping[str, Any]] | Mapping[str, Any] | None = None,
        answer: Callable[[Context], Any] | None = None,
        system: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
        on_close: Callable[[Connection], object] | None = None,
    ) -> None:
        self.connection: Connection | None = connection
        self.key_of: Callable[[], Any] | None = key
        self.meta_of: Callable[[], Mapping[str, Any]] | Mapping[str, Any] | None = meta
        self.answer: Callable[[Context], Any] | None = answer
        self.system: Mapping[str, Any] = system or {}
        self.chain: Chain | None = chain
        self.on_close: Callable[[Connection], object] | None = on_close
        #: The whole key, once the sfere interceptor has asked for it.
        self.key: Key | None = None
        #: Where the history stood when the stream was stored: what came before is replayed.
        self.mark: Mark | None = None
        #: Whether the stream counts against the limits.
        self.admitted: bool = False
        #: Whether the response has begun.
        self.opened: bool = False
        #: The task that opens the stream.
        self.opener: Any = None

    def let_request_go(self, *, keep: bool) -> None:
        """Forget what only the opening needed.

        Args:
            keep: whether stages of the closing still get ``request`` and ``handler``.
        """
        self.key_of = self.meta_of = self.answer = self.mark = self.opener = None
        if not keep:
            self.system, self.on_close = {}, None

    def __repr__(self) -> str:
        return f"<Visit key={self.key} connection={self.connection!r}>"


def visit_of(ctx: Context) -> Visit | None:
    """Return the visit of a dispatch, also in continuations; None if there is none."""
    subject = ctx.subject
    return subject if isinstance(subject, Visit) else ctx.dispatch_data.get(VISIT)
