"""The documentation is true: every block runs or is parsed, every setting and name is in it, and it renders."""

import asyncio
import functools
import io
import logging
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module, util
from pathlib import Path
from urllib.parse import urlencode

import docutils.core
import pytest
from support.waiting import eventually
from sybil import Sybil
from sybil.parsers.rest import CodeBlockParser, PythonCodeBlockParser
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

import sfere_tornado
from sfere_tornado import errors
from sfere_tornado.config import (
    CategoryRules,
    GraceConfig,
    HistoryConfig,
    KeepConfig,
    LimitsConfig,
    PresenceConfig,
    StoreConfig,
    StreamConfig,
    parse,
)
from sfere_tornado.config.values import (
    Choice,
    Choices,
    Duration,
    Names,
    Size,
    Switch,
    duration_text,
    size_text,
)
from sfere_tornado.presence import Grace
from sfere_tornado.testing import StreamClient

ROOT = Path(__file__).parents[1]
#: Pages that repositories and package indexes show without Sphinx.
PLAIN = [
    "README.rst",
    "CHANGELOG.rst",
    "CONTRIBUTING.rst",
    "SECURITY.rst",
    "changelog.d/README.rst",
]
PAGES = [*(ROOT / name for name in PLAIN), *sorted(ROOT.glob("docs/**/*.rst"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
EXAMPLES = sorted(path.name for path in ROOT.glob("examples/[0-9]*.py"))

#: Languages of blocks, each with what is done with them; ``text`` is for diagrams, which nothing can check.
LANGUAGES = {"python", "yaml", "console", "text"}


def name_of(page):
    return str(page.relative_to(ROOT))


class Client(StreamClient):
    """A client that pages need not close: it is closed when the conversation is over."""

    opened = []  # one list for all, on purpose

    @classmethod
    async def connect(cls, url, **options):
        client = await super().connect(url, **options)
        cls.opened.append(client)
        return client


def talk(app, conversation):
    """Serve an application on a free port, have a conversation with it, and stop both."""

    async def serve():
        server = HTTPServer(app)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        try:
            await asyncio.wait_for(
                conversation(f"http://127.0.0.1:{sockets[0].getsockname()[1]}"), 30
            )
        finally:
            while Client.opened:
                Client.opened.pop().close()
            server.stop()
            await app.settings["sfere"].stop()
            await server.close_all_connections()

    asyncio.run(serve())


async def post(url, headers=(), **form):
    """Post a form; returns the status and the text of the answer."""
    body = urlencode(form).encode()
    sent = {"Content-Type": "application/x-www-form-urlencoded", **dict(headers)}
    if not body:
        sent["Content-Length"] = "0"
    async with await StreamClient.open(url, method="POST", headers=sent, body=body) as answer:
        if answer.status != 204:
            await answer.ended()
        return answer.status, answer.body.decode()


@contextmanager
def unlogged(*names):
    """Keep what a page provokes out of the log; yields the lines that these loggers were given."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True


def check_yaml(example):
    """Read a block as the settings of a hub."""
    parse(example.parsed, f"{example.path}, block of line {example.line}")


def check_console(example):
    """Look at each command of a block: what it names must exist, and a request must be answered."""
    lines = example.parsed.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert commands, "a console block without any command; is it text?"
    for command in commands:
        check_command(command, example)


def check_command(command, example):
    program, *arguments = shlex.split(command)
    if program == "curl":
        run_curl(arguments, example)
    elif arguments[:1] == ["run.py"]:
        run = import_from("run", ROOT / "run.py")
        assert program == "python3"
        assert arguments[1] in run.COMMANDS, command
    elif arguments[:2] == ["-m", "venv"] or program == ".venv/bin/pip":
        assert arguments[-1] in {".venv", "."}
    elif arguments[:2] == ["-m", "pytest"]:
        assert util.find_spec("pytest")
    elif arguments[:2] == ["-m", "sfere_tornado"]:
        asked = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (asked.returncode, asked.stderr) == (0, ""), command
    elif program == ".venv/bin/python":
        # The tutorial's own file, which its blocks add up to; or an example.
        assert arguments == ["lobby.py"] or (ROOT / arguments[0]).is_file(), command
    else:
        assert command == "sudo apt install python3-venv", f"no test knows the command {command!r}"


def run_curl(arguments, example):
    """Run a curl line against the page's application; a stream is cut after a moment, everything else must succeed."""
    app = example.document.namespace["app"]

    async def conversation(url):
        sent = [re.sub(r"http://127\.0\.0\.1:\d+", url, argument) for argument in arguments]
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sf", "--max-time", "0.3", *sent, stdout=asyncio.subprocess.DEVNULL
        )
        # 28: still open when the time was over, as a stream is.
        assert await curl.wait() == (28 if "-N" in arguments else 0), arguments

    talk(app, conversation)


def import_from(name, path):
    spec = util.spec_from_file_location(name, path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(page):
    """Return a page with its blocks, ready to be run in order in one namespace."""
    sybil = Sybil(
        parsers=[
            PythonCodeBlockParser(),
            CodeBlockParser(language="yaml", evaluator=check_yaml),
            CodeBlockParser(language="console", evaluator=check_console),
        ]
    )
    document = sybil.parse(page)
    document.namespace.update(
        talk=talk, post=post, StreamClient=Client, eventually=eventually, unlogged=unlogged
    )
    document.namespace["__name__"] = "documentation"
    return document


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs(page, tmp_path, monkeypatch):
    """Python blocks run, in order, and so do the requests beside them; YAML blocks are settings; commands exist."""
    monkeypatch.chdir(tmp_path)
    # With -O the asserts of a block would vanish, with what they call; the package stays optimized.
    whole = functools.partial(compile, optimize=0)
    monkeypatch.setattr("sybil.evaluators.python.compile", whole, raising=False)
    for example in parsed(page).examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_is_unchecked(page):
    """A block is of a language that is checked, and the checker has found it; there are no blocks without a language."""
    text = page.read_text(encoding="utf-8")
    languages = re.findall(
        r"^ *\.\. (?:invisible-)?(?:code|code-block|sourcecode)::? *(.*)$", text, re.MULTILINE
    )
    assert set(languages) <= LANGUAGES
    assert len(list(parsed(page).examples())) == len(
        [language for language in languages if language != "text"]
    )
    assert re.findall(r"^(?! *\.\. ).*::$", text, re.MULTILINE) == []
    assert (
        re.findall(
            r"^ *\.\. (?:parsed-literal|literal|doctest|testcode|highlight|prompt)\b",
            text,
            re.MULTILINE,
        )
        == []
    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_included_is_tested(page):
    """A page shows a file whole only if it is an example, all of which are run by their own tests."""
    for directive, target in re.findall(
        r"^\.\. (literalinclude|include):: (.+)$", page.read_text(), re.MULTILINE
    ):
        path = (page.parent / target).resolve().relative_to(ROOT)
        tested = {*(f"examples/{name}" for name in EXAMPLES), "examples/03_expiry.yaml"}
        tested.update(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*/app.py"))
        assert (directive, str(path)) == ("include", "CHANGELOG.rst") or str(path) in tested


def test_the_checker_finds_a_wrong_block(tmp_path):
    """A block that fails, YAML with an unknown setting, and an unknown command are errors."""
    for block in (
        "python\n\n    raise AssertionError",
        "yaml\n\n    store: {tlt: 1s}",
        "console\n\n    $ rm -r /",
    ):
        page = tmp_path / "page.rst"
        page.write_text(f"Title\n=====\n\n.. code-block:: {block}\n")
        (example,) = parsed(page).examples()
        with pytest.raises((AssertionError, sfere_tornado.SfereError)):
            example.evaluate()


def program_of(page, tmp_path, port):
    """Write the last program of a page, one that can be run as it is, into a file of its own."""
    blocks = re.findall(
        r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", (ROOT / page).read_text()
    )
    (*_, program) = (block for block in blocks if "\n    if __name__ ==" in block)
    path = tmp_path / "program.py"
    path.write_text(re.sub("^    ", "", program, flags=re.MULTILINE).replace("8888", str(port)))
    return path


def test_the_program_of_the_readme(tmp_path, unused_port):
    """The README's program, as a file of its own: two come, one speaks, one leaves, and the other reads it."""
    path = program_of("README.rst", tmp_path, unused_port)

    async def conversation():
        process = await asyncio.create_subprocess_exec(sys.executable, path, stderr=subprocess.PIPE)
        url = f"http://127.0.0.1:{unused_port}"
        try:
            brian = await first_stream(f"{url}/events?name=brian")
            phil = await StreamClient.open(f"{url}/events?name=phil")
            assert await post(f"{url}/message", text="hello") == (200, "")
            assert (await brian.event("message")).data == "hello"
            assert (await phil.event("message")).data == "hello"
            brian.close()
            assert (await phil.event()).data == "brian left"
            phil.close()
        finally:
            process.send_signal(signal.SIGTERM)
            await process.communicate()

    asyncio.run(conversation())


@pytest.mark.parametrize("page", ["README.rst", "docs/guides/stopping.rst"])
def test_programs_end_well(page, tmp_path, unused_port):
    """A program that a page shows whole ends on a signal: its streams are cut, so that they come back, and its exit code is 0."""
    path = program_of(page, tmp_path, unused_port)

    async def conversation():
        process = await asyncio.create_subprocess_exec(sys.executable, path, stderr=subprocess.PIPE)
        brian = await first_stream(f"http://127.0.0.1:{unused_port}/events?name=brian")
        process.send_signal(signal.SIGTERM)
        _, complaints = await asyncio.wait_for(process.communicate(), 20)
        assert await brian.ended() is False
        assert (process.returncode, complaints) == (0, b"")

    asyncio.run(conversation())


async def first_stream(url):
    """Open a stream as soon as the program listens."""
    for _ in range(200):
        try:
            return await StreamClient.open(url)
        except OSError:
            await asyncio.sleep(0.05)  # another process cannot tell when it listens
    raise AssertionError("the program did not start to listen")


@pytest.fixture
def unused_port():
    (probe,) = bind_sockets(0, "127.0.0.1")
    with probe:
        return probe.getsockname()[1]


@pytest.mark.parametrize("page", PLAIN)
def test_it_renders_without_sphinx(page):
    """What package indexes and repository browsers show is plain RST, without a warning."""
    warnings = io.StringIO()
    settings = {
        "report_level": 1,
        "halt_level": 5,
        "warning_stream": warnings,
        "file_insertion_enabled": False,
    }
    text = (ROOT / page).read_text(encoding="utf-8")
    html = docutils.core.publish_parts(text, writer="html5", settings_overrides=settings)[
        "html_body"
    ]
    assert warnings.getvalue() == ""
    assert "system-message" not in html


def test_links_of_the_readme_lead_somewhere():
    """Every file that the README links to, or names, is there."""
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    targets = re.findall(r"<([^<>]+)>`_", text) + re.findall(r"``(docs/[\w/.]+\.rst)``", text)
    assert len(targets) >= 8
    assert [target for target in targets if not (ROOT / target).exists()] == []


# -- completeness

SETTING = re.compile(
    r"^\.\. confval:: (?P<name>[\w.<>]+)\n   :type: (?P<type>.+)\n   :default: (?P<default>.+)\n",
    re.MULTILINE,
)

#: The records of settings, and what it means there to leave a setting without a default out.
RECORDS = {
    "store": (StoreConfig, None),
    "stream": (StreamConfig, "none"),
    "limits": (LimitsConfig, "no limit"),
    "presence": (PresenceConfig, None),
    "presence.grace": (GraceConfig, None),
    "history": (HistoryConfig, None),
    "store.categories.<name>": (CategoryRules, "that of the store"),
    "history.categories.<name>": (KeepConfig, "that of the history"),
}


def default_of(part, field):
    """Return the default of a setting; those of the graces are the room's own."""
    return getattr(Grace(), field.name) if part == "presence.grace" else field.default


def written(kind, value, nothing):
    """Return a default as the page writes it."""
    if value is None:
        return nothing
    if isinstance(kind, Names):
        return "``[]``"
    if isinstance(kind, Choices):
        return f"``[{', '.join(word for word in kind.each.words if word in value)}]``"
    if isinstance(kind, Switch):
        return f"``{str(value).lower()}``"
    return f"``{in_words(kind, value)}``"


def in_words(kind, value):
    texts = {Duration: duration_text, Size: size_text}
    return texts.get(type(kind), str)(value)


def allowed(kind):
    """Return what a setting may be, as the page writes it."""
    if isinstance(kind, Choice):
        return ", ".join(f"``{word}``" for word in kind.words)
    if isinstance(kind, Choices):
        return "list of " + ", ".join(f"``{word}``" for word in kind.each.words)
    if isinstance(kind, Switch):
        return "``true``, ``false``"
    if isinstance(kind, Names):
        return "list of names"
    name = {"Count": "whole number"}.get(type(kind).__name__, type(kind).__name__.lower())
    return f"{name}, ``{in_words(kind, kind.low)}`` to ``{in_words(kind, kind.high)}``"


def test_settings_are_all_there_and_true():
    """The page of settings names every setting, and no other, with its true default and range."""
    text = (ROOT / "docs/reference/settings.rst").read_text(encoding="utf-8")
    found = {match["name"]: (match["type"], match["default"]) for match in SETTING.finditer(text)}
    expected = {
        f"{part}.{field.name}": (
            allowed(field.metadata["value"]),
            written(field.metadata["value"], default_of(part, field), nothing),
        )
        for part, (record, nothing) in RECORDS.items()
        for field in fields(record)
        if "value" in field.metadata
    }
    assert found == expected


def test_the_picture_of_the_house_has_every_room():
    """The floors in the architecture page name every room of the package."""
    text = (ROOT / "docs/architecture.rst").read_text(encoding="utf-8")
    drawn = " ".join(re.findall(r"^    \d  (.*?)(?:   .*)?$", text, re.MULTILINE)).split()
    rooms = {
        info.name
        for info in pkgutil.iter_modules(sfere_tornado.__path__)
        if not info.name.startswith("_")
    }
    assert set(drawn) == rooms
    assert len(drawn) == len(rooms)


def api_pages():
    return "".join(
        page.read_text()
        for page in [*ROOT.glob("docs/reference/api/*.rst"), ROOT / "docs/reference/errors.rst"]
    )


def test_every_public_name_is_in_the_api_reference():
    """Every name that the package gives is in the table of public names, and its room has a page."""
    table = (ROOT / "docs/reference/api.rst").read_text(encoding="utf-8")
    assert [name for name in sfere_tornado.__all__ if not re.search(rf"[.`]{name}`", table)] == []
    rooms = re.findall(r"automodule:: (\S+)\n(?!   :no-members:)", api_pages())
    documented = {name for room in rooms for name in import_module(room).__all__}
    assert set(sfere_tornado.__all__) - documented == {"__version__"}


def test_every_module_is_in_the_api_reference():
    """The API reference has every module of the package, once, and none that is gone."""
    found = re.findall(r"automodule:: (\S+)", api_pages())
    modules = [
        info.name for info in pkgutil.walk_packages(sfere_tornado.__path__, "sfere_tornado.")
    ]
    assert sorted(found) == sorted(name for name in modules if not name.endswith("__main__"))


def test_every_effect_is_described():
    """The page of effects has a section for each effect and action of the library."""
    text = (ROOT / "docs/reference/effects.rst").read_text(encoding="utf-8")
    hub = sfere_tornado.Hub(
        sfere_tornado.HubConfig(presence=PresenceConfig()), registries=[sfere_tornado.Datastar()]
    )
    headings = re.findall(r"^((?:``\w+``(?:, )?)+)\n[-~]+$", text, re.MULTILINE)
    described = re.findall(r"``(\w+)``", "".join(headings))
    assert sorted(described) == sorted(entry.name for entry in hub.dispatcher.describe())


def test_every_error_is_described():
    """The page of errors says of each exception what to do, but for those that are only there to be caught."""
    text = (ROOT / "docs/reference/errors.rst").read_text(encoding="utf-8")
    found = {
        name
        for line in re.findall(r"^   \* - (``.+)$", text, re.MULTILINE)
        for name in re.findall(r"\w+", line)
    }
    classes = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert found == classes - {"SfereError", "StoreError"} | {"CommandError"}


def test_decisions_are_numbered_without_gaps():
    """Each record of a decision has the next number, a date, and the three parts; the index lists them all."""
    records = sorted(ROOT.glob("docs/decisions/[0-9]*.rst"))
    assert [record.name[:4] for record in records] == [
        f"{n:04}" for n in range(1, len(records) + 1)
    ]
    listed = re.findall(
        r"^   (\d{4}\S+)$", (ROOT / "docs/decisions/index.rst").read_text(), re.MULTILINE
    )
    assert listed == [record.stem for record in records]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"{record.name[:4]}: ")
        assert re.search(r"^:Date: \d{4}-\d\d-\d\d$", text, re.MULTILINE)
        assert re.findall(r"^(\w+)\n-+$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]


def test_pages_name_what_a_hub_has():
    """A page that names an attribute of a hub names one that is there."""
    pages = [ROOT / "README.rst", ROOT / "docs" / "tutorial.rst"]
    pages += [
        *(ROOT / "docs" / "guides").glob("*.rst"),
        *(ROOT / "docs" / "reference").glob("*.rst"),
    ]
    names = {
        (page.name, name)
        for page in pages
        for name in re.findall(r"``hub\.([a-z_]+)", page.read_text(encoding="utf-8"))
    }
    hub = sfere_tornado.Hub()
    assert len(names) > 20
    assert sorted((page, name) for page, name in names if name not in dir(hub)) == []
