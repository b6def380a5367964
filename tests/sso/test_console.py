"""The pages for owners, and the page of a set-up link."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from orgs.models import Organization
from sso.models import (
    Attempt,
    BreakGlassAccess,
    Connection,
    Domain,
    Identity,
    IdpCertificate,
    Purpose,
    ScimToken,
    SetupLink,
    SpKey,
)
from sso.services.connections import create_connection
from sso.services.setup_links import create_setup_link
from tests.cast import Cast
from tests.factories import make_member, make_project
from tests.pages import Browser
from tests.sso import idp
from tests.sso.support import make_connection, make_domain

State = Connection.State


@pytest.fixture
def owner(cast: Cast) -> Browser:
    return Browser(cast.alice)


@pytest.fixture
def connection(cast: Cast) -> Connection:
    """A draft, as the form makes it."""
    return create_connection(
        actor=cast.actor(cast.alice), organization_id=cast.organization.pk, name="Okta"
    )


def page_of(connection: Connection, name: str = "connection", *more: object) -> str:
    return reverse(f"sso:{name}", args=[connection.organization_id, connection.pk, *more])


def text_of(answer: Any) -> str:
    """What the page says, without tags and runs of white space."""
    bare = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", bare)


def said(answer: Any) -> list[str]:
    return [str(each) for each in answer.context["messages"]]


class OverviewTests:
    def test_teaches_who_has_no_connection_yet(self, cast: Cast, owner: Browser) -> None:
        text = text_of(owner.get(reverse("sso:overview", args=[cast.organization.pk])))
        assert "No identity provider yet" in text
        assert "Set up single sign-on" in text

    def test_without_the_entitlement_it_says_what_it_is_and_whom_to_ask(
        self, cast: Cast, owner: Browser
    ) -> None:
        without_sso(cast.organization)
        text = text_of(owner.get(reverse("sso:overview", args=[cast.organization.pk])))
        assert "Not part of your plan" in text
        assert "operator of this installation" in text
        assert "Set up single sign-on" not in text
        form = owner.get(reverse("sso:create", args=[cast.organization.pk]))
        assert "operator of this installation" in text_of(form)
        assert b'<form method="post" action="/organizations' not in form.content

    def test_shows_state_domains_and_what_runs_out(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(
            cast.organization, name="Okta", state=State.ENFORCED, domains=["acme.example"]
        )
        idp.install(found, idp.pair("soon", days=5))
        text = text_of(owner.get(reverse("sso:overview", args=[cast.organization.pk])))
        assert "Required of everybody" in text
        assert "acme.example" in text
        assert "Nobody is named" in text
        assert "A signing certificate of the identity provider of Okta expires on" in text

    def test_the_organization_page_leads_owners_there_and_nobody_else(self, cast: Cast) -> None:
        page = reverse("console:organization", args=[cast.organization.pk])
        link = reverse("sso:overview", args=[cast.organization.pk])
        assert link in Browser(cast.alice).get(page).content.decode()
        assert link not in Browser(cast.bob).get(page).content.decode()

    def test_the_page_of_members_marks_suspended_people(self, cast: Cast) -> None:
        page = reverse("orgs:members", args=[cast.organization.pk])
        assert "suspended" not in text_of(Browser(cast.alice).get(page))
        cast.bob.memberships.update(suspended_at=timezone.now())
        assert "bob@example.com suspended" in text_of(Browser(cast.alice).get(page))


class SetUpTests:
    def test_a_new_connection_leads_to_its_steps(self, cast: Cast, owner: Browser) -> None:
        form = {"name": "Okta", "protocol": "saml"}
        answer = owner.post(reverse("sso:create", args=[cast.organization.pk]), form)
        made = Connection.objects.get()
        assert answer["Location"] == page_of(made)
        text = text_of(owner.get(page_of(made)))
        for value in (made.acs_url, made.sp_entity_id, made.sls_url):
            assert value in text
        assert "0 of 6 steps done" in text

    def test_a_name_that_breaks_its_rule_is_refused_beside_the_field(
        self, cast: Cast, owner: Browser
    ) -> None:
        form = {"name": "a\x07b", "protocol": "saml"}
        answer = owner.post(reverse("sso:create", args=[cast.organization.pk]), form)
        assert answer.status_code == 422
        assert "name" in answer.context["form"].errors
        assert not Connection.objects.exists()

    def test_openid_connect_has_other_values(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(
            cast.organization, protocol="oidc", state=State.DRAFT, idp_entity_id="", sso_url=""
        )
        text = text_of(owner.get(page_of(found)))
        assert f"{found.base_url}/callback" in text
        assert found.acs_url not in text
        assert "Certificates" not in text

    def test_metadata_by_file_fills_everything_in(
        self, owner: Browser, connection: Connection
    ) -> None:
        file = SimpleUploadedFile("metadata.xml", metadata())
        answer = owner.post(
            page_of(connection, "provider"), {"how": "metadata", "metadata-file": file}
        )
        assert answer.status_code == 302, answer.content
        connection.refresh_from_db()
        assert connection.idp_entity_id == ENTITY_ID
        assert connection.certificates.count() == 1
        assert "2 of 6 steps done" in text_of(owner.get(page_of(connection)))

    def test_metadata_can_be_pasted(self, owner: Browser, connection: Connection) -> None:
        form = {"how": "metadata", "metadata-text": metadata().decode()}
        assert owner.post(page_of(connection, "provider"), form).status_code == 302
        connection.refresh_from_db()
        assert connection.idp_entity_id == ENTITY_ID

    def test_of_several_identity_providers_one_is_named(
        self, owner: Browser, connection: Connection
    ) -> None:
        second = metadata().replace(ENTITY_ID.encode(), b"https://other.example")
        several = (
            b'<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">'
            + metadata()
            + second
            + b"</md:EntitiesDescriptor>"
        )
        form = {"how": "metadata", "metadata-text": several.decode()}
        page = page_of(connection, "provider")
        assert owner.post(page, form).status_code == 422
        named = {**form, "metadata-idp_entity_id": ENTITY_ID}
        assert owner.post(page, named).status_code == 302
        connection.refresh_from_db()
        assert connection.idp_entity_id == ENTITY_ID

    @pytest.mark.parametrize(
        "form",
        [
            pytest.param({}, id="nothing"),
            pytest.param({"metadata-text": "hello"}, id="no xml"),
            pytest.param({"metadata-text": "<a>" + "x" * 600_000 + "</a>"}, id="too long"),
            pytest.param(
                {"metadata-text": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}, id="entity"
            ),
        ],
    )
    def test_what_is_no_metadata_is_refused_and_kept_in_the_form(
        self, owner: Browser, connection: Connection, form: dict[str, str]
    ) -> None:
        answer = owner.post(page_of(connection, "provider"), {"how": "metadata", **form})
        assert answer.status_code == 422
        assert answer.context["metadata"].errors
        assert not answer.context["hand"].is_bound
        connection.refresh_from_db()
        assert connection.idp_entity_id == ""

    def test_values_can_be_typed_in(self, owner: Browser, connection: Connection) -> None:
        form = {
            "how": "hand",
            "hand-idp_entity_id": ENTITY_ID,
            "hand-sso_url": "https://idp.example/sso",
            "hand-certificate": idp.pair().certificate,
        }
        assert owner.post(page_of(connection, "provider"), form).status_code == 302
        connection.refresh_from_db()
        assert (connection.idp_entity_id, connection.certificates.count()) == (ENTITY_ID, 1)

    def test_an_address_that_breaks_its_rule_is_refused_beside_its_field_and_nothing_kept(
        self, owner: Browser, connection: Connection
    ) -> None:
        form = {
            "how": "hand",
            "hand-idp_entity_id": ENTITY_ID,
            "hand-sso_url": "javascript:alert(1)",
            "hand-certificate": idp.pair().certificate,
        }
        answer = owner.post(page_of(connection, "provider"), form)
        assert answer.status_code == 422
        assert "https" in str(answer.context["hand"].errors["sso_url"])
        assert b"javascript:alert(1)" in answer.content
        assert not connection.certificates.exists()

    def test_a_bad_certificate_keeps_nothing(self, owner: Browser, connection: Connection) -> None:
        form = {
            "how": "hand",
            "hand-idp_entity_id": ENTITY_ID,
            "hand-sso_url": "https://idp.example/sso",
            "hand-certificate": "no certificate",
        }
        assert owner.post(page_of(connection, "provider"), form).status_code == 422
        connection.refresh_from_db()
        assert connection.idp_entity_id == ""

    def test_openid_connect_keeps_its_secret_where_none_is_typed(
        self, cast: Cast, owner: Browser
    ) -> None:
        found = make_connection(
            cast.organization, protocol="oidc", state=State.DRAFT, idp_entity_id="", sso_url=""
        )
        form = {"how": "oidc", "issuer": "https://idp.example", "client_id": "tamarack"}
        page = page_of(found, "provider")
        assert owner.post(page, form).status_code == 422
        assert owner.post(page, {**form, "client_secret": "s3cret-value"}).status_code == 302
        found.refresh_from_db()
        kept = found.wrapped_client_secret
        assert kept
        assert b"s3cret-value" not in owner.get(page).content
        assert owner.post(page, {**form, "client_id": "other"}).status_code == 302
        found.refresh_from_db()
        assert (found.client_id, found.wrapped_client_secret) == ("other", kept)

    def test_states_change_by_buttons(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization, state=State.DRAFT, domains=["acme.example"])
        idp.install(found)
        for state, said_ in ((State.TESTING, "can be tested now"), (State.ACTIVE, "is on")):
            answer = owner.post(page_of(found, "state"), {"state": state}, follow=True)
            found.refresh_from_db()
            assert found.state == state
            assert said_ in said(answer)[0]
        assert owner.post(page_of(found, "switch_off")).status_code == 302
        found.refresh_from_db()
        assert found.state == State.DISABLED

    def test_a_state_that_is_not_possible_yet_says_what_is_missing(
        self, owner: Browser, connection: Connection
    ) -> None:
        answer = owner.post(page_of(connection, "state"), {"state": "active"}, follow=True)
        assert said(answer)
        connection.refresh_from_db()
        assert connection.state == State.DRAFT

    def test_enforcing_is_no_state_that_the_button_knows(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization, state=State.ACTIVE)
        owner.post(page_of(found, "state"), {"state": "enforced"})
        found.refresh_from_db()
        assert found.state == State.ACTIVE

    def test_deleting_takes_the_typed_name(self, owner: Browser, connection: Connection) -> None:
        page = page_of(connection, "delete")
        assert owner.post(page, {"confirm": "okta"}).status_code == 422
        answer = owner.post(page, {"confirm": "Okta"}, follow=True)
        assert said(answer) == ["The connection Okta is deleted."]
        assert not Connection.objects.exists()


class SettingsTests:
    FORM: ClassVar = {
        "name": "Okta",
        "session_hours": "12",
        "signed_part": "assertion",
        "clock_skew_seconds": "60",
        "allows_idp_initiated": "on",
    }

    def test_are_kept(self, owner: Browser, connection: Connection) -> None:
        assert owner.post(page_of(connection, "settings"), self.FORM).status_code == 302
        connection.refresh_from_db()
        assert connection.session_hours == 12
        assert connection.signed_part == "assertion"
        assert connection.allows_idp_initiated
        assert not connection.signs_requests

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("session_hours", "0"),
            ("session_hours", "337"),
            ("clock_skew_seconds", "301"),
            ("signed_part", "none"),
            ("name", ""),
        ],
    )
    def test_values_that_break_their_rule_are_refused_beside_the_field(
        self, owner: Browser, connection: Connection, field: str, value: str
    ) -> None:
        answer = owner.post(page_of(connection, "settings"), {**self.FORM, field: value})
        assert answer.status_code == 422
        assert field in answer.context["form"].errors
        connection.refresh_from_db()
        assert connection.session_hours == 24

    def test_a_proof_that_is_too_old_leads_to_a_fresh_one_and_back(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        owner.prove(cast.alice, seconds_ago=86_400 / 2)
        page = page_of(connection, "settings")
        for answer in (owner.get(page), owner.post(page, self.FORM)):
            assert answer["Location"].startswith("/accounts/reauthenticate/?next=")
        assert owner.get(page_of(connection)).status_code == 200
        answer = owner.post(page_of(connection, "state"), {"state": "active"})
        assert answer["Location"].startswith("/accounts/reauthenticate/?next=")


class RolesTests:
    def form(self, **more: str) -> dict[str, str]:
        return {
            "default_role": "OrgMember",
            "roles_mode": "add",
            "projects-count": "0",
            "mappings-count": "0",
            **more,
        }

    def test_tables_are_kept_without_their_empty_rows(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        form = self.form(
            **{
                "provisions_people": "on",
                "attribute_groups": "memberOf",
                "projects-count": "3",
                "projects-1-project_id": str(cast.project.pk),
                "projects-1-role": "ProjectViewer",
                "mappings-count": "3",
                "mappings-2-value": "engineers",
                "mappings-2-role": "ProjectEditor",
                "mappings-2-project_id": str(cast.project.pk),
                "mappings-0-value": "admins",
                "mappings-0-role": "OrgManager",
                "mappings-0-project_id": "",
            }
        )
        answer = owner.post(page_of(connection, "roles"), form)
        assert answer.status_code == 302, text_of(answer)
        connection.refresh_from_db()
        project = str(cast.project.pk)
        assert connection.attribute_map == {"groups": "memberOf"}
        assert connection.default_project_roles == [
            {"role": "ProjectViewer", "project_id": project}
        ]
        assert [row["value"] for row in connection.role_mappings] == ["admins", "engineers"]
        shown = owner.get(page_of(connection, "roles")).content.decode()
        assert 'value="engineers"' in shown
        assert 'name="mappings-count" value="5"' in shown

    @pytest.mark.parametrize(
        "more",
        [
            pytest.param({"mappings-count": "1", "mappings-0-value": "a"}, id="no role"),
            pytest.param({"mappings-count": "1", "mappings-0-role": "OrgMember"}, id="no value"),
            pytest.param({"projects-count": "1", "projects-0-role": "ProjectViewer"}, id="half"),
            pytest.param({"default_role": "OrgOwner"}, id="owner by default"),
            pytest.param({"roles_mode": "all"}, id="unknown mode"),
            pytest.param({"attribute_email": "x" * 300}, id="long attribute"),
        ],
    )
    def test_what_is_not_complete_or_allowed_is_refused(
        self, owner: Browser, connection: Connection, more: dict[str, str]
    ) -> None:
        answer = owner.post(page_of(connection, "roles"), self.form(**more))
        assert answer.status_code == 422
        assert 'class="error"' in answer.content.decode() or "callout-error" in str(answer.content)
        connection.refresh_from_db()
        assert connection.roles_mode == "default"

    def test_hostile_counts_of_rows_do_no_harm(
        self, owner: Browser, connection: Connection
    ) -> None:
        for count in ("999999999999", "-1", "x", ""):
            form = self.form(**{"mappings-count": count})
            assert owner.post(page_of(connection, "roles"), form).status_code in {302, 422}

    def test_projects_of_others_are_not_offered(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        text = owner.get(page_of(connection, "roles")).content.decode()
        assert str(cast.project.pk) in text
        assert str(cast.other_project.pk) not in text
        form = self.form(
            **{
                "mappings-count": "1",
                "mappings-0-value": "a",
                "mappings-0-role": "ProjectViewer",
                "mappings-0-project_id": str(cast.other_project.pk),
            }
        )
        assert owner.post(page_of(connection, "roles"), form).status_code == 422


class CertificateTests:
    def test_one_is_added_beside_the_other_and_removed(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization)
        idp.install(found)
        page = page_of(found, "certificates")
        pem = idp.pair("second").certificate
        assert owner.post(page, {"pem": pem}).status_code == 302
        assert found.certificates.count() == 2
        assert owner.post(page, {"pem": "garbage"}).status_code == 422
        first = found.certificates.first()
        assert first is not None
        remove = page_of(found, "certificate_remove", first.pk)
        assert first.fingerprint in text_of(owner.get(remove))
        assert owner.post(remove).status_code == 302
        assert found.certificates.count() == 1

    def test_the_last_one_of_a_connection_in_use_stays(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization)
        idp.install(found)
        only = found.certificates.get()
        answer = owner.post(page_of(found, "certificate_remove", only.pk))
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()
        assert found.certificates.count() == 1

    def test_our_key_changes_in_three_steps(self, owner: Browser, connection: Connection) -> None:
        page = page_of(connection, "certificates")
        before = connection.sp_keys.get(state=SpKey.State.CURRENT)
        for act, states in (
            ("prepare", {"current", "next"}),
            ("rotate", {"current", "previous"}),
            ("drop", {"current"}),
        ):
            assert f'value="{act}"' in owner.get(page).content.decode()
            assert owner.post(page, {"key": act}).status_code == 302
            assert set(connection.sp_keys.values_list("state", flat=True)) == states
        assert connection.sp_keys.get().pk != before.pk


class LogTests:
    def test_shows_codes_reasons_and_finds_a_reference(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        good = add_attempt(connection, code="ok", email="ada@acme.example")
        bad = add_attempt(connection, code="sso_audience", reason="Made for <b>another</b>.")
        page = page_of(connection, "log")
        text = owner.get(page).content.decode()
        assert "ada@acme.example" in text
        assert "sso_audience" in text
        assert "Made for &lt;b&gt;another&lt;/b&gt;." in text
        found = text_of(owner.get(page, {"reference": str(bad.pk)}))
        assert "Made for" in found
        assert "ada@acme.example" not in found
        assert "ada@acme.example" not in text_of(owner.get(page, {"code": "refused"}))
        assert "No line has this reference" in text_of(owner.get(page, {"reference": "x"}))
        detail = text_of(owner.get(page_of(connection, "attempt", bad.pk)))
        assert "The answer was made for another service." in detail
        assert str(good.pk) not in detail

    def test_is_paged(self, owner: Browser, connection: Connection) -> None:
        for number in range(51):
            add_attempt(connection, code="ok", email=f"person-{number}@acme.example")
        page = page_of(connection, "log")
        first, second = text_of(owner.get(page)), text_of(owner.get(page, {"page": "2"}))
        assert "person-50@" in first
        assert "person-0@" not in first
        assert "person-0@" in second
        assert owner.get(page, {"page": "x"}).status_code == 200

    def test_another_connections_line_is_not_found(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        line = add_attempt(make_connection(cast.organization), code="ok")
        assert owner.get(page_of(connection, "attempt", line.pk)).status_code == 404


class PeopleTests:
    def test_a_person_is_unlinked_after_a_question(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        identity = Identity.objects.create(
            connection=connection, user=cast.bob, uid="bob-1", opens_sessions=True
        )
        assert "bob-1" in text_of(owner.get(page_of(connection, "people")))
        page = page_of(connection, "unlink", identity.pk)
        assert "Unlink bob@example.com?" in text_of(owner.get(page))
        answer = owner.post(page, follow=True)
        assert said(answer) == ["bob@example.com is linked no longer."]
        assert not Identity.objects.exists()


class ScimTests:
    def test_the_token_is_shown_once(self, owner: Browser, connection: Connection) -> None:
        page = page_of(connection, "scim")
        owner.post(page, {"act": "on"})
        answer = owner.post(page, {"act": "token", "days": "90"})
        secret = re.search(r"tmrk_scim_\w{59}", answer.content.decode())
        assert secret is not None
        assert "no-store" in answer["Cache-Control"]
        later = owner.get(page).content.decode()
        assert secret[0] not in later
        assert secret[0][:20] in later

    def test_a_token_is_revoked_after_a_question(
        self, owner: Browser, connection: Connection
    ) -> None:
        owner.post(page_of(connection, "scim"), {"act": "token", "days": ""})
        token = ScimToken.objects.get()
        page = page_of(connection, "scim_revoke", token.pk)
        assert owner.get(page).status_code == 200
        owner.post(page)
        assert not ScimToken.objects.exists()

    def test_without_the_entitlement_it_says_so(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        without_sso(cast.organization, "scim")
        text = text_of(owner.get(page_of(connection, "scim")))
        assert "operator of this installation" in text.lower() or "allow" in text
        assert "New token" not in text


class DomainTests:
    def test_one_is_claimed_and_shows_its_record(
        self, cast: Cast, owner: Browser, connection: Connection
    ) -> None:
        page = reverse("sso:domains", args=[cast.organization.pk])
        form = {"name": "ACME.example.", "connection": str(connection.pk)}
        answer = owner.post(page, form, follow=True)
        found = Domain.objects.get()
        text = text_of(answer)
        assert (found.name, found.connection) == ("acme.example", connection)
        assert "_tamarack-challenge.acme.example" in text
        assert found.record_value in text

    def test_a_public_mail_domain_is_refused_beside_the_field(
        self, cast: Cast, owner: Browser
    ) -> None:
        page = reverse("sso:domains", args=[cast.organization.pk])
        answer = owner.post(page, {"name": "gmail.com", "connection": ""})
        assert answer.status_code == 422
        assert "name" in answer.context["form"].errors
        assert b'value="gmail.com"' in answer.content

    def test_is_assigned_and_removed(self, cast: Cast, owner: Browser) -> None:
        domain = make_domain(cast.organization, "acme.example")
        found = make_connection(cast.organization, state=State.TESTING)
        page = reverse("sso:domain", args=[cast.organization.pk, domain.pk])
        owner.post(page, {"act": "assign", "connection": str(found.pk)})
        domain.refresh_from_db()
        assert domain.connection == found
        owner.post(page, {"act": "assign", "connection": ""})
        remove = reverse("sso:domain_remove", args=[cast.organization.pk, domain.pk])
        assert owner.get(remove).status_code == 200
        assert owner.post(remove).status_code == 302
        assert not Domain.objects.exists()

    def test_the_last_domain_of_a_connection_in_use_stays(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization, domains=["acme.example"])
        domain = found.domains.get()
        remove = reverse("sso:domain_remove", args=[cast.organization.pk, domain.pk])
        answer = owner.post(remove)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()
        assert Domain.objects.exists()

    def test_a_connection_of_others_is_no_choice(self, cast: Cast, owner: Browser) -> None:
        domain = make_domain(cast.organization, "acme.example")
        foreign = make_connection(cast.other_organization)
        page = reverse("sso:domain", args=[cast.organization.pk, domain.pk])
        answer = owner.post(page, {"act": "assign", "connection": str(foreign.pk)})
        assert answer.status_code == 422
        assert foreign.name not in text_of(answer)

    def test_a_check_that_fails_says_what_was_found(
        self, cast: Cast, owner: Browser, settings: Any
    ) -> None:
        settings.TAMARACK_DNS_SERVERS = ["127.0.0.1:1"]
        domain = make_domain(cast.organization, "acme.example")
        Domain.objects.update(verified_at=None)
        page = reverse("sso:domain", args=[cast.organization.pk, domain.pk])
        answer = owner.post(page, {"act": "check"})
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()
        domain.refresh_from_db()
        assert domain.verified_at is None


class EnforcementTests:
    def test_the_page_lists_what_is_missing_and_who_would_be_locked_out(
        self, cast: Cast, owner: Browser
    ) -> None:
        found = make_connection(cast.organization, domains=["acme.example"])
        idp.install(found)
        answer = owner.get(page_of(found, "require"))
        text = text_of(answer)
        assert "It was never tested with success." in text
        assert "bob@example.com" in text
        assert b'type="submit">Require it of everybody' not in answer.content

    def test_what_is_not_ready_is_refused_with_the_reason(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization)
        answer = owner.post(page_of(found, "require"))
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()
        found.refresh_from_db()
        assert found.state == State.ACTIVE

    def test_a_required_one_is_relaxed_by_its_page(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization, state=State.ENFORCED)
        for name in ("require", "switch_off"):
            assert owner.get(page_of(found, name))["Location"] == page_of(found, "relax")
        answer = owner.post(page_of(found, "relax"), {"to_state": "active"})
        assert answer.status_code == 302
        found.refresh_from_db()
        assert found.state == State.ACTIVE

    def test_an_owner_without_a_second_factor_is_not_named(
        self, cast: Cast, owner: Browser
    ) -> None:
        page = reverse("sso:break_glass_owners", args=[cast.organization.pk])
        answer = owner.post(page, {"act": "name", "user": str(cast.alice.pk)})
        assert answer.status_code == 422
        assert "second factor" in text_of(answer)
        answer = owner.post(page, {"act": "name", "user": str(cast.bob.pk)})
        assert "Choose one of the owners." in text_of(answer)

    def test_an_access_of_another_owner_waits_there(self, cast: Cast, owner: Browser) -> None:
        BreakGlassAccess.objects.create(
            organization=cast.organization,
            user=cast.bob,
            reason="The provider is down",
            expires_at=timezone.now() + timedelta(hours=1),
        )
        page = reverse("sso:break_glass_owners", args=[cast.organization.pk])
        text = text_of(owner.get(page))
        assert "Waits for a second owner" in text
        assert "Approve" in text
        for act in ("approve", "end", "remove"):
            answer = owner.post(page, {"act": act, "id": "no id"}, follow=True)
            assert answer.status_code == 200


class SetupLinkTests:
    def link(self, cast: Cast, connection: Connection) -> str:
        _, token = create_setup_link(actor=cast.actor(cast.alice), connection_id=connection.pk)
        return reverse("sso:setup", args=[token])

    def test_is_shown_once(self, owner: Browser, connection: Connection) -> None:
        page = page_of(connection, "setup_link")
        made = owner.post(page).content.decode()
        found = re.search(r"/sso/setup/[\w-]{43}/", made)
        assert found is not None
        assert found[0] not in owner.get(page).content.decode()
        assert Browser().get(found[0]).status_code == 200

    def test_takes_metadata_from_who_has_no_account_and_works_once(
        self, cast: Cast, connection: Connection
    ) -> None:
        url, stranger = self.link(cast, connection), Browser(enforce_csrf_checks=True)
        text = text_of(stranger.get(url))
        assert connection.acs_url in text
        assert "Choose the metadata file" not in text
        answer = stranger.post(url, {"how": "metadata", "metadata-text": metadata().decode()})
        assert "knows your identity provider now" in text_of(answer)
        connection.refresh_from_db()
        assert connection.idp_entity_id == ENTITY_ID
        assert SetupLink.objects.get().used_at is not None
        assert stranger.get(url).status_code == 404

    def test_takes_typed_values(self, cast: Cast, connection: Connection) -> None:
        form = {
            "how": "hand",
            "hand-idp_entity_id": ENTITY_ID,
            "hand-sso_url": "https://idp.example/sso",
            "hand-certificate": idp.pair().certificate,
        }
        answer = Browser().post(self.link(cast, connection), form)
        assert answer.status_code == 200
        assert "Done" in text_of(answer)

    def test_what_is_refused_uses_it_up_not(self, cast: Cast, connection: Connection) -> None:
        url = self.link(cast, connection)
        for form in (
            {"how": "metadata", "metadata-text": "<a/>"},
            {"how": "hand", "hand-sso_url": "http://idp.example"},
        ):
            answer = Browser().post(url, form)
            assert answer.status_code == 422
        assert Browser().get(url).status_code == 200

    def test_tells_no_other_site_and_no_search_engine(
        self, cast: Cast, connection: Connection
    ) -> None:
        url = self.link(cast, connection)
        for path, status in ((url, 200), ("/sso/setup/unknown/", 404)):
            answer = Browser().get(path)
            assert answer.status_code == status
            assert answer["Referrer-Policy"] == "no-referrer"
            assert "noindex" in answer["X-Robots-Tag"]
            assert "no-store" in answer["Cache-Control"]

    def test_looks_the_same_whether_it_was_used_or_never_was(
        self, cast: Cast, connection: Connection
    ) -> None:
        url = self.link(cast, connection)
        SetupLink.objects.update(used_at=timezone.now())
        assert Browser().get(url).content == Browser().get("/sso/setup/unknown/").content

    def test_opens_no_session(self, cast: Cast, connection: Connection) -> None:
        stranger = Browser()
        stranger.get(self.link(cast, connection))
        assert "__Host-tamarack-session" not in stranger.cookies

    def test_is_not_made_for_one_in_use(self, cast: Cast, owner: Browser) -> None:
        found = make_connection(cast.organization)
        answer = owner.post(page_of(found, "setup_link"))
        assert 'role="alert"' in answer.content.decode()
        assert not SetupLink.objects.exists()


CONNECTION_PAGES = (
    *("connection", "provider", "settings", "roles", "certificates", "log", "people", "scim"),
    *("setup_link", "require", "delete", "switch_off"),
)


class QueryTests:
    @pytest.mark.parametrize("name", CONNECTION_PAGES)
    def test_more_rows_of_a_connection_take_no_more_queries(
        self, cast: Cast, owner: Browser, name: str
    ) -> None:
        found = make_connection(cast.organization)
        fill(cast, found, 1)
        owner.get(page_of(found, name))
        before = queries(owner, page_of(found, name))
        fill(cast, found, 6)
        assert queries(owner, page_of(found, name)) <= before

    @pytest.mark.parametrize("name", ["overview", "domains", "break_glass_owners"])
    def test_more_connections_and_domains_take_no_more_queries(
        self, cast: Cast, owner: Browser, name: str
    ) -> None:
        page = reverse(f"sso:{name}", args=[cast.organization.pk])
        fill(cast, make_connection(cast.organization), 1)
        owner.get(page)
        before = queries(owner, page)
        for _ in range(4):
            fill(cast, make_connection(cast.organization), 2)
        assert queries(owner, page) <= before


class TenantTests:
    @pytest.mark.parametrize("name", [*CONNECTION_PAGES, "state", "relax"])
    def test_a_connection_under_another_organizations_address_is_not_found(
        self, cast: Cast, owner: Browser, name: str
    ) -> None:
        foreign = make_connection(cast.other_organization)
        mixed = reverse(f"sso:{name}", args=[cast.organization.pk, foreign.pk])
        assert owner.get(mixed).status_code == 404
        assert owner.post(mixed).status_code in {404, 405}
        own = make_connection(cast.organization)
        swapped = reverse(f"sso:{name}", args=[cast.other_organization.pk, own.pk])
        assert owner.get(swapped).status_code == 404


ENTITY_ID = "https://idp.example/metadata"


def metadata() -> bytes:
    """What an identity provider publishes."""
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"'
        f' entityID="{ENTITY_ID}"><md:IDPSSODescriptor'
        ' protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<md:KeyDescriptor use="signing"><ds:KeyInfo'
        ' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>'
        f"{idp.pair().base64_certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        "</md:KeyDescriptor><md:SingleSignOnService"
        ' Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
        ' Location="https://idp.example/sso"/></md:IDPSSODescriptor></md:EntityDescriptor>'
    ).encode()


def without_sso(organization: Organization, *switches: str) -> None:
    """As on a plan that does not include it."""
    organization.overrides = dict.fromkeys(switches or ("sso",), False)
    organization.save()


def add_attempt(connection: Connection, **fields: Any) -> Attempt:
    return Attempt.objects.create(connection=connection, purpose=Purpose.SIGN_IN, **fields)


def queries(browser: Browser, page: str) -> int:
    """How many queries the page takes."""
    with CaptureQueriesContext(database) as found:
        assert browser.get(page).status_code == 200
    return len(found)


def fill(cast: Cast, connection: Connection, count: int) -> None:
    """Rows of every kind that a page of the connection lists."""
    start = Attempt.objects.count()
    for number in range(start, start + count):
        member = make_member(cast.organization)
        add_attempt(connection, code="ok", user=member)
        make_domain(cast.organization, f"d{number}.example", connection=connection)
        make_project(cast.organization)
        Identity.objects.create(
            connection=connection, user=member, uid=f"u{number}", opens_sessions=True
        )
        IdpCertificate.objects.create(
            connection=connection,
            pem="",
            fingerprint=f"{number:064x}",
            not_before=timezone.now(),
            not_after=timezone.now() + timedelta(days=9),
            source="manual",
        )
        ScimToken.objects.create(connection=connection, lookup=f"l{number}", secret_hash="")
        SetupLink.objects.create(
            connection=connection, token_hash=f"{number}", expires_at=timezone.now()
        )
        BreakGlassAccess.objects.create(
            organization=cast.organization,
            user=member,
            approved_by=cast.alice,
            expires_at=timezone.now(),
        )
