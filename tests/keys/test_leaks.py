from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any
from typing import cast as cast_to

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from audit.models import AuditEvent
from keys import housekeeping, secrets, tasks
from keys.models import ApiKey, KeyPolicy, LeakReport
from keys.selectors import leaks
from keys.selectors.api_keys import verify_key
from keys.selectors.leaks import responsible_for, secrets_among
from keys.services.api_keys import create_api_key, revoke_api_key, update_api_key
from keys.services.leaks import Leak, report_leaks, set_leak_policy
from keys.services.limits import Limits
from keys.services.rotation import rotate_api_key
from kms.base62 import checksum
from kms.envelope import KeyUnavailable
from orgs.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from orgs.models import Group, GroupMembership, OutgoingMail, PrincipalType
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_member
from tests.keys.test_services import give
from tests.rest.test_limits import rate, valkey  # noqa: F401  fixtures

PATH = "/.well-known/leaked-key"
URL = "https://example.com/paste/1"


def sha256(text: str) -> str:
    """As a reporter would write it."""
    return hashlib.sha256(text.encode()).hexdigest()


def leaked(text: str) -> None:
    """Somebody reports it, and the report is handled."""
    report_leaks(leaks=[Leak(text, URL)], ip="203.0.113.9", request_id="request-1")
    for report in LeakReport.objects.all():
        housekeeping.handle_report(report.pk)


def key_with(cast: Cast, policy: str, **limits: Any) -> tuple[ApiKey, str]:
    """A key with this policy."""
    return create_api_key(
        actor=SYSTEM,
        project=cast.project,
        name="leaky",
        limits=cast_to(Limits, {"leak_policy": policy, **limits}),
    )


class FindTests:
    def test_keys_and_their_hashes_are_found(self, cast: Cast) -> None:
        (first, one), (second, two) = make_key(cast.project), make_key(cast.project)
        found = secrets_among([one, sha256(two), sha256(two).upper()])
        assert found == {
            one: first.current_secret.pk,
            sha256(two): second.current_secret.pk,
            sha256(two).upper(): second.current_secret.pk,
        }

    def test_look_alikes_are_not(self, cast: Cast) -> None:
        body = cast.key[:16] + secrets.generate().text[16:59]
        forged = body + checksum(body)
        texts = [
            secrets.generate().text,
            forged,
            cast.key[:-1],
            cast.key[:15],
            sha256(cast.key)[:-1],
            "",
            "\0",
            "\ud800" * 62,
        ]
        assert secrets_among(texts) == {}

    def test_a_revoked_key_is_no_longer_one(self, cast: Cast) -> None:
        key, text = make_key(cast.project)
        revoke_api_key(actor=SYSTEM, key_id=key.pk)
        assert secrets_among([text, sha256(text)]) == {}

    def test_a_key_from_before_hashes_were_kept_is_found_by_its_text(self, cast: Cast) -> None:
        key, text = make_key(cast.project)
        key.secrets.update(sha256=None)
        assert secrets_among([text, sha256(text)]) == {text: key.current_secret.pk}

    def test_takes_as_many_queries_for_a_hit_as_for_none(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        misses = [secrets.generate().text for _ in range(50)]
        for texts in ([cast.key], [sha256(cast.key)], misses[:1], misses):
            with django_assert_num_queries(3):
                secrets_among(texts)


class PolicyTests:
    def test_an_alert_changes_nothing_and_tells_the_owners(self, cast: Cast) -> None:
        key, text = key_with(cast, "alert")
        leaked(text)
        assert verify_key(text) is not None
        key.refresh_from_db()
        assert key.leak_reported_at is not None
        mail = OutgoingMail.objects.get()
        assert mail.to == "alice@example.com"
        assert "leaky" in mail.subject
        assert "its policy is to tell you only" in mail.text
        assert text not in mail.text
        assert URL not in mail.text

    def test_it_is_in_the_audit_trail(self, cast: Cast) -> None:
        key, text = key_with(cast, "alert")
        leaked(text)
        event = AuditEvent.objects.get(type="api_key.leak_reported")
        assert (event.resource_id, event.ip) == (str(key.pk), "203.0.113.9")
        assert event.detail["found_at"] == URL
        assert (event.detail["leak_policy"], event.request_id) == ("alert", "request-1")
        assert text[16:59] not in repr(list(AuditEvent.objects.values()))

    def test_read_only_takes_writing_away(self, cast: Cast) -> None:
        _, text = key_with(cast, "read_only")
        leaked(text)
        verified = verify_key(text)
        assert verified is not None
        assert verified.grants == {"r"}
        assert "can only read from now on" in OutgoingMail.objects.get().text

    def test_a_key_that_can_only_write_gets_no_right_to_read(self, cast: Cast) -> None:
        key, text = key_with(cast, "read_only", access="write_only")
        leaked(text)
        assert verify_key(text) is None
        key.refresh_from_db()
        assert key.disabled_reason == "It was reported as leaked"

    def test_revoke_revokes(self, cast: Cast) -> None:
        _, text = key_with(cast, "revoke")
        leaked(sha256(text))
        assert verify_key(text) is None
        assert "has been revoked" in OutgoingMail.objects.get().text
        assert AuditEvent.objects.get(type="api_key.revoked").actor_id == "leak-report"

    def test_of_a_rotated_key_only_the_secret_that_leaked_stops(self, cast: Cast) -> None:
        key, old = key_with(cast, "revoke")
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        leaked(old)
        assert verify_key(old) is None
        assert verify_key(new) is not None

    def test_a_secret_that_is_over_has_no_effect(self, cast: Cast) -> None:
        key, old = key_with(cast, "revoke")
        _, new = rotate_api_key(actor=SYSTEM, key_id=key.pk)
        key.secrets.filter(slot="previous").update(expires_at=timezone.now())
        leaked(old)
        assert verify_key(new) is not None
        assert not OutgoingMail.objects.exists()

    def test_the_project_decides_for_keys_that_do_not(self, cast: Cast) -> None:
        silent, own = key_with(cast, ""), key_with(cast, "alert")
        set_leak_policy(
            actor=cast.actor(cast.alice), project_id=cast.project.pk, leak_policy="revoke"
        )
        leaked(silent[1])
        leaked(own[1])
        assert verify_key(silent[1]) is None
        assert verify_key(own[1]) is not None

    def test_owners_are_told_once_a_day(self, cast: Cast) -> None:
        key, text = key_with(cast, "alert")
        for _ in range(3):
            leaked(text)
        assert OutgoingMail.objects.count() == 1
        update_api_key(actor=SYSTEM, key_id=key.pk, limits={"leak_policy": "read_only"})
        leaked(text)
        assert OutgoingMail.objects.count() == 2  # the last report changed something
        ApiKey.objects.update(leak_reported_at=timezone.now() - timedelta(hours=25))
        leaked(text)
        assert OutgoingMail.objects.count() == 3

    def test_a_report_handled_twice_does_it_once(self, cast: Cast) -> None:
        _, text = key_with(cast, "revoke")
        report_leaks(leaks=[Leak(text)], ip="", request_id="")
        report = LeakReport.objects.get()
        for _ in range(2):
            tasks.handle_leak_report(str(report.pk))
        assert not LeakReport.objects.exists()
        assert AuditEvent.objects.filter(type="api_key.revoked").count() == 1

    def test_what_fails_leaves_the_report_for_the_next_time(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, text = key_with(cast, "revoke")
        report_leaks(leaks=[Leak(text)], ip="", request_id="")
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no room"):
            patch.setattr(AuditEvent, "save", broken)
            housekeeping.handle_report(LeakReport.objects.get().pk)
        assert verify_key(text) is not None
        housekeeping.handle_report(LeakReport.objects.get().pk)
        assert verify_key(text) is None


def broken(*_: object, **__: object) -> None:
    raise OSError("no room")


class ResponsibleTests:
    def test_owners_of_project_and_organization_are_told_and_nobody_else(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        assert responsible_for(key) == ["alice@example.com"]
        give(cast, Role.PROJECT_OWNER)
        member = make_member(cast.organization, "member@example.com")
        assert responsible_for(key) == ["alice@example.com", "bob@example.com"]
        team = Group.objects.create(organization=cast.organization, name="team")
        GroupMembership.objects.create(group=team, user=member)
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, team.pk),
            role=Role.PROJECT_OWNER,
            resource_id=cast.project.pk,
        )
        cast.bob.is_active = False
        cast.bob.save()
        assert responsible_for(key) == ["alice@example.com", "member@example.com"]


class SetLeakPolicyTests:
    def test_a_member_gets_403_and_a_stranger_404(self, cast: Cast) -> None:
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(error):
                set_leak_policy(
                    actor=cast.actor(user), project_id=cast.project.pk, leak_policy="revoke"
                )
        assert not KeyPolicy.objects.exists()

    def test_an_unknown_one_is_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="use alert, read_only, revoke"):
            set_leak_policy(actor=SYSTEM, project_id=cast.project.pk, leak_policy="shrug")

    def test_versions_count_changes(self, cast: Cast) -> None:
        seen: list[int] = []
        for policy in ("alert", "revoke", "revoke"):
            set_leak_policy(
                actor=SYSTEM,
                project_id=cast.project.pk,
                leak_policy=policy,
                check=seen.append,
            )
        assert seen == [0, 0, 1]
        assert AuditEvent.objects.filter(type="api_key_policy.updated").count() == 1

        def changed(version: int) -> None:
            raise FailedPrecondition(str(version))

        with pytest.raises(FailedPrecondition, match="1"):
            set_leak_policy(
                actor=SYSTEM, project_id=cast.project.pk, leak_policy="alert", check=changed
            )


class EndpointTests:
    def send(self, body: object, **extra: Any) -> Any:
        return Client(raise_request_exception=False).post(
            PATH,
            body if isinstance(body, (bytes, str)) else json.dumps(body),
            content_type="application/json",
            **extra,
        )

    def test_the_answer_never_tells_whether_there_is_such_a_key(self, cast: Cast) -> None:
        bodies = [
            {"keys": [cast.key]},
            {"keys": [secrets.generate().text]},
            {"keys": [sha256(cast.key)]},
            {"keys": ["nonsense", "x"]},
            [{"token": cast.key, "type": "tamarack_api_key", "url": URL, "source": "content"}],
            [{"token": "nonsense"}],
        ]
        answers = [self.send(body) for body in bodies]
        assert {answer.status_code for answer in answers} == {202}
        assert {answer.content for answer in answers} == {b'{"status":"accepted"}'}
        assert {answer["Cache-Control"] for answer in answers} == {"no-store"}
        assert LeakReport.objects.count() == len(bodies)

    def test_as_many_queries_for_a_hit_as_for_none(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        self.send({"keys": [cast.key]})
        for text in (cast.key, sha256(cast.key), secrets.generate().text, "0" * 64):
            with django_assert_num_queries(6):
                self.send({"keys": [text]})

    def test_what_is_reported_is_handled_after_the_answer(
        self,
        cast: Cast,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        key, text = key_with(cast, "revoke")
        asked: list[tuple[str]] = []
        monkeypatch.setattr(
            tasks.handle_leak_report, "apply_async", lambda args, **_: asked.append(args)
        )
        with django_capture_on_commit_callbacks(execute=True):
            self.send({"keys": [text]})
        assert verify_key(text) is not None
        assert asked == [(str(LeakReport.objects.get().pk),)]
        assert text[16:59] not in repr(asked)
        tasks.handle_leak_report(*asked[0])
        assert verify_key(text) is None
        key.refresh_from_db()
        assert key.revoked_at is not None

    def test_the_secret_is_nowhere_in_the_report(self, cast: Cast) -> None:
        self.send({"keys": [cast.key, sha256(cast.key)]})
        row = repr(LeakReport.objects.values().get())
        assert cast.key[16:59] not in row
        assert sha256(cast.key) not in row

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"{", 422),
            ({}, 400),
            ({"keys": []}, 400),
            ({"keys": "x"}, 400),
            ({"keys": [1]}, 400),
            ({"keys": [None]}, 400),
            ({"keys": [["x"]]}, 400),
            ({"keys": ["x"] * 101}, 400),
            ({"keys": ["x" * 201]}, 400),
            ({"keys": ["x"], "more": 1}, 400),
            ([], 400),
            ([1], 400),
            ([{}], 400),
            ([{"token": 1}], 400),
            ([{"token": ""}], 400),
            ([{"token": "x", "url": 1}], 400),
            ([{"token": "x"}] * 101, 400),
            ("null", 400),
            ("5", 400),
            (b"[" * 5000, 422),
            (b"x" * 70_000, 413),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_bad_reports_are_refused(self, cast: Cast, body: object, status: int) -> None:
        answer = self.send(body)
        assert answer.status_code == status, answer.content
        assert answer.json()["status"] == status
        assert not LeakReport.objects.exists()

    def test_a_refusal_does_not_repeat_the_secret(self, cast: Cast) -> None:
        for body in (
            {"keys": [cast.key, 5]},
            {"keys": [cast.key + "x" * 200]},
            [{"token": [cast.key]}],
        ):
            assert cast.key[16:59] not in self.send(body).content.decode()

    @pytest.mark.usefixtures("rate")
    def test_too_many_from_one_address_are_429(self, db: None) -> None:
        def report(ip: str) -> int:
            return int(self.send({"keys": ["x"]}, headers={"x-forwarded-for": ip}).status_code)

        assert [report("192.0.2.1") for _ in range(11)] == [202] * 10 + [429]
        assert report("192.0.2.2") == 202

    def test_where_no_pepper_opens_it_is_503_for_whatever_is_sent(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unavailable(*_: object) -> bytes:
            raise KeyUnavailable("the key file is gone")

        monkeypatch.setattr(leaks, "pepper_bytes", unavailable)
        answers = [self.send({"keys": [text]}) for text in (cast.key, "nonsense")]
        assert {answer.status_code for answer in answers} == {503}
        assert len({answer.content for answer in answers}) == 1

    def test_a_get_is_405(self, db: None) -> None:
        assert Client().get(PATH).status_code == 405
