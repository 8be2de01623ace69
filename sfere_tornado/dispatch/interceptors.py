"""Interceptors: dicts of stages that run around a dispatch, around each action, and around each effect.

::

    {"id": "audit", "before_dispatch": fn, "after_dispatch": fn, "before_action": fn, "after_action": fn,
     "before_effect": fn, "after_effect": fn}          # any subset

Before-stages run in the order of the chain, after-stages in the reverse order. A stage gets the context, and returns it
or None, which means the same.

Laws:

- **A stage that raises has not happened**: its error is collected, and the context goes on as it was before. So a
  stage that refuses something must call ``ctx.halt()`` and return; raising lets the rest pass, unless :data:`fail_fast`
  stands in the chain too.
- **A stage that returns something else has happened**, and is an error all the same: what it halted stays halted.
- **All stages of a phase run**, also after a halt, so every after-stage meets what its before-stage began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import RegistryError, StageResultError, nearest
from .dispatched import is_awaitable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .context import Context, Phase
    from .dispatched import Steps

__all__ = ("STAGES", "Chain", "Interceptor", "check_interceptor", "fail_fast", "run_stages")

Interceptor: TypeAlias = Mapping[str, Any]
Stages: TypeAlias = "tuple[tuple[Any, Callable[[Context], Any]], ...]"

#: The stages that an interceptor may have.
STAGES: Final = (
    "before_dispatch",
    "after_dispatch",
    "before_action",
    "after_action",
    "before_effect",
    "after_effect",
)


class Chain:
    """A checked sequence of interceptors, with the stages of each phase ready in the order in which they run.

    Args:
        interceptors: outermost first.

    Raises:
        RegistryError: when one of them has the wrong shape.
    """

    __slots__ = ("interceptors", *STAGES)

    before_dispatch: Stages
    after_dispatch: Stages
    before_action: Stages
    after_action: Stages
    before_effect: Stages
    after_effect: Stages

    def __init__(self, interceptors: Iterable[Interceptor]) -> None:
        self.interceptors = tuple(interceptors)
        for interceptor in self.interceptors:
            check_interceptor(interceptor)
        for stage in STAGES:
            found = [(one.get("id"), one[stage]) for one in self.interceptors if stage in one]
            if stage.startswith("after"):
                found.reverse()
            setattr(self, stage, tuple(found))

    def __repr__(self) -> str:
        return f"<Chain of {[interceptor.get('id') for interceptor in self.interceptors]}>"


def check_interceptor(interceptor: object) -> None:
    """Check the shape of an interceptor.

    Raises:
        RegistryError: when it is no mapping, has an unknown key (the nearest right one is named) or a stage that cannot
            be called.
    """
    if not isinstance(interceptor, Mapping):
        raise RegistryError(f"an interceptor is a dict of stages, not {interceptor!r}")
    name = interceptor.get("id")
    for key, stage in interceptor.items():
        if key == "id":
            continue
        if key not in STAGES:
            suggestion = nearest(key, STAGES)
            hint = (
                f"did you mean {suggestion!r}?" if suggestion else f"there are {', '.join(STAGES)}"
            )
            raise RegistryError(f"interceptor {name!r} has an unknown stage {key!r}; {hint}")
        if not callable(stage):
            raise RegistryError(
                f"interceptor {name!r}: stage {key!r} is {stage!r}, which cannot be called"
            )


def run_stages(ctx: Context, phase: Phase, stages: Stages, item: Any = None) -> Steps:
    """Run the stages of one phase.

    Args:
        ctx: the context, which the stages change.
        phase: the stage's name, for errors.
        stages: of the chain, in the order in which they run.
        item: the action or effect that they run around, for errors.
    """
    for interceptor_id, stage in stages:
        before = _save(ctx)
        try:
            value = stage(ctx)
            if value is not None and is_awaitable(value):
                value = yield value
        except Exception as error:
            _restore(ctx, before)
            ctx.record_error(phase, item, error, interceptor_id)
            continue
        if value is not None and value is not ctx:
            ctx.record_error(
                phase, item, StageResultError(phase, interceptor_id, value), interceptor_id
            )


def _save(ctx: Context) -> tuple[Any, ...]:
    # The long lists are kept, not copied: a copy for each effect would make a dispatch of many effects quadratic.
    return (
        ctx.system.copy(),
        ctx.dispatch_data.copy(),
        ctx.notes.copy(),
        ctx.state,
        ctx.actions[:],
        ctx.effects,
        ctx.action,
        ctx.effect,
        ctx.result,
        ctx.results,
        ctx.errors,
        ctx.halted,
    )


def _restore(ctx: Context, before: tuple[Any, ...]) -> None:
    (
        ctx.system,
        ctx.dispatch_data,
        ctx.notes,
        ctx.state,
        ctx.actions,
        ctx.effects,
        ctx.action,
        ctx.effect,
        ctx.result,
        ctx.results,
        ctx.errors,
        ctx.halted,
    ) = before


def _halt_after_error(ctx: Context) -> None:
    if ctx.errors:
        ctx.halt()


#: An interceptor that halts before the next action or effect once there is an error. Actions are all expanded before
#: the first effect runs, so an error in one of them leaves every effect undone.
fail_fast: Final[Interceptor] = {
    "id": "fail_fast",
    "before_action": _halt_after_error,
    "before_effect": _halt_after_error,
}
