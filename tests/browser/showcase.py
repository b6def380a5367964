"""An organization with something in it, for pictures."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from indexes.models import Index, IndexStatistics, IndexTraffic, Operation
from indexes.usage import Call, record_traffic
from orgs.models import PrincipalType, User
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_member, make_project
from tests.indexes.conftest import make_index

PEOPLE: dict[str, Role | None] = {
    "ada.lovelace": Role.ORG_MANAGER,
    "grace.hopper": None,
    "alan.turing": None,
    "edsger.dijkstra": Role.ORG_BILLING_ADMIN,
}
INDEXES = {"products": 768, "support-tickets": 384, "documents": 1536}


def furnish(cast: Cast) -> None:
    """People, projects, keys and indexes, as their services make them."""
    for name, role in PEOPLE.items():
        person = make_member(cast.organization, f"{name}@example.com")
        User.objects.filter(pk=person.pk).update(name=name.replace(".", " ").title())
        if role is None:
            continue
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, person.pk),
            role=role,
            resource_id=cast.organization.pk,
        )
    for name in ("Recommendations", "Support staging"):
        make_project(cast.organization, name)
    for name in ("search-api production", "nightly import"):
        make_key(cast.project, name=name)
    for name, dimension in INDEXES.items():
        index = make_index(cast.project, name, dimension=dimension)
        if name != "documents":
            finish(index)
            use(index, records=40 * dimension)


def finish(index: Index) -> None:
    """As if a worker had brought it up."""
    operation = index.operations.get()
    operation.state, operation.finished_at = Operation.State.SUCCEEDED, timezone.now()
    operation.save()
    Index.objects.filter(pk=index.pk).update(state=Index.State.READY)


def use(index: Index, records: int) -> None:
    """As if programs had used it for a day, more at noon than at night."""
    now = timezone.now()
    IndexStatistics.objects.create(
        index=index, records=records, namespaces=3, bytes=records * 900, measured_at=now
    )
    calls = []
    for hours in range(30 * 24):
        at = now - timedelta(hours=hours)
        busy = 12 - abs(12 - at.hour)
        kinds = [IndexTraffic.Kind.READ] * (3 + busy) + [IndexTraffic.Kind.WRITE] * (busy // 3)
        calls += [
            Call(
                at=at,
                index_id=index.pk,
                kind=kind,
                is_refused=number == busy,
                is_failed=hours % 17 == 0 and number == 0,
                bytes_in=900,
                bytes_out=300,
                milliseconds=1.5 + number * busy / 4,
            )
            for number, kind in enumerate(kinds)
        ]
    record_traffic(calls)
