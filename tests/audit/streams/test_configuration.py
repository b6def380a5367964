from __future__ import annotations

from typing import Any

import pytest

from audit.models import Stream
from audit.streams.configuration import BadConfiguration, checked, checked_secret

Kind = Stream.Kind
S3 = {"endpoint": "https://s3.example.com", "bucket": "archive", "access_key_id": "AKID"}


class GoodTests:
    def test_defaults_are_filled_in(self) -> None:
        assert checked(Kind.WEBHOOK, {"url": "https://siem.example.com/in?x=1"}) == {
            "url": "https://siem.example.com/in?x=1",
            "ca_pem": "",
        }
        assert checked(Kind.S3, S3) == {**S3, "region": "us-east-1", "prefix": "", "ca_pem": ""}
        assert checked(Kind.SYSLOG, {"host": "logs.example.com"}) == {
            "host": "logs.example.com",
            "port": 6514,
            "tls": True,
            "ca_pem": "",
        }

    def test_an_address_of_this_machine_where_the_operator_allows_it(self, settings: Any) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        for url in (
            "http://127.0.0.1:8080/",
            "http://localhost/",
            "http://[::1]/",
            "https://10.0.0.1",
        ):
            assert checked(Kind.WEBHOOK, {"url": url})["url"] == url


class BadTests:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "siem.example.com",
            "http://siem.example.com/",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://user:password@siem.example.com/",
            "https://siem.example.com:0/",
            "https://siem.example.com:65536/",
            "https://siem.example.com:x/",
            "https://siem.example.com/#part",
            "https:///path",
            "https://[::1",
            "https://a b/",
            "https://siem.example.com/\0",
            "https://siem.example.com/\ud800",
            "https://siem.example.com/\r\nx: y",
            "https://siem.example.com/ü",
            "ftp://siem.example.com/",
            "file:///etc/passwd",
            "https://siem.example.com/" + "x" * 2000,
            7,
            None,
            ["https://siem.example.com/"],
        ],
    )
    def test_an_address_that_is_none_or_leads_inside_is_refused(self, url: object) -> None:
        with pytest.raises(BadConfiguration, match=r"url|not a public address|without TLS"):
            checked(Kind.WEBHOOK, {"url": url})

    def test_plaintext_to_another_machine_is_refused_whatever_is_allowed(
        self, settings: Any
    ) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        for url in ("http://siem.example.com/", "http://10.0.0.1/"):
            with pytest.raises(BadConfiguration, match="without TLS"):
                checked(Kind.WEBHOOK, {"url": url})
        for host in ("logs.example.com", "10.0.0.1"):
            with pytest.raises(BadConfiguration, match="without TLS"):
                checked(Kind.SYSLOG, {"host": host, "tls": False})

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("endpoint", "https://s3.example.com/path"),
            ("endpoint", "https://s3.example.com?x"),
            ("endpoint", "http://s3.example.com"),
            ("bucket", "ab"),
            ("bucket", "Archive"),
            ("bucket", "a/b/c"),
            ("bucket", "a" * 64),
            ("region", "eu west"),
            ("region", ""),
            ("prefix", "/a"),
            ("prefix", "a/../b"),
            ("prefix", "a//b"),
            ("prefix", "a\0"),
            ("prefix", "x" * 513),
            ("access_key_id", "AK/ID"),
            ("access_key_id", ""),
            ("access_key_id", "A" * 2000),
            ("ca_pem", "no certificate"),
            ("ca_pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ("ca_pem", "ü"),
            ("ca_pem", "x" * 70_000),
            ("ca_pem", 1),
        ],
    )
    def test_a_storage_field_that_breaks_its_rule_is_named(self, field: str, value: object) -> None:
        with pytest.raises(BadConfiguration, match=field):
            checked(Kind.S3, {**S3, field: value})

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("port", 0),
            ("port", 65536),
            ("port", 2**70),
            ("port", True),
            ("port", "514"),
            ("port", 514.0),
            ("tls", "yes"),
            ("tls", 1),
            ("host", "a b"),
            ("host", ""),
            ("host", "-x"),
            ("host", "x" * 254),
            ("host", 7),
        ],
    )
    def test_a_syslog_field_that_breaks_its_rule_is_named(self, field: str, value: object) -> None:
        with pytest.raises(BadConfiguration, match=field):
            checked(Kind.SYSLOG, {"host": "logs.example.com", field: value})

    def test_unknown_and_missing_fields_are_named(self) -> None:
        with pytest.raises(BadConfiguration, match="no field 'secret'"):
            checked(Kind.WEBHOOK, {"url": "https://siem.example.com/", "secret": "x"})
        for field in S3:
            without = {name: value for name, value in S3.items() if name != field}
            with pytest.raises(BadConfiguration, match=f"needs the field '{field}'"):
                checked(Kind.S3, without)

    def test_whom_to_trust_over_tls_means_nothing_without_it(self, settings: Any) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        import certifi  # noqa: PLC0415  any real certificates

        with open(certifi.where()) as file:
            pem = file.read(4000).rpartition("-----END CERTIFICATE-----")
        with pytest.raises(BadConfiguration, match="'tls' is false"):
            checked(
                Kind.SYSLOG,
                {"host": "127.0.0.1", "tls": False, "ca_pem": pem[0] + pem[1]},
            )


class SecretTests:
    def test_storage_needs_one_and_the_others_take_none(self) -> None:
        assert checked_secret(Kind.S3, "a/B+c=") == "a/B+c="
        assert checked_secret(Kind.WEBHOOK, "") == ""
        for kind in (Kind.WEBHOOK, Kind.SYSLOG):
            with pytest.raises(BadConfiguration, match="takes no secret"):
                checked_secret(kind, "mine")

    @pytest.mark.parametrize("secret", ["", "a b", "x" * 257, "\0", "ü", "\ud800"])
    def test_one_that_can_not_be_one_is_refused_without_repeating_it(self, secret: str) -> None:
        with pytest.raises(BadConfiguration) as caught:
            checked_secret(Kind.S3, secret)
        assert not secret or secret not in str(caught.value) or secret in {" "}
