"""Which port of the gateway leads to which index, where indexes are told apart by port."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Q

from indexes.models import Index
from orgs.errors import QuotaExceeded
from projects.quotas import Quota

_NEVER = datetime.min.replace(tzinfo=UTC)


def are_by_port() -> bool:
    """Whether indexes are told apart by port rather than by host name."""
    return bool(settings.TAMARACK_ADDRESSING == "port")


def free_port(*, spread: bool = False) -> int:
    """A gateway port that no live index has: the one free for longest, so that a client of a
    deleted index does not soon meet another one; or any, to part from competitors (`spread`).

    Raises:
        QuotaExceeded: every port is taken.
    """
    ports = settings.TAMARACK_INDEX_PORTS
    freed = dict.fromkeys(ports, _NEVER)
    # One statement: between two, a creation elsewhere could take a port that looked free.
    used = (
        Index.objects.filter(gateway_port__in=ports)
        .order_by()
        .values_list("gateway_port")
        .annotate(live=Count("pk", filter=Q(deleted_at=None)), freed_at=Max("deleted_at"))
    )
    for port, live, freed_at in used:
        if live:
            del freed[port]
        else:
            freed[port] = freed_at
    if not freed:
        raise QuotaExceeded(_full(ports))
    if spread:
        return secrets.choice(list(freed))
    return min(freed, key=lambda port: (freed[port], port))


def quotas() -> list[Quota]:
    """The gateway's ports, where they are what limits the number of indexes and none is left.

    How many are taken is nobody's business before that: all organizations share them.
    """
    if not are_by_port():
        return []
    ports = settings.TAMARACK_INDEX_PORTS
    taken = Index.objects.filter(gateway_port__in=ports, deleted_at=None).count()
    if taken < len(ports):
        return []
    return [Quota("gateway_ports", "installation", taken, len(ports), "installation", _full(ports))]


def _full(ports: range) -> str:
    return (
        f"All {len(ports)} index ports are taken (TAMARACK_INDEX_PORTS={ports[0]}-{ports[-1]})."
        " Delete an index; or ask the operator to widen that range, or to give each index a"
        " host name of its own (TAMARACK_ADDRESSING=host), which knows no such limit."
    )


def refresh() -> list[UUID]:
    """Give a port to every live index that has none, or one that the gateway does not listen on.

    So it is after the operator went from host names to ports, or changed the range. Returns which.

    Raises:
        QuotaExceeded: the ports do not suffice.
    """
    if not are_by_port():
        return []
    ports = settings.TAMARACK_INDEX_PORTS
    lost = Index.objects.filter(
        Q(gateway_port=None) | Q(gateway_port__lt=ports[0]) | Q(gateway_port__gt=ports[-1]),
        deleted_at=None,
    )
    found = []
    for index_id in list(lost.values_list("pk", flat=True)):
        try:
            with transaction.atomic():
                Index.objects.filter(pk=index_id).update(gateway_port=free_port())
        except IntegrityError:
            continue  # a new index took it; the next round looks again
        found.append(index_id)
    return found
