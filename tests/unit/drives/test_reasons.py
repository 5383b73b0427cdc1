"""Why something is done to a drive: a reason that cannot be written down changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from seqstore import ConfigError, DriveState, Store, Tenant
from tests.several import BLOCK, SEGMENT, content, fill, legs

BAD = [
    pytest.param("", "empty", id="empty"),
    pytest.param(" ", "empty", id="blank"),
    pytest.param(5, "a str is expected", id="a number"),
]
TOO_MUCH = [
    pytest.param("it clicks\nand smokes", "control characters", id="two lines"),
    pytest.param("x" * 1025, "1025 characters", id="long"),
]


@pytest.mark.parametrize(("reason", "words"), [*BAD, *TOO_MUCH])
def test_a_failure_that_is_refused_costs_no_copy(
    store: Store, tenant: Tenant, reason: Any, words: str
) -> None:
    drive = store.add_drive(64 * SEGMENT)
    alone = tenant.create_volume("alone", 10 * BLOCK, drive=1)
    twice = tenant.create_volume("twice", 10 * BLOCK, copies=2)
    fill(alone, 1)
    before = content(store)
    with pytest.raises(ConfigError, match=words):
        drive.fail(reason)
    assert drive.state is DriveState.ONLINE
    assert store.losses() == ()
    assert (content(store), legs(twice)) == (before, [0, 1])


@pytest.mark.parametrize(("reason", "words"), [*BAD, *TOO_MUCH])
def test_an_evacuation_says_why_or_nothing(store: Store, tenant: Tenant, reason: Any, words: str) -> None:
    store.add_drive(64 * SEGMENT)
    volume = tenant.create_volume("volume", 10 * BLOCK, drive=0)
    drive = store.drives[0]
    with pytest.raises(ConfigError, match=words):
        drive.decommission(reason)
    assert (drive.state, legs(volume)) == (DriveState.ONLINE, [0])
    with store.acting(reason="four years old"):
        drive.decommission()
    assert drive.story.chapters[-2].reason == "four years old"


@pytest.mark.parametrize(("reason", "words"), BAD)
def test_calling_off_says_why_or_nothing(store: Store, reason: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        store.drives[0].call_off(reason)
