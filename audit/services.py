"""Writing the audit trail. Called inside the transaction of the change: no record, no change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from audit.events import PUBLIC_FIELDS, REDACTED, EventType
from audit.models import AuditEvent

# Every JSON reader can hold these (RFC 8785 §3.2.2.3); anything larger is kept as text.
MAX_INTEGER = 2**53 - 1
Plain = str | int | bool | None | list["Plain"] | dict[str, "Plain"]


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
    """Append one event.

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
    return AuditEvent.objects.create(
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
            _text(name): {
                "before": _kept(name, before),
                "after": _kept(name, after),
            }
            for name, (before, after) in (changes or {}).items()
        },
    )


def _kept(name: str, value: object) -> Plain:
    return _plain(value) if name in PUBLIC_FIELDS else REDACTED


def _public(fields: Mapping[str, object]) -> dict[str, Plain]:
    return {_text(str(name)): _kept(str(name), value) for name, value in fields.items()}


def _plain(value: object) -> Plain:
    """As JSON that reads the same everywhere: text, integers, booleans, null, lists, objects."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return _public(value)
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return _text(str(value))


def _fitting(field: str, value: str) -> str:
    return _text(value)[: AuditEvent._meta.get_field(field).max_length]


def _text(value: str) -> str:
    """Text that every database keeps: without NUL and lone surrogates."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
