"""A directory for tests: a connection with a token, and a client that speaks SCIM with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.test import Client

from orgs.models import Organization
from orgs.plans import Plan
from sso.models import Connection
from sso.services.scim_tokens import create_scim_token, set_scim
from tests.factories import SYSTEM
from tests.sso.support import make_connection

DOMAIN = "acme.example"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
JSON = "application/scim+json"


@dataclass
class Directory:
    """A directory that provisions one connection."""

    connection: Connection
    token: str
    client: Client = field(default_factory=Client)

    @property
    def path(self) -> str:
        """Where the directory's resources are."""
        return f"/scim/v2/{self.connection.pk}"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request; `body` as JSON, or as it is where it is bytes."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        return self.client.generic(
            method,
            f"{self.path}{path}",
            data,
            content_type=JSON,
            headers={"authorization": f"Bearer {self.token}", **headers},
        )

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(
            f"{self.path}{path}",
            query,
            headers={"authorization": f"Bearer {self.token}"},
        )

    def create_user(self, user_name: str = f"dana@{DOMAIN}", **fields: Any) -> dict[str, Any]:
        """Make a person, who has to be taken."""
        answer = self.send("POST", "/Users", {"schemas": [USER], "userName": user_name, **fields})
        assert answer.status_code == 201, answer.content
        found: dict[str, Any] = answer.json()
        return found

    def create_group(self, name: str = "Engineers", members: tuple[str, ...] = ()) -> Any:
        """Make a group, which has to be taken."""
        answer = self.send(
            "POST",
            "/Groups",
            {
                "schemas": [GROUP],
                "displayName": name,
                "members": [{"value": member} for member in members],
            },
        )
        assert answer.status_code == 201, answer.content
        return answer.json()

    def patch(self, path: str, *operations: dict[str, Any]) -> Any:
        return self.send("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def make_directory(
    organization: Organization, *, domains: tuple[str, ...] = (DOMAIN,), **fields: Any
) -> Directory:
    """A connection with provisioning switched on and a token."""
    Organization.objects.filter(pk=organization.pk).update(plan=Plan.ENTERPRISE)
    organization.refresh_from_db()
    connection = make_connection(organization, domains=domains, **fields)
    set_scim(actor=SYSTEM, connection_id=connection.pk, enabled=True)
    connection.refresh_from_db()
    return Directory(connection, new_token(connection.pk))


def new_token(connection_id: UUID) -> str:
    """Another token."""
    return create_scim_token(actor=SYSTEM, connection_id=connection_id)[1]
