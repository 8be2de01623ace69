"""A request as a dispatch: interceptors around a handler's verb method.

Before the verb method run the ``before_dispatch`` stages of the hub, of the class, of the route;
then the method, as the effect ``("request",)``; then the ``after_dispatch`` stages in reverse. The
sfere interceptor is the innermost.

How it hooks in. The constructor puts a function under the request's verb on the *instance*;
Tornado's own look-up of the verb finds it after ``prepare``, XSRF check and authentication set-up.
The first thing it does is to take itself out again. Class attributes stay as they are, so
decorators such as ``@authenticated`` work and stay visible to hosts that audit them; and no
Application has to be subclassed.

What becomes of errors. The first error of a ``before`` stage or of the verb method reaches Tornado,
as without a chain: ``HTTPError`` and ``Finish`` mean what they always mean, and a request that a
stage refused is never run. An ``after_dispatch`` stage may raise ``HTTPError`` or ``Finish`` too;
any other error there is logged, and the response that the method has made stands.
"""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from tornado.web import Finish, HTTPError

from ..dispatch import effect, log_error
from ..effects.streams import target_of
from ..effects.visit import Visit
from ..errors import HubError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tornado.web import Application
    from tornado.web import RequestHandler as _Base

    from ..dispatch import Chain, Context, Dispatched, DispatchError, Effect, Kind
    from ..hub import Hub
    from ..hub.serving import Serving
    from ..streams.fanout import Target
else:
    # A host's handlers have a base class of their own; the mixin goes before it.
    _Base = object

__all__ = ("InterceptorMixin",)

#: Runs the verb method, in the middle of the chain.
_REQUEST: Final = effect("request")


class InterceptorMixin(_Base):
    """Makes each request of a handler a dispatch.

    Put it before the handler class: ``class Message(InterceptorMixin, RequestHandler)``.

    A route adds interceptors with ``(pattern, Message, {"interceptors": [...]})``.
    """

    #: The class's interceptors: inside of the hub's, outside of the route's.
    interceptors: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def __init__(self, application: Application, request: Any, **kwargs: Any) -> None:
        # Everything that a closing connection may touch is here before anything else runs.
        self._context: Context | None = None
        self._route_interceptors: Sequence[Mapping[str, Any]] = kwargs.pop("interceptors", ())
        super().__init__(application, request, **kwargs)
        verb = (request.method or "").lower()
        if request.method in self.SUPPORTED_METHODS and self.intercepts(request.method):
            method = getattr(self, verb)
            self.__dict__[verb] = update_wrapper(partial(self._run_chain, verb), method)

    @property
    def hub(self) -> Hub:
        """The hub of the application.

        Raises:
            HubError: when it has none.
        """
        hub = self.application.settings.get("sfere")
        if hub is None:
            raise HubError(
                "the application has no hub; make it with Application(..., sfere=hub), or call "
                "hub.install(app)"
            )
        return cast("Hub", hub)

    @property
    def chain(self) -> Chain:
        """The interceptors around this handler: the hub's, then the class's, then the route's."""
        return self.hub.serving.chain((*self.interceptors, *self._route_interceptors))

    def _chain_of(self, serving: Serving) -> Chain | None:
        """Return the chain around this handler; None where it is the hub's own."""
        more = (*self.interceptors, *self._route_interceptors)
        return serving.chain(more) if more else None

    def intercepts(self, verb: str) -> bool:
        """Return whether requests of this verb, in capitals, run inside the chain; all do."""
        return True

    def connection_key(self) -> tuple[Any, Any] | None:
        """Return the ``(category, id)`` of the client's event stream, or None; for overriding.

        A request that has one reaches the open stream of that key as ``system["sse"]``, so that
        :meth:`dispatch` of ``send(...)`` goes there. It is also a sign of life, which renews the
        stream's lease. Compute it from what the server knows, such as ``self.current_user``.
        """
        return None

    @property
    def connection(self) -> Target | None:
        """The open stream, or streams, of :meth:`connection_key` during the request; or None."""
        target = None if self._context is None else target_of(self._context)
        # A fan-out without receivers keeps what is sent for a client that comes back; it is not an
        # open stream.
        return target or None

    def dispatch(
        self,
        effects: Any,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
    ) -> Dispatched:
        """Dispatch one effect or several, as part of the request where it is being run.

        Args:
            effects: an effect or a list of them.
            system: merged over the request's.
            dispatch_data: merged over the request's.
        """
        if self._context is not None:
            return self._context.dispatch(effects, system=system, data=dispatch_data)
        merged = {"request": self.request, "handler": self, **(system or {})}
        return self.hub.dispatch(
            effects, system=merged, dispatch_data=dispatch_data, chain=self.chain
        )

    async def _run_chain(self, verb: str, *args: Any, **kwargs: Any) -> None:
        del self.__dict__[verb]
        method = getattr(self, verb)

        def answer(ctx: Context) -> Any:
            if ctx.errors or self._finished:
                return None
            self._context = ctx
            return self._use(ctx, method(*args, **kwargs))

        serving = self.hub.serving
        visit = Visit(
            key=self.connection_key,
            answer=answer,
            system={"request": self.request, "handler": self},
            chain=self._chain_of(serving),
        )
        try:
            await self._dispatch_request(serving, _REQUEST, "request", visit)
        finally:
            self._context = None

    def _use(self, ctx: Context, value: Any) -> Any:
        """Return what the effect ``request`` makes of a verb method's result; may be awaitable."""
        return value

    def _request_data(self) -> Mapping[str, Any]:
        """Return what a subclass adds to the system and to the dispatch data of its requests."""
        return {}

    async def _dispatch_request(
        self, serving: Serving, item: Effect, kind: Kind, visit: Visit
    ) -> None:
        """Run one effect of the request in the chain; then raise the error for Tornado."""
        concerning: list[BaseException] = []

        def report(error: DispatchError) -> None:
            # Tornado logs what it is given; everything else is logged here, so that each error is
            # logged once.
            if not concerning and self._concerns_tornado(error):
                concerning.append(error.exception)
            else:
                log_error(error)

        data = self._request_data()
        await serving.run(item, kind, visit, data=data, report=report)
        if concerning:
            error = concerning[0]
            if isinstance(error, Exception):
                raise error
            # A plain stage or method raised what would end this task, or the process, unanswered.
            raise HTTPError(500, "%r was raised by a stage or a method", error) from error

    def _concerns_tornado(self, error: DispatchError) -> bool:
        """Return whether Tornado answers an error of the request; the others are only logged."""
        return not error.phase.startswith("after_") or isinstance(
            error.exception, (HTTPError, Finish)
        )
