"""How much room a project or an organization has left, and what sets the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from orgs.entitlements import entitlements
from orgs.errors import FailedPrecondition, PaymentRequired, QuotaExceeded
from orgs.models import Organization
from orgs.plans import Entitlement
from projects import contents
from projects.models import Project

Scope = Literal["project", "organization", "installation"]
Source = Literal["plan", "operator", "project", "installation"]


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit and what of it is taken.

    Attributes:
        name: what is counted, such as `indexes`.
        scope: where it is counted.
        limit: how many there may be; None: as many as wanted.
        source: what sets the limit: the plan, the operator's decision for this organization, the
            project's own setting, or the installation as a whole.
        reason: the same in words.
    """

    name: str
    scope: Scope
    used: int
    limit: int | None
    source: Source
    reason: str

    @property
    def is_full(self) -> bool:
        """Whether one more would be one too many."""
        return self.limit is not None and self.used >= self.limit


OF_PROJECTS = {
    Entitlement.MAX_INDEXES_PER_PROJECT: ("indexes", "max_indexes"),
    Entitlement.MAX_KEYS_PER_PROJECT: ("api_keys", "max_api_keys"),
}
"""What is counted in each project, and the field with the project's own limit."""
OF_ORGANIZATIONS = {
    Entitlement.MAX_PROJECTS: "projects",
    Entitlement.MAX_MEMBERS: "members",
    Entitlement.MAX_SERVICE_ACCOUNTS: "service_accounts",
}


def project_quota(project: Project, entitlement: Entitlement) -> Quota:
    """One of the project's quotas: the smaller of its own limit and the organization's counts.

    One query, where the project's organization is loaded.
    """
    name, field = OF_PROJECTS[entitlement]
    own: int = getattr(project, field)
    allowed = entitlements(project.organization)[entitlement]
    taken = contents.used(entitlement, project.pk)
    if allowed.value is None or own < allowed.value:
        reason = f"Its own {field} allows {own} (PATCH /admin/projects/{project.pk})."
        return Quota(name, "project", taken, own, "project", reason)
    return Quota(name, "project", taken, int(allowed.value), allowed.source, allowed.reason)


def project_quotas(project: Project) -> list[Quota]:
    """All of the project's quotas, one query for each."""
    return [project_quota(project, entitlement) for entitlement in OF_PROJECTS]


def organization_quota(organization: Organization, entitlement: Entitlement) -> Quota:
    """One of the organization's quotas. One query."""
    allowed = entitlements(organization)[entitlement]
    return Quota(
        OF_ORGANIZATIONS[entitlement],
        "organization",
        contents.used(entitlement, organization.pk),
        None if allowed.value is None else int(allowed.value),
        allowed.source,
        allowed.reason,
    )


def organization_quotas(organization: Organization) -> list[Quota]:
    """All of the organization's quotas, one query for each."""
    return [organization_quota(organization, entitlement) for entitlement in OF_ORGANIZATIONS]


def check_room(quota: Quota) -> None:
    """Let pass where one more fits.

    The caller holds a lock on the row of the project or the organization, or two at once both fit.

    Raises:
        QuotaExceeded: it doesn't; the message names use, limit and what sets it.
    """
    if quota.is_full:
        raise QuotaExceeded(
            f"The {quota.scope} has {quota.used} {quota.name.replace('_', ' ')}, as many as it may."
            f" {quota.reason} Delete one, or have the limit raised."
        )


def check_standing(organization: Organization) -> None:
    """Let an organization pass that may have more made for it.

    Raises:
        PaymentRequired: it has to settle its account first.
    """
    status = Organization.PaymentStatus
    if organization.payment_status in {status.PAST_DUE, status.SUSPENDED, status.DEACTIVATED}:
        raise PaymentRequired(
            f"The organization's payment status is {organization.payment_status}: nothing new can"
            " be made until its account is settled. Ask whoever looks after its billing."
        )


def check_active(project: Project) -> None:
    """Let a project pass in which something may be made.

    Raises:
        FailedPrecondition: it is archived.
    """
    if project.is_archived:
        raise FailedPrecondition(
            f"The project {project.pk} is archived: nothing can be made in it. Restore it first"
            f" (POST /admin/projects/{project.pk}/restore)."
        )


def count_projects(organization_id: UUID) -> int:
    """The organization's projects, archived ones too: they keep their data."""
    return Project.objects.filter(organization_id=organization_id).count()
