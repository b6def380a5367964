"""The pages of webhooks and log streams."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from audit.models import Stream
from orgs.services.audit import create_stream
from tests.cast import Cast
from tests.pages import Browser

WEBHOOK = {"name": "SIEM <1>", "url": "https://siem.example.com/events?token=abc"}
S3 = {
    "name": "Archive",
    "endpoint": "https://s3.example.com",
    "bucket": "audit-log",
    "region": "us-east-1",
    "prefix": "acme/",
    "access_key_id": "AKIA123",
    "secret": "s3cr3t/key",
}
SYSLOG = {"name": "Collector", "host": "logs.example.com", "port": "6514", "tls": "on"}


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


@pytest.fixture
def stream(cast: Cast) -> Stream:
    return create_stream(
        actor=cast.actor(cast.alice),
        organization_id=cast.organization.pk,
        name="SIEM",
        kind=Stream.Kind.WEBHOOK,
        config={"url": "https://siem.example.com/events?token=abc"},
    )[0]


def page(cast: Cast, part: str = "") -> str:
    return f"/organizations/{cast.organization.pk}/streams/{part}"


class CreateTests:
    @pytest.mark.parametrize(
        ("kind", "form"), [("webhook", WEBHOOK), ("s3", S3), ("syslog", SYSLOG)]
    )
    def test_every_kind(self, alice: Browser, cast: Cast, kind: str, form: dict[str, str]) -> None:
        assert b"No stream yet" in alice.get(page(cast)).content
        answer = alice.post(page(cast, f"create/{kind}/"), form)
        text = answer.content.decode()
        assert answer.status_code == 200
        stream = Stream.objects.get()
        assert stream.kind == kind
        assert ("whsec_" in text) == (kind == "webhook")
        assert "no-store" in answer["Cache-Control"]
        listed = alice.get(page(cast)).content.decode()
        assert "delivers" in listed
        for secret in ("whsec_", "s3cr3t", "token=abc"):
            assert secret not in listed

    @pytest.mark.parametrize(
        ("kind", "form", "said"),
        [
            ("webhook", {**WEBHOOK, "url": "http://siem.example.com"}, "id_url_error"),
            ("webhook", {**WEBHOOK, "url": ""}, "id_url_error"),
            ("webhook", {**WEBHOOK, "ca_pem": "nonsense"}, "id_ca_pem_error"),
            ("webhook", {**WEBHOOK, "name": ""}, "id_name_error"),
            ("s3", {**S3, "bucket": "A"}, "id_bucket_error"),
            ("s3", {**S3, "secret": ""}, "id_secret_error"),
            ("syslog", {**SYSLOG, "port": "0"}, "id_port_error"),
            ("syslog", {**SYSLOG, "host": "a b"}, "id_host_error"),
        ],
    )
    def test_what_can_not_be_is_told_beside_its_field(
        self, alice: Browser, cast: Cast, kind: str, form: dict[str, str], said: str
    ) -> None:
        answer = alice.post(page(cast, f"create/{kind}/"), form)
        assert answer.status_code == 422
        text = answer.content.decode()
        assert said in text
        assert "s3cr3t" not in text
        assert not Stream.objects.exists()


class ManageTests:
    def test_pausing_and_going_on(self, alice: Browser, cast: Cast, stream: Stream) -> None:
        path = page(cast, f"{stream.pk}/switch/")
        alice.post(path)
        assert b"paused" in alice.get(page(cast)).content
        alice.post(path, {"on": "1"})
        stream.refresh_from_db()
        assert stream.is_enabled

    def test_a_failure_is_shown(self, alice: Browser, cast: Cast, stream: Stream) -> None:
        Stream.objects.update(failures=3, last_error="<refused>")
        text = alice.get(page(cast)).content.decode()
        assert "3 times: &lt;refused&gt;" in text
        overview = alice.get(f"/organizations/{cast.organization.pk}/").content.decode()
        assert "The stream SIEM does not deliver" in overview

    def test_editing(self, alice: Browser, cast: Cast, stream: Stream) -> None:
        path = page(cast, f"{stream.pk}/edit/")
        form: dict[str, Any] = {
            "name": "New",
            "url": "https://new.example.com/",
            "version": stream.version,
        }
        assert alice.post(path, form).status_code == 302
        stream.refresh_from_db()
        assert (stream.name, stream.config["url"]) == ("New", "https://new.example.com/")
        stale = alice.post(path, form)
        assert stale.status_code == 422
        assert b"Somebody has changed this stream" in stale.content

    def test_a_new_secret_is_shown_once(self, alice: Browser, cast: Cast, stream: Stream) -> None:
        before = stream.wrapped_secret
        answer = alice.post(page(cast, f"{stream.pk}/rotate/"))
        assert "whsec_" in answer.content.decode()
        stream.refresh_from_db()
        assert stream.wrapped_secret != before
        Stream.objects.update(kind="syslog", config={"host": "a", "port": 1, "tls": True})
        assert alice.post(page(cast, f"{stream.pk}/rotate/")).status_code == 302

    def test_deleting_asks_for_the_name(self, alice: Browser, cast: Cast, stream: Stream) -> None:
        path = page(cast, f"{stream.pk}/delete/")
        assert alice.post(path, {"confirm": "siem"}).status_code == 422
        assert alice.post(path, {"confirm": "SIEM"}).status_code == 302
        assert not Stream.objects.exists()

    def test_others_can_not(self, cast: Cast, stream: Stream) -> None:
        for part in ("switch/", "rotate/"):
            path = page(cast, f"{stream.pk}/{part}")
            assert Browser(cast.bob).post(path).status_code == 403
            assert Browser(cast.charlie).post(path).status_code == 404
            theirs = f"/organizations/{cast.other_organization.pk}/streams/{stream.pk}/{part}"
            assert Browser(cast.charlie).post(theirs).status_code == 404
        stale = Browser(cast.alice)
        stale.prove(cast.alice, seconds_ago=7200)
        answer = stale.post(page(cast, f"{stream.pk}/switch/"))
        assert answer["Location"].startswith("/accounts/reauthenticate/")
        stream.refresh_from_db()
        assert stream.is_enabled
        assert stream.created_at < timezone.now()
