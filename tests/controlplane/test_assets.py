"""Static files: what is vendored is unchanged, and nothing names a file that is not there."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

STATIC = Path(settings.BASE_DIR) / "static"
TESTS = Path(settings.BASE_DIR) / "tests"
MANIFEST = "whitenoise.storage.CompressedManifestStaticFilesStorage"


@pytest.mark.parametrize("folder", [STATIC / "vendor", TESTS / "browser" / "vendor"])
class VendorTests:
    def test_every_file_is_listed_with_its_sum(self, folder: Path) -> None:
        table = (folder / "VENDOR.md").read_text()
        listed = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", table, re.MULTILINE))
        vendored = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in {"VENDOR.md", "LICENSE"}
        }
        assert vendored == listed

    def test_every_file_brings_its_licence(self, folder: Path) -> None:
        files = [path for path in folder.rglob("*") if path.suffix in {".js", ".woff2"}]
        assert files
        for path in files:
            licence = (path.parent / "LICENSE").read_text()
            assert "Open Font License" in licence or "Mozilla Public License" in licence


class CollectTests:
    def test_everything_that_a_stylesheet_names_is_there(
        self, settings: Any, tmp_path: Path
    ) -> None:
        settings.STATIC_ROOT = tmp_path
        settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": MANIFEST}}
        call_command("collectstatic", interactive=False, verbosity=0)
        css = (tmp_path / "css" / "tokens.css").read_text()
        (hashed,) = tmp_path.glob("css/tokens.*.css")
        assert "inter.woff2" in css
        assert re.search(r"inter\.[0-9a-f]{12}\.woff2", hashed.read_text())

    def test_no_stylesheet_fetches_from_elsewhere(self) -> None:
        for path in STATIC.rglob("*.css"):
            assert "http" not in path.read_text()
