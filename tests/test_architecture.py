"""The house: floors, sizes, names, isolation.

Each test here prints every violation as one list. What is measured is in ``support/house.py``.
"""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from support.house import FLOOR_OF, House, comparisons, place_of

import sfere_tornado

PACKAGE = Path(sfere_tornado.__file__).parent
ROOT = PACKAGE.parent
HOUSE = House(PACKAGE)

#: Lines of code, without comments, docstrings and blank lines.
MOST_LINES_OF_A_CLASS = 200
MOST_LINES_OF_A_FUNCTION = 40
MOST_ATTRIBUTES = 12
MOST_PUBLIC_NAMES_OF_THE_HUB = 24
MOST_PUBLIC_NAMES_OF_A_FACE = 6

#: Words in names of public classes that are no words of this library.
FOREIGN_WORDS = {"config", "datastar", "error", "handler", "mixin", "script", "sfere", "sse"}

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "sfere_tornado.")
    if not info.name.endswith("__main__")
)


def imports_of(path, module):
    """Return the top-level names of what a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def floor_of(module):
    """Return the floor of a module, by its full name."""
    name = module.partition(".")[2]
    return FLOOR_OF[place_of(name)] if name else max(FLOOR_OF.values())


def path_of(module):
    """Return the file of a module."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def assert_none(kind, violations):
    """Fail with the whole list of violations."""
    violations = sorted({str(violation) for violation in violations})
    assert not violations, f"{kind}:\n  " + "\n  ".join(violations)


def test_the_check_sees_what_it_is_for(tmp_path):
    """A circle through types and ``__init__``, an arrow up, and a banned name are seen."""
    for name, text in {
        "keys.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .hub import Hub\n",
        "hub/__init__.py": "from .hub import Hub\n",
        "hub/hub.py": (
            "from .. import keys\nclass Hub:\n    def __init__(self, room):\n"
            "        self._told = self.x = room\n"
        ),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    house = House(tmp_path)
    assert [str(pair) for pair in house.arrows_up()] == ["keys -> hub.hub"]
    assert [str(pair) for pair in house.circles()] == ["hub.hub -> keys", "keys -> hub.hub"]
    assert house.banned_names() == ["hub.hub: room", "hub.hub: told"]
    assert house.attributes() == {"hub.hub.Hub": {"_told", "x"}}
    assert house.sizes(house.classes()) == [("hub.hub.Hub", 3)]


def test_a_file_imports_only_from_lower_floors():
    """No import goes up, or to another folder on the same floor, also not for types."""
    assert_none("arrows up", HOUSE.arrows_up())


def test_imports_go_in_no_circle():
    """Between files there is no circle, also not of imports for types or inside functions."""
    assert_none("circles", HOUSE.circles())


def test_no_class_is_too_large():
    """A class with more code has more than one task."""
    sizes = HOUSE.sizes(HOUSE.classes())
    print(f"largest: {sizes[:3]}")
    assert_none(
        "large classes", [size.name for size in sizes if size.lines > MOST_LINES_OF_A_CLASS]
    )


def test_no_function_is_too_large():
    """A function with more code has more than one step."""
    sizes = HOUSE.sizes(HOUSE.functions())
    print(f"largest: {sizes[:3]}")
    assert_none(
        "large functions", [size.name for size in sizes if size.lines > MOST_LINES_OF_A_FUNCTION]
    )


def test_no_object_has_too_many_attributes():
    """State that belongs together has a class of its own; attributes of bases count."""
    assert_none(
        "attributes",
        [name for name, names in HOUSE.attributes().items() if len(names) > MOST_ATTRIBUTES],
    )


def test_the_hub_shows_what_applications_need():
    """A hub has the names that applications need; what handlers need is behind few names more."""
    names = HOUSE.public_names("Hub")
    print(f"{len(names)}: {', '.join(names)}")
    assert_none("names of the hub", names if len(names) > MOST_PUBLIC_NAMES_OF_THE_HUB else [])
    names = HOUSE.public_names("Serving")
    assert_none("names of its face", names if len(names) > MOST_PUBLIC_NAMES_OF_A_FACE else [])


def test_names_say_one_thing():
    """Words with several meanings name no parameter, local or attribute."""
    assert_none("banned names", HOUSE.banned_names())


def test_a_public_name_is_one_thing():
    """No two modules have the same public name for different things; a subclass may keep it."""
    things = defaultdict(list)
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            things[name].append(getattr(loaded, name))
    assert_none(
        "names of several things",
        [name for name, values in things.items() if not all(is_same(values[0], v) for v in values)],
    )


def is_same(thing, other):
    """Whether two public things are one: the same object, an equal constant, or a subclass."""
    if isinstance(thing, type) and isinstance(other, type):
        return thing in other.__mro__ or other in thing.__mro__
    if callable(thing) or callable(other):
        return thing is other
    return type(thing) is type(other) and bool(thing == other)


def test_nothing_is_decided_by_comparing_effects():
    """A stage may replace effects: what a dispatch is, is ``ctx.kind``."""
    paths = [*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "examples").rglob("*.py"))]
    assert_none(
        "comparisons",
        [
            str(path.relative_to(ROOT))
            for path in paths
            if comparisons(ast.parse(path.read_text(encoding="utf-8")))
        ],
    )


def test_no_page_teaches_to_compare_effects():
    """The documentation has no such code either."""
    compares = re.compile(
        r"\bctx\.(?:actions|effects)\b(?:\[[^]]*\])?\s*(?:==|!=|in\b)|\bin ctx\.actions:"
    )
    pages = [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]
    assert_none(
        "comparisons in pages",
        [
            str(page.relative_to(ROOT))
            for page in pages
            if compares.search(page.read_text(encoding="utf-8"))
        ],
    )


def test_a_comparison_of_effects_is_seen():
    """Equality, membership, parts, and a match are comparisons."""
    for code in (
        "ctx.actions == [('sse_closed',)]",
        "('request',) in ctx.effects",
        "ctx.actions[0] == 1",
        "match ctx.actions:\n    case []: pass",
    ):
        assert comparisons(ast.parse(code)) == [1], code
    assert comparisons(ast.parse("len(ctx.actions) > 1")) == []


def test_the_glossary_has_the_words_of_public_classes():
    """A public class is named after a word of the glossary, or of the world around."""
    glossary = (ROOT / "docs" / "glossary.rst").read_text(encoding="utf-8")
    terms = {
        term.replace("-", "").replace(" ", "").lower()
        for whole in re.findall(r"^   (\S.*)$", glossary, re.MULTILINE)
        for term in (whole, whole.split()[-1])
    }
    missing = []
    for name in sfere_tornado.__all__:
        if not isinstance(getattr(sfere_tornado, name), type):
            continue
        words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)]
        own = [word for word in words if word not in FOREIGN_WORDS]
        if name.lower() not in terms and own and not {own[-1], own[-1].rstrip("s")} & terms:
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_tornado_lives_on_the_upper_floors(module):
    """Only what serves requests, and tools for tests, know Tornado."""
    if module.split(".")[1] not in {"web", "datastar", "testing"}:
        assert "tornado" not in imports_of(path_of(module), module)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_hub_and_above_know_an_event_loop(module):
    """Below the hub only the dispatcher starts a task: the one that its caller awaits."""
    if floor_of(module) < FLOOR_OF["hub"] and module != "sfere_tornado.dispatch.dispatched":
        assert "asyncio" not in imports_of(path_of(module), module)


@pytest.mark.parametrize("module", MODULES)
def test_all_names_what_is_there(module):
    """``__all__`` is a tuple without doubles, and each name in it exists."""
    loaded = importlib.import_module(module)
    assert isinstance(loaded.__all__, tuple)
    assert len(set(loaded.__all__)) == len(loaded.__all__)
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_thing_says_what_it_is(module):
    """Every module, and every public class, function and method in it, has a docstring."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert [name for name, node in public_definitions(tree) if not ast.get_docstring(node)] == []


def public_definitions(tree):
    """Return public classes and functions, and the public methods of public classes, but for overloads and setters."""
    for node in tree.body:
        if isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not node.name.startswith("_"):
            # What an overload or a setter does is said where the method or property is.
            if any(
                (isinstance(mark, ast.Name) and mark.id == "overload")
                or (isinstance(mark, ast.Attribute) and mark.attr == "setter")
                for mark in node.decorator_list
            ):
                continue
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from (
                    (f"{node.name}.{name}", inner) for name, inner in public_definitions(node)
                )


def test_public_names_are_the_ones_of_their_modules():
    """Every public name of the package is in its module's ``__all__``, and loads from there."""
    for place, names in sfere_tornado._NAMES.items():
        loaded = importlib.import_module(f"sfere_tornado.{place}")
        for name in names:
            assert name in loaded.__all__
            assert getattr(sfere_tornado, name) is getattr(loaded, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sfere_tornado.nothing  # noqa: B018  # the access is the test
    assert set(sfere_tornado.__all__) <= set(dir(sfere_tornado))


def test_type_checkers_see_the_same_public_names():
    """The names imported for type checkers are those that are loaded on first use."""
    names = [
        alias.name
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    ]
    assert sorted(names) == [name for name in sfere_tornado.__all__ if name != "__version__"]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import sfere_tornado", ["tornado", "yaml", "asyncio"]),
        ("import sfere_tornado.dispatch", ["tornado", "yaml", "http"]),
        ("import sfere_tornado.config", ["tornado", "yaml", "asyncio"]),
        (
            "import sfere_tornado.stores, sfere_tornado.streams.fanout",
            ["tornado", "yaml", "asyncio"],
        ),
        ("import sfere_tornado.hub", ["tornado"]),
        ("import sfere_tornado.testing", ["pytest"]),
    ],
)
def test_importing_a_folder_loads_no_more_than_it_needs(statement, absent):
    """A folder can be used without what stands above it, in a fresh process without an event loop."""
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
