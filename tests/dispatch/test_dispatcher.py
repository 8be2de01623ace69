"""The dispatcher: making one, dispatching, the default log."""

import logging

import pytest

from sfere_tornado import dispatch as package
from sfere_tornado.dispatch import Dispatcher, DispatchError, Registry, log_error


@pytest.fixture
def registry():
    """Return a registry with one effect."""
    registry = Registry()
    registry.effect("log")(lambda ctx, *arguments: (*arguments, ctx.system, ctx.dispatch_data))
    return registry


def test_made_of_any_specs(quiet, registry):
    """A dispatcher is made of several registries, in any form that stands for one."""

    def made(name):
        return {"effects": {name: lambda ctx: name}}

    dispatcher = quiet(registry, made("a"), lambda: made("b"), [made, "c"])
    done = dispatcher.dispatch([("a",), ("b",), ("c",), ("log",)])
    assert [result.value for result in done.results] == ["a", "b", "c", ({}, {})]
    assert repr(dispatcher) == "<Dispatcher 4 effects, 0 actions, <Chain of []>>"


def test_system_and_dispatch_data_are_keywords(quiet, registry):
    """Effects see the system and the dispatch data that were given, and empty ones by default."""
    dispatcher = quiet(registry)
    assert dispatcher.dispatch(("log", 1)).results[0].value == (1, {}, {})
    done = dispatcher.dispatch(("log", 1), system={"s": 1}, dispatch_data={"d": 2})
    assert done.results[0].value == (1, {"s": 1}, {"d": 2})


def test_registered_later_is_not_seen(quiet, registry):
    """A dispatcher keeps what its registries held when it was made."""
    dispatcher = quiet(registry)
    registry.effect("late")(lambda ctx: None)
    assert len(dispatcher.dispatch(("late",)).errors) == 1


def test_without_a_chain_the_dispatchers_own_is_used(quiet, registry):
    """The interceptors of dispatcher and registries stand around every dispatch; a given chain adds to them."""
    trace = []

    def noting(name):
        return {"id": name, "before_dispatch": lambda ctx: trace.append(name)}

    registry.interceptor(noting("registry"))
    registry.innermost(noting("innermost"))
    dispatcher = quiet(registry, interceptors=[noting("dispatcher")])
    dispatcher.dispatch(("log",))
    assert trace == ["dispatcher", "registry", "innermost"]
    trace.clear()
    dispatcher.dispatch(("log",), chain=dispatcher.chain(noting("route")))
    assert trace == ["dispatcher", "registry", "route", "innermost"]


@pytest.mark.parametrize("effects", [5, "log", {"log": 1}])
def test_what_cannot_be_dispatched_is_an_error_entry(quiet, registry, effects):
    """Dispatching something that is no effect raises nothing: it is an error, and the stages run all the same."""
    seen = []
    dispatcher = quiet(registry)
    chain = dispatcher.chain(
        {"before_dispatch": lambda ctx: seen.append(ctx.actions), "after_dispatch": seen.append}
    )
    done = dispatcher.dispatch(effects, chain=chain)
    assert [(error.phase, error.item) for error in done.errors] == [("action", effects)]
    assert dispatcher.reported == done.errors
    assert len(seen) == 2
    assert seen[0] == []


def test_one_dispatch_may_report_elsewhere(quiet, registry):
    """A report given to a dispatch is told in place of the dispatcher's."""
    told = []
    dispatcher = quiet(registry)
    dispatcher.dispatch(("unknown",), report=told.append)
    assert len(told) == 1
    assert dispatcher.reported == []


def test_errors_are_logged_once_by_default(registry, caplog):
    """Without a report each error is one line of level ERROR, with its traceback."""
    registry.effect("fail")(lambda ctx, secret: 1 / 0)
    done = Dispatcher([registry]).dispatch([("fail", "hunter2"), ("log", 1)])
    assert len(done.results) == 1
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("sfere_tornado.dispatch", logging.ERROR)
    assert record.getMessage() == "effect failed for 'fail'"
    assert record.exc_info[1] is done.errors[0].exception
    assert record.exc_info[2] is not None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            DispatchError("before_dispatch", None, OSError(), "audit"),
            "before_dispatch of interceptor 'audit' failed for",
        ),
        (DispatchError("state", None, OSError()), "state failed for the dispatch"),
        (DispatchError("action", 5, OSError()), "action failed for the dispatch"),
        (DispatchError("effect", ["send", "secret"], OSError()), "effect failed for 'send'"),
        (DispatchError("action", (), OSError()), "action failed for the dispatch"),
    ],
)
def test_log_line_names_phase_and_item(caplog, error, text):
    """The line names phase, interceptor and the item's name; arguments, which may be secret, are left out."""
    log_error(error)
    assert caplog.records[0].getMessage().startswith(text)
    assert "secret" not in caplog.text


def test_every_public_name_is_there():
    """Each name that the package promises can be had from it."""
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert list(package.__all__) == sorted(set(package.__all__), key=package.__all__.index)
