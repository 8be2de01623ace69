"""Effects: what can be dispatched, how it runs, what is returned."""

import asyncio
from collections.abc import Sequence
from types import NoneType
from typing import get_args, get_origin

import pytest

from sfere_tornado.dispatch import Dispatched, Effect, Effects, Registry, effect
from sfere_tornado.dispatch.effect import as_effects
from sfere_tornado.errors import EffectShapeError


@pytest.fixture
def registry():
    """Return a registry with an effect that returns its argument, and one that fails."""
    registry = Registry()
    registry.effect("log")(lambda ctx, value=None: value)
    registry.effect("fail")(lambda ctx: 1 / 0)
    return registry


@pytest.mark.parametrize(
    ("given", "items"),
    [
        (None, []),
        ([], []),
        ((), []),
        (("log", 1), [("log", 1)]),
        ([("log", 1), ("log", 2)], [("log", 1), ("log", 2)]),
        ((("log", 1), ("log", 2)), [("log", 1), ("log", 2)]),
        ([["log", 1]], [["log", 1]]),
        (["log", 1], ["log", 1]),
    ],
)
def test_what_can_be_dispatched(given, items):
    """One effect is a tuple that begins with a string; any other tuple or list holds several; None is nothing."""
    assert as_effects(given) == items


def test_the_callers_list_is_copied():
    """What was given is not the list that a dispatch works on."""
    given = [("log", 1)]
    assert as_effects(given) is not given


@pytest.mark.parametrize("given", [5, "log", {"log": 1}, iter([])])
def test_nothing_else_can_be_dispatched(given):
    """Anything but a tuple, a list or None is refused."""
    with pytest.raises(EffectShapeError, match="neither an effect nor a list of effects"):
        as_effects(given)


def test_type_aliases_name_the_shapes():
    """One effect is a tuple; one, a sequence of them or None can be dispatched."""
    assert issubclass(Effect, tuple)
    assert [get_origin(part) or part for part in get_args(Effects)] == [
        Effect,
        tuple,
        Sequence,
        NoneType,
    ]


def test_an_effect_equals_the_plain_tuple():
    """An effect made by name compares with plain tuples, and knows its name."""
    made = effect("log", 1)

    assert made == ("log", 1)
    assert (made.name, hash(made)) == ("log", hash(("log", 1)))


@pytest.mark.parametrize("name", ["", None, 1, ("log",)])
def test_an_effect_needs_a_name(name):
    """A name that is not a string, or is empty, is refused where the effect is made."""
    with pytest.raises(EffectShapeError, match="the name of an effect"):
        effect(name)


@pytest.mark.parametrize("exception", [asyncio.CancelledError, GeneratorExit, SystemExit])
def test_the_own_cancellation_of_a_handler_is_an_error(quiet, registry, exception):
    """A plain handler that raises a cancellation of its own stops nothing: the rest runs."""

    @registry.effect
    def leave(ctx):
        raise exception

    done = quiet(registry).dispatch([("leave",), ("log", 1)])
    assert [result.value for result in done.results] == [1]
    assert [type(error.exception) for error in done.errors] == [exception]


def test_results_are_pairs_in_order(quiet, registry):
    """Each result has the effect as executed and what it returned, in the order in which they ran."""
    done = quiet(registry).dispatch([("log", 1), ("log", 2)])
    assert [(result.effect, result.value) for result in done.results] == [
        (("log", 1), 1),
        (("log", 2), 2),
    ]
    assert done.errors == []


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_nothing_dispatched_is_nothing_done(quiet, registry, nothing):
    """Without effects there are neither results nor errors."""
    done = quiet(registry).dispatch(nothing)
    assert (done.results, done.errors, done.done) == ([], [], True)


def test_failing_effect_stops_no_other(quiet, registry):
    """An exception is one error, phase ``effect``, only successes are results, and the others run."""
    dispatcher = quiet(registry)
    done = dispatcher.dispatch([("log", 1), ("fail",), ("log", 3)])
    assert [result.value for result in done.results] == [1, 3]
    (error,) = done.errors
    assert (error.phase, error.item, type(error.exception), error.interceptor_id) == (
        "effect",
        ("fail",),
        ZeroDivisionError,
        None,
    )
    assert dispatcher.reported == [error]


def test_wrong_number_of_arguments_is_an_ordinary_error(quiet, registry):
    """An effect with too many arguments fails as any other does."""
    done = quiet(registry).dispatch([("log", 1, 2, 3)])
    assert [(error.phase, type(error.exception)) for error in done.errors] == [
        ("effect", TypeError)
    ]


def test_handler_gets_the_context(quiet, registry):
    """A handler reads system, dispatch data and its own effect from the context."""
    registry.effect("look")(
        lambda ctx, *arguments: (ctx.system, ctx.dispatch_data, ctx.effect, arguments)
    )
    done = quiet(registry).dispatch(("look", 1, 2), system={"db": 1}, dispatch_data={"id": 2})
    assert done.results[0].value == ({"db": 1}, {"id": 2}, ("look", 1, 2), (1, 2))


def test_changing_the_list_of_effects_changes_nothing(quiet, registry):
    """The effects that run were decided before the first one; a handler that adds to the list starts no loop."""
    registry.effect("more")(lambda ctx: ctx.effects.append(("more",)))
    done = quiet(registry).dispatch([("more",), ("log", 1)])
    assert [result.effect for result in done.results] == [("more",), ("log", 1)]


def test_asynchronous_effects_run_one_after_the_other(quiet, registry):
    """A later effect waits for an awaited earlier one, whose result is what came of it."""
    order = []

    @registry.effect
    async def slow(ctx, name):
        order.append(name + " begins")
        await asyncio.sleep(0)
        order.append(name + " ends")
        return name

    async def main():
        return await quiet(registry).dispatch([("slow", "a"), ("slow", "b"), ("log", "c")])

    done = asyncio.run(main())
    assert order == ["a begins", "a ends", "b begins", "b ends"]
    assert [result.value for result in done.results] == ["a", "b", "c"]


def test_failing_coroutine_stops_no_other(quiet, registry):
    """An exception in an awaited effect is an error like any other."""

    @registry.effect
    async def slow_fail(ctx):
        await asyncio.sleep(0)
        raise LookupError("no")

    async def main():
        return await quiet(registry).dispatch([("slow_fail",), ("log", 1), ("slow_fail",)])

    done = asyncio.run(main())
    assert [result.value for result in done.results] == [1]
    assert [(error.phase, type(error.exception)) for error in done.errors] == [
        ("effect", LookupError)
    ] * 2


def test_any_awaitable_is_awaited(quiet, registry):
    """An effect may be a plain function that returns a future."""

    @registry.effect
    def ask(ctx):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, 42)
        return future

    async def main():
        return await quiet(registry).dispatch(("ask",))

    assert asyncio.run(main()).results[0].value == 42


def test_finished_dispatch_as_a_result_is_not_awaited(quiet, registry):
    """An effect that returns a finished continuation leaves the dispatch synchronous; the result is that dispatch."""
    registry.effect("nest")(lambda ctx: ctx.dispatch(("log", 1)))
    done = quiet(registry).dispatch(("nest",))
    assert done.done
    assert isinstance(done.results[0].value, Dispatched)
    assert [result.value for result in done.results[0].value.results] == [1]


def test_unfinished_dispatch_as_a_result_is_awaited(quiet, registry):
    """An effect that returns a continuation under way is waited for; the result is that dispatch, finished."""

    @registry.effect
    async def slow(ctx):
        await asyncio.sleep(0)
        return "slow"

    registry.effect("nest")(lambda ctx: ctx.dispatch(("slow",)))

    async def main():
        done = quiet(registry).dispatch([("nest",), ("log", 1)])
        assert not done.done
        return await done

    nested, after = (result.value for result in asyncio.run(main()).results)
    assert (type(nested), nested.done, nested.results[0].value, after) == (
        Dispatched,
        True,
        "slow",
        1,
    )


@pytest.mark.parametrize("exception", [KeyboardInterrupt])
def test_more_than_an_exception_passes_through(quiet, registry, exception):
    """Exits are not collected: they reach whoever dispatched, and nothing further runs."""
    ran = []
    registry.effect("note")(lambda ctx: ran.append(1))

    @registry.effect
    def leave(ctx):
        raise exception

    with pytest.raises(exception):
        quiet(registry).dispatch([("leave",), ("note",)])
    assert ran == []
