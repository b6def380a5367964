"""No organization loses its last owner who can come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from orgs.errors import Aborted
from orgs.models import Organization
from orgs.selectors.owners import owners_of


def lock_organization(organization_id: UUID) -> Organization | None:
    """The organization's row, kept from everybody else until the transaction ends.

    Whoever takes away or grants something that others have to see, such as the last seat or the
    last owner, holds it while looking and writing. None: there is no such organization.
    """
    return Organization.objects.select_for_update().filter(pk=organization_id).first()


@contextmanager
def keeping_an_owner(*organization_ids: UUID) -> Iterator[None]:
    """Wraps what may take an owner away: a binding, a group's member, a password, an account.

    Locks the organizations first, in one order, so that two such changes at once see each other.
    What takes nobody's ownership away passes, even where no owner can come in already.

    Raises:
        Aborted: afterwards no owner could come in and stay; the change is rolled back.
    """
    with transaction.atomic():
        ids = sorted(set(organization_ids))
        for organization_id in ids:
            lock_organization(organization_id)
        before = {pk: owners_of(pk) for pk in ids}
        yield
        for pk, owners in before.items():
            now = owners_of(pk)
            lost = (owners.everybody - now.everybody) | (owners.reachable - now.reachable)
            if lost and not now.reachable:
                raise Aborted(
                    "An organization keeps at least one owner who is active, can sign in, and whose"
                    " role does not expire; this would take the last one away. Make somebody else"
                    " an owner first."
                )
