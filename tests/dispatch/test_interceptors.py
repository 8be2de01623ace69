"""Interceptors: order, what stages see and change, errors in them, halting.

Chains begin with every stage set to fail; each test enables the stages that it expects, so nothing else has run.
"""

import asyncio

import pytest

from sfere_tornado.dispatch import STAGES, Chain, Registry, fail_fast
from sfere_tornado.errors import RegistryError, StageResultError


def unexpected(ctx):
    raise AssertionError("unexpected stage")


def only(name, **stages):
    """Return an interceptor every stage of which fails the test, except those that are given."""
    return {"id": name, **dict.fromkeys(STAGES, unexpected), **stages}


def nothing(ctx):
    return None


def traced(trace, name):
    """Return an interceptor that notes each of its stages."""

    def note(stage):
        return lambda ctx: trace.append(f"{stage} {name}")

    return {"id": name, **{stage: note(stage) for stage in STAGES}}


@pytest.fixture
def registry():
    """Return a registry with one effect, one that fails, and one action."""
    registry = Registry()
    registry.effect("log")(lambda ctx, value=None: value)
    registry.effect("fail")(lambda ctx: 1 / 0)
    registry.action("act")(lambda state, *values: [("log", value) for value in values])
    return registry


def run(quiet, registry, effects, *interceptors, **arguments):
    """Dispatch with a chain of these interceptors, and check that every error was reported once."""
    dispatcher = quiet(registry)
    done = dispatcher.dispatch(effects, chain=dispatcher.chain(*interceptors), **arguments)
    assert dispatcher.reported == done.errors
    return done


# -- shape


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_may_stand_alone(stage):
    """An interceptor has any subset of the stages."""
    chain = Chain([{"id": "x", stage: nothing}])
    assert getattr(chain, stage) == (("x", nothing, False),)


def test_id_is_optional():
    """An interceptor without an id is known as None."""
    assert Chain([{"before_effect": nothing}]).before_effect == ((None, nothing, False),)


@pytest.mark.parametrize(
    ("interceptor", "text"),
    [
        (None, "an interceptor is a dict of stages, not None"),
        ([("id", "x")], "an interceptor is a dict of stages"),
        (
            {"id": "x", "before_dispach": nothing},
            "'x' has an unknown stage 'before_dispach'; did you mean 'before_dispatch'",
        ),
        ({"id": "x", "zzz": nothing}, "there are before_dispatch, after_dispatch"),
        ({"id": "x", 5: nothing}, "unknown stage 5"),
        (
            {"id": "x", "after_effect": "nothing"},
            "stage 'after_effect' is 'nothing', which cannot be called",
        ),
        ({"id": "x", "after_effect": None}, "cannot be called"),
    ],
)
def test_wrong_shapes_are_refused_at_once(quiet, interceptor, text):
    """What is no dict, has an unknown stage or one that cannot be called is refused when the chain is made."""
    with pytest.raises(RegistryError, match=text):
        quiet().chain(interceptor)
    with pytest.raises(RegistryError, match=text):
        quiet(interceptors=[interceptor])


def test_after_stages_stand_in_reverse():
    """A chain keeps the stages of each phase in the order in which they run."""
    chain = Chain([{"id": n, "before_effect": nothing, "after_effect": nothing} for n in (1, 2, 3)])
    assert [stage.interceptor_id for stage in chain.before_effect] == [1, 2, 3]
    assert [stage.interceptor_id for stage in chain.after_effect] == [3, 2, 1]
    assert repr(chain) == "<Chain of [1, 2, 3]>"


def test_order_of_the_chain(quiet):
    """The dispatcher's interceptors are outermost, then the registries', then the added ones, then the innermost."""
    registry = Registry.from_dict(
        {"interceptors": [{"id": "registry"}], "innermost": [{"id": "innermost"}]}
    )
    chain = quiet(
        registry, {"interceptors": [{"id": "second"}]}, interceptors=[{"id": "dispatcher"}]
    ).chain({"id": "class"}, {"id": "route"})
    assert [one["id"] for one in chain.interceptors] == [
        "dispatcher",
        "registry",
        "second",
        "class",
        "route",
        "innermost",
    ]


# -- order


def test_exact_order_of_all_stages(quiet, registry):
    """Before-stages run in the order of the chain, after-stages in reverse, around dispatch, action and effect."""
    trace = []
    registry.effect("trace")(lambda ctx: trace.append("run"))
    registry.action("expand")(lambda state: trace.append("expand") or [("trace",)])
    run(quiet, registry, [("expand",), ("trace",)], traced(trace, "x"), traced(trace, "y"))
    effect = ["before_effect x", "before_effect y", "run", "after_effect y", "after_effect x"]
    assert trace == [
        "before_dispatch x",
        "before_dispatch y",
        "before_action x",
        "before_action y",
        "expand",
        "after_action y",
        "after_action x",
        *effect,
        *effect,
        "after_dispatch y",
        "after_dispatch x",
    ]


def test_action_stages_run_for_actions_only(quiet, registry):
    """A dispatch of effects alone meets no action stage."""
    enabled = dict.fromkeys(
        ("before_dispatch", "after_dispatch", "before_effect", "after_effect"), nothing
    )
    assert run(quiet, registry, ("log", 1), only("x", **enabled)).errors == []


def test_dispatch_stages_run_without_effects(quiet, registry):
    """A dispatch of nothing still meets the stages around the dispatch, and no others."""
    assert (
        run(
            quiet, registry, None, only("x", before_dispatch=nothing, after_dispatch=nothing)
        ).errors
        == []
    )


def test_after_dispatch_runs_whatever_failed(quiet, registry):
    """The stages after a dispatch run also when nothing in it went well."""
    registry.system_to_state(lambda system: 1 / 0)
    registry.placeholder("boom")(lambda data: 1 / 0)
    seen = []
    interceptor = only(
        "x",
        before_effect=nothing,
        after_effect=nothing,
        after_dispatch=lambda ctx: seen.append(len(ctx.errors)),
    )
    done = run(quiet, registry, [("log", ("boom",)), 5, ("unknown",), ("fail",)], interceptor)
    assert [error.phase for error in done.errors] == [
        "state",
        "before_dispatch",
        "placeholder",
        "action",
        "action",
        "effect",
    ]
    assert seen == [6]


# -- what stages see and change


def test_changes_flow_to_later_stages_and_handlers(quiet, registry):
    """What a stage puts into system, dispatch data or notes is seen by later ones and by handlers."""
    seen = []
    registry.effect("look")(
        lambda ctx: seen.append((ctx.system["s"], ctx.dispatch_data["d"], ctx.notes["n"]))
    )

    def put(ctx):
        ctx.system["s"], ctx.dispatch_data["d"], ctx.notes["n"] = 1, 2, 3

    def look(ctx):
        seen.append((ctx.system["s"], ctx.dispatch_data["d"], ctx.notes["n"]))

    done = run(
        quiet,
        registry,
        ("look",),
        {"before_dispatch": put},
        {"before_dispatch": look, "after_dispatch": look},
    )
    assert done.errors == []
    assert seen == [(1, 2, 3)] * 3


def test_changes_flow_to_the_following_effects(quiet, registry):
    """What a stage before one effect changes is there for the next one too."""
    registry.effect("count")(lambda ctx: dict(ctx.system))

    def after_effect(ctx):
        ctx.system["counter"] = ctx.system.get("counter", 0) + 1

    done = run(quiet, registry, [("count",)] * 3, {"after_effect": after_effect})
    assert [result.value for result in done.results] == [{}, {"counter": 1}, {"counter": 2}]


def test_before_dispatch_can_change_dispatch_data(quiet, registry):
    """Placeholders and handlers see dispatch data as the stages before have left them."""
    registry.placeholder("get")(lambda data, name: data[name])
    done = run(
        quiet,
        registry,
        ("log", ("get", "x")),
        {"before_dispatch": lambda ctx: ctx.dispatch_data.update(x=1)},
    )
    assert done.results == [(("log", 1), 1)]


@pytest.mark.parametrize("replacement", [[("log", 2)], ("log", 2), (("log", 2),)])
def test_before_dispatch_can_replace_the_actions(quiet, registry, replacement):
    """A stage may put other effects in the place of what was dispatched, in any form that can be dispatched."""

    def replace(ctx):
        assert ctx.actions == [("log", 1)]
        ctx.actions = replacement

    assert run(quiet, registry, ("log", 1), {"before_dispatch": replace}).results == [
        (("log", 2), 2)
    ]


def test_before_dispatch_that_puts_something_else_there(quiet, registry):
    """What a stage puts in the place of the effects and is none is an error; nothing is run then."""

    def replace(ctx):
        ctx.actions = 5

    done = run(quiet, registry, ("log", 1), {"before_dispatch": replace})
    assert [(error.phase, error.item) for error in done.errors] == [("action", 5)]
    assert done.results == []


def test_action_stages_see_the_action_and_what_it_produced(quiet, registry):
    """Before an action nothing is produced yet; after it ``actions`` is what it produced."""
    seen = []

    def look(ctx):
        seen.append((ctx.action, list(ctx.actions), ctx.dispatch_data))

    run(
        quiet,
        registry,
        ("act", 1, 2),
        {"before_action": look, "after_action": look},
        dispatch_data={"d": 1},
    )
    assert seen == [
        (("act", 1, 2), [], {"d": 1}),
        (("act", 1, 2), [("log", 1), ("log", 2)], {"d": 1}),
    ]


@pytest.mark.parametrize(
    ("replacement", "values"),
    [([("log", 3)], [3]), (("log", 3), [3]), (None, []), ([], []), ([("act", 4, 5)], [])],
)
def test_after_action_can_replace_what_was_produced(quiet, registry, replacement, values):
    """A stage may put other effects in the place of what an action produced; None is nothing."""

    def replace(ctx):
        ctx.actions = replacement if ctx.action == ("act", 1) else []

    done = run(quiet, registry, ("act", 1), {"after_action": replace})
    assert [result.value for result in done.results] == values
    assert done.errors == []


def test_after_action_that_puts_something_else_there(quiet, registry):
    """What a stage puts in the place of an action's product and is none is an error of that stage."""

    def replace(ctx):
        ctx.actions = 5

    done = run(quiet, registry, [("act", 1), ("log", 2)], {"after_action": replace})
    assert [(error.phase, error.item) for error in done.errors] == [("after_action", ("act", 1))]
    assert [result.value for result in done.results] == [2]


def test_what_before_action_leaves_there_is_not_run(quiet, registry):
    """Only what an action produced, or a stage after it put there, is expanded."""

    def put(ctx):
        ctx.actions = [("log", "sneaked in")]

    registry.action("broken")(lambda state: 1 / 0)
    done = run(quiet, registry, ("broken",), {"before_action": put})
    assert done.results == []


def test_actions_are_what_was_dispatched_again_afterwards(quiet, registry):
    """Around effects and after the dispatch, ``actions`` is what was dispatched, and ``action`` None."""
    seen = []

    def look(ctx):
        seen.append((ctx.action, ctx.actions, ctx.effects))

    run(quiet, registry, ("act", 1), {"before_effect": look, "after_dispatch": look})
    assert seen == [(None, [("act", 1)], [("log", 1)])] * 2


def test_after_effect_sees_the_result(quiet, registry):
    """After an effect ``result`` is its result; after one that failed, and before one, it is None."""
    seen = []

    def look(ctx):
        seen.append((ctx.effect, ctx.result))

    run(
        quiet,
        registry,
        [("log", 1), ("fail",), ("log", None)],
        {"before_effect": look, "after_effect": look},
    )
    assert seen == [
        (("log", 1), None),
        (("log", 1), (("log", 1), 1)),
        (("fail",), None),
        (("fail",), None),
        (("log", None), None),
        (("log", None), (("log", None), None)),
    ]


def test_setting_effect_action_or_result_has_no_influence(quiet, registry):
    """What runs, and what is told of it, does not depend on ``effect``, ``action`` and ``result`` of the context."""

    def change(ctx):
        ctx.effect = ctx.action = ("log", "changed")
        ctx.result = "changed"

    stages = dict.fromkeys(
        ("before_action", "after_action", "before_effect", "after_effect"), change
    )
    assert run(quiet, registry, [("act", 1), ("log", 2)], stages).results == [
        (("log", 1), 1),
        (("log", 2), 2),
    ]


def test_after_dispatch_sees_and_may_rewrite_results_and_errors(quiet, registry):
    """What is returned are results and errors as the last stage leaves them."""

    def rewrite(ctx):
        assert ([result.value for result in ctx.results], len(ctx.errors)) == ([1], 1)
        ctx.results = ["rewritten"]
        ctx.errors = []

    dispatcher = quiet(registry)
    done = dispatcher.dispatch(
        [("log", 1), ("fail",)], chain=dispatcher.chain({"after_dispatch": rewrite})
    )
    assert (done.results, done.errors) == (["rewritten"], [])
    assert len(dispatcher.reported) == 1


def test_stage_may_return_the_context(quiet, registry):
    """Returning the context means the same as returning nothing."""
    stages = dict.fromkeys(STAGES, lambda ctx: ctx)
    done = run(quiet, registry, ("act", 1), stages)
    assert ([result.value for result in done.results], done.errors) == ([1], [])


# -- errors in stages


@pytest.mark.parametrize("stage", STAGES)
def test_failing_stage_is_an_error_of_its_phase(quiet, registry, stage):
    """A stage that raises is one error with the stage as phase, what it ran around and the interceptor's id."""
    items = {"dispatch": None, "action": ("act", 1), "effect": ("log", 1)}
    stages = {one: unexpected if one == stage else nothing for one in STAGES}
    done = run(
        quiet,
        registry,
        ("act", 1),
        only("bad", **stages),
        {"id": "good", **dict.fromkeys(STAGES, nothing)},
    )
    (error,) = done.errors
    assert (error.phase, error.interceptor_id, type(error.exception)) == (
        stage,
        "bad",
        AssertionError,
    )
    assert error.item == items[stage.partition("_")[2]]
    assert [result.value for result in done.results] == [1]


def test_failing_stage_without_id(quiet, registry):
    """The error of an interceptor without an id has None there."""
    assert (
        run(quiet, registry, None, {"before_dispatch": unexpected}).errors[0].interceptor_id is None
    )


def test_failing_stage_has_not_happened(quiet, registry):
    """After a stage that raises, the context is as it was before it, and later stages of the phase still run."""
    seen = []

    def change_and_fail(ctx):
        ctx.system["x"] = ctx.dispatch_data["x"] = ctx.notes["x"] = 1
        ctx.state = 1
        ctx.actions.append(("log", 2))
        ctx.effects = ctx.effect = ctx.action = ctx.result = ctx.results = ctx.errors = 5
        ctx.halt()
        raise OSError("no")

    def look(ctx):
        seen.append((ctx.system, ctx.dispatch_data, ctx.notes, ctx.state, ctx.actions, ctx.halted))
        seen.append(
            ([*ctx.effects], ctx.effect, ctx.action, ctx.result, [*ctx.results], len(ctx.errors))
        )

    done = run(
        quiet,
        registry,
        ("log", 1),
        {"id": "bad", "before_dispatch": change_and_fail},
        {"id": "good", "before_dispatch": look},
        system={"s": 1},
        dispatch_data={"d": 1},
    )
    assert seen == [
        ({"s": 1}, {"d": 1}, {}, None, [("log", 1)], False),
        ([], None, None, None, [], 1),
    ]
    assert [result.value for result in done.results] == [1]


@pytest.mark.parametrize("wrong", [False, 0, {}, "ctx"])
def test_stage_that_returns_something_else(quiet, registry, wrong):
    """A stage that returns neither the context nor None is an error that says so."""
    done = run(quiet, registry, ("log", 1), {"id": "odd", "before_dispatch": lambda ctx: wrong})
    (error,) = done.errors
    assert (error.phase, error.interceptor_id, type(error.exception)) == (
        "before_dispatch",
        "odd",
        StageResultError,
    )
    assert (error.exception.stage, error.exception.value) == ("before_dispatch", wrong)
    assert [result.value for result in done.results] == [1]


def test_stage_that_halts_and_returns_something_else_has_halted(quiet, registry):
    """Security: a refusal stands, also when the stage that refuses returns False by mistake."""

    def refuse(ctx):
        ctx.halt()
        return False

    done = run(quiet, registry, ("log", 1), {"id": "guard", "before_dispatch": refuse})
    assert done.results == []
    assert [type(error.exception) for error in done.errors] == [StageResultError]


def test_asynchronous_stages(quiet, registry):
    """Stages may be coroutine functions; what they return is judged after they are awaited."""
    trace = []

    def note(stage):
        async def run_stage(ctx):
            await asyncio.sleep(0)
            trace.append(stage)
            return 5 if stage == "after_dispatch" else ctx

        return run_stage

    async def main():
        dispatcher = quiet(registry)
        chain = dispatcher.chain({"id": "x", **{stage: note(stage) for stage in STAGES}})
        return await dispatcher.dispatch(("act", 1), chain=chain)

    done = asyncio.run(main())
    assert trace == [
        "before_dispatch",
        "before_action",
        "after_action",
        "before_effect",
        "after_effect",
        "after_dispatch",
    ]
    assert [(error.phase, type(error.exception)) for error in done.errors] == [
        ("after_dispatch", StageResultError)
    ]


# -- halt


def halt(ctx):
    ctx.halt()


def test_halt_before_dispatch_leaves_everything_undone(quiet, registry):
    """All stages around the dispatch run, in both directions; nothing between them does."""
    trace = []
    around = {
        "before_dispatch": lambda ctx: trace.append("before"),
        "after_dispatch": lambda ctx: trace.append("after"),
    }
    registry.placeholder("boom")(unexpected)
    done = run(
        quiet,
        registry,
        [("act", ("boom",)), ("log", 2), ("unknown",)],
        only("first", **around | {"before_dispatch": halt}),
        only("second", **around),
    )
    assert trace == ["before", "after", "after"]
    assert (done.results, done.errors) == ([], [])


def test_halt_before_an_action_skips_it_and_all_that_follows(quiet, registry):
    """That action is not expanded, no later action or effect is done, and the stages around each of them still run."""
    trace = []
    expanded = []
    registry.action("note")(lambda state, n: expanded.append(n) or [("log", n)])

    def before_action(ctx):
        trace.append(("before", ctx.action, ctx.halted))
        if ctx.action == ("note", 2):
            ctx.halt()

    interceptor = {
        "before_action": before_action,
        "after_action": lambda ctx: trace.append(("after", ctx.action, ctx.actions)),
        "before_effect": lambda ctx: trace.append(("before", ctx.effect)),
        "after_effect": lambda ctx: trace.append(("after", ctx.effect, ctx.result)),
    }
    done = run(quiet, registry, [("note", 1), ("note", 2), ("note", 3), ("log", 4)], interceptor)
    assert expanded == [1]
    assert (done.results, done.errors) == ([], [])
    assert trace == [
        ("before", ("note", 1), False),
        ("after", ("note", 1), [("log", 1)]),
        ("before", ("note", 2), False),
        ("after", ("note", 2), []),
        ("before", ("note", 3), True),
        ("after", ("note", 3), []),
        ("before", ("log", 1)),
        ("after", ("log", 1), None),
        ("before", ("log", 4)),
        ("after", ("log", 4), None),
    ]


def test_halt_before_an_effect_skips_it_and_all_that_follow(quiet, registry):
    """That effect and all later ones do not run; the stages around them, and after the dispatch, do."""
    trace = []
    interceptor = only(
        "x",
        before_dispatch=nothing,
        after_dispatch=lambda ctx: trace.append(("after", ctx.halted)),
        before_effect=lambda ctx: ctx.halt() if ctx.effect == ("log", 2) else None,
        after_effect=lambda ctx: trace.append((ctx.effect, ctx.result)),
    )
    done = run(quiet, registry, [("log", 1), ("log", 2), ("log", 3)], interceptor)
    assert [result.value for result in done.results] == [1]
    assert trace == [
        (("log", 1), (("log", 1), 1)),
        (("log", 2), None),
        (("log", 3), None),
        ("after", True),
    ]


def test_effect_may_halt(quiet, registry):
    """An effect may halt what follows it; its own result stands."""
    registry.effect("last")(lambda ctx: ctx.halt() or "done")
    done = run(quiet, registry, [("last",), ("log", 2)])
    assert [result.value for result in done.results] == ["done"]


# -- fail_fast


def test_fail_fast_stops_at_the_first_failing_effect(quiet, registry):
    """After an effect that failed no other one runs; those before it have run."""
    done = run(quiet, registry, [("log", 1), ("fail",), ("log", 3)], fail_fast)
    assert [result.value for result in done.results] == [1]
    assert len(done.errors) == 1


def test_fail_fast_without_errors_changes_nothing(quiet, registry):
    """Where nothing fails everything runs."""
    done = run(quiet, registry, [("act", 1, 2), ("log", 3)], fail_fast)
    assert [result.value for result in done.results] == [1, 2, 3]


def test_fail_fast_and_an_error_of_expansion(quiet, registry):
    """Everything is expanded before the first effect, so an unknown name stops all effects, and later actions too."""
    expanded = []
    registry.action("note")(lambda state, n: expanded.append(n))
    done = run(quiet, registry, [("log", 1), ("note", 2), ("unknown",), ("note", 3)], fail_fast)
    assert done.results == []
    assert expanded == [2]
    assert len(done.errors) == 1


def test_fail_fast_makes_a_raising_guard_a_refusal(quiet, registry):
    """With fail_fast in the chain, an error in a stage before the dispatch leaves every effect undone."""
    done = run(
        quiet,
        registry,
        [("act", 1), ("log", 2)],
        fail_fast,
        {"id": "guard", "before_dispatch": unexpected},
    )
    assert done.results == []
    assert len(done.errors) == 1
