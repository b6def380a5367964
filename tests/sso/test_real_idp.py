"""Signing in through an identity provider that somebody else wrote (nanoidp, a process)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.core.cache import cache

from controlplane.demo.idp import LocalIdp
from orgs.models import Membership, User
from sso.models import Attempt, Connection, IdpCertificate, SpKey
from sso.services.break_glass import name_owner
from sso.services.certificates import add_certificate, remove_certificate
from sso.services.connections import create_connection, set_state, update_connection
from sso.services.enforcement import enforce
from sso.services.metadata import import_metadata, set_metadata_url
from tests.cast import Cast
from tests.factories import PASSWORD, SYSTEM
from tests.pages import Browser
from tests.sso.emergencies import exercise, give_factor
from tests.sso.nanoidp import OIDC_CONNECTION, Traveller, nanoidp, tls_pair
from tests.sso.openid import make_oidc_connection
from tests.sso.support import make_domain

__all__ = ["nanoidp", "tls_pair"]

State = Connection.State
Travel = Callable[..., Traveller]


@pytest.fixture
def travel(
    db: None, nanoidp: LocalIdp, tls_pair: Path, settings: Any, monkeypatch: Any
) -> Iterator[Travel]:
    """Makes travellers, on a machine that may ask the identity provider and trusts it."""
    settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_pair))
    cache.clear()
    made: list[Traveller] = []

    def make(name: str) -> Traveller:
        made.append(Traveller(nanoidp, tls_pair, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def connection(cast: Cast, nanoidp: LocalIdp, travel: Travel) -> Connection:
    """Acme's connection, set up as owners do: from the metadata's address, and switched on."""
    made = create_connection(
        actor=SYSTEM, organization_id=cast.organization.pk, name="nanoidp", protocol="saml"
    )
    set_metadata_url(actor=SYSTEM, connection_id=made.pk, url=nanoidp.metadata_url)
    make_domain(cast.organization, "acme.example", connection=made)
    set_state(actor=SYSTEM, connection_id=made.pk, state=State.TESTING)
    set_state(actor=SYSTEM, connection_id=made.pk, state=State.ACTIVE)
    (nanoidp.folder / "sp.pem").write_text(SpKey.objects.get().certificate_pem)
    made.refresh_from_db()
    return made


def begin(connection: Connection) -> str:
    return f"/sso/{connection.pk}/login"


def signed_in(traveller: Traveller) -> User | None:
    pk = traveller.home.session.get("_auth_user_id")
    return User.objects.get(pk=pk) if pk else None


def roles_of(cast: Cast, user: User) -> set[str]:
    actor = cast.actor(user)
    return {
        binding.role
        for binding in actor.bindings
        if binding.organization_id == cast.organization.pk
    }


def test_a_first_sign_in_makes_a_member_with_the_default_role(
    cast: Cast, connection: Connection, travel: Travel
) -> None:
    """Our request is signed, and nanoidp checks that."""
    bob = travel("bob")
    page = bob.visit(begin(connection) + "?next=/accounts/")
    assert page.status_code == 200, page.text
    person = signed_in(bob)
    assert person is not None
    assert person.email == "bob@acme.example"
    assert Membership.objects.filter(organization=cast.organization, user=person).exists()
    assert roles_of(cast, person) == {"OrgMember"}
    assert bob.trail[-1].endswith("/accounts/")
    attempt = Attempt.objects.get()
    assert (attempt.code, attempt.user, attempt.attributes["groups"]) == ("ok", person, 1)


def test_a_second_sign_in_is_the_same_person(connection: Connection, travel: Travel) -> None:
    """In another browser; the identity provider asks for nothing in the same one."""
    first, second = travel("bob"), travel("bob")
    first.visit(begin(connection))
    second.visit(begin(connection))
    first.home.logout()
    first.visit(begin(connection))
    assert signed_in(first) == signed_in(second) is not None
    assert User.objects.filter(email="bob@acme.example").count() == 1


def test_groups_are_mapped_to_roles(cast: Cast, connection: Connection, travel: Travel) -> None:
    """Exactly those; Alice is in the group, Bob is not."""
    update_connection(
        actor=SYSTEM,
        connection_id=connection.pk,
        changes={
            "roles_mode": "exact",
            "role_mappings": [
                {"value": "ops", "role": "OrgManager", "project_id": None},
                {"value": "everyone", "role": "OrgMember", "project_id": None},
            ],
        },
    )
    alice, bob = travel("alice"), travel("bob")
    alice.visit(begin(connection))
    bob.visit(begin(connection))
    assert roles_of(cast, signed_in(alice) or cast.charlie) == {"OrgManager", "OrgMember"}
    assert roles_of(cast, signed_in(bob) or cast.charlie) == {"OrgMember"}


def test_what_is_required_ends_sessions_and_refuses_passwords(
    cast: Cast, connection: Connection, travel: Travel
) -> None:
    """After a test by the very configuration, people of the domain get in by it alone."""
    for name, person in (("alice", cast.alice), ("bob", cast.bob)):
        person.email = f"{name}@acme.example"
        person.save()
        EmailAddress.objects.filter(user=person).update(email=person.email)
    owner, browser = travel("alice"), Browser()
    owner.home = Browser(cast.alice)
    page = owner.test(connection.pk)
    assert "ops" in page.text, page.text
    connection.refresh_from_db()
    assert connection.is_tested
    assert browser.sign_in(cast.bob.email).status_code == 302
    give_factor(cast.alice)
    name_owner(actor=SYSTEM, organization_id=cast.organization.pk, user_id=cast.alice.pk)
    exercise(cast.organization, cast.alice)
    enforce(actor=SYSTEM, connection_id=connection.pk)
    assert browser.get("/accounts/").status_code == 302
    assert not UserSession.objects.filter(user=cast.bob).exists()
    browser.sign_in(cast.bob.email, PASSWORD)
    assert "_auth_user_id" not in browser.session
    bob = travel("bob")
    page = bob.visit(begin(connection) + f"?next=/organizations/{cast.organization.pk}/")
    assert page.status_code == 200, page.text
    assert bob.trail[-1].endswith(f"/organizations/{cast.organization.pk}/")
    assert signed_in(bob) == cast.bob


def test_signing_out_ends_the_session_and_coming_back_needs_the_provider(
    cast: Cast, connection: Connection, travel: Travel
) -> None:
    bob = travel("bob")
    bob.visit(begin(connection))
    assert signed_in(bob) is not None
    bob.home.post("/accounts/logout/")
    assert signed_in(bob) is None
    page = bob.visit("/accounts/")
    assert bob.trail[-1].endswith("/accounts/login/"), page.text


def test_certificates_change_without_a_gap(
    connection: Connection, travel: Travel, nanoidp: LocalIdp
) -> None:
    """Answers under either are believed while both are there, then under the new alone."""
    early, late = travel("alice"), travel("bob")
    under_old = [each.walk_to_answer(begin(connection)) for each in (early, late)]
    old = IdpCertificate.objects.get()
    early.away.post("/api/keys/rotate").raise_for_status()
    refused = travel("bob").visit(begin(connection))
    assert "sso_signature" in refused.text
    new = early.away.get("/saml/cert.pem").text
    add_certificate(actor=SYSTEM, connection_id=connection.pk, pem=new)
    early.send(under_old[0])
    assert signed_in(early) is not None
    now = travel("bob")
    now.visit(begin(connection))
    assert signed_in(now) is not None
    remove_certificate(actor=SYSTEM, connection_id=connection.pk, certificate_id=old.pk)
    assert "sso_signature" in late.send(under_old[1]).text
    assert signed_in(late) is None
    again = travel("alice")
    again.visit(begin(connection))
    assert signed_in(again) is not None


def test_new_metadata_brings_the_new_certificate(
    connection: Connection, travel: Travel, nanoidp: LocalIdp
) -> None:
    bob = travel("bob")
    bob.away.post("/api/keys/rotate").raise_for_status()
    xml = bob.away.get("/saml/metadata").content
    import_metadata(actor=SYSTEM, connection_id=connection.pk, xml=xml)
    bob.visit(begin(connection))
    assert signed_in(bob) is not None


def test_an_answer_works_once(connection: Connection, travel: Travel) -> None:
    """The very bytes that signed Bob in sign nobody in again."""
    bob = travel("bob")
    answer = bob.walk_to_answer(begin(connection))
    bob.send(answer)
    assert signed_in(bob) is not None
    thief = travel("bob")
    page = thief.send(answer)
    assert page.status_code in {400, 403}
    assert signed_in(thief) is None


def test_the_identity_provider_refuses_requests_that_we_did_not_sign(
    connection: Connection, travel: Travel
) -> None:
    """It holds our signature to the certificate of our metadata: it is a real one."""
    update_connection(actor=SYSTEM, connection_id=connection.pk, changes={"signs_requests": False})
    with pytest.raises(AssertionError, match=r"400|401|403"):
        travel("bob").visit(begin(connection))


@pytest.fixture
def openid(cast: Cast, nanoidp: LocalIdp, travel: Travel) -> Connection:
    """Acme's connection to the same identity provider by OpenID Connect."""
    made = make_oidc_connection(cast.organization, nanoidp.url, id=OIDC_CONNECTION)
    update_connection(
        actor=SYSTEM,
        connection_id=made.pk,
        changes={"client_id": nanoidp.client_id, "client_secret": nanoidp.client_secret},
    )
    made.refresh_from_db()
    return made


def test_the_same_provider_signs_people_in_by_openid_connect(
    cast: Cast, openid: Connection, travel: Travel
) -> None:
    """With PKCE, which it demands, `iss` in its answer, and groups from its userinfo endpoint."""
    update_connection(
        actor=SYSTEM,
        connection_id=openid.pk,
        changes={
            "roles_mode": "exact",
            "role_mappings": [{"value": "ops", "role": "OrgManager", "project_id": None}],
        },
    )
    alice = travel("alice")
    page = alice.visit(begin(openid) + "?next=/accounts/")
    assert page.status_code == 200, page.text
    person = signed_in(alice)
    assert person is not None
    assert person.email == "alice@acme.example"
    assert roles_of(cast, person) == {"OrgManager"}
    bob = travel("bob")
    assert "sso_no_roles" in bob.visit(begin(openid)).text
    assert signed_in(bob) is None


def test_its_keys_may_change_between_two_sign_ins_by_openid_connect(
    openid: Connection, travel: Travel
) -> None:
    first, second = travel("bob"), travel("bob")
    first.visit(begin(openid))
    first.away.post("/api/keys/rotate").raise_for_status()
    second.visit(begin(openid))
    assert signed_in(first) == signed_in(second) is not None
