"""Where a request comes from: own pages and no pages at all pass, pages of other sites do not."""

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import HTTPError

from sfere_tornado.web.origin import is_own_host, refuse_foreign_page


def request(**headers):
    fields = HTTPHeaders(
        {"Host": "App.example:8888"}
        | {name.replace("_", "-"): text for name, text in headers.items()}
    )
    return HTTPServerRequest(
        start_line=RequestStartLine("POST", "/signs", "HTTP/1.1"), headers=fields
    )


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("http://app.example:8888", True),
        ("https://APP.example:8888", True),
        ("http://app.example", False),
        ("http://app.example:8888.evil.example", False),
        ("http://user@app.example:8888", False),
        ("app.example:8888", False),
        ("http://app.example:8888/", False),
        ("http://app.example:eighty", False),
        ("http://[bad", False),
        ("null", False),
        ("", False),
    ],
)
def test_the_own_host_is_the_one_the_request_was_sent_to(origin, own):
    """Host and port count, in any case of letters; the scheme does not, for TLS often ends at a proxy."""
    assert is_own_host(request(), origin) is own


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("app.example", "http://app.example:80", True),
        ("app.example:80", "http://app.example", True),
        ("app.example:443", "https://app.example", True),
        ("[2001:db8::1]:443", "https://[2001:DB8::1]", True),
        ("app.example:80", "https://app.example", False),
        ("app.example", "https://app.example:8443", False),
        ("[bad", "http://[bad", False),
        ("app.example/x", "http://app.example", False),
    ],
)
def test_the_default_port_may_be_left_out(host, origin, own):
    """RFC 9110, 4.2: some proxies and clients write it into Host; a browser never does into Origin."""
    sent = request()
    sent.headers["Host"] = host
    assert is_own_host(sent, origin) is own


def test_a_request_without_a_host_has_no_own_origin():
    """HTTP/1.0 has none: then no page can be told to be its own."""
    sent = request()
    del sent.headers["Host"]
    assert not is_own_host(sent, "http://app.example:8888")


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, False),
        ({"Sec_Fetch_Site": "same-origin"}, False),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "null"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
        ({"Sec_Fetch_Site": "same-site", "Origin": "https://friend.example"}, True),
        ({"Origin": "https://friend.example"}, True),
    ],
)
def test_the_browsers_judgement_counts_before_the_origin(headers, asked):
    """What the browser says is of this site, or typed by the user, and what no browser sent, is not asked about."""
    origins = []

    def check(origin):
        origins.append(origin)
        return True

    refuse_foreign_page(request(**headers), check)
    assert origins == ([headers["Origin"]] if asked else [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "nonsense", "Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://[bad"},
    ],
)
def test_what_is_not_trusted_is_refused(headers):
    """403, also where the browser names no origin that could be trusted."""
    with pytest.raises(HTTPError) as caught:
        refuse_foreign_page(request(**headers), lambda origin: False)
    assert caught.value.status_code == 403
