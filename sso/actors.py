"""Identity providers and directories as actors: they act as owners of their own organization."""

from __future__ import annotations

from orgs.actors import Actor, Binding
from orgs.permissions import OWNER_ROLE
from sso.models import Connection, ScimToken


def idp_actor(connection: Connection, *, ip: str = "", request_id: str = "") -> Actor:
    """The connection's identity provider, whose assertion was believed."""
    return Actor(
        kind="sso",
        id=str(connection.pk),
        label=f"identity provider {connection.name}",
        organization_id=connection.organization_id,
        bindings=(_owning(connection),),
        ip=ip,
        request_id=request_id,
    )


def directory_actor(token: ScimToken, *, ip: str = "", request_id: str = "") -> Actor:
    """The directory that showed the token; the token's connection has to be loaded."""
    return Actor(
        kind="scim",
        id=str(token.pk),
        label=f"directory of {token.connection.name}",
        organization_id=token.connection.organization_id,
        bindings=(_owning(token.connection),),
        ip=ip,
        request_id=request_id,
    )


def _owning(connection: Connection) -> Binding:
    return Binding(role=OWNER_ROLE.value, organization_id=connection.organization_id)
