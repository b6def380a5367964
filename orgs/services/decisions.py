"""Writing down what was denied."""

from __future__ import annotations

import hashlib
import json
import logging
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import CharField, F
from django.utils import timezone

from audit.canonical import clean
from audit.events import EventType
from audit.models import AuditEvent
from audit.services import record
from orgs.decisions import Denial
from orgs.models import Decision, Organization
from orgs.selectors.decisions import rules_of_denial

logger = logging.getLogger(__name__)


def record_denial(denial: Denial) -> UUID | None:
    """Keep the denial, in a transaction of its own, and tell the id that it can be looked up by.

    Equal ones within the same minute are one decision that counts them, with one audit event. None:
    it could not be written down; the denial stands nevertheless, and the log has it. None too where
    there is no such organization: whoever makes ids up must not begin a trail with each of them.
    """
    try:
        return _record(denial)
    except Exception:
        logger.exception(
            "The denial of %s to %s %s could not be written down",
            denial.permission,
            denial.actor.kind,
            denial.actor.id,
        )
        return None


@transaction.atomic
def _record(denial: Denial) -> UUID | None:
    fingerprint = _fingerprint(denial)
    known = _counted(fingerprint)
    if known is not None:
        return known
    if not Organization.objects.filter(pk=denial.organization_id).exists():
        return None
    actor = denial.actor
    try:
        with transaction.atomic():
            row = Decision.objects.create(
                id=denial.id,
                organization_id=denial.organization_id,
                project_id=denial.project_id,
                index_id=denial.index_id,
                actor_kind=_fitting("actor_kind", actor.kind),
                actor_id=_fitting("actor_id", actor.id),
                actor_label=_fitting("actor_label", actor.label),
                permission=denial.permission,
                what=_fitting("what", denial.what),
                hidden=denial.hidden,
                reason=_fitting("reason", denial.reason),
                trace=[rule.as_json() for rule in rules_of_denial(denial)],
                ip=_fitting("ip", actor.ip),
                request_id=_fitting("request_id", actor.request_id),
                fingerprint=fingerprint,
            )
    except IntegrityError:
        # Somebody else wrote it down between the two statements.
        known = _counted(fingerprint)
        if known is None:
            raise
        return known
    record(
        EventType.ACCESS_DENIED,
        actor=actor,
        organization_id=denial.organization_id,
        resource=_resource(denial),
        permission=denial.permission,
        decision_id=row.pk,
        detail={"reason": denial.reason} if denial.reason else None,
        outcome=AuditEvent.Outcome.FAILURE,
    )
    return row.pk


def _counted(fingerprint: str) -> UUID | None:
    """The decision of that fingerprint, counted once more; None: there is none yet."""
    rows = Decision.objects.filter(fingerprint=fingerprint)
    if not rows.update(count=F("count") + 1):
        return None
    return rows.values_list("pk", flat=True).get()


def _fingerprint(denial: Denial) -> str:
    """Who was denied what and where, in which minute."""
    what = [
        denial.actor.kind,
        denial.actor.id,
        denial.permission,
        str(denial.organization_id),
        str(denial.project_id),
        str(denial.index_id),
        denial.what,
        denial.hidden,
        denial.reason,
        int(timezone.now().timestamp()) // 60,
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _resource(denial: Denial) -> tuple[str, object, str]:
    if denial.index_id is not None:
        return "index", denial.index_id, denial.what
    if denial.project_id is not None:
        return "project", denial.project_id, denial.what
    return "organization", denial.organization_id, denial.what


def _fitting(field: str, value: str) -> str:
    column = Decision._meta.get_field(field)
    assert isinstance(column, CharField)  # noqa: S101  for the type checker
    return clean(value)[: column.max_length]
