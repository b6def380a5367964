"""Writing the audit trail. Called inside the transaction of the change: no record, no change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import CharField

from audit.canonical import Plain, clean, plain
from audit.events import PUBLIC_FIELDS, REDACTED, EventType
from audit.models import INSTALLATION, AuditEvent, UnsealedEvent


class Doer(Protocol):
    """What the trail keeps of an actor (`orgs.actors.Actor` is one)."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def ip(self) -> str: ...
    @property
    def request_id(self) -> str: ...


# Without a savepoint: if the event can't be written, the whole change is lost, even where somebody
# catches the error.
@transaction.atomic(savepoint=False)
def record(  # noqa: PLR0913  all but the event by name
    event: EventType,
    *,
    actor: Doer,
    organization_id: UUID | None,
    resource: tuple[str, object, str],
    permission: str = "",
    decision_id: UUID | None = None,
    detail: Mapping[str, object] | None = None,
    changes: Mapping[str, tuple[object, object]] | None = None,
    outcome: AuditEvent.Outcome = AuditEvent.Outcome.SUCCESS,
) -> AuditEvent:
    """Append one event, inside the transaction of what it tells.

    Args:
        organization_id: whose trail it belongs to; None: the installation's own.
        resource: kind, id and label of what it happened to.
        permission: the permission that allowed it or, for a denial, the one that was missing.
        decision_id: the decision that it followed from.
        detail: facts about it.
        changes: field to its values before and after.

    The values of `detail` and `changes` are kept where `audit.events.PUBLIC_FIELDS` lists their
    names and replaced by a marker everywhere else. Text that is too long for its column is cut.
    """
    kind, identifier, label = resource
    made = AuditEvent.objects.create(
        type=event.value,
        outcome=outcome,
        organization_id=organization_id,
        actor_kind=actor.kind,
        actor_id=_fitting("actor_id", actor.id),
        actor_label=_fitting("actor_label", actor.label),
        resource_kind=kind,
        resource_id=_fitting("resource_id", str(identifier)),
        resource_label=_fitting("resource_label", label),
        ip=_fitting("ip", actor.ip),
        request_id=_fitting("request_id", actor.request_id),
        permission=permission,
        decision_id=decision_id,
        detail=_public(detail or {}),
        changes={
            clean(name): {
                "before": _kept(name, before),
                "after": _kept(name, after),
            }
            for name, (before, after) in (changes or {}).items()
        },
    )
    UnsealedEvent.objects.create(event=made, log_id=organization_id or INSTALLATION)
    return made


def _kept(name: str, value: object) -> Plain:
    """The value with everything in it that is not listed replaced."""
    if name not in PUBLIC_FIELDS:
        return REDACTED
    return plain(_without_secrets(value))


def _public(fields: Mapping[str, object]) -> dict[str, Plain]:
    return {clean(str(name)): _kept(str(name), value) for name, value in fields.items()}


def _without_secrets(value: object) -> object:
    if isinstance(value, Mapping):
        return _public(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | set | frozenset):
        return [_without_secrets(item) for item in value]
    return value


def _fitting(field: str, value: str) -> str:
    column = AuditEvent._meta.get_field(field)
    assert isinstance(column, CharField)  # noqa: S101  for the type checker
    return clean(value)[: column.max_length]
