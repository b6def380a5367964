"""Reading projects."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from orgs.actors import Actor
from orgs.errors import no_such
from orgs.permissions import Permission, permissions_of
from projects.models import Project


def projects_visible_to(actor: Actor) -> QuerySet[Project]:
    """The projects on which the actor holds a role, or that its organization role includes."""
    organizations = {binding.organization_id for binding in actor.bindings}
    whole = {pk for pk in organizations if _sees_all_projects(actor, pk)}
    single = {binding.project_id for binding in actor.bindings if binding.project_id}
    return Project.objects.filter(Q(organization_id__in=whole) | Q(pk__in=single))


def _sees_all_projects(actor: Actor, organization_id: UUID) -> bool:
    return Permission.PROJECT_READ in permissions_of(actor, organization_id=organization_id)


def get_project(actor: Actor, project_id: UUID) -> Project:
    """The project.

    Raises:
        NotFound: no such project, or none that the actor may see.
    """
    project = (
        projects_visible_to(actor).select_related("organization").filter(pk=project_id).first()
    )
    if project is None:
        raise no_such(f"project {project_id}")
    return project
