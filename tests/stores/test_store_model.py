"""Storing and ending in any order, nested in any way, checked against a model by brute force."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.errors import KeyTakenError, StoreFullError
from sfere_tornado.keys import as_key
from sfere_tornado.stores import ExpiringStore
from sfere_tornado.testing import FakeClock

KEYS = [as_key(("default", ("lobby", name))) for name in "abc"]
NAMES = "uvwx"
TTL = 10.0


class Model:
    """A list of (key, connection, end), and the same queue of callbacks, without any index."""

    def __init__(self, clock, same_key, maxsize, on_full):
        self.clock, self.same_key, self.maxsize, self.on_full = clock, same_key, maxsize, on_full
        self.on_put = self.on_removal = self.on_evict = None
        self.entries, self.waiting, self.running = [], deque(), False

    def begin(self):
        for entry in sorted(self.entries, key=lambda entry: entry[2]):
            if entry[2] <= self.clock():
                self.remove(entry, "expired")
        self.run()

    def run(self):
        if self.running:
            return
        self.running = True
        while self.waiting:
            callback, *arguments = self.waiting.popleft()
            callback(*arguments)
        self.running = False

    def remove(self, entry, cause):
        self.entries.remove(entry)
        key, connection, _ = entry
        remaining = sum(other[0] == key for other in self.entries)
        self.waiting.append((self.on_removal, (key, connection, cause, remaining)))
        if remaining == 0 or cause == "replaced":
            self.waiting.append((self.on_evict, key, connection, cause))

    def put(self, key, connection):
        self.begin()
        end = self.clock() + TTL
        for number, entry in enumerate(self.entries):
            if entry[:2] == (key, connection):
                self.entries[number] = (key, connection, end)
                return
        under_key = [entry for entry in self.entries if entry[0] == key]
        if under_key and self.same_key == "refuse":
            raise KeyTakenError(key)
        leaving = under_key if self.same_key == "replace" else []
        if self.on_full == "refuse" and len(self.entries) - len(leaving) >= self.maxsize:
            raise StoreFullError(key, self.maxsize)
        idle = sorted(self.entries, key=lambda entry: entry[2])
        self.entries.append((key, connection, end))
        self.waiting.append((self.on_put, key, connection))
        for entry in leaving:
            self.remove(entry, "replaced")
        idle = [entry for entry in idle if entry in self.entries]
        while len(self.entries) > self.maxsize:
            self.remove(idle.pop(0), "size")
        self.run()

    def purge(self, key):
        self.begin()
        for entry in [entry for entry in self.entries if entry[0] == key]:
            self.remove(entry, "explicit")
        self.run()

    def purge_connection(self, connection):
        self.begin()
        for entry in [entry for entry in self.entries if entry[1] == connection]:
            self.remove(entry, "explicit")
        self.run()

    def stored(self):
        self.begin()
        return {(key, connection) for key, connection, _ in self.entries}


def stored(store):
    """Return what a store has, as the model does."""
    return {(key, each) for key in store.keys() for each in store.peek(key)}


def play(subject, clock, calls, nested):
    """Make the calls; each callback makes the next of the nested ones. Return all that was called."""
    log, nested, pauses = [], deque(nested), []

    def make(call, pause):
        name, key, connection = call
        # No two signs of life come in the same moment, so that the oldest is always one entry.
        clock.advance(0.001)
        try:
            if name == "put":
                subject.put(key, connection)
            elif name == "purge":
                subject.purge(key)
            elif name == "end":
                subject.purge_connection(connection)
            else:
                pause(TTL / 2)
        except (KeyTakenError, StoreFullError) as error:
            log.append(type(error).__name__)

    def callback(name):
        def called(*arguments):
            log.append((name, *arguments))
            if nested:
                # Leases do not end in the middle of a call: the pause comes before the next one.
                make(nested.popleft(), pauses.append)
                clock.advance(0.001)

        return called

    for name in ("on_put", "on_removal", "on_evict"):
        setattr(subject, name, callback(name))
    for call in calls:
        while pauses:
            clock.advance(pauses.pop())
        make(call, clock.advance)
    return log


CALLS = st.tuples(
    st.sampled_from(("put", "put", "put", "purge", "end", "wait")),
    st.sampled_from(KEYS),
    st.sampled_from(NAMES),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(("join", "replace", "refuse")),
    st.integers(1, 6),
    st.sampled_from(("refuse", "evict")),
    st.lists(CALLS, max_size=15),
    st.lists(CALLS, max_size=15),
)
def test_storing_and_ending_nested_in_any_way_is_as_in_the_model(
    same_key, maxsize, on_full, calls, nested
):
    """Callbacks come in the model's order; what is left is the model's; nothing waits."""
    clocks = FakeClock(), FakeClock()
    options = {"same_key": same_key, "maxsize": maxsize, "on_full": on_full}
    store = ExpiringStore(TTL, timer=clocks[0], **options)
    model = Model(clocks[1], **options)
    log = play(store, clocks[0], calls, nested)
    assert log == play(model, clocks[1], calls, nested)
    assert stored(store) == model.stored()
    assert not store._callbacks.waiting
    alive = set()
    for name, *arguments in (entry for entry in log if not isinstance(entry, str)):
        if name == "on_put":
            assert tuple(arguments) not in alive
            alive.add(tuple(arguments))
        elif name == "on_removal":
            alive.remove(tuple(arguments[0][:2]))
