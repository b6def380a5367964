from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks

from controlplane import checks


class PortTests:
    def test_the_defaults_do_not_overlap(self) -> None:
        assert checks.ports(None) == []

    def test_index_ports_do_not_count_where_names_tell_indexes_apart(self, settings: Any) -> None:
        settings.TAMARACK_INDEX_PORTS = range(8400, 8500)
        assert [found.id for found in checks.ports(None)] == ["tamarack.E001"]
        settings.TAMARACK_ADDRESSING = "host"
        assert checks.ports(None) == []

    def test_the_shared_ports_are_named(self, settings: Any) -> None:
        settings.TAMARACK_UPSTREAM_PORTS = range(21400, 22400)
        settings.TAMARACK_INDEX_PORTS = range(21000, 21500)
        (found,) = checks.ports(None)
        assert "both claim port 21400-21499" in found.msg


class AddressingTests:
    @pytest.mark.parametrize("host", ["localhost", "192.0.2.1"])
    def test_names_below_something_that_has_none_are_an_error(
        self, settings: Any, host: str
    ) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        settings.TAMARACK_PUBLIC_HOST = host
        settings.TAMARACK_PUBLIC_HOST_IS_SINGLE = True
        settings.TAMARACK_INDEX_DOMAIN = f"svc.{host}"
        (found,) = checks.addressing(None)
        assert isinstance(found, Error)
        assert f"svc.{host}" in found.msg

    def test_a_domain_of_its_own_is_fine(self, settings: Any) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        settings.TAMARACK_INDEX_DOMAIN = "indexes.example.com"
        assert checks.addressing(None) == []


class ExposureTests:
    def test_a_public_name_behind_a_private_listener_is_a_warning(self, settings: Any) -> None:
        assert checks.exposure(None) == []
        settings.TAMARACK_PUBLIC_HOST = "vectors.example.com"
        (found,) = checks.exposure(None)
        assert isinstance(found, Warning)
        settings.TAMARACK_BIND = "192.0.2.1"
        assert checks.exposure(None) == []


class XmlLibraryTests:
    def test_the_pinned_pair_fits(self) -> None:
        assert checks.xml_libraries(None) == []

    def test_two_versions_of_libxml2_are_said_with_the_way_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = types.SimpleNamespace(get_libxml_version=lambda: (2, 12, 6))
        monkeypatch.setitem(sys.modules, "xmlsec", other)
        (found,) = checks.xml_libraries(None)
        assert "libxml2 (2, 14) and (2, 12)" in found.msg
        assert "--only-binary" in (found.hint or "")

    def test_an_import_that_fails_is_said_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "xmlsec", None)
        (found,) = checks.xml_libraries(None)
        assert "don't fit together" in found.msg


class RegistrationTests:
    def test_all_of_them_run_with_djangos_own(self, settings: Any) -> None:
        settings.TAMARACK_INDEX_PORTS = range(8400, 8500)
        settings.TAMARACK_SESSION_IDLE = settings.SESSION_COOKIE_AGE + 1
        found = {message.id for message in run_checks()}
        assert {"tamarack.E001", "tamarack.E003"} <= found

    def test_deployment_checks_find_nothing(self, settings: Any) -> None:
        settings.SECRET_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX"
        silenced = set(settings.SILENCED_SYSTEM_CHECKS)
        assert [m for m in run_checks(include_deployment_checks=True) if m.id not in silenced] == []
