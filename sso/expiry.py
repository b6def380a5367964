"""Warning owners before certificates end, and forgetting set-up links that are over."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from sso.models import Connection, IdpCertificate, SetupLink, SpKey
from sso.notices import mail_owners
from sso.selectors.connections import days_left

STEPS = (30, 14, 7, 1)
"""Days before the end at which owners are told, each once; and at the end, which is step 0."""
KEEP_LINKS = timedelta(days=30)
USED = (Connection.State.TESTING, Connection.State.ACTIVE, Connection.State.ENFORCED)


def warn_all() -> int:
    """Send the warnings that are due; how many certificates they are for.

    Safe to repeat and to interrupt: a step is marked in the transaction that writes its mail.
    """
    now = timezone.now()
    soon = now + timedelta(days=STEPS[0] + 1)
    certificates = IdpCertificate.objects.filter(
        connection__state__in=USED, not_after__lt=soon
    ).select_related("connection__organization")
    keys = SpKey.objects.filter(
        connection__state__in=USED, not_after__lt=soon, state=SpKey.State.CURRENT
    ).select_related("connection__organization")
    warned = [_warn(row, now) for row in certificates] + [_warn(row, now) for row in keys]
    return sum(warned)


def step_of(until: datetime, now: datetime) -> int | None:
    """The step that is reached; None: there is time."""
    days = days_left(until, now)
    if days < 0:
        return 0
    return min((step for step in STEPS if days <= step), default=None)


@transaction.atomic
def _warn(row: IdpCertificate | SpKey, now: datetime) -> bool:
    step = step_of(row.not_after, now)
    if step is None or (row.warned_days is not None and row.warned_days <= step):
        return False
    # Whoever moves the step writes the mail.
    mine = type(row).objects.filter(pk=row.pk, warned_days=row.warned_days)
    if not mine.update(warned_days=step):
        return False
    connection = row.connection
    when = f"{row.not_after:%Y-%m-%d %H:%M} UTC"
    if isinstance(row, IdpCertificate):
        what = f"The identity provider's certificate of {connection.name}"
        name, text = f"SHA-256 {row.fingerprint}", _certificate_text(row, now)
    else:
        what = f"Our certificate for {connection.name}"
        name = "our key for signing requests and opening encrypted assertions"
        text = (
            "Sign-ins may stop then if the identity provider looks at its dates. Prepare the next"
            " key on the connection's page, give its certificate to the identity provider, then"
            " rotate."
        )
    ending = "is over" if step == 0 else f"ends in {days_left(row.not_after, now)} days"
    mail_owners(
        connection.organization_id,
        subject=f"{what} {ending}",
        text=(f"{what} ({connection.organization.name}) {ending}: {when}.\n\n{name}\n\n{text}\n"),
    )
    return True


def _certificate_text(row: IdpCertificate, now: datetime) -> str:
    later = row.connection.certificates.filter(not_after__gt=max(row.not_after, now))
    if later.exclude(pk=row.pk).exists():
        return (
            "Another certificate that lasts longer is there already. If the identity provider signs"
            " with that one, nothing is to be done; this one can be removed."
        )
    return (
        "Nobody can sign in by it from then on. Have the identity provider make a new certificate,"
        " and add it on the connection's page before the old one ends; both are believed meanwhile."
    )


def forget_old_links() -> int:
    """Delete set-up links that ended long ago; the audit trail keeps its own record."""
    count, _ = SetupLink.objects.filter(expires_at__lt=timezone.now() - KEEP_LINKS).delete()
    return count
