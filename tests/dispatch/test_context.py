"""The context: its fixed shape, what it copies, continuations, errors told once."""

import asyncio

import pytest

from sfere_tornado.dispatch import Registry


@pytest.fixture
def registry():
    """Return a registry whose effect ``nest`` dispatches a continuation, and ``look`` shows what it has got."""
    registry = Registry()
    registry.effect("look")(lambda ctx: (dict(ctx.system), dict(ctx.dispatch_data)))
    registry.effect("nest")(
        lambda ctx, effects, system=None, data=None: ctx.dispatch(effects, system=system, data=data)
    )
    return registry


def looked(done):
    """Return what the innermost ``look`` has seen."""
    value = done.results[0].value
    return looked(value) if hasattr(value, "results") else value


def context_of(dispatcher, **arguments):
    """Return the context of a dispatch as a stage sees it."""
    seen = []
    dispatcher.dispatch(None, chain=dispatcher.chain({"before_dispatch": seen.append}), **arguments)
    return seen[0]


def test_shape_is_fixed(quiet):
    """A misspelt attribute is an error at once."""
    ctx = context_of(quiet())
    with pytest.raises(AttributeError):
        ctx.dispatchdata = {}


def test_a_new_context_is_empty(quiet):
    """Before anything has happened there are no results, errors or notes, and nothing is halted."""
    ctx = context_of(quiet())
    assert (ctx.system, ctx.dispatch_data, ctx.actions, ctx.effects, ctx.results, ctx.errors) == (
        {},
        {},
        [],
        [],
        [],
        [],
    )
    assert (ctx.state, ctx.effect, ctx.action, ctx.result, ctx.notes, ctx.halted) == (
        None,
        None,
        None,
        None,
        {},
        False,
    )


def test_the_callers_dicts_are_never_changed(quiet, registry):
    """System and dispatch data are copied on entry, so what stages and handlers put there stays in this dispatch."""
    registry.effect("put")(lambda ctx: (ctx.system.update(x=1), ctx.dispatch_data.update(y=2)))
    registry.interceptor({"before_dispatch": lambda ctx: ctx.system.pop("db")})
    system, data = {"db": 1}, {"id": 2}
    dispatcher = quiet(registry)
    dispatcher.dispatch([("put",)], system=system, dispatch_data=data)
    assert (system, data) == ({"db": 1}, {"id": 2})
    dispatcher.dispatch([("nest", ("put",))], system=system, dispatch_data=data)
    assert (system, data) == ({"db": 1}, {"id": 2})


def test_repr_tells_the_state(quiet):
    """The repr tells what was dispatched, how far it is, and whether it was halted."""
    ctx = context_of(quiet())
    assert repr(ctx) == "<Context application, 0 results, 0 errors, actions=[]>"
    ctx.halt()
    assert repr(ctx).startswith("<Context application, halted, 0 results")


# -- continuations


@pytest.mark.parametrize("nothing", [None, {}])
def test_continuation_without_overrides_has_everything(quiet, registry, nothing):
    """A continuation has the system and dispatch data of the dispatch; overriding with nothing keeps them."""
    done = quiet(registry).dispatch(
        ("nest", ("look",), nothing, nothing), system={"a": 1}, dispatch_data={"b": 2}
    )
    assert looked(done) == ({"a": 1}, {"b": 2})


def test_overrides_are_merged_shallowly(quiet, registry):
    """Of a key that both have, the continuation's value counts, whole; a value of None counts too."""
    done = quiet(registry).dispatch(
        ("nest", ("look",), {"a": {"y": 2}, "c": None}, {"b": None, "d": 4}),
        system={"a": {"x": 1}, "c": 3},
        dispatch_data={"b": 2},
    )
    assert looked(done) == ({"a": {"y": 2}, "c": None}, {"b": None, "d": 4})


def test_overrides_accumulate_through_levels(quiet, registry):
    """A third level has what the first and the second have added, the deeper one winning."""
    third = ("nest", ("look",), {"sse": 3}, {"three": 3})
    second = ("nest", third, {"sse": 2, "db": 2}, {"two": 2})
    first = ("nest", second, {"sse": 1}, {"one": 1})
    assert looked(quiet(registry).dispatch(first)) == (
        {"sse": 3, "db": 2},
        {"one": 1, "two": 2, "three": 3},
    )


def test_data_does_not_leak_into_later_dispatches(quiet, registry):
    """What one continuation adds, neither its siblings nor later dispatches see."""
    dispatcher = quiet(registry)
    done = dispatcher.dispatch([("nest", ("look",), {"x": 1}, {"y": 1}), ("look",)])
    assert done.results[1].value == ({}, {})
    assert looked(dispatcher.dispatch(("look",))) == ({}, {})


def test_continuation_returns_its_results_and_errors(quiet, registry):
    """Errors of a continuation are in what it returns, reported once, and not among those of the dispatch."""
    registry.effect("fail")(lambda ctx: 1 / 0)
    dispatcher = quiet(registry)
    done = dispatcher.dispatch(("nest", [("fail",), ("look",)]))
    nested = done.results[0].value
    assert [error.phase for error in nested.errors] == ["effect"]
    assert len(nested.results) == 1
    assert done.errors == []
    assert dispatcher.reported == nested.errors


def test_continuation_is_a_whole_dispatch(quiet, registry):
    """All interceptors of the chain run again around a continuation, and the state is made again of its system."""
    trace = []
    registry.system_to_state(lambda system: system.get("n"))
    registry.action("tell")(lambda state: trace.append(("state", state)))
    dispatcher = quiet(registry)
    chain = dispatcher.chain(
        {
            "before_dispatch": lambda ctx: trace.append("before"),
            "after_dispatch": lambda ctx: trace.append("after"),
        }
    )
    dispatcher.dispatch([("tell",), ("nest", ("tell",), {"n": 2})], system={"n": 1}, chain=chain)
    assert trace == ["before", ("state", 1), "before", ("state", 2), "after", "after"]


def test_continuation_begins_where_the_effects_began(quiet, registry):
    """Changes by ``before_dispatch`` are in a continuation; those by ``before_effect`` or a handler are not."""
    outermost = []

    def before_dispatch(ctx):
        if not outermost:
            outermost.append(ctx)
            ctx.system["dispatch"] = ctx.dispatch_data["dispatch"] = 1

    def before_effect(ctx):
        if ctx is outermost[0]:
            ctx.system["effect"] = ctx.dispatch_data["effect"] = 2

    registry.effect("put")(lambda ctx: ctx.system.update(handler=3))
    registry.interceptor({"before_dispatch": before_dispatch, "before_effect": before_effect})
    done = quiet(registry).dispatch([("put",), ("nest", ("look",)), ("look",)])
    _, nested, own = (result.value for result in done.results)
    assert nested.results[0].value == ({"dispatch": 1}, {"dispatch": 1})
    assert own == ({"dispatch": 1, "effect": 2, "handler": 3}, {"dispatch": 1, "effect": 2})


def test_continuation_of_a_stage_before_the_effects(quiet, registry):
    """A stage may dispatch too; before the effects begin, that is from the system and dispatch data as they are."""
    seen = []

    def before_dispatch(ctx):
        if ctx.actions:
            ctx.system["a"] = 2
            seen.append(ctx.dispatch([], data={"b": 1}))

    registry.interceptor({"before_dispatch": before_dispatch})
    done = quiet(registry).dispatch(("look",), system={"a": 1})
    assert looked(done) == ({"a": 2}, {})
    assert seen[0].done


def test_halt_of_a_continuation_is_its_own(quiet, registry):
    """A continuation that is halted does not halt the dispatch."""
    registry.effect("stop")(lambda ctx: ctx.halt())
    done = quiet(registry).dispatch([("nest", [("stop",), ("look",)]), ("look",)])
    assert len(done.results[0].value.results) == 1
    assert len(done.results) == 2


def test_continuation_can_be_awaited(quiet, registry):
    """An asynchronous effect may await its continuation and use what came of it."""

    @registry.effect
    async def slow(ctx):
        await asyncio.sleep(0)
        return 20

    @registry.effect
    async def add(ctx):
        first = await ctx.dispatch(("slow",))
        second = await ctx.dispatch(("look",))
        return first.results[0].value + len(second.results)

    async def main():
        return await quiet(registry).dispatch(("add",))

    assert asyncio.run(main()).results[0].value == 21


def test_continuation_reports_where_the_dispatcher_does(quiet, registry):
    """A report given for one dispatch is told of that dispatch alone; its continuations' errors are the dispatcher's."""
    told = []
    dispatcher = quiet(registry)
    dispatcher.dispatch(("nest", ("unknown",)), report=told.append)
    assert told == []
    assert [error.item for error in dispatcher.reported] == [("unknown",)]


# -- errors


def test_report_that_fails_stops_nothing(quiet, registry, caplog):
    """An exception in ``report`` is logged, together with what was to be reported; the dispatch goes on."""

    def report(error):
        raise OSError("no disk")

    done = quiet(registry).dispatch([("unknown",), ("look",)], report=report)
    assert (len(done.results), len(done.errors)) == (1, 1)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert (
        "reporting an error of phase action failed; the error was UnknownEffectError"
        in record.getMessage()
    )


def test_handler_may_record_an_error_itself(quiet, registry):
    """An effect that goes on in spite of an error can have it collected and reported."""
    registry.effect("try")(lambda ctx: ctx.record_error("effect", ctx.effect, OSError("half")))
    dispatcher = quiet(registry)
    done = dispatcher.dispatch(("try",))
    assert len(done.results) == 1
    assert [error.item for error in done.errors] == [("try",)]
    assert dispatcher.reported == done.errors
