"""What a key's scope leaves of its roles. It only ever takes away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from keys.models import Access
from orgs.actors import Binding
from orgs.permissions import Permission, permissions_in

READING = frozenset({Permission.INDEX_READ, Permission.DATA_READ})
WITHIN_NAMESPACES = READING | {Permission.DATA_WRITE}
"""What a key that is limited to namespaces may do at most: changing or deleting the whole index
would reach all others too."""


def narrowed(
    bindings: Sequence[Binding],
    *,
    access: str,
    index_ids: frozenset[UUID] | None,
    namespaces: frozenset[str] | None,
) -> tuple[Binding, ...]:
    """The bindings as far as the key's scope lets them count.

    Args:
        index_ids: the indexes that the key is limited to; each binding on the project becomes one
            per index. None: no such limit.
        namespaces: the namespaces that it is limited to; None: no such limit.
    """
    kept = [_with_less(binding, access, namespaces) for binding in bindings]
    if index_ids is None:
        return tuple(kept)
    return tuple(
        replace(binding, index_id=index_id) for binding in kept for index_id in sorted(index_ids)
    )


def _with_less(binding: Binding, access: str, namespaces: frozenset[str] | None) -> Binding:
    held = permissions_in(binding)
    allowed = held
    if access == Access.READ_ONLY:
        allowed = allowed & READING
    elif access == Access.WRITE_ONLY:
        allowed = allowed - READING
    if namespaces is not None:
        allowed = allowed & WITHIN_NAMESPACES
    if allowed == held:
        return binding
    return replace(binding, permissions=frozenset(each.value for each in allowed))


def too_old_at(made_at: datetime, max_age_days: int | None) -> datetime | None:
    """When a secret made then reaches the organization's maximum age; None: there is none."""
    return None if max_age_days is None else made_at + timedelta(days=max_age_days)
