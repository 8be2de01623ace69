"""Interceptors that look: what each stage changed, how long things took."""

import asyncio
import logging

import pytest

from sfere_tornado.dispatch import Dispatcher, Registry
from sfere_tornado.effects.observers import Measured, log_dispatch, measure
from sfere_tornado.errors import RegistryError
from sfere_tornado.testing import FakeClock


@pytest.fixture
def registry():
    """An action that becomes two effects, one effect that takes a second, one that fails."""
    registry = Registry("test")
    registry.clock = FakeClock()
    registry.effect("work")(lambda ctx, seconds: registry.clock.advance(seconds))
    registry.action("twice")(lambda state, seconds: [("work", seconds), ("work", seconds)])

    @registry.effect("fail")
    def fail(ctx):
        registry.clock.advance(1)
        raise ZeroDivisionError("a secret")

    return registry


def quiet(*registries, **options):
    return Dispatcher(registries, report=lambda error: None, **options)


def test_everything_is_measured(registry):
    """Each effect and the dispatch around them are told with their seconds, and whether they went well."""
    told = []
    quiet(registry, interceptors=[measure(told.append, timer=registry.clock)]).dispatch(
        [("twice", 2), ("fail",)]
    )
    assert told == [
        Measured("effect", "work", 2.0, 0),
        Measured("effect", "work", 2.0, 0),
        Measured("effect", "fail", 1.0, 1),
        Measured("dispatch", "twice, fail", 5.0, 1),
    ]


def test_a_dispatch_in_a_dispatch_is_measured_by_itself(registry):
    """A continuation has its own measurements, inside of the time of the effect that made it; two measures do not meet."""
    told, other = [], []
    registry.effect("nest")(lambda ctx, *effects: ctx.dispatch(effects))
    chain = [
        measure(told.append, timer=registry.clock),
        measure(other.append, timer=registry.clock),
    ]
    quiet(registry, interceptors=chain).dispatch([("nest", ("work", 3)), ("work", 1)])
    assert [(one.kind, one.name, one.seconds) for one in told] == [
        ("effect", "work", 3.0),
        ("dispatch", "work", 3.0),
        ("effect", "nest", 3.0),
        ("effect", "work", 1.0),
        ("dispatch", "nest, work", 4.0),
    ]
    assert other == told


def test_what_is_awaited_is_measured(registry):
    """An effect that waits is measured until it is done."""
    told = []

    @registry.effect("wait")
    async def wait(ctx):
        await asyncio.sleep(0)
        registry.clock.advance(7)

    async def run():
        await quiet(registry, interceptors=[measure(told.append, timer=registry.clock)]).dispatch(
            [("wait",)]
        )

    asyncio.run(run())
    assert [one.seconds for one in told] == [7.0, 7.0]


def test_halted_effects_are_measured_as_errors(registry):
    """An effect that was skipped did not succeed."""
    told = []
    halt = {"id": "halt", "before_effect": lambda ctx: ctx.halt()}
    quiet(registry, interceptors=[measure(told.append, timer=registry.clock), halt]).dispatch(
        ("work", 1)
    )
    assert told == [Measured("effect", "work", 0.0, 1), Measured("dispatch", "work", 0.0, 0)]


def logged(caplog):
    return [
        record.getMessage() for record in caplog.records if record.name == "sfere_tornado.dispatch"
    ]


def test_each_stage_says_what_it_changed(registry, caplog):
    """The log has one line for the dispatch's begin, one for each stage with what it changed, and one for its end."""
    caplog.set_level(logging.DEBUG)

    def put(ctx):
        ctx.system["user"] = "brian"
        ctx.dispatch_data["lang"] = "en"
        ctx.dispatch_data.pop("old")
        ctx.notes["seen"] = 1

    def louder(ctx):
        ctx.actions = [("work", 2)]
        ctx.state = "new"
        ctx.system["user"] = "BRIAN"

    def rewrite(ctx):
        ctx.results.clear()
        ctx.halt()

    stages = [
        {"id": "put", "before_dispatch": put, "before_effect": lambda ctx: ctx},
        {"id": "louder", "before_dispatch": louder, "after_dispatch": rewrite},
        {"id": "plain"},
    ]
    quiet(registry, interceptors=log_dispatch(*stages)).dispatch(
        [("twice", "a secret"), ("fail",)], dispatch_data={"old": 1}
    )
    assert logged(caplog) == [
        "dispatch of twice, fail",
        "before_dispatch of 'put': system +user, dispatch_data +lang -old, notes +seen",
        "before_dispatch of 'louder': system ~user, actions 2 to 1, state changed",
        "before_effect of 'put': no change",
        "after_dispatch of 'louder': results 1 to 0, halted changed",
        "dispatch of work done: ran nothing; errors none",
    ]
    assert "secret" not in caplog.text


def test_stages_that_wait_or_raise_are_logged(registry, caplog):
    """An asynchronous stage is logged when it is done; one that raises says so, and its error is collected as ever."""
    caplog.set_level(logging.DEBUG)

    async def put_later(ctx):
        await asyncio.sleep(0)
        ctx.notes["seen"] = 1
        return ctx

    async def fail_later(ctx):
        await asyncio.sleep(0)
        raise KeyError("a secret")

    def fail(ctx):
        raise ZeroDivisionError("a secret")

    stages = [
        {"id": "later", "before_dispatch": put_later},
        {"id": "failing", "before_dispatch": fail},
        {"id": "failing later", "before_dispatch": fail_later},
    ]

    async def run():
        return await quiet(registry, interceptors=log_dispatch(*stages)).dispatch(("work", 1))

    told = asyncio.run(run())
    assert [(error.interceptor_id, type(error.exception)) for error in told.errors] == [
        ("failing", ZeroDivisionError),
        ("failing later", KeyError),
    ]
    assert logged(caplog) == [
        "dispatch of work",
        "before_dispatch of 'later': notes +seen",
        "before_dispatch of 'failing' raised ZeroDivisionError",
        "before_dispatch of 'failing later' raised KeyError",
        "dispatch of work done: ran work; errors before_dispatch: ZeroDivisionError, before_dispatch: KeyError",
    ]
    assert "secret" not in caplog.text


def test_nothing_is_logged_where_nobody_listens(registry, caplog):
    """At another level nothing is written, and the stages do what they do."""
    caplog.set_level(logging.INFO)
    seen = []
    chain = log_dispatch({"id": "watch", "before_dispatch": lambda ctx: seen.append(True)})
    quiet(registry, interceptors=chain).dispatch(("work", 1))
    assert (seen, caplog.records) == ([True], [])


def test_logging_may_go_elsewhere(registry, caplog):
    """Logger and level are the caller's choice; malformed items are named by their type."""
    chain = log_dispatch(logger=logging.getLogger("own"), level=logging.WARNING)
    quiet(registry, interceptors=chain).dispatch([7, ()])
    assert caplog.records[0].name == "own"
    assert caplog.records[0].getMessage() == "dispatch of int, tuple"


def test_only_interceptors_are_logged():
    """What is no interceptor is refused where it is given, as by a chain."""
    with pytest.raises(RegistryError, match="before_dispatch"):
        log_dispatch({"id": "wrong", "before_dispach": print})
