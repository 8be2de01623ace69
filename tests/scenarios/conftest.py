"""Scenarios are played undisturbed, and with applications that do what they may."""

import pytest
from support.disturbing import VARIANTS, disturb, environment

#: Played in every way in each run, as far as they take no longer than some seconds.
DISTURBED = {
    "test_disturbing",
    "test_departures",
    "test_failing_hooks",
    "test_guards_hold",
    "test_leaving",
    "test_presence_room",
    "test_replay",
    "test_slow_clients",
    "test_story",
}

#: What stays as it is in each run, because it takes too long or tests the test's own counting.
LONG = {
    "test_1200_clients_leave_in_twelve_ways",
    "test_a_departure_is_known_within_50_ms",
    "test_a_hundred_stalled_clients_change_nothing_for_three_hundred_others",
    "test_a_thousand_who_leave_at_once",
    "test_many_clients_that_are_cut_at_random",
    "test_people_who_come_and_go",
    "test_a_process_that_was_stopped_takes_nobody_for_gone",
    "test_the_battery_is_red_on_a_textbook_handler",
    "test_the_crowd_finds_out_what_is_wrong",
    "test_with_a_history_too_small_every_hole_is_told",
}


def pytest_generate_tests(metafunc):
    """Give each test the ways in which it is played."""
    chosen = metafunc.config.getoption("--disturb")
    name = metafunc.module.__name__.rpartition(".")[2]
    if chosen == "all":
        ways = list(VARIANTS)
    elif chosen is not None:
        ways = [chosen]
    elif name in DISTURBED and metafunc.definition.name not in LONG:
        ways = ["none", *VARIANTS]
    else:
        return
    metafunc.parametrize("disturbance", ways, indirect=True)


@pytest.fixture(autouse=True)
def disturbance(request, monkeypatch):
    """The way in which the application disturbs the library; ``none`` in most runs."""
    variant = getattr(request, "param", "none")
    if variant != "none":
        disturb(variant, monkeypatch.setattr)
        for name, value in environment(variant).items():
            monkeypatch.setenv(name, value)
    return variant
