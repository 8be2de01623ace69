"""What stages, actions and effects see of a dispatch.

Laws:

- **One context per dispatch, of fixed shape.** What a stage changes, later stages and handlers see.
  A misspelt attribute raises an error. ``notes`` is for what interceptors tell each other.
- **Nothing that a stage can change says what a dispatch is.** :attr:`Context.kind` and
  :attr:`Context.subject` are given by the code that starts the dispatch, and cannot be set.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dispatched import Dispatched, DispatchError, Phase, Result
    from .effect import Effects

__all__ = ("Context", "ContextOwner", "Kind", "More")

#: What a dispatch is. ``request`` runs the method of a request, ``opening`` opens an event stream,
#: ``closing`` says that one has ended. Every other dispatch is ``application``, continuations of
#: the three included.
Kind: TypeAlias = Literal["application", "request", "opening", "closing"]


#: What a continuation merges over the system, or the dispatch data, of its dispatch.
More: TypeAlias = "Mapping[str, Any] | None"


class ContextOwner(Protocol):
    """**Protocol:** the run of a dispatch, as its context needs it."""

    kind: Kind
    subject: Any
    #: Results and errors.
    dispatched: Dispatched

    def continued(self, ctx: Context, effects: Effects, system: More, data: More) -> Dispatched:
        """Dispatch a continuation; see :meth:`.Context.dispatch`."""

    def record(
        self, phase: Phase, item: Any, exception: BaseException, interceptor_id: Any = None
    ) -> None:
        """Collect an error and report it."""


class Context:
    """The state of one dispatch; the dispatcher makes it.

    Args:
        run: the dispatch.
        system: what effects need; the context owns the dict.
        dispatch_data: what placeholders and handlers read; the context owns the dict.
    """

    __slots__ = (
        "_run",
        "action",
        "actions",
        "dispatch_data",
        "effect",
        "effects",
        "halted",
        "notes",
        "result",
        "state",
        "system",
    )

    def __init__(
        self, run: ContextOwner, system: dict[str, Any], dispatch_data: dict[str, Any]
    ) -> None:
        self._run = run
        #: What effects need. The key ``sse`` holds the target: a connection, or many.
        self.system: dict[str, Any] = system
        #: What ``system_to_state`` made of the system before any stage ran; actions get it.
        self.state: Any = None
        #: What placeholders and handlers read.
        self.dispatch_data: dict[str, Any] = dispatch_data
        #: What was dispatched; while one action is expanded, what that action produced.
        self.actions: list[Any] = []
        #: What will run, in order, after all actions have been expanded.
        self.effects: list[Any] = []
        #: The effect that is running, or None.
        self.effect: Any = None
        #: The action that is being expanded, or None.
        self.action: Any = None
        #: For ``after_effect``: the result, or None when the effect failed or was skipped.
        self.result: Result | None = None
        #: For the interceptors' own use.
        self.notes: dict[Any, Any] = {}
        #: Whether the actions and effects that are left are skipped; stages run all the same.
        self.halted: bool = False

    def __repr__(self) -> str:
        state = "halted, " if self.halted else ""
        return (
            f"<Context {self.kind}, {state}{len(self.results)} results, {len(self.errors)} errors, "
            f"actions={self.actions!r}>"
        )

    #: What this dispatch is: ``application``, ``request``, ``opening`` or ``closing``; read-only.
    #: It is asked in each stage of the library, so it is read without a call.
    kind: Kind = property(attrgetter("_run.kind"))  # type: ignore[assignment]  # as its type
    #: What this dispatch is about; the library's own stages read it, continuations inherit it.
    #: Read-only.
    subject: Any = property(attrgetter("_run.subject"))

    #: The effects that succeeded so far; a stage may put another list in its place.
    results: list[Result] = property(  # type: ignore[assignment]  # as its type
        attrgetter("_run.dispatched.results"),
        lambda self, results: setattr(self._run.dispatched, "results", results),
    )
    #: What went wrong so far; a stage may put another list in its place.
    errors: list[DispatchError] = property(  # type: ignore[assignment]  # as its type
        attrgetter("_run.dispatched.errors"),
        lambda self, errors: setattr(self._run.dispatched, "errors", errors),
    )

    def halt(self) -> None:
        """Skip every action and effect that is left; stages still run, to the end."""
        self.halted = True

    def dispatch(
        self,
        effects: Effects,
        *,
        system: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Dispatched:
        """Dispatch more effects as a continuation of this dispatch, with the same chain.

        System and dispatch data are those that this dispatch had when its effects began. They
        include what ``before_dispatch`` changed, and not what ``before_effect`` changed.

        Args:
            effects: an effect, or several in a list or tuple.
            system: merged over the system, shallowly; a value of None replaces too.
            data: merged over the dispatch data in the same way.

        Returns:
            Results and errors of the continuation, awaitable. Its errors are reported as the
            dispatcher reports them, and do not become errors of this dispatch.
        """
        return self._run.continued(self, effects, system, data)

    def record_error(
        self, phase: Phase, item: Any, exception: BaseException, interceptor_id: Any = None
    ) -> None:
        """Collect an error and report it; the dispatch goes on."""
        self._run.record(phase, item, exception, interceptor_id)

    def save(self) -> tuple[Any, ...]:
        """Return what a stage may change, for :meth:`restore`; called before each stage."""
        # The long lists are kept, not copied: a copy for each effect would make a dispatch of many
        # effects quadratic.
        dispatched = self._run.dispatched
        return (
            self.system.copy() if self.system else None,
            self.dispatch_data.copy() if self.dispatch_data else None,
            self.notes.copy() if self.notes else None,
            self.state,
            self.actions[:],
            self.effects,
            self.action,
            self.effect,
            self.result,
            self.halted,
            dispatched.results,
            dispatched.errors,
        )

    def restore(self, before: tuple[Any, ...]) -> None:
        """Put back what was there before a stage that has failed."""
        dispatched = self._run.dispatched
        system, data, notes, self.state, *items, dispatched.results, dispatched.errors = before
        self.system, self.dispatch_data, self.notes = system or {}, data or {}, notes or {}
        self.actions, self.effects, self.action, self.effect, self.result, self.halted = items
