"""One dispatch, from its first step to its last.

The steps, in the order in which they happen:

1. ``system_to_state`` makes the state of the system, where there is one.
2. ``before_dispatch`` stages run, in the order of the chain.
3. Placeholders are filled in, in everything that was dispatched.
4. Actions become effects, recursively, depth first and in place; what each one produces is filled
   in again.
5. Effects run, in order, one after the other, also those that are awaited.
6. ``after_dispatch`` stages run, in the reverse order.

The steps are a generator that yields what must be awaited; :mod:`.dispatched` drives it.

Laws:

- **What goes wrong is collected and reported once, and does not stop the rest.** Step 6 always
  happens. Cancellation of the task that awaits, and an exit request, pass through.
- **Expansion ends.** Of an action :data:`MAX_EXPANSION_DEPTH` levels deep nothing is expanded: an
  action that expands into itself twice would never end otherwise.
- **What costs nothing is not done.** Most dispatches are one effect without stages around it, and
  the library dispatches one for each event that it sends: steps without work are not called.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ..errors import (
    EffectShapeError,
    ExpansionDepthError,
    StageAwaitError,
    StageResultError,
    UnknownEffectError,
    nearest,
)
from .context import Context
from .dispatched import ENDS, OWN_FAULT, Dispatched, DispatchError, Result, is_awaitable, spawn_rest
from .effect import Effect, as_effects
from .placeholders import fill_items

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping

    from .context import Kind, More
    from .dispatched import Phase, Spawn, Steps
    from .effect import Effects
    from .interceptors import Chain, Stage

__all__ = ("MAX_EXPANSION_DEPTH", "Handlers", "Run")

log: logging.Logger = logging.getLogger("sfere_tornado.dispatch")

#: Actions within actions, 100: far deeper than a design that people can follow. An action that
#: expands into itself ends here.
MAX_EXPANSION_DEPTH: Final = 100


#: Makes named tuples without their constructors, which are functions in Python.
_new: Final = tuple.__new__

#: What an effect is; anything else, such as a subclass of tuple, is looked at more closely.
_EFFECT_TYPES: Final = (Effect, tuple)


class Handlers:
    """What a dispatcher's registries hold, ready to be called.

    Args:
        effects: the effects by name; they win over actions of the same name.
        actions: the actions by name.
        placeholders: the placeholders by name.
        to_state: makes the state of the system, or None.
        spawn: starts a coroutine for the rest of a dispatch.
        report: told of each error, where a dispatch has no report of its own.
        awaiting: the kinds of dispatch whose stages may await; None for all.
        senders: effects that only send to the target; see :attr:`.Registry.senders`.
    """

    __slots__ = (
        "actions",
        "awaiting",
        "effects",
        "placeholders",
        "report",
        "senders",
        "spawn",
        "to_state",
    )

    def __init__(
        self,
        effects: Mapping[str, Callable[..., Any]],
        actions: Mapping[str, Callable[..., Any]],
        placeholders: Mapping[str, Callable[..., Any]],
        to_state: Callable[[dict[str, Any]], Any] | None,
        spawn: Spawn,
        report: Callable[[DispatchError], object],
        awaiting: Collection[Kind] | None = None,
        senders: Collection[str] = (),
    ) -> None:
        self.effects: Mapping[str, Callable[..., Any]] = effects
        self.actions: Mapping[str, Callable[..., Any]] = actions
        self.placeholders: Mapping[str, Callable[..., Any]] = placeholders
        self.to_state: Callable[[dict[str, Any]], Any] | None = to_state
        self.spawn: Spawn = spawn
        self.report: Callable[[DispatchError], object] = report
        self.awaiting: Collection[Kind] | None = awaiting
        # State and placeholders are made for each continuation, which an application may notice.
        # A tuple, in which a name that is not hashable may be looked for.
        self.senders: tuple[str, ...] = (
            () if placeholders or to_state is not None else tuple(senders)
        )

    def may_await(self, kind: Kind) -> bool:
        """Return whether the stages of a dispatch may await."""
        return self.awaiting is None or kind in self.awaiting


class Run:
    """One dispatch under way.

    Args:
        handlers: the dispatcher's.
        chain: the interceptors, for continuations too.
        report: told of each error, once.
        kind: what the dispatch is.
        subject: what it is about, for the code that starts it.
        system: what effects need; the dispatch owns the dict.
        dispatch_data: what placeholders and handlers read; the dispatch owns the dict.
        is_root: False for a continuation.
    """

    __slots__ = (
        "_base",
        "chain",
        "ctx",
        "dispatched",
        "handlers",
        "is_root",
        "kind",
        "report",
        "subject",
    )

    def __init__(
        self,
        handlers: Handlers,
        chain: Chain,
        report: Callable[[DispatchError], object],
        kind: Kind,
        subject: Any,
        system: dict[str, Any],
        dispatch_data: dict[str, Any],
        *,
        is_root: bool = True,
    ) -> None:
        self.handlers: Handlers = handlers
        self.chain: Chain = chain
        self.report: Callable[[DispatchError], object] = report
        self.kind: Kind = kind
        #: Whether it is not a continuation: only then the innermost stages run.
        self.is_root: bool = is_root
        self.subject: Any = subject
        self.dispatched: Dispatched = Dispatched([], [])
        #: Only until the steps are over: handlers may keep the context, which has this run. Both
        #: would wait for the cyclic collector, and with them the request of a stream.
        self.ctx: Context = Context(self, system, dispatch_data)
        # System and dispatch data as the effects began: what continuations start from.
        self._base: tuple[dict[str, Any], dict[str, Any]] | None = None

    def start(self, effects: Effects) -> Dispatched:
        """Run as far as everything is synchronous; a task does the rest."""
        steps = self.steps(effects)
        awaitable = next(steps, None)
        if awaitable is not None:
            self.dispatched.task = spawn_rest(steps, awaitable, self.handlers.spawn)
        return self.dispatched

    def continued(self, ctx: Context, effects: Effects, system: More, data: More) -> Dispatched:
        """Dispatch a continuation; see :meth:`.Context.dispatch`."""
        own_system, own_data = self._base or (ctx.system, ctx.dispatch_data)
        if self.chain.passive and isinstance(effects, (tuple, list)):
            sent: list[Effect] = []
            for item in effects:
                if type(item) is not Effect or not item or item[0] not in self.handlers.senders:
                    break
                sent.append(item)
            else:
                return self._send(ctx, sent, {**own_system, **(system or {})})
        return Run(
            self.handlers,
            self.chain,
            self.handlers.report,
            "application",
            self.subject,
            {**own_system, **system} if system else own_system.copy(),
            {**own_data, **data} if data else own_data.copy(),
            is_root=False,
        ).start(effects)

    def _send(self, ctx: Context, effects: list[Effect], system: dict[str, Any]) -> Dispatched:
        """Run a continuation of effects that only send, in the context of this dispatch.

        No stage runs around it, and its effects change nothing in a context. So nothing can tell
        that it has no context of its own, which would cost more than what it does.
        """
        handlers = self.handlers
        dispatched = Dispatched([], [])
        own, ctx.system = ctx.system, system
        try:
            for effect in effects:
                try:
                    value = handlers.effects[effect[0]](ctx, *effect[1:])
                except OWN_FAULT as error:
                    _record(DispatchError("effect", effect, error), dispatched, handlers.report)
                else:
                    dispatched.results.append(_new(Result, (effect, value)))
        finally:
            ctx.system = own
        return dispatched

    def record(
        self, phase: Phase, item: Any, exception: BaseException, interceptor_id: Any = None
    ) -> None:
        """Collect an error and report it; see :meth:`.Context.record_error`."""
        _record(DispatchError(phase, item, exception, interceptor_id), self.dispatched, self.report)

    def steps(self, effects: Effects) -> Steps:
        """Return the steps of the dispatch; see the module."""
        ctx, chain, handlers = self.ctx, self.chain, self.handlers
        try:
            if type(effects) is Effect:
                ctx.actions = [effects]
            elif type(effects) is tuple and effects and type(effects[0]) is Effect:
                ctx.actions = list(effects)
            else:
                self._take(effects)
            if handlers.to_state is not None:
                yield from _find_state(self, handlers.to_state)
            if chain.before_dispatch:
                yield from self.run_stages("before_dispatch", chain.before_dispatch, None)
                if type(ctx.actions) is not list:
                    # A stage may have put anything there.
                    self._take(ctx.actions)
            if self.is_root:
                for stage in chain.innermost:
                    try:
                        stage.run(ctx)
                    except OWN_FAULT as raised:
                        self.record("before_dispatch", None, raised, stage.interceptor_id)
            if not ctx.halted:
                if handlers.placeholders:
                    ctx.actions = yield from fill_items(
                        ctx.actions, handlers.placeholders, ctx.dispatch_data, self.record
                    )
                for item in ctx.actions:
                    name = item[0] if type(item) in _EFFECT_TYPES and item else None
                    if type(name) is not str or name not in handlers.effects:
                        yield from self.expand()
                        break
                else:
                    # Nothing to expand, as for what the library itself dispatches.
                    ctx.effects += ctx.actions
                yield from self._run_effects()
            if chain.after_dispatch:
                yield from self.run_stages("after_dispatch", chain.after_dispatch, None)
        finally:
            del self.ctx

    def expand(self) -> Steps:
        """Expand the actions of the context into its effects."""
        ctx, handlers = self.ctx, self.handlers
        dispatched, effects = ctx.actions, ctx.effects
        # One iterator for each action that is being expanded; that of the dispatch is the first.
        levels = [iter(dispatched)]
        while levels:
            for item in levels[-1]:
                name = item[0] if isinstance(item, tuple) and item else None
                if not isinstance(name, str):
                    self.record("action", item, EffectShapeError("not an effect", item))
                elif name in handlers.effects:
                    effects.append(item)
                elif name in handlers.actions:
                    produced = yield from _expand_one(self, item, handlers.actions[name])
                    if produced and len(levels) >= MAX_EXPANSION_DEPTH:
                        self.record("action", item, ExpansionDepthError(MAX_EXPANSION_DEPTH))
                        del levels[1:]
                    elif produced:
                        levels.append(iter(produced))
                    break
                else:
                    suggestion = nearest(name, [*handlers.effects, *handlers.actions])
                    self.record("action", item, UnknownEffectError(name, suggestion))
            else:
                levels.pop()
        ctx.actions, ctx.effects, ctx.action = dispatched, effects, None

    def _run_effects(self) -> Steps:
        """Run the effects of the context."""
        ctx, handlers = self.ctx, self.handlers.effects
        before, after = self.chain.before_effect, self.chain.after_effect
        dispatched = self.dispatched
        self._base = (ctx.system.copy(), ctx.dispatch_data.copy())
        # Stages and handlers may change ctx.effects; the effects that run were decided before.
        for effect in tuple(ctx.effects):
            ctx.effect, ctx.result = effect, None
            if before:
                yield from self.run_stages("before_effect", before, effect)
            if not ctx.halted:
                waiting = False
                try:
                    value = handlers[effect[0]](ctx, *effect[1:])
                    # Asked here first: most results are not awaitable, and a call costs more.
                    if (
                        value is not None
                        and hasattr(type(value), "__await__")
                        and is_awaitable(value)
                    ):
                        waiting = True
                        value = yield value
                except OWN_FAULT as error:
                    if waiting and isinstance(error, ENDS):
                        # The steps are closed: nothing goes on.
                        raise
                    self.record("effect", effect, error)
                else:
                    ctx.result = _new(Result, (effect, value))
                    dispatched.results.append(ctx.result)
            if after:
                yield from self.run_stages("after_effect", after, effect)
        ctx.effect = ctx.result = None

    def run_stages(self, phase: Phase, stages: Iterable[Stage], item: Any) -> Steps | tuple[()]:
        """Run the stages of one phase around an item; return the steps from the first wait on."""
        ctx = self.ctx
        # One iterator, because the stages after one that waits go on with it.
        left = iter(stages)
        for interceptor_id, run, is_async in left:
            if is_async and not self.handlers.may_await(self.kind):
                continue
            before = ctx.save()
            try:
                value = run(ctx)
                if value is None or value is ctx:
                    continue
                if is_awaitable(value):
                    if self.handlers.may_await(self.kind):
                        return _await_stage(self, phase, interceptor_id, item, before, value, left)
                    if hasattr(type(value), "close"):
                        value.close()
                    raise StageAwaitError(phase, interceptor_id, self.kind)  # as the stage's own
                error: BaseException = StageResultError(phase, interceptor_id, value)
            except OWN_FAULT as raised:
                ctx.restore(before)
                error = raised
            self.record(phase, item, error, interceptor_id)
        return ()

    def _take(self, effects: Any) -> None:
        try:
            self.ctx.actions = as_effects(effects)
        except Exception as error:
            self.ctx.actions = []
            self.record("action", effects, error)


def _record(
    error: DispatchError, dispatched: Dispatched, report: Callable[[DispatchError], object]
) -> None:
    """Collect an error and report it."""
    dispatched.errors.append(error)
    try:
        report(error)
    except OWN_FAULT:
        log.exception(
            "reporting an error of phase %s failed; the error was %r", error.phase, error.exception
        )


def _await_stage(
    run: Run,
    phase: Phase,
    interceptor_id: Any,
    item: Any,
    before: tuple[Any, ...],
    awaitable: Awaitable[Any],
    left: Iterator[Stage],
) -> Steps:
    """Wait for a stage, then run those that are left."""
    error: BaseException | None = None
    try:
        value = yield awaitable
        if value is not None and value is not run.ctx:
            error = StageResultError(phase, interceptor_id, value)
    except (Exception, SystemExit) as raised:
        run.ctx.restore(before)
        error = raised
    if error is not None:
        run.record(phase, item, error, interceptor_id)
    yield from run.run_stages(phase, left, item)


def _find_state(run: Run, to_state: Callable[[dict[str, Any]], Any]) -> Steps:
    """Make the state of the system, for actions."""
    state, error = None, None
    try:
        state = to_state(run.ctx.system)
    except OWN_FAULT as raised:
        error = raised
    try:
        if state is not None and is_awaitable(state):
            state = yield state
    except (Exception, SystemExit) as raised:
        error = raised
    if error is None:
        run.ctx.state = state
    else:
        run.record("state", None, error)


def _expand_one(run: Run, action: Any, handler: Callable[..., Any]) -> Steps:
    """Expand one action, with the stages around it; return the list of what it became."""
    ctx, chain = run.ctx, run.chain
    ctx.action, ctx.actions = action, []
    if chain.before_action:
        yield from run.run_stages("before_action", chain.before_action, action)
        ctx.actions = []
    if not ctx.halted:
        value, error = None, None
        try:
            value = handler(ctx.state, *action[1:])
        except OWN_FAULT as raised:
            error = raised
        try:
            if value is not None and is_awaitable(value):
                value = yield value
            ctx.actions = [] if value is None else as_effects(value)
        except (Exception, SystemExit) as raised:
            error = raised
        if error is not None:
            run.record("action", action, error)
        elif run.handlers.placeholders:
            ctx.actions = yield from fill_items(
                ctx.actions, run.handlers.placeholders, ctx.dispatch_data, run.record
            )
    if chain.after_action:
        yield from run.run_stages("after_action", chain.after_action, action)
        # A stage may have put anything there.
        try:
            return as_effects(ctx.actions)
        except EffectShapeError as raised:
            run.record("after_action", action, raised)
            return []
    return ctx.actions
