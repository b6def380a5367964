"""The pages of roles, demands, plan and settings of an organization."""

from __future__ import annotations

from typing import Any

import pytest

from orgs.models import CustomRole, Organization, PrincipalType, ResourceType, SecurityBaseline
from orgs.services.bindings import bind_role
from orgs.services.roles import create_role
from projects.models import Project
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.pages import Browser


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


@pytest.fixture
def role(cast: Cast) -> CustomRole:
    """A role that Bob holds on the project."""
    made = create_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        name="Searcher",
        resource_type=ResourceType.PROJECT,
        permissions=["data:read", "index:read"],
    )
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=made,
        resource_id=cast.project.pk,
    )
    return made


def root(cast: Cast) -> str:
    return f"/organizations/{cast.organization.pk}"


class RoleTests:
    def page(self, cast: Cast, role: CustomRole, part: str = "") -> str:
        return f"{root(cast)}/roles/{role.pk}/{part}"

    def filled(self, role: CustomRole, **changes: Any) -> dict[str, Any]:
        fields = ("version", "name", "description", "permissions")
        return {name: getattr(role, name) for name in fields} | changes

    def test_the_list_explains_every_role(self, alice: Browser, cast: Cast) -> None:
        text = alice.get(f"{root(cast)}/roles/").content.decode()
        for part in ("No role of your own yet", "OrgOwner", "DataPlaneViewer", "read records"):
            assert part in text

    @pytest.mark.parametrize("kind", ["organization", "project", "index", "nonsense"])
    def test_making_one(self, alice: Browser, cast: Cast, kind: str) -> None:
        path = f"{root(cast)}/roles/create/{kind}/"
        form = {"version": 0, "name": "Reader <b>", "permissions": ["index:read"]}
        made = alice.post(path, form)
        role = CustomRole.objects.get()
        assert made["Location"] == self.page(cast, role)
        assert role.resource_type == (kind if kind != "nonsense" else "project")
        assert "Reader &lt;b&gt;" in alice.get(made["Location"]).content.decode()
        again = alice.post(path, form)
        assert again.status_code == 422
        assert "id_name_error" in again.content.decode()

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"permissions": []}, "Choose at least one"),
            ({"permissions": ["organization:delete"]}, "Select a valid choice"),
            ({"name": "OrgOwner"}, "already"),
            ({"name": ""}, "required"),
        ],
    )
    def test_what_can_not_be_one(
        self, alice: Browser, cast: Cast, changes: dict[str, Any], said: str
    ) -> None:
        form = {"version": 0, "name": "Reader", "permissions": ["index:read"], **changes}
        answer = alice.post(f"{root(cast)}/roles/create/project/", form)
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert not CustomRole.objects.exists()

    def test_a_look_ahead_names_who_gains_and_loses(
        self, alice: Browser, cast: Cast, role: CustomRole
    ) -> None:
        path = self.page(cast, role, "edit/")
        form = self.filled(role, permissions=["index:read", "data:write"])
        answer = alice.post(path, {**form, "preview": "1"})
        text = answer.content.decode()
        assert answer.status_code == 200
        assert "bob@example.com on Search" in text
        assert "write and delete records" in text.partition('class="flip-gained"')[2]
        assert "read records" in text.partition('class="flip-lost"')[2]
        role.refresh_from_db()
        assert role.permissions == ["data:read", "index:read"]
        assert alice.post(path, form).status_code == 302
        role.refresh_from_db()
        assert role.permissions == ["data:write", "index:read"]
        stale = alice.post(path, form)
        assert stale.status_code == 422
        assert b"Somebody has changed this" in stale.content

    def test_one_that_is_held_stays(self, alice: Browser, cast: Cast, role: CustomRole) -> None:
        path = self.page(cast, role, "delete/")
        assert b"It is held 1 time" in alice.get(path).content
        assert alice.post(path, {"confirm": "Searcher"}).status_code == 422
        role.bindings.all().delete()
        assert alice.post(path, {"confirm": "searcher"}).status_code == 422
        assert alice.post(path, {"confirm": "Searcher"}).status_code == 302
        assert not CustomRole.objects.exists()


class SecurityTests:
    def post(self, browser: Browser, cast: Cast, **form: Any) -> Any:
        return browser.post(f"{root(cast)}/security/", {"version": 0, "ip_ranges": "", **form})

    def test_a_look_ahead_names_whom_it_locks_out(self, alice: Browser, cast: Cast) -> None:
        answer = self.post(alice, cast, mfa_required="on", preview="1")
        text = answer.content.decode()
        assert "2 would be locked out" in text
        assert "bob@example.com" in text
        assert not SecurityBaseline.objects.filter(mfa_required=True).exists()

    def test_one_does_not_lock_oneself_out_by_mistake(self, alice: Browser, cast: Cast) -> None:
        answer = self.post(alice, cast, mfa_required="on")
        assert answer.status_code == 422
        assert "id_force_error" in answer.content.decode()
        assert not SecurityBaseline.objects.filter(mfa_required=True).exists()
        assert self.post(alice, cast, mfa_required="on", force="on").status_code == 302
        assert SecurityBaseline.objects.get().mfa_required

    def test_demands_are_kept_and_shown_to_members(self, alice: Browser, cast: Cast) -> None:
        answer = self.post(
            alice, cast, session_hours="8", max_key_age_days="90", ip_ranges="203.0.113.0/24"
        )
        assert answer.status_code == 302
        text = Browser(cast.bob).get(f"{root(cast)}/security/").content.decode()
        for part in ("8 hours", "90 days", "203.0.113.0/24"):
            assert part in text
        assert "Save demands" not in text
        stale = self.post(alice, cast, session_hours="9")
        assert stale.status_code == 422

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"session_hours": "0"}, "id_session_hours_error"),
            ({"session_hours": "25"}, "id_session_hours_error"),
            ({"max_key_age_days": "x"}, "id_max_key_age_days_error"),
            ({"ip_ranges": "everywhere"}, "everywhere"),
            ({"ip_ranges": "203.0.113.0/24\n" * 101}, "100"),
        ],
    )
    def test_what_can_not_be_demanded(
        self, alice: Browser, cast: Cast, form: dict[str, str], said: str
    ) -> None:
        answer = self.post(alice, cast, **form)
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert not SecurityBaseline.objects.exists()


class PlanTests:
    def test_every_entitlement_says_why(self, alice: Browser, cast: Cast) -> None:
        Organization.objects.update(overrides={"sso": False, "max_members": None})
        text = alice.get(f"{root(cast)}/plan/").content.decode()
        for part in ("Enterprise", "Single sign-on", "unlimited", "operator"):
            assert part in text


class SettingsTests:
    def test_renaming(self, alice: Browser, cast: Cast) -> None:
        version = cast.organization.version
        path = f"{root(cast)}/settings/"
        assert alice.post(path, {"version": version, "name": "New"}).status_code == 302
        for form in (
            {"version": version, "name": "Stale"},
            {"version": version + 1, "name": ""},
            {"version": version + 1, "name": "a\u202eb"},
        ):
            assert alice.post(path, form).status_code == 422
        cast.organization.refresh_from_db()
        assert cast.organization.name == "New"

    def test_deleting_takes_the_name_and_no_projects(self, alice: Browser, cast: Cast) -> None:
        path = f"{root(cast)}/settings/delete/"
        assert alice.post(path, {"confirm": "acme"}).status_code == 422
        full = alice.post(path, {"confirm": "Acme"})
        assert full.status_code == 422
        assert b"still has" in full.content
        Project.objects.filter(organization=cast.organization).delete()
        assert alice.post(path, {"confirm": "Acme"})["Location"] == "/"
        assert not Organization.objects.filter(pk=cast.organization.pk).exists()
