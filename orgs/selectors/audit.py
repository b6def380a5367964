"""Reading an organization's audit trail, for those who may."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from audit import selectors
from audit.models import AuditEvent, Log, Stream
from audit.selectors import NoSuchSize, Proof
from audit.signing import verifier_of
from kms.envelope import KeyUnavailable
from orgs.actors import Actor
from orgs.errors import OutOfRange, Unavailable, no_such
from orgs.permissions import Permission, authorize

SIGNING = "Checkpoints can't be signed now: the key management does not answer. Try again later."


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted; what is None does not count.

    Attributes:
        since, until: from the one up to, not including, the other.
        q: a text that some label, id, address or type has to contain, whatever its case.
    """

    type: str | None = None
    actor_id: str | None = None
    resource_kind: str | None = None
    resource_id: str | None = None
    outcome: str | None = None
    request_id: str | None = None
    decision_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None


_SEARCHED = ("actor_label", "resource_label", "type", "actor_id", "resource_id", "ip")


def events_of(actor: Actor, organization_id: UUID, wanted: EventFilter) -> QuerySet[AuditEvent]:
    """The organization's events, those not sealed yet included.

    Raises:
        NotFound, PermissionDenied: the actor may not read them.
    """
    _may_read(actor, organization_id)
    conditions = Q(organization_id=organization_id)
    for name in ("type", "actor_id", "resource_kind", "resource_id", "outcome", "request_id"):
        value = getattr(wanted, name)
        if value is not None:
            conditions &= Q(**{name: value})
    if wanted.decision_id is not None:
        conditions &= Q(decision_id=wanted.decision_id)
    if wanted.since is not None:
        conditions &= Q(time__gte=wanted.since)
    if wanted.until is not None:
        conditions &= Q(time__lt=wanted.until)
    if wanted.q is not None:
        found = Q()
        for name in _SEARCHED:
            found |= Q(**{f"{name}__icontains": wanted.q})
        conditions &= found
    return AuditEvent.objects.filter(conditions)


def get_event(actor: Actor, organization_id: UUID, event_id: UUID) -> AuditEvent:
    """One event of the organization.

    Raises:
        NotFound, PermissionDenied: there is none, or the actor may not read it.
    """
    _may_read(actor, organization_id)
    found = AuditEvent.objects.filter(pk=event_id, organization_id=organization_id).first()
    if found is None:
        raise no_such(f"audit event {event_id}")
    return found


@dataclass(frozen=True, slots=True)
class SignedTree:
    """A checkpoint and the key that it is checked with."""

    size: int
    root: bytes
    note: str
    public_key: str


def checkpoint_of(actor: Actor, organization_id: UUID, size: int | None = None) -> SignedTree:
    """The log as it is, or was with `size` events, signed.

    Raises:
        NotFound, PermissionDenied: the actor may not read it.
        OutOfRange: the log never had so many events.
        Unavailable: the key to sign with can't be had.
    """
    _may_read(actor, organization_id)
    try:
        size = selectors.size_of(organization_id) if size is None else size
        return SignedTree(
            size=size,
            root=selectors.root_of(organization_id, size),
            note=selectors.checkpoint_of(organization_id, size),
            public_key=str(verifier_of(organization_id)),
        )
    except NoSuchSize as error:
        raise OutOfRange(str(error)) from error
    except KeyUnavailable as error:
        raise Unavailable(SIGNING) from error


def inclusion_proof(
    actor: Actor, organization_id: UUID, seq: int, size: int | None = None
) -> tuple[bytes, Proof]:
    """The leaf hash of event `seq`, and the proof that it is in the log of `size` events.

    Raises:
        NotFound, PermissionDenied: the actor may not read it.
        OutOfRange: there is no such event or never was such a size.
    """
    _may_read(actor, organization_id)
    try:
        return (
            selectors.leaf_of(organization_id, seq),
            selectors.inclusion_proof(organization_id, seq, size),
        )
    except NoSuchSize as error:
        raise OutOfRange(str(error)) from error


def consistency_proof(
    actor: Actor, organization_id: UUID, old: int, new: int | None = None
) -> tuple[bytes, Proof]:
    """The root of the log of `old` events, and the proof that it grew from there to `new`.

    Raises:
        NotFound, PermissionDenied: the actor may not read it.
        OutOfRange: the log never had those sizes.
    """
    _may_read(actor, organization_id)
    try:
        proof = selectors.consistency_proof(organization_id, old, new)
        return selectors.root_of(organization_id, old), proof
    except NoSuchSize as error:
        raise OutOfRange(str(error)) from error


def log_of(actor: Actor, organization_id: UUID) -> Log:
    """The head of the organization's log and how long events are kept.

    Raises:
        NotFound, PermissionDenied: the actor may not read it.
    """
    _may_read(actor, organization_id)
    return Log.objects.filter(pk=organization_id).first() or Log(pk=organization_id)


def streams_of(actor: Actor, organization_id: UUID) -> QuerySet[Stream]:
    """Where the organization's events are sent.

    Raises:
        NotFound, PermissionDenied: the actor may not read it.
    """
    _may_read(actor, organization_id)
    return Stream.objects.filter(log_id=organization_id)


def get_stream(actor: Actor, organization_id: UUID, stream_id: UUID) -> Stream:
    """One of them.

    Raises:
        NotFound, PermissionDenied: there is none, or the actor may not see it.
    """
    found = streams_of(actor, organization_id).filter(pk=stream_id).first()
    if found is None:
        raise no_such(f"audit stream {stream_id}")
    return found


def _may_read(actor: Actor, organization_id: UUID) -> None:
    authorize(
        actor,
        Permission.AUDIT_READ,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )
