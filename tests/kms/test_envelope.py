from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms import envelope
from kms.envelope import KeyUnavailable, WrappedKey

UNDER = bytes(range(32))
CONTEXT = {"purpose": "data-key", "index": "a"}


def wrapped(key: bytes = b"k" * 32) -> WrappedKey:
    return envelope.wrap(key, under=UNDER, name="test:1", context=CONTEXT)


class WrapTests:
    @given(key=st.binary(min_size=1, max_size=64), context=st.dictionaries(st.text(), st.text()))
    def test_opens_again_in_the_same_context(self, key: bytes, context: dict[str, str]) -> None:
        sealed = envelope.wrap(key, under=UNDER, name="n", context=context)
        stored = WrappedKey.load(sealed.dump())
        assert envelope.unwrap(stored, under=UNDER, name="n", context=context) == key

    def test_the_order_of_the_context_does_not_matter(self) -> None:
        backwards = dict(reversed(CONTEXT.items()))
        assert envelope.unwrap(wrapped(), under=UNDER, name="test:1", context=backwards)

    def test_the_key_is_not_in_what_is_stored(self) -> None:
        assert b"k" * 8 not in wrapped().ciphertext

    def test_two_wraps_of_one_key_differ(self) -> None:
        assert wrapped().ciphertext != wrapped().ciphertext

    def test_a_shorter_wrapping_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="32 bytes, not 16"):
            envelope.wrap(b"k", under=UNDER[:16], name="n", context={})


class UnwrapTests:
    @pytest.mark.parametrize(
        "context",
        [
            {**CONTEXT, "index": "b"},
            {"purpose": "data-key"},
            {**CONTEXT, "more": "x"},
            {},
            # What a naive join of the parts would take for the same.
            {"purpose": 'data-key","index":"a'},
        ],
    )
    def test_a_key_of_another_row_does_not_open(self, context: dict[str, str]) -> None:
        with pytest.raises(KeyUnavailable, match="damaged or belongs to something else"):
            envelope.unwrap(wrapped(), under=UNDER, name="test:1", context=context)

    def test_another_wrapping_key_does_not_open_it(self) -> None:
        with pytest.raises(KeyUnavailable, match="damaged"):
            envelope.unwrap(wrapped(), under=bytes(32), name="test:1", context=CONTEXT)

    def test_the_message_names_the_key_that_is_needed(self) -> None:
        with pytest.raises(
            KeyUnavailable, match="wrapped by test:1, but the key at hand is test:2"
        ):
            envelope.unwrap(wrapped(), under=UNDER, name="test:2", context=CONTEXT)

    def test_an_unknown_algorithm_is_named(self) -> None:
        strange = WrappedKey("test:1", "ROT13", wrapped().ciphertext)
        with pytest.raises(KeyUnavailable, match="ROT13"):
            envelope.unwrap(strange, under=UNDER, name="test:1", context=CONTEXT)

    @given(position=st.integers(0, 12 + 32 + 16 - 1), bit=st.integers(0, 7))
    def test_every_single_flipped_bit_is_noticed(self, position: int, bit: int) -> None:
        sealed = wrapped()
        damaged = bytearray(sealed.ciphertext)
        damaged[position] ^= 1 << bit
        with pytest.raises(KeyUnavailable):
            envelope.unwrap(
                WrappedKey("test:1", sealed.algorithm, bytes(damaged)),
                under=UNDER,
                name="test:1",
                context=CONTEXT,
            )

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 12, 27, 28, 59])
    def test_a_cut_one_is_damaged_not_a_crash(self, length: int) -> None:
        sealed = wrapped()
        cut = WrappedKey("test:1", sealed.algorithm, sealed.ciphertext[:length])
        with pytest.raises(KeyUnavailable):
            envelope.unwrap(cut, under=UNDER, name="test:1", context=CONTEXT)


class LoadTests:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "[]",
            "7",
            "{}",
            '"text"',
            "not json",
            json.dumps({"wrapped_by": 1, "algorithm": "A", "ciphertext": ""}),
            json.dumps({"wrapped_by": "a", "algorithm": None, "ciphertext": ""}),
            json.dumps({"wrapped_by": "a", "algorithm": "A", "ciphertext": "%%%"}),
            json.dumps({"wrapped_by": "a", "algorithm": "A", "ciphertext": 5}),
            json.dumps({"wrapped_by": "a", "algorithm": "A"}),
        ],
    )
    def test_anything_else_is_a_damaged_key(self, text: str) -> None:
        with pytest.raises(KeyUnavailable, match="not a wrapped key"):
            WrappedKey.load(text)


class FingerprintTests:
    def test_names_a_key_without_being_its_plain_hash(self) -> None:
        assert envelope.fingerprint(UNDER) == envelope.fingerprint(UNDER)
        assert envelope.fingerprint(UNDER) != envelope.fingerprint(bytes(32))
        assert envelope.fingerprint(UNDER) not in hashlib.sha256(UNDER).hexdigest()
