"""Finding which leaked texts are keys of ours, and who has to hear of it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q

from keys import secrets
from keys.models import ApiKey, ApiKeySecret, Pepper
from keys.peppers import current_pepper, pepper_bytes
from orgs.models import GroupMembership, PrincipalType, User
from orgs.permissions import Permission, permissions_in
from orgs.selectors.bindings import as_binding, in_force

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


def secrets_among(texts: Sequence[str]) -> dict[str, UUID]:
    """Which of the texts are keys of ours or SHA-256 hashes of such, with the id of the secret.

    What is neither in form, checksum included, is left out. Takes three queries and as much work
    whether or not a key is found.

    Raises:
        KeyUnavailable: the peppers can't be opened, whatever the texts are.
    """
    newest = pepper_bytes(current_pepper())
    peppers = {each.pk: pepper_bytes(each) for each in Pepper.objects.all()}
    parsed = {text: secret for text in texts if (secret := secrets.parse(text)) is not None}
    hashes = {text: bytes.fromhex(text) for text in texts if _SHA256.fullmatch(text)}
    rows = list(
        ApiKeySecret.objects.filter(
            Q(lookup_id__in=[secret.lookup_id for secret in parsed.values()])
            | Q(sha256__in=list(hashes.values())),
            key__revoked_at=None,
        )
    )
    by_lookup = {row.lookup_id: row for row in rows}
    by_hash = {bytes(row.sha256): row for row in rows if row.sha256 is not None}
    found = {}
    for text, secret in parsed.items():
        row = by_lookup.get(secret.lookup_id)
        shown = secrets.digest(peppers[row.pepper_id] if row else newest, secret)
        if hmac.compare_digest(shown, bytes(row.digest) if row else b"") and row:
            found[text] = row.pk
    for text, digest in hashes.items():
        if digest in by_hash:
            found[text] = by_hash[digest].pk
    return found


def responsible_for(key: ApiKey) -> list[str]:
    """The e-mail addresses of everybody who could revoke the key: owners of its project and of its
    organization, by a role of their own or of a group. At most three queries.
    """
    project = key.project
    rows = in_force().filter(
        Q(project_id=None) | Q(project_id=project.pk),
        organization_id=project.organization_id,
        principal_type__in=[PrincipalType.USER, PrincipalType.GROUP],
    )
    holders = [
        row
        for row in rows.select_related("custom_role")
        if Permission.API_KEY_REVOKE in permissions_in(as_binding(row))
    ]
    groups = [row.principal_id for row in holders if row.principal_type == PrincipalType.GROUP]
    people = {row.principal_id for row in holders if row.principal_type == PrincipalType.USER}
    people |= set(
        GroupMembership.objects.filter(group_id__in=groups).values_list("user_id", flat=True)
    )
    emails = User.objects.filter(pk__in=people, is_active=True).values_list("email", flat=True)
    return sorted(emails)
