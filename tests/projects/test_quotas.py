"""How much room there is, what sets the limit, and that nobody gets past it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from audit.models import AuditEvent
from indexes.models import Index, Operation
from indexes.rules import IndexSpec
from indexes.services import create_index, preview_index
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PaymentRequired,
    PermissionDenied,
    QuotaExceeded,
)
from orgs.models import Invitation, Organization
from orgs.permissions import Role
from orgs.plans import Entitlement, Plan
from projects.models import Project
from projects.quotas import Quota, organization_quotas, project_quota, project_quotas
from projects.services import archive_project, create_project, preview_project
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_organization, make_project
from tests.indexes.conftest import make_index
from tests.indexes.test_services import at_once
from tests.projects.test_services import let_in


def on(plan: Plan, organization: Organization, **overrides: object) -> None:
    """Put the organization on the plan."""
    Organization.objects.filter(pk=organization.pk).update(plan=plan, overrides=overrides)
    organization.refresh_from_db()


def fresh(project: Project) -> Project:
    """The project as the database has it now."""
    return Project.objects.select_related("organization").get(pk=project.pk)


def named(quotas: list[Quota], name: str) -> tuple[int, int | None, str]:
    """Used, limit and source of one of them."""
    (found,) = (quota for quota in quotas if quota.name == name)
    return found.used, found.limit, found.source


class ProjectQuotaTests:
    def test_the_smaller_limit_counts_and_says_whose_it_is(self, cast: Cast) -> None:
        make_index(cast.project)
        Project.objects.update(max_indexes=3)
        assert named(project_quotas(fresh(cast.project)), "indexes") == (1, 3, "project")
        Project.objects.update(max_indexes=300)
        assert named(project_quotas(fresh(cast.project)), "indexes") == (1, 200, "plan")
        on(Plan.FREE, cast.organization)
        assert named(project_quotas(fresh(cast.project)), "indexes") == (1, 5, "plan")
        on(Plan.FREE, cast.organization, max_indexes_per_project=7)
        assert named(project_quotas(fresh(cast.project)), "indexes") == (1, 7, "operator")
        on(Plan.FREE, cast.organization, max_indexes_per_project=None)
        assert named(project_quotas(fresh(cast.project)), "indexes") == (1, 300, "project")

    def test_keys_that_were_deleted_are_not_counted(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        assert named(project_quotas(fresh(cast.project)), "api_keys") == (2, 1000, "plan")
        type(key).objects.filter(pk=key.pk).update(revoked_at=timezone.now())
        assert named(project_quotas(fresh(cast.project)), "api_keys") == (1, 1000, "plan")

    def test_the_plan_limits_indexes_below_the_projects_own_limit(self, cast: Cast) -> None:
        on(Plan.FREE, cast.organization, max_indexes_per_project=1)
        make_index(cast.project)
        with pytest.raises(QuotaExceeded, match=r"The project has 1 indexes.*operator"):
            make_index(cast.project, "more")

    def test_one_query_a_quota(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        project = fresh(cast.project)
        with django_assert_num_queries(2):
            project_quotas(project)
        with django_assert_num_queries(1):
            project_quota(project, Entitlement.MAX_INDEXES_PER_PROJECT)


class OrganizationQuotaTests:
    def test_open_invitations_count_as_members_and_others_do_not(self, cast: Cast) -> None:
        now = timezone.now()
        for email, until, done in (
            ("a@example.com", now + timedelta(days=1), None),
            ("b@example.com", now - timedelta(days=1), None),
            ("c@example.com", now + timedelta(days=1), now),
        ):
            Invitation.objects.create(
                organization=cast.organization, email=email, expires_at=until, processed_at=done
            )
        assert named(organization_quotas(cast.organization), "members") == (3, None, "plan")

    def test_archived_projects_count(self, cast: Cast) -> None:
        archive_project(actor=SYSTEM, project_id=cast.project.pk)
        assert named(organization_quotas(cast.organization), "projects") == (1, 100, "plan")

    def test_service_accounts_are_counted(self, cast: Cast) -> None:
        quotas = organization_quotas(cast.organization)
        assert named(quotas, "service_accounts") == (0, 1000, "plan")
        assert {quota.scope for quota in quotas} == {"organization"}


class FullTests:
    def test_a_project_beyond_the_plan_is_refused_and_names_it(self, cast: Cast) -> None:
        on(Plan.FREE, cast.organization)
        with pytest.raises(QuotaExceeded, match=r"The organization has 1 projects.*Free plan"):
            create_project(
                actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name="Second"
            )
        assert Project.objects.filter(organization=cast.organization).count() == 1

    def test_a_limit_below_what_there_is_lets_nothing_in_and_removes_nothing(
        self, cast: Cast
    ) -> None:
        for name in ("one", "two"):
            make_index(cast.project, name)
        Project.objects.update(max_indexes=0)
        with pytest.raises(QuotaExceeded, match="has 2 indexes"):
            make_index(cast.project, "three")
        assert Index.objects.filter(deleted_at=None).count() == 2


@pytest.mark.django_db(transaction=True)
class RaceTests:
    def test_the_last_project_is_made_once(self) -> None:
        organization = make_organization()
        on(Plan.FREE, organization, max_projects=3)
        make_project(organization)
        outcomes = at_once(6, lambda number: make_project(organization, f"Project {number}"))
        assert outcomes == {"done": 2, "QuotaExceeded": 4}
        assert Project.objects.filter(organization=organization).count() == 3

    def test_the_last_index_under_the_plans_limit_is_made_once(self) -> None:
        project = make_project()
        on(Plan.FREE, project.organization, max_indexes_per_project=2)
        outcomes = at_once(6, lambda number: make_index(project, f"index-{number}"))
        assert outcomes == {"done": 2, "QuotaExceeded": 4}


class PreviewProjectTests:
    def test_it_says_which_quota_would_be_full_and_writes_nothing(self, cast: Cast) -> None:
        before = AuditEvent.objects.count()
        actor = cast.actor(cast.alice)
        (room,) = preview_project(actor=actor, organization_id=cast.organization.pk, name="New")
        assert (room.name, room.used, room.is_full) == ("projects", 1, False)
        on(Plan.FREE, cast.organization)
        (full,) = preview_project(actor=actor, organization_id=cast.organization.pk, name="New")
        assert (full.name, full.limit, full.is_full) == ("projects", 1, True)
        assert Project.objects.filter(organization=cast.organization).count() == 1
        assert AuditEvent.objects.count() == before

    def test_everything_else_is_checked(self, cast: Cast) -> None:
        def preview(user: object = cast.alice, **fields: object) -> None:
            preview_project(
                actor=cast.actor(user),  # type: ignore[arg-type]  # a person
                organization_id=cast.organization.pk,
                **{"name": "New", **fields},  # type: ignore[arg-type]  # bad on purpose
            )

        with pytest.raises(InvalidArgument, match="1 to 512"):
            preview(name=" ")
        with pytest.raises(InvalidArgument, match="no pods"):
            preview(max_pods=1)
        with pytest.raises(PermissionDenied, match="project:create"):
            preview(cast.bob)
        with pytest.raises(NotFound):
            preview(cast.charlie)
        on(Plan.STANDARD, cast.organization)
        with pytest.raises(PermissionDenied, match="Standard"):
            preview(force_encryption_with_cmek=True)
        Organization.objects.update(payment_status="PastDue")
        with pytest.raises(PaymentRequired):
            preview()


class PreviewIndexTests:
    SPEC = IndexSpec("products", dimension=3)

    def preview(self, cast: Cast, spec: IndexSpec = SPEC) -> list[Quota]:
        return preview_index(actor=cast.actor(cast.alice), project_id=cast.project.pk, spec=spec)

    def test_it_says_which_quota_would_be_full_and_writes_nothing(
        self, cast: Cast, settings: Settings
    ) -> None:
        assert [quota.is_full for quota in self.preview(cast)] == [False]
        Project.objects.update(max_indexes=0)
        settings.TAMARACK_INDEX_PORTS = range(8444, 8445)
        make_index(make_project())
        quotas = self.preview(cast)
        assert [(q.name, q.source, q.is_full) for q in quotas] == [
            ("indexes", "project", True),
            ("gateway_ports", "installation", True),
        ]
        assert "TAMARACK_INDEX_PORTS=8444-8444" in quotas[1].reason
        assert Index.objects.count() == Operation.objects.count() == 1

    def test_where_names_tell_indexes_apart_ports_are_no_quota(
        self, cast: Cast, settings: Settings
    ) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        assert [quota.name for quota in self.preview(cast)] == ["indexes"]

    def test_everything_else_is_checked(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="1 to 20000"):
            self.preview(cast, IndexSpec("products", dimension=0))
        make_index(cast.project)
        with pytest.raises(AlreadyExists):
            self.preview(cast)
        let_in(cast, Role.PROJECT_VIEWER, cast.project.pk)
        with pytest.raises(PermissionDenied, match="index:create"):
            preview_index(actor=cast.actor(cast.bob), project_id=cast.project.pk, spec=self.SPEC)
        with pytest.raises(NotFound):
            preview_index(actor=cast.actor(cast.alice), project_id=uuid.uuid4(), spec=self.SPEC)
        Organization.objects.update(payment_status="Suspended")
        with pytest.raises(PaymentRequired):
            self.preview(cast, IndexSpec("more", dimension=3))
        archive_project(actor=SYSTEM, project_id=cast.project.pk)
        with pytest.raises(FailedPrecondition, match="archived"):
            self.preview(cast, IndexSpec("more", dimension=3))

    def test_what_it_promised_holds(self, cast: Cast) -> None:
        assert not any(quota.is_full for quota in self.preview(cast))
        create_index(actor=SYSTEM, project_id=cast.project.pk, spec=self.SPEC)
