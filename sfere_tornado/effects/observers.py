"""Interceptors that log: what each stage changes, and how long each part takes.

They are data, like every interceptor. Put them into the chain of a hub, a class or a route. Those
that need Tornado are in :mod:`sfere_tornado.web.guards`; ``fail_fast`` is part of
:mod:`sfere_tornado.dispatch`.

Law: **names, never values.** The log has the names of effects, keys and errors. Arguments
may be long, or secret.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..dispatch.dispatched import is_awaitable
from ..dispatch.interceptors import STAGES, check_interceptor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ..dispatch import Context, Interceptor

__all__ = ("Measured", "log_dispatch", "measure")

log: logging.Logger = logging.getLogger("sfere_tornado.dispatch")


class Measured(NamedTuple):
    """How long one effect, or a whole dispatch, took."""

    kind: Literal["dispatch", "effect"]
    #: The effect's name; for a dispatch the names of all that was dispatched.
    name: str
    #: By the timer; what was awaited is in it.
    seconds: float
    #: For a dispatch, how many errors it has; for an effect 1 when it did not succeed.
    errors: int


def measure(
    tell: Callable[[Measured], object], *, timer: Callable[[], float] = time.perf_counter
) -> Interceptor:
    """Return an interceptor that measures each dispatch and each effect in it.

    Put it outermost to include the other stages in the time of the dispatch. The time of an effect
    includes the stages inside.

    Args:
        tell: called with each measurement; an exception in it is an error of the dispatch.
        timer: the clock, in seconds; monotonic.
    """
    # One object for each interceptor, so that two of them in a chain do not meet in the notes.
    of_dispatch, of_effect = object(), object()

    def begin(note: object, ctx: Context) -> None:
        ctx.notes[note] = timer()

    def end_effect(ctx: Context) -> None:
        tell(
            Measured(
                "effect", ctx.effect[0], timer() - ctx.notes.pop(of_effect), int(ctx.result is None)
            )
        )

    def end_dispatch(ctx: Context) -> None:
        seconds = timer() - ctx.notes.pop(of_dispatch)
        tell(Measured("dispatch", _names(ctx.actions), seconds, len(ctx.errors)))

    return {
        "id": "measure",
        "before_dispatch": partial(begin, of_dispatch),
        "before_effect": partial(begin, of_effect),
        "after_effect": end_effect,
        "after_dispatch": end_dispatch,
    }


def log_dispatch(
    *interceptors: Interceptor, logger: logging.Logger = log, level: int = logging.DEBUG
) -> list[Interceptor]:
    """Return interceptors that do the same as these, and log what each of their stages changed.

    One more stands outside them. It logs each dispatch and its results.

    Args:
        interceptors: outermost first; none at all logs dispatches only.
        logger: where to.
        level: the level; nothing is compared or written while the logger has it off.

    Raises:
        RegistryError: when an interceptor has the wrong shape.
    """

    def dispatched(ctx: Context) -> None:
        logger.log(level, "dispatch of %s", _names(ctx.actions))

    def done(ctx: Context) -> None:
        errors = [f"{error.phase}: {type(error.exception).__name__}" for error in ctx.errors]
        ran = _names(result.effect for result in ctx.results)
        logger.log(
            level,
            "dispatch of %s done: ran %s; errors %s",
            _names(ctx.actions),
            ran,
            ", ".join(errors) or "none",
        )

    wrapped: list[Interceptor] = [
        {"id": "log_dispatch", "before_dispatch": dispatched, "after_dispatch": done}
    ]
    for interceptor in interceptors:
        check_interceptor(interceptor)
        logged: dict[str, Any] = dict(interceptor)
        for stage in STAGES:
            if stage in logged:
                where = f"{stage} of {interceptor.get('id')!r}"
                logged[stage] = partial(_run_logged, logged[stage], where, logger, level)
        wrapped.append(logged)
    return wrapped


def _run_logged(
    stage: Callable[[Context], Any], where: str, logger: logging.Logger, level: int, ctx: Context
) -> Any:
    if not logger.isEnabledFor(level):
        return stage(ctx)
    before = _seen(ctx)
    try:
        value = stage(ctx)
    except Exception as error:
        logger.log(level, "%s raised %s", where, type(error).__name__)
        raise
    if value is not None and is_awaitable(value):
        return _finish_logged(value, before, where, logger, level, ctx)
    logger.log(level, "%s: %s", where, _changes(before, _seen(ctx)))
    return value


async def _finish_logged(
    waiting: Awaitable[Any],
    before: dict[str, Any],
    where: str,
    logger: logging.Logger,
    level: int,
    ctx: Context,
) -> Any:
    try:
        value = await waiting
    except Exception as error:
        logger.log(level, "%s raised %s", where, type(error).__name__)
        raise
    logger.log(level, "%s: %s", where, _changes(before, _seen(ctx)))
    return value


def _seen(ctx: Context) -> dict[str, Any]:
    """Return what a stage may change, to compare it later: containers copied, parts as they are."""
    return {
        "system": dict(ctx.system),
        "dispatch_data": dict(ctx.dispatch_data),
        "notes": dict(ctx.notes),
        "actions": list(ctx.actions),
        "effects": list(ctx.effects),
        "results": list(ctx.results),
        "errors": list(ctx.errors),
        "state": ctx.state,
        "halted": ctx.halted,
    }


def _changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    found = []
    for name, old in before.items():
        new = after[name]
        if isinstance(old, dict):
            if keys := _keys_changed(old, new):
                found.append(f"{name} {keys}")
        elif isinstance(old, list):
            # By identity: parts of applications may have an idea of equality of their own.
            if len(old) != len(new) or any(
                one is not other for one, other in zip(old, new, strict=True)
            ):
                found.append(f"{name} {len(old)} to {len(new)}")
        elif old is not new:
            found.append(f"{name} changed")
    return ", ".join(found) or "no change"


def _keys_changed(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str:
    keys = [f"+{key}" for key in new if key not in old]
    keys += [f"~{key}" for key in new if key in old and new[key] is not old[key]]
    keys += [f"-{key}" for key in old if key not in new]
    return " ".join(keys)


def _names(items: Iterable[Any]) -> str:
    names = (
        item[0] if isinstance(item, (tuple, list)) and item else type(item).__name__
        for item in items
    )
    return ", ".join(map(str, names)) or "nothing"
