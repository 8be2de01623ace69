"""Effects as data: the tuple that names what to do, and its arguments.

An effect is made by its constructor, such as ``send("hello")``, or by :func:`effect`. It equals the
plain tuple of its name and arguments.

Law: **a list is never an effect.** JSON has lists and no tuples, so data that a client sends cannot
become an instruction, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..errors import EffectShapeError

__all__ = ("Effect", "Effects", "as_effects", "effect")


class Effect(tuple[Any, ...]):
    """One effect or action: its name, then its arguments.

    Raises:
        EffectShapeError: when it has no name, or the name is not a string.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self[0]  # type: ignore[no-any-return]  # checked by its makers


#: What can be dispatched: one effect, several in a list or tuple, or None for nothing.
Effects: TypeAlias = Effect | tuple[Any, ...] | Sequence[Effect | tuple[Any, ...]] | None


def effect(name: str, *arguments: Any) -> Effect:
    """Return the effect, or action, of a name; for those that have no constructor of their own.

    Args:
        name: as it is registered; not empty.
        arguments: what its handler gets after the context.

    Raises:
        EffectShapeError: when the name is not a string, or is empty.
    """
    if not isinstance(name, str) or not name:
        raise EffectShapeError("the name of an effect must be a string that is not empty", name)
    return Effect((name, *arguments))


def as_effects(effects: Any) -> list[Any]:
    """Return what is to be dispatched as a list; the items themselves are not checked.

    Args:
        effects: one effect, which is a tuple whose first element is a string; several in a list or
            tuple; or None.

    Raises:
        EffectShapeError: for anything else.
    """
    if effects is None:
        return []
    if isinstance(effects, tuple):
        return [effects] if effects and isinstance(effects[0], str) else list(effects)
    if not isinstance(effects, list):
        raise EffectShapeError("neither an effect nor a list of effects", effects)
    return effects[:]
