"""How many streams may be open: counted purely, asked before anything is done for a newcomer."""

import pytest

from sfere_tornado import ANY, Key, MemoryStore
from sfere_tornado.config import LimitsConfig
from sfere_tornado.errors import LimitReachedError, StoreFullError
from sfere_tornado.stores import CategoryRules, Store
from sfere_tornado.stores.admission import Admission

#: A connection that is stored nowhere.
NEWCOMER = object()


def admission(store=None, **limits):
    store = MemoryStore() if store is None else store
    return Admission(LimitsConfig(**limits), store), store


def key(name, scope="default"):
    return Key(scope, ("lobby", name))


def test_the_total_is_bounded():
    """One more than total is refused, and was not counted; who leaves makes room."""
    made, _ = admission(total=2)
    made.enter("a")
    made.enter("b")
    with pytest.raises(LimitReachedError, match="total") as caught:
        made.enter("c")
    assert (caught.value.name, caught.value.limit) == ("total", 2)
    assert made.total == 2
    made.leave("a")
    made.enter("c")
    assert repr(made) == "<Admission: 2 streams from 2 addresses>"


def test_the_files_of_the_system_are_a_bound():
    """Where the system gives fewer files than the limits let streams in, theirs is the end, and the error says whose it is."""
    made, _ = admission(total=5)
    made.files = 1
    made.enter("a")
    with pytest.raises(LimitReachedError, match="the system's limit of open files") as caught:
        made.enter("b")
    assert (caught.value.name, caught.value.limit, caught.value.key, made.total) == (
        "files",
        1,
        "b",
        1,
    )


def test_an_address_is_bounded():
    """One address with too many is refused, others are not; the error names it."""
    made, _ = admission(per_address=1)
    made.enter("a")
    with pytest.raises(LimitReachedError, match=r"^a already has "):
        made.enter("a")
    made.enter("b")
    made.leave("a")
    made.enter("a")
    assert made.total == 2


def test_by_default_an_address_may_have_any_number():
    """Behind one address there may be a company, or a proxy with everybody."""
    made, _ = admission()
    for _ in range(1000):
        made.enter("a")
    assert made.total == 1000


def test_nothing_is_kept_of_those_who_left():
    """An address is forgotten with its last stream: a million visitors fill no memory."""
    made, _ = admission()
    for n in range(100):
        made.enter(str(n))
        made.enter(str(n))
    for n in range(100):
        made.leave(str(n))
        made.leave(str(n))
    assert (made.total, len(made._open)) == (0, 0)


def test_a_scope_is_bounded():
    """The streams stored in one scope are counted, those of others are not."""
    made, store = admission(per_scope=2)
    for name in ("ann", "bob"):
        made.check_key(key(name, "acme"), NEWCOMER)
        store.put(key(name, "acme"), object())
    with pytest.raises(LimitReachedError, match=r"^acme already .*per_scope"):
        made.check_key(key("cyd", "acme"), NEWCOMER)
    made.check_key(key("cyd", "umbrella"), NEWCOMER)


def test_a_key_is_bounded():
    """The connections under one key are counted; by default a hundred is the end."""
    made, store = admission()
    for _ in range(100):
        made.check_key(key("ann"), NEWCOMER)
        store.put(key("ann"), object())
    with pytest.raises(LimitReachedError, match="per_key") as caught:
        made.check_key(key("ann"), NEWCOMER)
    assert caught.value.limit == 100
    made.check_key(key("bob"), NEWCOMER)


# -- those who take another's place


@pytest.mark.parametrize("limits", [{"per_key": 1}, {"per_scope": 1}])
def test_who_replaces_another_is_no_one_more(limits):
    """Where the newest wins, a client that comes back over its own old stream is let in at the limit; others are not."""
    made, store = admission(MemoryStore(same_key="replace"), **limits)
    store.put(key("ann"), object())
    made.check_key(key("ann"), NEWCOMER)
    assert [removal.cause for removal in store.put(key("ann"), object())] == ["replaced"]
    if "per_scope" in limits:
        with pytest.raises(LimitReachedError, match="per_scope"):
            made.check_key(key("bob"), NEWCOMER)


def test_the_rule_is_that_of_the_category():
    """A category that replaces does so in a store that joins, and the other way round."""
    rules = {"lobby": CategoryRules(same_key="join"), "desk": CategoryRules(same_key="replace")}
    made, store = admission(MemoryStore(same_key="replace", categories=rules), per_key=1)
    desk = Key("default", ("desk", "ann"))
    for one in (key("ann"), desk):
        store.put(one, object())
    made.check_key(desk, NEWCOMER)
    with pytest.raises(LimitReachedError):
        made.check_key(key("ann"), NEWCOMER)


def test_who_is_replaced_and_stays_in_the_scope_is_counted():
    """A replaced connection that has another key of the scope does not leave it, so the newcomer is one more."""
    made, store = admission(MemoryStore(same_key="replace"), per_scope=1)
    old = object()
    for one in (key("ann"), key("ann", "umbrella")):
        store.put(one, old)
    made.check_key(key("ann"), NEWCOMER)
    store.put(key("other name"), old)
    with pytest.raises(LimitReachedError, match="per_scope"):
        made.check_key(key("ann"), NEWCOMER)
    assert store.count(("default", ANY)) == 1


@pytest.mark.parametrize("limits", [{"per_key": 1}, {"per_scope": 1}])
def test_who_is_stored_again_is_no_one_more(limits):
    """A connection that has the key may be stored under it again, however full it is; a stranger may not."""
    made, store = admission(**limits)
    store.put(key("ann"), "first")
    made.check_key(key("ann"), "first")
    with pytest.raises(LimitReachedError):
        made.check_key(key("ann"), "second")


def test_a_second_key_is_no_one_more_in_its_scope():
    """A scope counts connections, not keys; a scope in which a connection has none yet counts it."""
    made, store = admission(per_scope=1)
    store.put(key("ann"), "ann's")
    store.put(key("cyd", "acme"), "cyd's")
    made.check_key(key("bob"), "ann's")
    with pytest.raises(LimitReachedError, match="acme"):
        made.check_key(key("bob", "acme"), "ann's")


def test_a_full_store_takes_who_replaces_another():
    """The newcomer that takes another's place makes the store no larger, so it is not refused; another one is."""
    _, store = admission(MemoryStore(same_key="replace", maxsize=1))
    old, new = object(), object()
    store.put(key("ann"), old)
    assert [removal.connection for removal in store.put(key("ann"), new)] == [old]
    with pytest.raises(StoreFullError):
        store.put(key("bob"), object())
    assert store.peek(key("ann")) == (new,)


@pytest.mark.parametrize("limits", [{"per_key": 1}, {"per_scope": 1}])
def test_a_store_of_another_kind_is_asked_what_leaves(limits):
    """A custom store that replaces is counted rightly at a limit: the rule is its own to tell."""

    class Own(Store):
        def __init__(self, same_key):
            self.inner = MemoryStore(same_key=same_key)

        def peek(self, key):
            return self.inner.peek(key)

        def put(self, key, connection):
            return self.inner.put(key, connection)

        def leaving(self, key, newcomer):
            return self.inner.leaving(key, newcomer)

        def keys_of(self, connection):
            return self.inner.keys_of(connection)

        def count(self, pattern=None):
            return self.inner.count(pattern)

        def _not_needed(self, *arguments):
            raise NotImplementedError

        get = renew = purge = purge_connection = clear = keys = connections = expire = _not_needed
        next_expiry = __len__ = __contains__ = _not_needed

    made, store = admission(Own("replace"), **limits)
    store.put(key("ann"), object())
    made.check_key(key("ann"), NEWCOMER)
    made, store = admission(Own("join"), **limits)
    store.put(key("ann"), object())
    with pytest.raises(LimitReachedError):
        made.check_key(key("ann"), NEWCOMER)
