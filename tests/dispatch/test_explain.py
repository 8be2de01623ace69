"""Explaining a dispatch: what is told of it, and that nothing of it happens."""

import asyncio

import pytest

from sfere_tornado.dispatch import Dispatcher, Registry
from sfere_tornado.dispatch.explain import Explanation, explain_dispatch
from sfere_tornado.errors import EffectShapeError, NoEventLoopError, UnknownEffectError


def never(*arguments):
    raise AssertionError("an explanation ran something")


@pytest.fixture
def registry():
    """Effects and stages that must not be called, an action that expands into another, and a placeholder."""
    registry = Registry("test")
    registry.effect("tell")(never)
    registry.action("greet")(lambda state, name: [("tell", name), ("again", name)])
    registry.action("again")(
        lambda state, name: [("tell", f"{name} of {state}"), ("tell", ("user",))]
    )
    registry.placeholder("user")(lambda data: data.get("user", ("user",)))
    registry.interceptor(
        {"id": "outer", "before_dispatch": never, "after_dispatch": never, "before_effect": never}
    )
    registry.innermost({"id": "inner", "before_dispatch": never, "after_dispatch": never})
    return registry


def test_everything_is_told_and_nothing_is_done(registry):
    """Values of placeholders, expansions, effects in order and stages in order are told; no effect and no stage runs."""
    registry.system_to_state(lambda system: system["place"])
    told = explain_dispatch(
        Dispatcher([registry]),
        [("greet", ("user",)), ("tell", 1)],
        system={"place": "here"},
        dispatch_data={"user": "brian"},
    )
    assert told.placeholders == [(("user",), "brian"), (("user",), "brian")]
    assert told.expansions == [
        (("greet", "brian"), [("tell", "brian"), ("again", "brian")]),
        (("again", "brian"), [("tell", "brian of here"), ("tell", "brian")]),
    ]
    assert [step.effect for step in told.steps] == [
        ("tell", "brian"),
        ("tell", "brian of here"),
        ("tell", "brian"),
        ("tell", 1),
    ]
    assert told.errors == []
    assert told.stages == {
        "before_dispatch": ("outer", "inner"),
        "after_dispatch": ("inner", "outer"),
        "before_effect": ("outer",),
    }


def test_stages_of_a_chain_are_told(registry):
    """With a chain of its own, the stages are those of that chain."""
    dispatcher = Dispatcher([registry])
    chain = dispatcher.chain({"id": "route", "before_dispatch": never})
    assert explain_dispatch(dispatcher, ("tell",), chain=chain).stages["before_dispatch"] == (
        "outer",
        "route",
        "inner",
    )


def test_what_would_go_wrong_is_told(registry):
    """Unknown names, wrong shapes, failing actions and a failing state are errors of the explanation, not raised."""

    @registry.action("fail")
    def fail(state):
        raise ZeroDivisionError

    told = explain_dispatch(Dispatcher([registry]), [("tel", 1), ("fail",), 7, ("tell", 2)])
    assert [(error.phase, type(error.exception)) for error in told.errors] == [
        ("action", UnknownEffectError),
        ("action", ZeroDivisionError),
        ("action", EffectShapeError),
    ]
    assert [step.effect for step in told.steps] == [("tell", 2)]
    assert [
        type(error.exception) for error in explain_dispatch(Dispatcher([registry]), "tell").errors
    ] == [EffectShapeError]

    registry.system_to_state(lambda system: system["place"])
    told = explain_dispatch(Dispatcher([registry]), ("tell", 1))
    assert [(error.phase, type(error.exception)) for error in told.errors] == [("state", KeyError)]


def test_an_explanation_waits_for_nothing(registry):
    """An asynchronous action cannot be expanded; it is told as an error, also where an event loop runs."""

    @registry.action("later")
    async def later(state):
        await asyncio.sleep(0)

    async def in_a_loop():
        return explain_dispatch(Dispatcher([registry]), [("later",), ("tell", 1)])

    for told in (
        explain_dispatch(Dispatcher([registry]), [("later",), ("tell", 1)]),
        asyncio.run(in_a_loop()),
    ):
        assert [type(error.exception) for error in told.errors] == [NoEventLoopError]
        assert [step.effect for step in told.steps] == [("tell", 1)]


def test_previews_say_what_effects_would_do(registry):
    """A preview is asked with the effect's arguments, may explain what it would dispatch, and may fail."""
    registry.effect("nest")(never)
    dispatcher = Dispatcher([registry])

    def nest(ctx, explain, *effects):
        return {"inside": explain(effects, {"place": "there"})}

    def tell(ctx, explain, text):
        return {"text": text, "place": ctx.system["place"]}

    told = explain_dispatch(
        dispatcher,
        [("nest", ("tell", ("user",))), ("tell", 1)],
        system={"home": 1},
        dispatch_data={"user": "brian"},
        previews={"nest": nest, "tell": tell},
    )
    inside = told.steps[0].details["inside"]
    assert isinstance(inside, Explanation)
    assert [tuple(step) for step in inside.steps] == [
        (("tell", "brian"), {"text": "brian", "place": "there"})
    ]
    assert told.steps[1].details == {}
    assert [(error.phase, error.item, type(error.exception)) for error in told.errors] == [
        ("effect", ("tell", 1), KeyError)
    ]


def test_an_explanation_can_be_read(registry):
    """As text it shows every part in order, what is nested indented, and "nothing" when there is nothing."""
    registry.effect("nest")(never)
    told = explain_dispatch(
        Dispatcher([registry]),
        [("greet", ("user",)), ("nest", ("tell", 2)), ("tel",)],
        dispatch_data={"user": "brian"},
        previews={"nest": lambda ctx, explain, *effects: {"n": 1, "inside": explain(effects, {})}},
    )
    assert str(told).splitlines() == [
        "stage before_dispatch: outer, inner",
        "stage after_dispatch: inner, outer",
        "stage before_effect: outer",
        "placeholder ('user',) is 'brian'",
        "placeholder ('user',) is 'brian'",
        "action ('greet', 'brian') becomes 2 of:",
        "    ('tell', 'brian')",
        "    ('again', 'brian')",
        "action ('again', 'brian') becomes 2 of:",
        "    ('tell', 'brian of None')",
        "    ('tell', 'brian')",
        "effect ('tell', 'brian')",
        "effect ('tell', 'brian of None')",
        "effect ('tell', 'brian')",
        "effect ('nest', ('tell', 2))",
        "    n: 1",
        "    inside:",
        "        effect ('tell', 2)",
        "error in action of ('tel',): unknown action or effect 'tel'; did you mean 'tell'?",
    ]
    assert str(explain_dispatch(Dispatcher([]), None)) == "nothing"
