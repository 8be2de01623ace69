"""The client's signs, and the script that gives them, as handlers."""

import asyncio
import gzip
import re
import time
from pathlib import Path

import pytest
from support.lobby import Events, Lobby, Page, Signs, key
from support.waiting import eventually

from sfere_tornado import hide, leave, show
from sfere_tornado.config import GraceConfig, PresenceConfig
from sfere_tornado.presence import MAX_METAS
from sfere_tornado.testing import StreamClient
from sfere_tornado.web.signs import SCRIPT

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def lobby(serve):
    made = Lobby()
    made.url = serve(made.app)
    return made


@pytest.mark.gen_test
async def test_hidden_and_visible(lobby):
    """The tab that says so is away and back; another tab of the same member keeps it here."""
    await lobby.enter("ann", tab="t1")
    assert await lobby.sign("ann", sign="hidden", tab="t1") == 204
    assert lobby.state("ann") == "away"
    assert await lobby.sign("ann", sign="visible", tab="t1") == 204
    assert lobby.state("ann") == "here"
    await lobby.enter("ann", tab="t2")
    await eventually(lambda: lobby.hub.store.count() == 2)
    assert await lobby.sign("ann", sign="hidden", tab="t1") == 204
    assert lobby.state("ann") == "here"
    # Without a tab it is about all of them.
    assert await lobby.sign("ann", sign="hidden") == 204
    assert lobby.state("ann") == "away"
    assert [kind for kind, *_ in lobby.changes] == ["joined", "away", "back", "away"]


@pytest.mark.gen_test
async def test_a_sign_comes_from_its_own_client_only(lobby):
    """Whose tab it is comes from the server; the same tab id of somebody else is another tab."""
    await lobby.enter("ann", tab="t1")
    assert await lobby.sign("brian", sign="leave", tab="t1") == 204
    assert await lobby.sign("brian", sign="hidden", tab="t1") == 204
    assert (lobby.state("ann"), lobby.state("brian")) == ("here", "gone")


@pytest.mark.gen_test
async def test_a_beat_is_a_sign_of_life(lobby):
    """It is answered 204 while a stream is open and 404 when none is; without a sign it is a beat."""
    assert await lobby.sign("ann", sign="beat") == 404
    await lobby.enter("ann")
    for fields in ({"sign": "beat"}, {}, {"tab": "t1"}):
        assert await lobby.sign("ann", **fields) == 204
    assert lobby.state("ann") == "here"


@pytest.mark.parametrize("wrong", ["", "HIDDEN", "sleepy", "\x00", "x" * 10_000])
@pytest.mark.gen_test
async def test_another_sign_is_an_error(lobby, wrong):
    """What is no sign is answered 400, and changes nothing."""
    await lobby.enter("ann", tab="t1")
    assert await lobby.sign("ann", sign=wrong) == 400
    assert lobby.state("ann") == "here"


@pytest.mark.gen_test
async def test_leaving_ends_the_streams(lobby):
    """A tab leaves alone; without a tab the member leaves, also one whose stream has closed already."""
    first, second = await lobby.enter("ann", tab="t1"), await lobby.enter("ann", tab="t2")
    assert await lobby.sign("ann", sign="leave", tab="t1") == 204
    assert await first.ended() is True
    assert (lobby.state("ann"), lobby.told("left")) == ("here", [])
    second.close()
    await eventually(lambda: lobby.state("ann") == "away")
    assert await lobby.sign("ann", sign="leave") == 204
    assert (lobby.state("ann"), lobby.told("left")) == ("gone", ["ann"])


@pytest.mark.gen_test
async def test_a_sign_sets_the_alarm(serve):
    """A wait that begins with a sign ends on time, by the hub's own timer."""
    lobby = Lobby(
        presence=PresenceConfig(grace=GraceConfig(client=60.0, leave=0.05)), timer=time.monotonic
    )
    lobby.url = serve(lobby.app)
    (await lobby.enter("ann", tab="t1")).close()
    await eventually(lambda: lobby.state("ann") == "away")
    began = time.monotonic()
    assert await lobby.sign("ann", sign="leave") == 204
    assert lobby.told("left") == []
    await eventually(lambda: lobby.told("left") == ["ann"])
    assert 0.05 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("closed", "act"),
    [
        (False, lambda hub: hub.dispatch(leave(key("ann")))),
        (True, lambda hub: hub.dispatch([hide(key("ann")), show(key("ann"))])),
        (False, lambda hub: hub.store.purge(key("ann"))),
    ],
    ids=["leave", "show", "purge"],
)
@pytest.mark.gen_test
async def test_what_an_application_says_of_a_member_sets_the_alarm(serve, closed, act):
    """A wait that begins, or becomes shorter, by an act of the application ends on time too, and not with the next tick."""
    brief = 0.05
    grace = GraceConfig(timeout=60.0, hidden=60.0, client=brief, leave=brief, revoked=brief)
    lobby = Lobby(presence=PresenceConfig(grace=grace), timer=time.monotonic)
    lobby.url = serve(lobby.app)
    await lobby.enter("ann")
    (stream,) = lobby.hub.store.peek(key("ann"))
    if closed:
        stream.end("timeout")
    else:
        # Under another key too, so that it stays open when this one is purged.
        lobby.hub.store.put(key("other"), stream)
    began = time.monotonic()
    act(lobby.hub)
    assert lobby.told("left") == []
    await eventually(lambda: lobby.told("left") == ["ann"])
    # The hub looks at those who are waited for every second in any case, at everything else every five.
    assert brief <= time.monotonic() - began < 0.9


@pytest.mark.gen_test
async def test_a_departure_behind_a_stage_that_fails_sets_the_alarm(serve, caplog):
    """Where a stage of the chain fails or halts, the departure is recorded, and announced on time."""

    def slow(ctx):
        if ctx.kind == "closing":
            ctx.halt()
            return asyncio.sleep(60)
        return None

    lobby = Lobby(
        presence=PresenceConfig(grace=GraceConfig(client=0.05)),
        timer=time.monotonic,
        interceptors=[{"id": "slow", "before_dispatch": slow}],
    )
    lobby.url = serve(lobby.app)
    (await lobby.enter("ann")).close()
    await eventually(lambda: lobby.hub.store.count() == 0)
    began = time.monotonic()
    await eventually(lambda: lobby.told("left") == ["ann"])
    assert 0.03 <= time.monotonic() - began < 0.9


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.gen_test
async def test_a_page_of_another_site_makes_nobody_leave(lobby, headers, caplog):
    """A form that any page may send, with the user's cookies, is answered 403, whatever it says; the member stays as it was."""
    ann = await lobby.enter("ann", tab="t1")
    for sign in ("leave", "hidden", "visible", "beat", "nonsense"):
        assert await lobby.sign("ann", headers=headers, sign=sign) == 403
    assert (lobby.state("ann"), lobby.told("left"), lobby.told("away")) == ("here", [], [])
    own = {"Origin": lobby.url, "Sec-Fetch-Site": "same-origin"}
    assert await lobby.sign("ann", headers=own, sign="hidden") == 204
    assert (lobby.state("ann"), ann.parser.retry is not None) == ("away", True)


@pytest.mark.gen_test
async def test_an_application_may_trust_the_signs_of_another_origin(serve, caplog):
    """``check_origin`` decides, as it does for streams."""

    class Trusting(Signs):
        def check_origin(self, origin):
            return origin == "https://friend.example" or super().check_origin(origin)

    lobby = Lobby(routes=[("/trusting", Trusting)])
    lobby.url = serve(lobby.app)
    await lobby.enter("ann")
    for origin, status in (
        ("https://friend.example", 204),
        (lobby.url, 204),
        ("https://evil.example", 403),
    ):
        assert (
            await lobby.sign("ann", path="/trusting", headers={"Origin": origin}, sign="hidden")
            == status
        )


@pytest.mark.gen_test
async def test_what_cannot_be_kept_of_a_member_costs_it_nothing(serve, caplog):
    """Data that is too large is logged and left out: the stream opens and stays open, and its member is here, once."""

    class Boasting(Events):
        def presence_meta(self):
            return {**super().presence_meta(), "device": "phone", "data": "x" * 2000}

    lobby = Lobby(Boasting)
    lobby.url = serve(lobby.app)
    ann = await lobby.enter("ann", tab="t1")
    state = await ann.json("presence_state")
    assert (ann.status, lobby.state("ann"), lobby.told("left")) == (200, "here", [])
    [meta] = state["members"]["ann"]["metas"]
    assert (meta["tab"], meta["device"], meta["data"]) == ("t1", "phone", None)
    [record] = [record for record in caplog.records if record.name == "sfere_tornado.presence"]
    assert "'data'" in record.getMessage()
    assert "default/lobby/ann" in record.getMessage()
    lobby.say("hello")
    assert (await ann.event("said")).data == "hello"


@pytest.mark.gen_test
async def test_as_many_streams_as_a_key_may_have_are_one_member(serve):
    """Every stream opens and counts; of those beyond the number that is shown, the others only do not read."""
    lobby = Lobby()
    lobby.url = serve(lobby.app)
    phil = await lobby.enter("phil")
    count = lobby.hub.serving.config.limits.per_key
    assert count > MAX_METAS
    tabs = [await lobby.enter("ann", tab=f"t{number}") for number in range(count)]
    assert [tab.status for tab in tabs] == [200] * count
    await eventually(lambda: lobby.hub.store.count(key("ann")) == count)
    assert len(lobby.hub.presence.member(key("ann")).metas) == MAX_METAS
    assert list((await tabs[-1].json("presence_state"))["members"]) == ["phil", "ann"]
    for tab in tabs[:-1]:
        tab.close()
    await eventually(lambda: lobby.hub.store.count(key("ann")) == 1)
    lobby.pass_time(5)
    assert (lobby.state("ann"), lobby.told("left")) == ("here", [])
    tabs[-1].close()
    await eventually(lambda: lobby.hub.store.count(key("ann")) == 0)
    lobby.pass_time(5)
    page = Page().take(await phil.quiet())
    assert (page.joined, page.left, page.roster) == (["ann"], [("ann", "client")], {"phil": False})


@pytest.mark.parametrize(
    "tab",
    ["", "x" * 65, "a%00b%0A", "%F0%9F%99%82", "t1%E2%80%AE"],
    ids=["empty", "long", "control", "emoji", "bidi"],
)
@pytest.mark.gen_test
async def test_a_tab_that_cannot_be_kept_is_none(lobby, tab):
    """Whatever a client says its tab is called, it gets its stream; what no event could say is no name of a tab."""
    client = await StreamClient.open(f"{lobby.url}/events?name=ann&tab={tab}")
    assert (client.status, lobby.state("ann")) == (200, "here")
    (member,) = lobby.hub.presence.roster()
    assert [meta.tab for meta in member.metas] in ([None], ["\U0001f642"], ["a b"])


@pytest.mark.gen_test
async def test_the_token_of_tornado_may_stand_in_the_address(lobby, caplog):
    """A beacon has no headers of its own: with ``xsrf_cookies`` a sign with the token in the query passes, one without not."""
    lobby.app.settings["xsrf_cookies"] = True
    await lobby.enter("ann")
    token = "0123456789abcdef" * 2
    for query, status in (("", 403), (f"&_xsrf={token}", 204)):
        async with await StreamClient.open(
            f"{lobby.url}/signs?name=ann{query}",
            method="POST",
            headers={**FORM, "Cookie": f"_xsrf={token}"},
            body=b"sign=beat",
        ) as answer:
            assert answer.status == status


# -- the script


@pytest.mark.gen_test
async def test_the_script_is_served(lobby):
    """As a module, with a check of whether it has changed each time it is used."""
    async with await StreamClient.open(lobby.url + "/sfere.js") as answer:
        await answer.ended()
        assert (answer.status, answer.body) == (200, SCRIPT.read_bytes())
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
    async with await StreamClient.open(
        lobby.url + "/sfere.js", headers={"If-None-Match": answer.headers["Etag"]}
    ) as again:
        assert again.status == 304


def test_the_script_is_small_and_needs_nothing():
    """Under two kilobytes compressed, plain ASCII, no import, and one name given."""
    text = SCRIPT.read_bytes()
    assert len(gzip.compress(text)) < 2048
    assert text.isascii()
    code = re.sub(rb"//.*", b"", text)
    assert b"import" not in code
    assert re.findall(rb"export (\w+ \w+)", code) == [b"function connect"]


def test_the_script_is_package_data():
    """It is named where the package's data is, so that an installed package has it."""
    assert SCRIPT.parts[-4:] == ("sfere_tornado", "web", "static", "sfere.js")
    assert '"web/static/*.js"' in (Path(__file__).parents[2] / "setup.py").read_text(
        encoding="utf-8"
    )
