from __future__ import annotations

import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from keys import secrets

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PUBLISHED = re.compile(r"tmrk_[0-9A-Za-z]{10}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}")


class GenerateTests:
    def test_has_the_published_form(self) -> None:
        for _ in range(200):
            key = secrets.generate()
            assert PUBLISHED.fullmatch(key.text)
            assert key.text[5:15] == key.lookup_id

    def test_ends_in_the_crc32_of_the_rest_in_base62(self) -> None:
        text = secrets.generate().text
        number = 0
        for digit in text[-6:]:
            number = number * 62 + BASE62.index(digit)
        assert number == zlib.crc32(text[:-6].encode())

    def test_never_repeats(self) -> None:
        assert len({secrets.generate().text for _ in range(2000)}) == 2000

    def test_its_repr_does_not_tell_it(self) -> None:
        key = secrets.generate()
        assert key.text[16:59] not in repr(key)


class ParseTests:
    def test_takes_what_generate_makes(self) -> None:
        key = secrets.generate()
        assert secrets.parse(key.text) == key

    @given(position=st.integers(0, 64), digit=st.sampled_from(BASE62))
    def test_one_changed_character_is_noticed(self, position: int, digit: str) -> None:
        text = secrets.generate().text
        changed = text[:position] + digit + text[position + 1 :]
        assert changed == text or secrets.parse(changed) is None

    @given(st.text())
    def test_other_text_is_none_and_no_crash(self, text: str) -> None:
        assert secrets.parse(text) is None

    @given(st.text(alphabet=BASE62 + "_", min_size=50, max_size=70))
    def test_look_alikes_are_none(self, text: str) -> None:
        assert secrets.parse(f"tmrk_{text}") is None

    def test_space_and_newline_around_it_are_not_forgiven(self) -> None:
        text = secrets.generate().text
        for dressed in (f" {text}", f"{text} ", f"{text}\n", text.upper(), f"{text}\0"):
            assert secrets.parse(dressed) is None

    def test_digits_of_other_scripts_are_none(self) -> None:
        text = secrets.generate().text
        assert secrets.parse(text[:-1] + "٣") is None


class DigestTests:
    def test_depends_on_key_and_pepper(self) -> None:
        one, two = secrets.generate(), secrets.generate()
        assert secrets.digest(b"p", one) != secrets.digest(b"p", two)
        assert secrets.digest(b"p", one) != secrets.digest(b"q", one)
        assert len(secrets.digest(b"p", one)) == 32

    def test_matches_itself_only(self) -> None:
        one, two = secrets.generate(), secrets.generate()
        assert secrets.matches(b"p", one, secrets.digest(b"p", one))
        assert not secrets.matches(b"p", two, secrets.digest(b"p", one))
        assert not secrets.matches(b"p", one, b"")
