"""Placeholders: tuples inside of effects that are filled in from the dispatch data.

``("send", ("signal", "name"))`` becomes ``("send", "brian")`` when a placeholder ``signal`` is registered. Arguments of
a placeholder are filled in before it, and what it returns is filled in again.

Laws:

- **Only an exact tuple is a placeholder**, one that begins with a registered name. Lists never are, and JSON knows no
  tuples: so nothing that a client sends is ever taken for one. Neither are subclasses of tuple, such as keys, patterns
  and events, which are left alone together with all that is in them.
- **Plain data is walked**: tuples, lists, and the values of dicts, of exactly these types. What nothing was filled in
  to stays the same object; nothing is changed in place.
- **A placeholder that returns itself stays**, to be filled in by a continuation that has the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .dispatched import is_awaitable
from .effects import as_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .context import Context
    from .dispatched import Steps

__all__ = ("MAX_PLACEHOLDER_DEPTH", "fill", "fill_items")

#: Placeholders within placeholders, as arguments or as what one returns. Nobody needs more than two or three; one that
#: returns itself with more around it stops here, and is left as data.
MAX_PLACEHOLDER_DEPTH: Final = 10

_WALKED: Final = frozenset({tuple, list, dict})


def fill_items(ctx: Context, items: list[Any], handlers: Mapping[str, Callable[..., Any]]) -> Steps:
    """Fill in the placeholders of items; returns the list of what became of them.

    An item that is a placeholder itself may become one effect or several. An item in which a placeholder fails is
    dropped, with an error.

    Args:
        ctx: the context, for its dispatch data and its errors.
        items: effects and actions; malformed ones are left as they are.
        handlers: the placeholders by name.
    """
    filled: list[Any] = []
    for item in items:
        if type(item) not in _WALKED:
            filled.append(item)
            continue
        try:
            value = yield from fill(item, ctx.dispatch_data, handlers)
            if _is_placeholder(item, handlers):
                filled += as_items(value)
            else:
                filled.append(value)
        except Exception as error:
            ctx.record_error("placeholder", item, error)
    return filled


def fill(
    value: Any, data: dict[str, Any], handlers: Mapping[str, Callable[..., Any]], depth: int = 0
) -> Steps:
    """Fill in the placeholders in one value of a walked type; returns the value, the same object if there were none.

    Args:
        value: a tuple, list or dict.
        data: the dispatch data.
        handlers: the placeholders by name.
        depth: placeholders around this value.
    """
    if not _is_placeholder(value, handlers):
        return (yield from _fill_parts(value, data, handlers, depth))
    if depth >= MAX_PLACEHOLDER_DEPTH:
        return value
    ready = yield from _fill_parts(value, data, handlers, depth + 1)
    found = handlers[ready[0]](data, *ready[1:])
    if found is not None and is_awaitable(found):
        found = yield found
    if type(found) not in _WALKED or (type(found) is tuple and found == ready):
        return found
    return (yield from fill(found, data, handlers, depth + 1))


def _fill_parts(
    value: Any, data: dict[str, Any], handlers: Mapping[str, Callable[..., Any]], depth: int
) -> Steps:
    parts = list(value.values()) if type(value) is dict else value
    changed: list[Any] | None = None
    for index, part in enumerate(parts):
        if type(part) not in _WALKED:
            continue
        filled = yield from fill(part, data, handlers, depth)
        if filled is not part:
            changed = list(parts) if changed is None else changed
            changed[index] = filled
    if changed is None:
        return value
    if type(value) is dict:
        return dict(zip(value, changed, strict=True))
    return changed if type(value) is list else tuple(changed)


def _is_placeholder(value: Any, handlers: Mapping[str, Callable[..., Any]]) -> bool:
    return (
        type(value) is tuple
        and len(value) > 0
        and isinstance(value[0], str)
        and value[0] in handlers
    )
