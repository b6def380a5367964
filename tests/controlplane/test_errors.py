from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.errors import STATUS, answer_to
from controlplane.logs import JsonFormatter, current_request
from kms.envelope import KeyUnavailable
from orgs import errors
from orgs.errors import Code, Refused
from tests.pages import Browser

RAISED: dict[str, Exception] = {
    "invalid": errors.InvalidArgument("7 is not allowed: use 8."),
    "denied": errors.PermissionDenied("ann lacks x."),
    "forbidden": errors.Forbidden("protected"),
    "quota": errors.QuotaExceeded("full"),
    "absent": errors.no_such("thing 7"),
    "taken": errors.AlreadyExists("taken"),
    "early": errors.FailedPrecondition("not yet"),
    "down": errors.Unavailable("later"),
    "key": KeyUnavailable("The root key /secret/place can't be read"),
    "http404": Http404("nothing"),
    "django403": DjangoPermissionDenied(),
    "suspicious": SuspiciousOperation("odd"),
    "parse": exceptions.ParseError("line 1"),
    "media": exceptions.UnsupportedMediaType("text/csv"),
    "throttled": exceptions.Throttled(),
    "bug": RuntimeError("secret detail"),
}
EXPECTED = {
    "invalid": (400, "INVALID_ARGUMENT"),
    "denied": (403, "PERMISSION_DENIED"),
    "forbidden": (403, "FORBIDDEN"),
    "quota": (403, "QUOTA_EXCEEDED"),
    "absent": (404, "NOT_FOUND"),
    "taken": (409, "ALREADY_EXISTS"),
    "early": (412, "FAILED_PRECONDITION"),
    "down": (503, "SERVICE_UNAVAILABLE"),
    "key": (503, "SERVICE_UNAVAILABLE"),
    "http404": (404, "NOT_FOUND"),
    "django403": (403, "PERMISSION_DENIED"),
    "suspicious": (400, "INVALID_ARGUMENT"),
    "bug": (500, "INTERNAL"),
}


def page(request: HttpRequest, name: str) -> HttpResponse:
    raise RAISED[name]


class Api(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Any, name: str) -> Response:
        raise RAISED[name]


urlpatterns = [
    path("", include("controlplane.urls")),
    path("pages/<str:name>", page),
    path("api/<str:name>", Api.as_view()),
]
handler400 = "controlplane.errors.bad_request"
handler403 = "controlplane.errors.permission_denied"
handler404 = "controlplane.errors.not_found"
handler500 = "controlplane.errors.server_error"

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def browser() -> Browser:
    return Browser(raise_request_exception=False)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is provoked here need not fill the output."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class PageTests:
    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_browsers_get_a_page_with_the_request_id(self, browser: Browser, name: str) -> None:
        answer = browser.get(f"/pages/{name}")
        text = answer.content.decode()
        assert answer.status_code == EXPECTED[name][0]
        assert answer["Content-Type"].startswith("text/html")
        assert answer["X-Request-Id"] in text
        assert "/static/css/base.css" in text
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "secret" not in text

    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_programs_get_json_from_the_same_path(self, browser: Browser, name: str) -> None:
        answer = browser.get(f"/pages/{name}", headers={"accept": "*/*"})
        status, code = EXPECTED[name]
        body = answer.json()
        assert (answer.status_code, body["status"], body["error"]["code"]) == (status, status, code)
        assert "secret" not in body["error"]["message"]

    def test_a_refusal_is_shown_in_its_own_words(self, browser: Browser) -> None:
        assert b"7 is not allowed: use 8." in browser.get("/pages/invalid").content

    def test_a_path_that_leads_nowhere(self, browser: Browser) -> None:
        page = browser.get("/nowhere/<b>")
        assert page.status_code == 404
        assert b"/nowhere/&lt;b&gt;" in page.content
        assert (
            browser.get("/nowhere", headers={"accept": ""}).json()["error"]["code"] == "NOT_FOUND"
        )

    @pytest.mark.parametrize("path", ["/indexes/a/b/c", "/api/none/x", "/admin/none"])
    def test_paths_of_programs_answer_json_even_to_browsers(
        self, browser: Browser, path: str
    ) -> None:
        answer = browser.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "NOT_FOUND"

    def test_a_host_that_is_not_ours_is_refused(self, browser: Browser) -> None:
        assert browser.get("/", headers={"host": "evil.example"}).status_code == 400


class RestTests:
    @pytest.mark.parametrize(
        ("name", "status", "code"),
        [
            *((name, *EXPECTED[name]) for name in EXPECTED if name not in {"bug", "suspicious"}),
            ("parse", 422, "UNPROCESSABLE_ENTITY"),
            ("media", 415, "INVALID_ARGUMENT"),
            ("throttled", 429, "INVALID_ARGUMENT"),
        ],
    )
    def test_one_body_for_every_refusal(
        self, browser: Browser, name: str, status: int, code: str
    ) -> None:
        answer = browser.get(f"/api/{name}")
        body = answer.json()
        assert set(body) == {"status", "error"}
        assert set(body["error"]) == {"code", "message"}
        assert (answer.status_code, body["status"], body["error"]["code"]) == (status, status, code)
        assert "secret" not in body["error"]["message"]

    def test_a_method_that_is_not_offered(self, browser: Browser) -> None:
        answer = browser.delete("/api/invalid")
        assert answer.status_code == 405
        assert "DELETE" in answer.json()["error"]["message"]

    def test_a_bug_tells_nothing_but_the_id(self, browser: Browser) -> None:
        answer = browser.get("/api/bug")
        assert answer.status_code == 500
        assert answer["X-Request-Id"] in answer.json()["error"]["message"]

    def test_braces_in_a_message_are_only_text(self) -> None:
        answer = answer_to(exceptions.ParseError("{error.args} {0} {"))
        assert answer is not None
        assert answer.message == "The body is not valid JSON: {error.args} {0} {"

    def test_every_code_has_a_status(self) -> None:
        assert set(STATUS) == set(Code)
        for kind in Refused.__subclasses__():
            assert kind.code in STATUS


class RequestIdTests:
    @pytest.mark.parametrize("given", ["3f2a-77aa-0001", "a" * 64])
    def test_the_gateways_is_kept(self, browser: Browser, given: str) -> None:
        answer = browser.get("/healthz", headers={"x-request-id": given})
        assert answer["X-Request-Id"] == given

    @pytest.mark.parametrize(
        "given", ["", "short", "a" * 65, "a b c d e f", "<script>alert</script>"]
    )
    def test_one_that_is_none_is_replaced(self, browser: Browser, given: str) -> None:
        answer = browser.get("/healthz", headers={"x-request-id": given})
        assert answer["X-Request-Id"] != given
        assert len(answer["X-Request-Id"]) == 36


class LogTests:
    def line(self, message: str, *arguments: object, error: Exception | None = None) -> Any:
        information = (type(error), error, None) if error else None
        record = logging.LogRecord("room", 30, __file__, 1, message, arguments, information)
        text = JsonFormatter().format(record)
        assert "\n" not in text
        return json.loads(text)

    def test_one_object_a_line(self) -> None:
        line = self.line("two\nlines %s", "é")
        assert line["message"] == "two\nlines é"
        assert (line["level"], line["logger"]) == ("warning", "room")
        assert "request_id" not in line

    def test_names_the_request_that_is_being_answered(self) -> None:
        token = current_request.set("request-7")
        try:
            assert self.line("x")["request_id"] == "request-7"
        finally:
            current_request.reset(token)

    def test_carries_the_traceback(self) -> None:
        assert "RuntimeError: odd" in self.line("x", error=RuntimeError("odd"))["error"]


class HealthTests:
    def test_answers_without_signing_in(self, browser: Browser) -> None:
        answer = browser.get("/healthz")
        assert (answer.status_code, answer.content) == (200, b"ok\n")
        assert "no-store" in answer["Cache-Control"]
        assert browser.post("/healthz").status_code == 405
