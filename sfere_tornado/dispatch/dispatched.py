"""What a dispatch awaits, and where; no other module of this package awaits anything.

A dispatch is a generator of steps. It yields what must be awaited and is sent what came of it;
without any awaitable it runs to its end in one call. There are two drivers:

- :func:`spawn_rest` starts a task for what is left, from the first awaitable on;
- :func:`follow` awaits in the caller's own coroutine, so that cancellation and context variables
  are the caller's.

Law: **only exceptions are thrown back into the steps.** A cancellation or
an exit ends the dispatch where it stands, and no further stage runs.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ..errors import NoEventLoopError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    Steps: TypeAlias = Generator[
        Awaitable[Any], Any, Any
    ]  # yields what must be awaited, is sent what came of it
    Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Future[None]]

__all__ = (
    "ENDS",
    "OWN_FAULT",
    "CancelledError",
    "DispatchError",
    "Dispatched",
    "Phase",
    "Result",
    "follow",
    "is_awaitable",
    "spawn_rest",
    "start_task",
)

#: Where an error happened. ``state`` is ``system_to_state``. ``placeholder`` is the filling in of
#: one item. ``action`` is the expansion of one item, also of one with an unknown name or a wrong
#: shape. ``effect`` is the running of one effect. The others are the stages of interceptors.
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

#: What a plain function raises by its own fault. A task's cancellation arrives where something is
#: awaited, so a plain function that raises CancelledError has, for example, asked a cancelled
#: future for its result. Passed on, it would stop the code that ends a thousand streams. The same
#: holds for a SystemExit: the end of the process is not a hook's to decide. A KeyboardInterrupt
#: passes.
OWN_FAULT = (Exception, CancelledError, GeneratorExit, SystemExit)

#: What ends the steps where they wait: the task was cancelled, or its coroutine closed.
ENDS = (CancelledError, GeneratorExit)


class Result(NamedTuple):
    """One effect that ran, and what its handler returned, awaited where necessary."""

    effect: Any
    value: Any


class DispatchError(NamedTuple):
    """One failure in a dispatch; the rest of the dispatch went on."""

    phase: Phase
    #: The effect, action or other item that failed; None where it was the dispatch as a whole.
    item: Any
    exception: BaseException
    #: The ``id`` of the interceptor whose stage failed; None elsewhere, and for one without an id.
    interceptor_id: Any = None


#: Tasks under way. The event loop itself keeps tasks only weakly; each one leaves when it is done.
_tasks: set[asyncio.Task[None]] = set()


class Dispatched:
    """What became of a dispatch; await it to wait for the end, from as many places as you like.

    It is finished already when nothing in the dispatch was asynchronous. Awaiting it also waits for
    results that go on by themselves, which have a method ``settled`` for that.
    Cancelling one who waits does not cancel the dispatch.

    Args:
        results: the list that the dispatch appends to.
        errors: the same for errors.
    """

    __slots__ = ("errors", "results", "task")

    def __init__(self, results: list[Result], errors: list[DispatchError]) -> None:
        #: The effects that succeeded, in the order in which they ran; grows until the dispatch is
        #: done.
        self.results: list[Result] = results
        #: What went wrong, in order.
        self.errors: list[DispatchError] = errors
        #: Does what could not be done at once; None when there was nothing.
        self.task: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "done" if self.done else "under way"
        return f"<Dispatched {state}: {len(self.results)} results, {len(self.errors)} errors>"

    @property
    def done(self) -> bool:
        """Whether the dispatch has come to its end."""
        return self.task is None or self.task.done()

    def __await__(self) -> Generator[Any, None, Dispatched]:
        if self.task is not None:
            yield from asyncio.shield(self.task).__await__()
        for result in self.results:
            # A result may go on by itself after its effect has run, such as bytes on their way.
            if hasattr(type(result.value), "settled"):
                yield from result.value.settled().__await__()
        return self

    async def settled(self) -> None:
        """Wait for the end, as awaiting it does; for a dispatch that is the result of an effect."""
        await self


def is_awaitable(value: object) -> bool:
    """Return whether a result must be awaited; a finished :class:`Dispatched` need not be."""
    # Asked of the type: an object that answers to every attribute name is not awaitable for that.
    return hasattr(type(value), "__await__") and not (isinstance(value, Dispatched) and value.done)


def start_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a coroutine as a task of the running event loop, and keep it until it is done.

    Raises:
        RuntimeError: when no event loop runs in this thread.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def spawn_rest(
    steps: Steps, awaitable: Awaitable[Any] | None, spawn: Spawn
) -> asyncio.Future[None] | None:
    """Spawn the rest of steps that have come to something to be awaited.

    Where nothing can be spawned, what asked to be awaited gets a :class:`NoEventLoopError`, and the
    steps go on.

    Args:
        steps: begun.
        awaitable: what they yielded last.
        spawn: starts a coroutine; raises RuntimeError where no event loop runs.

    Returns:
        What does the rest, or None when the steps have come to their end.
    """
    try:
        while awaitable is not None:
            rest = follow(steps, awaitable)
            try:
                return spawn(rest)
            except RuntimeError as error:
                # Closed, because nothing will ever await them, and Python would warn of that.
                rest.close()
                if isinstance(awaitable, Coroutine):
                    awaitable.close()
                refused = NoEventLoopError(
                    f"{awaitable!r} must be awaited, and no event loop runs here; dispatch in the event "
                    "loop's thread, such as with dispatch_threadsafe, or make the handler synchronous"
                )
                refused.__cause__ = error
            awaitable = steps.throw(refused)
    except StopIteration:
        pass
    return None


async def follow(steps: Steps, awaitable: Awaitable[Any] | None) -> None:
    """Run steps to their end, awaiting what they yield.

    Args:
        steps: begun already; ``next(steps, None)`` gives the second argument.
        awaitable: what they yielded last, or None when they have ended.
    """
    if awaitable is None:
        return
    try:
        while True:
            try:
                value = await awaitable
            except (Exception, SystemExit) as error:
                awaitable = steps.throw(error)
            else:
                awaitable = steps.send(value)
    except StopIteration:
        return
