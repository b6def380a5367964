"""What the documents list has to be what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from keys import secrets

ROOT = Path(settings.BASE_DIR)


class ConfigurationTests:
    def test_every_variable_is_documented_and_none_besides(self) -> None:
        code = (ROOT / "controlplane" / "settings" / "__init__.py").read_text()
        read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', code))
        documented = set(
            re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.M)
        )
        assert read == documented

    def test_the_room_for_sockets_is_the_documented_one(self) -> None:
        longest = len("/index/") + 36 + len(".sock")
        assert f"at most {107 - longest} bytes" in (ROOT / "docs/configuration.md").read_text()


class DependencyTests:
    @pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
    def test_every_package_chosen_has_its_reason(self, name: str) -> None:
        chosen = (ROOT / name).read_text().split("# Pulled in by the above")[0]
        packages = set(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==", chosen, re.M))
        document = (ROOT / "docs/dependencies.md").read_text()
        (section,) = re.findall(rf"^## .*: {name}\n(.*?)(?=^## |\Z)", document, re.M | re.S)
        cells = re.findall(r"^\| ([^|]+) \|", section, re.M)[1:]
        listed = {package for cell in cells for package in cell.split(", ")}
        assert listed - {"---"} == packages

    def test_every_pin_is_exact(self) -> None:
        for name in ("requirements.txt", "requirements-dev.txt"):
            for line in (ROOT / name).read_text().splitlines():
                if line and not line.startswith(("#", "-r ")):
                    assert re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?==[0-9a-z.]+", line), line


class SecurityTests:
    def test_the_published_pattern_finds_real_keys(self) -> None:
        (pattern,) = re.findall(r"`(tmrk_[^`]+)`", (ROOT / "SECURITY.md").read_text())
        assert all(re.fullmatch(pattern, secrets.generate().text) for _ in range(50))


class LicenceTests:
    def test_it_is_the_whole_apache_licence(self) -> None:
        text = (ROOT / "LICENSE").read_text()
        assert "Version 2.0, January 2004" in text
        assert "9. Accepting Warranty or Additional Liability" in text
        assert "END OF TERMS AND CONDITIONS" in text


class LinkTests:
    @pytest.mark.parametrize(
        "page", ["SECURITY.md", "CONTRIBUTING.md", "docs/configuration.md", "docs/dependencies.md"]
    )
    def test_links_lead_somewhere(self, page: str) -> None:
        path = ROOT / page
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), target
