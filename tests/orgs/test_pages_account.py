"""The pages of one's own account beside signing in."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEvent
from orgs.models import PrincipalType
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from orgs.services.groups import add_group_member, create_group
from tests.cast import Cast
from tests.factories import SYSTEM, make_organization, make_user
from tests.indexes.conftest import make_index
from tests.pages import Browser


class ProfileTests:
    def test_the_name_is_changed_and_written_down(self, cast: Cast) -> None:
        browser = Browser(cast.bob)
        assert browser.post("/accounts/profile/", {"name": " Bob <b> "}).status_code == 302
        cast.bob.refresh_from_db()
        assert cast.bob.name == "Bob <b>"
        assert AuditEvent.objects.filter(type="user.renamed").exists()
        text = browser.get("/accounts/profile/").content.decode()
        for part in ("Bob &lt;b&gt;", "bob@example.com", str(cast.bob.pk)):
            assert part in text

    @pytest.mark.parametrize("name", ["x" * 201, "a\u202eb", "a\0b"])
    def test_a_name_that_can_not_be(self, cast: Cast, name: str) -> None:
        answer = Browser(cast.bob).post("/accounts/profile/", {"name": name})
        assert answer.status_code == 422
        assert "id_name_error" in answer.content.decode()

    def test_strangers_sign_in_first(self, db: None) -> None:
        for path in ("profile", "access"):
            answer = Browser().get(f"/accounts/{path}/")
            assert answer["Location"].startswith("/accounts/login/")


class AccessTests:
    def give(self, cast: Cast, role: Role, **where: object) -> None:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=role,
            **where,  # type: ignore[arg-type]  # by name
        )

    def test_every_role_with_its_place_and_reason(self, cast: Cast) -> None:
        index = make_index(cast.project, "books")
        self.give(cast, Role.DATA_PLANE_VIEWER, resource_id=index.pk, index_in=cast.project.pk)
        team = create_group(actor=SYSTEM, organization_id=cast.organization.pk, name="On call")
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.GROUP, team.pk),
            role=Role.PROJECT_VIEWER,
            resource_id=cast.project.pk,
            reason="Nights",
        )
        add_group_member(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            group_id=team.pk,
            user_id=cast.bob.pk,
        )
        text = Browser(cast.bob).get("/accounts/access/").content.decode()
        for part in ("Acme", "OrgMember", "books", "On call", "ProjectViewer", "Nights"):
            assert part in text
        assert "Umbrella" not in text

    def test_who_belongs_nowhere(self, db: None) -> None:
        text = Browser(make_user()).get("/accounts/access/").content.decode()
        assert "You belong to no organization yet" in text

    def test_a_constant_number_of_queries(self, cast: Cast) -> None:
        browser = Browser(cast.alice)

        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert browser.get("/accounts/access/").status_code == 200
            return len(queries)

        count()
        before = count()
        for number in range(6):
            make_organization(cast.alice, f"More {number}")
        assert count() == before
