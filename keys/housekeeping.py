"""What becomes of keys by themselves: idle secrets end, and leaked keys meet their owners' policy.

Everything here may run twice, and at once.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from keys.changes import disable_key, end_secret, finish_key, record_key, save_key
from keys.models import Access, ApiKey, ApiKeySecret, KeyPolicy, LeakPolicy, LeakReport
from keys.selectors.leaks import responsible_for
from keys.selectors.rotation import idle_secrets
from orgs import mail
from orgs.actors import Actor, system
from orgs.services.owners import lock_organization

QUIET = timedelta(hours=24)
"""How long owners are not told again of the same key, unless a report changes something."""


def end_idle_secrets() -> int:
    """End old secrets that nobody has used for the time set for them; how many.

    That one is not used is known only as far as the gateway's logs have been counted: while they
    are not, it goes on until its overlap is over.
    """
    ended = 0
    for secret_id in list(idle_secrets().values_list("pk", flat=True)):
        with transaction.atomic():
            # Again under the lock, in case it has been used, replaced or ended meanwhile.
            secret = (
                idle_secrets()
                .select_related("key__project")
                .select_for_update(of=("self",))
                .filter(pk=secret_id)
                .first()
            )
            if secret is not None:
                end_secret(system("rotation"), secret, reason="Not used any more")
                ended += 1
    return ended


@transaction.atomic
def handle_report(report_id: UUID) -> None:
    """Do to every key of a leak report what its owners want, tell them, and close it."""
    report = LeakReport.objects.select_for_update().filter(pk=report_id).first()
    if report is None:
        return
    reporter = Actor(
        kind="system",
        id="leak-report",
        label="leak report",
        ip=report.ip,
        request_id=report.request_id,
    )
    for find in report.found:
        secret = _locked(UUID(find["secret_id"]))
        if secret is not None and not secret.is_over:
            _handle(reporter, secret, find["url"])
    report.delete()


def _locked(secret_id: UUID) -> ApiKeySecret | None:
    """The secret with its key and project, in the order in which services lock."""
    organization_id = (
        ApiKeySecret.objects.filter(pk=secret_id)
        .values_list("key__project__organization_id", flat=True)
        .first()
    )
    if organization_id is None:
        return None
    lock_organization(organization_id)
    return (
        ApiKeySecret.objects.select_related("key__project")
        .select_for_update(of=("self", "key"))
        .filter(pk=secret_id, key__revoked_at=None)
        .first()
    )


def _handle(reporter: Actor, secret: ApiKeySecret, url: str) -> None:
    key = secret.key
    told = key.leak_reported_at is not None and key.leak_reported_at > timezone.now() - QUIET
    key.leak_reported_at = timezone.now()
    key.save(update_fields=["leak_reported_at"])
    done = _apply_policy(reporter, secret)
    if told and not done:
        return
    record_key(
        EventType.API_KEY_LEAK_REPORTED,
        reporter,
        key,
        "",
        detail={"leak_policy": _policy_of(key), "found_at": url, "action": done or "none"},
    )
    _tell(secret, done)


def _policy_of(key: ApiKey) -> str:
    if key.leak_policy:
        return key.leak_policy
    of_project = KeyPolicy.objects.filter(pk=key.project_id).first()
    return of_project.leak_policy if of_project else LeakPolicy.ALERT


def _apply_policy(reporter: Actor, secret: ApiKeySecret) -> str:
    """What was done to the key, in words; empty: nothing."""
    key, policy = secret.key, _policy_of(secret.key)
    reason = "It was reported as leaked"
    if policy == LeakPolicy.REVOKE and not secret.is_current:
        # The secret that took its place has not leaked.
        end_secret(reporter, secret, reason=reason)
        return "The old secret that leaked has been stopped; the one that replaced it works on."
    if policy == LeakPolicy.REVOKE:
        finish_key(reporter, key, reason=reason)
        return "The key has been revoked."
    if policy == LeakPolicy.READ_ONLY and key.access == Access.READ_WRITE:
        key.access = Access.READ_ONLY
        save_key(key, "access")
        changes = {"access": (Access.READ_WRITE.value, Access.READ_ONLY.value)}
        record_key(EventType.API_KEY_UPDATED, reporter, key, "", changes=changes)
        return "The key can only read from now on."
    if policy == LeakPolicy.READ_ONLY and key.access == Access.WRITE_ONLY and not key.disabled_at:
        # Reading is nothing it could do before.
        disable_key(reporter, key, reason=reason)
        return "The key, which can only write, has been disabled."
    return ""


def _tell(secret: ApiKeySecret, done: str) -> None:
    key = secret.key
    address = f"{settings.TAMARACK_PUBLIC_URL.rstrip('/')}/projects/{key.project_id}/"
    text = (
        f"The API key {key.name} ({secret.masked}) of the project {key.project.name} was found in"
        " the open by somebody who reported it. Whoever has seen it there can use it.\n\n"
        f"{done or 'Nothing has been done to the key: its policy is to tell you only.'}\n\n"
        f"Rotate or revoke it now: {address}\n"
        "Where it was found, if the report said so, stands in the audit trail.\n"
    )
    for email in responsible_for(key):
        mail.send(to=email, subject=f"The API key {key.name} has leaked", text=text)
