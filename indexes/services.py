"""Creating, changing and deleting indexes: wishes, which `provisioning` carries out."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from indexes import addresses, provisioning
from indexes.models import DataKey, Deployment, Index, Operation
from indexes.rules import MAX_TAGS, IndexSpec, check_spec, check_tags, label_for
from indexes.selectors import find_project, get_index
from indexes.tasks import send_hint
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    Forbidden,
    InvalidArgument,
    Unavailable,
    no_such,
)
from orgs.permissions import Permission
from orgs.plans import Entitlement
from projects.models import Project
from projects.quotas import Quota, check_active, check_room, check_standing, project_quota
from rest.wording import shown

CONFLICT_TRIES = 8
"""How often a creation starts over after another project's took the same port first."""


def create_index(*, actor: Actor, project_id: UUID, spec: IndexSpec) -> Index:
    """An index in state Initializing; the queue is told to bring it up.

    Safe under concurrency: the project's row is locked while its quota is counted, and what that
    lock can't see (ports are shared by all projects) the unique constraints refuse.

    Raises:
        NotFound, PermissionDenied: the actor may not create indexes there.
        InvalidArgument: a value breaks its rule.
        AlreadyExists: the project has an index of that name.
        FailedPrecondition: the project is archived.
        PaymentRequired: the organization has to settle its account first.
        QuotaExceeded: the project has as many indexes as it may, or no address is left.
        Unavailable: others took every address that was tried; trying again helps.
    """
    project = find_project(actor, project_id, Permission.INDEX_CREATE)
    check_spec(spec)
    for attempt in range(CONFLICT_TRIES):
        try:
            with transaction.atomic():
                return _create(actor, project.pk, spec, spread=attempt > 0)
        except IntegrityError:
            continue
    raise Unavailable("Too many indexes are being created at this moment. Try again.")


@transaction.atomic
def preview_index(*, actor: Actor, project_id: UUID, spec: IndexSpec) -> list[Quota]:
    """The quotas that the index would count against; everything else is checked, nothing written.

    Raises:
        Refused: as `create_index`, but for a full quota.
    """
    project = find_project(actor, project_id, Permission.INDEX_CREATE)
    check_spec(spec)
    _, quota = _check_new(project.pk, spec)
    return [quota, *addresses.quotas()]


def _check_new(project_id: UUID, spec: IndexSpec) -> tuple[Project, Quota]:
    """The project, locked, with its organization, and its quota of indexes.

    Raises:
        NotFound: the project is gone.
        FailedPrecondition, PaymentRequired, AlreadyExists: nothing can be made there now.
    """
    project = (
        Project.objects.select_for_update(of=("self",))
        .select_related("organization")
        .filter(pk=project_id)
        .first()
    )
    if project is None:
        raise no_such(f"project {project_id}")
    check_active(project)
    check_standing(project.organization)
    if Index.objects.filter(project=project, deleted_at=None, name=spec.name).exists():
        raise AlreadyExists(
            f"The project has an index {shown(spec.name)} already."
            " Choose another name, or delete that index first."
        )
    return project, project_quota(project, Entitlement.MAX_INDEXES_PER_PROJECT)


def _create(actor: Actor, project_id: UUID, spec: IndexSpec, *, spread: bool) -> Index:
    project, quota = _check_new(project_id, spec)
    check_room(quota)
    index = Index.objects.create(
        project=project,
        name=spec.name,
        dimension=spec.dimension,
        metric=spec.metric,
        vector_type=spec.vector_type,
        cloud=spec.cloud,
        region=spec.region,
        tags={key: value for key, value in spec.tags.items() if value},
        deletion_protection=spec.deletion_protection,
        label=label_for(spec.name, project.pk),
        gateway_port=addresses.free_port(spread=spread) if addresses.are_by_port() else None,
    )
    record(
        EventType.INDEX_CREATED,
        actor=actor,
        organization_id=project.organization_id,
        resource=("index", index.pk, index.name),
        detail={
            "project_id": str(project.pk),
            "dimension": index.dimension,
            "metric": index.metric,
            "vector_type": index.vector_type,
        },
    )
    _wish(index, Operation.Kind.CREATE)
    return index


def _wish(index: Index, kind: Operation.Kind) -> None:
    """Write down what is wanted of the processes; earlier wishes end. The queue gets a hint."""
    now = timezone.now()
    index.operations.filter(state=Operation.State.PENDING).update(
        state=Operation.State.SUPERSEDED, finished_at=now
    )
    operation = Operation.objects.create(
        index=index,
        kind=kind,
        generation=index.generation,
        step=provisioning.FIRST_STEP[kind],
    )
    # Robust: a queue that is down must not fail a request whose work is safely written down.
    transaction.on_commit(lambda: send_hint(operation.pk), robust=True)


@transaction.atomic
def configure_index(
    *,
    actor: Actor,
    project_id: UUID,
    name: str,
    tags: Mapping[str, str] | None = None,
    deletion_protection: bool | None = None,
) -> Index:
    """Change what was given and leave the rest. Tags are merged; an empty value deletes its tag.

    Raises:
        NotFound, PermissionDenied: no such index for the actor, or it may not change it.
        InvalidArgument: a tag breaks its rule, or the merged tags are too many.
        FailedPrecondition: the index is being deleted.
    """
    index = get_index(actor, project_id, name, Permission.INDEX_CONFIGURE, lock=True)
    if index.state == Index.State.TERMINATING:
        raise FailedPrecondition(f"The index {shown(name)} is being deleted: it can't be changed.")
    changed: dict[str, object] = {}
    if tags:
        check_tags(tags)
        merged = {key: value for key, value in {**index.tags, **tags}.items() if value}
        if len(merged) > MAX_TAGS:
            raise InvalidArgument(
                f"With these, the index would have {len(merged)} tags; {MAX_TAGS} is the most."
                " Delete some by giving them an empty value."
            )
        if merged != index.tags:
            changed["tags"] = sorted(key for key in tags if tags[key] != index.tags.get(key, ""))
            index.tags = merged
    if deletion_protection is not None and deletion_protection != index.deletion_protection:
        changed["deletion_protection"] = deletion_protection
        index.deletion_protection = deletion_protection
    if changed:
        index.save(update_fields=["tags", "deletion_protection"])
        record(
            EventType.INDEX_CONFIGURED,
            actor=actor,
            organization_id=index.project.organization_id,
            resource=("index", index.pk, index.name),
            detail={"project_id": str(index.project_id), "changed": changed},
        )
    return index


@transaction.atomic
def delete_index(*, actor: Actor, project_id: UUID, name: str) -> Index:
    """Let the index go to Terminating and from there away, its key first. Safe to repeat.

    Raises:
        NotFound, PermissionDenied: no such index for the actor, or it may not delete it.
        Forbidden: its deletion protection is on.
    """
    index = get_index(actor, project_id, name, Permission.INDEX_DELETE, lock=True)
    if index.state == Index.State.TERMINATING:
        return index
    if index.deletion_protection:
        raise Forbidden(
            f"The index {shown(name)} is protected against deletion."
            f" Set deletion_protection to disabled first (PATCH /indexes/{name})."
        )
    index.state = Index.State.TERMINATING
    index.cause = index.remedy = ""
    index.generation += 1
    index.save(update_fields=["state", "cause", "remedy", "generation"])
    record(
        EventType.INDEX_DELETION_REQUESTED,
        actor=actor,
        organization_id=index.project.organization_id,
        resource=("index", index.pk, index.name),
        detail={"project_id": str(index.project_id)},
    )
    _wish(index, Operation.Kind.DELETE)
    return index


def forget_indexes(project_id: UUID) -> int:
    """Remove what is left of the project's deleted indexes, which have neither key nor files any
    more; how many there were. For the deletion of the project, in its transaction.
    """
    gone = Index.objects.filter(project_id=project_id, deleted_at__isnull=False)
    Operation.objects.filter(index__in=gone).delete()
    DataKey.objects.filter(index__in=gone).delete()
    Deployment.objects.filter(index__in=gone).delete()
    count = gone.count()
    gone.delete()
    return count
