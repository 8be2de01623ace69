"""The command line: what it finds, what it prints, and what it says when a command is wrong."""

import io
import subprocess
import sys
import textwrap

import pytest

from sfere_tornado import Hub, Registry
from sfere_tornado.cli import CommandError, describe_text, load_dispatcher, main
from sfere_tornado.dispatch import Dispatcher

APPLICATION = '''
from sfere_tornado import Hub, Registry

registry = Registry("shop")

@registry.effect("charge", system_keys=["bank"], owner="accounts")
def charge(ctx, amount: int, currency: str = "EUR", *notes: str):
    """Charge a customer.

    Args:
        amount: in cents.
    """

@registry.action("buy")
def buy(state, what):
    return [("charge", 1)]

registry.system_schema({"bank": "an open account", "limit": int})
registry.interceptor({"id": "audit", "before_dispatch": print})
registry.placeholder("odd")(map)

hub = Hub(registries=[registry])
dispatcher = hub.dispatcher
number = 7

def make_hub():
    return hub
'''


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A module ``shop`` that can be imported."""
    tmp_path.joinpath("shop.py").write_text(textwrap.dedent(APPLICATION))
    tmp_path.joinpath("broken.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("shop", None)


def printed(*arguments):
    out = io.StringIO()
    code = main(arguments, out)
    return code, out.getvalue()


def test_everything_is_printed(shop):
    """Without a name everything is described: all effects, the system and the chain."""
    code, text = printed("describe", "shop:hub")
    assert code == 0
    assert "effect send(data, options=None)    [sse]" in text
    assert (
        textwrap.dedent("""
        effect charge(amount, currency='EUR', *notes)    [shop]
            Charge a customer.
            amount (int): in cents.
            currency (str)
            notes (str)
            needs in the system: bank
            owner: accounts
        """)
        in text
    )
    assert "action buy(what)    [shop]\n    what\n" in text
    assert "placeholder odd(" in text
    assert "the system holds\n    bank: an open account\n    limit: int\n" in text
    assert text.endswith("the chain, outermost first: audit, sfere\n")


@pytest.mark.parametrize("name", ["hub", "dispatcher", "make_hub"])
def test_a_hub_a_dispatcher_or_a_function(shop, name):
    """The object may be a hub, its dispatcher, or a function that makes one."""
    assert isinstance(load_dispatcher(f"shop:{name}"), Dispatcher)


def test_a_part_is_printed(shop):
    """One name, one kind, or what has a text in it is printed alone, without the rest."""
    assert printed("describe", "shop:hub", "buy") == (0, "action buy(what)    [shop]\n    what\n")
    assert "effect" not in printed("describe", "shop:hub", "actions")[1].replace("effects", "")
    code, text = printed("describe", "shop:hub", "--grep", "CENTS")
    assert code == 0
    assert text.startswith("effect charge(")
    assert text.count("[shop]") == 1
    assert printed("describe", "shop:hub", "actions", "--grep", "cents") == (1, "nothing found\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["descrbe"], "describe"),
        (["describe"], "hub"),
        (["describe", "shop"], "write module:name"),
        (["describe", ":hub"], "write module:name"),
        (["describe", "shop:"], "write module:name"),
        (["describe", "shopp:hub"], "no module 'shopp'"),
        (["describe", "shop.inner:hub"], "no module 'shop.inner'"),
        (["describe", "shop:hubb"], "did you mean 'hub'?"),
        (["describe", "shop:zzzzzz"], "shop has no 'zzzzzz'"),
        (["describe", "shop:number"], "is int; name a hub"),
        (["describe", "shop:hub", "chrge"], "did you mean 'charge'?"),
        (["describe", "shop:hub", "zzzzzz"], "there are "),
    ],
)
def test_wrong_commands_say_what_to_write(shop, capsys, arguments, said):
    """A wrong command line exits with 2, and the text names the right word, or the shape."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


def test_an_application_that_cannot_be_imported(shop):
    """What an application itself lacks is its own error, not one of the command."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        main(["describe", "broken:hub"])


def test_handlers_that_cannot_be_read():
    """A handler without a readable signature, and a hub without a chain, are described too."""
    registry = Registry("test")
    registry.effect("odd")(dict)
    assert describe_text(Dispatcher([registry])).startswith("effect odd(...)    [test]")
    assert describe_text(Dispatcher([])) == ""
    with pytest.raises(CommandError):
        describe_text(Hub().dispatcher, "nothing like it")


def test_the_module_is_a_command(shop):
    """``python -m sfere_tornado`` runs it, in the folder of the application."""
    done = subprocess.run(
        [sys.executable, "-m", "sfere_tornado", "describe", "shop:hub", "charge"],
        cwd=shop,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("effect charge(amount, currency='EUR', *notes)")
