"""The pages of API keys in a browser: made once, shown once, gone at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.forms import new_token
from keys.models import ApiKey
from keys.secrets import PATTERN
from keys.selectors.api_keys import verify_key
from keys.services.api_keys import create_api_key, disable_api_key, revoke_api_key
from keys.services.limits import Limits
from keys.services.rotation import rotate_api_key
from orgs.models import PrincipalType, RoleBinding
from orgs.permissions import Role
from orgs.services.bindings import bind_role
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project
from tests.indexes.conftest import make_index
from tests.pages import Browser, hidden_value


def page(cast: Cast) -> str:
    return f"/projects/{cast.project.pk}/keys/"


def filled(cast: Cast, browser: Browser, **fields: Any) -> dict[str, Any]:
    """The form as it comes, with a name."""
    form = browser.get(f"{page(cast)}create/").content
    return {
        "token": hidden_value(form, "token"),
        "name": "search-api",
        "roles": ["ProjectEditor"],
        "access": "read_write",
        "days": "",
        **fields,
    }


class CreateTests:
    def test_shows_a_working_secret_once_and_keeps_it_out_of_caches(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        answer = browser.post(f"{page(cast)}create/", filled(cast, browser))
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
        secret = PATTERN.search(answer.content.decode())
        assert secret is not None
        assert b'id="api-key"' in answer.content
        assert b'data-copy="api-key"' in answer.content
        key = verify_key(secret[0])
        assert key is not None
        assert (key.label, key.project_id) == ("search-api", cast.project.pk)
        listing = browser.get(page(cast)).content.decode()
        assert f"tmrk_{secret[1]}_…" in listing
        assert secret[2] not in listing

    def test_the_form_sent_twice_makes_one_key(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        form = filled(cast, browser)
        before = ApiKey.objects.count()
        browser.post(f"{page(cast)}create/", form)
        again = browser.post(f"{page(cast)}create/", form, follow=True)
        assert ApiKey.objects.count() == before + 1
        assert b"exists already" in again.content
        assert PATTERN.search(again.content.decode()) is None

    def test_roles_and_days_are_taken(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        form = filled(cast, browser, roles=["DataPlaneViewer", "ControlPlaneViewer"], days="30")
        browser.post(f"{page(cast)}create/", form)
        key = ApiKey.objects.get(name="search-api")
        assert key.expires_at is not None
        assert (key.expires_at - key.created_at).days in {29, 30}
        roles = RoleBinding.objects.filter(principal_id=key.pk).values_list("role", flat=True)
        assert set(roles) == {"DataPlaneViewer", "ControlPlaneViewer"}

    def test_limits_are_taken(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        form = filled(
            cast,
            browser,
            access="read_only",
            namespaces="__default__\r\nbooks\r\n\r\n",
            networks="192.0.2.0/24\r\n2001:db8::/32",
        )
        assert browser.post(f"{page(cast)}create/", form).status_code == 200
        key = ApiKey.objects.get(name="search-api")
        assert key.access == "read_only"
        assert key.namespaces is not None
        assert set(key.namespaces) == {"", "books"}
        assert set(key.allowed_ips) == {"192.0.2.0/24", "2001:db8::/32"}

    def test_left_out_limits_limit_nothing(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        browser.post(f"{page(cast)}create/", filled(cast, browser))
        key = ApiKey.objects.get(name="search-api")
        assert (key.access, key.namespaces, key.allowed_ips) == ("read_write", None, [])

    def test_a_bad_network_makes_no_key_and_keeps_what_was_typed(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        form = filled(cast, browser, networks="not a network", namespaces="books")
        answer = browser.post(f"{page(cast)}create/", form)
        assert answer.status_code == 422
        assert "not a network</textarea>" in answer.content.decode()
        assert "books</textarea>" in answer.content.decode()
        assert not ApiKey.objects.filter(name="search-api").exists()

    def test_mistakes_are_said_beside_the_field_and_the_rest_is_kept(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        before = ApiKey.objects.count()
        mistakes: list[tuple[dict[str, Any], str]] = [
            ({"name": ""}, "This field is required."),
            ({"name": "x" * 81}, "at most 80 characters"),
            ({"name": "a\u202eb"}, "printable characters"),
            ({"roles": []}, "Choose at least one role."),
            ({"roles": ["OrgOwner"]}, "OrgOwner is not one of the available choices"),
            ({"days": "7"}, "7 is not one of the available choices"),
        ]
        for fields, text in mistakes:
            answer = browser.post(f"{page(cast)}create/", filled(cast, browser) | fields)
            assert answer.status_code == 422
            assert text in answer.content.decode()
            assert 'aria-invalid="true"' in answer.content.decode() or "printable" in text
        assert ApiKey.objects.count() == before

    def test_a_forged_or_foreign_token_makes_no_key_and_a_fresh_one_does(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        for token in ("", "forged", new_token(make_project(cast.organization).pk)):
            form = filled(cast, browser, token=token)
            answer = browser.post(f"{page(cast)}create/", form)
            assert answer.status_code == 422
            assert b"It is fresh now: send it again." in answer.content
            assert b'value="search-api"' in answer.content
            assert not ApiKey.objects.filter(name="search-api").exists()
        form["token"] = hidden_value(answer.content, "token")
        assert browser.post(f"{page(cast)}create/", form).status_code == 200

    def test_names_are_escaped(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        form = filled(cast, browser, name="<script>alert(1)</script>")
        made = browser.post(f"{page(cast)}create/", form)
        for content in (made.content, browser.get(page(cast)).content):
            assert b"<script>alert" not in content
            assert b"&lt;script&gt;" in content

    def test_without_a_key_the_page_teaches_with_the_real_address(self, cast: Cast) -> None:
        empty = make_project(cast.organization)
        content = Browser(cast.alice).get(f"/projects/{empty.pk}/keys/").content.decode()
        assert "No API key yet" in content
        assert "PINECONE_CONTROLLER_HOST=https://localhost:8443" in content
        assert "/certs/ca.pem" in content


class ListTests:
    def test_shows_how_each_key_stands(self, cast: Cast) -> None:
        later = timezone.now() + timedelta(days=1)
        made: dict[str, Limits] = {
            "early": {"not_before": later},
            "narrow": {
                "access": "read_only",
                "index_ids": [make_index(cast.project).pk],
                "namespaces": ["a", "b"],
                "allowed_ips": ["192.0.2.0/24"],
            },
        }
        for name, limits in made.items():
            create_api_key(actor=SYSTEM, project=cast.project, name=name, limits=limits)
        off, _ = make_key(cast.project, name="off")
        disable_api_key(actor=SYSTEM, key_id=off.pk, reason="Odd traffic")
        ApiKey.objects.filter(name="narrow").update(
            last_used_at=timezone.now(), last_used_operation="Query", last_used_ip="192.0.2.1"
        )
        text = Browser(cast.alice).get(page(cast)).content.decode()
        for words in (
            "Disabled",
            "Odd traffic",
            "From ",
            "read only",
            "1 index only",
            "2 namespaces only",
            "from 1 network only",
            "Query from 192.0.2.1",
            "Never",
        ):
            assert words in text

    def test_a_revoked_key_is_not_on_it(self, cast: Cast) -> None:
        key, _ = make_key(cast.project, name="gone for good")
        revoke_api_key(actor=SYSTEM, key_id=key.pk)
        assert b"gone for good" not in Browser(cast.alice).get(page(cast)).content

    def test_takes_as_many_queries_for_many_keys_as_for_one(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        browser = Browser(cast.alice)
        browser.get(page(cast))
        with CaptureQueriesContext(connection) as one:
            browser.get(page(cast))
        for _ in range(7):
            rotate_api_key(actor=SYSTEM, key_id=make_key(cast.project)[0].pk)
        with django_assert_num_queries(len(one)):
            browser.get(page(cast))


class RotateTests:
    def test_shows_a_new_secret_once_and_both_work(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        key, old = make_key(cast.project)
        path = f"{page(cast)}{key.pk}/rotate/"
        form = {"version": hidden_value(browser.get(path).content, "version"), "hours": "24"}
        answer = browser.post(path, form)
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
        secret = PATTERN.search(answer.content.decode())
        assert secret is not None
        assert verify_key(secret[0]) is not None
        assert verify_key(old) is not None
        listing = browser.get(page(cast)).content.decode()
        assert "old secret, until" in listing
        assert secret[2] not in listing
        assert b"still works" in browser.get(path).content

    def test_the_form_sent_twice_rotates_once(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        key, old = make_key(cast.project)
        path, form = f"{page(cast)}{key.pk}/rotate/", {"version": 1, "hours": "24"}
        browser.post(path, form)
        again = browser.post(path, form, follow=True)
        assert b"nothing was done now" in again.content
        assert PATTERN.search(again.content.decode()) is None
        assert verify_key(old) is not None

    def test_without_an_overlap_the_old_one_ends(self, cast: Cast) -> None:
        key, old = make_key(cast.project)
        path = f"{page(cast)}{key.pk}/rotate/"
        assert Browser(cast.alice).post(path, {"version": 1, "hours": "0"}).status_code == 200
        assert verify_key(old) is None

    def test_mistakes_rotate_nothing(self, cast: Cast) -> None:
        key, _ = make_key(cast.project)
        path = f"{page(cast)}{key.pk}/rotate/"
        for form in ({}, {"version": "x", "hours": "24"}, {"version": 1, "hours": "5"}):
            assert Browser(cast.alice).post(path, form).status_code == 422
        assert key.secrets.count() == 1

    def test_a_key_of_another_project_is_not_reached_through_this_one(self, cast: Cast) -> None:
        key, _ = make_key(make_project(cast.organization))
        path = f"{page(cast)}{key.pk}/rotate/"
        answer = Browser(cast.alice).post(path, {"version": 1, "hours": "24"})
        assert answer.status_code == 404


class RevokeTests:
    def test_needs_the_name_then_is_final(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        key, secret = make_key(cast.project, name="old laptop")
        path = f"{page(cast)}{key.pk}/revoke/"
        assert b"Revoke old laptop?" in browser.get(path).content
        for typed in ("", "old", "OLD LAPTOP"):
            assert browser.post(path, {"confirm": typed}).status_code == 422
        assert verify_key(secret) is not None
        done = browser.post(path, {"confirm": "old laptop"}, follow=True)
        assert b"The API key old laptop is revoked." in done.content
        assert verify_key(secret) is None
        assert path not in done.content.decode()

    def test_a_key_of_another_project_is_not_reached_through_this_one(self, cast: Cast) -> None:
        key, secret = make_key(make_project(cast.organization))
        path = f"{page(cast)}{key.pk}/revoke/"
        assert Browser(cast.alice).post(path, {"confirm": "key"}).status_code == 404
        assert verify_key(secret) is not None

    def test_a_get_revokes_nothing(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        Browser(cast.alice).get(f"{page(cast)}{key.pk}/revoke/?confirm=key")
        assert verify_key(secret) is not None


class RolesTests:
    def give(self, cast: Cast, role: Role) -> Browser:
        bind_role(
            actor=SYSTEM,
            organization_id=cast.organization.pk,
            principal=(PrincipalType.USER, cast.bob.pk),
            role=role,
            resource_id=cast.project.pk,
        )
        return Browser(cast.bob)

    def test_who_may_only_look_sees_no_buttons(self, cast: Cast) -> None:
        content = self.give(cast, Role.PROJECT_MEMBER).get(page(cast)).content.decode()
        assert "tmrk_" in content
        assert "create/" not in content
        assert "/revoke/" not in content
