"""The dispatcher: effects in, results and errors out; :mod:`.run` has the steps of one dispatch.

Laws:

- **A dispatch runs in the caller's turn**, as far as everything in it is synchronous: two
  dispatches in a row happen in that order.
- **The caller's dicts are never changed.**

Not thread-safe: a dispatcher is used from one thread at a time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..errors import RegistryError
from .describe import describe, grep, sample, schemas
from .dispatched import follow, start_task
from .interceptors import STAGES, Chain
from .registry import as_registry, merge
from .run import Handlers, Run

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection, Iterable, Mapping

    from .context import Kind
    from .describe import Description, Parameter
    from .dispatched import Dispatched, DispatchError, Spawn
    from .effect import Effects
    from .interceptors import Interceptor
    from .registry import Registry

__all__ = ("Dispatcher", "log_error")

log: logging.Logger = logging.getLogger("sfere_tornado.dispatch")


def log_error(error: DispatchError) -> None:
    """Log one error of a dispatch, with its traceback."""
    item = error.item
    # Only the name: arguments may be long, or secret.
    name = (
        repr(item[0])
        if isinstance(item, (tuple, list)) and item and isinstance(item[0], str)
        else "the dispatch"
    )
    stage = "" if error.interceptor_id is None else f" of interceptor {error.interceptor_id!r}"
    log.error("%s%s failed for %s", error.phase, stage, name, exc_info=error.exception)


class Dispatcher:
    """Runs effects through the chain of interceptors.

    Args:
        registries: each a registry, a mapping, a function that returns one, or ``[function,
            *arguments]``; merged left to right. What is added to one later is not seen.
        interceptors: outside of those of the registries.
        spawn: starts a coroutine for the rest of a dispatch in which something must be awaited,
            keeps it until it is done, and returns its task; raises RuntimeError where no event loop
            runs.
        report: told of each error, once.
        awaiting: the kinds of dispatch whose stages may await; None for all. Around the others,
            stages that are coroutine functions do not run, and a plain stage whose result must be
            awaited is a :class:`.StageAwaitError`.

    Raises:
        RegistryError: when a registry or interceptor has the wrong shape, or one of them has a
            coroutine function as a stage and stages may not always await.
    """

    def __init__(
        self,
        registries: Iterable[Any] = (),
        *,
        interceptors: Iterable[Interceptor] = (),
        spawn: Spawn = start_task,
        report: Callable[[DispatchError], object] = log_error,
        awaiting: Collection[Kind] | None = None,
    ) -> None:
        #: What all registries hold together.
        self.registry: Registry = merge(as_registry(spec) for spec in registries)
        self.handlers: Handlers = Handlers(
            {name: entry.handler for name, entry in self.registry.effects.items()},
            {name: entry.handler for name, entry in self.registry.actions.items()},
            {name: entry.handler for name, entry in self.registry.placeholders.items()},
            self.registry.to_state,
            spawn,
            report,
            awaiting,
            self.registry.senders,
        )
        self._outer = (*interceptors, *self.registry.interceptors)
        self._chain = self.chain()
        if awaiting is not None:
            _refuse_async(self._chain)

    def __repr__(self) -> str:
        handlers = self.handlers
        return (
            f"<Dispatcher {len(handlers.effects)} effects, {len(handlers.actions)} actions, "
            f"{self._chain!r}>"
        )

    def chain(self, *more: Interceptor) -> Chain:
        """Return a chain for :meth:`dispatch`: the dispatcher's interceptors, more, the innermost.

        It is checked and made ready here, so keep it where it is used again.

        Args:
            more: the interceptors of a class, of a route; outermost first.

        Raises:
            RegistryError: when one of them has the wrong shape.
        """
        if more and self.handlers.awaiting is not None:
            # Around one action or effect a stage that waited would be passed over in continuations,
            # and what it guards would run.
            _refuse_async(
                Chain(more), ("before_action", "after_action", "before_effect", "after_effect")
            )
        return Chain((*self._outer, *more), self.registry.innermosts)

    def dispatch(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
        report: Callable[[DispatchError], object] | None = None,
        kind: Kind = "application",
        subject: Any = None,
    ) -> Dispatched:
        """Dispatch in the caller's turn up to the first await, and from there as a task.

        Args:
            effects: one effect, that is a tuple whose first element is its name; several in a list
                or tuple; or None.
            system: what effects need.
            dispatch_data: what placeholders and handlers may read.
            chain: the interceptors, from :meth:`chain`, when not only the dispatcher's.
            report: told of each error, in place of the dispatcher's.
            kind: what the dispatch is, for :attr:`.Context.kind`.
            subject: what it is about, for :attr:`.Context.subject`.

        Returns:
            Results and errors, finished or under way; awaiting it waits for the end. Where no event
            loop runs it is always finished: what would have to be awaited is a
            :class:`NoEventLoopError` among the errors.
        """
        return Run(
            self.handlers,
            chain or self._chain,
            report or self.handlers.report,
            kind,
            subject,
            dict(system) if system else {},
            dict(dispatch_data) if dispatch_data else {},
        ).start(effects)

    async def run(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
        report: Callable[[DispatchError], object] | None = None,
        kind: Kind = "application",
        subject: Any = None,
    ) -> Dispatched:
        """Dispatch in the caller's coroutine, with its cancellation and context variables.

        Arguments as for :meth:`dispatch`. Continuations that must be awaited are tasks of their own
        all the same.

        Returns:
            Results and errors; the dispatch is finished.
        """
        run = Run(
            self.handlers,
            chain or self._chain,
            report or self.handlers.report,
            kind,
            subject,
            dict(system) if system else {},
            dict(dispatch_data) if dispatch_data else {},
        )
        steps = run.steps(effects)
        await follow(steps, next(steps, None))
        return run.dispatched

    @property
    def system_schema(self) -> dict[str, Any] | None:
        """What the system must hold, by key, as the registries declare it; None when none does."""
        return self.registry.schema

    def describe(self, what: str | None = None) -> list[Description] | Description | None:
        """Describe what is registered; see :func:`sfere_tornado.dispatch.describe.describe`."""
        return describe(self.registry, what)

    def grep(self, text: str | re.Pattern[str]) -> list[Description]:
        """Search what is registered; see :func:`sfere_tornado.dispatch.describe.grep`."""
        return grep(self.registry, text)

    def schemas(self) -> dict[str, tuple[Parameter, ...]]:
        """Return the parameters of handlers; see :func:`sfere_tornado.dispatch.describe.schemas`."""
        return schemas(self.registry)

    def sample(self, name: str, n: int | None = None) -> Any:
        """Make up effects that fit; see :func:`sfere_tornado.dispatch.describe.sample`."""
        return sample(self.registry, name, n)


def _refuse_async(chain: Chain, names: Iterable[str] = STAGES) -> None:
    for name in names:
        for stage in getattr(chain, name):
            if stage.is_async:
                raise RegistryError(
                    f"interceptor {stage.interceptor_id!r}: {name} is a coroutine function. The order "
                    "of what is sent would depend on how long it waits. Make it a plain function, "
                    "await in an effect, or use before_dispatch or after_dispatch in the interceptors "
                    "of a handler class or route, which run around requests and openings"
                )
