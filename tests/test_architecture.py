"""The house: floors, names, isolation. Red when an import goes up, a name is exported that is not there, or Tornado leaks."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sfere_tornado

PACKAGE = Path(sfere_tornado.__file__).parent

#: Rooms by floor; a room imports only from lower floors, or from within itself.
FLOORS = [
    {"defaults", "errors"},
    {"keys", "wire", "dispatch", "config"},
    {"history", "presence", "stores", "streams"},
    {"effects"},
    {"hub"},
    {"web", "datastar"},
    {"testing", "cli"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: Imports across a floor that are meant: many connections are made of single ones, both give to the writer, a connection
#: has a transport, a limit counts what is stored; and whoever has a hub looks there for a way to serve.
BESIDE = {
    ("fanout", "connection"),
    ("fanout", "writer"),
    ("connection", "writer"),
    ("connection", "transport"),
    ("admission", "stores"),
    ("hub", "web"),
    ("datastar", "web"),
    ("presence", "effects"),
    ("presence", "streams"),
    ("presence", "stores"),
}

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "sfere_tornado.")
    if not info.name.endswith("__main__")
)


def room(module):
    """Return the room of a module's full name."""
    return module.split(".")[1]


def imports_of(path, module):
    """Return the full names that a module imports, those under TYPE_CHECKING and inside functions included."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                if node.level
                else ""
            )
            yield ".".join(filter(None, (base, node.module)))


def path_of(module):
    """Return the file of a module."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_every_room_has_a_floor():
    """A new room is given its floor here before it is built."""
    assert {room(module) for module in MODULES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_from_lower_floors(module):
    """An import from the same or a higher floor is a fault of the plan, also if it is for types only."""
    for imported in imports_of(path_of(module), module):
        if not imported.startswith("sfere_tornado."):
            continue
        here, there = room(module), room(imported)
        allowed = here == there or FLOOR_OF[there] < FLOOR_OF[here] or (here, there) in BESIDE
        assert allowed, (
            f"{module} (floor {FLOOR_OF[here]}) imports {imported} (floor {FLOOR_OF[there]})"
        )


@pytest.mark.parametrize("module", MODULES)
def test_tornado_lives_on_the_upper_floors(module):
    """Only the web room, and tools for tests, know Tornado."""
    if room(module) not in {"web", "datastar", "testing"}:
        assert not [
            name for name in imports_of(path_of(module), module) if name.split(".")[0] == "tornado"
        ]


@pytest.mark.parametrize("module", MODULES)
def test_only_the_hub_and_above_know_an_event_loop(module):
    """Below the hub nothing starts a timer; the dispatcher alone may start the task that somebody asked it to await."""
    if FLOOR_OF[room(module)] < FLOOR_OF["hub"] and module != "sfere_tornado.dispatch.dispatched":
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
    """Return public classes and functions, and the public methods of public classes, but for overload stubs."""
    for node in tree.body:
        if isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not node.name.startswith("_"):
            if any(
                isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list
            ):
                continue
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from (
                    (f"{node.name}.{name}", inner) for name, inner in public_definitions(node)
                )


def test_public_names_are_the_ones_of_their_rooms():
    """Every public name of the package is in its room's ``__all__``, and loads from there."""
    for room_name, names in sfere_tornado._ROOMS.items():
        loaded = importlib.import_module(f"sfere_tornado.{room_name}")
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
        (
            "import sfere_tornado.stores, sfere_tornado.streams.fanout",
            ["tornado", "yaml", "asyncio"],
        ),
        ("import sfere_tornado.hub", ["tornado"]),
        ("import sfere_tornado.testing", ["pytest"]),
    ],
)
def test_importing_a_room_loads_no_more_than_it_needs(statement, absent):
    """A room can be used without what stands above it, in a fresh process without an event loop."""
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_room_is_too_large(path):
    """A module of more than 400 lines wants splitting."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
