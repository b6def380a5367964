"""What every view of the Admin API has in common, on a small API of this file's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import include, path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.models import User
from orgs.services.organizations import create_organization
from rest.serializers import Input
from tests.cast import Cast
from tests.factories import SYSTEM, make_member, make_user
from tests.pages import Browser


class Shelf(Input):
    """One of each kind of field."""

    name = serializers.CharField(max_length=8)
    secret = serializers.CharField(write_only=True, required=False, min_length=4)
    count = serializers.IntegerField(required=False, min_value=1)
    is_open = serializers.BooleanField(required=False)
    id = serializers.UUIDField(required=False)
    kind = serializers.ChoiceField(choices=["wood", "steel"], required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=3), required=False)


class Inner(Input):
    boards = Shelf(many=True)


class Filters(Input):
    kind = serializers.ChoiceField(choices=["wood", "steel"], required=False)
    count = serializers.IntegerField(required=False)
    tags = serializers.ListField(child=serializers.CharField(), required=False)


class Person(serializers.Serializer[Any]):
    email = serializers.CharField()


class Shelves(OrganizationView):
    is_idempotent = False

    def get(self, request: Request) -> Response:
        return self.answer({**self.query(Filters), "dry_run": self.dry_run})

    def post(self, request: Request) -> Response:
        return self.answer(self.body(Shelf), 201)

    def patch(self, request: Request) -> Response:
        self.check_version(3)
        return self.answer({}, version=4)


class Boards(OrganizationView):
    is_idempotent = False

    def post(self, request: Request) -> Response:
        return self.answer(self.body(Inner))


class People(OrganizationView):
    def get(self, request: Request) -> Response:
        found = User.objects.filter(memberships__organization=self.organization_id)
        if "backwards" in request.query_params:
            return self.page(found, Person, order=("-email",))
        return self.page(found, lambda rows: [{"email": row.email} for row in rows])


urlpatterns = [
    path("admin/shelves", Shelves.as_view()),
    path("admin/boards", Boards.as_view()),
    path("admin/people", People.as_view()),
    path("", include("controlplane.urls")),
]
handler404 = "controlplane.errors.not_found"
handler500 = "controlplane.errors.server_error"

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return Browser(cast.alice)


def send(browser: Browser, body: object, path: str = "/admin/shelves") -> Any:
    return browser.post(path, json.dumps(body), content_type="application/json")


def refusal(answer: Any) -> str:
    """The message of a 400 in the one form that all refusals have."""
    body = answer.json()
    assert answer.status_code == 400, body
    assert set(body) == {"status", "error"}
    assert (body["status"], body["error"]["code"]) == (400, "INVALID_ARGUMENT")
    return str(body["error"]["message"])


class CallerTests:
    def test_nobody_gets_401_in_json(self, cast: Cast) -> None:
        answer = Browser().get("/admin/shelves")
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "UNAUTHENTICATED"
        assert "POST /oauth/token" in answer.json()["error"]["message"]
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert answer["Content-Type"] == "application/json"

    def test_an_api_key_is_no_credential_here(self, cast: Cast) -> None:
        answer = Browser().get("/admin/shelves", headers={"api-key": cast.key})
        assert answer.status_code == 401

    def test_a_session_needs_its_csrf_token_to_change_something(self, cast: Cast) -> None:
        browser = Browser(cast.alice, enforce_csrf_checks=True)
        assert browser.get("/admin/shelves").status_code == 200
        answer = send(browser, {"name": "a"})
        assert answer.status_code == 403
        assert "CSRF" in answer.json()["error"]["message"]

    def test_a_person_who_was_switched_off_is_nobody(self, cast: Cast) -> None:
        browser = Browser(cast.alice)
        User.objects.filter(pk=cast.alice.pk).update(is_active=False)
        assert browser.get("/admin/shelves").status_code == 401

    def test_the_request_is_named_as_pinecones_clients_look_for_it(self, alice: Browser) -> None:
        answer = alice.get("/admin/shelves", headers={"x-request-id": "request-0007"})
        assert answer["X-Request-Id"] == answer["X-Pinecone-Request-Id"] == "request-0007"

    def test_no_cache_keeps_an_answer(self, alice: Browser) -> None:
        assert alice.get("/admin/shelves")["Cache-Control"] == "no-store"


class OrganizationTests:
    def test_the_only_one_need_not_be_named(self, cast: Cast, alice: Browser) -> None:
        assert len(alice.get("/admin/people").json()["data"]) == 2

    def test_several_have_to_be_named(self, cast: Cast, alice: Browser) -> None:
        other = create_organization(actor=SYSTEM, name="Second", owner=cast.alice)
        assert "Tamarack-Organization" in refusal(alice.get("/admin/people"))
        for pk, count in ((other.pk, 1), (cast.organization.pk, 2)):
            answer = alice.get("/admin/people", headers={"tamarack-organization": str(pk)})
            assert len(answer.json()["data"]) == count

    def test_a_person_without_any_is_told_so(self, db: None) -> None:
        assert "belong to 0" in refusal(Browser(make_user()).get("/admin/people"))

    def test_a_foreign_one_is_404_as_an_absent_one(self, cast: Cast, alice: Browser) -> None:
        for pk in (cast.other_organization.pk, "0b7e1a34-9a86-4d0d-8a1c-000000000000"):
            answer = alice.get("/admin/people", headers={"tamarack-organization": str(pk)})
            assert answer.status_code == 404
            message = answer.json()["error"]["message"]
            assert message == f"There is no organization {pk}, or none that you may see."

    def test_one_that_is_no_id(self, alice: Browser) -> None:
        answer = alice.get("/admin/people", headers={"tamarack-organization": "acme"})
        assert '"acme"' in refusal(answer)


BAD_BODIES: list[tuple[object, str]] = [
    ([], "The body has to be a JSON object, not []."),
    ("text", 'The body has to be a JSON object, not "text".'),
    (None, "The body has to be a JSON object, not null."),
    ({}, "name: This field is required."),
    ({"name": None}, "name: This field may not be null."),
    ({"name": 5}, "name 5: has to be a string."),
    ({"name": "a", "color": "blue"}, 'color "blue": is not known here. Known are: name,'),
    ({"name": "a", "count": "5"}, 'count "5": has to be a whole number.'),
    ({"name": "a", "count": True}, "count true: has to be a whole number."),
    ({"name": "a", "count": 0}, "count 0: Ensure this value is greater than or equal to 1."),
    ({"name": "a", "count": 2**63}, "is beyond 64 bits."),
    ({"name": "a", "is_open": "yes"}, 'is_open "yes": has to be true or false.'),
    ({"name": "a", "is_open": 1}, "is_open 1: has to be true or false."),
    ({"name": "a", "id": "7"}, 'id "7": Must be a valid UUID.'),
    ({"name": "a", "id": 7}, "id 7: has to be a string."),
    ({"name": "a", "kind": "paper"}, 'kind "paper": "paper" is not a valid choice.'),
    ({"name": "a", "kind": ["wood"]}, 'kind ["wood"]: has to be a string.'),
    ({"name": "a", "tags": "x"}, 'tags "x": has to be a list.'),
    ({"name": "a", "tags": [1]}, "tags [1]: holds an element that has to be a string."),
    ({"name": "a", "tags": ["long!"]}, 'tags[0] "long!": Ensure this field has no more than 3'),
    ({"name": "x" * 5000}, "…: Ensure this field has no more than 8"),
    ({"name": "a\0b"}, "NUL"),
    ({"name": "a\ud800"}, "lone surrogates"),
    ({"a\0": 1}, "NUL"),
]


class BodyTests:
    def test_a_good_one_comes_back_checked(self, alice: Browser) -> None:
        body = {"name": "a", "count": 2, "is_open": True, "kind": "wood", "tags": ["x", "y"]}
        assert send(alice, body).json() == body

    @pytest.mark.parametrize(("body", "message"), BAD_BODIES)
    def test_a_bad_one_is_400_and_names_field_value_and_rule(
        self, alice: Browser, body: object, message: str
    ) -> None:
        found = refusal(send(alice, body))
        assert message in found
        assert len(found) < 300

    def test_inside_a_list_the_place_is_named(self, alice: Browser) -> None:
        found = send(alice, {"boards": [{"name": "a"}, {"name": "b", "count": 0}]}, "/admin/boards")
        assert refusal(found).startswith("boards[1].count 0: ")
        found = send(alice, {"boards": [{"name": "a", "x": 1}]}, "/admin/boards")
        assert refusal(found).startswith("boards[0].x 1: is not known here.")
        found = send(alice, {"boards": [7]}, "/admin/boards")
        assert refusal(found).startswith("boards[0]")

    def test_a_secret_is_never_repeated(self, alice: Browser) -> None:
        found = refusal(send(alice, {"name": "a", "secret": "hm!"}))
        assert found == "secret: Ensure this field has at least 4 characters."

    def test_deep_nesting_is_refused(self, alice: Browser) -> None:
        deep: Any = "x"
        for _ in range(50):
            deep = [deep]
        assert "deeper than 20" in refusal(send(alice, {"name": deep}))
        answer = alice.post("/admin/shelves", "[" * 60_000, content_type="application/json")
        assert answer.status_code == 422

    @pytest.mark.parametrize("text", ["{", "{'a': 1}", '{"a": NaN}', '{"a": 1, "a": 2}', "\xff"])
    def test_what_is_not_json_is_422(self, alice: Browser, text: str) -> None:
        body = text.encode("latin-1")
        answer = alice.post("/admin/shelves", body, content_type="application/json")
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "UNPROCESSABLE_ENTITY"

    def test_another_media_type_is_415(self, alice: Browser) -> None:
        assert alice.post("/admin/shelves", {"name": "a"}).status_code == 415

    def test_more_than_64_kib_is_413(self, alice: Browser) -> None:
        assert send(alice, {"name": "x" * 65_536}).status_code == 413


class QueryTests:
    def test_a_good_one_comes_back_checked(self, alice: Browser) -> None:
        answer = alice.get("/admin/shelves?kind=wood&count=5&tags=a&tags=b&dry_run=true&limit=5")
        assert answer.json() == {"kind": "wood", "count": 5, "tags": ["a", "b"], "dry_run": True}

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("kind=paper", 'kind "paper"'),
            ("knd=wood", 'knd "wood": is not known here. Known are: kind, count, tags'),
            ("count=five", 'count "five": A valid integer is required.'),
            ("kind=wood&kind=steel", '"kind" is there 2 times'),
            ("dry_run=yes", 'dry_run "yes" is not known: use true or false.'),
            ("kind=%00", "NUL"),
        ],
    )
    def test_a_bad_one_is_400(self, alice: Browser, query: str, message: str) -> None:
        assert message in refusal(alice.get(f"/admin/shelves?{query}"))


class VersionTests:
    def test_the_answer_tells_its_version(self, alice: Browser) -> None:
        assert alice.patch("/admin/shelves")["ETag"] == '"4"'

    @pytest.mark.parametrize("tag", ['"3"', 'W/"3"', '"1", "3"', "*"])
    def test_the_version_that_it_has_passes(self, alice: Browser, tag: str) -> None:
        assert alice.patch("/admin/shelves", headers={"if-match": tag}).status_code == 200

    @pytest.mark.parametrize("tag", ['"2"', '"33"', '""', '"1", "2"'])
    def test_412_when_the_object_has_changed_since(self, alice: Browser, tag: str) -> None:
        answer = alice.patch("/admin/shelves", headers={"if-match": tag})
        assert answer.status_code == 412
        assert answer.json()["error"]["code"] == "FAILED_PRECONDITION"

    @pytest.mark.parametrize("tag", ["3", '"3', "", ","])
    def test_what_is_no_entity_tag_is_400(self, alice: Browser, tag: str) -> None:
        assert "If-Match" in refusal(alice.patch("/admin/shelves", headers={"if-match": tag}))


class PageTests:
    @pytest.fixture
    def people(self, cast: Cast) -> list[str]:
        """The e-mail addresses of Acme in the order of their making."""
        made = [make_member(cast.organization).email for _ in range(5)]
        return [cast.alice.email, cast.bob.email, *made]

    def test_all_fit_on_one(self, alice: Browser, people: list[str]) -> None:
        body = alice.get("/admin/people").json()
        assert [row["email"] for row in body["data"]] == people
        assert body["pagination"] is None

    @pytest.mark.parametrize("backwards", ["", "&backwards=1"])
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_every_row_comes_once(
        self, alice: Browser, people: list[str], limit: int, backwards: str
    ) -> None:
        path, found = f"/admin/people?limit={limit}{backwards}", list[str]()
        token = ""
        for _ in range(20):
            body = alice.get(f"{path}{token}").json()
            assert len(body["data"]) <= limit
            found += [row["email"] for row in body["data"]]
            if body["pagination"] is None:
                break
            token = f"&paginationToken={body['pagination']['next']}"
        assert found == (sorted(people, reverse=True) if backwards else people)

    def test_what_was_added_or_removed_meanwhile_neither_repeats_nor_skips(
        self, cast: Cast, alice: Browser, people: list[str]
    ) -> None:
        first = alice.get("/admin/people?limit=3").json()
        cast.organization.memberships.filter(user=cast.alice).delete()
        late = make_member(cast.organization).email
        token = first["pagination"]["next"]
        rest = alice.get(f"/admin/people?limit=3&paginationToken={token}").json()
        assert [row["email"] for row in rest["data"]] == people[3:6]
        token = rest["pagination"]["next"]
        last = alice.get(f"/admin/people?limit=3&paginationToken={token}").json()
        assert [row["email"] for row in last["data"]] == [people[6], late]

    @pytest.mark.parametrize("limit", ["0", "-1", "101", "9" * 5000])
    def test_limit_out_of_1_to_100_is_400_out_of_range(self, alice: Browser, limit: str) -> None:
        answer = alice.get(f"/admin/people?limit={limit}")
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "OUT_OF_RANGE"

    @pytest.mark.parametrize("limit", ["ten", "", "1.0", "٣", "1e1"])
    def test_a_limit_that_is_no_number_is_400(self, alice: Browser, limit: str) -> None:
        assert "limit" in refusal(alice.get(f"/admin/people?limit={limit}"))

    def test_a_cursor_is_good_for_its_list_only(
        self, cast: Cast, alice: Browser, people: list[str]
    ) -> None:
        token = alice.get("/admin/people?limit=2").json()["pagination"]["next"]
        assert alice.get(f"/admin/people?limit=2&paginationToken={token}").status_code == 200
        for query in ("limit=3", "limit=2&email=x", "limit=2&backwards=1"):
            found = refusal(alice.get(f"/admin/people?{query}&paginationToken={token}"))
            assert "not given out for this list" in found
        bob = Browser(cast.bob).get(f"/admin/people?limit=2&paginationToken={token}")
        assert "not given out for this list" in refusal(bob)

    @pytest.mark.parametrize("token", ["", "x", "a:b:c", "é", "%00", "x" * 5000])
    def test_a_made_up_cursor_is_400(self, alice: Browser, token: str) -> None:
        found = refusal(alice.get(f"/admin/people?paginationToken={token}"))
        assert "paginationToken" in found
