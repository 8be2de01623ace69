"""How many streams may be open: counted purely, asked before anything is done for a newcomer."""

import pytest

from sfere_tornado import Key, MemoryStore
from sfere_tornado.admission import Admission
from sfere_tornado.config import LimitsConfig
from sfere_tornado.errors import LimitReachedError


def admission(**limits):
    store = MemoryStore()
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


def test_an_address_is_bounded():
    """One address with too many is refused, others are not; the error names it."""
    made, _ = admission(per_address=1)
    made.enter("a")
    with pytest.raises(LimitReachedError, match="'a'"):
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
        made.check_key(key(name, "acme"))
        store.put(key(name, "acme"), object())
    with pytest.raises(LimitReachedError, match=r"per_scope.*'acme'"):
        made.check_key(key("cyd", "acme"))
    made.check_key(key("cyd", "umbrella"))


def test_a_key_is_bounded():
    """The connections under one key are counted; by default a hundred is the end."""
    made, store = admission()
    for _ in range(100):
        made.check_key(key("ann"))
        store.put(key("ann"), object())
    with pytest.raises(LimitReachedError, match="per_key") as caught:
        made.check_key(key("ann"))
    assert caught.value.limit == 100
    made.check_key(key("bob"))
