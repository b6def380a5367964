"""A POST with an `Idempotency-Key` happens once, whatever happens to its answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.urls import include, path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from indexes.models import Index
from kms.envelope import KeyUnavailable
from orgs.api.base import OrganizationView
from orgs.errors import AlreadyExists
from orgs.models import Group
from orgs.services.organizations import create_organization
from rest import idempotency
from rest.idempotency import KEPT_FOR, claim, recall
from rest.models import Reply
from rest.serializers import Input
from rest.tasks import forget_replies
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.pages import Browser, hidden_value


class NewThing(Input):
    name = serializers.CharField(max_length=20, required=False)


class Things(OrganizationView):
    """Makes a group; the answer holds something that is shown once."""

    started = threading.Event()
    go_on = threading.Event()

    def post(self, request: Request) -> Response:
        name = self.body(NewThing).get("name", "")
        made = Group.objects.create(organization_id=self.organization_id, name=name)
        if name == "taken":
            raise AlreadyExists("taken")
        if name == "bug":
            raise RuntimeError("bug")
        if name == "slow":
            self.started.set()
            assert self.go_on.wait(30)
        return self.answer({"id": str(made.pk), "secret": f"s3cret-{made.pk.hex}"}, 201, version=1)


class Empty(OrganizationView):
    def post(self, request: Request) -> Response:
        Group.objects.create(organization_id=self.organization_id, name="empty")
        return self.answer(None, 202)


urlpatterns = [
    path("admin/things", Things.as_view()),
    path("admin/others", Things.as_view()),
    path("admin/empty", Empty.as_view()),
    path("", include("controlplane.urls")),
]
handler500 = "controlplane.errors.server_error"

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice, raise_request_exception=False)


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    yield
    Things.go_on.set()
    Things.started.clear()
    Things.go_on.clear()


def send(
    browser: Browser,
    body: object = None,
    key: str | None = "k-1",
    path: str = "things",
    **more: str,
) -> Any:
    headers = {**more, **({} if key is None else {"idempotency-key": key})}
    return browser.post(
        f"/admin/{path}", body or {"name": "a"}, content_type="application/json", headers=headers
    )


class ReplayTests:
    def test_the_answer_comes_again_with_its_secret(self, alice: Browser) -> None:
        first, again = send(alice), send(alice)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content
        assert "s3cret-" in again.json()["secret"]
        assert again["ETag"] == first["ETag"] == '"1"'
        assert again["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first
        assert again["Cache-Control"] == "no-store"
        assert again["X-Request-Id"] != first["X-Request-Id"]
        assert Group.objects.count() == 1

    def test_a_session_with_its_csrf_token_is_as_good(self, cast: Cast) -> None:
        browser = Browser(cast.alice, enforce_csrf_checks=True)
        page = browser.get("/accounts/password/change/").content
        token = hidden_value(page, "csrfmiddlewaretoken")
        more = {"x-csrftoken": token, "origin": settings.TAMARACK_PUBLIC_URL}
        first, again = send(browser, **more), send(browser, **more)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content

    def test_without_a_key_it_happens_again(self, alice: Browser) -> None:
        send(alice, {"name": "a"}, key=None)
        send(alice, {"name": "b"}, key=None)
        assert (Group.objects.count(), Reply.objects.count()) == (2, 0)

    def test_another_key_is_another_request(self, alice: Browser) -> None:
        send(alice, {"name": "a"}, "k-1")
        send(alice, {"name": "b"}, "k-2")
        assert Group.objects.count() == 2

    def test_an_answer_without_a_body_comes_again(self, alice: Browser) -> None:
        first, again = send(alice, path="empty"), send(alice, path="empty")
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert (again.status_code, again.content) == (202, b"")
        assert Group.objects.count() == 1

    @pytest.mark.parametrize("body", [{"name": "b"}, {"name": "a "}])
    def test_the_same_key_with_another_body_is_422(self, alice: Browser, body: object) -> None:
        send(alice)
        answer = send(alice, body)
        assert answer.status_code == 422
        assert "another body" in answer.json()["error"]["message"]
        assert Group.objects.count() == 1

    def test_the_same_key_for_another_organization_is_422_or_its_own(
        self, cast: Cast, alice: Browser
    ) -> None:
        other = create_organization(actor=SYSTEM, name="Second", owner=cast.alice)
        for pk in (cast.organization.pk, other.pk):
            answer = send(alice, **{"tamarack-organization": str(pk)})
            assert answer.status_code == 201
            assert "Idempotency-Replayed" not in answer
        assert {group.organization_id for group in Group.objects.all()} == {
            cast.organization.pk,
            other.pk,
        }

    def test_keys_of_two_callers_have_nothing_to_do_with_each_other(
        self, cast: Cast, alice: Browser
    ) -> None:
        mine = send(alice).json()
        theirs = send(Browser(cast.charlie))
        assert theirs.status_code == 201
        assert theirs.json()["secret"] != mine["secret"]

    def test_keys_of_two_paths_have_nothing_to_do_with_each_other(self, alice: Browser) -> None:
        send(alice, {"name": "a"})
        assert "Idempotency-Replayed" not in send(alice, {"name": "b"}, path="others")

    def test_an_index_without_a_name_is_made_once(self, cast: Cast) -> None:
        schema = {"fields": {"_sparse_values": {"type": "sparse_vector"}}}
        headers = {"api-key": cast.key, "idempotency-key": "k-1"}
        first, again = (
            Browser().post("/indexes", {"schema": schema}, "application/json", headers=headers)
            for _ in range(2)
        )
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["name"] == again.json()["name"]
        assert Index.objects.count() == 1

    def test_nobody_gets_no_answer_of_somebody_else(self, alice: Browser) -> None:
        send(alice)
        assert send(Browser()).status_code == 401

    @pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\tb"])
    def test_a_malformed_key_is_400(self, alice: Browser, key: str) -> None:
        answer = send(alice, key=key)
        assert answer.status_code == 400
        assert "1 to 255 visible ASCII" in answer.json()["error"]["message"]
        assert Group.objects.count() == 0

    def test_the_longest_key_works(self, alice: Browser) -> None:
        assert send(alice, key="~" * 255).status_code == 201

    def test_a_huge_body_is_413_with_a_key_too(self, alice: Browser) -> None:
        assert send(alice, {"name": "x" * 65_536}).status_code == 413


class RefusalTests:
    def test_refusals_are_not_kept(self, alice: Browser) -> None:
        assert send(alice, {"name": "taken"}).status_code == 409
        assert (Group.objects.count(), Reply.objects.count()) == (0, 0)
        assert send(alice, {"name": "a"}).status_code == 201

    def test_failures_are_not_kept(self, alice: Browser) -> None:
        assert send(alice, {"name": "bug"}).status_code == 500
        assert (Group.objects.count(), Reply.objects.count()) == (0, 0)

    def test_a_change_whose_answer_cannot_be_kept_does_not_happen(
        self, alice: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise KeyUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(idempotency, "keep", fail)
            assert send(alice).status_code == 503
        assert (Group.objects.count(), Reply.objects.count()) == (0, 0)
        assert send(alice).status_code == 201


class StoringTests:
    def test_nothing_of_the_answer_stands_in_the_row(self, alice: Browser) -> None:
        body = send(alice).json()
        row = Reply.objects.get()
        stored = f"{row.scope} {row.request} {row.wrapped_key} {row.wrapped_answer}"
        for text in ("s3cret", body["secret"], body["id"], "k-1"):
            assert text not in stored

    def test_equal_answers_have_nothing_in_common(self, alice: Browser) -> None:
        send(alice, key="k-1", path="empty")
        with transaction.atomic():
            Group.objects.all().delete()
        send(alice, key="k-2", path="empty")
        first, second = Reply.objects.order_by("pk")
        assert first.wrapped_key != second.wrapped_key
        assert first.wrapped_answer != second.wrapped_answer

    def test_an_answer_moved_to_another_row_does_not_open(self, alice: Browser) -> None:
        send(alice, {"name": "a"}, "k-1")
        send(alice, {"name": "b"}, "k-2")
        first, second = Reply.objects.order_by("pk")
        second.wrapped_key, second.wrapped_answer = first.wrapped_key, first.wrapped_answer
        second.save()
        with pytest.raises(KeyUnavailable):
            recall(second)
        assert send(alice, {"name": "b"}, "k-2").status_code == 503

    def test_after_ten_minutes_it_is_a_new_request(self, alice: Browser) -> None:
        first = send(alice, path="empty")
        Group.objects.all().delete()
        row = Reply.objects.get()
        assert timezone.now() + timedelta(minutes=9) < row.expires_at
        assert row.expires_at <= timezone.now() + KEPT_FOR
        Reply.objects.update(expires_at=timezone.now())
        again = send(alice, path="empty")
        assert "Idempotency-Replayed" not in again
        assert first.status_code == again.status_code
        assert Reply.objects.count() == 1

    def test_expired_answers_are_deleted_and_only_those(self, alice: Browser) -> None:
        send(alice, {"name": "a"}, "k-1")
        Reply.objects.update(expires_at=timezone.now())
        send(alice, {"name": "b"}, "k-2")
        kept = Reply.objects.get(expires_at__gt=timezone.now()).pk
        forget_replies()
        forget_replies()
        assert [row.pk for row in Reply.objects.all()] == [kept]


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_of_many_at_once_one_happens(self, cast: Cast) -> None:
        browsers = [Browser(cast.alice) for _ in range(8)]

        def one(browser: Browser) -> Any:
            try:
                return send(browser)
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(one, browsers))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert sum("Idempotency-Replayed" in answer for answer in answers) == 7
        assert Group.objects.count() == 1

    def test_whoever_waits_too_long_gets_409_and_may_come_again(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("SQLite has one writer at a time: the second request waits for all of them")
        monkeypatch.setattr(idempotency, "WAIT_SECONDS", 1)

        def slow() -> Any:
            try:
                return send(Browser(cast.alice), {"name": "slow"})
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(slow)
            assert Things.started.wait(10)
            second = send(Browser(cast.alice), {"name": "slow"})
            assert second.status_code == 409
            assert second["Retry-After"] == "1"
            assert "still being carried out" in second.json()["error"]["message"]
            Things.go_on.set()
            assert first.result().status_code == 201
        assert send(Browser(cast.alice), {"name": "slow"})["Idempotency-Replayed"] == "true"
        assert Group.objects.count() == 1

    def test_the_bound_ends_with_the_claim(self, cast: Cast) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("PostgreSQL's setting")
        with transaction.atomic(), connection.cursor() as cursor:
            claim(scope="s", request=b"r", key="k")
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)
