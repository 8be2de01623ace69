"""What flows through one dispatch: the context, and the records of what became of it.

Law: **one context per dispatch, of fixed shape.** What a stage changes in it, later stages and handlers see; a misspelt
attribute is an error at once. What interceptors want to tell each other has a place of its own, ``notes``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dispatched import Dispatched
    from .dispatcher import Dispatcher
    from .interceptors import Chain

__all__ = ("Context", "DispatchError", "Effect", "Effects", "Phase", "Result")

log = logging.getLogger("sfere_tornado.dispatch")

#: One effect or action: its name, a string, then its arguments.
Effect: TypeAlias = tuple[Any, ...]

#: What can be dispatched: one effect, several in a list or tuple, or nothing.
Effects: TypeAlias = Effect | list[Any] | None

#: Where an error happened. ``state`` is ``system_to_state``, ``placeholder`` the filling in of one item, ``action`` the
#: expansion of one item (also when it has no known name, or is no effect at all), ``effect`` the running of one; the
#: others are the stage of an interceptor.
Phase: TypeAlias = Literal[
    "state",
    "placeholder",
    "action",
    "effect",
    "before_dispatch",
    "after_dispatch",
    "before_action",
    "after_action",
    "before_effect",
    "after_effect",
]


class Result(NamedTuple):
    """One effect that ran: the effect as it was executed, and what its handler returned, awaited if need be."""

    effect: Any
    value: Any


class DispatchError(NamedTuple):
    """One thing that went wrong in a dispatch, while the rest went on."""

    phase: Phase
    #: The effect, action or other item at fault; None where it was the dispatch as a whole.
    item: Any
    exception: Exception
    #: The ``id`` of the interceptor whose stage it was; None everywhere else, and for one without an id.
    interceptor_id: Any = None


class Context:
    """The state of one dispatch; the dispatcher makes it, stages and effects get it.

    Args:
        system: what effects need; the context keeps a shallow copy.
        dispatch_data: what placeholders and handlers may read; the context keeps a shallow copy.
        dispatcher: where continuations are dispatched.
        chain: the interceptors, for continuations too.
        report: told of each error, once.
    """

    __slots__ = (
        "_base",
        "_chain",
        "_dispatcher",
        "_report",
        "action",
        "actions",
        "dispatch_data",
        "effect",
        "effects",
        "errors",
        "halted",
        "notes",
        "result",
        "results",
        "state",
        "system",
    )

    def __init__(
        self,
        system: Mapping[str, Any] | None,
        dispatch_data: Mapping[str, Any] | None,
        dispatcher: Dispatcher,
        chain: Chain,
        report: Callable[[DispatchError], object],
    ) -> None:
        self.system: dict[str, Any] = dict(system) if system else {}
        #: What ``system_to_state`` made of the system as it was given; actions get it.
        self.state: Any = None
        self.dispatch_data: dict[str, Any] = dict(dispatch_data) if dispatch_data else {}
        #: What was dispatched; while one action is expanded, what it has produced.
        self.actions: list[Any] = []
        #: What is to run, in order, once all actions are expanded.
        self.effects: list[Any] = []
        #: The effect that is running, or None.
        self.effect: Any = None
        #: The action that is being expanded, or None.
        self.action: Any = None
        #: For ``after_effect``: the result of the effect, or None when it failed or was skipped.
        self.result: Result | None = None
        self.results: list[Result] = []
        self.errors: list[DispatchError] = []
        #: For interceptors' own use.
        self.notes: dict[Any, Any] = {}
        #: Whether what has not been done yet is skipped; stages run all the same.
        self.halted = False
        self._dispatcher = dispatcher
        self._chain = chain
        self._report = report
        self._base: tuple[dict[str, Any], dict[str, Any]] | None = None

    def __repr__(self) -> str:
        state = "halted, " if self.halted else ""
        return f"<Context {state}{len(self.results)} results, {len(self.errors)} errors, actions={self.actions!r}>"

    def halt(self) -> None:
        """Skip every action and effect that has not been done yet; stages still run, to the end of the dispatch."""
        self.halted = True

    def dispatch(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Dispatched:
        """Dispatch more effects as a continuation of this dispatch, with the same chain around them.

        System and dispatch data are those that this dispatch had when its effects began: what ``before_dispatch``
        changed is in them, what ``before_effect`` changed is not.

        Args:
            effects: an effect, or several in a list or tuple.
            system: merged over the system, shallowly; a value of None replaces too.
            data: merged over the dispatch data in the same way.

        Returns:
            Results and errors of the continuation, awaitable; its errors do not reach this dispatch on their own, and
            are reported as the dispatcher does it.
        """
        base_system, base_data = self._base or (self.system, self.dispatch_data)
        return self._dispatcher.dispatch(
            effects,
            system={**base_system, **system} if system else base_system,
            dispatch_data={**base_data, **data} if data else base_data,
            chain=self._chain,
        )

    def keep_base(self) -> None:
        """Keep system and dispatch data as they are, for continuations; called once, as the effects begin."""
        self._base = (self.system.copy(), self.dispatch_data.copy())

    def record_error(
        self, phase: Phase, item: Any, exception: Exception, interceptor_id: Any = None
    ) -> None:
        """Collect an error, and report it; the dispatch goes on."""
        error = DispatchError(phase, item, exception, interceptor_id)
        self.errors.append(error)
        try:
            self._report(error)
        except Exception:
            log.exception(
                "reporting an error of phase %s failed; the error was %r", phase, exception
            )
