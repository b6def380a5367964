"""Reading indexes. `route_for` is asked for every call that the gateway has not cached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import FilteredRelation, Q, QuerySet

from indexes.models import Deployment, Index, Operation
from indexes.probe import is_healthy
from indexes.rules import is_name
from orgs.actors import Actor
from orgs.errors import Forbidden, NotFound, no_such
from orgs.permissions import Permission, authorize, permissions_of
from projects.models import Project
from projects.selectors import check_visible
from rest.wording import shown

_DEFAULT_HTTPS_PORT = 443
_HOST_LABEL = re.compile(r"[a-z0-9-]{1,63}")


@dataclass(frozen=True, slots=True)
class Route:
    """Where the calls for an index go.

    Attributes:
        address: `<ip>:<port>` of its process; empty while it has none.
        ready: whether it serves; `state` says what it is doing otherwise.
    """

    deployment_id: UUID | None
    index_id: UUID
    project_id: UUID
    organization_id: UUID
    address: str
    ready: bool
    state: str


def find_project(
    actor: Actor, project_id: UUID, permission: Permission, *, index_id: UUID | None = None
) -> Project:
    """The project, where the actor holds the permission on all of its indexes, or on this one.

    Raises:
        NotFound: no such project, or none that the actor may know of.
        PermissionDenied: the actor belongs there but lacks the permission.
        Forbidden: the actor is an API key and the project is archived.
    """
    project = Project.objects.filter(pk=project_id).first()
    what = f"project {project_id}"
    if project is None:
        raise no_such(what)
    check_visible(actor, project, what)
    authorize(
        actor,
        permission,
        organization_id=project.organization_id,
        project_id=project.pk,
        index_id=index_id,
        what=what,
    )
    if project.is_archived and actor.kind == "api_key":
        raise Forbidden(
            f"The project {project.pk} is archived: its API keys don't work until it is restored."
        )
    return project


def find_scope(
    actor: Actor, project_id: UUID, permission: Permission
) -> tuple[Project, frozenset[UUID] | None]:
    """The project, and the indexes in it on which the actor holds the permission; None: on all.

    Raises:
        NotFound: no such project, or none that the actor may know of.
        PermissionDenied: the actor belongs there but holds the permission nowhere in it.
        Forbidden: the actor is an API key and the project is archived.
    """
    single = _single_indexes(actor, project_id, permission)
    # Where the actor holds it on single indexes, any of them shows that it may come in.
    project = find_project(actor, project_id, permission, index_id=next(iter(single), None))
    everywhere = actor.is_system or permission in permissions_of(
        actor, organization_id=project.organization_id, project_id=project.pk
    )
    return project, None if everywhere else single


def _single_indexes(actor: Actor, project_id: UUID, permission: Permission) -> frozenset[UUID]:
    """The indexes in the project on which a binding to the index itself gives the permission."""
    return frozenset(
        binding.index_id
        for binding in actor.bindings
        if binding.index_id is not None
        and binding.project_id == project_id
        and permission
        in permissions_of(
            actor,
            organization_id=binding.organization_id,
            project_id=project_id,
            index_id=binding.index_id,
        )
    )


def list_indexes(actor: Actor, project_id: UUID) -> QuerySet[Index]:
    """The project's indexes that are not gone and that the actor may see, oldest first.

    Raises:
        NotFound, PermissionDenied, Forbidden: it may see none.
    """
    project, scope = find_scope(actor, project_id, Permission.INDEX_READ)
    indexes = Index.objects.filter(project=project, deleted_at=None)
    return indexes if scope is None else indexes.filter(pk__in=scope)


def indexes_visible_to(actor: Actor) -> QuerySet[Index]:
    """The indexes of all projects that are not gone and that the actor may see. No query yet."""
    organizations: set[UUID] = set()
    projects: set[UUID] = set()
    single: set[UUID] = set()
    for binding in actor.bindings:
        held = permissions_of(
            actor,
            organization_id=binding.organization_id,
            project_id=binding.project_id,
            index_id=binding.index_id,
        )
        if Permission.INDEX_READ not in held:
            continue
        if binding.index_id is not None:
            single.add(binding.index_id)
        elif binding.project_id is not None:
            projects.add(binding.project_id)
        else:
            organizations.add(binding.organization_id)
    return Index.objects.filter(
        Q(project__organization_id__in=organizations)
        | Q(project_id__in=projects)
        | Q(pk__in=single),
        deleted_at=None,
    )


def get_index(
    actor: Actor,
    project_id: UUID,
    name: str,
    permission: Permission = Permission.INDEX_READ,
    *,
    lock: bool = False,
) -> Index:
    """The project's index of that name, on which the actor holds the permission, with its project.

    Args:
        lock: whether the index's row is locked.

    Raises:
        NotFound: no such index, or no such project for the actor.
        PermissionDenied, Forbidden: the actor may not do this to it.
    """
    project, scope = find_scope(actor, project_id, permission)
    indexes = Index.objects.filter(project=project)
    index = find_index(indexes.select_for_update() if lock else indexes, name)
    if scope is not None and index.pk not in scope:
        authorize(
            actor,
            permission,
            organization_id=project.organization_id,
            project_id=project.pk,
            index_id=index.pk,
            what=f"index {shown(name)}",
        )
    index.project = project
    return index


def get_index_by_id(
    actor: Actor,
    project_id: UUID,
    index_id: UUID,
    permission: Permission = Permission.INDEX_READ,
    *,
    gone: bool = False,
) -> Index:
    """The project's index of that id, on which the actor holds the permission, with its project
    and organization.

    Args:
        gone: whether one that has been deleted is found, too.

    Raises:
        NotFound: no such index, or no such project for the actor.
        PermissionDenied, Forbidden: the actor may not do this to it.
    """
    find_project(actor, project_id, permission, index_id=index_id)
    index = (
        Index.objects.select_related("project__organization")
        .filter(pk=index_id, project=project_id)
        .first()
    )
    if index is None or (index.deleted_at and not gone):
        raise no_such(f"index {index_id}")
    return index


def find_index(indexes: QuerySet[Index], name: str) -> Index:
    """The index of that name among `indexes`.

    Raises:
        NotFound: none has it, or none could have it.
    """
    index = indexes.filter(name=name, deleted_at=None).first() if is_name(name) else None
    if index is None:
        raise NotFound(f"No index {shown(name)} in this project. GET /indexes lists them.")
    return index


def pending_operation(index: Index) -> Operation | None:
    """The work that is still to be done on the index, newest wish first."""
    return index.operations.filter(state=Operation.State.PENDING).order_by("-generation").first()


def wanted_deployments() -> list[Deployment]:
    """The deployments on this node whose servers have to run and that no operation is busy with."""
    return [each for each in _settled_deployments() if not each.index.project.is_archived]


def resting_deployments() -> list[Deployment]:
    """Those whose servers would have to run if their projects were not archived."""
    return [each for each in _settled_deployments() if each.index.project.is_archived]


def _settled_deployments() -> QuerySet[Deployment]:
    return Deployment.objects.filter(
        node=settings.TAMARACK_NODE,
        removed_at=None,
        desired_state=Deployment.Desired.RUNNING,
        index__state=Index.State.READY,
    ).select_related("index__project")


def taken_upstream_ports() -> set[int]:
    """The ports that servers on this node have."""
    live = Deployment.objects.filter(node=settings.TAMARACK_NODE, removed_at=None)
    return set(live.values_list("port", flat=True))


def serving_counts() -> tuple[int, int]:
    """How many of this node's index servers serve right now, and how many have to. Asks each one.

    Raises:
        CertificateError, KeyUnavailable: this node can't show who it is.
    """
    wanted = wanted_deployments()
    serving = [each for each in wanted if each.index.is_ready and is_healthy(each)]
    return len(serving), len(wanted)


def host_of(index: Index) -> str:
    """Where clients reach the index, without scheme; known from the first moment on."""
    if settings.TAMARACK_ADDRESSING == "port":
        # Always a host that official clients accept: with a dot, or `localhost`.
        return f"{settings.TAMARACK_PUBLIC_HOST}:{index.gateway_port}"
    host = f"{index.label}.{settings.TAMARACK_INDEX_DOMAIN}"
    port = settings.TAMARACK_PUBLIC_PORT
    return host if port == _DEFAULT_HTTPS_PORT else f"{host}:{port}"


def route_for(host: str, port: int | None) -> Route | None:
    """The index that a call is for, or None where the address is nobody's. One query, no writes.

    Args:
        host: what the client asked for, `<host>[:<port>]`; decides under `host` addressing.
        port: the gateway's own port that the call came in by; decides under `port` addressing.
    """
    if settings.TAMARACK_ADDRESSING == "port":
        if port not in settings.TAMARACK_INDEX_PORTS:
            return None
        wanted = Q(gateway_port=port)
    else:
        name = host.rsplit(":", 1)[0].rstrip(".").lower()
        label, _, domain = name.partition(".")
        if domain != settings.TAMARACK_INDEX_DOMAIN.lower() or not _HOST_LABEL.fullmatch(label):
            return None
        wanted = Q(label=label)
    row = (
        Index.objects.alias(
            live=FilteredRelation("deployments", condition=Q(deployments__removed_at=None))
        )
        .filter(wanted, deleted_at=None)
        .values_list(
            "pk",
            "project_id",
            "project__organization_id",
            "state",
            "cause",
            "live__pk",
            "live__address",
            "live__port",
        )
        .first()
    )
    if row is None:
        return None
    index_id, project_id, organization_id, state, cause, deployment_id, address, upstream = row
    return Route(
        deployment_id=deployment_id,
        index_id=index_id,
        project_id=project_id,
        organization_id=organization_id,
        address=f"{address}:{upstream}" if deployment_id else "",
        ready=state == Index.State.READY and not cause and deployment_id is not None,
        state=state,
    )
