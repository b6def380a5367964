"""Makes what tests start from, through the services that the product itself uses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from keys.models import ApiKey, ServiceAccount
from keys.services.api_keys import create_api_key
from keys.services.service_accounts import NewBinding, create_service_account
from keys.services.tokens import Asker, issue_token
from orgs.actors import Actor, system
from orgs.models import Membership, Organization, PrincipalType, ResourceType, User
from orgs.permissions import ORGANIZATION_ROLES, Role
from orgs.services.bindings import bind_role
from orgs.services.organizations import create_organization
from orgs.services.people import create_user
from projects.models import Project
from projects.services import create_project

PASSWORD = "correct horse battery staple"
SYSTEM: Actor = system("tests")
_numbers = itertools.count(1)


def make_user(email: str = "") -> User:
    """A person who signs in with `PASSWORD`."""
    address = email or f"person-{next(_numbers)}@example.com"
    return create_user(actor=SYSTEM, email=address, password=PASSWORD)


def make_organization(owner: User | None = None, name: str = "") -> Organization:
    """An organization with an owner."""
    return create_organization(
        actor=SYSTEM, name=name or f"Organization {next(_numbers)}", owner=owner or make_user()
    )


def make_member(organization: Organization, email: str = "") -> User:
    """A person who belongs to the organization and may do nothing there but look at it."""
    user = make_user(email)
    Membership.objects.create(user=user, organization=organization)
    bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.USER, user.pk),
        role=Role.ORG_MEMBER,
        resource_id=organization.pk,
    )
    return user


def make_project(organization: Organization | None = None, name: str = "") -> Project:
    """A project with its encryption key."""
    organization = organization or make_organization()
    return create_project(
        actor=SYSTEM,
        organization_id=organization.pk,
        name=name or f"Project {next(_numbers)}",
    )


def make_key(
    project: Project | None = None,
    roles: Sequence[Role] = (Role.PROJECT_EDITOR,),
    name: str = "key",
) -> tuple[ApiKey, str]:
    """An API key and its secret."""
    return create_api_key(actor=SYSTEM, project=project or make_project(), name=name, roles=roles)


def make_service_account(
    organization: Organization,
    roles: Sequence[Role] = (Role.ORG_OWNER,),
    *,
    project: Project | None = None,
    name: str = "robot",
) -> tuple[ServiceAccount, str]:
    """A service account and an access token of it. Project roles are held on `project`."""
    account, secret = create_service_account(
        actor=SYSTEM,
        organization_id=organization.pk,
        name=name,
        role_bindings=[
            NewBinding(role, ResourceType.ORGANIZATION)
            if role in ORGANIZATION_ROLES
            else NewBinding(role, ResourceType.PROJECT, project.pk if project else None)
            for role in roles
        ],
    )
    _, token = issue_token(client_id=account.client_id, client_secret=secret, asker=Asker())
    return account, token
