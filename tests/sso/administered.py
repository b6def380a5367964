"""Everything of single sign-on that can be administered, once, for tests of the whole Admin API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from django.utils import timezone

from orgs.models import PrincipalType
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from sso.models import BreakGlassAccess, BreakGlassOwner, Domain, Identity
from sso.services.scim_tokens import create_scim_token
from tests.cast import Cast
from tests.factories import SYSTEM, make_member
from tests.sso import idp
from tests.sso.dns_server import NameServer
from tests.sso.support import make_connection

CONNECTIONS = "admin/sso/connections"
CONNECTION = f"{CONNECTIONS}/<uuid:connection_id>"
DOMAIN = "admin/sso/domains/<uuid:domain_id>"


def make_administered(
    cast: Cast, dns: NameServer
) -> tuple[dict[str, object], dict[tuple[str, str], object]]:
    """Ids by their names in routes, and bodies by method and route."""
    organization = cast.organization
    connection = make_connection(organization, domains=["example.com"])
    idp.install(connection, idp.pair(kind="ec"), idp.pair("next", kind="ec"))
    erin, frank = make_member(organization), make_member(organization)
    bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.USER, frank.pk),
        role=Role.ORG_OWNER,
        resource_id=organization.pk,
    )
    Authenticator.objects.create(user=frank, type=Authenticator.Type.TOTP, data={})
    BreakGlassOwner.objects.create(organization=organization, user=cast.alice, named_by="tests")
    access = BreakGlassAccess.objects.create(
        organization=organization,
        user=cast.alice,
        reason="a try",
        expires_at=timezone.now() + timedelta(hours=1),
    )
    identity = Identity.objects.create(
        connection=connection, user=erin, uid="erin", opens_sessions=True
    )
    token, _ = create_scim_token(actor=SYSTEM, connection_id=connection.pk)
    domain = Domain.objects.create(organization=organization, name="acme.example", token="proof")
    dns.says(domain.record_name, domain.record_value)
    certificate = connection.certificates.first()
    assert certificate is not None
    ids: dict[str, object] = {
        "connection_id": connection.pk,
        "certificate_id": certificate.pk,
        "identity_id": identity.pk,
        "token_id": token.pk,
        "domain_id": domain.pk,
        "owner_id": cast.alice.pk,
        "access_id": access.pk,
    }
    bodies: dict[tuple[str, str], Any] = {
        ("POST", CONNECTIONS): {"name": "Second"},
        ("PATCH", CONNECTION): {"name": "Renamed"},
        ("POST", f"{CONNECTION}/state"): {"state": "disabled"},
        ("PUT", f"{CONNECTION}/metadata"): {
            "xml": idp.metadata(connection.idp_entity_id, idp.pair(kind="ec")).decode()
        },
        ("POST", f"{CONNECTION}/certificates"): {"pem": idp.pair("third", kind="ec").certificate},
        ("PUT", f"{CONNECTION}/scim"): {"enabled": True},
        ("POST", "admin/sso/domains"): {"name": "acme-labs.example"},
        ("PATCH", DOMAIN): {"connection_id": str(connection.pk)},
        ("POST", "admin/sso/break-glass-owners"): {"user_id": str(frank.pk)},
    }
    return ids, bodies
