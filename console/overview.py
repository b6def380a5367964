"""The numbers of an organization and of a project at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from indexes.models import Index
from indexes.selectors import indexes_visible_to
from indexes.usage import Holdings, Point, holdings, total_calls, traffic_by_day
from orgs.actors import Actor
from orgs.permissions import Permission
from projects.models import Project
from projects.selectors import projects_in, projects_with

DAYS = 30


@dataclass(frozen=True, slots=True)
class Numbers:
    """What some indexes hold and how they were used in the last 30 days.

    Attributes:
        states: how many there are of each state that there is, `Trouble` for those that are
            provisioned but don't serve.
    """

    states: dict[str, int]
    held: Holdings
    points: list[Point]
    reads: int
    writes: int

    @property
    def count(self) -> int:
        """How many indexes there are."""
        return sum(self.states.values())


def numbers_of_organization(actor: Actor, organization_id: UUID) -> Numbers:
    """Of all of the organization's indexes that the actor may see. Four queries."""
    return _numbers(
        indexes_visible_to(actor).filter(project__organization=organization_id),
        projects_with(actor, organization_id, Permission.INDEX_READ),
    )


def numbers_of_project(actor: Actor, project: Project) -> Numbers:
    """Of all of the project's indexes that the actor may see. Four queries."""
    whole = projects_with(actor, project.organization_id, Permission.INDEX_READ)
    return _numbers(indexes_visible_to(actor).filter(project=project), whole.filter(pk=project.pk))


def _numbers(indexes: QuerySet[Index], whole: QuerySet[Project]) -> Numbers:
    """Of the indexes; `whole`: the projects of which the actor sees every index."""
    rows = (
        indexes.order_by()
        .values_list("state")
        .annotate(
            all=Count("pk"), troubled=Count("pk", filter=Q(state=Index.State.READY) & ~Q(cause=""))
        )
    )
    states: dict[str, int] = {}
    for state, count, troubled in rows:
        if count - troubled:
            states[state] = count - troubled
        if troubled:
            states["Trouble"] = troubled
    now = timezone.now()
    since = now - timedelta(days=DAYS - 1)
    points = traffic_by_day(whole, indexes.exclude(project__in=whole), since, now)
    reads, writes = total_calls(points)
    return Numbers(states, holdings(indexes), points, reads, writes)


def projects_shown(actor: Actor, organization_id: UUID) -> QuerySet[Project]:
    """The organization's projects that the actor may see, by name, with `index_count`."""
    counted = (
        indexes_visible_to(actor)
        .filter(project=OuterRef("pk"))
        .order_by()
        .values("project")
        .annotate(count=Count("pk"))
        .values("count")
    )
    return (
        projects_in(actor, organization_id)
        .annotate(index_count=Coalesce(Subquery(counted), 0))
        .order_by("archived_at", "name", "pk")
    )
