"""Registries: collecting by name, specs, merging."""

import pytest

from sfere_tornado.dispatch import Dispatcher, Registry
from sfere_tornado.dispatch.registry import as_registry, merge
from sfere_tornado.errors import RegistryError


def log_effect(ctx, *arguments):
    return arguments


# -- decorators


def test_bare_decorator_takes_the_functions_name():
    """``@registry.effect`` registers under the function's own name and returns the function."""
    registry = Registry()

    @registry.effect
    def greet(ctx):
        return "hello"

    assert registry.effects["greet"].handler is greet
    assert greet(None) == "hello"


def test_empty_call_takes_the_functions_name():
    """``@registry.effect()`` registers under the function's own name too."""
    registry = Registry()

    @registry.effect()
    def greet(ctx):
        return "hello"

    assert registry.effects["greet"].handler is greet


def test_given_name_keys_and_metadata_are_kept():
    """A name, system keys and any metadata given to the decorator stand in the entry."""
    registry = Registry("people")

    @registry.effect("people/greet", system_keys=["db"], since="1.2")
    def greet(ctx):
        return "hello"

    entry = registry.effects["people/greet"]
    assert entry == ("effect", "people/greet", greet, "people", ("db",), {"since": "1.2"})


def test_metadata_may_have_any_name():
    """Metadata named as the decorator's own positional argument does not collide with it."""
    registry = Registry()
    registry.effect("log", name="a name of the application's")(log_effect)
    assert registry.effects["log"].metadata == {"name": "a name of the application's"}


@pytest.mark.parametrize("kind", ["effect", "action", "placeholder"])
def test_all_three_kinds_are_registered_the_same_way(kind):
    """Effects, actions and placeholders each have a decorator of the same form, and a table of their own."""
    registry = Registry()
    decorator = getattr(registry, kind)
    decorator("named")(log_effect)
    decorator(log_effect)
    assert list(getattr(registry, kind + "s")) == ["named", "log_effect"]
    assert {entry.kind for entry in registry.entries(kind).values()} == {kind}


def test_same_name_twice_in_one_registry_is_refused():
    """Registering a name twice in one registry is an error that names it, and the first one stays."""
    registry = Registry("people")
    registry.effect("log")(log_effect)
    with pytest.raises(
        RegistryError, match="effect 'log' of registry 'people' is registered twice"
    ):
        registry.effect("log")(print)
    assert registry.effects["log"].handler is log_effect


def test_same_name_in_two_kinds_is_allowed():
    """An effect and an action may have the same name."""
    registry = Registry()
    registry.effect("log")(log_effect)
    registry.action("log")(log_effect)
    assert "log" in registry.effects
    assert "log" in registry.actions


@pytest.mark.parametrize("name", ["", 1, ("a", "b"), b"log"])
def test_name_must_be_a_string_with_something_in_it(name):
    """A name that is empty or no string is refused."""
    with pytest.raises(RegistryError, match="must be a string that is not empty"):
        Registry().effect(name)(log_effect)


def test_handler_without_a_name_needs_one():
    """A callable that has no name of its own is refused when none is given."""

    class Handler:
        def __call__(self, ctx):
            return None

    with pytest.raises(RegistryError, match="must be a string"):
        Registry().effect(Handler())
    registry = Registry()
    registry.effect("named")(Handler())
    assert "named" in registry.effects


def test_handler_must_be_callable():
    """A handler that cannot be called is refused when it is registered, not when it is used."""
    with pytest.raises(RegistryError, match="the handler is 5, which cannot be called"):
        Registry().effect("log")(5)


def test_system_keys_in_a_bare_string_are_refused():
    """A string for ``system_keys`` would be read as its letters, so it is an error."""
    with pytest.raises(RegistryError, match=r"write \['db'\]"):
        Registry().effect("log", system_keys="db")(log_effect)


# -- interceptors, schema, state


@pytest.mark.parametrize("method", ["interceptor", "innermost"])
def test_interceptors_are_checked_when_added(method):
    """An interceptor with a misspelt stage is refused at once, with the nearest right word."""
    registry = Registry()
    with pytest.raises(RegistryError, match="did you mean 'before_dispatch'"):
        getattr(registry, method)({"id": "x", "before_dispach": log_effect})
    assert registry.interceptors == registry.innermosts == []


def test_system_schema_is_merged_and_the_later_wins():
    """Declared twice, a system schema is the union, and of one key the later declaration."""
    registry = Registry()
    assert registry.schema is None
    registry.system_schema({"db": "a database", "sse": "?"})
    registry.system_schema({"sse": "a connection"})
    assert registry.schema == {"db": "a database", "sse": "a connection"}


def test_system_schema_must_be_a_mapping():
    """A system schema of another kind is refused."""
    with pytest.raises(
        RegistryError, match="system_schema of a registry is a mapping, not \\['db'\\]"
    ):
        Registry().system_schema(["db"])


def test_system_to_state_is_one_function():
    """A registry has one ``system_to_state``; another one, or one that cannot be called, is refused."""
    registry = Registry("people")

    @registry.system_to_state
    def state(system):
        return system

    assert registry.to_state is state
    with pytest.raises(RegistryError, match="'people' has a system_to_state already"):
        registry.system_to_state(state)
    with pytest.raises(RegistryError, match="cannot be called"):
        Registry().system_to_state("state")


def test_repr_counts():
    """The repr tells name and numbers."""
    registry = Registry("people")
    registry.effect(log_effect)
    registry.innermost({"id": "x"})
    assert (
        repr(registry)
        == "<Registry 'people': 1 effects, 0 actions, 0 placeholders, 1 interceptors>"
    )


# -- from a dict


def test_from_dict_takes_everything_that_the_methods_take():
    """A plain dict holds all that a registry can, handlers alone or with system keys and metadata."""
    outer, inner = {"id": "outer"}, {"id": "inner"}
    registry = Registry.from_dict(
        {
            "name": "people",
            "effects": {
                "log": log_effect,
                "say": {"handler": log_effect, "system_keys": ["sse"], "since": "1"},
            },
            "actions": {"greet": log_effect},
            "placeholders": {"now": log_effect},
            "interceptors": [outer],
            "innermost": [inner],
            "system_schema": {"sse": "a connection"},
            "system_to_state": dict,
        }
    )
    assert registry.name == "people"
    assert registry.effects["log"].system_keys is None
    assert registry.effects["say"] == (
        "effect",
        "say",
        log_effect,
        "people",
        ("sse",),
        {"since": "1"},
    )
    assert list(registry.actions) == ["greet"]
    assert list(registry.placeholders) == ["now"]
    assert registry.interceptors == [outer]
    assert registry.innermosts == [inner]
    assert registry.schema == {"sse": "a connection"}
    assert registry.to_state is dict


def test_from_dict_of_nothing_is_an_empty_registry():
    """Every key of the dict may be missing."""
    registry = Registry.from_dict({})
    assert (registry.name, registry.effects, registry.schema, registry.to_state) == (
        "registry",
        {},
        None,
        None,
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("efects", "did you mean 'effects'"),
        ("zzz", "there are name, effects"),
        (1, "there are name"),
    ],
)
def test_from_dict_refuses_unknown_keys(key, hint):
    """An unknown key is an error with the nearest right word, or else all of them."""
    with pytest.raises(RegistryError, match=hint):
        Registry.from_dict({key: {}})


@pytest.mark.parametrize(
    "given",
    [
        {"effects": [log_effect]},
        {"effects": {"log": {"system_keys": []}}},
        {"effects": {"log": None}},
        {"actions": 1},
    ],
)
def test_from_dict_refuses_handlers_of_the_wrong_shape(given):
    """Handlers that are no mapping, missing, or not callable are refused."""
    with pytest.raises(RegistryError):
        Registry.from_dict(given)


# -- specs


def test_registry_and_mapping_stand_for_themselves():
    """A registry is its own spec, and a mapping the registry that it describes."""
    registry = Registry()
    assert as_registry(registry) is registry
    assert list(as_registry({"effects": {"log": log_effect}}).effects) == ["log"]


def test_function_without_arguments_is_called():
    """A function is called, and may return a registry or a mapping."""
    assert as_registry(lambda: {"name": "made"}).name == "made"
    assert as_registry(lambda: Registry("made")).name == "made"


@pytest.mark.parametrize("form", [list, tuple])
def test_function_with_arguments_is_applied(form):
    """A list or tuple that begins with a function stands for what it returns, given the other elements."""
    assert as_registry(form([lambda *names: Registry("-".join(names)), "a", "b"])).name == "a-b"


@pytest.mark.parametrize("spec", ["invalid", None, 1, [], (), [1, 2], {1, 2}])
def test_anything_else_is_an_invalid_spec(spec):
    """What is no registry, mapping or function is refused, and named in the text."""
    with pytest.raises(RegistryError, match="invalid registry spec") as caught:
        Dispatcher([spec])
    assert repr(spec) in str(caught.value)


def test_function_that_returns_no_registry_is_an_invalid_spec():
    """A function is called once; what it returns must be a registry or a mapping, and is named in the text."""
    with pytest.raises(RegistryError, match="which returned 5"):
        as_registry(lambda: 5)


# -- merging


def test_later_registry_wins_with_a_warning(caplog):
    """Of one name in several registries the later handler counts, and a warning names both registries."""
    first, second = Registry("first"), Registry("second")
    for registry in (first, second):
        for decorator in (registry.effect, registry.action, registry.placeholder):
            decorator("same")(lambda *arguments, name=registry.name: name)
        registry.effect("only " + registry.name)(log_effect)
    merged = merge([first, second])
    assert list(merged.effects) == ["same", "only first", "only second"]
    assert {
        merged.entries(kind)["same"].registry for kind in ("effect", "action", "placeholder")
    } == {"second"}
    assert [record.getMessage() for record in caplog.records] == [
        f"{kind} 'same' of registry 'second' replaces the one of registry 'first'"
        for kind in ("effect", "action", "placeholder")
    ]
    assert {(record.name, record.levelname) for record in caplog.records} == {
        ("sfere_tornado.dispatch", "WARNING")
    }


def test_merging_changes_none_of_the_registries():
    """Registries are only read, so one may serve several dispatchers."""
    first, second = Registry("first"), Registry("second")
    second.effect("log")(log_effect)
    second.interceptor({"id": "x"})
    second.system_schema({"db": "?"})
    merge([first, second])
    assert first.effects == {}
    assert first.interceptors == []
    assert first.schema is None


def test_interceptors_are_concatenated_in_registry_order():
    """Interceptors of several registries stand in the order of the registries."""
    registries = [
        Registry.from_dict({"interceptors": [{"id": n}], "innermost": [{"id": -n}]})
        for n in (1, 2, 3)
    ]
    merged = merge(registries)
    assert [one["id"] for one in merged.interceptors] == [1, 2, 3]
    assert [one["id"] for one in merged.innermosts] == [-1, -2, -3]


def test_system_schemas_are_merged_and_the_later_wins():
    """System schemas of several registries are united, later ones win per key; without any there is none."""
    schemas = [{"db": 1, "sse": 1}, {"sse": 2}]
    dispatcher = Dispatcher([{"system_schema": schema} for schema in schemas])
    assert dispatcher.system_schema == {"db": 1, "sse": 2}
    assert Dispatcher([{}]).system_schema is None


def test_last_system_to_state_wins_with_a_warning(caplog):
    """Of several ``system_to_state`` the last one counts, and a warning names both registries."""
    registries = [
        Registry.from_dict({"name": name, "system_to_state": lambda system: system})
        for name in "ab"
    ]
    assert merge(registries).to_state is registries[1].to_state
    assert [record.getMessage() for record in caplog.records] == [
        "system_to_state of registry 'b' replaces the one of registry 'a'"
    ]
