"""What every test is held to: no warning or error in the log that it did not ask for, no task left over."""

import asyncio
import logging
import ssl

import pytest
import trustme
from support.census import Census
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets


def pytest_addoption(parser):
    """Add the option of the scenario tests."""
    parser.addoption(
        "--disturb",
        choices=["tuple", "append", "copies", "nosuper", "all"],
        help="play every scenario test with an application that replaces effects by an equal tuple, "
        "appends one, copies system and data, overrides on_connection_close without super(), or "
        "all of these; without it, the quick ones are played in each way",
    )


class _Unexpected(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        # The access log writes each 4xx as a warning, each 5xx as an error: that is its answer, not something unexpected.
        if record.name == "tornado.access":
            return
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _nothing_unexpected_is_logged(request):
    """A line of level WARNING or above fails the test, unless the test looks at the log itself, with ``caplog``."""
    handler = _Unexpected()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    if "caplog" not in request.fixturenames:
        assert handler.lines == []


@pytest.fixture
def io_loop():
    """A fresh event loop for each test that uses pytest-tornado; a task left over fails the test."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    tornado_loop = IOLoop.current()
    yield tornado_loop
    # Tasks that only have to take note that they are done get some turns for it.
    for _ in range(20):
        if not asyncio.all_tasks(loop):
            break
        loop.run_until_complete(asyncio.sleep(0))
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    tornado_loop.close(all_fds=True)
    asyncio.set_event_loop(None)
    assert left == set(), "the test left tasks running"


@pytest.fixture(scope="session")
def authority():
    """A certificate authority for TLS on 127.0.0.1."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority):
    """The server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority):
    """The client's side of TLS."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def serve(io_loop):
    """A function that serves an application on a free port and returns its URL; hubs are stopped at the end."""
    served = []

    def start(app, *, ssl_options=None):
        server = HTTPServer(app, ssl_options=ssl_options)
        # The default backlog drops connections when hundreds come at once.
        sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
        server.add_sockets(sockets)
        served.append((app, server))
        return f"{'https' if ssl_options else 'http'}://127.0.0.1:{sockets[0].getsockname()[1]}"

    async def stop():
        for app, server in served:
            server.stop()
            if "sfere" in app.settings:
                await app.settings["sfere"].stop()
            await server.close_all_connections()

    def census(hub):
        """Count from now on what a served hub and its server hold."""
        servers = [server for app, server in served if app.settings.get("sfere") is hub]
        return Census(hub, servers[0])

    start.census = census
    yield start
    io_loop.run_sync(stop, timeout=10)
