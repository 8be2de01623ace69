"""Datastar's events: the protocol's cases byte by byte, the official encoder as a yardstick, and what is refused."""

import importlib
import inspect
import json
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado import ANY, Fanout, MemoryStore, Registry, broadcast, close_sse
from sfere_tornado.datastar.actions import (
    MODES,
    NAMESPACES,
    Datastar,
    connection,
    execute_script,
    patch_elements,
    patch_elements_seq,
    patch_signals,
    remove_elements,
    signals_json,
    sse_delete,
    sse_get,
    sse_patch,
    sse_post,
    sse_put,
)
from sfere_tornado.dispatch import Dispatcher, Effect
from sfere_tornado.effects.keyed import KeyedEffects
from sfere_tornado.effects.streams import StreamEffects
from sfere_tornado.errors import EffectShapeError, EventError, NoConnectionError
from sfere_tornado.testing.parser import Parser
from sfere_tornado.testing.recording import recording_connection


class Markup:
    """What htpy, markupsafe and Jinja2 give: an object that knows its own HTML."""

    def __init__(self, text):
        self.text = text

    def __html__(self):
        return self.text


def dispatcher(*registries, **options):
    return Dispatcher(
        [StreamEffects(), Datastar(**options), *registries], report=lambda error: None
    )


def written(effects, **options):
    """Return what a connection gets from effects, as text."""
    to, transport = recording_connection()
    told = dispatcher(**options).dispatch(effects, system={"sse": to})
    assert told.errors == []
    return transport.written.decode()


def refused(effects, **options):
    """Return the one error of effects of which nothing may be sent."""
    to, transport = recording_connection()
    [error] = dispatcher(**options).dispatch(effects, system={"sse": to}).errors
    assert transport.writes == []
    return error.exception


def patched(event):
    """Return the data of one event by name, as the client takes it apart: the name ends at the first space."""
    found = {}
    for line in event.data.split("\n"):
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value)
    return {name: "\n".join(values) for name, values in found.items()}


def received(effects):
    """Return the only event of effects, read strictly."""
    [event] = Parser().feed(written(effects).encode())
    return event


#: The specification's cases: what is asked for, and the whole event.
CASES = {
    "elements, defaults": (
        patch_elements('<div id="feed"><b>1</b></div>'),
        'event: datastar-patch-elements\ndata: elements <div id="feed"><b>1</b></div>\n\n',
    ),
    "elements, defaults given": (
        patch_elements(
            "<p id=a></p>", selector="", mode="outer", namespace="html", id="", retry=1000
        ),
        "event: datastar-patch-elements\ndata: elements <p id=a></p>\n\n",
    ),
    "elements, every option": (
        patch_elements(
            "<g>1</g>",
            selector="#feed",
            mode="inner",
            use_view_transition=True,
            namespace="svg",
            id="event1",
            retry=2000,
        ),
        (
            "event: datastar-patch-elements\nid: event1\nretry: 2000\ndata: selector #feed\ndata: mode inner\n"
            "data: useViewTransition true\ndata: namespace svg\ndata: elements <g>1</g>\n\n"
        ),
    ),
    "elements, several lines": (
        patch_elements("<div>\n  <span>1</span>\n</div>"),
        "event: datastar-patch-elements\ndata: elements <div>\ndata: elements   <span>1</span>\ndata: elements </div>\n\n",
    ),
    "elements, an empty line": (
        patch_elements("<pre>a\n\nb</pre>"),
        "event: datastar-patch-elements\ndata: elements <pre>a\ndata: elements \ndata: elements b</pre>\n\n",
    ),
    "elements, appended": (
        patch_elements("<p>1</p>", selector="#list", mode="append"),
        "event: datastar-patch-elements\ndata: selector #list\ndata: mode append\ndata: elements <p>1</p>\n\n",
    ),
    "elements, mathml": (
        patch_elements("<mn>1</mn>", namespace="mathml"),
        "event: datastar-patch-elements\ndata: namespace mathml\ndata: elements <mn>1</mn>\n\n",
    ),
    "a retry of one": (
        patch_elements("<p id=a></p>", retry=1),
        "event: datastar-patch-elements\nretry: 1\ndata: elements <p id=a></p>\n\n",
    ),
    "a retry of zero": (
        patch_elements("<p id=a></p>", retry=0),
        "event: datastar-patch-elements\ndata: elements <p id=a></p>\n\n",
    ),
    "elements in a row": (
        patch_elements_seq(["<p id=a>\n1</p>", " ", "", "<p id=b>2</p>"]),
        "event: datastar-patch-elements\ndata: elements <p id=a>\ndata: elements 1</p>\ndata: elements <p id=b>2</p>\n\n",
    ),
    "removal": (
        remove_elements("#feed, #other"),
        "event: datastar-patch-elements\ndata: selector #feed, #other\ndata: mode remove\n\n",
    ),
    "removal, every option": (
        remove_elements("#feed", use_view_transition=True, id="event1", retry=2000),
        (
            "event: datastar-patch-elements\nid: event1\nretry: 2000\ndata: selector #feed\ndata: mode remove\n"
            "data: useViewTransition true\n\n"
        ),
    ),
    "removal as a patch": (
        patch_elements("", selector="#feed", mode="remove"),
        "event: datastar-patch-elements\ndata: selector #feed\ndata: mode remove\n\n",
    ),
    "emptying": (
        patch_elements(" ", selector="#feed", mode="inner"),
        "event: datastar-patch-elements\ndata: selector #feed\ndata: mode inner\n\n",
    ),
    "signals, defaults": (
        patch_signals({"one": 1, "two": {"three": "é", "gone": None}}),
        'event: datastar-patch-signals\ndata: signals {"one":1,"two":{"three":"é","gone":null}}\n\n',
    ),
    "signals, every option": (
        patch_signals({"one": 1}, only_if_missing=True, id="event1", retry=2000),
        'event: datastar-patch-signals\nid: event1\nretry: 2000\ndata: onlyIfMissing true\ndata: signals {"one":1}\n\n',
    ),
    "signals, as text": (
        patch_signals('{\n  "one": 1\n}'),
        'event: datastar-patch-signals\ndata: signals {\ndata: signals   "one": 1\ndata: signals }\n\n',
    ),
    "signals, none": (patch_signals({}), "event: datastar-patch-signals\ndata: signals {}\n\n"),
    "script, defaults": (
        execute_script("console.log('here');"),
        (
            "event: datastar-patch-elements\ndata: selector body\ndata: mode append\n"
            "data: elements <script data-effect=\"el.remove()\">console.log('here');</script>\n\n"
        ),
    ),
    "script, every option": (
        execute_script(
            "go()",
            auto_remove=False,
            attributes={"type": "module", "data-something": 1},
            id="event1",
            retry=2000,
        ),
        (
            "event: datastar-patch-elements\nid: event1\nretry: 2000\ndata: selector body\ndata: mode append\n"
            'data: elements <script type="module" data-something="1">go()</script>\n\n'
        ),
    ),
    "script, attributes and removal": (
        execute_script(
            "go()", attributes={"type": "module", "async": True, "defer": False, "nonce": None}
        ),
        (
            "event: datastar-patch-elements\ndata: selector body\ndata: mode append\n"
            'data: elements <script type="module" async data-effect="el.remove()">go()</script>\n\n'
        ),
    ),
    "script, several lines": (
        execute_script("// first\ngo();", auto_remove=False),
        (
            "event: datastar-patch-elements\ndata: selector body\ndata: mode append\n"
            "data: elements <script>// first\ndata: elements go();</script>\n\n"
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cases_of_the_specification(case):
    """The event has its fields, options and content in the protocol's order, and nothing that is the default."""
    effect, event = CASES[case]
    assert written(effect) == event


#: Ours, and what to ask of the official Python package: method, arguments, keyword arguments.
OFFICIAL = [
    (patch_elements("<p id=a></p>"), "patch_elements", ["<p id=a></p>"], {}),
    (patch_elements("<pre id=a>1\n\n2</pre>"), "patch_elements", ["<pre id=a>1\n\n2</pre>"], {}),
    (
        patch_elements(
            "<g/>",
            selector="#a",
            mode="before",
            namespace="svg",
            use_view_transition=True,
            id="7",
            retry=9,
        ),
        "patch_elements",
        ["<g/>", "#a", "before"],
        {"namespace": "svg", "use_view_transition": True, "event_id": "7", "retry_duration": 9},
    ),
    (
        patch_elements("<p id=a></p>", id="", retry=1000),
        "patch_elements",
        ["<p id=a></p>"],
        {"retry_duration": 1000},
    ),
    (remove_elements("#a", id="7", retry=0), "remove_elements", ["#a", "7", 0], {}),
    (patch_signals({"a": [1, None], "b": "é"}), "patch_signals", [{"a": [1, None], "b": "é"}], {}),
    (
        patch_signals("{\n}", only_if_missing=True),
        "patch_signals",
        ["{\n}"],
        {"only_if_missing": True},
    ),
    (execute_script("go()\nand('on')"), "execute_script", ["go()\nand('on')"], {}),
    (
        execute_script(
            "go()", auto_remove=False, attributes={"type": "module", "data-x": '"&<'}, id="7"
        ),
        "execute_script",
        ["go()", False, {"type": "module", "data-x": '"&<'}],
        {"event_id": "7"},
    ),
]


@pytest.mark.parametrize(("effect", "method", "arguments", "options"), OFFICIAL)
def test_the_official_encoder_says_the_same(effect, method, arguments, options):
    """Read as a client reads them, our events are those of the official Python package; the order of options is free."""
    official = pytest.importorskip(
        "datastar_py.sse", reason="the yardstick is missing: pip install datastar-py"
    )
    [theirs] = Parser().feed(
        getattr(official.ServerSentEventGenerator, method)(*arguments, **options).encode()
    )
    ours = received(effect)
    mine, other = patched(ours), patched(theirs)
    if method == "execute_script":
        # A quotation mark can be escaped in two ways.
        mine["elements"], other["elements"] = (
            unescape(mine["elements"]),
            unescape(other["elements"]),
        )
    if "signals" in mine:
        mine["signals"], other["signals"] = (
            json.loads(mine["signals"]),
            json.loads(other["signals"]),
        )
    assert (ours.event, ours.id, mine) == (theirs.event, theirs.id, other)


def test_events_follow_each_other_in_order():
    """Several actions are several events, in their order; closing comes last, and the stream ends for good."""
    to, transport = recording_connection()
    told = dispatcher().dispatch(
        [
            patch_elements("<p id=a>1</p>"),
            patch_signals({"a": 1}),
            execute_script("go()"),
            close_sse(),
        ],
        system={"sse": to},
    )
    assert told.errors == []
    assert [event.event for event in transport.events()] == [
        "datastar-patch-elements",
        "datastar-patch-signals",
        "datastar-patch-elements",
    ]
    assert transport.ending == "finished"


# -- content


@settings(deadline=None, max_examples=200)
@given(
    st.text(
        st.one_of(
            st.sampled_from("\r\n\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff :<>\"'&"),
            st.characters(exclude_categories=("Cs",)),
        ),
        min_size=1,
    ).filter(lambda text: text.strip())
)
def test_html_arrives_unchanged(html):
    """Whatever HTML is sent, the client gets it, character by character; only line ends become LF."""
    assert patched(received(patch_elements(html)))["elements"] == html.replace(
        "\r\n", "\n"
    ).replace("\r", "\n")


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",))),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.text(st.characters(exclude_categories=("Cs",))),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_signals_arrive_unchanged(signals):
    """Whatever JSON can say arrives as it was."""
    assert json.loads(patched(received(patch_signals(signals)))["signals"]) == signals


@pytest.mark.parametrize(
    "html",
    [
        "<p>data: elements fake</p>\ndata: mode remove\n\nevent: x",
        "<script>go('</script>')",
        '<p title="a\u2028b">\u2029\x85\x0b</p>',
        "  <p>  </p>  \n",
    ],
)
def test_awkward_html_is_content(html):
    """Text that looks like the protocol stays content: no option, no second event comes of it."""
    assert patched(received(patch_elements(html))) == {"elements": html}


def test_elements_may_know_their_own_html():
    """An object with __html__ is asked for its HTML, which is sent as it is, never escaped a second time."""
    assert patched(received(patch_elements(Markup("<b>1 &amp; 2</b>")))) == {
        "elements": "<b>1 &amp; 2</b>"
    }
    several = patch_elements_seq(Markup(f"<p id=p{n}></p>") for n in range(2))
    assert patched(received(several)) == {"elements": "<p id=p0></p>\n<p id=p1></p>"}


@pytest.mark.parametrize("engine", ["markupsafe", "jinja2", "htpy"])
def test_what_template_engines_make(engine):
    """What these packages make of a name that looks like HTML is sent as they have escaped it, once."""
    package, name = (
        pytest.importorskip(engine, reason=f"not installed; pip install {engine}"),
        "<b>'\"&",
    )
    if engine == "markupsafe":
        made = package.Markup("<p id=a>{}</p>").format(name)
    elif engine == "jinja2":
        made = (
            package.Environment(autoescape=True)
            .from_string("<p id=a>{{ name }}</p>")
            .render(name=name)
        )
    else:
        made = package.p("#a")[name]
    for effect in (patch_elements(made), patch_elements_seq([made])):
        html = patched(received(effect))["elements"]
        assert "<b>" not in html
        assert unescape(html).replace('"a"', "a") == f"<p id=a>{name}</p>"


def test_safe_strings_are_not_escaped_by_what_they_are_joined_with():
    """A str subclass that escapes whatever is added to it, as markupsafe has, is sent as plain text."""

    class Safe(str):
        __slots__ = ()

        def __html__(self):
            return self

        def __radd__(self, other):
            raise AssertionError("joined as markup")

        __add__ = __radd__

    assert patched(received(patch_elements(Safe("<b>\n</b>")))) == {"elements": "<b>\n</b>"}


def test_blank_elements_have_nothing_to_patch():
    """Without elements and target an event would say nothing, and clients drop it; the error says what to do."""
    for effect in (
        patch_elements(" \n"),
        patch_elements_seq([""]),
        patch_elements("", selector="#a"),
    ):
        error = refused(effect)
        assert isinstance(error, EventError)
        assert "remove_elements" in str(error)


def test_a_placeholder_may_stand_for_content():
    """Elements, lists of them, and signals may be filled in from the dispatch data."""
    registry = Registry("test")
    registry.placeholder("found")(lambda data, name: data[name])
    to, transport = recording_connection()
    told = dispatcher(registry).dispatch(
        [
            patch_elements(("found", "html")),
            ("patch_elements_seq", ("found", "list")),
            patch_signals({"name": ("found", "name")}),
            patch_signals(("found", "signals")),
            execute_script(("found", "script")),
        ],
        system={"sse": to},
        dispatch_data={
            "html": "<p id=a></p>",
            "list": ["<p>1</p>"],
            "name": "b",
            "signals": {"c": 1},
            "script": "d()",
        },
    )
    assert told.errors == []
    assert [patched(event) for event in transport.events()] == [
        {"elements": "<p id=a></p>"},
        {"elements": "<p>1</p>"},
        {"signals": '{"name":"b"}'},
        {"signals": '{"c":1}'},
        {
            "selector": "body",
            "mode": "append",
            "elements": '<script data-effect="el.remove()">d()</script>',
        },
    ]


# -- signals


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {1, 2}, object()])
def test_what_json_cannot_say_is_refused(value):
    """NaN, infinity and objects are an error to the sender, and nothing is sent: the page could not read it."""
    assert isinstance(refused(patch_signals({"deep": [value]})), EventError)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '"a"', "null", '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000]
)
def test_text_that_is_no_json_object_is_refused(text):
    """Ready text is read once before it is sent: what is no JSON object would be lost in every page."""
    assert isinstance(refused(patch_signals(text)), EventError)


def test_signals_may_be_written_by_another_function():
    """An application with types of its own gives its own writer."""
    assert 'signals {"at":"noon"}' in written(
        patch_signals({"at": object()}),
        to_json=lambda signals: json.dumps({"at": "noon"}, separators=(",", ":")),
    )


def test_a_lone_surrogate_is_refused():
    """Half of a surrogate pair cannot be sent; the stream stays as it was."""
    assert isinstance(refused(patch_elements("<p>\ud800</p>")), EventError)


# -- scripts


@pytest.mark.parametrize(
    "end", ["</script>", "</SCRIPT >", "</script/x", "</body>", "</html>", "</Head>"]
)
def test_a_script_cannot_end_its_element(end):
    """Abuse: a value with an end tag inside a script would close it, and its rest would be HTML."""
    element = patched(
        received(execute_script(f"say({json.dumps(end + '<img src=x onerror=alert(1)>')})"))
    )["elements"]
    assert element.lower().count("</") == 1
    assert element.endswith("</script>")
    assert f"<\\{end[1:]}" in element


def test_a_script_cannot_hide_its_end():
    """Abuse: after a comment's begin and another script's begin, a browser does not see the end of the element."""
    element = patched(received(execute_script('say("<!-- <script>")')))["elements"]
    assert "<!--" not in element
    assert r"\x3C!-- <script>" in element


def test_attributes_are_escaped():
    """Abuse: quotes, signs and line ends in a value stay in the value."""
    element = patched(
        received(execute_script("", attributes={"data-x": "a\"b'c<d>&e\r\nf"}, auto_remove=False))
    )
    assert (
        element["elements"]
        == '<script data-x="a&quot;b&#x27;c&lt;d&gt;&amp;e&#13;&#10;f"></script>'
    )


@pytest.mark.parametrize("name", ["", "a b", "a=b", 'a"', "a>", "a/", "a\nb", "a\0", 1])
def test_attribute_names_are_checked(name):
    """Abuse: a name with a space or a sign would be another attribute, or the end of the tag."""
    with pytest.raises(EventError) as caught:
        execute_script("go()", attributes={name: "x"})
    assert caught.value.field == "attributes"


# -- options


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\r\nb", "a\0b"])
@pytest.mark.parametrize("option", ["selector", "id", "mode", "namespace"])
def test_options_cannot_add_lines(option, bad):
    """Abuse: a line end in an option would begin a line of its own, with whatever follows."""
    with pytest.raises(EventError) as caught:
        patch_elements("<p></p>", **{option: bad})
    assert caught.value.field == option
    error = refused(("patch_elements", "<p></p>", {option: bad}))
    assert isinstance(error, EventError)
    assert error.field == option


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "innner"}, "did you mean 'inner'?"),
        ({"mode": "morph"}, "there are outer, inner"),
        ({"mode": None}, "there are outer, inner"),
        ({"namespace": "SVG"}, "did you mean 'svg'?"),
        ({"mode": "append"}, "needs a selector"),
        ({"mode": "remove", "selector": ""}, "needs a selector"),
        ({"selector": " "}, "not blank"),
        ({"selector": 7}, "not blank"),
        ({"use_view_transition": "yes"}, "True or False"),
        ({"use_view_transition": 0}, "True or False"),
        ({"retry": -1}, "from 0"),
        ({"retry": True}, "from 0"),
        ({"retry": 1.5}, "from 0"),
        ({"id": "é"}, "ASCII"),
    ],
)
def test_wrong_options_are_refused_where_they_are_written(options, said):
    """The constructor raises, and the same as plain data is an error of the dispatch; both say what to do."""
    with pytest.raises(EventError, match=said.replace("?", r"\?")):
        patch_elements("<p></p>", **options)
    assert said in str(refused(("patch_elements", "<p></p>", options)))


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (("patch_elements", "<p></p>", {"selectr": "#a"}), "did you mean 'selector'?"),
        (("patch_signals", {}, {"onlyIfMissing": True}), "did you mean 'only_if_missing'?"),
        (("remove_elements", "#a", {"mode": "inner"}), "there are use_view_transition"),
        (("execute_script", "go()", {7: 1}), "there are auto_remove"),
        (("patch_signals", {}, {"only_if_missing": 1}), "True or False"),
        (("execute_script", "go()", {"auto_remove": None}), "True or False"),
        (("execute_script", "go()", {"attributes": ["async"]}), "a dict"),
        (("remove_elements", ""), "not blank"),
        (("remove_elements", None), "not blank"),
        (("patch_elements", 7), "not int"),
        (("patch_elements_seq", "<p></p>"), "a list"),
        (("patch_elements_seq", [7]), "not int"),
        (("patch_signals", 7), "a dict"),
        (("execute_script", 7), "not int"),
    ],
)
def test_wrong_data_is_refused(effect, said):
    """Effects that were not made by a constructor are checked as strictly, and an unknown option is told the nearest."""
    error = refused(effect)
    assert isinstance(error, EventError)
    assert said in str(error)


def test_options_are_a_dict():
    """Options of another kind are an error of the effect's shape."""
    assert isinstance(refused(("patch_elements", "<p></p>", "inner")), EffectShapeError)


@pytest.mark.parametrize(
    "make",
    [
        lambda: patch_elements(7),
        lambda: patch_elements_seq("<p></p>"),
        lambda: patch_elements_seq([7]),
        lambda: remove_elements(" "),
        lambda: patch_signals([1]),
        lambda: execute_script(7),
    ],
)
def test_constructors_refuse_wrong_content(make):
    """What can never be sent is refused where it is written."""
    with pytest.raises(EventError):
        make()


def test_constructors_return_plain_tuples():
    """The constructors only make data, and leave out what is the default."""
    assert patch_elements("<p></p>", mode="outer", id=None) == ("patch_elements", "<p></p>")
    assert patch_elements_seq(iter(["a", "b"]), selector="#x", mode="inner") == (
        "patch_elements_seq",
        ["a", "b"],
        {"selector": "#x", "mode": "inner"},
    )
    assert remove_elements("#x", retry=5) == ("remove_elements", "#x", {"retry": 5})
    assert patch_signals({"a": 1}, only_if_missing=True) == (
        "patch_signals",
        {"a": 1},
        {"only_if_missing": True},
    )
    assert execute_script("go()", auto_remove=False) == (
        "execute_script",
        "go()",
        {"auto_remove": False},
    )
    assert connection() == ("connection",)


def test_modes_and_namespaces_are_named():
    """The modes and namespaces of the protocol, each of which is taken."""
    assert MODES == ("outer", "inner", "replace", "prepend", "append", "before", "after", "remove")
    assert NAMESPACES == ("html", "svg", "mathml")
    for mode in MODES:
        assert (
            "mode" in patched(received(patch_elements("<p></p>", selector="#a", mode=mode)))
        ) == (mode != "outer")


def test_the_options_of_an_action_are_those_of_its_constructor():
    """What a constructor takes, its action takes: the table is read from the signature."""
    for constructor, content in (
        (patch_elements, "<p></p>"),
        (patch_elements_seq, ["<p></p>"]),
        (remove_elements, "#a"),
        (patch_signals, {"a": 1}),
        (execute_script, "go()"),
    ):
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        options = {parameter.name: parameter.default for parameter in parameters}
        plain = received(Effect((constructor.__name__, content)))
        assert received(Effect((constructor.__name__, content, options))) == plain
        unknown = refused(Effect((constructor.__name__, content, {**options, "colour": 1})))
        assert "is not an option" in str(unknown)


def test_a_stream_is_closed_by_the_same_effect():
    """The room of Datastar has every effect that a page of it needs, the end of its stream among them."""
    room = importlib.import_module("sfere_tornado.datastar.actions")
    assert room.close_sse is close_sse
    assert {
        "close_sse",
        "connection",
        "patch_elements",
        "patch_elements_seq",
        "remove_elements",
    } <= set(room.__all__)
    assert {
        "patch_signals",
        "execute_script",
        *(f"sse_{verb}" for verb in ("get", "post", "put", "patch")),
    } <= set(room.__all__)


def test_expressions_for_attributes():
    """The expressions that make a page fetch; what could end string, attribute or statement is percent-encoded."""
    verbs = {
        "get": sse_get,
        "post": sse_post,
        "put": sse_put,
        "patch": sse_patch,
        "delete": sse_delete,
    }
    for verb, expression in verbs.items():
        assert expression("/a/b?c=d&e=f#g") == f"@{verb}('/a/b?c=d&e=f#g')"
    assert (
        sse_get("/a'b\"c d<e>\\\n;$f@g/é%20")
        == "@get('/a%27b%22c%20d%3Ce%3E%5C%0A%3B%24f%40g/%C3%A9%20')"
    )


def test_signals_for_a_page():
    """Abuse: a name that looks like HTML, a signal or an action is data in the page's first signals, and nothing else."""
    signals = {"name": "<b>'\"&$x @get('/leave')", "n": [1, None]}
    text = signals_json(signals)
    assert not set(text) & set("<>&'$@")
    assert json.loads(text) == signals
    with pytest.raises(EventError):
        signals_json({"n": float("nan")})


# -- in a dispatch


def test_every_action_becomes_one_send():
    """An interceptor on effects sees each send, with the connection, whichever action it came from."""
    seen = []

    def before(ctx):
        seen.append((ctx.effect, ctx.system["sse"]))

    to, _ = recording_connection()
    effects = [
        patch_elements("<p id=a></p>", id="7"),
        patch_elements_seq(["<p id=a></p>"]),
        remove_elements("#a"),
        patch_signals({"fun": True}),
        execute_script("go()"),
    ]
    Dispatcher(
        [StreamEffects(), Datastar()], interceptors=[{"id": "watch", "before_effect": before}]
    ).dispatch(effects, system={"sse": to})
    assert [effect[0] for effect, _ in seen] == ["send"] * 5
    assert seen[0][0] == (
        "send",
        "elements <p id=a></p>",
        {"event": "datastar-patch-elements", "id": "7"},
    )
    assert seen[3][0] == ("send", 'signals {"fun":true}', {"event": "datastar-patch-signals"})
    assert all(sse_of is to for _, sse_of in seen)


def test_a_patch_may_be_conflated():
    """A patch of state passes the name on to send, by which a newer one replaces an older one for a slow client."""
    seen = []
    watch = {"id": "watch", "before_effect": lambda ctx: seen.append(ctx.effect[2]["conflate"])}
    Dispatcher([StreamEffects(), Datastar()], interceptors=[watch]).dispatch(
        [
            patch_elements("<p id=a></p>", conflate="a"),
            patch_elements_seq(["<p id=a></p>"], conflate=("b", 1)),
            patch_signals({"c": 1}, conflate="c"),
        ],
        system={"sse": recording_connection()[0]},
    )
    assert seen == ["a", ("b", 1), "c"]


def test_a_broadcast_encodes_a_patch_once():
    """Every receiver of a broadcast gets the same bytes, the very same object."""
    store = MemoryStore()
    transports = []
    for n in range(3):
        one, transport = recording_connection()
        store.put(("default", ("room", n)), one)
        transports.append(transport)
    told = dispatcher(KeyedEffects(store)).dispatch(
        broadcast((ANY, ("room", ANY)), patch_elements("<p id=a>1</p>"), patch_signals({"a": 1}))
    )
    assert told.results[0].value.reached == 3
    assert [len(transport.events()) for transport in transports] == [2, 2, 2]
    assert all(transport.writes[0] is transports[0].writes[0] for transport in transports)


def test_the_connection_effect_returns_the_connection():
    """An effect's result is the connection of the dispatch, or its fan-out; without one the error says what to do."""
    to, _ = recording_connection()
    assert dispatcher().dispatch(connection(), system={"sse": to}).results[0].value is to
    fanout = Fanout([to])
    assert dispatcher().dispatch(connection(), system={"sse": fanout}).results[0].value is fanout
    [error] = dispatcher().dispatch([connection()]).errors
    assert isinstance(error.exception, NoConnectionError)


def test_actions_see_the_signals():
    """The state of actions is what the page sent; an application with a state of its own keeps it."""
    registry = Registry("test")

    @registry.action("greet")
    def greet(state):
        return [patch_elements(f"<p id=hello>{state['signals'].get('name')}</p>")]

    to, transport = recording_connection()
    dispatcher(registry).dispatch(("greet",), system={"sse": to, "signals": {"name": "brian"}})
    dispatcher(registry).dispatch(("greet",), system={"sse": to})
    assert [patched(event)["elements"] for event in transport.events()] == [
        "<p id=hello>brian</p>",
        "<p id=hello>None</p>",
    ]
    registry.system_to_state(lambda system: {"signals": {"name": "own"}})
    dispatcher(registry, signals_as_state=False).dispatch(("greet",), system={"sse": to})
    assert patched(transport.events()[-1])["elements"] == "<p id=hello>own</p>"


def test_everything_is_described():
    """Each action says what it does and what it takes."""
    for found in dispatcher().describe("actions"):
        if found.registry == "datastar":
            assert found.description
            assert all(one.description and one.type is not None for one in found.parameters)
