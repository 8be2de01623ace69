"""Datastar on request handlers: a verb method reads signals and returns effects, or HTML.

What becomes of what a verb method returns, for a request that Datastar makes:

- *effects* go to a stream. A verb of ``stream_verbs`` (GET) always opens one of its own: a tab that
  is opened, reloaded or shown again must get one, also where another stream has the same key.
  Another verb uses the open stream of its ``connection_key`` and is answered 204; where there is
  none it opens one too. A stream that was opened is stored, and stays open, unless
  ``with_open_sse`` says that it ends with these effects.
- *HTML*, a string or an object with ``__html__``, is the answer itself; Datastar patches it in by
  its ids.
- *None*: the method has answered by itself, or there is nothing to answer, which is 204.

For an ordinary request effects are not run, and it is answered 406; HTML is answered as HTML.

Closing is always explicit. To Datastar a clean end means "do not come back" and a cut "come back":
``close_sse()`` says the first, ``close_sse(reconnect=True)`` the second. Datastar also makes a POST
again whose stream was cut. So what a POST opens should be short, or allow to be repeated.

Other clients may read the same stream. To ``EventSource`` Datastar's events are events by their
names. What htmx's extension is to swap in, ``sse-swap="news"``, goes out as
``send(html, event="news")``. Datastar ignores that, as it does every event whose name does not
begin with ``datastar``.

Laws:

- **An error never reaches the page.** Tornado answers what a verb method raises, in its general
  words, and logs it. What an effect raises is logged, and the stream goes on.
- **A page of another site runs no method** that could change something, and none that opens a
  stream: the request is refused before.
"""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias

from tornado.web import HTTPError, RequestHandler

from ..dispatch import effect
from ..effects.streams import target_of
from ..errors import EffectShapeError
from ..streams.connection import Connection
from ..web.handlers import SSEMixin
from ..web.opening import set_stream_headers
from ..web.origin import refuse_foreign_page
from ..web.sockets import has_left, stream_of
from .signals import MAX_SIGNALS_DEPTH, MAX_SIGNALS_SIZE, check_signals, parse_json, sent_text
from .text import html_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tornado.web import Application

    from ..dispatch import Context
    from ..dispatch.effect import Effects
    from ..streams.fanout import Target
    from ..web.opening import Opening

__all__ = ("Answer", "DatastarHandler", "DatastarMixin", "HasHTML")

#: What can be the answer of a verb method: effects, HTML, or None.
Answer: TypeAlias = "Effects | str | HasHTML"

#: What the method ``get`` returns where no class has overridden it: a stream with what ``on_open``
#: returns.
_OPEN: Final = effect("open_stream")

#: Methods that change nothing (RFC 9110, 9.2.1), and that a link on another site may use.
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


class HasHTML(Protocol):
    """**Protocol:** an object that knows its own HTML, as those of templates and markupsafe do."""

    def __html__(self) -> str:
        """Return the HTML."""


class DatastarMixin(SSEMixin):
    """Makes verb methods functions from signals to effects; put it before a handler class.

    The hub needs the actions: ``Hub(registries=[Datastar()])``.
    """

    #: Whether a stream that is opened for returned effects ends with them, and is not stored; a
    #: verb method may set it.
    with_open_sse: bool = False

    #: Where returned effects go, in place of the open stream of the key or a new one; a verb method
    #: may set it.
    answer_on: Target | None = None

    #: Bytes that signals may have; more is answered 413.
    max_signals_size: ClassVar[int] = MAX_SIGNALS_SIZE

    #: How deep signals may be nested; more is answered 400.
    max_signals_depth: ClassVar[int] = MAX_SIGNALS_DEPTH

    if TYPE_CHECKING:
        # Methods of applications return answers, where those of Tornado return None: hence the
        # ignored errors, here and for ``get``.
        post: Callable[..., Answer | Awaitable[Answer]]  # type: ignore[assignment]
        put: Callable[..., Answer | Awaitable[Answer]]  # type: ignore[assignment]
        patch: Callable[..., Answer | Awaitable[Answer]]  # type: ignore[assignment]
        delete: Callable[..., Answer | Awaitable[Answer]]  # type: ignore[assignment]

    def __init__(self, application: Application, request: Any, **kwargs: Any) -> None:
        self._signals: dict[str, Any] | None = None
        self._returned: Effects = None
        super().__init__(application, request, **kwargs)

    @property
    def is_datastar(self) -> bool:
        """Whether Datastar made the request; a page of another site cannot say so without CORS."""
        return self.request.headers.get("Datastar-Request", "").lower() == "true"

    @property
    def wants_stream(self) -> bool:
        """Whether the client reads event streams, as Datastar, ``EventSource`` and htmx 4 do."""
        accepted = self.request.headers.get("Accept", "").lower().split(",")
        return self.is_datastar or any(
            kind.split(";")[0].strip() == "text/event-stream" for kind in accepted
        )

    @property
    def signals(self) -> dict[str, Any]:
        """The signals of the page; empty for an ordinary request and for a form.

        They are the client's word: check them, and take nothing from them that says who the user
        is.

        Raises:
            HTTPError: 400 when they are not a JSON object or are nested deeper than
                :attr:`max_signals_depth`, 413 when they have more than :attr:`max_signals_size`
                bytes.
        """
        if self._signals is None:
            text = sent_text(self.request, self.max_signals_size) if self.wants_stream else None
            self._signals = (
                {} if text is None else check_signals(self.read_json(text), self.max_signals_depth)
            )
        return self._signals

    def read_json(self, text: str) -> Any:
        """Return what the text of the signals says; for overriding.

        An exception is the request's error.

        Args:
            text: JSON, within the bounds.
        """
        return parse_json(text)

    def get(self, *args: Any, **kwargs: Any) -> Answer | Awaitable[Answer]:  # type: ignore[override]
        """Open a stream, for every client; :meth:`on_open` returns what it begins with."""
        return _OPEN

    def presence_meta(self) -> Mapping[str, Any]:
        """Return what presence records of the stream; for overriding.

        As of every stream, and that the tab is in view: Datastar has no stream open in a hidden
        tab.
        """
        meta = super().presence_meta()
        return {**meta, "hidden": False} if self.is_datastar else meta

    async def head(self, *args: Any, **kwargs: Any) -> None:
        """Answer with the headers of the stream alone.

        Raises:
            HTTPError: 405 where ``get`` is overridden, so that it may be a page, and the client
                does not read event streams.
        """
        if type(self).get is not DatastarMixin.get and not self.wants_stream:
            raise HTTPError(405)
        set_stream_headers(self, keep=True)

    def intercepts(self, verb: str) -> bool:
        """Return whether a verb's method runs inside the chain; all do, before the stream opens."""
        return True

    async def _run_chain(self, verb: str, *args: Any, **kwargs: Any) -> None:
        if self.wants_stream or self.request.method not in _SAFE:
            # Whatever the request says of itself: a form, or a script that may not read the answer,
            # can make a browser send it with the user's cookies. A link may lead to a page, so GET
            # is refused only where it would open a stream.
            refuse_foreign_page(self.request, self.check_origin)
        await super()._run_chain(verb, *args, **kwargs)
        if self._returned is not None:
            await self._open(self._take_returned(), ends=self.with_open_sse)

    def _take_returned(self) -> Effects:
        # Nothing keeps them: they would be there as long as the stream.
        returned, self._returned = self._returned, None
        return returned

    def _request_data(self) -> Mapping[str, Any]:
        return {"signals": self.signals}

    def _use(self, ctx: Context, value: Any) -> Any:
        return self._use_later(ctx, value) if isawaitable(value) else self._answer(ctx, value)

    async def _use_later(self, ctx: Context, waiting: Awaitable[Any]) -> None:
        answered = self._answer(ctx, await waiting)
        if answered is not None:
            await answered

    def _answer(self, ctx: Context, value: Any) -> Any:
        """Answer with what the verb method returned; return the dispatch for an open stream."""
        if value is None or self._finished:
            self._answer_nothing()
        elif value is _OPEN:
            self._returned = []
        elif isinstance(value, (list, tuple)):
            return self._answer_effects(ctx, value)
        elif isinstance(value, str) or hasattr(type(value), "__html__"):
            self.write(html_text(value, "the answer"))
        else:
            raise EffectShapeError("a verb method returns effects, HTML or nothing", value)
        return None

    def _answer_effects(self, ctx: Context, effects: Any) -> Any:
        if not self.wants_stream:
            raise HTTPError(406, reason="This address answers Datastar")
        opens = self.request.method in self.stream_verbs
        to = self.answer_on
        if to is None and not opens:
            to = target_of(ctx)
        if to is not None and not to.closed:
            self._answer_nothing()
        elif not opens and has_left(stream_of(self.request)):
            # What the effects send to others is sent all the same.
            to = Connection(remote=self.request.remote_ip or "")
            to.end("client")
        else:
            self._returned = effects
            return None
        return ctx.dispatch(effects, system={"sse": to})

    def _answer_nothing(self) -> None:
        untouched = (
            self.get_status() == 200 and not self._write_buffer and not self._headers_written
        )
        if self.wants_stream and untouched and self.request.method != "HEAD":
            self.set_status(204)

    def _send_away(self, opening: Opening) -> None:
        if self.request.method not in self.stream_verbs:
            # Cut, Datastar would make the request again, and the method has run already.
            raise HTTPError(503, reason="No more streams")
        super()._send_away(opening)


class DatastarHandler(DatastarMixin, RequestHandler):
    """A request handler whose verb methods return effects; see :class:`DatastarMixin`."""
