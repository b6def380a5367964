"""What a change would do to who may do what, without doing it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from orgs.selectors.reach import Flip, Principal, flips, reach_of


def preview(
    change: Callable[[], object],
    *,
    organization_id: UUID,
    affected: Callable[[], frozenset[Principal]],
    at: datetime | None = None,
) -> list[Flip]:
    """Make the change, see what it flips, and take all of it back.

    The change is the very service that makes it for good: it refuses what it always refuses.

    Args:
        affected: whose rights it concerns; asked for before and after.
        at: the time to look at, such as the begin of a role that does not count yet; None: now.

    Raises:
        Refused: what the change raises.
    """
    with transaction.atomic():
        principals = affected()
        before = reach_of(organization_id, principals, at=at)
        change()
        after = reach_of(organization_id, principals | affected(), at=at)
        found = flips(organization_id, before, after)
        transaction.set_rollback(True)
    return found
