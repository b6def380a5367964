from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kms.envelope import KeyUnavailable
from kms.providers import LocalProvider

CONTEXT = {"purpose": "test"}


@pytest.fixture
def provider(tmp_path: Path) -> LocalProvider:
    made = LocalProvider(tmp_path / "root.key")
    made.create()
    return made


class CreateTests:
    def test_the_file_has_32_bytes_for_its_owner_alone(self, provider: LocalProvider) -> None:
        status = provider.path.stat()
        assert (status.st_size, status.st_mode & 0o777) == (32, 0o600)

    def test_an_existing_key_stays(self, provider: LocalProvider) -> None:
        before = provider.path.read_bytes()
        provider.create()
        assert provider.path.read_bytes() == before

    def test_nothing_else_is_left_in_the_folder(self, provider: LocalProvider) -> None:
        assert os.listdir(provider.path.parent) == ["root.key"]

    def test_many_at_once_agree_on_one_key(self, tmp_path: Path) -> None:
        path = tmp_path / "root.key"
        seen: set[bytes] = set()
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            LocalProvider(path).create()
            seen.add(path.read_bytes())

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 1
        assert os.listdir(tmp_path) == ["root.key"]

    def test_a_missing_folder_is_an_error_of_its_own(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            LocalProvider(tmp_path / "absent" / "root.key").create()


class UseTests:
    def test_what_it_wraps_it_unwraps(self, provider: LocalProvider) -> None:
        wrapped = provider.wrap(b"x" * 32, context=CONTEXT)
        assert provider.unwrap(wrapped, context=CONTEXT) == b"x" * 32
        assert wrapped.wrapped_by.startswith("local:")

    def test_the_context_counts(self, provider: LocalProvider) -> None:
        wrapped = provider.wrap(b"x" * 32, context=CONTEXT)
        with pytest.raises(KeyUnavailable):
            provider.unwrap(wrapped, context={"purpose": "other"})

    def test_a_replaced_root_key_is_named_as_the_cause(self, provider: LocalProvider) -> None:
        wrapped = provider.wrap(b"x" * 32, context=CONTEXT)
        provider.path.write_bytes(bytes(32))
        with pytest.raises(KeyUnavailable, match=f"{wrapped.wrapped_by}.*Restore the key"):
            provider.unwrap(wrapped, context=CONTEXT)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
    def test_a_key_open_to_others_is_refused(self, provider: LocalProvider, mode: int) -> None:
        provider.path.chmod(mode)
        with pytest.raises(KeyUnavailable, match="chmod 600"):
            provider.wrap(b"x", context=CONTEXT)

    @pytest.mark.parametrize("content", [b"", b"short", b"x" * 31, b"x" * 33])
    def test_a_key_of_another_size_is_refused(
        self, provider: LocalProvider, content: bytes
    ) -> None:
        provider.path.write_bytes(content)
        with pytest.raises(KeyUnavailable, match="exactly 32 bytes"):
            provider.wrap(b"x", context=CONTEXT)

    def test_a_missing_key_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "root.key"
        with pytest.raises(KeyUnavailable, match=str(path)):
            LocalProvider(path).wrap(b"x", context=CONTEXT)
