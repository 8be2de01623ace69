"""Asking whether clients may stay: what is sent meanwhile waits, follows a yes or no answer at all, and never a no."""

import asyncio

import pytest
from support.logs import raised

from sfere_tornado.hub.questions import Questions
from sfere_tornado.streams.connection import AWAY
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import RecordingTransport, recording_connection

#: Seconds until a question is given up.
PATIENCE = 5.0

AWAY_BLOCK = b"retry: %d\n\n" % AWAY


class Bureau:
    """Questions, a clock, and a hook whose answers a test gives."""

    def __init__(self):
        self.clock = FakeClock()
        self.tasks = []
        self.questions = Questions(PATIENCE, self.clock, self.spawn)
        self.asked = []
        self.cancelled = 0
        self.stubborn = False

    def spawn(self, coroutine):
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.append(task)
        return task

    async def revalidate(self, connection):
        answer = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            self.cancelled += 1
            if self.stubborn:
                return await answer
            raise

    async def ask(self, connection):
        self.questions.ask(connection, self.revalidate)
        await turns()

    async def answer(self, answer):
        if isinstance(answer, Exception):
            self.asked[-1].set_exception(answer)
        else:
            self.asked[-1].set_result(answer)
        await turns()

    async def give_up(self):
        self.clock.advance(PATIENCE)
        self.questions.give_up()
        await turns()


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_nothing_is_written_until_the_answer_is_yes_and_then_everything_follows_in_order():
    """What is sent while the question is open waits, and leaves joined when the client may stay."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        connection.deliver(b"a")
        await bureau.ask(connection)
        assert repr(bureau.questions) == "<Questions: 1 open>"
        connection.deliver(b"b")
        connection.deliver(b"c")
        assert (transport.writes, connection.outbox) == ([b"a"], 2)
        await bureau.answer(True)
        connection.deliver(b"d")
        assert (transport.writes, connection.outbox) == ([b"a", b"bc", b"d"], 0)
        assert connection not in bureau.questions

    asyncio.run(main())


def test_nothing_that_waited_is_written_when_the_answer_is_no():
    """It came when the right was in doubt already: the client is told to stay away, and nothing else."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        await bureau.ask(connection)
        delivery = connection.deliver(b"secret")
        await bureau.answer(False)
        assert (connection.reason, transport.ending) == ("revoked", "finished")
        assert transport.written == AWAY_BLOCK
        # It waited and is lost; what comes now is not taken.
        assert (delivery.reached, connection.deliver(b"late").reached) == (0, 0)
        assert connection not in bureau.questions

    asyncio.run(main())


def test_a_hook_that_fails_has_said_nothing(caplog):
    """One line in the log, the stream stays, and what waited follows."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        await bureau.ask(connection)
        connection.deliver(b"a")
        await bureau.answer(ZeroDivisionError())
        assert (connection.reason, transport.written) == (None, b"a")

    asyncio.run(main())
    assert len(raised(caplog, "ZeroDivisionError")) == 1


def test_a_hook_that_hangs_is_given_up(caplog):
    """Not before its time; then it is cancelled and logged, the stream stays, and what waited follows."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        await bureau.ask(connection)
        connection.deliver(b"a")
        bureau.clock.advance(PATIENCE - 0.1)
        bureau.questions.give_up()
        assert transport.written == b""
        bureau.clock.advance(0.1)
        bureau.questions.give_up()
        assert transport.written == b"a"
        await turns()
        assert (bureau.cancelled, connection.reason, connection in bureau.questions) == (
            1,
            None,
            False,
        )
        assert bureau.tasks[0].cancelled()

    asyncio.run(main())
    assert ["has not answered within 5 s" in record.getMessage() for record in caplog.records] == [
        True
    ]


@pytest.mark.parametrize("answer", [True, False])
def test_a_hook_that_ignores_being_cancelled_holds_nothing_up(caplog, answer):
    """What waited follows all the same; it is said once; nobody is asked again meanwhile; and a late no is a no."""

    async def main():
        bureau = Bureau()
        bureau.stubborn = True
        connection, transport = recording_connection()
        await bureau.ask(connection)
        connection.deliver(b"a")
        for _ in range(3):
            await bureau.give_up()
        connection.deliver(b"b")
        assert transport.written == b"ab"
        assert (bureau.cancelled, connection in bureau.questions) == (1, True)
        await bureau.answer(answer)
        assert connection not in bureau.questions
        assert connection.reason == (None if answer else "revoked")

    asyncio.run(main())
    assert len(caplog.records) == 1


def test_a_client_that_leaves_meanwhile_has_left():
    """The answer changes nothing any more, nor does its failing to come, which is no fault then."""

    async def main():
        for answered in (True, False):
            bureau = Bureau()
            connection, transport = recording_connection()
            await bureau.ask(connection)
            transport.leave()
            await (bureau.answer(False) if answered else bureau.give_up())
            assert (connection.reason, transport.writes, bureau.cancelled) == (
                "client",
                [],
                0 if answered else 1,
            )
            assert connection not in bureau.questions

    asyncio.run(main())


def test_a_client_that_is_slow_keeps_its_order():
    """What waited before the question, what came during it and what came after it leave in this order."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        transport.stalled = True
        connection.deliver(b"a")
        connection.deliver(b"b")
        await bureau.ask(connection)
        connection.deliver(b"c")
        transport.drain()
        # It would take more now, and must not get it.
        assert (transport.writes, connection.outbox) == ([b"a"], 2)
        await bureau.answer(True)
        connection.deliver(b"d")
        transport.drain()
        assert transport.writes == [b"a", b"bc", b"d"]

    asyncio.run(main())


def test_a_client_that_is_slow_is_not_written_to_by_a_yes():
    """What is on its way when the answer comes is waited for first."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        transport.stalled = True
        connection.deliver(b"a")
        await bureau.ask(connection)
        connection.deliver(b"b")
        await bureau.answer(True)
        assert transport.writes == [b"a"]
        transport.stalled = False
        transport.drain()
        assert (transport.writes, connection.outbox) == ([b"a", b"b"], 0)

    asyncio.run(main())


def test_the_outbox_bounds_what_waits_for_an_answer():
    """A stream that gets more than its outbox meanwhile is cut as slow, and may come back."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection(max_outbox=10)
        await bureau.ask(connection)
        connection.deliver(b"x" * 10)
        assert connection.reason is None
        connection.deliver(b"y")
        assert (connection.reason, transport.ending, transport.writes) == ("slow", "aborted", [])
        await bureau.answer(True)

    asyncio.run(main())


@pytest.mark.parametrize("first", ["live", "answer"])
def test_a_stream_that_is_not_live_yet_waits_for_both(first):
    """An answer before the replay has been written lets nothing overtake it; its end before the answer writes nothing."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection(opened=False)
        connection.open(transport, live=False)
        await bureau.ask(connection)
        connection.deliver(b"later")
        transport.write(b"replay ")
        if first == "answer":
            await bureau.answer(True)
            assert transport.written == b"replay "
            connection.go_live()
        else:
            connection.go_live()
            assert transport.written == b"replay "
            await bureau.answer(True)
        assert transport.written == b"replay later"

    asyncio.run(main())


def test_a_yes_while_the_headers_are_on_their_way_writes_once():
    """A stream that waits for its socket to drain before it goes live is not written to by an answer."""

    async def main():
        bureau = Bureau()
        connection = recording_connection(opened=False)[0]
        transport = RecordingTransport(connection)
        transport.stalled = True
        transport.write(b"headers ")
        connection.open(transport)
        await bureau.ask(connection)
        connection.deliver(b"a")
        await bureau.answer(True)
        assert transport.writes == [b"headers "]
        transport.stalled = False
        transport.drain()
        assert transport.writes == [b"headers ", b"a"]

    asyncio.run(main())


@pytest.mark.parametrize("reconnect", [True, False])
def test_whoever_is_closed_meanwhile_gets_nothing_of_what_waited(reconnect):
    """A stream that ends for another reason while its client's right is in doubt ends without it."""

    async def main():
        bureau = Bureau()
        connection, transport = recording_connection()
        await bureau.ask(connection)
        connection.deliver(b"secret")
        connection.close(reconnect=reconnect, reason="replaced")
        assert transport.written == (b"" if reconnect else AWAY_BLOCK)
        await bureau.answer(True)
        assert b"secret" not in transport.written

    asyncio.run(main())


def test_whoever_writes_past_the_outbox_waits_for_the_answer(caplog):
    """It returns at once where nothing was asked, and otherwise with the answer, or when there will be none."""

    async def main():
        bureau = Bureau()
        connection, _ = recording_connection()
        await bureau.questions.closed(connection)
        for end in (lambda: bureau.answer(True), bureau.give_up):
            await bureau.ask(connection)
            waiting = asyncio.ensure_future(bureau.questions.closed(connection))
            await turns()
            assert not waiting.done()
            await end()
            assert waiting.done()

    asyncio.run(main())
    assert len(caplog.records) == 1


def test_whoever_writes_past_the_outbox_does_not_wait_for_a_stubborn_hook():
    """A question that was given up is closed, although its hook goes on."""

    async def main():
        bureau = Bureau()
        bureau.stubborn = True
        connection, transport = recording_connection()
        await bureau.ask(connection)
        transport.leave()
        await bureau.give_up()
        assert connection in bureau.questions
        await bureau.questions.closed(connection)
        await bureau.answer(True)

    asyncio.run(main())


def test_a_question_that_cannot_be_asked_is_given_up_like_any_other(caplog):
    """Where no task can be made the stream is held no longer than for an answer that does not come."""

    def refuse(coroutine):
        coroutine.close()
        raise RuntimeError("no running event loop")

    async def main():
        clock = FakeClock()
        questions = Questions(PATIENCE, clock, refuse)
        connection, transport = recording_connection()
        with pytest.raises(RuntimeError):
            questions.ask(connection, None)
        connection.deliver(b"a")
        assert transport.written == b""
        clock.advance(PATIENCE)
        questions.give_up()
        assert (transport.written, connection in questions) == (b"a", False)

    asyncio.run(main())
    assert len(caplog.records) == 1
