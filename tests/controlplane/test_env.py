from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from controlplane import env

NAME = "TAMARACK_TEST"


def named(value: str) -> str:
    """What a message has to begin with."""
    return rf"^{NAME}={value!r} "


class BooleanTests:
    @pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
    def test_yes(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.boolean(NAME, default=False)

    @pytest.mark.parametrize("value", ["0", "False", "no", "off"])
    def test_no(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        assert not env.boolean(NAME, default=True)

    @pytest.mark.parametrize("value", ["2", "maybe", "tru", "ja"])
    def test_anything_else_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match=named(value) + "is not a yes or no"):
            env.boolean(NAME, default=True)


class IntegerTests:
    @pytest.mark.parametrize(("value", "expected"), [("5", 5), (" 9 ", 9), ("", 7), ("010", 10)])
    def test_whole_numbers(
        self, monkeypatch: pytest.MonkeyPatch, value: str, expected: int
    ) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.integer(NAME, 7, low=5, high=10) == expected

    @pytest.mark.parametrize("value", ["4", "11", "-6", "5.0", "0x5", "five", "²", "\u0665", "1_0"])
    def test_anything_else_is_named_with_the_range(
        self, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(
            ImproperlyConfigured, match=named(value) + "has to be a whole number from 5 to 10"
        ):
            env.integer(NAME, 7, low=5, high=10)


class ChoiceTests:
    def test_a_word_that_is_not_offered_is_named_with_those_that_are(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(NAME, "HOST")
        with pytest.raises(ImproperlyConfigured, match=named("HOST") + ".*one of: port, host"):
            env.choice(NAME, "port", ("port", "host"))


class PortRangeTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("8444-8507", range(8444, 8508)),
            ("8444", range(8444, 8445)),
            ("1024-65535", range(1024, 65536)),
            ("", range(5000, 5011)),
        ],
    )
    def test_both_ends_count(
        self, monkeypatch: pytest.MonkeyPatch, value: str, expected: range
    ) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.port_range(NAME, "5000-5010") == expected

    @pytest.mark.parametrize(
        "value",
        [
            "80",
            "1023-2000",
            "60000-65536",
            "9000-8000",
            "a-b",
            "8000-",
            "-8000",
            "8000-8001-8002",
            "8000 - 8001",
            "²000",
            "80000",
            "8000,8001",
        ],
    )
    def test_anything_else_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match=named(value) + ".*1024 to 65535"):
            env.port_range(NAME, "5000-5010")


class HttpsUrlTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("https://localhost:8443", "https://localhost:8443"),
            ("https://Vectors.Example.COM/", "https://vectors.example.com"),
            ("https://192.0.2.1:9443", "https://192.0.2.1:9443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ],
    )
    def test_addresses(self, monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.https_url(NAME, "https://x") == expected

    @pytest.mark.parametrize(
        "value",
        [
            "http://localhost",
            "localhost:8443",
            "https://",
            "https://:8443",
            "https://localhost:0",
            "https://localhost:99999",
            "https://localhost:port",
            "https://localhost/path",
            "https://localhost?",
            "https://localhost#x",
            "https://user:pass@localhost",
            "https://exa mple",
            "https://-x",
            "https://a_b",
            "https://[::1",
            "https://localhost//",
        ],
    )
    def test_anything_more_or_less_is_named(
        self, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match="has to look like https://host:port"):
            env.https_url(NAME, "https://x")

    @given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    @hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_text_makes_it_crash(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, f"https://{value}")
        try:
            url = env.https_url(NAME, "https://x")
        except ImproperlyConfigured:
            return
        assert url.startswith("https://")
        assert url.isascii()


class SecretTests:
    def test_comes_from_a_file_too(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_text("hush\n")
        monkeypatch.setenv(f"{NAME}_FILE", str(file))
        assert env.secret(NAME) == "hush"

    def test_both_at_once_are_refused_without_telling_either(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(NAME, "hush")
        monkeypatch.setenv(f"{NAME}_FILE", "/file")
        with pytest.raises(ImproperlyConfigured, match="keep one of them") as refused:
            env.secret(NAME)
        assert "hush" not in str(refused.value)

    def test_a_file_that_can_not_be_read_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "absent"))
        with pytest.raises(ImproperlyConfigured, match=f"{NAME}_FILE=.*absent.*No such file"):
            env.secret(NAME)


class DomainTests:
    @pytest.mark.parametrize("value", ["a", "svc.example.com", "1.example", "x-1.y", "a" * 63])
    def test_names(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value.upper())
        assert env.domain(NAME, "x") == value

    @pytest.mark.parametrize(
        "value", ["-a", "a-", ".a", "a.", "a..b", "a_b", "a/b", "a b", "é", "a" * 64, "::1", "a\n"]
    )
    def test_anything_else_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match="letters, digits and hyphens"):
            env.domain(NAME, "x")

    def test_the_number_of_parts_is_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "a.b")
        with pytest.raises(ImproperlyConfigured):
            env.domain(NAME, "x", parts=1)


class AddressTests:
    @pytest.mark.parametrize("value", ["192.0.2.1", "::1"])
    def test_addresses(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.address(NAME, "127.0.0.1") == value

    @pytest.mark.parametrize("value", ["localhost", "1.2.3", "1.2.3.4:5", "[::1]", "1.2.3.256"])
    def test_anything_else_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match="is not an IP address"):
            env.address(NAME, "127.0.0.1")


class NameServersTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("", []),
            ("192.0.2.53", [("192.0.2.53", 53)]),
            (
                " 192.0.2.53:5353 ,[2001:db8::53]:54,",
                [("192.0.2.53", 5353), ("2001:db8::53", 54)],
            ),
            ("2001:db8::53,[::1]", [("2001:db8::53", 53), ("::1", 53)]),
        ],
    )
    def test_addresses_with_and_without_ports(
        self, monkeypatch: pytest.MonkeyPatch, value: str, expected: list[tuple[str, int]]
    ) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.name_servers(NAME) == expected

    @pytest.mark.parametrize(
        "value",
        [
            "dns.example",
            "192.0.2.53:0",
            "192.0.2.53:65536",
            "192.0.2.53:",
            "192.0.2.999",
            "[::1",
            "[x]:53",
            "192.0.2.53 192.0.2.54",
        ],
    )
    def test_anything_else_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match="is not the address of a name server"):
            env.name_servers(NAME)


class FolderTests:
    def test_a_relative_one_counts_from_here(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(NAME, "here")
        assert env.folder(NAME, Path("/elsewhere")) == tmp_path / "here"


class MailServerTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (
                "smtp://u:p@mail.example",
                env.MailServer("mail.example", 587, "u", "p", implicit_tls=False, start_tls=True),
            ),
            (
                "smtps://me%40x:p%2Fw%3A@mail.example:4650/",
                env.MailServer(
                    "mail.example", 4650, "me@x", "p/w:", implicit_tls=True, start_tls=False
                ),
            ),
            (
                "smtps://[2001:db8::1]",
                env.MailServer("2001:db8::1", 465, "", "", implicit_tls=True, start_tls=False),
            ),
            (
                "smtp://localhost:25?tls=false",
                env.MailServer("localhost", 25, "", "", implicit_tls=False, start_tls=False),
            ),
            (
                "smtp://mail.example?tls=true",
                env.MailServer("mail.example", 587, "", "", implicit_tls=False, start_tls=True),
            ),
        ],
    )
    def test_addresses(
        self, monkeypatch: pytest.MonkeyPatch, value: str, expected: env.MailServer
    ) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.mail_server(NAME) == expected

    def test_unset_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "")
        assert env.mail_server(NAME) is None

    @pytest.mark.parametrize(
        "value",
        [
            "hush",
            "http://u:hush@mail.example",
            "smtp://u:hush@",
            "smtp://u:hush@mail.example:x",
            "smtp://u:hush@mail.example:0",
            "smtp://u:hush@mail.example:70000",
            "smtp://u:hush@mail.example/path",
            "smtp://u:hush@mail.example#x",
            "smtp://u:hush@mail.example?tls=perhaps",
            "smtp://u:hush@mail.example?starttls=true",
            "smtp://u:hush@mail.example?tls",
            "smtp://hush@mail.example",
            "smtp://u:hush@[mail",
            "smtp://u:hush@a b",
        ],
    )
    def test_anything_else_is_named_but_not_repeated(
        self, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match=NAME) as caught:
            env.mail_server(NAME)
        assert "hush" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        "value", ["smtp://mail.example?tls=false", "smtps://localhost?tls=false"]
    )
    def test_without_tls_only_on_this_machine(
        self, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match="on this machine"):
            env.mail_server(NAME)

    def test_it_does_not_show_its_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "smtp://u:hush@mail.example")
        assert "hush" not in repr(env.mail_server(NAME))


class MailboxTests:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("a@example.com", "a@example.com"),
            ("Acme Search <a@example.com>", "Acme Search <a@example.com>"),
            ("a@[127.0.0.1]", "a@[127.0.0.1]"),
        ],
    )
    def test_addresses(self, monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
        monkeypatch.setenv(NAME, value)
        assert env.mailbox(NAME, "x@example.com") == expected

    @pytest.mark.parametrize(
        "value", ["a", "a@", "@b", "a@b, c@d", "a@b\nBcc: c@d", "<>", "a b@c@d", "é@example.com"]
    )
    def test_anything_else_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(NAME, value)
        with pytest.raises(ImproperlyConfigured, match="one e-mail address"):
            env.mailbox(NAME, "x@example.com")
