"""Mail from the row to the mailbox, over real SMTP."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core import mail as django_mail
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, transaction
from django.utils import timezone

from controlplane import env
from orgs import delivery, mail
from orgs.errors import InvalidArgument
from orgs.models import OutgoingMail
from orgs.tasks import deliver_due_mail, deliver_mail, forget_old_mail
from tests.orgs.mail_server import (
    PASSWORD,
    USER,
    Mailroom,
    free_port,
    make_certificate,
    serving,
)

SECRET = "https://localhost:8443/accounts/password/reset/key/s3cret-link/"


def send(to: str = "alice@example.com", **changes: Any) -> OutgoingMail:
    return mail.send(**{"to": to, "subject": "Hello", "text": f"Go to {SECRET}\n", **changes})


def due_now(row: OutgoingMail) -> None:
    """Let the time of its next attempt come."""
    OutgoingMail.objects.filter(pk=row.pk).update(next_attempt_at=timezone.now())


@pytest.fixture
def use(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Deliver to the server at that address, as `controlplane.settings` would."""

    def configure(url: str) -> None:
        monkeypatch.setenv("MAIL_UNDER_TEST", url)
        server = env.mail_server("MAIL_UNDER_TEST")
        assert server is not None
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.host, server.port
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = server.user, server.password
        settings.EMAIL_USE_SSL, settings.EMAIL_USE_TLS = server.implicit_tls, server.start_tls
        settings.EMAIL_TIMEOUT = 5

    return configure


@pytest.fixture
def room(use: Any) -> Iterator[Mailroom]:
    """A server on this machine that takes everything."""
    with serving() as (found, port):
        use(f"smtp://127.0.0.1:{port}?tls=false")
        yield found


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The server's certificate, which this machine trusts."""
    made = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
    return made


class SendTests:
    def test_nothing_leaves_before_the_change_is_committed(self, db: None, room: Mailroom) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            send()
            raise ZeroDivisionError
        deliver_due_mail()
        assert room.received == []
        assert not OutgoingMail.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_a_queue_that_does_not_answer_holds_nothing_up(
        self, caplog: pytest.LogCaptureFixture, without_queue: Callable[[Any], None]
    ) -> None:
        without_queue(deliver_mail)
        row = send()
        assert "The queue does not answer" in caplog.text
        assert delivery.due() == [row.pk]

    @pytest.mark.parametrize("to", ["", "x", "a@b\nBcc: c@example.com", "a" * 250 + "@example.com"])
    def test_what_is_no_address_is_refused(self, db: None, to: str) -> None:
        with pytest.raises(InvalidArgument):
            send(to)

    def test_a_subject_is_one_line(self, db: None, room: Mailroom) -> None:
        row = send(subject="Hello\r\nBcc: eve@example.com\n" + "x" * 300)
        delivery.deliver(row.pk)
        (message,) = room.received
        assert message["Bcc"] is None
        assert str(message["Subject"]).startswith("Hello Bcc: eve@example.com xxx")


class DeliveryTests:
    def test_it_arrives_and_its_body_is_forgotten(self, db: None, room: Mailroom) -> None:
        row = send(html="<p>Hello</p>")
        deliver_mail(str(row.pk))
        (message,) = room.received
        assert message["To"] == "alice@example.com"
        assert message["From"] == "Tamarack <tamarack@localhost>"
        assert message["Message-ID"] == f"<{row.pk}@localhost>"
        assert message["Auto-Submitted"] == "auto-generated"
        plain, html = message.iter_parts()
        assert SECRET in plain.get_content()
        assert "<p>Hello</p>" in html.get_content()
        row.refresh_from_db()
        assert row.sent_at is not None
        assert (row.text, row.html, row.error, row.attempts) == ("", "", "", 1)

    def test_two_tasks_for_one_message_deliver_it_once(self, db: None, room: Mailroom) -> None:
        row = send()
        for _ in range(3):
            deliver_mail(str(row.pk))
        deliver_due_mail()
        assert len(room.received) == 1

    def test_while_somebody_is_at_it_nobody_else_is(self, db: None, room: Mailroom) -> None:
        row = send()
        OutgoingMail.objects.filter(pk=row.pk).update(
            next_attempt_at=timezone.now() + delivery.LEASE, attempts=1
        )
        deliver_mail(str(row.pk))
        assert room.received == []
        due_now(row)  # the worker died: its lease ran out
        deliver_mail(str(row.pk))
        assert len(room.received) == 1

    def test_who_dies_after_the_servers_yes_delivers_again_under_the_same_name(
        self, db: None, room: Mailroom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row, send_for_real = send(), EmailMultiAlternatives.send

        def send_and_die(message: EmailMultiAlternatives) -> int:
            send_for_real(message)
            raise KeyboardInterrupt

        monkeypatch.setattr(EmailMultiAlternatives, "send", send_and_die)
        with pytest.raises(KeyboardInterrupt):
            deliver_mail(str(row.pk))
        monkeypatch.undo()
        deliver_mail(str(row.pk))
        assert len(room.received) == 1  # its lease still runs
        due_now(row)
        deliver_mail(str(row.pk))
        assert [message["Message-ID"] for message in room.received] == [
            f"<{row.pk}@localhost>",
            f"<{row.pk}@localhost>",
        ]
        row.refresh_from_db()
        assert (row.attempts, row.text) == (2, "")

    def test_a_slow_worker_does_not_undo_what_a_later_one_did(
        self, db: None, room: Mailroom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row, send_for_real = send(), EmailMultiAlternatives.send

        def outrun(message: EmailMultiAlternatives) -> int:
            monkeypatch.setattr(EmailMultiAlternatives, "send", send_for_real)
            due_now(row)
            deliver_mail(str(row.pk))  # another worker, after the lease ran out
            raise TimeoutError

        monkeypatch.setattr(EmailMultiAlternatives, "send", outrun)
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.sent_at is not None
        assert (row.next_attempt_at, row.error, row.text) == (None, "", "")

    def test_a_task_for_an_absent_message_does_nothing(self, db: None) -> None:
        deliver_mail("0b0e0a3e-0000-4000-8000-000000000000")

    def test_an_expired_message_is_not_delivered_and_forgotten(
        self, db: None, room: Mailroom
    ) -> None:
        row = send(lifetime=timedelta(seconds=-1))
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert (row.text, row.next_attempt_at, row.sent_at) == ("", None, None)
        assert "expired" in row.error
        assert room.received == []

    def test_what_is_due_is_taken_in_turn(self, db: None) -> None:
        rows = [send() for _ in range(3)]
        OutgoingMail.objects.filter(pk=rows[2].pk).update(
            next_attempt_at=timezone.now() - timedelta(hours=1)
        )
        assert delivery.due()[0] == rows[2].pk
        OutgoingMail.objects.filter(pk=rows[0].pk).update(
            next_attempt_at=timezone.now() + timedelta(hours=1)
        )
        assert set(delivery.due()) == {rows[1].pk, rows[2].pk}


class FailureTests:
    def test_a_busy_server_is_asked_again_later_and_later(self, db: None, room: Mailroom) -> None:
        row = send()
        room.replies = ["451 Try again", "421 Busy", "554 No"]
        waits = []
        for attempt in (1, 2, 3):
            due_now(row)
            before = timezone.now()
            deliver_mail(str(row.pk))
            row.refresh_from_db()
            assert row.attempts == attempt
            assert row.next_attempt_at is not None
            waits.append(round((row.next_attempt_at - before).total_seconds()))
        assert waits == [15, 30, 60]
        assert row.error.startswith("SMTPDataError")
        due_now(row)
        deliver_mail(str(row.pk))
        assert len(room.received) == 1

    def test_the_wait_ends_at_half_an_hour(self, db: None, use: Any) -> None:
        use(f"smtp://127.0.0.1:{free_port()}?tls=false")
        row = send()
        OutgoingMail.objects.filter(pk=row.pk).update(attempts=1000)
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.next_attempt_at is not None
        assert row.next_attempt_at <= timezone.now() + delivery.LONGEST_WAIT

    def test_no_server_is_no_loss(self, db: None, use: Any) -> None:
        use(f"smtp://127.0.0.1:{free_port()}?tls=false")
        row = send()
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == "ConnectionRefusedError"
        assert SECRET in row.text

    def test_a_server_that_says_nothing_does_not_hold_a_worker(
        self, db: None, use: Any, settings: Any
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            use(f"smtp://127.0.0.1:{silent.getsockname()[1]}?tls=false")
            settings.EMAIL_TIMEOUT = 0.2
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error in {"TimeoutError", "SMTPServerDisconnected"}
        assert row.next_attempt_at is not None

    def test_a_refused_recipient_is_not_tried_again(self, db: None, room: Mailroom) -> None:
        room.refused_recipient = "550 No such mailbox: alice@example.com"
        row = send()
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert (row.text, row.next_attempt_at, row.error) == ("", None, "SMTPRecipientsRefused")

    def test_one_put_off_for_now_is(self, db: None, room: Mailroom) -> None:
        room.refused_recipient = "450 Greylisted"
        row = send()
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.next_attempt_at is not None

    def test_no_body_and_no_answer_reaches_a_log(
        self, db: None, room: Mailroom, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        room.replies = [f"554 I do not like {SECRET}"]
        row = send()
        deliver_mail(str(row.pk))
        deliver_mail(str(row.pk))
        ours = "\n".join(each.getMessage() for each in caplog.records if each.name != "mail.log")
        assert str(row.pk) in ours
        assert "s3cret" not in ours
        assert "alice@example.com" not in ours


class EncryptedTests:
    USER = f"{USER}:{quote(PASSWORD, safe='')}"

    def test_starttls_and_a_password(
        self, db: None, use: Any, certificate: tuple[Path, Path]
    ) -> None:
        with serving(certificate=certificate) as (room, port):
            use(f"smtp://{self.USER}@localhost:{port}")
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == ""
        assert room.connections_with_tls == [True]

    def test_tls_from_the_first_byte(
        self, db: None, use: Any, certificate: tuple[Path, Path]
    ) -> None:
        with serving(certificate=certificate, implicit_tls=True) as (room, port):
            use(f"smtps://{self.USER}@localhost:{port}")
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == ""
        assert len(room.received) == 1

    def test_a_wrong_password_is_noted_without_it(
        self, db: None, use: Any, certificate: tuple[Path, Path]
    ) -> None:
        with serving(certificate=certificate) as (room, port):
            use(f"smtp://{USER}:wrong@localhost:{port}")
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == "SMTPAuthenticationError 535"
        assert row.next_attempt_at is not None  # the operator can mend it
        assert room.received == []

    def test_a_server_that_nobody_vouches_for_gets_nothing(
        self, db: None, use: Any, tmp_path: Path
    ) -> None:
        with serving(certificate=make_certificate(tmp_path)) as (room, port):
            use(f"smtp://{self.USER}@localhost:{port}")
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == "SSLCertVerificationError"
        assert room.received == []

    def test_nor_does_one_with_the_certificate_of_another(
        self, db: None, use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = make_certificate(tmp_path, "elsewhere.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
        with serving(certificate=made) as (room, port):
            use(f"smtp://{self.USER}@localhost:{port}")
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == "SSLCertVerificationError"
        assert room.received == []

    def test_a_server_without_tls_gets_nothing(self, db: None, use: Any) -> None:
        with serving() as (room, port):
            use(f"smtp://localhost:{port}")
            row = send()
            deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert room.received == []
        assert row.sent_at is None


class FolderTests:
    @pytest.fixture
    def folder(self, settings: Any, tmp_path: Path) -> Path:
        settings.EMAIL_BACKEND = "orgs.mail_folder.FolderBackend"
        settings.TAMARACK_MAIL_FOLDER = tmp_path / "mail"
        found: Path = settings.TAMARACK_MAIL_FOLDER
        return found

    def test_without_a_server_only_the_operator_can_read_it(self, db: None, folder: Path) -> None:
        deliver_mail(str(send().pk))
        (file,) = folder.iterdir()
        assert file.suffix == ".eml"
        assert SECRET in file.read_text()
        assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)

    def test_a_folder_that_can_not_be_written_is_tried_again(self, db: None, folder: Path) -> None:
        folder.write_text("in the way")
        row = send()
        deliver_mail(str(row.pk))
        row.refresh_from_db()
        assert row.error == "FileExistsError"
        assert row.next_attempt_at is not None

    def test_old_files_and_rows_go(self, db: None, folder: Path) -> None:
        rows = [send() for _ in range(3)]
        for row in rows[:2]:
            deliver_mail(str(row.pk))
        old = timezone.now() - delivery.KEEP - timedelta(hours=1)
        OutgoingMail.objects.exclude(pk=rows[1].pk).update(created_at=old)
        (gone,) = folder.glob(f"*{rows[0].pk}.eml")
        os.utime(gone, (old.timestamp(), old.timestamp()))
        forget_old_mail()
        assert set(OutgoingMail.objects.all()) == {rows[1], rows[2]}  # one is still to be delivered
        assert not gone.exists()
        assert len(list(folder.iterdir())) == 1


class RowTests:
    def test_what_is_over_keeps_no_body(self, db: None) -> None:
        row = send()
        with pytest.raises(IntegrityError, match="over_without_body"), transaction.atomic():
            OutgoingMail.objects.filter(pk=row.pk).update(next_attempt_at=None)

    def test_what_is_delivered_is_over(self, db: None) -> None:
        row = send()
        with pytest.raises(IntegrityError, match="sent_is_over"), transaction.atomic():
            OutgoingMail.objects.filter(pk=row.pk).update(sent_at=timezone.now())

    def test_a_pretended_message_never_leaves(self, db: None) -> None:
        mail.pretend()
        deliver_due_mail()
        deliver_mail(str(OutgoingMail.objects.get().pk))
        assert django_mail.outbox == []
