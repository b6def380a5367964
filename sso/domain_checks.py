"""What DNS says decides about a domain: proven, failing, lapsed.

Below the services, so that the schedule uses the same rules as a person who asks.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from audit.events import EventType
from audit.services import record
from orgs.actors import Actor, system
from orgs.errors import AlreadyExists
from orgs.permissions import Permission
from rest.wording import shown
from sso.dns import Lookup, lookup_txt
from sso.models import Domain
from sso.notices import mail_owners

EVERY = timedelta(hours=24)
"""How often the record of a verified domain is looked for."""
GRACE = timedelta(days=7)
"""For how long it may be missing."""
_SHOWN_TEXTS = 3
_ERROR_LENGTH = 500

logger = logging.getLogger(__name__)


def problem_of(domain: Domain, found: Lookup) -> str:
    """Why the answer proves nothing; empty: the record is there."""
    if domain.record_value in {text.strip() for text in found.texts}:
        return ""
    if found.problem:
        return found.problem
    texts = ", ".join(shown(text) for text in found.texts[:_SHOWN_TEXTS])
    return f"{domain.record_name} says {texts}, not {domain.record_value}."[:_ERROR_LENGTH]


def note_verified(actor: Actor, domain: Domain, *, detail: dict[str, object]) -> None:
    """Take the domain as proven. The row is locked, and so is its organization.

    Raises:
        AlreadyExists: another organization has proven that it owns the domain.
    """
    now = timezone.now()
    was_verified = domain.verified_at is not None
    domain.verified_at = domain.verified_at or now
    domain.checked_at, domain.failing_since, domain.last_error = now, None, ""
    domain.version += 1
    try:
        with transaction.atomic():
            domain.save()
    except IntegrityError as error:
        raise AlreadyExists(
            f"{domain.name} is verified by another organization of this installation. It is free"
            " once that one removes it, or its TXT record has been gone for 7 days. If it belongs"
            " to you, ask the operator of this installation."
        ) from error
    if not was_verified:
        _record(EventType.DOMAIN_VERIFIED, actor, domain, detail)


def due() -> list[UUID]:
    """The verified domains whose record is to be looked for, the longest unseen first."""
    unseen = Q(checked_at=None) | Q(checked_at__lt=timezone.now() - EVERY)
    rows = Domain.objects.filter(unseen, verified_at__isnull=False, is_vouched=False)
    oldest = rows.order_by(F("checked_at").asc(nulls_first=True), "pk")
    return list(oldest.values_list("pk", flat=True)[:200])


def recheck(domain_id: UUID) -> None:
    """Look for the record of a verified domain, unless somebody else just did.

    An answer that it is gone begins the grace period, with a mail to the owners; at its end the
    domain is not verified any more, with another. No answer at all changes nothing.
    """
    domain = Domain.objects.filter(
        pk=domain_id, verified_at__isnull=False, is_vouched=False
    ).first()
    now = timezone.now()
    if domain is None or (domain.checked_at is not None and domain.checked_at > now - EVERY):
        return
    # Whoever moves the time has the turn.
    mine = Domain.objects.filter(pk=domain_id, checked_at=domain.checked_at)
    if not mine.update(checked_at=now):
        return
    found = lookup_txt(domain.record_name)
    problem = problem_of(domain, found)
    with transaction.atomic():
        row = (
            Domain.objects.select_for_update(of=("self",))
            .select_related("organization", "connection")
            .filter(pk=domain_id, verified_at__isnull=False, is_vouched=False)
            .first()
        )
        if row is None or row.token != domain.token:
            return
        if not problem:
            row.failing_since, row.last_error = None, ""
            row.save(update_fields=["failing_since", "last_error"])
        else:
            _note_problem(row, problem, is_certain=found.is_certain, now=now)


def _note_problem(domain: Domain, problem: str, *, is_certain: bool, now: datetime) -> None:
    domain.last_error = problem
    if not is_certain:
        logger.warning("The domain %s can't be checked: %s", domain.name, problem)
        domain.save(update_fields=["last_error"])
    elif domain.failing_since is None:
        domain.failing_since = now
        domain.save(update_fields=["failing_since", "last_error"])
        mail_owners(
            domain.organization_id,
            subject=f"The proof for {domain.name} is gone",
            text=_missing_text(domain, problem, now),
        )
    elif domain.failing_since <= now - GRACE:
        _lapse(domain, problem)
    else:
        domain.save(update_fields=["last_error"])


def _lapse(domain: Domain, problem: str) -> None:
    domain.verified_at = domain.failing_since = None
    domain.version += 1
    domain.save()
    _record(EventType.DOMAIN_LAPSED, system("check of domains"), domain, {"reason": problem})
    mail_owners(
        domain.organization_id,
        subject=f"{domain.name} is not verified any more",
        text=(
            f"The TXT record of {domain.name} has been missing for {GRACE.days} days:\n\n{problem}"
            f"\n\nSo {domain.organization.name} does not count as its owner any more, and nobody"
            f" with an address there can sign in by single sign-on.\n\n{_what_to_do(domain)}"
            " Then verify the domain again.\n"
        ),
    )


def _missing_text(domain: Domain, problem: str, now: datetime) -> str:
    until = now + GRACE
    return (
        f"The TXT record by which {domain.organization.name} proves that it owns {domain.name}"
        f" can't be found any more:\n\n{problem}\n\nUntil {until:%Y-%m-%d} nothing changes. From"
        " then on nobody with an address there can sign in by single sign-on.\n\n"
        f"{_what_to_do(domain)}\n"
    )


def _what_to_do(domain: Domain) -> str:
    return f"Put this record back:\n\n{domain.record_name}  TXT  {domain.record_value}\n\n"


def _record(event: EventType, actor: Actor, domain: Domain, detail: dict[str, object]) -> None:
    record(
        event,
        actor=actor,
        organization_id=domain.organization_id,
        resource=("domain", domain.pk, domain.name),
        permission=Permission.SSO_MANAGE.value,
        detail={"domain": domain.name, **detail},
    )
