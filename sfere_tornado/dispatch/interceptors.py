"""Interceptors: dicts of stages that run around a dispatch, each action and each effect.

::

    {"id": "audit", "before_dispatch": fn, "after_dispatch": fn, "before_action": fn,
     "after_action": fn, "before_effect": fn, "after_effect": fn}          # any subset

Before-stages run in the order of the chain, after-stages in the reverse order. A stage gets the
context, and returns it or None; both mean the same.

Laws:

- **A stage that raises has not happened**: its error is collected, and the context goes on as it
  was before. A stage that refuses something must therefore call ``ctx.halt()`` and return. Raising
  lets the rest pass, unless :data:`fail_fast` stands in the chain too.
- **A stage that returns something else has happened**, and is an error: what it halted stays
  halted.
- **All stages of a phase run**, also after a halt, so each after-stage meets what its before-stage
  began.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ..errors import RegistryError, hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


__all__ = ("STAGES", "Chain", "Interceptor", "Stage", "check_interceptor", "fail_fast")

#: An interceptor: ``id`` and any of :data:`STAGES`.
Interceptor: TypeAlias = Mapping[str, Any]

#: The stages that an interceptor may have.
STAGES: Final = (
    "before_dispatch",
    "after_dispatch",
    "before_action",
    "after_action",
    "before_effect",
    "after_effect",
)


class Stage(NamedTuple):
    """One stage of one interceptor."""

    #: The interceptor's ``id``, or None.
    interceptor_id: Any
    #: The function.
    run: Callable[[Any], Any]
    #: Whether it is a coroutine function.
    is_async: bool


class Chain:
    """A checked sequence of interceptors, with the stages of each phase in the order of running.

    Args:
        interceptors: outermost first.
        innermost: those of registries, inside all others. Their ``before_dispatch`` stages are
            plain functions, run around a dispatch and not around its continuations, and must leave
            the context as it was when they raise.

    Raises:
        RegistryError: when one of them has the wrong shape.
    """

    __slots__ = ("innermost", "interceptors", "passive", *STAGES)

    before_dispatch: tuple[Stage, ...]
    after_dispatch: tuple[Stage, ...]
    before_action: tuple[Stage, ...]
    after_action: tuple[Stage, ...]
    before_effect: tuple[Stage, ...]
    after_effect: tuple[Stage, ...]

    def __init__(
        self, interceptors: Iterable[Interceptor], innermost: Iterable[Interceptor] = ()
    ) -> None:
        outer, inner = tuple(interceptors), tuple(innermost)
        self.interceptors: tuple[Interceptor, ...] = (*outer, *inner)
        for interceptor in self.interceptors:
            check_interceptor(interceptor)
        #: The ``before_dispatch`` stages of the innermost ones.
        self.innermost: tuple[Stage, ...] = tuple(
            Stage(each.get("id"), each["before_dispatch"], is_async=False)
            for each in inner
            if "before_dispatch" in each
        )
        for name in STAGES:
            among = outer if name == "before_dispatch" else self.interceptors
            stages = [
                Stage(each.get("id"), each[name], iscoroutinefunction(each[name]))
                for each in among
                if name in each
            ]
            if name.startswith("after"):
                stages.reverse()
            setattr(self, name, tuple(stages))
        #: Whether no stage runs around a continuation that has effects and no actions.
        self.passive: bool = not (
            self.before_dispatch or self.after_dispatch or self.before_effect or self.after_effect
        )

    def __repr__(self) -> str:
        return f"<Chain of {[interceptor.get('id') for interceptor in self.interceptors]}>"


def check_interceptor(interceptor: object) -> None:
    """Check the shape of an interceptor.

    Raises:
        RegistryError: when it is not a mapping, has an unknown key (the text names the nearest
            right one), or has a stage that cannot be called.
    """
    if not isinstance(interceptor, Mapping):
        raise RegistryError(f"an interceptor is a dict of stages, not {interceptor!r}")
    name = interceptor.get("id")
    for key, stage in interceptor.items():
        if key == "id":
            continue
        if key not in STAGES:
            raise RegistryError(
                f"interceptor {name!r} has an unknown stage {key!r}; {hint(key, STAGES)}"
            )
        if not callable(stage):
            raise RegistryError(
                f"interceptor {name!r}: stage {key!r} is {stage!r}, which cannot be called"
            )


def _halt_after_error(ctx: Any) -> None:
    if ctx.errors:
        ctx.halt()


#: An interceptor that halts before the next action or effect once there is an error. Actions are
#: all expanded before the first effect runs, so an error in one of them leaves every effect undone.
fail_fast: Final[Interceptor] = {
    "id": "fail_fast",
    "before_action": _halt_after_error,
    "before_effect": _halt_after_error,
}
