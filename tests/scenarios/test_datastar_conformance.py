"""A run of the kind that the official SDK's test suite makes: events are asked for in signals, and read over HTTP.

The suite asks a server's ``/test`` for events, in the query of a GET or the body of a POST, and compares what it answers,
event by event; options may stand in any order.
"""

import json
from urllib.parse import quote

import pytest
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import Hub
from sfere_tornado.datastar.actions import Datastar, execute_script, patch_elements, patch_signals
from sfere_tornado.datastar.handlers import DatastarHandler
from sfere_tornado.testing.stream_client import StreamClient

OPTIONS = {
    "eventId": "id",
    "retryDuration": "retry",
    "selector": "selector",
    "mode": "mode",
    "namespace": "namespace",
    "useViewTransition": "use_view_transition",
    "onlyIfMissing": "only_if_missing",
    "autoRemove": "auto_remove",
    "attributes": "attributes",
}


def asked_for(event):
    """Return the action for one event of the suite."""
    options = {OPTIONS[name]: value for name, value in event.items() if name in OPTIONS}
    if event["type"] == "patchElements":
        return patch_elements(event.get("elements", ""), **options)
    if event["type"] == "patchSignals":
        return patch_signals(event.get("signals-raw", event.get("signals")), **options)
    return execute_script(event["script"], **options)


class Test(DatastarHandler):
    """The endpoint that the suite wants."""

    __test__ = False
    with_open_sse = True

    def get(self):
        return [asked_for(event) for event in self.signals["events"]]

    post = get


#: What is asked for, and for each event its type, its id, and its lines of data in any order.
CASES = {
    "a patch": (
        [{"type": "patchElements", "elements": "<div id=one>1</div>"}],
        [("datastar-patch-elements", "", {"elements <div id=one>1</div>"})],
    ),
    "a patch with every option": (
        [
            {
                "type": "patchElements",
                "elements": "<p>1</p>",
                "eventId": "e1",
                "retryDuration": 2000,
                "selector": "#one",
                "mode": "append",
                "useViewTransition": True,
            }
        ],
        [
            (
                "datastar-patch-elements",
                "e1",
                {"selector #one", "mode append", "useViewTransition true", "elements <p>1</p>"},
            )
        ],
    ),
    "a patch of several lines": (
        [{"type": "patchElements", "elements": "<div id=one>\n  <b>1</b>\n</div>"}],
        [
            (
                "datastar-patch-elements",
                "",
                {"elements <div id=one>", "elements   <b>1</b>", "elements </div>"},
            )
        ],
    ),
    "a patch with every default given": (
        [
            {
                "type": "patchElements",
                "elements": "<p id=one></p>",
                "mode": "outer",
                "useViewTransition": False,
                "retryDuration": 1000,
            }
        ],
        [("datastar-patch-elements", "", {"elements <p id=one></p>"})],
    ),
    "a removal": (
        [
            {
                "type": "patchElements",
                "mode": "remove",
                "selector": "#one",
                "eventId": "e2",
                "retryDuration": 5,
            }
        ],
        [("datastar-patch-elements", "e2", {"selector #one", "mode remove"})],
    ),
    "signals": (
        [{"type": "patchSignals", "signals": {"one": 1, "two": 2}}],
        [("datastar-patch-signals", "", {'signals {"one":1,"two":2}'})],
    ),
    "signals with every option": (
        [
            {
                "type": "patchSignals",
                "signals": {"one": 1},
                "onlyIfMissing": True,
                "eventId": "e3",
                "retryDuration": 2000,
            }
        ],
        [("datastar-patch-signals", "e3", {"onlyIfMissing true", 'signals {"one":1}'})],
    ),
    "signals of several lines": (
        [{"type": "patchSignals", "signals-raw": '{\n"one": 1,\n"two": 2}'}],
        [("datastar-patch-signals", "", {"signals {", 'signals "one": 1,', 'signals "two": 2}'})],
    ),
    "removed signals": (
        [{"type": "patchSignals", "signals": {"one": None, "deep": {"two": None}}}],
        [("datastar-patch-signals", "", {'signals {"one":null,"deep":{"two":null}}'})],
    ),
    "a script": (
        [{"type": "executeScript", "script": "console.log('here');"}],
        [
            (
                "datastar-patch-elements",
                "",
                {
                    "selector body",
                    "mode append",
                    "elements <script data-effect=\"el.remove()\">console.log('here');</script>",
                },
            )
        ],
    ),
    "a script with every option": (
        [
            {
                "type": "executeScript",
                "script": "go();",
                "eventId": "e4",
                "retryDuration": 2000,
                "autoRemove": False,
                "attributes": {"type": "text/javascript", "blocking": "false"},
            }
        ],
        [
            (
                "datastar-patch-elements",
                "e4",
                {
                    "selector body",
                    "mode append",
                    'elements <script type="text/javascript" blocking="false">go();</script>',
                },
            )
        ],
    ),
    "a script of several lines": (
        [{"type": "executeScript", "script": "if (true) {\n  go();\n}", "autoRemove": False}],
        [
            (
                "datastar-patch-elements",
                "",
                {
                    "selector body",
                    "mode append",
                    "elements <script>if (true) {",
                    "elements   go();",
                    "elements }</script>",
                },
            )
        ],
    ),
    "two events": (
        [
            {"type": "patchElements", "elements": "<p id=one></p>", "eventId": "e5"},
            {"type": "patchSignals", "signals": {"one": 1}},
        ],
        [
            ("datastar-patch-elements", "e5", {"elements <p id=one></p>"}),
            # An id stays the last one until there is another.
            ("datastar-patch-signals", "e5", {'signals {"one":1}'}),
        ],
    ),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.gen_test
async def test_the_server_answers_what_is_asked_for(serve, method):
    """Every case is answered with its events, read strictly; the stream is one of events, and ends cleanly."""
    hub = Hub(registries=[Datastar()])
    url = serve(Application([("/test", Test)], sfere=hub))
    for name, (asked, expected) in CASES.items():
        text = json.dumps({"events": asked})
        query, body = (f"?datastar={quote(text)}", b"") if method == "GET" else ("", text.encode())
        headers = {"Datastar-Request": "true", "Content-Type": "application/json"}
        async with await StreamClient.open(
            url + "/test" + query, method=method, headers=headers, body=body
        ) as client:
            assert client.status == 200
            assert client.headers["Content-Type"] == "text/event-stream"
            assert await client.ended() is True
            got = [
                (event.event, event.id, set(event.data.split("\n")))
                for event in await client.quiet()
            ]
            assert got == expected, name
    await eventually(lambda: not hub.streams)
