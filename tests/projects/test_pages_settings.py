"""The pages of a project's settings and of who reaches it."""

from __future__ import annotations

import pytest

from orgs.models import PrincipalType
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from projects.models import Project
from tests.cast import Cast
from tests.factories import SYSTEM
from tests.indexes.conftest import make_index
from tests.pages import Browser


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


def page(cast: Cast, part: str = "settings/") -> str:
    return f"/projects/{cast.project.pk}/{part}"


def filled(cast: Cast, **changes: object) -> dict[str, object]:
    project = Project.objects.get(pk=cast.project.pk)
    fields = ("version", "name", "max_indexes", "max_api_keys")
    return {name: getattr(project, name) for name in fields} | changes


class SettingsTests:
    def test_name_and_limits(self, alice: Browser, cast: Cast) -> None:
        form = filled(cast, name="Found", max_indexes=3)
        assert alice.post(page(cast), form).status_code == 302
        cast.project.refresh_from_db()
        assert (cast.project.name, cast.project.max_indexes) == ("Found", 3)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"name": ""}, "id_name_error"),
            ({"name": "a\u202eb"}, "id_name_error"),
            ({"max_indexes": "-1"}, "id_max_indexes_error"),
            ({"max_indexes": "many"}, "id_max_indexes_error"),
            ({"max_api_keys": 100_001}, "id_max_api_keys_error"),
            ({"version": 0}, "Somebody has changed"),
            ({"version": ""}, "Open the page again"),
        ],
    )
    def test_what_can_not_be_is_refused(
        self, alice: Browser, cast: Cast, changes: dict[str, object], said: str
    ) -> None:
        answer = alice.post(page(cast), filled(cast, **changes))
        assert answer.status_code == 422
        assert said in answer.content.decode()
        before = cast.project.max_indexes
        cast.project.refresh_from_db()
        assert cast.project.max_indexes == before

    def test_archiving_and_back(self, alice: Browser, cast: Cast) -> None:
        assert alice.post(page(cast, "settings/archive/")).status_code == 302
        assert "Restore this project" in alice.get(page(cast)).content.decode()
        assert "is archived" in alice.get(page(cast, "")).content.decode()
        assert Browser(cast.charlie).post(page(cast, "settings/restore/")).status_code == 404
        assert alice.post(page(cast, "settings/restore/")).status_code == 302
        assert "Archive this project" in alice.get(page(cast)).content.decode()

    def test_deleting_asks_for_the_name_and_an_empty_project(
        self, alice: Browser, cast: Cast
    ) -> None:
        path = page(cast, "settings/delete/")
        assert alice.post(path, {"confirm": "search"}).status_code == 422
        index = make_index(cast.project)
        answer = alice.post(path, {"confirm": "Search"})
        assert answer.status_code == 422
        assert b"still has indexes: 1" in answer.content
        type(index).objects.update(deleted_at="2026-01-01T00:00:00Z")
        assert alice.post(path, {"confirm": "Search"}).status_code == 302
        assert not Project.objects.filter(pk=cast.project.pk).exists()


class MembersTests:
    def test_shows_who_reaches_it_and_why(self, alice: Browser, cast: Cast) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=Role.PROJECT_VIEWER,
            resource_id=cast.project.pk,
        )
        text = alice.get(page(cast, "members/")).content.decode()
        for part in ("alice@example.com", "OrgOwner", "bob@example.com", "ProjectViewer"):
            assert part in text
        assert "OrgMember" not in text

    def test_leads_to_the_page_that_gives_a_role_here(self, alice: Browser, cast: Cast) -> None:
        answer = alice.post(page(cast, "members/"), {"email": "BOB@example.com"})
        target = answer["Location"]
        assert target.endswith(f"/user/{cast.bob.pk}/?on={cast.project.pk}")
        assert f'<option value="{cast.project.pk}" selected>' in alice.get(target).content.decode()

    @pytest.mark.parametrize("email", ["", "bob", "charlie@example.org", "x" * 400])
    def test_others_have_to_be_invited_first(self, alice: Browser, cast: Cast, email: str) -> None:
        answer = alice.post(page(cast, "members/"), {"email": email})
        assert answer.status_code == 422
        assert "id_email_error" in answer.content.decode()
