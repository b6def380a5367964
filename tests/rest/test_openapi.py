"""The OpenAPI document: committed, served to everybody, and complete."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane import openapi
from orgs.api.base import OrganizationView
from rest.schema import errors, page_of
from rest.serializers import Input
from tests.pages import Browser

COMMITTED = settings.BASE_DIR / "docs" / "openapi.json"


class Lock(Input):
    name = serializers.CharField(required=False)


class LockSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()


class LocksView(OrganizationView):
    @extend_schema(operation_id="list_locks", responses={200: page_of(LockSerializer)})
    def get(self, request: Request) -> Response:
        return self.answer()

    @extend_schema(
        operation_id="make_lock",
        request=Lock,
        responses={201: LockSerializer, **errors(412)},
    )
    def post(self, request: Request) -> Response:
        return self.answer()

    @extend_schema(operation_id="turn_lock", request=Lock, responses={200: LockSerializer})
    def patch(self, request: Request) -> Response:
        return self.answer()


class SilentView(OrganizationView):
    def get(self, request: Request) -> Response:
        return self.answer()


def document(*views: type[OrganizationView]) -> dict[str, Any]:
    """The document of these views alone, at `/admin/<number>`."""
    patterns = [path(f"admin/{number}", view.as_view()) for number, view in enumerate(views)]
    generator = SchemaGenerator(patterns=patterns)  # type: ignore[no-untyped-call]
    found: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return found


class DocumentTests:
    def test_the_committed_one_is_what_the_views_say(self) -> None:
        call_command("openapi", check=True)

    def test_one_that_is_behind_fails_the_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openapi, "text", lambda: "{}\n")
        with pytest.raises(CommandError, match="run make openapi"):
            call_command("openapi", check=True)

    def test_a_view_that_says_nothing_of_itself_fails_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def incomplete() -> str:
            raise openapi.Incomplete("SilentView")

        monkeypatch.setattr(openapi, "text", incomplete)
        with pytest.raises(CommandError, match="SilentView"):
            call_command("openapi", check=True)

    def test_gaps_are_noticed(self) -> None:
        assert openapi.gaps_of(lambda: document(LocksView)) == []
        (gap,) = openapi.gaps_of(lambda: document(SilentView))
        assert "SilentView" in gap

    def test_nobody_has_to_sign_in_for_it(self) -> None:
        answer = Browser().get("/api/openapi.json")
        assert answer.status_code == 200
        assert answer["Content-Type"] == "application/json"
        assert answer.content == COMMITTED.read_bytes()
        assert Browser().post("/api/openapi.json").status_code == 405

    def test_every_operation_has_a_name_and_its_credentials(self) -> None:
        found = json.loads(COMMITTED.read_text())
        assert found["openapi"].startswith("3.1.")
        assert set(found["components"]["securitySchemes"]) == {"ApiKey", "Bearer", "Session"}
        names = []
        for route, methods in found["paths"].items():
            for operation in methods.values():
                names.append(operation["operationId"])
                assert {"429", "500", "503"} <= operation["responses"].keys()
                if route.startswith("/admin/"):
                    assert operation["security"] == [{"Bearer": []}, {"Session": []}]
                    assert {"401", "403"} <= operation["responses"].keys()
        assert len(names) == len(set(names))


class CommonTests:
    def test_every_post_has_its_idempotency_key_and_refusals(self) -> None:
        post = document(LocksView)["paths"]["/admin/0"]["post"]
        names = {parameter["name"] for parameter in post["parameters"]}
        assert names == {"Idempotency-Key", "Tamarack-Organization"}
        statuses = "201 400 401 403 404 409 412 413 415 422 429 500 503"
        assert list(post["responses"]) == statuses.split()

    def test_a_get_takes_no_body(self) -> None:
        get = document(LocksView)["paths"]["/admin/0"]["get"]
        assert list(get["responses"]) == ["200", "400", "401", "403", "404", "429", "500", "503"]

    def test_inputs_are_closed_and_named_apart(self) -> None:
        schemas = document(LocksView)["components"]["schemas"]
        assert schemas["LockInput"]["additionalProperties"] is False
        assert "additionalProperties" not in schemas["Lock"]
        assert set(schemas["LockList"]["properties"]) == {"data", "pagination"}
