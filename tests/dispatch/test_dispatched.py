"""What is awaited and by whom: the two drivers, and what they hand back."""

import asyncio
import contextvars
import gc
import warnings

import pytest

from sfere_tornado.dispatch import Dispatched, Dispatcher, Registry, start_task
from sfere_tornado.dispatch import dispatched as module
from sfere_tornado.dispatch.dispatched import is_awaitable
from sfere_tornado.errors import NoEventLoopError


class Gate:
    """Something to await that opens when a test says so."""

    def __init__(self):
        self.opened = asyncio.get_running_loop().create_future()

    def open(self):
        self.opened.set_result("opened")


@pytest.fixture
def registry():
    """Return a registry with a synchronous effect and one that awaits what is in the system."""
    registry = Registry()
    registry.effect("log")(lambda ctx, value: value)

    @registry.effect
    async def wait(ctx):
        return await asyncio.shield(ctx.system["gate"].opened)

    return registry


# -- what is awaitable


def test_what_is_awaitable():
    """Coroutines, futures and dispatches under way are; plain values, classes and finished dispatches are not."""

    class AnswersToEverything:
        def __getattr__(self, name):
            return name

    class Awaitable:
        def __await__(self):
            yield

    async def main():
        coroutine = asyncio.sleep(0)
        under_way = Dispatched([], [])
        under_way.task = asyncio.get_running_loop().create_future()
        waiting = [coroutine, under_way.task, under_way, Awaitable()]
        assert [is_awaitable(value) for value in waiting] == [True] * 4
        coroutine.close()

    asyncio.run(main())
    values = [None, 0, "x", [], Awaitable, AnswersToEverything(), asyncio.sleep, Dispatched([], [])]
    assert [is_awaitable(value) for value in values] == [False] * len(values)


# -- at once


def test_synchronous_dispatch_is_finished_on_return(quiet, registry):
    """Where nothing is awaited everything has happened before dispatch returns, in the caller's turn."""
    done = quiet(registry).dispatch([("log", 1), ("log", 2)])
    assert done.done
    assert [result.value for result in done.results] == [1, 2]
    assert repr(done) == "<Dispatched done: 2 results, 0 errors>"


def test_awaiting_a_finished_dispatch_needs_no_loop(quiet, registry):
    """Awaiting a finished dispatch gives it back at once, without an event loop."""
    done = quiet(registry).dispatch(("log", 1))
    with pytest.raises(StopIteration) as end:
        next(iter(done.__await__()))
    assert end.value.value is done


def test_two_dispatches_happen_in_their_order(quiet, registry):
    """Synchronous dispatches in a row run in that order, also inside of an event loop."""
    order = []
    registry.effect("note")(lambda ctx, n: order.append(n))

    async def main():
        dispatcher = quiet(registry)
        for n in range(5):
            dispatcher.dispatch(("note", n))
        return list(order)

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_what_is_before_the_first_awaitable_happens_at_once(quiet, registry):
    """Effects before an asynchronous one have run when dispatch returns; it and the later ones follow."""

    async def main():
        gate = Gate()
        done = quiet(registry).dispatch([("log", 1), ("wait",), ("log", 3)], system={"gate": gate})
        assert not done.done
        assert [result.value for result in done.results] == [1]
        assert repr(done) == "<Dispatched under way: 1 results, 0 errors>"
        gate.open()
        assert await done is done
        assert done.done
        return [result.value for result in done.results]

    assert asyncio.run(main()) == [1, "opened", 3]


def test_awaited_from_two_places(quiet, registry):
    """Any number of coroutines may wait for the same dispatch, and again after its end."""

    async def main():
        gate = Gate()
        done = quiet(registry).dispatch(("wait",), system={"gate": gate})

        async def waiter():
            return await done

        waiters = [asyncio.ensure_future(waiter()) for _ in range(2)]
        await asyncio.sleep(0)
        gate.open()
        return done, [*await asyncio.gather(*waiters), await done]

    done, seen = asyncio.run(main())
    assert seen == [done] * 3


def test_cancelling_a_waiter_does_not_cancel_the_dispatch(quiet, registry):
    """Who gives up waiting takes nothing from the dispatch, nor from others who wait."""

    async def main():
        gate = Gate()
        done = quiet(registry).dispatch([("wait",), ("log", 2)], system={"gate": gate})

        async def waiter():
            return await done

        impatient = asyncio.ensure_future(waiter())
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        gate.open()
        return [result.value for result in (await done).results]

    assert asyncio.run(main()) == ["opened", 2]


def test_cancelling_the_task_reaches_who_waits(quiet, registry):
    """Where the rest of a dispatch is cancelled it is at its end, no later effect runs, and who awaits it is told."""

    async def main():
        done = quiet(registry).dispatch([("wait",), ("log", 2)], system={"gate": Gate()})
        await asyncio.sleep(0)
        done.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await done
        return done

    done = asyncio.run(main())
    assert (done.done, done.results, done.errors) == (True, [], [])


def test_the_rest_is_spawned_as_one_coroutine(registry):
    """Whoever makes the dispatcher decides how the rest is run; there is one coroutine however much is awaited."""
    spawned = []

    def spawn(coroutine):
        spawned.append(coroutine)
        return start_task(coroutine)

    async def main():
        gate = Gate()
        dispatcher = Dispatcher([registry], spawn=spawn)
        done = dispatcher.dispatch([("wait",), ("wait",)], system={"gate": gate})
        assert len(spawned) == 1
        dispatcher.dispatch(("log", 1))
        gate.open()
        await done
        return len(spawned)

    assert asyncio.run(main()) == 1


def test_tasks_are_kept_until_they_are_done(registry):
    """The rest of a dispatch that nobody keeps is not lost to the garbage collector, and let go of at its end."""
    registry.effect("end")(lambda ctx: ctx.system["ended"].set())

    async def main():
        gate, ended = Gate(), asyncio.Event()
        dispatcher = Dispatcher([registry])
        dispatcher.dispatch([("wait",), ("end",)], system={"gate": gate, "ended": ended})
        await asyncio.sleep(0)
        gc.collect()
        assert len(module._tasks) == 1
        gate.open()
        await ended.wait()

    asyncio.run(main())
    assert module._tasks == set()


# -- without an event loop


def test_without_an_event_loop_an_awaitable_is_an_error_of_its_item(quiet, registry):
    """What must be awaited where no loop runs fails with a reason; the rest goes on, and Python warns of nothing."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        done = quiet(registry).dispatch([("log", 1), ("wait",), ("log", 3), ("wait",)])
        gc.collect()
    assert warned == []
    assert done.done
    assert [result.value for result in done.results] == [1, 3]
    assert [(error.phase, error.item, type(error.exception)) for error in done.errors] == [
        ("effect", ("wait",), NoEventLoopError)
    ] * 2
    assert "dispatch_threadsafe" in str(done.errors[0].exception)
    assert isinstance(done.errors[0].exception.__cause__, RuntimeError)


def test_without_an_event_loop_every_phase_goes_on(quiet, registry):
    """State, stages, placeholders and actions that must be awaited fail in their own phases."""

    async def never(*arguments):
        raise AssertionError("nobody can await this")

    registry.system_to_state(never)
    registry.action("act")(never)
    registry.placeholder("get")(never)
    registry.interceptor({"id": "x", "before_dispatch": never, "after_dispatch": never})
    done = quiet(registry).dispatch([("log", ("get",)), ("act",), ("log", 1)])
    assert [result.value for result in done.results] == [1]
    assert [error.phase for error in done.errors] == [
        "state",
        "before_dispatch",
        "placeholder",
        "action",
        "after_dispatch",
    ]
    assert {type(error.exception) for error in done.errors} == {NoEventLoopError}


def test_without_an_event_loop_other_awaitables_are_left_alone(quiet, registry):
    """Only coroutines are closed; another awaitable without a loop is an error like them, and keeps its state."""

    class Awaitable:
        closed = False

        def __await__(self):
            yield

        def close(self):
            self.closed = True

    awaitable = Awaitable()
    registry.effect("ask")(lambda ctx: awaitable)
    done = quiet(registry).dispatch(("ask",))
    assert [type(error.exception) for error in done.errors] == [NoEventLoopError]
    assert not awaitable.closed


# -- in the caller's coroutine


def test_run_spawns_nothing(registry):
    """``run`` awaits in the caller's own coroutine and hands back a finished dispatch."""

    def spawn(coroutine):
        raise AssertionError("nothing is to be spawned")

    async def main():
        gate = Gate()
        asyncio.get_running_loop().call_soon(gate.open)
        return await Dispatcher([registry], spawn=spawn).run(
            [("log", 1), ("wait",)], system={"gate": gate}
        )

    done = asyncio.run(main())
    assert done.done
    assert [result.value for result in done.results] == [1, "opened"]


def test_run_of_something_synchronous_needs_no_loop(quiet, registry):
    """``run`` of synchronous effects comes to its end without awaiting anything."""
    coroutine = quiet(registry).run(("log", 1))
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert [result.value for result in end.value.value.results] == [1]


def test_run_has_the_same_steps_and_errors(quiet, registry):
    """``run`` collects and reports what fails as dispatch does, and takes the same arguments."""
    told = []

    @registry.effect
    async def slow_fail(ctx):
        await asyncio.sleep(0)
        raise OSError(ctx.dispatch_data["why"])

    dispatcher = quiet(registry)
    chain = dispatcher.chain({"after_dispatch": lambda ctx: ctx.results.append("last")})

    async def main():
        return await dispatcher.run(
            [("slow_fail",), ("log", 2)],
            dispatch_data={"why": "no"},
            chain=chain,
            report=told.append,
        )

    done = asyncio.run(main())
    assert done.results == [(("log", 2), 2), "last"]
    assert [str(error.exception) for error in done.errors] == ["no"]
    assert told == done.errors


def test_cancelling_the_caller_of_run_cancels_the_effect(quiet, registry):
    """Cancellation reaches the effect that is awaited, passes through, and no later effect or stage runs."""
    seen = []

    @registry.effect
    async def sleep(ctx):
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    registry.effect("note")(lambda ctx: seen.append("ran"))
    registry.interceptor({"after_dispatch": lambda ctx: seen.append("after")})

    async def main():
        caller = asyncio.ensure_future(quiet(registry).run([("sleep",), ("note",)]))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_context_variables_of_run_are_the_callers(quiet, registry):
    """What an effect sets in a context variable during ``run``, its caller sees."""
    variable = contextvars.ContextVar("variable", default="unset")

    @registry.effect
    async def put(ctx):
        await asyncio.sleep(0)
        variable.set("set")

    async def main():
        await quiet(registry).run(("put",))
        return variable.get()

    assert asyncio.run(main()) == "set"
