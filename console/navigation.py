"""Which pages an organization, a project and an index have, and who is shown them.

The one table of the dashboard's pages: the side bar is drawn from it. It decides nothing: every
page authorizes for itself, and `tests/controlplane/test_urls.py` checks that both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.urls import reverse

from indexes.models import Index
from orgs.actors import Actor
from orgs.models import Organization
from orgs.permissions import Permission, permissions_of
from projects.models import Project
from projects.selectors import permissions_within


@dataclass(frozen=True, slots=True)
class Entry:
    """A page as the table has it.

    Attributes:
        view: its URL name; the address takes the id of the organization or project alone, or those
            of the project and the index.
        icon: a name that `components/icon.html` knows.
        permission: what it takes to read it; None: to be let in at all.
    """

    label: str
    view: str
    icon: str
    permission: Permission | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A page as the side bar shows it."""

    label: str
    url: str
    icon: str
    is_current: bool


ORGANIZATION = (
    Entry("Overview", "console:organization", "home"),
    Entry("Members", "orgs:members", "people", Permission.MEMBER_READ),
    Entry("Teams", "orgs:teams", "badge", Permission.MEMBER_READ),
    Entry("Service accounts", "keys:accounts", "robot", Permission.SERVICE_ACCOUNT_READ),
    Entry("Roles", "orgs:roles", "list", Permission.MEMBER_READ),
    Entry("Security", "orgs:security", "lock", Permission.ORGANIZATION_READ),
    Entry("Audit log", "orgs:audit", "scroll", Permission.AUDIT_READ),
    Entry("Denials", "orgs:denials", "ban", Permission.AUDIT_READ),
    Entry("Streams", "orgs:streams", "send", Permission.AUDIT_READ),
    Entry("Single sign-on", "sso:overview", "shield", Permission.SSO_MANAGE),
    Entry("Usage", "console:usage", "chart", Permission.ORGANIZATION_READ),
    Entry("Plan", "orgs:plan", "card", Permission.BILLING_READ),
    Entry("Settings", "orgs:settings", "settings", Permission.ORGANIZATION_UPDATE),
)
PROJECT = (
    Entry("Overview", "console:project", "home"),
    Entry("Indexes", "indexes:project", "layers", Permission.INDEX_READ),
    Entry("API keys", "keys:list", "key", Permission.API_KEY_READ),
    Entry("Members", "projects:members", "people", Permission.PROJECT_READ),
    Entry("Settings", "projects:settings", "settings", Permission.PROJECT_UPDATE),
)
INDEX = (
    Entry("Overview", "indexes:overview", "layers", Permission.INDEX_READ),
    Entry("Requests", "indexes:requests", "chart", Permission.INDEX_READ),
    Entry("Configuration", "indexes:configuration", "settings", Permission.INDEX_READ),
    Entry("Encryption", "indexes:encryption", "lock", Permission.INDEX_READ),
)

ACCOUNT = (
    Entry("Security", "account_security", "lock"),
    Entry("Profile", "account_profile", "user"),
    Entry("Access", "account_access", "shield"),
    Entry("Second factor", "mfa_index", "key"),
    Entry("Sessions", "usersessions_list", "list"),
)
OPERATOR = (
    Entry("Health", "console:operator", "gauge"),
    Entry("Organizations", "console:operator_organizations", "user"),
    Entry("Work", "console:operator_work", "layers"),
    Entry("Drift", "console:operator_drift", "scroll"),
)


def account_links(path: str) -> list[Link]:
    """The pages of one's own account; `path`: the page that is shown."""
    return _links(ACCOUNT, frozenset(), path)


def operator_links(actor: Actor, path: str) -> list[Link]:
    """The pages of the operator area, for operators; `path`: the page that is shown."""
    return _links(OPERATOR, frozenset(), path) if actor.is_operator else []


def organization_links(actor: Actor, organization: Organization, path: str) -> list[Link]:
    """The organization's pages that the actor may see; `path`: the page that is shown."""
    held = permissions_of(actor, organization_id=organization.pk)
    return _links(ORGANIZATION, held, path, organization.pk)


def project_links(actor: Actor, project: Project, path: str) -> list[Link]:
    """The project's pages that the actor may see; `path`: the page that is shown."""
    return _links(PROJECT, permissions_within(actor, project), path, project.pk)


def index_links(actor: Actor, index: Index, path: str) -> list[Link]:
    """The index's pages that the actor may see; `path`: the page that is shown."""
    held = permissions_of(
        actor,
        organization_id=index.project.organization_id,
        project_id=index.project_id,
        index_id=index.pk,
    )
    return _links(INDEX, held, path, index.project_id, index.pk)


def _links(
    entries: Sequence[Entry], held: frozenset[Permission], path: str, *ids: UUID
) -> list[Link]:
    shown = [
        (entry, reverse(entry.view, args=ids))
        for entry in entries
        if entry.permission is None or entry.permission in held
    ]
    # Pages below another one belong to it; the first page's address begins those of all others.
    current = max((url for _, url in shown if path.startswith(url)), key=len, default="")
    return [Link(entry.label, url, entry.icon, url == current) for entry, url in shown]
