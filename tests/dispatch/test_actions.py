"""Actions: expansion into effects, in place, from the state, with an end."""

import asyncio

import pytest

from sfere_tornado.dispatch import MAX_EXPANSION_DEPTH, Registry
from sfere_tornado.errors import EffectShapeError, ExpansionDepthError, UnknownEffectError


@pytest.fixture
def registry():
    """Return a registry with an effect that returns its one argument."""
    registry = Registry()
    registry.effect("log")(lambda ctx, value: value)
    return registry


def values(done):
    return [result.value for result in done.results]


def test_action_gets_state_and_arguments(quiet, registry):
    """An action is called with the state, made of the system, and its arguments; what it returns is run."""
    registry.system_to_state(lambda system: system["db"])
    registry.action("greet")(lambda state, name: [("log", (state, name))])
    assert values(quiet(registry).dispatch(("greet", "brian"), system={"db": {"lang": "en"}})) == [
        ({"lang": "en"}, "brian")
    ]


def test_without_system_to_state_the_state_is_none(quiet, registry):
    """Actions get None where no ``system_to_state`` is registered."""
    registry.action("greet")(lambda state: [("log", state)])
    assert values(quiet(registry).dispatch(("greet",), system={"db": 1})) == [None]


def test_state_is_made_once_before_interceptors(quiet, registry):
    """The state is made once a dispatch, of the system as it was given, before any stage changes it."""
    calls = []
    registry.system_to_state(lambda system: calls.append(1) or dict(system))
    registry.action("greet")(lambda state: [("log", state)])
    registry.interceptor({"before_dispatch": lambda ctx: ctx.system.update(n=2)})
    done = quiet(registry).dispatch([("greet",), ("greet",)], system={"n": 1})
    assert values(done) == [{"n": 1}, {"n": 1}]
    assert calls == [1]


def test_failing_system_to_state_is_an_error_and_no_state(quiet, registry):
    """An exception in ``system_to_state`` is one error, phase ``state``; actions get None and the rest goes on."""
    registry.system_to_state(lambda system: system["missing"])
    registry.action("greet")(lambda state: [("log", state)])
    done = quiet(registry).dispatch(("greet",))
    assert values(done) == [None]
    assert [(error.phase, error.item, type(error.exception)) for error in done.errors] == [
        ("state", None, KeyError)
    ]


def test_asynchronous_state_and_action(quiet, registry):
    """``system_to_state`` and actions may be coroutine functions."""

    @registry.system_to_state
    async def state(system):
        await asyncio.sleep(0)
        return "state"

    @registry.action
    async def greet(state):
        await asyncio.sleep(0)
        return [("log", state)]

    async def main():
        return await quiet(registry).dispatch([("greet",), ("log", 2)])

    assert values(asyncio.run(main())) == ["state", 2]


def test_expansion_is_depth_first_and_in_place(quiet, registry):
    """What an action expands to stands where it stood, recursively, among the effects around it."""
    registry.action("outer")(lambda state: [("log", 2), ("inner",), ("log", 5)])
    registry.action("inner")(lambda state: (("log", 3), ("log", 4)))
    done = quiet(registry).dispatch([("log", 1), ("outer",), ("log", 6), ("inner",)])
    assert values(done) == [1, 2, 3, 4, 5, 6, 3, 4]


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_action_may_produce_nothing(quiet, registry, nothing):
    """None and an empty list are no effects, and no error."""
    registry.action("idle")(lambda state: nothing)
    done = quiet(registry).dispatch([("idle",), ("log", 1)])
    assert values(done) == [1]
    assert done.errors == []


def test_action_may_return_one_effect(quiet, registry):
    """An action may return one effect alone, as it may be dispatched alone."""
    registry.action("greet")(lambda state: ("log", 1))
    assert values(quiet(registry).dispatch(("greet",))) == [1]


@pytest.mark.parametrize("wrong", [5, "log", {"log": 1}, {("log", 1)}])
def test_action_that_returns_something_else_is_an_error(quiet, registry, wrong):
    """What is no effect, list, tuple or None is one error of the action; the others go on."""
    registry.action("odd")(lambda state: wrong)
    done = quiet(registry).dispatch([("odd",), ("log", 1)])
    assert values(done) == [1]
    assert [(error.phase, error.item, type(error.exception)) for error in done.errors] == [
        ("action", ("odd",), EffectShapeError)
    ]


def test_failing_action_is_one_error(quiet, registry):
    """An exception in an action is one error, phase ``action``, with the action as item; the others go on."""
    registry.action("fail")(lambda state: 1 / 0)
    dispatcher = quiet(registry)
    done = dispatcher.dispatch([("log", 1), ("fail",), ("log", 2)])
    assert values(done) == [1, 2]
    assert [(error.phase, error.item, type(error.exception)) for error in done.errors] == [
        ("action", ("fail",), ZeroDivisionError)
    ]
    assert dispatcher.reported == done.errors


def test_unknown_name_is_skipped_with_the_nearest(quiet, registry):
    """An item with an unknown name is one error, phase ``action``, that suggests a name; the others go on."""
    done = quiet(registry).dispatch([("lgo", 1), ("log", 2)])
    assert values(done) == [2]
    (error,) = done.errors
    assert (error.phase, error.item) == ("action", ("lgo", 1))
    assert isinstance(error.exception, UnknownEffectError)
    assert (error.exception.name, error.exception.suggestion) == ("lgo", "log")


def test_without_registries_every_name_is_unknown(quiet):
    """A dispatcher without registries knows no effect."""
    done = quiet().dispatch([("log", 1)])
    assert [type(error.exception) for error in done.errors] == [UnknownEffectError]


@pytest.mark.parametrize(
    "item", [(), [], 5, "log", None, {"log": 1}, (5, "log"), (("log", 1),), (None,), ([],)]
)
def test_malformed_items_are_errors(quiet, registry, item):
    """An item that is no tuple or list beginning with a string is one clear error; the others go on."""
    done = quiet(registry).dispatch([item, ("log", 1)])
    assert values(done) == [1]
    assert [(error.phase, error.item, type(error.exception)) for error in done.errors] == [
        ("action", item, EffectShapeError)
    ]


@pytest.mark.parametrize("effects", [[["log", 1]], ["log", 1], [["log"], ("log", 2)]])
def test_a_list_is_never_an_effect(quiet, registry, effects):
    """JSON has lists and no tuples: what a client sends is not run, and each item is an error."""
    done = quiet(registry).dispatch(effects)
    assert [result.effect for result in done.results] == [
        each for each in effects if type(each) is tuple
    ]
    assert {type(error.exception) for error in done.errors} == {EffectShapeError}
    assert "make it with its constructor" in str(done.errors[0].exception)


def test_name_of_both_kinds_is_an_effect(quiet, registry):
    """What is registered as effect and as action runs as the effect."""
    registry.action("log")(lambda state, value: [("log", "from the action")])
    assert values(quiet(registry).dispatch(("log", 1))) == [1]


def test_everything_is_expanded_before_the_first_effect(quiet, registry):
    """Errors of expansion come before errors of effects, wherever in the list their items stood."""
    registry.effect("fail")(lambda ctx: 1 / 0)
    done = quiet(registry).dispatch([("fail",), ("unknown",)])
    assert [error.phase for error in done.errors] == ["action", "effect"]


def test_expansion_to_the_bound(quiet, registry):
    """Expansions nested one less than the bound all work."""
    registry.action("down")(lambda state, n: [("down", n - 1) if n else ("log", "ground")])
    done = quiet(registry).dispatch(("down", MAX_EXPANSION_DEPTH - 2))
    assert values(done) == ["ground"]
    assert done.errors == []


def test_expansion_at_the_bound_is_dropped(quiet, registry):
    """The action at the bound is called, what it returns is dropped with one error, even effects."""
    registry.action("down")(lambda state, n: [("down", n - 1) if n else ("log", "ground")])
    done = quiet(registry).dispatch([("down", MAX_EXPANSION_DEPTH - 1), ("log", 1)])
    assert values(done) == [1]
    (error,) = done.errors
    assert (error.phase, error.item, type(error.exception)) == (
        "action",
        ("down", 0),
        ExpansionDepthError,
    )
    assert error.exception.limit == MAX_EXPANSION_DEPTH


def test_action_at_the_bound_may_produce_nothing(quiet, registry):
    """At the bound an action that produces nothing is no error: there is nothing to drop."""
    registry.action("down")(lambda state, n: [("down", n - 1)] if n else None)
    assert quiet(registry).dispatch(("down", MAX_EXPANSION_DEPTH - 1)).errors == []


@pytest.mark.parametrize("copies", [1, 2])
def test_endless_action_ends(quiet, registry, copies):
    """An action that expands into itself is called as often as the bound says, also when it does so twice over."""
    calls = []
    registry.action("again")(lambda state: calls.append(1) or [("again",)] * copies)
    done = quiet(registry).dispatch([("again",), ("log", 1)])
    assert len(calls) == MAX_EXPANSION_DEPTH
    assert values(done) == [1]
    assert [type(error.exception) for error in done.errors] == [ExpansionDepthError]
