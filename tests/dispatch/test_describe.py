"""Descriptions: from docstrings and type hints, searched, sampled."""

from __future__ import annotations

import re
import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest

from sfere_tornado.dispatch import Dispatcher, Parameter, Registry
from sfere_tornado.dispatch.describe import describe, grep, sample, schemas
from sfere_tornado.errors import MissingDependencyError

if TYPE_CHECKING:
    from sfere_tornado.dispatch import Context


@pytest.fixture
def registry():
    """Return a registry with one described effect, one without anything, an action and a placeholder."""
    registry = Registry("people")

    @registry.effect(
        "greet", system_keys=["db", "sse"], since="1.2", tags={"polite", ("deep", "Nested")}
    )
    def greet(ctx: Context, name: str, times: int = 1, *more: str, shout: bool = False) -> None:
        """Say hello to somebody.

        Nobody is left out.

        Args:
            ctx: the context, which is no argument of the effect.
            name: who it is, as `first last`;
                on two lines.
            times (int): how often.
            *more: others.
            shout: out of an effect's reach.

        Returns:
            Nothing at all.
        """

    @registry.effect("bare")
    def bare(ctx, value):
        pass

    @registry.action("welcome")
    def welcome(state: Any) -> list[Any]:
        """Welcome everybody."""
        return []

    @registry.placeholder("now")
    def now(data: dict[str, Any], zone: Literal["utc", "local"]) -> str:
        """Tell the time."""
        return zone

    return registry


@pytest.fixture
def dispatcher(registry):
    """Return a dispatcher of the registry."""
    return Dispatcher([registry])


def one(handler, name="it"):
    """Return the description of one handler."""
    registry = Registry()
    registry.effect(name)(handler)
    return describe(Dispatcher([registry]).registry, name)


def test_a_description_has_everything(dispatcher):
    """A described effect has kind, name, text, parameters, system keys, metadata and its registry's name."""
    found = describe(dispatcher.registry, "greet")
    assert (found.kind, found.name, found.registry) == ("effect", "greet", "people")
    assert found.description == "Say hello to somebody.\n\nNobody is left out."
    assert found.system_keys == ("db", "sse")
    assert found.metadata == {"since": "1.2", "tags": {"polite", ("deep", "Nested")}}
    assert found.parameters == (
        Parameter("name", str, True, None, False, "who it is, as `first last`; on two lines."),
        Parameter("times", int, False, 1, False, "how often."),
        Parameter("more", str, False, None, True, "others."),
    )


def test_without_docstring_and_hints(dispatcher):
    """What is not described has an empty text, parameters without types, and no system keys."""
    found = describe(dispatcher.registry, "bare")
    assert (found.description, found.system_keys, found.metadata) == ("", None, {})
    assert found.parameters == (Parameter("value", None, True, None, False, ""),)


def test_describe_all_or_one_kind(dispatcher):
    """Without a word everything is described, with the name of a kind that kind only."""
    assert [found.name for found in describe(dispatcher.registry)] == [
        "greet",
        "bare",
        "welcome",
        "now",
    ]
    assert [found.name for found in describe(dispatcher.registry, "effects")] == ["greet", "bare"]
    assert [found.name for found in describe(dispatcher.registry, "actions")] == ["welcome"]
    assert [found.name for found in describe(dispatcher.registry, "placeholders")] == ["now"]
    assert {found.kind for found in describe(dispatcher.registry)} == {
        "effect",
        "action",
        "placeholder",
    }


def test_describe_unknown_name(dispatcher):
    """A name that nobody has registered has no description."""
    assert describe(dispatcher.registry, "unknown") is None


def test_describe_of_a_shared_name_is_the_effects(registry):
    """Of an effect and an action with one name, the effect is described, for it is what would run."""
    registry.action("greet")(lambda state: [])
    assert describe(Dispatcher([registry]).registry, "greet").kind == "effect"


def test_methods_do_the_same(dispatcher):
    """The dispatcher has the four as methods."""
    assert dispatcher.describe("now") == describe(dispatcher.registry, "now")
    assert dispatcher.grep("hello") == grep(dispatcher.registry, "hello")
    assert dispatcher.schemas() == schemas(dispatcher.registry)
    assert dispatcher.sample("welcome") == ("welcome",)


# -- handlers of all kinds


def test_partial_is_described_as_its_function():
    """A partial has the docstring and the hints of its function, and the parameters that are left."""

    def greet(ctx, greeting: str, name: str) -> None:
        """Greet."""

    found = one(partial(greet, greeting="hello"))
    assert found.description == "Greet."
    assert found.parameters == ()
    found = one(partial(greet, None))
    assert [parameter.name for parameter in found.parameters] == ["name"]


def test_methods_objects_and_wrappers():
    """Bound methods, callable objects and wrapped functions are described as what they call."""

    class Greeter:
        """A greeter."""

        def greet(self, ctx: Any, name: str) -> None:
            """Greet."""

        def __call__(self, ctx: Any, times: int) -> None:
            """Greet often."""

    def plain(ctx: Any, name: str) -> None:
        """Greet plainly."""

    @wraps(plain)
    def wrapped(*arguments, **options):
        return plain(*arguments, **options)

    method, called, unwrapped = one(Greeter().greet), one(Greeter()), one(wrapped)
    assert [found.description for found in (method, called, unwrapped)] == [
        "Greet.",
        "Greet often.",
        "Greet plainly.",
    ]
    assert [found.parameters[0][:2] for found in (method, called, unwrapped)] == [
        ("name", str),
        ("times", int),
        ("name", str),
    ]


def test_handler_that_takes_anything():
    """A handler that takes only ``*arguments`` may be given any."""

    def anything(*arguments: int) -> None:
        """Take anything."""

    assert [(parameter.name, parameter.variadic) for parameter in one(anything).parameters] == [
        ("arguments", True)
    ]


def test_handler_without_a_readable_signature():
    """A builtin whose signature cannot be read has no parameters to describe, and no schema."""
    registry = Registry()
    registry.effect("builtin")(min)
    dispatcher = Dispatcher([registry])
    assert describe(dispatcher.registry, "builtin").parameters is None
    assert schemas(dispatcher.registry) == {}
    assert sample(dispatcher.registry, "builtin") is None


def test_hint_for_type_checkers_only_spoils_no_other():
    """A hint that cannot be resolved at run time is given as text, and the others are resolved."""

    def greet(ctx: Context, whom: Context, name: Optional[str]) -> None:  # noqa: UP045  # the old form must be understood
        """Greet."""

    assert [parameter.type for parameter in one(greet).parameters] == ["Context", str | None]


def test_docstring_of_one_line_and_odd_sections():
    """A docstring may be one line, begin with its sections, or have lines in ``Args`` that describe no argument."""

    def sections_only(ctx, value):
        """Args:
            no colon here
            value: a value.
        Raises:
            OSError: never.
        """  # noqa: D205, D411  # the odd shape is what is tested

    found = one(sections_only)
    assert found.description == ""
    assert found.parameters[0].description == "a value."


# -- grep


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("greet", ["greet"]),
        ("GREET", ["greet"]),
        ("hello to", ["greet"]),
        ("time", ["greet", "now"]),
        ("on two lines", ["greet"]),
        ("1.2", ["greet"]),
        ("since", ["greet"]),
        ("nested", ["greet"]),
        ("polite", ["greet"]),
        ("gr..t", []),
        (".", ["greet", "welcome", "now"]),
        ("nothing like it", []),
    ],
)
def test_grep_searches_text_literally(dispatcher, text, names):
    """Text is searched for in any case, literally, in names, texts, parameters and all metadata."""
    assert [
        found.name for found in grep(dispatcher.registry, text) if found.name != "bare"
    ] == names


def test_grep_takes_a_pattern_as_it_is(dispatcher):
    """A compiled pattern is used with its own flags."""
    assert [found.name for found in grep(dispatcher.registry, re.compile("^(now|Welcome)$"))] == [
        "now"
    ]
    assert [
        found.name for found in grep(dispatcher.registry, re.compile("^Welcome$", re.IGNORECASE))
    ] == ["welcome"]


# -- schemas and samples


def test_schemas_leave_out_what_has_no_hints(dispatcher):
    """Everything with type hints is there by name; what lacks them is not; no parameters are a schema too."""
    assert list(schemas(dispatcher.registry)) == ["greet", "welcome", "now"]
    assert schemas(dispatcher.registry)["welcome"] == ()
    assert schemas(dispatcher.registry)["now"][0].type == Literal["utc", "local"]


def test_sample_is_one_tuple(dispatcher):
    """A sample begins with the name, and its arguments have the types of the hints."""
    name, first, times, *more = sample(dispatcher.registry, "greet")
    assert name == "greet"
    assert (type(first), type(times)) == (str, int)
    assert all(isinstance(value, str) for value in more)


def test_sample_of_several(dispatcher):
    """Asked for a number, sample gives a list of so many."""
    several = sample(dispatcher.registry, "now", 5)
    assert len(several) == 5
    assert {effect[0] for effect in several} == {"now"}
    assert {effect[1] for effect in several} <= {"utc", "local"}
    assert sample(dispatcher.registry, "now", 0) == []


@pytest.mark.parametrize("name", ["unknown", "bare"])
def test_no_sample_without_a_schema(dispatcher, name):
    """Without hints, or without anything of that name, there is no sample."""
    assert sample(dispatcher.registry, name) is None
    assert sample(dispatcher.registry, name, 3) is None


def test_no_sample_of_what_nothing_can_be_made_of():
    """Where a hint cannot be resolved there is no sample."""

    def greet(ctx: Context, whom: Context) -> None:
        """Greet."""

    registry = Registry()
    registry.effect(greet)
    assert sample(Dispatcher([registry]).registry, "greet") is None


def test_any_within_hints_can_be_sampled():
    """``Any`` stands for some object, alone, in containers and in unions."""

    def put(
        ctx: Any, one: Any, two: dict[str, Any], three: list[Any] | None, *more: tuple[Any, ...]
    ) -> None:
        """Put."""

    registry = Registry()
    registry.effect(put)
    name, _, two, three, *more = sample(Dispatcher([registry]).registry, "put")
    assert name == "put"
    assert isinstance(two, dict)
    assert three is None or isinstance(three, list)
    assert all(isinstance(value, tuple) for value in more)


def test_without_hypothesis_sample_says_what_to_install(dispatcher, monkeypatch):
    """Where hypothesis is missing the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingDependencyError, match="pip install hypothesis") as caught:
        sample(dispatcher.registry, "greet")
    assert caught.value.package == "hypothesis"


def test_sampled_effects_can_be_dispatched():
    """What is sampled is an effect that its own dispatcher runs."""
    registry = Registry()
    registry.effect("add")(lambda ctx, *numbers: sum(numbers))

    @registry.effect
    def double(ctx: Any, number: int) -> int:
        """Double."""
        return 2 * number

    dispatcher = Dispatcher([registry])
    for effect in sample(dispatcher.registry, "double", 3):
        assert dispatcher.dispatch(effect).results[0].value == 2 * effect[1]
