"""Reading projects."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.db.models import Q, QuerySet

from orgs.actors import Actor
from orgs.errors import PermissionDenied, no_such
from orgs.permissions import PROJECT_PERMISSIONS, Permission, authorize, permissions_of
from projects.models import Project


def projects_visible_to(actor: Actor) -> QuerySet[Project]:
    """The projects on which, or on an index of which, the actor holds a role, and those that its
    organization role includes.
    """
    organizations = {binding.organization_id for binding in actor.bindings}
    whole = {pk for pk in organizations if _sees_all_projects(actor, pk)}
    single = {
        pk for organization_id in organizations - whole for pk in _single(actor, organization_id)
    }
    return Project.objects.filter(Q(organization_id__in=whole) | Q(pk__in=single))


def projects_in(actor: Actor, organization_id: UUID) -> QuerySet[Project]:
    """Those of them that belong to the organization."""
    projects = Project.objects.filter(organization_id=organization_id)
    if actor.is_system or _sees_all_projects(actor, organization_id):
        return projects
    return projects.filter(pk__in=_single(actor, organization_id))


def _sees_all_projects(actor: Actor, organization_id: UUID) -> bool:
    return Permission.PROJECT_READ in permissions_of(actor, organization_id=organization_id)


def _single(actor: Actor, organization_id: UUID) -> set[UUID]:
    """The projects that the actor's bindings name, where they count."""
    if actor.organization_id not in {None, organization_id} or actor.barred_from(organization_id):
        return set()
    return {
        binding.project_id
        for binding in actor.bindings
        if binding.project_id is not None and binding.organization_id == organization_id
    }


def projects_with(actor: Actor, organization_id: UUID, permission: Permission) -> QuerySet[Project]:
    """The organization's projects on the whole of which the actor holds the permission."""
    projects = Project.objects.filter(organization_id=organization_id)
    if actor.is_system or permission in permissions_of(actor, organization_id=organization_id):
        return projects
    return projects.filter(
        pk__in=[
            pk
            for pk in _single(actor, organization_id)
            if permission in permissions_of(actor, organization_id=organization_id, project_id=pk)
        ]
    )


def permissions_within(actor: Actor, project: Project) -> frozenset[Permission]:
    """What the actor may do to the project or to any one of its indexes."""
    indexes = {b.index_id for b in actor.bindings if b.project_id == project.pk}
    found: frozenset[Permission] = frozenset()
    for index_id in indexes | {None}:
        found |= permissions_of(
            actor,
            organization_id=project.organization_id,
            project_id=project.pk,
            index_id=index_id,
        )
    return found & PROJECT_PERMISSIONS


def check_visible(actor: Actor, project: Project, what: str) -> None:
    """Let an actor pass that may know of the project: one with any role on it or on an index of it.

    Raises:
        NotFound: the actor has nothing there, be it of the project's organization or not.
        PermissionDenied: it has, but does not meet the organization's security baseline.
    """
    if actor.is_system or permissions_within(actor, project):
        return
    try:
        authorize(
            actor,
            Permission.PROJECT_READ,
            organization_id=project.organization_id,
            project_id=project.pk,
            what=what,
        )
    except PermissionDenied as refused:
        if refused.denial is None or actor.barred_from(project.organization_id):
            raise
        raise no_such(what, denial=replace(refused.denial, hidden=True)) from None


def get_project(actor: Actor, project_id: UUID, permission: Permission | None = None) -> Project:
    """The project, with its organization loaded, where the actor holds the permission on it; None:
    any role on it or on an index of it will do.

    Raises:
        NotFound: no such project, or none that the actor may see.
        PermissionDenied: the actor has a role there, but it lacks the permission, or does not meet
            the organization's security baseline.
    """
    what = f"project {project_id}"
    project = Project.objects.select_related("organization").filter(pk=project_id).first()
    if project is None:
        raise no_such(what)
    check_visible(actor, project, what)
    if permission is not None:
        authorize(
            actor,
            permission,
            organization_id=project.organization_id,
            project_id=project.pk,
            what=what,
        )
    return project
