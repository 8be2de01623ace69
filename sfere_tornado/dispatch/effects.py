"""Effects: what can be dispatched, and the running of it.

Law: **one failing effect never stops the others.** They run in order, one after the other, also those that are awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import EffectShapeError
from .context import Result
from .dispatched import is_awaitable
from .interceptors import run_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .context import Context
    from .dispatched import Steps
    from .interceptors import Chain

__all__ = ("as_items", "run_effects")


def as_items(effects: Any) -> list[Any]:
    """Return what was given to be dispatched as a list of items, which are not looked at any further.

    Args:
        effects: one effect, that is a tuple whose first element is a string; several in a list or tuple; or None.

    Raises:
        EffectShapeError: for anything else.
    """
    if effects is None:
        return []
    if not isinstance(effects, (list, tuple)):
        raise EffectShapeError("neither an effect nor a list of effects", effects)
    if isinstance(effects, tuple) and effects and isinstance(effects[0], str):
        return [effects]
    return list(effects)


def run_effects(ctx: Context, handlers: Mapping[str, Callable[..., Any]], chain: Chain) -> Steps:
    """Run the effects of a context, in order; results and errors are collected in it.

    Args:
        ctx: the context, with every action expanded.
        handlers: the effects by name; each of ``ctx.effects`` has one.
        chain: the interceptors.
    """
    before, after = chain.before_effect, chain.after_effect
    ctx.keep_base()
    # Stages and handlers may look at ctx.effects, and may change it; the effects that run were decided before.
    for effect in tuple(ctx.effects):
        ctx.effect, ctx.result = effect, None
        if before:
            yield from run_stages(ctx, "before_effect", before, effect)
        if not ctx.halted:
            try:
                value = handlers[effect[0]](ctx, *effect[1:])
                if value is not None and is_awaitable(value):
                    value = yield value
            except Exception as error:
                ctx.record_error("effect", effect, error)
            else:
                ctx.result = result = Result(effect, value)
                ctx.results.append(result)
        if after:
            yield from run_stages(ctx, "after_effect", after, effect)
    ctx.effect = ctx.result = None
