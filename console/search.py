"""What the search over the whole dashboard finds: pages, projects and indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db.models import Q
from django.urls import reverse

from console.navigation import organization_links, project_links
from indexes.selectors import indexes_visible_to
from orgs.actors import Actor
from orgs.selectors.organizations import may_found, organizations_visible_to
from projects.selectors import projects_visible_to

MAX_LENGTH = 100
MAX_OF_A_KIND = 8
MAX_PLACES = 20


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that the person may open.

    Attributes:
        where: what it belongs to, such as the organization's name.
    """

    kind: str
    label: str
    where: str
    url: str
    icon: str


def search(actor: Actor, text: str) -> list[Hit]:
    """What the actor may open and whose name, id or place has all the words of `text`, pages first.

    An empty text finds the pages. Three queries, however much there is; at most 8 hits of a kind.
    """
    words = text[:MAX_LENGTH].replace("\0", "").casefold().split()
    pages = (hit for hit in _pages(actor) if _fits(hit, words))
    found = list(islice(pages, MAX_OF_A_KIND))
    if words:
        found += [*_projects(actor, words), *_indexes(actor, words)]
    return found


def _fits(hit: Hit, words: list[str]) -> bool:
    text = f"{hit.label} {hit.where}".casefold()
    return all(word in text for word in words)


def _pages(actor: Actor) -> Iterator[Hit]:
    for organization in organizations_visible_to(actor).order_by("name")[:MAX_PLACES]:
        for link in organization_links(actor, organization, ""):
            yield Hit("Page", link.label, organization.name, link.url, link.icon)
    for project in projects_visible_to(actor).order_by("name", "pk")[:MAX_PLACES]:
        for link in project_links(actor, project, ""):
            yield Hit("Page", link.label, project.name, link.url, link.icon)
    if may_found(actor):
        url = reverse("projects:create_organization")
        yield Hit("Page", "New organization", "Action", url, "people")
    yield Hit("Page", "Security", "Your account", reverse("account_security"), "user")


def _projects(actor: Actor, words: list[str]) -> Iterator[Hit]:
    projects = projects_visible_to(actor).select_related("organization")
    for word in words:
        projects = projects.filter(
            Q(name__icontains=word) | Q(organization__name__icontains=word) | Q(pk__icontains=word)
        )
    for project in projects.order_by("name", "pk")[:MAX_OF_A_KIND]:
        url = reverse("console:project", args=[project.pk])
        yield Hit("Project", project.name, project.organization.name, url, "folder")


def _indexes(actor: Actor, words: list[str]) -> Iterator[Hit]:
    indexes = indexes_visible_to(actor).select_related("project")
    for word in words:
        indexes = indexes.filter(
            Q(name__icontains=word) | Q(project__name__icontains=word) | Q(pk__icontains=word)
        )
    for index in indexes.order_by("name", "pk")[:MAX_OF_A_KIND]:
        url = reverse("indexes:overview", args=[index.project_id, index.pk])
        yield Hit("Index", index.name, index.project.name, url, "layers")
