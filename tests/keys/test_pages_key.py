"""The pages of one API key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from keys.models import ApiKey
from keys.services.rotation import rotate_api_key
from keys.usage import Position, Use, record_usage
from orgs.models import PrincipalType
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key
from tests.pages import Browser


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


@pytest.fixture
def key(cast: Cast) -> ApiKey:
    return make_key(cast.project, name="import <1>")[0]


def page(key: ApiKey, part: str = "") -> str:
    return f"/projects/{key.project_id}/keys/{key.pk}/{part}"


def filled(key: ApiKey, **changes: Any) -> dict[str, Any]:
    usual = {"roles": ["ProjectEditor"], "access": "read_write", "namespaces": "", "networks": ""}
    return {"version": key.version, "name": key.name, **usual, **changes}


class KeyTests:
    def test_shows_who_uses_it_and_never_its_secret(self, alice: Browser, cast: Cast) -> None:
        key, secret = make_key(cast.project, name="import <1>")
        use = Use(
            at=timezone.now(),
            key_id=key.pk,
            secret=key.current_secret.lookup_id,
            plane="data",
            operation="Query",
            index_id=None,
            address="192.0.2.7",
            client="curl <8>",
            allowed=True,
        )
        assert record_usage([use, use], source="x", before=None, after=Position(1, 1))
        text = alice.get(page(key)).content.decode()
        for part in ("import &lt;1&gt;", "192.0.2.7", "curl &lt;8&gt;", "Query", "ProjectEditor"):
            assert part in text
        assert secret[16:] not in text

    def test_an_old_secret_can_be_ended(self, alice: Browser, key: ApiKey) -> None:
        rotate_api_key(actor=SYSTEM, key_id=key.pk, overlap=timedelta(hours=1))
        assert b"Old secret" in alice.get(page(key)).content
        assert alice.post(page(key, "end-old-secret/")).status_code == 302
        assert b"Old secret" not in alice.get(page(key)).content
        assert alice.post(page(key, "end-old-secret/")).status_code == 302

    def test_off_and_on_again(self, alice: Browser, key: ApiKey) -> None:
        alice.post(page(key, "switch/"))
        key.refresh_from_db()
        assert key.disabled_at is not None
        assert b"Switch on" in alice.get(page(key)).content
        alice.post(page(key, "switch/"), {"on": "1"})
        key.refresh_from_db()
        assert key.disabled_at is None

    def test_others_can_not(self, cast: Cast, key: ApiKey) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.PROJECT_MANAGER,
            resource_id=cast.project.pk,
        )
        for part in ("switch/", "end-old-secret/"):
            assert Browser(cast.bob).post(page(key, part)).status_code == 403
            assert Browser(cast.charlie).post(page(key, part)).status_code == 404
        assert b"Danger zone" not in Browser(cast.bob).get(page(key)).content

    def test_a_revoked_one_and_one_of_another_project_are_gone(
        self, alice: Browser, cast: Cast, key: ApiKey
    ) -> None:
        theirs = make_key(cast.other_project)[0]
        foreign = f"/projects/{cast.project.pk}/keys/{theirs.pk}/"
        assert alice.get(foreign).status_code == 404
        assert alice.post(f"{foreign}switch/").status_code == 404
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
        assert alice.get(page(key)).status_code == 404


class EditTests:
    def test_name_roles_and_limits(self, alice: Browser, key: ApiKey) -> None:
        form = filled(
            key, name="reader", roles=["ProjectViewer"], access="read_only", namespaces="a\nb"
        )
        assert alice.post(page(key, "edit/"), form).status_code == 302
        key.refresh_from_db()
        assert (key.name, key.access, key.namespaces) == ("reader", "read_only", ["a", "b"])
        text = alice.get(page(key)).content.decode()
        assert "ProjectViewer" in text
        stale = alice.post(page(key, "edit/"), form)
        assert stale.status_code == 422
        assert b"Somebody has changed this key" in stale.content

    def test_the_form_shows_what_is(self, alice: Browser, key: ApiKey) -> None:
        ApiKey.objects.update(namespaces=["", "b"], allowed_ips=["192.0.2.0/24"])
        text = alice.get(page(key, "edit/")).content.decode()
        assert "__default__\nb</textarea>" in text
        assert "192.0.2.0/24</textarea>" in text
        alice.post(page(key, "edit/"), filled(key, namespaces="__default__\nb"))
        key.refresh_from_db()
        assert key.namespaces == ["", "b"]

    @pytest.mark.parametrize(
        "changes",
        [{"name": ""}, {"roles": []}, {"networks": "everywhere"}, {"roles": ["OrgOwner"]}],
    )
    def test_what_can_not_be(self, alice: Browser, key: ApiKey, changes: dict[str, Any]) -> None:
        assert alice.post(page(key, "edit/"), filled(key, **changes)).status_code == 422
        before = key.version
        key.refresh_from_db()
        assert key.version == before


class ListTests:
    def test_finds_and_pages(self, alice: Browser, cast: Cast) -> None:
        for number in range(52):
            make_key(cast.project, name=f"job {number:02}")
        path = f"/projects/{cast.project.pk}/keys/"
        assert b"Page 1 of 2" in alice.get(path).content
        found = alice.get(path, {"q": "JOB 07"}).content.decode()
        assert "job 07" in found
        assert "job 08" not in found
        assert b"No key of that name" in alice.get(path, {"q": "\0none"}).content
