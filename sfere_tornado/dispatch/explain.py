"""What a dispatch would do: placeholders filled in, actions expanded, no effect run.

Placeholders, actions and ``system_to_state`` are called, because they only decide. Effects are not,
and stages are not, for they may do anything: so what a stage would change in the context is not
seen here.

An effect can say what it would do. Its *preview*, ``preview(ctx, explain, *arguments)``, returns a
dict of details for readers. ``explain(effects, system)`` in it explains what the effect would
dispatch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from .interceptors import STAGES, Chain
from .run import Handlers, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from .context import Context
    from .dispatched import DispatchError
    from .dispatcher import Dispatcher
    from .effect import Effects

__all__ = ("Explanation", "Explain", "Preview", "Step", "explain_dispatch")


class Explain(Protocol):
    """**Protocol:** explains what a previewed effect would dispatch."""

    def __call__(self, effects: Effects, system: Mapping[str, Any]) -> Explanation:
        """Explain effects in the dispatch's system, with another one merged over it."""


class Preview(Protocol):
    """**Protocol:** says what one effect would do."""

    def __call__(self, ctx: Context, explain: Explain, /, *arguments: Any) -> Mapping[str, Any]:
        """Return details for people to read; an :class:`Explanation` in them is shown indented."""


class Step(NamedTuple):
    """One effect that would run."""

    effect: Any
    #: What its preview says; empty when it has none, or when that failed.
    details: dict[str, Any]


class Explanation(NamedTuple):
    """What a dispatch would do; ``str()`` of it is for people to read."""

    #: Each placeholder that was filled in, and its value.
    placeholders: list[tuple[Any, Any]]
    #: Each action that was expanded, and what it became.
    expansions: list[tuple[Any, list[Any]]]
    #: Each effect that would run, in order.
    steps: list[Step]
    #: What would go wrong.
    errors: list[DispatchError]
    #: By stage, the ids of the interceptors that would run, in order.
    stages: dict[str, tuple[Any, ...]]

    def __str__(self) -> str:
        return "\n".join(_lines(self)) or "nothing"


def explain_dispatch(
    dispatcher: Dispatcher,
    effects: Effects,
    *,
    system: Mapping[str, Any] | None = None,
    dispatch_data: Mapping[str, Any] | None = None,
    chain: Chain | None = None,
    previews: Mapping[str, Preview] | None = None,
) -> Explanation:
    """Explain what :meth:`Dispatcher.dispatch` would do with the same arguments.

    Args:
        dispatcher: whose.
        effects: what would be dispatched.
        system: what effects need.
        dispatch_data: what placeholders read.
        chain: the interceptors, when not only the dispatcher's.
        previews: by the names of the effects.

    Returns:
        The explanation. What would have to be awaited, such as an asynchronous action, is an error
        in it.
    """
    around = chain or dispatcher.chain()
    explanation = Explanation([], [], [], [], _stages(around))
    run = _expanding(dispatcher, explanation, dict(system or {}), dict(dispatch_data or {}))
    ctx = run.ctx
    run.start(effects)

    def nested(effects: Effects, system: Mapping[str, Any]) -> Explanation:
        return explain_dispatch(
            dispatcher,
            effects,
            system={**ctx.system, **system},
            dispatch_data=ctx.dispatch_data,
            chain=around,
            previews=previews,
        )

    for effect in ctx.effects:
        preview = (previews or {}).get(effect[0])
        details: Mapping[str, Any] = {}
        if preview is not None:
            try:
                details = preview(ctx, nested, *effect[1:])
            except Exception as error:
                ctx.record_error("effect", effect, error)
        explanation.steps.append(Step(effect, dict(details)))
    return explanation


def _expanding(
    dispatcher: Dispatcher,
    explanation: Explanation,
    system: dict[str, Any],
    dispatch_data: dict[str, Any],
) -> Run:
    """Return a dispatch that fills in and expands, writes that down, and runs no effect."""
    handlers = dispatcher.handlers
    fillers = {
        name: partial(_fill, handler, name, explanation.placeholders)
        for name, handler in handlers.placeholders.items()
    }
    watch = {
        "id": "explain",
        "after_action": lambda ctx: explanation.expansions.append((ctx.action, list(ctx.actions))),
    }
    return Run(
        Handlers(
            dict.fromkeys(handlers.effects, _do_nothing),
            handlers.actions,
            fillers,
            handlers.to_state,
            _wait_for_nothing,
            explanation.errors.append,
        ),
        Chain((watch,)),
        explanation.errors.append,
        "application",
        None,
        system,
        dispatch_data,
    )


def _fill(
    handler: Callable[..., Any],
    name: str,
    filled: list[tuple[Any, Any]],
    data: dict[str, Any],
    *arguments: Any,
) -> Any:
    value = handler(data, *arguments)
    filled.append(((name, *arguments), value))
    return value


def _stages(chain: Chain) -> dict[str, tuple[Any, ...]]:
    stages = {name: getattr(chain, name) for name in STAGES}
    stages["before_dispatch"] += chain.innermost
    ids = {name: tuple(stage.interceptor_id for stage in each) for name, each in stages.items()}
    return {name: present for name, present in ids.items() if present}


def _do_nothing(ctx: Context, *arguments: Any) -> None:
    """Stand for every effect: an explanation runs none."""


def _wait_for_nothing(rest: Coroutine[Any, Any, None]) -> NoReturn:
    raise RuntimeError("an explanation waits for nothing")


def _lines(explanation: Explanation, indent: str = "") -> list[str]:
    lines = [
        f"{indent}stage {stage}: {', '.join(map(str, ids))}"
        for stage, ids in explanation.stages.items()
    ]
    lines += [
        f"{indent}placeholder {one!r} is {value!r}" for one, value in explanation.placeholders
    ]
    for action, produced in explanation.expansions:
        lines.append(f"{indent}action {action!r} becomes {len(produced)} of:")
        lines += [f"{indent}    {item!r}" for item in produced]
    for effect, details in explanation.steps:
        lines.append(f"{indent}effect {effect!r}")
        for name, detail in details.items():
            if isinstance(detail, Explanation):
                lines.append(f"{indent}    {name}:")
                lines += _lines(detail._replace(stages={}), indent + "        ")
            else:
                lines.append(f"{indent}    {name}: {detail}")
    return lines + [
        f"{indent}error in {error.phase} of {error.item!r}: {error.exception}"
        for error in explanation.errors
    ]
