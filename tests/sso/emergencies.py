"""Organizations that require single sign-on, and owners who come in without it."""

from __future__ import annotations

from typing import Any

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.utils import timezone

from orgs.models import Membership, Organization, PrincipalType, User
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from sso.models import BreakGlassAccess, Connection
from sso.services.break_glass import name_owner
from sso.services.enforcement import enforce
from tests.factories import PASSWORD, SYSTEM
from tests.orgs.accounts import code
from tests.pages import Browser
from tests.sso import idp
from tests.sso.support import make_connection

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PAGE = "/sso/break-glass/"


def give_factor(user: User) -> None:
    """An authenticator app whose codes `tests.orgs.accounts.code(SECRET)` makes."""
    TOTP.activate(user, SECRET)


def own(organization: Organization, user: User, *, join: bool = False) -> None:
    """Make the person an owner; with `join`, a member first."""
    if join:
        Membership.objects.create(user=user, organization=organization)
    bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.USER, user.pk),
        role=Role.ORG_OWNER,
        resource_id=organization.pk,
    )


def recovery_code(user: User) -> str:
    """One of ten recovery codes that the person has from now on."""
    codes = RecoveryCodes.activate(user)
    return str(codes.get_unused_codes()[0])


def exercise(organization: Organization, user: User, **fields: Any) -> BreakGlassAccess:
    """The record of an exercise a moment ago."""
    now = timezone.now()
    return BreakGlassAccess.objects.create(
        organization=organization,
        user=user,
        **{
            "reason": "exercise",
            "is_drill": True,
            "began_at": now,
            "ended_at": now,
            "expires_at": now,
            **fields,
        },
    )


def make_ready(
    organization: Organization, owner: User, *, domain: str = "example.com"
) -> Connection:
    """A connection that can be required, and the owner named for emergencies."""
    give_factor(owner)
    name_owner(actor=SYSTEM, organization_id=organization.pk, user_id=owner.pk)
    exercise(organization, owner)
    made = make_connection(
        organization, domains=[domain], tested_version=1, tested_at=timezone.now()
    )
    idp.install(made)
    return made


def make_required(
    organization: Organization, owner: User, *, domain: str = "example.com"
) -> Connection:
    """A connection that is required, and the owner named for emergencies."""
    made = make_ready(organization, owner, domain=domain)
    return enforce(actor=SYSTEM, connection_id=made.pk)


def come_in(browser: Browser, email: str, *, steps: int = 0, **fields: str) -> Any:
    """Fill in the page for emergencies, with the code so many half minutes after the start."""
    form = {
        "email": email,
        "password": PASSWORD,
        "code": code(SECRET, steps=steps),
        "reason": "The identity provider is down.",
        **fields,
    }
    return browser.post(PAGE, form)
