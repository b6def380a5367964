"""Which page each kind of person gets, from all rooms, and somebody of every kind to try it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from keys.forms import new_token
from orgs.models import PrincipalType, User
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from sso.models import Attempt, Connection, Identity, Purpose, ScimToken
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_member
from tests.matrix import (
    console,
    indexes,
    keys,
    operator,
    orgs_audit,
    orgs_people,
    orgs_rules,
    projects,
)
from tests.pages import Browser
from tests.sso import idp
from tests.sso.support import make_connection, make_domain

# What each kind of person gets. Project roles are held by members of the organization.
PEOPLE = (
    *("nobody", "stranger", "OrgOwner", "OrgManager", "OrgMember", "OrgBillingAdmin"),
    *("ProjectOwner", "ProjectManager", "ProjectMember", "ProjectEditor", "ProjectViewer"),
    *("ControlPlaneEditor", "ControlPlaneViewer", "DataPlaneEditor", "DataPlaneViewer"),
)
ORG = "organizations/<uuid:organization_id>/"
# Each room's rows: what they get by GET, then by POST with the room's form.
ROOMS = (orgs_people, orgs_rules, orgs_audit, projects, keys, indexes, console, operator)
PAGES: dict[str, tuple[str, str]] = {
    route: row for room in ROOMS for route, row in room.PAGES.items()
}
SSO = f"{ORG}sso/"
CONNECTION = f"{SSO}connections/<uuid:connection_id>/"
# Pages of single sign-on, for owners only: what they get by GET, then by POST with this form.
SSO_PAGES = {
    SSO: ("ok", ""),
    f"{SSO}new/": ("ok", "to"),
    f"{SSO}domains/": ("ok", "bad"),
    f"{SSO}domains/<uuid:domain_id>/": ("ok", "ok"),
    f"{SSO}domains/<uuid:domain_id>/remove/": ("ok", "to"),
    f"{SSO}break-glass/": ("ok", "ok"),
    CONNECTION: ("ok", ""),
    f"{CONNECTION}identity-provider/": ("ok", "bad"),
    f"{CONNECTION}setup-link/": ("ok", "ok"),
    f"{CONNECTION}state/": ("to", "to"),
    f"{CONNECTION}switch-off/": ("ok", "to"),
    f"{CONNECTION}delete/": ("ok", "to"),
    f"{CONNECTION}settings/": ("ok", "bad"),
    f"{CONNECTION}roles/": ("ok", "bad"),
    f"{CONNECTION}certificates/": ("ok", "bad"),
    f"{CONNECTION}certificates/<uuid:certificate_id>/remove/": ("ok", "to"),
    f"{CONNECTION}log/": ("ok", ""),
    f"{CONNECTION}log/<uuid:attempt_id>/": ("ok", ""),
    f"{CONNECTION}people/": ("ok", ""),
    f"{CONNECTION}people/<uuid:identity_id>/unlink/": ("ok", "to"),
    f"{CONNECTION}scim/": ("ok", "ok"),
    f"{CONNECTION}scim/<uuid:token_id>/revoke/": ("ok", "to"),
    f"{CONNECTION}require/": ("ok", "bad"),
    f"{CONNECTION}relax/": ("to", "to"),
}
PAGES |= {
    route: (f"in - {get}{' no' * 12}", f"in - {post}{' no' * 12}" if post else "")
    for route, (get, post) in SSO_PAGES.items()
}
RESET_LINK = "^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[0-9A-Za-z-]+)/$"


@dataclass
class World:
    """The cast, and one person with each role."""

    cast: Cast
    people: dict[str, User]

    def browser(self, person: str) -> Browser:
        """That person's browser; nobody has not signed in."""
        return Browser(self.people.get(person))

    def path(self, route: str) -> str:
        """The route with our organization, project and a key."""
        rows = self.single_sign_on() if route in SSO_PAGES else {}
        for room in ROOMS:
            if route in room.PAGES:
                rows |= room.rows(self.cast, self.people)
        key, _ = make_key(self.cast.project)
        for pattern, value in {
            **rows,
            "<uuid:organization_id>": self.cast.organization.pk,
            "<uuid:project_id>": self.cast.project.pk,
            "<uuid:key_id>": key.pk,
            "<str:name>": "anything",
            RESET_LINK: "password/reset/key/1-abc/",
            "<str:key>": "abc:def",
            "<int:pk>": 1,
            "<int:session_id>": 1,
        }.items():
            route = route.replace(pattern, str(value))
        return f"/{route}"

    def single_sign_on(self) -> dict[str, object]:
        """A connection by the name of a key, a domain, and a row of every kind that it has."""
        found = make_connection(self.cast.organization, name="key", state=Connection.State.DRAFT)
        domain = make_domain(self.cast.organization, f"{uuid.uuid4().hex}.example")
        certificate = idp.add_certificate(found, idp.pair())
        line = Attempt.objects.create(connection=found, purpose=Purpose.SIGN_IN, code="ok")
        identity = Identity.objects.create(
            connection=found, user=self.people["OrgMember"], uid="bob", opens_sessions=True
        )
        token = ScimToken.objects.create(connection=found, lookup=uuid.uuid4().hex[:10])
        return {
            "<uuid:connection_id>": found.pk,
            "<uuid:domain_id>": domain.pk,
            "<uuid:certificate_id>": certificate.pk,
            "<uuid:attempt_id>": line.pk,
            "<uuid:identity_id>": identity.pk,
            "<uuid:token_id>": token.pk,
        }

    def form(self, route: str) -> dict[str, object]:
        """What satisfies every form, or is refused by it."""
        found: dict[str, object] = {
            "protocol": "saml",
            "how": "metadata",
            "name": "key",
            "confirm": "key",
            "roles": ["DataPlaneViewer"],
            "days": "",
            "version": 1,
            "hours": "24",
            "token": new_token(self.cast.project.pk),
        }
        for room in ROOMS:
            if route in room.PAGES:
                found |= room.form(self.cast, route)
        return found


def make_world(cast: Cast) -> World:
    """Somebody of every kind in the organization of the cast. Needs the database."""
    people = {"stranger": cast.charlie, "OrgOwner": cast.alice, "OrgMember": cast.bob}
    for role in Role:
        if role.value in people:
            continue
        person = make_member(cast.organization)
        on_organization = role.value.startswith("Org")
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, person.pk),
            role=role,
            resource_id=cast.organization.pk if on_organization else cast.project.pk,
        )
        people[role.value] = person
    return World(cast, people)
