"""The dispatcher: effects in, results and errors out.

The steps of one dispatch, in the order in which they happen:

1. ``system_to_state`` makes the state of the system, if there is one.
2. ``before_dispatch`` stages, in the order of the chain.
3. Placeholders are filled in, in everything that was dispatched.
4. Actions become effects, recursively; what each one produces is filled in again.
5. Effects run, in order.
6. ``after_dispatch`` stages, in the reverse order.

Laws:

- **What goes wrong is collected and reported once, and does not stop the rest**; step 6 always happens. Only what is
  more than an exception (cancellation, exit) passes through.
- **A dispatch runs at once, in the caller's turn**, as far as everything in it is synchronous: two dispatches in a row
  happen in that order.
- **The caller's dicts are never changed.**

Not thread-safe: a dispatcher is used from one thread at a time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .actions import expand_actions
from .context import Context, DispatchError
from .describe import describe, grep, sample, schemas
from .dispatched import Dispatched, follow, is_awaitable, start, start_task
from .effects import as_items, run_effects
from .interceptors import Chain, run_stages
from .placeholders import fill_items
from .registry import as_registry, merge

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping

    from .context import Effects
    from .describe import Description, Parameter
    from .dispatched import Spawn, Steps
    from .interceptors import Interceptor

__all__ = ("Dispatcher", "log_error")

log = logging.getLogger("sfere_tornado.dispatch")


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
        registries: each a registry, a mapping, a function that returns one, or ``[function, *arguments]``; merged left
            to right. What is added to one later is not seen.
        interceptors: outside of those of the registries.
        spawn: starts a coroutine for the rest of a dispatch in which something must be awaited, keeps it until it is
            done, and returns its task; raises RuntimeError where no event loop runs.
        report: told of each error, once.

    Raises:
        RegistryError: when a registry or interceptor has the wrong shape.
    """

    def __init__(
        self,
        registries: Iterable[Any] = (),
        *,
        interceptors: Iterable[Interceptor] = (),
        spawn: Spawn = start_task,
        report: Callable[[DispatchError], object] = log_error,
    ) -> None:
        #: What all registries hold together.
        self.registry = merge(as_registry(spec) for spec in registries)
        self._effects = {name: entry.handler for name, entry in self.registry.effects.items()}
        self._actions = {name: entry.handler for name, entry in self.registry.actions.items()}
        self._placeholders = {
            name: entry.handler for name, entry in self.registry.placeholders.items()
        }
        self._to_state = self.registry.to_state
        self._outer = (*interceptors, *self.registry.interceptors)
        self._spawn = spawn
        self._report = report
        self._chain = self.chain()

    def __repr__(self) -> str:
        return f"<Dispatcher {len(self._effects)} effects, {len(self._actions)} actions, {self._chain!r}>"

    def chain(self, *more: Interceptor) -> Chain:
        """Return a chain for :meth:`dispatch`: the dispatcher's interceptors, then more, then the innermost ones.

        It is checked and made ready here, so keep it where it is used again.

        Args:
            more: the interceptors of a class, of a route; outermost first.

        Raises:
            RegistryError: when one of them has the wrong shape.
        """
        return Chain((*self._outer, *more, *self.registry.innermosts))

    def dispatch(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
        report: Callable[[DispatchError], object] | None = None,
    ) -> Dispatched:
        """Dispatch at once, as far as everything is synchronous; from the first thing to be awaited on, as a task.

        Args:
            effects: one effect, that is a tuple whose first element is its name; several in a list or tuple; or None.
            system: what effects need.
            dispatch_data: what placeholders and handlers may read.
            chain: the interceptors, from :meth:`chain`, when not only the dispatcher's.
            report: told of each error, in place of the dispatcher's.

        Returns:
            Results and errors, finished or under way; awaiting it waits for the end. Where no event loop runs it is
            always finished: what would have to be awaited is a :class:`NoEventLoopError` among the errors.
        """
        dispatched, steps = self._begin(effects, system, dispatch_data, chain, report)
        dispatched.task = start(steps, self._spawn)
        return dispatched

    async def run(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        dispatch_data: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
        report: Callable[[DispatchError], object] | None = None,
    ) -> Dispatched:
        """Dispatch inside of the caller's coroutine, so that cancellation and context variables are the caller's.

        Arguments as for :meth:`dispatch`. Continuations that must be awaited are tasks of their own all the same.

        Returns:
            Results and errors; the dispatch is finished.
        """
        dispatched, steps = self._begin(effects, system, dispatch_data, chain, report)
        await follow(steps, next(steps, None))
        return dispatched

    @property
    def system_schema(self) -> dict[str, Any] | None:
        """What the system must hold, by key, as the registries declare it; None when none does."""
        return self.registry.schema

    def describe(self, what: str | None = None) -> list[Description] | Description | None:
        """Describe what is registered; see :func:`sfere_tornado.dispatch.describe.describe`."""
        return describe(self, what)

    def grep(self, text: str | re.Pattern[str]) -> list[Description]:
        """Search what is registered; see :func:`sfere_tornado.dispatch.describe.grep`."""
        return grep(self, text)

    def schemas(self) -> dict[str, tuple[Parameter, ...]]:
        """Return the parameters of what is registered; see :func:`sfere_tornado.dispatch.describe.schemas`."""
        return schemas(self)

    def sample(self, name: str, n: int | None = None) -> Any:
        """Make up effects that fit; see :func:`sfere_tornado.dispatch.describe.sample`."""
        return sample(self, name, n)

    def _begin(
        self,
        effects: Effects,
        system: Mapping[str, Any] | None,
        dispatch_data: Mapping[str, Any] | None,
        chain: Chain | None,
        report: Callable[[DispatchError], object] | None,
    ) -> tuple[Dispatched, Steps]:
        ctx = Context(system, dispatch_data, self, chain or self._chain, report or self._report)
        dispatched = Dispatched(ctx.results, ctx.errors)
        return dispatched, self._steps(ctx, effects, chain or self._chain, dispatched)

    def _steps(self, ctx: Context, effects: Effects, chain: Chain, dispatched: Dispatched) -> Steps:
        self._take(ctx, effects)
        if self._to_state is not None:
            yield from self._find_state(ctx, self._to_state)
        if chain.before_dispatch:
            yield from run_stages(ctx, "before_dispatch", chain.before_dispatch)
            if type(ctx.actions) is not list:
                # A stage may have put anything there.
                self._take(ctx, ctx.actions)
        if not ctx.halted:
            if self._placeholders:
                ctx.actions = yield from fill_items(ctx, ctx.actions, self._placeholders)
            yield from expand_actions(ctx, self._effects, self._actions, self._placeholders, chain)
            yield from run_effects(ctx, self._effects, chain)
        if chain.after_dispatch:
            yield from run_stages(ctx, "after_dispatch", chain.after_dispatch)
        # Stages may have put others in their place.
        dispatched.results, dispatched.errors = ctx.results, ctx.errors

    def _take(self, ctx: Context, effects: Any) -> None:
        try:
            ctx.actions = as_items(effects)
        except Exception as error:
            ctx.actions = []
            ctx.record_error("action", effects, error)

    def _find_state(self, ctx: Context, to_state: Callable[[dict[str, Any]], Any]) -> Steps:
        try:
            state = to_state(ctx.system)
            if state is not None and is_awaitable(state):
                state = yield state
            ctx.state = state
        except Exception as error:
            ctx.record_error("state", None, error)
