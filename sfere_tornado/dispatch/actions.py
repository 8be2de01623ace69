"""Actions: they become effects, before the first effect runs.

Laws:

- **Depth first, in place**: what an action expands to stands where the action stood.
- **Expansion ends.** What is :data:`MAX_EXPANSION_DEPTH` actions deep is dropped with an error, together with whatever
  else of the same item has not been expanded yet: an action that expands into itself twice would never end otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import EffectShapeError, ExpansionDepthError, UnknownEffectError, nearest
from .dispatched import is_awaitable
from .effects import as_items
from .interceptors import run_stages
from .placeholders import fill_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .context import Context
    from .dispatched import Steps
    from .interceptors import Chain

    Handlers = Mapping[str, Callable[..., Any]]

__all__ = ("MAX_EXPANSION_DEPTH", "expand_actions")

#: Actions within actions. Deep enough for any design that people can follow; one that expands into itself ends here.
MAX_EXPANSION_DEPTH: Final = 100


def expand_actions(
    ctx: Context, effects: Handlers, actions: Handlers, placeholders: Handlers, chain: Chain
) -> Steps:
    """Expand the actions of a context; fills ``ctx.effects``.

    Args:
        ctx: the context; ``ctx.actions`` holds what was dispatched, filled in.
        effects: the effects by name; they win over actions of the same name.
        actions: the actions by name.
        placeholders: the placeholders by name.
        chain: the interceptors.
    """
    dispatched, found = ctx.actions, ctx.effects
    # One iterator for each action that is being expanded, the dispatch itself below them.
    levels = [iter(dispatched)]
    while levels:
        for item in levels[-1]:
            name = item[0] if isinstance(item, (tuple, list)) and item else None
            if not isinstance(name, str):
                ctx.record_error("action", item, EffectShapeError("not an effect", item))
            elif name in effects:
                found.append(item)
            elif name in actions:
                produced = yield from _expand(ctx, item, actions[name], placeholders, chain)
                if produced and len(levels) >= MAX_EXPANSION_DEPTH:
                    ctx.record_error("action", item, ExpansionDepthError(MAX_EXPANSION_DEPTH))
                    del levels[1:]
                elif produced:
                    levels.append(iter(produced))
                break
            else:
                suggestion = nearest(name, [*effects, *actions])
                ctx.record_error("action", item, UnknownEffectError(name, suggestion))
        else:
            levels.pop()
    ctx.actions, ctx.effects, ctx.action = dispatched, found, None


def _expand(
    ctx: Context, action: Any, handler: Callable[..., Any], placeholders: Handlers, chain: Chain
) -> Steps:
    """Expand one action, with the stages around it; returns the list of what it became."""
    ctx.action, ctx.actions = action, []
    if chain.before_action:
        yield from run_stages(ctx, "before_action", chain.before_action, action)
        ctx.actions = []
    if not ctx.halted:
        try:
            value = handler(ctx.state, *action[1:])
            if value is not None and is_awaitable(value):
                value = yield value
            ctx.actions = as_items(value)
        except Exception as error:
            ctx.record_error("action", action, error)
        else:
            if placeholders:
                ctx.actions = yield from fill_items(ctx, ctx.actions, placeholders)
    if chain.after_action:
        yield from run_stages(ctx, "after_action", chain.after_action, action)
        # A stage may have put anything there.
        try:
            return as_items(ctx.actions)
        except EffectShapeError as error:
            ctx.record_error("after_action", action, error)
            return []
    return ctx.actions
