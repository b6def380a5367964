"""What people do with their organization's audit trail: export it, send it on, say how long."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit import selectors
from audit.canonical import Plain
from audit.events import EventType
from audit.exports import export_lines
from audit.models import INSTALLATION, MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, Log, Stream
from audit.selectors import NoSuchSize
from audit.services import record
from audit.streams.configuration import BadConfiguration, checked, checked_secret
from audit.streams.secrets import wrapped
from audit.streams.webhook import new_secret
from kms.envelope import KeyUnavailable
from orgs.actors import Actor
from orgs.entitlements import require
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    QuotaExceeded,
    Unavailable,
    no_such,
)
from orgs.models import Organization
from orgs.permissions import Permission, authorize
from orgs.plans import Entitlement
from orgs.selectors.audit import SIGNING
from orgs.services.checks import VersionCheck, any_version, check_name

NAME_LENGTH = 80
MAX_STREAMS = 20


@transaction.atomic
def export_events(
    *,
    actor: Actor,
    organization_id: UUID,
    from_seq: int | None = None,
    end_seq: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    witness_size: int | None = None,
) -> Iterator[str]:
    """The events as JSON lines that `manage.py audit_verify` checks; the export is on record.

    Args:
        from_seq, end_seq: from the one up to, not including, the other (None: all there are).
        since, until: the same by time; what was sealed in between is included.
        witness_size: the size of a checkpoint that was kept: a proof of growth since is added.

    Raises:
        NotFound, PermissionDenied: the actor may not, or the plan does not include it.
        InvalidArgument: numbers and times are both given.
        OutOfRange: the log does not have those events or never had that size.
        Unavailable: the key that signs checkpoints can't be had.
    """
    _authorize(actor, Permission.AUDIT_READ, organization_id)
    _require_export(actor, organization_id)
    by_number = from_seq is not None or end_seq is not None
    by_time = since is not None or until is not None
    if by_number and by_time:
        raise InvalidArgument("Say either from_seq and end_seq, or since and until: not both.")
    if by_time:
        start, end = selectors.range_of(organization_id, since, until)
    else:
        start = from_seq or 0
        end = selectors.size_of(organization_id) if end_seq is None else end_seq
    return _export(actor, organization_id, organization_id, (start, end), witness_size)


@transaction.atomic
def export_installation(*, actor: Actor) -> Iterator[str]:
    """The log of what belongs to no organization, for the operator.

    Raises:
        PermissionDenied: anybody else asks.
        Unavailable: the key that signs checkpoints can't be had.
    """
    if not actor.is_system:
        raise PermissionDenied("Only the operator reads the log of the installation.")
    whole = (0, selectors.size_of(INSTALLATION))
    return _export(actor, INSTALLATION, None, whole, None)


def _export(
    actor: Actor,
    log_id: UUID,
    organization_id: UUID | None,
    numbers: tuple[int, int],
    witness_size: int | None,
) -> Iterator[str]:
    start, end = numbers
    try:
        lines = export_lines(log_id, start, end, witness_size)
    except NoSuchSize as error:
        raise OutOfRange(str(error)) from error
    except KeyUnavailable as error:
        raise Unavailable(SIGNING) from error
    record(
        EventType.AUDIT_EXPORTED,
        actor=actor,
        organization_id=organization_id,
        resource=("audit_log", log_id, "audit log"),
        permission=Permission.AUDIT_READ,
        detail={"from_seq": start, "end_seq": end},
    )
    return lines


@transaction.atomic
def update_retention(
    *, actor: Actor, organization_id: UUID, days: int, check: VersionCheck = any_version
) -> Log:
    """Say for how many days events are kept. Their hashes stay for good.

    Args:
        check: raises where the days in force are not those that the actor has seen.

    Raises:
        NotFound, PermissionDenied: the actor may not.
        OutOfRange: outside 30 to 3650 days.
    """
    _authorize(actor, Permission.AUDIT_MANAGE, organization_id)
    if not MIN_RETENTION_DAYS <= days <= MAX_RETENTION_DAYS:
        raise OutOfRange(
            f"Events are kept for {MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS} days, not {days}."
        )
    log = _locked_log(organization_id)
    check(log.retention_days)
    before, log.retention_days = log.retention_days, days
    if before != days:
        log.save(update_fields=["retention_days"])
        record(
            EventType.AUDIT_RETENTION_UPDATED,
            actor=actor,
            organization_id=organization_id,
            resource=("audit_log", organization_id, "audit log"),
            permission=Permission.AUDIT_MANAGE,
            changes={"days": (before, days)},
        )
    return log


@transaction.atomic
def create_stream(
    *,
    actor: Actor,
    organization_id: UUID,
    name: str,
    kind: Stream.Kind,
    config: Mapping[str, object],
    secret: str = "",
    from_seq: int | None = None,
) -> tuple[Stream, str]:
    """Send the organization's events somewhere from now on, or from event `from_seq` on. Who says
    where they go can read them, so that takes both permissions.

    Returns:
        The stream and, for a webhook, the secret that its deliveries are signed with: told this
        once.

    Raises:
        NotFound, PermissionDenied: the actor may not, or the plan does not include it.
        InvalidArgument: name, configuration or secret break their rules.
        OutOfRange: the log has no such event.
        AlreadyExists: the organization has a stream of that name.
        QuotaExceeded: it has 20 streams.
        Unavailable: the secret can't be wrapped now.
    """
    _authorize(actor, Permission.AUDIT_MANAGE, organization_id)
    _authorize(actor, Permission.AUDIT_READ, organization_id)
    _require_export(actor, organization_id)
    shown = new_secret() if kind == Stream.Kind.WEBHOOK else ""
    stream_id = uuid.uuid4()
    stream = Stream(
        pk=stream_id,
        log_id=organization_id,
        name=check_name(name, "stream", limit=NAME_LENGTH),
        kind=kind,
        config=_checked(kind, config),
        wrapped_secret=_wrapped(stream_id, _checked_secret(kind, secret) or shown),
    )
    log = _locked_log(organization_id)
    if Stream.objects.filter(log_id=organization_id).count() >= MAX_STREAMS:
        raise QuotaExceeded(
            f"An organization has at most {MAX_STREAMS} audit streams: delete one first."
        )
    stream.next_seq = log.size if from_seq is None else from_seq
    if not 0 <= stream.next_seq <= log.size:
        raise OutOfRange(f"The log has {log.size} events: there is no event {from_seq}.")
    _save(stream)
    record(
        EventType.AUDIT_STREAM_CREATED,
        actor=actor,
        organization_id=organization_id,
        resource=("audit_stream", stream.pk, stream.name),
        permission=Permission.AUDIT_MANAGE,
        detail={"kind": stream.kind, "host": host_of(stream), "from_seq": stream.next_seq},
    )
    return stream, shown


@transaction.atomic
def update_stream(
    *,
    actor: Actor,
    organization_id: UUID,
    stream_id: UUID,
    name: str | None = None,
    config: Mapping[str, object] | None = None,
    secret: str | None = None,
    enabled: bool | None = None,
    check: VersionCheck = any_version,
) -> Stream:
    """Change what is given; the configuration as a whole. Delivery is tried again at once.

    Nothing is lost meanwhile: a stream that is off goes on with the next event when it is on again.

    Raises:
        NotFound, PermissionDenied: the actor may not.
        InvalidArgument: name, configuration or secret break their rules.
        AlreadyExists: the organization has another stream of that name.
        Unavailable: the secret can't be wrapped now.
    """
    _authorize(actor, Permission.AUDIT_MANAGE, organization_id)
    if config is not None:
        _authorize(actor, Permission.AUDIT_READ, organization_id)
    stream = _locked_stream(organization_id, stream_id)
    check(stream.version)
    kind = Stream.Kind(stream.kind)
    changes: dict[str, tuple[object, object]] = {}
    if name is not None:
        name = check_name(name, "stream", limit=NAME_LENGTH)
        if name != stream.name:
            changes["name"], stream.name = (stream.name, name), name
    if config is not None:
        before, found = host_of(stream), _checked(kind, config)
        if found != stream.config:
            stream.config = found
            changes["host"], changes["config"] = (before, host_of(stream)), ("", "")
    if secret is not None:
        if kind != Stream.Kind.S3:
            raise InvalidArgument(f"A {kind.value} stream takes no secret from outside.")
        stream.wrapped_secret = _wrapped(stream.pk, _checked_secret(kind, secret))
        changes["secret"] = ("", "")
    if enabled is not None and enabled != stream.is_enabled:
        changes["enabled"], stream.is_enabled = (stream.is_enabled, enabled), enabled
    if not changes:
        return stream
    stream.version += 1
    stream.next_attempt_at = timezone.now()
    _save(stream)
    record(
        EventType.AUDIT_STREAM_UPDATED,
        actor=actor,
        organization_id=organization_id,
        resource=("audit_stream", stream.pk, stream.name),
        permission=Permission.AUDIT_MANAGE,
        changes=changes,
    )
    return stream


@transaction.atomic
def rotate_stream_secret(
    *, actor: Actor, organization_id: UUID, stream_id: UUID, check: VersionCheck = any_version
) -> tuple[Stream, str]:
    """Sign a webhook's deliveries with a new secret from now on, and tell it this once.

    Raises:
        NotFound, PermissionDenied: the actor may not.
        FailedPrecondition: the stream is no webhook.
        Unavailable: the secret can't be wrapped now.
    """
    _authorize(actor, Permission.AUDIT_MANAGE, organization_id)
    stream = _locked_stream(organization_id, stream_id)
    check(stream.version)
    if stream.kind != Stream.Kind.WEBHOOK:
        raise FailedPrecondition(f"The stream {stream.name!r} is no webhook: it signs nothing.")
    secret = new_secret()
    stream.wrapped_secret = _wrapped(stream.pk, secret)
    stream.version += 1
    _save(stream)
    record(
        EventType.AUDIT_STREAM_UPDATED,
        actor=actor,
        organization_id=organization_id,
        resource=("audit_stream", stream.pk, stream.name),
        permission=Permission.AUDIT_MANAGE,
        changes={"secret": ("", "")},
    )
    return stream, secret


@transaction.atomic
def delete_stream(
    *, actor: Actor, organization_id: UUID, stream_id: UUID, check: VersionCheck = any_version
) -> None:
    """Send nothing there any more; what has not been delivered will not be.

    Raises:
        NotFound, PermissionDenied: the actor may not.
    """
    _authorize(actor, Permission.AUDIT_MANAGE, organization_id)
    stream = _locked_stream(organization_id, stream_id)
    check(stream.version)
    record(
        EventType.AUDIT_STREAM_DELETED,
        actor=actor,
        organization_id=organization_id,
        resource=("audit_stream", stream.pk, stream.name),
        permission=Permission.AUDIT_MANAGE,
        detail={"kind": stream.kind, "host": host_of(stream), "from_seq": stream.next_seq},
    )
    stream.delete()


def host_of(stream: Stream) -> str:
    """Where it leads, without paths, which may hold tokens."""
    config: dict[str, str] = stream.config
    address = config.get("url") or config.get("endpoint")
    return (urlsplit(address).hostname or "") if address else config["host"]


def _authorize(actor: Actor, permission: Permission, organization_id: UUID) -> None:
    authorize(
        actor,
        permission,
        organization_id=organization_id,
        what=f"organization {organization_id}",
    )


def _require_export(actor: Actor, organization_id: UUID) -> None:
    what = f"organization {organization_id}"
    if actor.is_system:
        # A log outlives its organization; the operator can still export it.
        if not Log.objects.filter(pk=organization_id).exists():
            raise no_such(what)
        return
    organization = Organization.objects.filter(pk=organization_id).first()
    if organization is None:
        raise no_such(what)
    require(organization, Entitlement.AUDIT_EXPORT)


def _locked_log(organization_id: UUID) -> Log:
    Log.objects.get_or_create(pk=organization_id)
    return Log.objects.select_for_update().get(pk=organization_id)


def _locked_stream(organization_id: UUID, stream_id: UUID) -> Stream:
    rows = Stream.objects.select_for_update()
    stream = rows.filter(pk=stream_id, log_id=organization_id).first()
    if stream is None:
        raise no_such(f"audit stream {stream_id}")
    return stream


def _checked(kind: Stream.Kind, config: Mapping[str, object]) -> dict[str, Plain]:
    try:
        return checked(kind, config)
    except BadConfiguration as error:
        raise InvalidArgument(f"config: {error}") from error


def _checked_secret(kind: Stream.Kind, secret: str) -> str:
    try:
        return checked_secret(kind, secret)
    except BadConfiguration as error:
        raise InvalidArgument(str(error)) from error


def _wrapped(stream_id: UUID, secret: str) -> str:
    try:
        return wrapped(stream_id, secret)
    except KeyUnavailable as error:
        raise Unavailable(
            "The secret can't be stored now: the key management does not answer. Try again later."
        ) from error


def _save(stream: Stream) -> None:
    """Insert it, or write what people change; what delivery writes stays as it is meanwhile."""
    columns = ["name", "config", "wrapped_secret", "is_enabled", "version", "next_attempt_at"]
    try:
        with transaction.atomic():
            if stream._state.adding:
                stream.save(force_insert=True)
            else:
                stream.save(update_fields=columns)
    except IntegrityError as error:
        raise AlreadyExists(
            f"The organization has an audit stream named {stream.name!r} already."
        ) from error
