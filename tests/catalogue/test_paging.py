"""Cursors."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usenetsyncd.catalogue.paging import PAGE_LIMIT, bounded, decode_cursor, encode_cursor, page_of
from usenetsyncd.errors import UsageError

parts = st.one_of(st.integers(-(2**62), 2**62), st.binary(max_size=300), st.text(max_size=40))


@given(st.lists(parts, min_size=1, max_size=6))
def test_a_cursor_comes_back_as_the_key_it_was_made_of(key: list[int | bytes | str]) -> None:
    text = encode_cursor(key)
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")
    assert list(decode_cursor(text, tuple(type(part) for part in key))) == key


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_a_usage_error(text: str) -> None:
    try:
        decode_cursor(text, (int, bytes))
    except UsageError:
        return
    assert encode_cursor(decode_cursor(text, (int, bytes)))


@pytest.mark.parametrize("key", [["1"], [1, 2], [True], [None], [[1]]])
def test_keys_of_another_shape_are_refused(key: list[object]) -> None:
    with pytest.raises(UsageError):
        decode_cursor(encode_cursor(key), (int,))  # type: ignore[arg-type]


def test_a_page_has_a_next_only_when_there_is_more() -> None:
    rows = [(1,), (2,), (3,)]
    assert page_of(rows, 3, lambda row: row[0], lambda row: row).next is None
    page = page_of(rows, 2, lambda row: row[0], lambda row: row)
    assert page.rows == (1, 2)
    assert decode_cursor(page.next or "", (int,)) == (2,)
    assert page_of([], 2, lambda row: row, lambda row: row).rows == ()


def test_page_sizes_are_bounded() -> None:
    assert [bounded(limit) for limit in (-1, 0, 5, 10**9)] == [1, 1, 5, PAGE_LIMIT]
