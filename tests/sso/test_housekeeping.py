from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from sso import housekeeping
from sso.models import Attempt, Connection, Purpose, SignInRequest, SsoSession, UsedAssertion
from sso.services.attempts import record_attempt
from sso.services.requests import begin
from sso.tasks import forget_sign_ins
from tests.cast import Cast
from tests.pages import Browser
from tests.sso.support import make_connection

DAY = timedelta(days=1)


@pytest.fixture
def acme(cast: Cast) -> Connection:
    return make_connection(cast.organization)


class ForgettingTests:
    def test_is_on_the_schedule(self) -> None:
        assert settings.CELERY_BEAT_SCHEDULE["forget-sign-ins"]["task"] == forget_sign_ins.name

    def test_a_request_goes_a_day_after_its_end_and_its_answer_at_the_end(
        self, acme: Connection
    ) -> None:
        now = timezone.now()
        rows = [begin(acme, Purpose.SIGN_IN).row for _ in range(3)]
        for row, end in zip(rows, (DAY, -DAY / 2, -2 * DAY), strict=True):
            SignInRequest.objects.filter(pk=row.pk).update(expires_at=now + end, answer={"a": 1})
        forget_sign_ins()
        kept = dict(SignInRequest.objects.values_list("pk", "answer"))
        assert kept == {rows[0].pk: {"a": 1}, rows[1].pk: None}

    def test_an_assertion_is_remembered_until_it_is_too_old_to_be_believed(
        self, acme: Connection
    ) -> None:
        now = timezone.now()
        for name, end in (("fresh", DAY), ("just over", timedelta()), ("old", -DAY)):
            UsedAssertion.objects.create(connection=acme, assertion_hash=name, expires_at=now + end)
        forget_sign_ins()
        kept = UsedAssertion.objects.values_list("assertion_hash", flat=True)
        assert set(kept) == {"fresh", "just over"}

    def test_the_log_keeps_90_days(self, acme: Connection) -> None:
        for days in (89, 91):
            line = record_attempt(acme, Purpose.SIGN_IN, "ok", f"{days}")
            Attempt.objects.filter(pk=line.pk).update(created_at=timezone.now() - days * DAY)
        forget_sign_ins()
        assert Attempt.objects.get().reason == "89"

    def test_the_log_of_one_connection_has_an_end(
        self, acme: Connection, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = make_connection(cast.other_organization)
        monkeypatch.setattr(housekeeping, "MAX_ATTEMPTS", 3)
        for number in range(5):
            line = record_attempt(acme, Purpose.SIGN_IN, "ok", f"{number}")
            Attempt.objects.filter(pk=line.pk).update(
                created_at=timezone.now() + timedelta(seconds=number)
            )
        record_attempt(other, Purpose.SIGN_IN, "ok", "other")
        forget_sign_ins()
        kept = set(Attempt.objects.values_list("reason", flat=True))
        assert kept == {"2", "3", "4", "other"}

    def test_a_session_is_known_as_long_as_it_is_there(self, acme: Connection, cast: Cast) -> None:
        browser = Browser(cast.alice)
        for key in (browser.session.session_key, "gone"):
            SsoSession.objects.create(
                connection=acme,
                user=cast.alice,
                session_key=key or "",
                name_id="alice",
                expires_at=timezone.now() + DAY,
            )
        forget_sign_ins()
        assert SsoSession.objects.get().session_key == browser.session.session_key

    def test_twice_is_as_good_as_once(self, acme: Connection) -> None:
        forget_sign_ins()
        forget_sign_ins()
