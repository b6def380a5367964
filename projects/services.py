"""Making projects."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor
from orgs.models import PrincipalType
from orgs.permissions import CREATOR_ROLE, Permission, authorize
from orgs.services.bindings import bind_role
from orgs.services.checks import check_name
from projects.encryption import add_project_key
from projects.models import Project


@transaction.atomic
def create_project(*, actor: Actor, organization_id: UUID, name: str) -> Project:
    """A project with its own encryption key; a person who makes one owns it.

    Raises:
        NotFound, PermissionDenied: the actor may not make projects there.
        InvalidArgument: the name is empty, too long or not printable.
        KeyUnavailable: the KEK provider can't be used.
    """
    authorize(actor, Permission.PROJECT_CREATE, organization_id=organization_id)
    project = Project.objects.create(
        organization_id=organization_id, name=check_name(name, "project")
    )
    add_project_key(project)
    record(
        EventType.PROJECT_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("project", project.pk, project.name),
    )
    if actor.kind == "user":
        bind_role(
            actor=actor,
            organization_id=organization_id,
            principal=(PrincipalType.USER, UUID(actor.id)),
            role=CREATOR_ROLE,
            resource_id=project.pk,
            reason="Created the project",
        )
    return project
