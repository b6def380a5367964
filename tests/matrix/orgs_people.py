"""Pages of an organization's people: who gets them (tests/controlplane/test_urls.py).

By GET, then by POST with a valid form:
  nobody, stranger | Owner Manager Member Billing | Owner Manager Member | six access roles
  in: to the sign-in, to: elsewhere, ok: the page, no: forbidden, bad: refused values, -: absent
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.utils import timezone

from orgs.models import (
    Invitation,
    OwnershipTransfer,
    PrincipalType,
    ResourceType,
    RoleBinding,
    User,
)
from orgs.services.groups import add_group_member, create_group
from orgs.services.invitations import InvitedRole, create_invitation
from tests.cast import Cast
from tests.factories import SYSTEM, make_member

ORG = "organizations/<uuid:organization_id>/"
MEMBER, TEAM = f"{ORG}members/<uuid:user_id>/", f"{ORG}teams/<uuid:group_id>/"
INVITATION = f"{ORG}invitations/<uuid:invitation_id>/"
GRANT = f"{ORG}roles/grants/"
ALL, OWNER = f"in -{' ok' * 13}", "in - {}" + " no" * 12
PAGES: dict[str, tuple[str, str]] = {
    f"{ORG}members/": (ALL, ""),
    f"{ORG}members/invite/": (OWNER.format("ok"), OWNER.format("to")),
    MEMBER: (ALL, ""),
    f"{MEMBER}remove/": (OWNER.format("ok"), OWNER.format("to")),
    f"{MEMBER}offer/": (OWNER.format("ok"), OWNER.format("to")),
    f"{INVITATION}take-back/": (OWNER.format("ok"), OWNER.format("to")),
    f"{GRANT}<str:kind>/<uuid:principal_id>/": (
        "in - ok - - - ok - - - - - - - -",
        "in - to - - - bad - - - - - - - -",
    ),
    f"{GRANT}<uuid:binding_id>/change/": (OWNER.format("ok"), OWNER.format("to")),
    f"{GRANT}<uuid:binding_id>/revoke/": (OWNER.format("ok"), OWNER.format("to")),
    f"{ORG}teams/": (ALL, ""),
    f"{ORG}teams/create/": (OWNER.format("ok"), OWNER.format("to")),
    TEAM: (ALL, OWNER.format("to")),
    f"{TEAM}edit/": (OWNER.format("ok"), OWNER.format("to")),
    f"{TEAM}delete/": (OWNER.format("ok"), OWNER.format("to")),
}


def rows(cast: Cast, people: dict[str, User]) -> dict[str, object]:
    """Rows of every kind that the addresses name, by the placeholder in the route."""
    unique = uuid.uuid4().hex[:8]
    person = make_member(cast.organization, f"someone-{unique}@example.com")
    other = make_member(cast.organization)
    OwnershipTransfer.objects.all().delete()
    team = create_group(actor=SYSTEM, organization_id=cast.organization.pk, name=f"Team {unique}")
    add_group_member(
        actor=SYSTEM, organization_id=cast.organization.pk, group_id=team.pk, user_id=other.pk
    )
    invitation = create_invitation(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        email=f"invited-{unique}@example.com",
        roles=[InvitedRole("OrgMember", ResourceType.ORGANIZATION)],
    )
    Invitation.objects.filter(pk=invitation.pk).update(
        created_at=timezone.now() - timedelta(hours=2)
    )
    binding = RoleBinding.objects.get(principal_type=PrincipalType.USER, principal_id=person.pk)
    return {
        "<uuid:user_id>": person.pk,
        "<uuid:group_id>": team.pk,
        "<uuid:invitation_id>": invitation.pk,
        "<uuid:binding_id>": binding.pk,
        "<str:kind>": "user",
        "<uuid:principal_id>": person.pk,
    }


def form(cast: Cast, route: str) -> dict[str, object]:
    """What satisfies the form at `route`, on top of the values that all share."""
    newest = User.objects.filter(email__startswith="someone-").order_by("-created_at").first()
    email = newest.email if newest else ""
    unique = uuid.uuid4().hex[:8]
    forms: dict[str, dict[str, object]] = {
        f"{MEMBER}remove/": {"confirm": email},
        f"{MEMBER}offer/": {"confirm": email},
        f"{ORG}members/invite/": {"emails": f"{unique}@example.com", "role": "OrgMember"},
        f"{GRANT}<str:kind>/<uuid:principal_id>/": {
            "resource": "organization",
            "role": "OrgManager",
        },
        f"{GRANT}<uuid:binding_id>/change/": {"role": "OrgManager"},
        f"{TEAM}delete/": {"confirm": f"Team {email.partition('@')[0].removeprefix('someone-')}"},
        TEAM: {"email": email},
    }
    return forms.get(route, {"name": f"Crew {unique}"})
