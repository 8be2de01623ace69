"""The context of one dispatch: what stages and effects see and change.

Laws:

- **One context per dispatch, of fixed shape.** What a stage changes, later stages and handlers see. A
  misspelt attribute raises an error. ``notes`` is for what interceptors tell each other.
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

__all__ = ("Context", "Kind", "Origin")

#: What a dispatch is. ``request`` runs the method of a request, ``opening`` opens an event stream,
#: ``closing`` says that one has ended. Every other dispatch is ``application``, continuations of the
#: three included.
Kind: TypeAlias = Literal["application", "request", "opening", "closing"]


class Origin(Protocol):
    """**Protocol:** the dispatch that a context belongs to."""

    #: What the dispatch is.
    kind: Kind
    #: What the dispatch is about, for the code that started it.
    subject: Any
    #: What has become of the dispatch so far.
    dispatched: Dispatched

    def continued(
        self, effects: Effects, system: Mapping[str, Any] | None, data: Mapping[str, Any] | None
    ) -> Dispatched:
        """Dispatch a continuation; see :meth:`Context.dispatch`."""

    def record(
        self, phase: Phase, item: Any, exception: BaseException, interceptor_id: Any = None
    ) -> None:
        """Collect an error; see :meth:`Context.record_error`."""


class Context:
    """The state of one dispatch; the dispatcher makes it.

    Args:
        origin: the dispatch.
        system: what effects need; the context owns the dict.
        dispatch_data: what placeholders and handlers read; the context owns the dict.
    """

    __slots__ = (
        "_origin",
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
        self, origin: Origin, system: dict[str, Any], dispatch_data: dict[str, Any]
    ) -> None:
        self._origin = origin
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

    #: What this dispatch is: ``application``, ``request``, ``opening`` or ``closing``; read-only. It is
    #: asked in each stage of the library, so it is read without a call.
    kind: Kind = property(attrgetter("_origin.kind"))  # type: ignore[assignment]
    #: What this dispatch is about; the library's own stages read it, continuations inherit it. Read-only.
    subject: Any = property(attrgetter("_origin.subject"))

    @property
    def results(self) -> list[Result]:
        """The effects that succeeded so far; a stage may put another list in its place."""
        return self._origin.dispatched.results

    @results.setter
    def results(self, results: list[Result]) -> None:
        self._origin.dispatched.results = results

    @property
    def errors(self) -> list[DispatchError]:
        """What went wrong so far; a stage may put another list in its place."""
        return self._origin.dispatched.errors

    @errors.setter
    def errors(self, errors: list[DispatchError]) -> None:
        self._origin.dispatched.errors = errors

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
        """Dispatch more effects as a continuation of this dispatch, with the same chain around them.

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
        return self._origin.continued(effects, system, data)

    def record_error(
        self, phase: Phase, item: Any, exception: BaseException, interceptor_id: Any = None
    ) -> None:
        """Collect an error and report it; the dispatch goes on."""
        self._origin.record(phase, item, exception, interceptor_id)
