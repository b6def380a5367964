"""Invitations where single sign-on is required: of the organization, or of the invited person."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.core.cache import cache

from orgs.actors import Actor
from orgs.errors import InvalidArgument, PermissionDenied
from orgs.models import Invitation, Organization, ResourceType, User
from orgs.permissions import Role
from orgs.services.invitations import (
    InvitedRole,
    accept_as_new_person,
    create_invitation,
    resend_invitation,
)
from sso.models import Connection, Domain
from tests.cast import Cast
from tests.factories import PASSWORD, SYSTEM, make_user
from tests.orgs.accounts import received
from tests.pages import Browser
from tests.sso.emergencies import make_required
from tests.sso.support import make_connection, make_domain

MEMBER = InvitedRole(Role.ORG_MEMBER.value, ResourceType.ORGANIZATION)


@pytest.fixture(autouse=True)
def no_rate_limits_from_other_tests(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def invite(organization: Organization, email: str) -> Invitation:
    return create_invitation(
        actor=SYSTEM, organization_id=organization.pk, email=email, roles=[MEMBER]
    )


def opened(email: str) -> tuple[Browser, str]:
    """A browser that followed the mailed link, and the invitation's page."""
    (path,) = re.findall(r"(/invitations/\S+)", str(received(email)[-1].body))
    browser = Browser()
    return browser, browser.get(path)["Location"]


class InvitedPersonTests:
    """The address's domain is Acme's, which requires single sign-on."""

    @pytest.mark.parametrize("own", [True, False], ids=["to Acme", "to another one"])
    @pytest.mark.parametrize("is_known", [True, False], ids=["known", "new"])
    def test_the_page_leads_to_the_sign_in_and_back(
        self, cast: Cast, *, own: bool, is_known: bool
    ) -> None:
        connection = make_required(cast.organization, cast.alice)
        if is_known:
            make_user("dora@example.com")
        invite(cast.organization if own else cast.other_organization, "dora@example.com")
        browser, path = opened("dora@example.com")
        page = browser.get(path).content.decode()
        assert f'href="/sso/{connection.pk}/login?next={path}"' in page
        assert 'type="password"' not in page

    def test_nobody_makes_an_account_with_a_password(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        invitation = invite(cast.other_organization, "dora@example.com")
        browser, path = opened("dora@example.com")
        browser.post(path, {"name": "Dora", "password": PASSWORD, "again": PASSWORD})
        assert not User.objects.filter(email="dora@example.com").exists()
        with pytest.raises(PermissionDenied, match="sign in through its identity provider"):
            accept_as_new_person(
                actor=Actor(kind="user", id="", label="dora@example.com"),
                invitation_id=invitation.pk,
                nonce=invitation.nonce,
                name="Dora",
                password=PASSWORD,
            )

    def test_invitations_of_others_are_as_before(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        invite(cast.other_organization, "dora@elsewhere.example")
        browser, path = opened("dora@elsewhere.example")
        browser.post(path, {"name": "Dora", "password": PASSWORD, "again": PASSWORD})
        assert User.objects.filter(email="dora@elsewhere.example").exists()


class InvitingOrganizationTests:
    def test_it_invites_people_of_its_domains(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        assert invite(cast.organization, "dora@example.com").pk

    def test_and_of_a_second_connection_that_is_on(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        make_connection(cast.organization, domains=["branch.example"])
        assert invite(cast.organization, "dora@branch.example").pk

    @pytest.mark.parametrize(
        "email",
        ["dora@elsewhere.example", "dora@sub.example.com", "dora@unused.example"],
    )
    def test_nobody_who_could_not_come_in(self, cast: Cast, email: str) -> None:
        make_required(cast.organization, cast.alice)
        make_domain(cast.organization, "unused.example")
        with pytest.raises(InvalidArgument, match="could not come in"):
            invite(cast.organization, email)
        assert not Invitation.objects.exists()

    def test_an_old_invitation_is_not_sent_again(self, cast: Cast) -> None:
        invitation = invite(cast.organization, "dora@elsewhere.example")
        make_required(cast.organization, cast.alice)
        with pytest.raises(InvalidArgument, match="could not come in"):
            resend_invitation(actor=SYSTEM, invitation_id=invitation.pk)

    def test_domains_of_other_organizations_do_not_count(self, cast: Cast) -> None:
        make_required(cast.organization, cast.alice)
        make_connection(cast.other_organization, domains=["umbrella.example"])
        with pytest.raises(InvalidArgument):
            invite(cast.organization, "dora@umbrella.example")

    def test_without_the_requirement_anybody_is_invited(self, cast: Cast) -> None:
        make_connection(cast.organization, domains=["example.com"])
        assert invite(cast.organization, "dora@elsewhere.example").pk
        assert Domain.objects.count() == 1
        assert Connection.objects.count() == 1
