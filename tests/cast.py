"""Who tests speak of: Alice owns the organization, Bob is its member, Charlie a stranger."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from orgs.actors import Actor
from orgs.models import Organization, User
from orgs.selectors.bindings import actor_for
from projects.models import Project
from tests import factories


@dataclass(frozen=True)
class Cast:
    """An organization with a project and its key, and one that has to see nothing of it."""

    organization: Organization
    project: Project
    key: str
    alice: User
    bob: User
    charlie: User
    other_organization: Organization
    other_project: Project
    other_key: str

    def actor(self, user: User) -> Actor:
        """The person as the actor of a request made now, just signed in."""
        return actor_for(user, authenticated_at=timezone.now())


def make_cast() -> Cast:
    """Make everybody. Needs the database."""
    alice = factories.make_user("alice@example.com")
    charlie = factories.make_user("charlie@example.org")
    organization = factories.make_organization(alice, "Acme")
    other_organization = factories.make_organization(charlie, "Umbrella")
    project = factories.make_project(organization, "Search")
    other_project = factories.make_project(other_organization, "Elsewhere")
    return Cast(
        organization=organization,
        project=project,
        key=factories.make_key(project)[1],
        alice=alice,
        bob=factories.make_member(organization, "bob@example.com"),
        charlie=charlie,
        other_organization=other_organization,
        other_project=other_project,
        other_key=factories.make_key(other_project)[1],
    )
