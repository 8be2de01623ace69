"""What the handlers of requests need of a hub, and applications do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .chains import Chains

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from ..config import HubConfig
    from ..dispatch import Chain, Dispatched, Dispatcher, DispatchError, Effect, Interceptor, Kind
    from ..effects.visit import Visit
    from ..history import History
    from .streams import Streams

__all__ = ("Serving",)


class Serving:
    """Runs the requests of clients, and opens their streams.

    Args:
        config: the settings.
        dispatcher: the hub's; its chain is around every request.
        streams: the open streams.
        history: past events; None without them.
        system: what effects need.
    """

    __slots__ = ("_chains", "_dispatcher", "config", "history", "streams", "system")

    def __init__(
        self,
        config: HubConfig,
        dispatcher: Dispatcher,
        streams: Streams,
        history: History | None,
        system: dict[str, Any],
    ) -> None:
        #: The settings.
        self.config: HubConfig = config
        self._dispatcher = dispatcher
        self._chains = Chains(dispatcher)
        #: The open streams.
        self.streams: Streams = streams
        #: Past events; None when the configuration keeps none.
        self.history: History | None = history
        #: What effects need; the system of each dispatch is merged over it.
        self.system: dict[str, Any] = system

    def __repr__(self) -> str:
        return f"<Serving: {len(self.streams)} streams, {len(self._chains)} chains>"

    def chain(self, interceptors: Sequence[Interceptor]) -> Chain:
        """Return the chain of the hub's interceptors and these, outermost first; cached."""
        return self._chains.get(interceptors)

    def run(
        self,
        effect: Effect,
        kind: Kind,
        visit: Visit,
        *,
        data: Mapping[str, Any],
        report: Callable[[DispatchError], object],
    ) -> Coroutine[Any, Any, Dispatched]:
        """Run the effect of a request, in the caller's coroutine.

        Args:
            effect: what the request asks for.
            kind: what the dispatch is.
            visit: the subject; its chain is around the effect.
            data: merged over the system of the visit; also the dispatch data.
            report: called with each error, once.
        """
        system = {**self.system, **visit.system, **data}
        if visit.connection is not None:
            system["sse"] = visit.connection
        return self._dispatcher.run(
            effect,
            system=system,
            dispatch_data=data,
            chain=visit.chain,
            report=report,
            kind=kind,
            subject=visit,
        )
