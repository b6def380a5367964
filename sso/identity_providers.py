"""What the room of organizations asks of this one (`orgs.identity_providers`)."""

from __future__ import annotations

from uuid import UUID

from django.urls import reverse

from orgs.identity_providers import RequiredSignIn, register_identity_providers
from sso.domain_names import ascii_domain
from sso.models import BreakGlassOwner, Connection, Domain, Identity, ScimGroup, ScimUser

State = Connection.State


def domain_of(email: str) -> str:
    """The address's domain as `Domain.name` has it; empty: it has none that could be registered."""
    local, at, domain = email.rpartition("@")
    return ascii_domain(domain) if local and at else ""


class _Installed:
    """Answers from the database."""

    def required_sign_in(self, email: str) -> RequiredSignIn | None:
        """One query, two where the domain's people have to use single sign-on."""
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
        exempt = BreakGlassOwner.objects.filter(organization_id=domain.organization_id)
        return RequiredSignIn(
            organization_id=domain.organization_id,
            organization_name=domain.organization.name,
            url=reverse("sso:login", args=[domain.connection_id]),
            exempt=frozenset(exempt.values_list("user_id", flat=True)),
        )

    def sign_in_page(self, organization_id: UUID) -> str:
        return reverse("sso:enter", args=[organization_id])

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
        identity = linked.select_related("connection").first()
        return f"The identity provider {identity.connection.name}" if identity else ""

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


def register() -> None:
    """Called once, when the app is ready."""
    register_identity_providers(_Installed())
