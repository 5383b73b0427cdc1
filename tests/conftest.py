"""Hypothesis profiles, and what a failing run prints so that it can be repeated.

==========  ===================================  =======================================================
profile     run by                               examples
==========  ===================================  =======================================================
default     ``make test``                        few, new ones each time; failures are kept and tried again
ci          ``make test PROFILE=ci``             more, the same ones each time
sanitizers  ``make sanitizers``                  fewest, for a core many times slower; the same each time
soak        ``make soak``                        as many as an hour or a night takes, from a printed seed
==========  ===================================  =======================================================
"""

from __future__ import annotations

import shlex

import pytest
from hypothesis import HealthCheck, settings

_DEFAULT = settings(max_examples=150, stateful_step_count=40, deadline=None, print_blob=True)
# Generating tagged blocks takes its time, and more of it on a loaded machine; that is no fault of a test.
_SLOW = settings(_DEFAULT, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

settings.register_profile("default", _DEFAULT)
settings.register_profile("ci", _SLOW, max_examples=100, derandomize=True, database=None)
settings.register_profile("sanitizers", _SLOW, max_examples=18, derandomize=True, database=None)
settings.register_profile("soak", _SLOW, max_examples=5_000, stateful_step_count=150)
settings.load_profile("default")

# How each profile is run, with a place for the seed.
_COMMANDS = {
    "default": "make test",
    "ci": "make test PROFILE=ci",
    "sanitizers": "make sanitizers",
    "soak": "make soak SEED={seed}",
}
_MOST_REPEATED = 10


def _profile(config: pytest.Config) -> str:
    return str(config.getoption("--hypothesis-profile") or "default")


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.getoption("--hypothesis-seed")
    return f"hypothesis profile: {_profile(config)}, seed: {'none given' if seed is None else seed}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    tests = [*dict.fromkeys(shlex.quote(report.nodeid) for report in reports)]
    if tests:
        command = _COMMANDS[_profile(config)].format(seed=config.getoption("--hypothesis-seed"))
        terminalreporter.section("repeat with")
        terminalreporter.line(f'{command} ARGS="{" ".join(tests[:_MOST_REPEATED])}"')
