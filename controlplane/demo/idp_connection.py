"""The demonstration's organization, connected to a local identity provider. May run twice: what is
there already is mended, not made again.
"""

from __future__ import annotations

from pathlib import Path

from controlplane.demo.steps import OPERATOR
from orgs.models import Organization
from orgs.permissions import Role
from sso.models import Connection, Domain, SpKey
from sso.services.connections import create_connection, set_state, update_connection
from sso.services.domains import add_domain, assign_domain, verify_domain_by_operator
from sso.services.metadata import import_metadata

NAME, DOMAIN = "Demo IdP", "demo.example"
ENTITY_ID = "https://demo-idp.example/saml"
MANAGERS = "platform-team"
State = Connection.State


def prepared_connection(organization: Organization) -> Connection:
    """The organization's connection, with its domain, which the operator vouches for: no name
    server knows it.

    Raises:
        orgs.errors.Refused: another organization has the domain, or there are too many connections.
    """
    connection = Connection.objects.filter(
        organization=organization, idp_entity_id=ENTITY_ID
    ).first() or create_connection(actor=OPERATOR, organization_id=organization.pk, name=NAME)
    domain = Domain.objects.filter(organization=organization, name=DOMAIN).first()
    if domain is None:
        domain = add_domain(
            actor=OPERATOR,
            organization_id=organization.pk,
            name=DOMAIN,
            connection_id=connection.pk,
        )
    elif domain.connection_id != connection.pk:
        assign_domain(actor=OPERATOR, domain_id=domain.pk, connection_id=connection.pk)
    if domain.verified_at is None:
        verify_domain_by_operator(actor=OPERATOR, organization_id=organization.pk, name=DOMAIN)
    return connection


def write_certificates(connection: Connection, folder: Path) -> list[Path]:
    """Files of the certificates that our requests are signed by, for the identity provider."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = []
    for key in SpKey.objects.filter(connection=connection):
        paths.append(folder / f"sp-{key.pk}.pem")
        paths[-1].write_text(key.certificate_pem)
    return paths


def switch_on(connection: Connection, metadata: bytes) -> Connection:
    """Take over what the identity provider says of itself, and let people in by it.

    Raises:
        orgs.errors.Refused: it can't be taken over.
    """
    pk = connection.pk
    import_metadata(actor=OPERATOR, connection_id=pk, xml=metadata)
    mapping = {"value": MANAGERS, "role": Role.ORG_MANAGER.value, "project_id": None}
    changes = {"roles_mode": Connection.RolesMode.ADD.value, "role_mappings": [mapping]}
    connection = update_connection(actor=OPERATOR, connection_id=pk, changes=changes)
    for state in (State.TESTING, State.ACTIVE):
        if not connection.is_usable:
            connection = set_state(actor=OPERATOR, connection_id=pk, state=state)
    return connection
