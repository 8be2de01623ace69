"""Placeholders: tuples inside effects that are replaced by values from the dispatch data.

``("send", ("signal", "name"))`` becomes ``("send", "brian")`` where a placeholder ``signal`` is
registered. The arguments of a placeholder are filled in before it runs, and its result is filled in
again.

Laws:

- **Only an exact tuple is a placeholder**, one that begins with a registered name. Lists never are,
  and JSON has no tuples, so data that a client sends is never taken for one. Keys, patterns and
  other subclasses of tuple are left alone, with all that is in them; effects are walked.
- **Plain data is walked**: tuples, lists and the values of dicts, of exactly these types. A value
  in which nothing was replaced stays the same object; nothing is changed in place.
- **A placeholder that returns itself stays**, to be filled in by a continuation that has the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .dispatched import CancelledError, is_awaitable
from .effect import Effect, as_effects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dispatched import Phase, Steps

__all__ = ("MAX_PLACEHOLDER_DEPTH", "fill", "fill_items")

#: Placeholders within placeholders, 10: as arguments, or as what one returns. Designs need two or
#: three; one that returns itself with more around it stops here and is left as data.
MAX_PLACEHOLDER_DEPTH: Final = 10

_WALKED: Final = frozenset({tuple, list, dict, Effect})


def fill_items(
    items: list[Any],
    handlers: Mapping[str, Callable[..., Any]],
    data: dict[str, Any],
    record: Callable[[Phase, Any, BaseException], object],
) -> Steps:
    """Fill in the placeholders of items, and return the list of the results.

    An item that is itself a placeholder may become one effect or several. An item in which a
    placeholder fails is dropped, with an error.

    Args:
        items: effects and actions; malformed ones are left as they are.
        handlers: the placeholders by name.
        data: the dispatch data.
        record: records an error.
    """
    filled: list[Any] = []
    for item in items:
        if type(item) not in _WALKED:
            filled.append(item)
            continue
        try:
            value = yield from fill(item, data, handlers)
            if _is_placeholder(item, handlers):
                filled += as_effects(value)
            else:
                filled.append(value)
        except Exception as error:
            record("placeholder", item, error)
    return filled


def fill(
    value: Any, data: dict[str, Any], handlers: Mapping[str, Callable[..., Any]], depth: int = 0
) -> Steps:
    """Fill in the placeholders in one value; return it, the same object where there are none.

    Args:
        value: a tuple, list, dict or effect.
        data: the dispatch data.
        handlers: the placeholders by name.
        depth: placeholders around this value.
    """
    if not _is_placeholder(value, handlers):
        return (yield from _fill_members(value, data, handlers, depth))
    if depth >= MAX_PLACEHOLDER_DEPTH:
        return value
    ready = yield from _fill_members(value, data, handlers, depth + 1)
    try:
        result = handlers[ready[0]](data, *ready[1:])
    except (CancelledError, GeneratorExit) as error:
        # Its own fault: nothing is awaited in a call. Passed on, it would look like the end of the
        # task that runs the dispatch.
        raise RuntimeError(f"placeholder {ready[0]!r} raised {error!r}") from error
    if result is not None and is_awaitable(result):
        result = yield result
    if type(result) not in _WALKED or (type(result) is tuple and result == ready):
        return result
    return (yield from fill(result, data, handlers, depth + 1))


def _fill_members(
    value: Any, data: dict[str, Any], handlers: Mapping[str, Callable[..., Any]], depth: int
) -> Steps:
    members = list(value.values()) if type(value) is dict else value
    changed: list[Any] | None = None
    for index, member in enumerate(members):
        if type(member) not in _WALKED:
            continue
        filled = yield from fill(member, data, handlers, depth)
        if filled is not member:
            changed = list(members) if changed is None else changed
            changed[index] = filled
    if changed is None:
        return value
    if type(value) is dict:
        return dict(zip(value, changed, strict=True))
    return type(value)(changed)


def _is_placeholder(value: Any, handlers: Mapping[str, Callable[..., Any]]) -> bool:
    return (
        type(value) is tuple
        and len(value) > 0
        and isinstance(value[0], str)
        and value[0] in handlers
    )
