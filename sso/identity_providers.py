"""What the room of organizations asks of this one (`orgs.identity_providers`)."""

from __future__ import annotations

from uuid import UUID

from django.urls import reverse

from orgs.entitlements import has
from orgs.identity_providers import RequiredSignIn, register_identity_providers
from orgs.models import User
from orgs.plans import Entitlement
from orgs.selectors.owners import owners_in_force
from sso.domain_names import ascii_domain
from sso.models import Connection, Domain, Identity, ScimGroup, ScimUser
from sso.selectors import break_glass
from sso.selectors.leaving import leaving_page

State = Connection.State


def domain_of(email: str) -> str:
    """The address's domain as `Domain.name` has it; empty: it has none that could be registered."""
    local, at, domain = email.rpartition("@")
    return ascii_domain(domain) if local and at else ""


class _Installed:
    """Answers from the database."""

    def required_sign_in(self, email: str) -> RequiredSignIn | None:
        """One query, a few more where the domain's people have to use single sign-on."""
        domain = (
            Domain.objects.filter(
                name=domain_of(email),
                verified_at__isnull=False,
                connection__state=State.ENFORCED,
            )
            .select_related("organization")
            .first()
        )
        if domain is None:
            return None
        return RequiredSignIn(
            organization_id=domain.organization_id,
            organization_name=domain.organization.name,
            url=reverse("sso:login", args=[domain.connection_id]),
            exempt=self.people_for_emergencies(domain.organization_id)
            & owners_in_force(domain.organization_id),
        )

    def sign_in_page(self, organization_id: UUID) -> str:
        return reverse("sso:enter", args=[organization_id])

    def sign_in_stands(self, connection_id: UUID, user_id: UUID) -> bool:
        linked = Identity.objects.filter(
            connection_id=connection_id,
            connection__state__in=(State.ACTIVE, State.ENFORCED),
            user_id=user_id,
            opens_sessions=True,
        )
        return linked.exists()

    def page_after_sign_out(self, session_key: str) -> str:
        return leaving_page(session_key)

    def manager_of(self, organization_id: UUID, user_id: UUID) -> str:
        """Two queries at most."""
        kept = ScimUser.objects.filter(
            connection__organization_id=organization_id,
            connection__scim_enabled=True,
            user_id=user_id,
        )
        scim = kept.select_related("connection").first()
        if scim is not None:
            return f"The SCIM directory of {scim.connection.name}"
        linked = Identity.objects.filter(
            connection__organization_id=organization_id,
            connection__roles_mode=Connection.RolesMode.EXACT,
            connection__state__in=(State.ACTIVE, State.ENFORCED),
            user_id=user_id,
        )
        identity = linked.select_related("connection__organization").first()
        if identity is None or not has(identity.connection.organization, Entitlement.SAML_ROLES):
            return ""
        return f"The identity provider {identity.connection.name}"

    def manager_of_group(self, group_id: UUID) -> str:
        kept = ScimGroup.objects.filter(group_id=group_id, connection__scim_enabled=True)
        group = kept.select_related("connection").first()
        return f"The SCIM directory of {group.connection.name}" if group else ""

    def people_with_a_way_in(self, organization_id: UUID) -> frozenset[UUID]:
        linked = Identity.objects.filter(
            connection__organization_id=organization_id,
            connection__state__in=(State.ACTIVE, State.ENFORCED),
        )
        return frozenset(linked.values_list("user_id", flat=True))

    def people_for_emergencies(self, organization_id: UUID) -> frozenset[UUID]:
        """Two queries."""
        people = User.objects.filter(pk__in=break_glass.named(organization_id))
        return frozenset(break_glass.with_second_factor(people).values_list("pk", flat=True))

    def emergency_lasts(self, access_id: UUID, user_id: UUID) -> bool:
        return break_glass.lasts(access_id, user_id)

    def why_not_invitable(self, organization_id: UUID, email: str) -> str:
        """One query, two where single sign-on is required."""
        if not break_glass.is_required(organization_id):
            return ""
        covered = Domain.objects.filter(
            organization_id=organization_id,
            name=domain_of(email),
            verified_at__isnull=False,
            connection__state__in=(State.ACTIVE, State.ENFORCED),
        )
        if covered.exists():
            return ""
        return (
            f"{email} is in no verified domain of a connection, and the organization requires its"
            " single sign-on: the person could not come in. Invite an address of such a domain, or"
            " verify this one's."
        )


def register() -> None:
    """Called once, when the app is ready."""
    register_identity_providers(_Installed())
