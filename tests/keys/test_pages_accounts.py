"""The pages of service accounts."""

from __future__ import annotations

import pytest

from keys.models import ServiceAccount
from orgs.models import PrincipalType, RoleBinding
from tests.cast import Cast
from tests.factories import make_service_account
from tests.pages import Browser


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


@pytest.fixture
def account(cast: Cast) -> ServiceAccount:
    return make_service_account(cast.organization)[0]


def page(cast: Cast, part: str = "") -> str:
    return f"/organizations/{cast.organization.pk}/service-accounts/{part}"


class AccountTests:
    def test_from_nothing_to_a_secret_and_a_role(self, alice: Browser, cast: Cast) -> None:
        assert b"No service account yet" in alice.get(page(cast)).content
        made = alice.post(page(cast, "create/"), {"name": "terraform <1>"})
        assert made.status_code == 200
        assert "no-store" in made["Cache-Control"]
        account = ServiceAccount.objects.get()
        text = made.content.decode()
        assert "tmrk_sas_" in text
        assert f"client_id={account.client_id}" in text
        grant = f"/organizations/{cast.organization.pk}/roles/grants/service_account/{account.pk}/"
        form = {"resource": str(cast.project.pk), "role": "ProjectViewer"}
        assert alice.post(grant, form)["Location"] == page(cast, f"{account.pk}/")
        shown = alice.get(page(cast, f"{account.pk}/")).content.decode()
        for part in ("terraform &lt;1&gt;", "ProjectViewer", "never"):
            assert part in shown
        secret = text.partition("client_secret=")[2].partition("<")[0].strip()
        assert secret not in shown
        row = RoleBinding.objects.get(principal_type=PrincipalType.SERVICE_ACCOUNT)
        assert row.role == "ProjectViewer"

    @pytest.mark.parametrize("name", ["", "x" * 81, "a\u202eb"])
    def test_a_name_that_can_not_be(self, alice: Browser, cast: Cast, name: str) -> None:
        answer = alice.post(page(cast, "create/"), {"name": name})
        assert answer.status_code == 422
        assert "id_name_error" in answer.content.decode()
        assert not ServiceAccount.objects.exists()

    def test_a_new_secret_beside_the_old_one_and_its_end(
        self, alice: Browser, cast: Cast, account: ServiceAccount
    ) -> None:
        answer = alice.post(page(cast, f"{account.pk}/rotate/"), {"hours": "24"})
        assert "tmrk_sas_" in answer.content.decode()
        assert account.secrets.count() == 2
        old = account.secrets.exclude(expires_at=None).get()
        end = page(cast, f"{account.pk}/secrets/{old.pk}/end/")
        assert Browser(cast.bob).post(end).status_code == 403
        assert Browser(cast.charlie).post(end).status_code == 404
        alice.post(end)
        assert account.secrets.count() == 1
        assert alice.post(end).status_code == 404
        assert alice.post(page(cast, f"{account.pk}/rotate/"), {"hours": "x"}).status_code == 422

    def test_renaming_and_deleting(
        self, alice: Browser, cast: Cast, account: ServiceAccount
    ) -> None:
        alice.post(page(cast, f"{account.pk}/"), {"name": "other"})
        account.refresh_from_db()
        assert account.name == "other"
        delete = page(cast, f"{account.pk}/delete/")
        assert alice.post(delete, {"confirm": "robot"}).status_code == 422
        assert alice.post(delete, {"confirm": "other"}).status_code == 302
        assert not ServiceAccount.objects.exists()

    def test_one_of_another_organization_is_out_of_reach(self, alice: Browser, cast: Cast) -> None:
        theirs = make_service_account(cast.other_organization)[0]
        assert alice.get(page(cast, f"{theirs.pk}/")).status_code == 404
        grant = f"/organizations/{cast.organization.pk}/roles/grants/service_account/{theirs.pk}/"
        assert alice.get(grant).status_code == 404
        path = f"/organizations/{cast.other_organization.pk}/service-accounts/{theirs.pk}/"
        assert alice.get(path).status_code == 404
