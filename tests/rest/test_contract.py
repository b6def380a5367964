"""Every operation against its own description: generated requests, good and bad, by three callers.

Nothing may be a 5xx, and every answer has to be one that the OpenAPI document announces: status
code, media type and the shape of the body.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from requests.structures import CaseInsensitiveDict
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orgs.permissions import Role
from tests.cast import Cast
from tests.factories import make_key, make_service_account
from tests.pages import Browser
from tests.sso.dns_server import name_server

EXAMPLES = 6
"""Requests of each kind (good, bad) to each operation."""
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
DOCUMENT: dict[str, Any] = json.loads((settings.BASE_DIR / "docs" / "openapi.json").read_text())
TAGS: dict[str, list[tuple[str, str]]] = defaultdict(list)
for _path, _methods in DOCUMENT["paths"].items():
    for _method, _operation in _methods.items():
        TAGS[_operation["tags"][0]].append((_method.upper(), _path))
SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
PUBLIC = {"Host": "localhost", "X-Forwarded-Proto": "https"}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.config.generation.update(with_security_parameters=False)
SCHEMA.app = get_wsgi_application()


JWKS = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "x": "A" * 43}]}
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "group_id": ("/admin/groups", {"name": "team"}),
    "role_id": (
        "/admin/roles",
        {"name": "reader", "resource_type": "project", "permissions": ["project:read"]},
    ),
    "invite_id": (
        "/admin/invites",
        {
            "email": "dora@example.com",
            "role_bindings": [{"resource_type": "organization", "role": "OrgMember"}],
        },
    ),
    "binding_id": (
        "/admin/role-bindings",
        {
            "principal_type": "user",
            "principal_id": "user_id",
            "resource_type": "project",
            "resource_id": "project_id",
            "role": "ProjectViewer",
        },
    ),
    "issuer_id": (
        "/admin/federation/issuers",
        {"name": "ci", "issuer": "https://ci.example.com", "audience": "acme", "jwks": JWKS},
    ),
    "rule_id": (
        "/admin/federation/rules",
        {
            "name": "main",
            "issuer_id": "issuer_id",
            "service_account_id": "account_id",
            "conditions": {"repository": "acme/app"},
        },
    ),
    "stream_id": (
        "/admin/audit/streams",
        {"name": "siem", "kind": "webhook", "config": {"url": "https://9.9.9.9/hook"}},
    ),
    "connection_id": ("/admin/sso/connections", {"name": "okta"}),
    "domain_id": ("/admin/sso/domains", {"name": "acme.example"}),
    "name": (
        "/indexes",
        {"name": "shelf", "dimension": 3, "metric": "cosine", "spec": SPEC},
    ),
}
"""What there is besides, by the name of its id: how it is made. Ids stand for themselves."""


@dataclass
class World:
    """Who calls, by name the headers that they send, and the ids of what there is."""

    callers: dict[str, dict[str, str]]
    cookies: dict[str, str]
    ids: dict[str, str]
    numbers: Iterator[int] = field(default_factory=itertools.count)


@pytest.fixture
def world(cast: Cast, tag: str) -> World:
    """Acme, and who calls."""
    account, token = make_service_account(cast.organization)
    key, secret = make_key(cast.project, roles=(Role.PROJECT_EDITOR,))
    browser = Browser()
    browser.sign_in(cast.alice.email)
    assert browser.get("/accounts/password/change/").status_code == 200
    cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
    ids = {
        "organization_id": str(cast.organization.pk),
        "project_id": str(cast.project.pk),
        "resource_id": str(cast.project.pk),
        "key_id": str(key.pk),
        "user_id": str(cast.bob.pk),
        "principal_id": str(cast.bob.pk),
        "account_id": str(account.pk),
        "service_account_id": str(account.pk),
        "Tamarack-Organization": str(cast.organization.pk),
        "X-Project-Id": str(cast.project.pk),
    }
    program = {"authorization": f"Bearer {token}", "x-project-id": ids["project_id"]}
    for name, (path, body) in MADE.items():
        if any(f"{{{name}}}" in route for _, route in TAGS[tag]) or name == "issuer_id":
            wanted = {field: ids.get(str(value), value) for field, value in body.items()}
            made = Browser().post(path, wanted, "application/json", headers=program)
            assert made.status_code in {200, 201}, made.json()
            found = made.json()
            ids[name] = found["name"] if name == "name" else found["id"]
    return World(
        callers={
            "account": {"Authorization": f"Bearer {token}", "X-Project-Id": ids["project_id"]},
            "key": {"Api-Key": secret},
            "person": {
                "X-CSRFToken": cookies[settings.CSRF_COOKIE_NAME],
                "Origin": settings.TAMARACK_PUBLIC_URL,
            },
            "nobody": {},
        },
        cookies=cookies,
        ids=ids,
    )


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that knows nothing, so that nobody waits for one far away."""
    with name_server() as dns:
        monkeypatch.setattr(settings, "TAMARACK_DNS_SERVERS", [dns.address])
        yield


@pytest.fixture(autouse=True)
def in_process(world: World) -> Iterator[None]:
    """A request's end closes its connection, which is the test's own here; and thousands of
    refusals need not fill the output.
    """
    # After `world`: Django's test client connects them again.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def known(ids: dict[str, str], value: Any) -> Any:
    """The same with the ids of what there is, wherever their names stand."""
    if isinstance(value, dict):
        return {name: ids.get(name, known(ids, item)) for name, item in value.items()}
    return [known(ids, item) for item in value] if isinstance(value, list) else value


def send(world: World, case: Case[Any]) -> None:
    """The request: half of them about what there is, half by a program, now and then by nobody."""
    number = next(world.numbers)
    if number % 2:
        case.path_parameters = known(world.ids, case.path_parameters)
        case.headers = CaseInsensitiveDict(known(world.ids, dict(case.headers)))
        case.body = known(world.ids, case.body)
    other = "person" if case.path.startswith("/admin/") else "key"
    callers = ["account" if number // 2 % 2 else other]
    if number % EXAMPLES == 0:
        callers.append("nobody")
    for caller in callers:
        before = transaction.savepoint()
        try:
            case.call_and_validate(
                headers={**PUBLIC, **world.callers[caller]},
                cookies=world.cookies if caller == "person" else {},
                checks=CHECKS,
            )
        finally:
            transaction.savepoint_rollback(before)


@pytest.mark.django_db
@pytest.mark.parametrize("tag", sorted(TAGS))
def test_every_answer_is_one_that_the_document_announces(world: World, tag: str) -> None:
    wrong = []
    for (method, path), mode in itertools.product(TAGS[tag], GenerationMode):
        operation = SCHEMA[path][method]

        @hypothesis_settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def run(case: Case[Any]) -> None:
            send(world, case)

        try:
            run()
        except Unsatisfiable:
            continue  # Nothing about this operation can be wrong.
        except (FailureGroup, AssertionError) as error:
            wrong.append(f"{method} {path}, {mode.value} data:\n{error}")
    assert not wrong, "\n\n".join(wrong)
