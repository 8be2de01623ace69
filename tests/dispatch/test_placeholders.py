"""Placeholders: what is filled in, what never is, how deep."""

import asyncio
import json
from collections import namedtuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.dispatch import MAX_PLACEHOLDER_DEPTH, Registry
from sfere_tornado.dispatch.placeholders import fill
from sfere_tornado.errors import EffectShapeError
from sfere_tornado.keys import Key


def filled(value, data=None, **handlers):
    """Run the walk over one value, none of whose handlers is asynchronous."""
    steps = fill(value, data or {}, handlers)
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("something was to be awaited")


def get(data, name):
    return data[name]


@pytest.fixture
def registry():
    """Return a registry with an effect that returns its arguments, and a placeholder that looks into the data."""
    registry = Registry()
    registry.effect("log")(lambda ctx, *arguments: arguments)
    registry.placeholder("get")(get)
    return registry


# -- what is filled in


def test_handler_gets_dispatch_data_and_arguments():
    """A tuple that begins with a registered name becomes what the handler returns for dispatch data and arguments."""
    assert filled(("log", ("get", "name")), {"name": "brian"}, get=get) == ("log", "brian")


def test_arguments_are_filled_in_first():
    """A placeholder among a placeholder's arguments is filled in before the outer one is asked."""
    data = {"which": "name", "name": "brian"}
    assert filled(("log", ("get", ("get", "which"))), data, get=get) == ("log", "brian")


def test_unknown_names_pass_but_are_walked():
    """A tuple with an unregistered name stays, and placeholders within it are filled in."""
    assert filled(("log", ("other", ("get", "a"))), {"a": 1}, get=get) == ("log", ("other", 1))


def test_lists_tuples_and_dict_values_are_walked():
    """Placeholders are found in tuples, in lists and in the values of dicts, at any depth; the types stay."""
    value = ("log", [{"deep": ([("get", "a")],)}])
    assert filled(value, {"a": 1}, get=get) == ("log", [{"deep": ([1],)}])


def test_dict_keys_are_never_filled_in():
    """A tuple that is the key of a dict stays, whatever it begins with."""
    value = ("log", {("get", "a"): ("get", "a")})
    assert filled(value, {"a": 1}, get=get) == ("log", {("get", "a"): 1})


def test_sets_are_not_walked():
    """Sets and frozensets are left alone."""
    value = ("log", {("get", "a")}, frozenset({("get", "a")}))
    assert filled(value, {"a": 1}, get=get) is value


def test_nothing_filled_in_is_the_same_object():
    """Where there is no placeholder nothing is copied, not even the parts beside one that is filled in."""
    plain = {"a": [1, ("x", 2)]}
    value = ("log", plain)
    assert filled(value, get=get) is value
    changed = filled(("log", plain, ("get", "a")), {"a": 1}, get=get)
    assert changed == ("log", plain, 1)
    assert changed[1] is plain


def test_the_callers_data_is_not_changed():
    """Lists and dicts of the caller stay as they were when something in them is filled in."""
    value = ("log", [("get", "a")], {"x": ("get", "a")})
    assert filled(value, {"a": 1}, get=get) == ("log", [1], {"x": 1})
    assert value == ("log", [("get", "a")], {"x": ("get", "a")})


def test_none_is_a_value():
    """A placeholder may become None, and may be asked with None."""
    assert filled(("log", ("echo", None)), echo=lambda data, value: value) == ("log", None)


def test_what_a_handler_returns_is_filled_in_again():
    """Placeholders in what a handler returns are filled in too."""
    handlers = {"get": get, "pair": lambda data: [("get", "a"), ("get", "b")]}
    assert filled(("log", ("pair",)), {"a": 1, "b": 2}, **handlers) == ("log", [1, 2])


def test_placeholder_that_returns_itself_stays():
    """A placeholder that returns itself, arguments filled in, is left as data and asked only once."""
    calls = []

    def later(data, *arguments):
        calls.append(arguments)
        return ("later", *arguments)

    assert filled(("log", ("later", ("get", "a"))), {"a": 1}, get=get, later=later) == (
        "log",
        ("later", 1),
    )
    assert calls == [(1,)]


# -- what never is


def test_what_json_can_say_is_never_a_placeholder():
    """Security: a client's JSON becomes lists, and a list is no placeholder, whatever it begins with."""
    sent = json.loads(
        '{"text": ["get", "secret"], "more": [["get", "secret"]], "get": ["get", "secret"]}'
    )
    value = ("log", sent, ["get", "secret"])
    assert filled(value, {"secret": "hunter2"}, get=get) is value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.sampled_from(["get", "secret", "log"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["get", "a"]), inner, max_size=3)
        ),
        max_leaves=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_generated_json_is_changed(sent):
    """Security: whatever JSON is sent as an argument, it reaches the effect as the same object."""
    value = ("log", sent)
    assert filled(value, {"secret": "hunter2"}, get=get) is value


@pytest.mark.parametrize(
    "opaque",
    [Key("get", ("get", ("get", "a"))), namedtuple("Pair", "first second")("get", ("get", "a"))],  # noqa: PYI024  # the untyped form is meant
)
def test_subclasses_of_tuple_are_left_alone(opaque):
    """Keys, patterns, events and other named tuples are neither placeholders nor walked."""
    value = ("log", opaque)
    assert filled(value, {"a": 1}, get=get) is value


@pytest.mark.parametrize("other", [(), (1, 2), (None,), ([],), ("GET", 1), (b"get", 1)])
def test_a_placeholder_begins_with_its_name(other):
    """Tuples that are empty or begin with something else than the very name pass, also when that cannot be hashed."""
    value = ("log", other)
    assert filled(value, get=get) is value


# -- depth


def down(data, n):
    return ("down", n - 1) if n else "ground"


def test_a_chain_of_results_is_followed_to_the_bound():
    """Nine further placeholders resolve one after the other; the tenth is left as data."""
    assert filled(("log", ("down", MAX_PLACEHOLDER_DEPTH - 1)), down=down) == ("log", "ground")
    assert filled(("log", ("down", MAX_PLACEHOLDER_DEPTH)), down=down) == ("log", ("down", 0))


def test_arguments_are_followed_to_the_bound():
    """Placeholders nested nine deep in arguments are filled in; ten deep, the innermost is left as data."""

    def wrapped(levels):
        return ("wrap", wrapped(levels - 1)) if levels else ("user",)

    handlers = {
        "wrap": lambda data, inner: inner if isinstance(inner, str) else "left",
        "user": lambda data: "brian",
    }
    assert filled(("log", wrapped(9)), **handlers) == ("log", "brian")
    assert filled(("log", wrapped(10)), **handlers) == ("log", "left")


def test_a_growing_placeholder_stops():
    """A placeholder that returns itself with more each time is asked as often as the bound says, and no more."""
    calls = []

    def grow(data, *arguments):
        calls.append(arguments)
        return ("grow", *arguments, 1)

    assert filled(("log", ("grow",)), grow=grow) == ("log", ("grow", *[1] * MAX_PLACEHOLDER_DEPTH))
    assert len(calls) == MAX_PLACEHOLDER_DEPTH


def test_plain_nesting_costs_no_depth():
    """Thirty lists around a placeholder do not count towards the bound."""
    value, expected = ("get", "a"), 1
    for _ in range(30):
        value, expected = [value], [expected]
    assert filled(("log", value), {"a": 1}, get=get) == ("log", expected)


def test_data_nested_beyond_pythons_stack_is_an_error_of_its_item(quiet, registry):
    """A list that contains itself costs that item, with an error, and nothing else."""
    endless = []
    endless.append(endless)
    done = quiet(registry).dispatch([("log", endless), ("log", 1)])
    assert [result.value for result in done.results] == [(1,)]
    assert [(error.phase, type(error.exception)) for error in done.errors] == [
        ("placeholder", RecursionError)
    ]


# -- in a dispatch


def test_without_placeholders_the_walk_is_skipped(quiet):
    """Where none is registered nothing is looked at: not even data that could not be walked."""
    endless = []
    endless.append(endless)
    dispatcher = quiet({"effects": {"log": lambda ctx, *arguments: arguments}})
    assert dispatcher.dispatch(("log", endless)).results[0].value[0] is endless


def test_results_show_the_effect_as_executed(quiet, registry):
    """The effect in a result has its placeholders filled in."""
    done = quiet(registry).dispatch(("log", ("get", "a")), dispatch_data={"a": 1})
    assert done.results == [(("log", 1), (1,))]


def test_failing_placeholder_costs_its_item_only(quiet, registry):
    """An exception in a placeholder is one error, phase ``placeholder``; its item is dropped, the others go on."""
    dispatcher = quiet(registry)
    bad = ("log", 1, ("get", "missing"))
    done = dispatcher.dispatch([bad, ("log", 2)])
    assert [result.value for result in done.results] == [(2,)]
    assert [(error.phase, error.item, type(error.exception)) for error in done.errors] == [
        ("placeholder", bad, KeyError)
    ]
    assert dispatcher.reported == done.errors


def test_placeholder_for_a_whole_effect(quiet, registry):
    """A placeholder may stand where an effect stands."""
    done = quiet(registry).dispatch([("get", "a"), ("log", 2)], dispatch_data={"a": ("log", 1)})
    assert [result.value for result in done.results] == [(1,), (2,)]


@pytest.mark.parametrize("several", [[("log", 1), ("log", 2)], (("log", 1), ("log", 2))])
def test_placeholder_for_all_effects(quiet, registry, several):
    """A placeholder may stand for a list of effects, as the only thing dispatched or as one of several."""
    dispatcher = quiet(registry)
    alone = dispatcher.dispatch(("get", "a"), dispatch_data={"a": several})
    assert [result.value for result in alone.results] == [(1,), (2,)]
    among = dispatcher.dispatch(
        [("log", 0), ("get", "a"), ("log", 3)], dispatch_data={"a": several}
    )
    assert [result.value for result in among.results] == [(0,), (1,), (2,), (3,)]


def test_placeholder_for_no_effect(quiet, registry):
    """A placeholder that stands for an effect and becomes None is nothing to do."""
    done = quiet(registry).dispatch(("get", "a"), dispatch_data={"a": None})
    assert (done.results, done.errors) == ([], [])


def test_placeholder_for_an_effect_that_becomes_something_else(quiet, registry):
    """A placeholder that stands for an effect and becomes a number is an error of that item."""
    done = quiet(registry).dispatch([("get", "a"), ("log", 2)], dispatch_data={"a": 5})
    assert [result.value for result in done.results] == [(2,)]
    assert [(error.phase, type(error.exception)) for error in done.errors] == [
        ("placeholder", EffectShapeError)
    ]


def test_what_an_action_returns_is_filled_in(quiet, registry):
    """The output of each action is filled in, with the same dispatch data."""
    registry.action("tell")(lambda state: [("log", ("get", "a"))])
    done = quiet(registry).dispatch(("tell",), dispatch_data={"a": 1})
    assert done.results == [(("log", 1), (1,))]


def test_arguments_of_actions_are_filled_in_before(quiet, registry):
    """The arguments of a dispatched action are filled in before it is asked."""
    seen = []
    registry.action("tell")(lambda state, name: seen.append(name))
    quiet(registry).dispatch(("tell", ("get", "a")), dispatch_data={"a": 1})
    assert seen == [1]


def test_failing_placeholder_in_an_actions_output_costs_that_item_only(quiet, registry):
    """An exception while an action's output is filled in drops the one item that it was in."""
    registry.action("tell")(lambda state: [("log", ("get", "missing")), ("log", 2)])
    done = quiet(registry).dispatch(("tell",))
    assert [result.value for result in done.results] == [(2,)]
    assert [error.phase for error in done.errors] == ["placeholder"]


def test_effects_of_a_continuation_are_filled_in_too_early_unless_they_stay(quiet, registry):
    """Everything dispatched is filled in before it runs, so one meant for a continuation returns itself until then."""
    registry.placeholder("early")(lambda data: data.get("answer", "too early"))
    registry.placeholder("late")(lambda data: data.get("answer", ("late",)))
    registry.effect("ask")(lambda ctx, *effects: ctx.dispatch(effects, data={"answer": 42}))
    done = quiet(registry).dispatch(("ask", ("log", ("early",)), ("log", ("late",))))
    assert [result.value for result in done.results[0].value.results] == [("too early",), (42,)]


def test_asynchronous_placeholder(quiet, registry):
    """A placeholder may be a coroutine function; what it returns is filled in again."""

    async def fetch(data, name):
        await asyncio.sleep(0)
        return ("get", name)

    registry.placeholder("fetch")(fetch)

    async def main():
        return await quiet(registry).dispatch(("log", [("fetch", "a")]), dispatch_data={"a": 1})

    assert asyncio.run(main()).results == [(("log", [1]), ([1],))]
