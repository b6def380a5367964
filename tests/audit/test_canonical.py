from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.canonical import MAX_INTEGER, Plain, canonical, clean, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


class CanonicalTests:
    def test_the_example_of_the_rfc_without_its_fractions(self) -> None:
        """RFC 8785 §3.2.2 and §3.2.4."""
        value: Plain = {
            "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
            "literals": [None, True, False],
        }
        assert canonical(value) == (
            b'{"literals":[null,true,false],"string":"'
            + '\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/'.encode()
            + b'"}'
        )

    def test_names_are_in_the_order_of_their_utf_16_units(self) -> None:
        """The example of RFC 8785 §3.2.3."""
        value = {
            "\u20ac": "Euro Sign",
            "\r": "Carriage Return",
            "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One",
            "\U0001f600": "Emoji: Grinning Face",
            "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis",
        }
        assert list(json.loads(canonical(dict(value)))) == [
            "\r",
            "1",
            "\u0080",
            "\u00f6",
            "\u20ac",
            "\U0001f600",
            "\ufb33",
        ]

    @given(VALUES)
    @settings(max_examples=150, deadline=None)
    def test_reading_gives_the_value_and_the_same_bytes_again(self, value: Plain) -> None:
        made = canonical(value)
        assert parse(made.decode()) == value
        assert canonical(parse(made.decode())) == made

    @pytest.mark.parametrize(
        "value", [0.5, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, "\ud800"]
    )
    def test_what_readers_differ_about_is_refused(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"."):
            canonical({"a": [value]})  # type: ignore[list-item]  # wrong on purpose


class ParseTests:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            '{"a":1,"a":1}',
            '{"b":{"a":1,"a":2}}',
            "1.0",
            "1e3",
            "NaN",
            "Infinity",
            "[" * 100_000,
            "9" * 10_000,
        ],
    )
    def test_what_could_be_read_in_two_ways_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            parse(text)


class CleanTests:
    @given(st.text())
    @settings(max_examples=100, deadline=None)
    def test_any_text_can_be_stored(self, text: str) -> None:
        cleaned = clean(text)
        assert "\0" not in cleaned
        assert cleaned.encode().decode() == cleaned
        assert len(cleaned) == len(text)
