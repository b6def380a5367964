"""What tests of single sign-on start from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from orgs.models import Organization
from sso.models import Connection, Domain

IDP_ENTITY_ID = "https://idp.example/saml"
IDP_SSO_URL = "https://idp.example/sso"
_numbers = itertools.count(1)


def make_connection(
    organization: Organization,
    *,
    state: Connection.State = Connection.State.ACTIVE,
    domains: Sequence[str] = (),
    **fields: Any,
) -> Connection:
    """A SAML connection as it stands in the database, and verified domains of its organization.

    Without certificates and keys, and without what services do around a change of state.
    """
    number = next(_numbers)
    made = Connection.objects.create(
        organization=organization,
        state=state,
        **{
            "name": f"Connection {number}",
            "idp_entity_id": f"{IDP_ENTITY_ID}/{number}",
            "sso_url": IDP_SSO_URL,
            **fields,
        },
    )
    for name in domains:
        make_domain(organization, name, connection=made)
    return made


def make_domain(
    organization: Organization, name: str, *, connection: Connection | None = None
) -> Domain:
    """A verified domain."""
    return Domain.objects.create(
        organization=organization,
        connection=connection,
        name=name,
        token=f"token-{next(_numbers)}",
        verified_at=timezone.now(),
    )
