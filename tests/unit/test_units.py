"""Sizes as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore.errors import ConfigError
from seqstore.units import format_size, parse_size, unsigned


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("17B", 17),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("64MiB", 2**26),
        ("64 MiB", 2**26),
        ("2GB", 2 * 10**9),
        ("1GiB", 2**30),
        ("1TiB", 2**40),
        ("3TB", 3 * 10**12),
        ("1.5GiB", 3 * 2**29),
        ("0.5KiB", 512),
        ("1.25KB", 1250),
        ("1kib", 1024),
        (" 1KiB ", 1024),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12XB",
        "MiB",
        "-1",
        "-1MiB",
        "1.5B",
        "0.1KiB",
        "1e6",
        "1,000",
        "1MiB2",
        "0x10",
        "\u0661MiB",
        "1 Mi B",
        "nan",
        "inf",
        "1..5KiB",
        ".5KiB",
        "16777216TiB",
        "9" * 400,
        "1PB",
        "1MiB\0",
    ],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_size(text)


@pytest.mark.parametrize("value", [None, 1.0, b"1", [], 1j, np.float64(1)])
def test_no_numbers(value: object) -> None:
    with pytest.raises(ConfigError):
        parse_size(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 2**64, 2**80, -(2**80)])
def test_numbers_out_of_range(value: int) -> None:
    with pytest.raises(ConfigError, match="offset"):
        unsigned(value, "offset")


def test_messages_name_what_was_found() -> None:
    with pytest.raises(ConfigError, match=r"capacity.*12XB"):
        parse_size("12XB", "capacity")


@given(st.integers(0, 2**64 - 1))
def test_what_is_written_is_read(size: int) -> None:
    assert parse_size(format_size(size)) == size
    assert parse_size(size) == size
    assert unsigned(np.uint64(size), "n") == size
