"""Every store of the package keeps the contract of :class:`sfere_tornado.testing.StoreContract`; so may others."""

import importlib
import pkgutil

import pytest

from sfere_tornado.keys import as_key
from sfere_tornado.stores import ExpiringStore, MemoryStore, leases
from sfere_tornado.testing import FakeClock, StoreContract, contracts
from sfere_tornado.testing.contracts.store_rules import StoreRules


class TestMemoryStore(StoreContract):
    def make_store(self, **options):
        return MemoryStore(**options)


class TestExpiringStore(StoreContract):
    def make_store(self, **options):
        return ExpiringStore(timer=FakeClock(), **options)


class TestFixedLeases(StoreContract):
    def make_store(self, **options):
        return ExpiringStore(timer=FakeClock(), expiry="fixed", **options)


class TestStoreThatIsBehind(StoreContract):
    """The same rules hold while more leases have ended than the store has got round to."""

    # These two are about everything that is in the store, ended or not.
    test_an_empty_store_has_nothing = None
    test_clearing_removes_everything = None

    @pytest.fixture(autouse=True)
    def _never_catches_up(self, monkeypatch):
        monkeypatch.setattr(leases, "EXPIRE_SLICE", 0)

    def make_store(self, *, maxsize=None, **options):
        clock = FakeClock()
        store = ExpiringStore(1.0, timer=clock, maxsize=maxsize or 10_000, **options)
        if maxsize is None:
            for number in range(3):
                store.put(("default", ("lobby", f"late {number}")), object())
            clock.advance(2.0)
            assert store.next_expiry() < clock()
        return store


def test_a_contract_needs_a_store():
    """The contract says what is missing when a subclass makes no store."""
    with pytest.raises(NotImplementedError):
        StoreContract().make_store()


def test_the_contract_finds_a_store_that_is_wrong():
    """A store that breaks a rule fails the contract: one that reads a star, one that takes any key."""

    class Star(MemoryStore):
        def connections(self, pattern, exclude=()):
            if "*" in (pattern[0], *pattern[1]):
                return super().connections(as_key(("default", ("lobby", "*"))), exclude)
            return super().connections(pattern, exclude)

        def get(self, key):
            return ()

    contract = StoreContract()
    contract.make_store = Star
    with pytest.raises(AssertionError, match="the contract says"):
        contract.test_patterns_match_as_by_hand()
    with pytest.raises(AssertionError, match="the contract says KeyShapeError"):
        contract.test_a_key_is_complete()


def subjects():
    """Return the classes of rules, from all modules of the contracts."""
    modules = [
        importlib.import_module(f"{contracts.__name__}.{info.name}")
        for info in pkgutil.iter_modules(contracts.__path__)
    ]
    return sorted(
        {
            each
            for module in modules
            for each in vars(module).values()
            if isinstance(each, type) and issubclass(each, StoreRules)
        }
        - {StoreRules, StoreContract},
        key=lambda each: each.__name__,
    )


def test_the_contract_is_all_subjects():
    """No class of rules is left out, and none has a rule of the same name as another."""
    names = [name for each in subjects() for name in vars(each) if name.startswith("test_")]
    assert sorted(names) == [name for name in dir(StoreContract) if name.startswith("test_")]
    assert len(names) == len(set(names)) > 40


@pytest.mark.parametrize("subject", subjects())
def test_a_subject_of_the_contract_can_be_taken_alone(subject):
    """Each class of rules needs a store and nothing else."""

    class Alone(subject):
        def make_store(self, **options):
            return MemoryStore(**options)

    for name in vars(subject):
        if name.startswith("test_"):
            getattr(Alone(), name)()
