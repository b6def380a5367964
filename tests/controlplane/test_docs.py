"""What the documents list has to be what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.urls import resolve

from audit.events import EventType
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


class SignInTests:
    PAGE = (ROOT / "docs/sign-in.md").read_text()

    def test_every_page_is_there(self) -> None:
        for path in re.findall(r"^\| `(/accounts/[^`]*)` \|", self.PAGE, re.M):
            assert resolve(path)

    def test_every_command_is_there(self) -> None:
        for command in re.findall(r"manage\.py (\w+)", self.PAGE):
            assert command in get_commands()

    def test_every_event_is_one(self) -> None:
        named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", self.PAGE))
        assert named <= {event.value for event in EventType}
        assert {"user.signed_in", "password.reset", "session.ended"} <= named

    def test_the_limits_are_those(self) -> None:
        limits = settings.ACCOUNT_RATE_LIMITS | settings.MFA_RATE_LIMITS
        assert limits == {
            "login": "30/m/ip",
            "login_failed": "10/m/ip,10/300s/key",
            "webauthn_login": "10/m/ip",
            "reset_password": "20/m/ip,5/m/key",
            "reset_password_from_key": "20/m/ip",
            "verify_email": "20/m/ip",
            "confirm_email": "1/180s/key",
            "manage_email": "10/m/user",
            "reauthenticate": "10/m/user",
            "change_password": "5/m/user",
            "manage_second_factor": "20/m/user",
            "manage_sessions": "30/m/user",
        }, "docs/sign-in.md says so: change both"


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
        "page",
        [
            *("SECURITY.md", "CONTRIBUTING.md"),
            *("docs/configuration.md", "docs/dependencies.md", "docs/sign-in.md"),
        ],
    )
    def test_links_lead_somewhere(self, page: str) -> None:
        path = ROOT / page
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), target
