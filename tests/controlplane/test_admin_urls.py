"""Every operation of the API against every role, held by a service account.

A route or a method that is not in the table below fails the test, and so does one that answers
otherwise than its row says. Whoever adds an operation adds its row, a body where it needs one, and
the id of what it is about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from pytest_django import DjangoDbBlocker
from rest_framework.views import APIView

from audit.models import AuditEvent, Stream
from audit.sealing import seal_all
from keys.models import ServiceAccountSecret
from keys.services.federation import create_issuer, create_rule
from keys.services.rotation import rotate_api_key
from orgs.errors import Refused
from orgs.models import (
    CustomRole,
    Group,
    GroupMembership,
    Invitation,
    OwnershipTransfer,
    PrincipalType,
)
from orgs.permissions import Permission, Role, authorize
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import bind_role
from orgs.services.decisions import record_denial
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_key, make_member, make_service_account
from tests.indexes.conftest import make_index
from tests.sso.administered import make_administered
from tests.sso.dns_server import NameServer, name_server

ROLES = (
    *("OrgOwner", "OrgManager", "OrgMember", "OrgBillingAdmin"),
    *("ProjectOwner", "ProjectManager", "ProjectMember"),
    *("ProjectEditor", "ProjectViewer", "ControlPlaneEditor", "ControlPlaneViewer"),
    *("DataPlaneEditor", "DataPlaneViewer"),
)
# What is answered to:
#   an owner of another organization | OrgOwner OrgManager OrgMember OrgBillingAdmin |
#   Project Owner Manager Member | Project Editor Viewer, control plane Editor Viewer, data plane
#   Editor Viewer
# y: it is done (2xx), n: forbidden (403), -: it does not exist (404), p: not in this state (412),
# b: never possible here (400). Nobody at all gets 401. Lists answer strangers about their own.
MATRIX = """
GET    admin/organizations                                               y yyyy yyy yyyyyy
POST   admin/organizations                                               n nnnn nnn nnnnnn
GET    admin/organizations/<uuid:organization_id>                        - yyyy --- ------
PATCH  admin/organizations/<uuid:organization_id>                        - ynnn --- ------
DELETE admin/organizations/<uuid:organization_id>                        - pnnn --- ------
GET    admin/organizations/<uuid:organization_id>/entitlements           - yyyy --- ------
GET    admin/organizations/<uuid:organization_id>/security-baseline      - yyyy --- ------
PATCH  admin/organizations/<uuid:organization_id>/security-baseline      - ynnn --- ------
POST   admin/organizations/<uuid:organization_id>/leave                  n nnnn nnn nnnnnn
POST   admin/organizations/<uuid:organization_id>/transfer               - nnnn --- ------
GET    admin/ownership-transfers                                         y yyyy --- ------
GET    admin/ownership-transfers/<uuid:transfer_id>                      - y--- --- ------
POST   admin/ownership-transfers/<uuid:transfer_id>/accept               - n--- --- ------
POST   admin/ownership-transfers/<uuid:transfer_id>/decline              - n--- --- ------
POST   admin/ownership-transfers/<uuid:transfer_id>/cancel               - y--- --- ------
GET    admin/users                                                       y yyyy --- ------
GET    admin/users/<uuid:user_id>                                        - yyyy --- ------
DELETE admin/users/<uuid:user_id>                                        - ynnn --- ------
GET    admin/invites                                                     y yyyy --- ------
POST   admin/invites                                                     y ynnn --- ------
GET    admin/invites/<uuid:invite_id>                                    - yyyy --- ------
DELETE admin/invites/<uuid:invite_id>                                    - ynnn --- ------
POST   admin/invites/<uuid:invite_id>/resend                             - ynnn --- ------
GET    admin/permissions                                                 y yyyy yyy yyyyyy
GET    admin/roles                                                       y yyyy --- ------
POST   admin/roles                                                       y ynnn --- ------
GET    admin/roles/<uuid:role_id>                                        - yyyy --- ------
PATCH  admin/roles/<uuid:role_id>                                        - ynnn --- ------
DELETE admin/roles/<uuid:role_id>                                        - ynnn --- ------
GET    admin/role-bindings                                               y yyyy yyy yyyyyy
POST   admin/role-bindings                                               - y--- ynn nnnnnn
GET    admin/role-bindings/<uuid:binding_id>                             - yyyy --- ------
DELETE admin/role-bindings/<uuid:binding_id>                             - ynnn --- ------
GET    admin/decisions                                                   y ynnn --- ------
POST   admin/decisions/explain                                           - ynnn --- ------
GET    admin/decisions/<uuid:decision_id>                                - y--- --- ------
GET    admin/groups                                                      y yyyy --- ------
POST   admin/groups                                                      y ynnn --- ------
GET    admin/groups/<uuid:group_id>                                      - yyyy --- ------
PATCH  admin/groups/<uuid:group_id>                                      - ynnn --- ------
DELETE admin/groups/<uuid:group_id>                                      - ynnn --- ------
GET    admin/groups/<uuid:group_id>/members                              - yyyy --- ------
POST   admin/groups/<uuid:group_id>/members                              - ynnn --- ------
DELETE admin/groups/<uuid:group_id>/members/<uuid:user_id>               - ynnn --- ------
GET    admin/audit/events                                                y ynnn --- ------
GET    admin/audit/events/<uuid:event_id>                                - ynnn --- ------
GET    admin/audit/checkpoint                                            y ynnn --- ------
GET    admin/audit/proof                                                 y ynnn --- ------
GET    admin/audit/consistency                                           y ynnn --- ------
GET    admin/audit/export                                                y ynnn --- ------
GET    admin/audit/retention                                             y ynnn --- ------
PATCH  admin/audit/retention                                             y ynnn --- ------
GET    admin/audit/streams                                               y ynnn --- ------
POST   admin/audit/streams                                               y ynnn --- ------
GET    admin/audit/streams/<uuid:stream_id>                              - ynnn --- ------
PATCH  admin/audit/streams/<uuid:stream_id>                              - ynnn --- ------
DELETE admin/audit/streams/<uuid:stream_id>                              - ynnn --- ------
POST   admin/audit/streams/<uuid:stream_id>/secret                       - ynnn --- ------
GET    admin/projects                                                    y yyyy yyy yyyyyy
POST   admin/projects                                                    y yynn --- ------
GET    admin/projects/<uuid:project_id>                                  - y--- yyy yyyyyy
PATCH  admin/projects/<uuid:project_id>                                  - y--- ynn nnnnnn
DELETE admin/projects/<uuid:project_id>                                  - p--- pnn nnnnnn
POST   admin/projects/<uuid:project_id>/archive                          - y--- ynn nnnnnn
POST   admin/projects/<uuid:project_id>/restore                          - y--- ynn nnnnnn
GET    admin/projects/<uuid:project_id>/quotas                           - y--- yyy nnnnnn
GET    admin/organizations/<uuid:organization_id>/quotas                 - yyyy --- ------
GET    admin/projects/<uuid:project_id>/api-keys                         - y--- yyy nnnnnn
POST   admin/projects/<uuid:project_id>/api-keys                         - y--- ynn nnnnnn
POST   admin/projects/<uuid:project_id>/api-keys/bulk-revoke             - ynnn ynn nnnnnn
GET    admin/projects/<uuid:project_id>/key-policy                       - y--- yyy nnnnnn
PATCH  admin/projects/<uuid:project_id>/key-policy                       - ynnn ynn nnnnnn
GET    admin/api-keys/<uuid:key_id>                                      - ynnn yyy nnnnnn
PATCH  admin/api-keys/<uuid:key_id>                                      - ynnn ynn nnnnnn
DELETE admin/api-keys/<uuid:key_id>                                      - ynnn ynn nnnnnn
POST   admin/api-keys/<uuid:key_id>/rotate                               - ynnn ynn nnnnnn
POST   admin/api-keys/<uuid:key_id>/end-overlap                          - ynnn ynn nnnnnn
POST   admin/api-keys/<uuid:key_id>/disable                              - ynnn ynn nnnnnn
POST   admin/api-keys/<uuid:key_id>/enable                               - ynnn ynn nnnnnn
GET    admin/api-keys/<uuid:key_id>/secrets                              - ynnn yyy nnnnnn
GET    admin/api-keys/<uuid:key_id>/usage                                - ynnn yyy nnnnnn
GET    admin/service-accounts                                            y ynnn --- ------
POST   admin/service-accounts                                            y ynnn --- ------
GET    admin/service-accounts/<uuid:account_id>                          - ynnn --- ------
PATCH  admin/service-accounts/<uuid:account_id>                          - ynnn --- ------
DELETE admin/service-accounts/<uuid:account_id>                          - ynnn --- ------
POST   admin/service-accounts/<uuid:account_id>/rotate-secret            - ynnn --- ------
GET    admin/service-accounts/<uuid:account_id>/secrets                  - ynnn --- ------
DELETE admin/service-accounts/<uuid:account_id>/secrets/<uuid:secret_id> - ynnn --- ------
GET    admin/federation/issuers                                          y ynnn --- ------
POST   admin/federation/issuers                                          y ynnn --- ------
GET    admin/federation/issuers/<uuid:issuer_id>                         - ynnn --- ------
PATCH  admin/federation/issuers/<uuid:issuer_id>                         - ynnn --- ------
DELETE admin/federation/issuers/<uuid:issuer_id>                         - ynnn --- ------
GET    admin/federation/rules                                            y ynnn --- ------
POST   admin/federation/rules                                            - ynnn --- ------
POST   admin/federation/rules/test                                       - ynnn --- ------
GET    admin/federation/rules/<uuid:rule_id>                             - ynnn --- ------
PATCH  admin/federation/rules/<uuid:rule_id>                             - ynnn --- ------
DELETE admin/federation/rules/<uuid:rule_id>                             - ynnn --- ------
GET    admin/sso/connections                                             y ynnn --- ------
POST   admin/sso/connections                                             y ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>                        - ynnn --- ------
PATCH  admin/sso/connections/<uuid:connection_id>                        - ynnn --- ------
DELETE admin/sso/connections/<uuid:connection_id>                        - ynnn --- ------
POST   admin/sso/connections/<uuid:connection_id>/state                  - ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/readiness              - ynnn --- ------
PUT    admin/sso/connections/<uuid:connection_id>/metadata               - ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/certificates           - ynnn --- ------
POST   admin/sso/connections/<uuid:connection_id>/certificates           - ynnn --- ------
DELETE admin/sso/connections/<uuid:connection_id>/certificates/<uuid:certificate_id> \
                                                                         - ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/sp-keys                - ynnn --- ------
POST   admin/sso/connections/<uuid:connection_id>/sp-keys                - ynnn --- ------
POST   admin/sso/connections/<uuid:connection_id>/sp-keys/rotate         - pnnn --- ------
DELETE admin/sso/connections/<uuid:connection_id>/sp-keys/previous       - pnnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/attempts               - ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/identities             - ynnn --- ------
DELETE admin/sso/connections/<uuid:connection_id>/identities/<uuid:identity_id> - ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/setup-links            - ynnn --- ------
POST   admin/sso/connections/<uuid:connection_id>/setup-links            - pnnn --- ------
PUT    admin/sso/connections/<uuid:connection_id>/scim                   - ynnn --- ------
GET    admin/sso/connections/<uuid:connection_id>/scim-tokens            - ynnn --- ------
POST   admin/sso/connections/<uuid:connection_id>/scim-tokens            - ynnn --- ------
DELETE admin/sso/connections/<uuid:connection_id>/scim-tokens/<uuid:token_id> - ynnn --- ------
GET    admin/sso/domains                                                 y ynnn --- ------
POST   admin/sso/domains                                                 y ynnn --- ------
GET    admin/sso/domains/<uuid:domain_id>                                - ynnn --- ------
PATCH  admin/sso/domains/<uuid:domain_id>                                - ynnn --- ------
DELETE admin/sso/domains/<uuid:domain_id>                                - ynnn --- ------
POST   admin/sso/domains/<uuid:domain_id>/verify                         - ynnn --- ------
GET    admin/sso/break-glass-owners                                      y ynnn --- ------
POST   admin/sso/break-glass-owners                                      - ynnn --- ------
DELETE admin/sso/break-glass-owners/<uuid:owner_id>                      - ynnn --- ------
GET    admin/sso/break-glass-accesses                                    y ynnn --- ------
POST   admin/sso/break-glass-accesses/<uuid:access_id>/approve           - nnnn --- ------
POST   admin/sso/break-glass-accesses/<uuid:access_id>/end               - nnnn --- ------
GET    indexes                                                           - y--- yyn yyyynn
POST   indexes                                                           - y--- yyn ynynnn
GET    indexes/create-for-model                                          - ---- --n ----nn
POST   indexes/create-for-model                                          - b--- bbn bnbnnn
PATCH  indexes/create-for-model                                          - ---- --n -n-nnn
DELETE indexes/create-for-model                                          - ---- --n -n-nnn
GET    indexes/<str:name>                                                - y--- yyn yyyynn
PATCH  indexes/<str:name>                                                - y--- yyn ynynnn
DELETE indexes/<str:name>                                                - y--- yyn ynynnn
GET    collections                                                       - y--- yyn yyyynn
POST   collections                                                       - b--- bbn bnbnnn
GET    collections/<str:name>                                            - ---- --n ----nn
DELETE collections/<str:name>                                            - ---- --n -n-nnn
GET    assistant/assistants                                              - y--- yyn yyyynn
GET    backups                                                           - y--- yyn yyyynn
"""

# Open to everybody, credential or not: what nobody gets without a body.
PUBLIC = {
    ("POST", "oauth/token"): 400,
    ("POST", "oauth/revoke"): 400,
    ("POST", ".well-known/leaked-key"): 400,
}
MEANING = {"y": {200, 201, 202}, "n": {403}, "-": {404}, "p": {412}, "b": {400}}
CALLERS = ("stranger", *ROLES)
ROWS: dict[tuple[str, str], dict[str, str]] = {
    (method, route): dict(zip(CALLERS, "".join(marks), strict=True))
    for method, route, *marks in (line.split() for line in MATRIX.strip().splitlines())
}
NAMES = [f"{method} {route}" for method, route in ROWS]

# One world per process: all rows in the same one.
pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("admin-urls")]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class World:
    """The cast, a service account with each role, and one object of each kind."""

    cast: Cast
    tokens: dict[str, str]
    ids: dict[str, object]
    bodies: dict[tuple[str, str], object] = field(default_factory=dict)
    queries: dict[tuple[str, str], str] = field(default_factory=dict)

    def call(
        self, method: str, route: str, caller: str, ids: dict[str, object] | None = None
    ) -> Reply:
        """One request, taken back afterwards. `nobody` shows no credential."""
        path = route
        for name, value in (ids or self.ids).items():
            path = path.replace(f"<uuid:{name}>", str(value)).replace(f"<str:{name}>", str(value))
        assert "<" not in path, f"no id for {path}"
        headers = {"accept": "application/json", "x-project-id": str(self.cast.project.pk)}
        if caller != "nobody":
            headers["authorization"] = f"Bearer {self.tokens[caller]}"
        more: dict[str, Any] = {}
        if method in {"POST", "PATCH", "PUT"}:
            body = self.bodies.get((method, route), {})
            more = {"data": json.dumps(body), "content_type": "application/json"}
        query = self.queries.get((method, route), "")
        with undone():
            answer = getattr(Client(), method.lower())(
                f"/{path}{query}", headers=headers, secure=True, **more
            )
            return Reply(answer.status_code, answer.getvalue().decode(), answer.headers)


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside leaves nothing behind."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Made once for all rows, inside a transaction that never ends well."""
    with (
        django_db_blocker.unblock(),
        undone(),
        name_server() as dns,
        override_settings(TAMARACK_DNS_SERVERS=[dns.address]),
    ):
        yield make_world(dns)


def make_world(dns: NameServer) -> World:
    """Everybody and everything that the rows are about."""
    cast = make_cast()
    organization, project = cast.organization, cast.project
    tokens = {
        role: make_service_account(organization, [Role(role)], project=project, name=role)[1]
        for role in ROLES
    }
    tokens["stranger"] = make_service_account(cast.other_organization, [Role.ORG_OWNER])[1]
    index = make_index(project)
    key, _ = make_key(project, name="target")
    rotate_api_key(actor=SYSTEM, key_id=key.pk)
    account, _ = make_service_account(organization, [Role.ORG_MEMBER], name="target")
    secret = ServiceAccountSecret.objects.get(account=account)
    issuer = create_issuer(
        actor=SYSTEM,
        organization_id=organization.pk,
        name="CI",
        issuer="https://ci.example.com",
        audience="tamarack",
    )
    rule = create_rule(
        actor=SYSTEM,
        issuer_id=issuer.pk,
        account_id=account.pk,
        name="main",
        conditions={"repo": "acme/*"},
    )
    custom = CustomRole.objects.create(
        organization=organization,
        name="Reader",
        resource_type="organization",
        permissions=["member:read"],
    )
    group = Group.objects.create(organization=organization, name="Leads")
    dora, erin = make_member(organization), make_member(organization)
    GroupMembership.objects.create(group=group, user=dora)
    binding = bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=Role.ORG_MANAGER,
        resource_id=organization.pk,
    )
    week = timezone.now() + timedelta(days=7)
    invitation = Invitation.objects.create(
        organization=organization, email="fay@example.com", invited_by="tests", expires_at=week
    )
    bind_role(
        actor=SYSTEM,
        organization_id=organization.pk,
        principal=(PrincipalType.INVITE, invitation.pk),
        role=Role.ORG_MEMBER,
        resource_id=organization.pk,
    )
    transfer = OwnershipTransfer.objects.create(
        organization=organization, offered_by=cast.alice, offered_to=cast.bob, expires_at=week
    )
    stream = Stream.objects.create(
        log_id=organization.pk,
        name="collector",
        kind=Stream.Kind.WEBHOOK,
        config={"url": "https://siem.example.com/"},
        next_seq=0,
    )
    seal_all()
    event = AuditEvent.objects.filter(organization_id=organization.pk).first()
    assert event is not None
    ids = {
        "organization_id": organization.pk,
        "project_id": project.pk,
        "index_id": index.pk,
        "name": index.name,
        "key_id": key.pk,
        "account_id": account.pk,
        "secret_id": secret.pk,
        "issuer_id": issuer.pk,
        "role_id": custom.pk,
        "group_id": group.pk,
        "user_id": dora.pk,
        "binding_id": binding.pk,
        "invite_id": invitation.pk,
        "transfer_id": transfer.pk,
        "stream_id": stream.pk,
        "event_id": event.pk,
        "decision_id": _decision(cast),
        "rule_id": rule.pk,
    }
    more_ids, more_bodies = make_administered(cast, dns)
    world = World(cast, tokens, {**ids, **more_ids})
    to_bob = {"principal_type": "user", "principal_id": str(cast.bob.pk)}
    on_project = {"resource_type": "project", "resource_id": str(project.pk)}
    org = "admin/organizations/<uuid:organization_id>"
    of_project = "admin/projects/<uuid:project_id>"
    world.bodies = {
        **more_bodies,
        ("POST", "admin/organizations"): {"name": "Second"},
        ("PATCH", org): {"name": "Renamed"},
        ("PATCH", f"{org}/security-baseline"): {"max_key_age_days": 90},
        ("POST", f"{org}/transfer"): {"user_id": str(cast.bob.pk)},
        ("POST", "admin/invites"): {
            "email": "gus@example.com",
            "role_bindings": [{"resource_type": "organization", "role": "OrgMember"}],
        },
        ("POST", "admin/roles"): {
            "name": "Writer",
            "resource_type": "index",
            "permissions": ["data:write"],
        },
        ("PATCH", "admin/roles/<uuid:role_id>"): {"description": "reads"},
        ("POST", "admin/role-bindings"): {**to_bob, **on_project, "role": "ProjectViewer"},
        ("POST", "admin/decisions/explain"): {**to_bob, **on_project, "permission": "data:read"},
        ("POST", "admin/groups"): {"name": "Search"},
        ("PATCH", "admin/groups/<uuid:group_id>"): {"description": "who decides"},
        ("POST", "admin/groups/<uuid:group_id>/members"): {"user_id": str(erin.pk)},
        ("PATCH", "admin/audit/retention"): {"days": 400},
        ("POST", "admin/audit/streams"): {
            "name": "second",
            "kind": "webhook",
            "config": {"url": "https://siem.example.com/"},
        },
        ("PATCH", "admin/audit/streams/<uuid:stream_id>"): {"enabled": False},
        ("POST", "admin/projects"): {"name": "Second"},
        ("PATCH", of_project): {"name": "Renamed"},
        ("POST", f"{of_project}/api-keys"): {"name": "second"},
        ("POST", f"{of_project}/api-keys/bulk-revoke"): {"ids": [str(key.pk)]},
        ("PATCH", f"{of_project}/key-policy"): {"leak_policy": "alert"},
        ("PATCH", "admin/api-keys/<uuid:key_id>"): {"name": "renamed"},
        ("POST", "admin/service-accounts"): {"name": "second"},
        ("PATCH", "admin/service-accounts/<uuid:account_id>"): {"name": "renamed"},
        ("POST", "admin/federation/issuers"): {
            "name": "Second",
            "issuer": "https://other.example.com",
            "audience": "tamarack",
        },
        ("PATCH", "admin/federation/issuers/<uuid:issuer_id>"): {"name": "renamed"},
        ("POST", "admin/federation/rules"): {
            "name": "second",
            "issuer_id": str(issuer.pk),
            "service_account_id": str(account.pk),
            "conditions": {"repo": "acme/search"},
        },
        ("PATCH", "admin/federation/rules/<uuid:rule_id>"): {"name": "renamed"},
        ("POST", "admin/federation/rules/test"): {"token": "a.b.c", "rule_id": str(rule.pk)},
        ("POST", "indexes"): {
            "name": "second",
            "dimension": 3,
            "metric": "cosine",
            "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}},
        },
        ("PATCH", "indexes/<str:name>"): {"deletion_protection": "enabled"},
    }
    world.queries = {
        ("GET", "admin/audit/proof"): "?seq=0",
        ("GET", "admin/audit/consistency"): "?from=1",
    }
    return world


def _decision(cast: Cast) -> UUID:
    """Something that Bob was denied."""
    try:
        authorize(
            actor_for(cast.bob), Permission.BILLING_UPDATE, organization_id=cast.organization.pk
        )
    except Refused as refused:
        assert refused.denial is not None
        found = record_denial(refused.denial)
        assert found is not None
        return found
    raise AssertionError("Bob may do what he may not")


def operations() -> Iterator[tuple[str, str]]:
    """Every method of every route that is an API, as (method, route)."""
    for route, view in _views(get_resolver()):
        for method in ("get", "post", "put", "patch", "delete"):
            if hasattr(view, method):
                yield method.upper(), route


def _views(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, type]]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            view = getattr(entry.callback, "view_class", getattr(entry.callback, "cls", None))
            if view is not None and issubclass(view, APIView):
                yield route, view
        else:
            yield from _views(entry, route)


class CompletenessTests:
    def test_every_operation_has_its_row_and_every_row_its_operation(self) -> None:
        assert sorted(operations()) == sorted([*ROWS, *PUBLIC])

    def test_only_an_operation_that_takes_a_body_has_one(self, world: World) -> None:
        assert set(world.bodies) <= set(ROWS)
        assert {method for method, _ in world.bodies} <= {"POST", "PATCH", "PUT"}


class MatrixTests:
    @pytest.mark.parametrize(("method", "route"), ROWS, ids=NAMES)
    def test_every_role_gets_what_the_table_says(
        self, world: World, method: str, route: str
    ) -> None:
        row = ROWS[method, route]
        found = {caller: world.call(method, route, caller).status for caller in row}
        wrong = {
            caller: status for caller, status in found.items() if status not in MEANING[row[caller]]
        }
        assert not wrong, f"the table says {row}"

    @pytest.mark.parametrize(("method", "route"), ROWS, ids=NAMES)
    def test_nobody_gets_401(self, world: World, method: str, route: str) -> None:
        answer = world.call(method, route, "nobody")
        assert answer.status == 401
        assert json.loads(answer.text)["error"]["code"] == "UNAUTHENTICATED"
        assert answer.headers["WWW-Authenticate"]

    @pytest.mark.parametrize(("method", "route"), PUBLIC)
    def test_what_is_open_to_everybody(self, world: World, method: str, route: str) -> None:
        assert world.call(method, route, "nobody").status == PUBLIC[method, route]


class TenantTests:
    @pytest.mark.parametrize(("method", "route"), [each for each in ROWS if "<uuid:" in each[1]])
    def test_a_foreign_object_looks_like_an_absent_one(
        self, world: World, method: str, route: str
    ) -> None:
        absent: dict[str, object] = {
            name: uuid4() if isinstance(value, UUID) else value for name, value in world.ids.items()
        }
        foreign = world.call(method, route, "stranger")
        missing = world.call(method, route, "stranger", absent)
        text = missing.text
        for name, value in absent.items():
            text = text.replace(str(value), str(world.ids[name]))
        assert (foreign.status, foreign.text) == (missing.status, text)

    @pytest.mark.parametrize(
        ("method", "route"), [each for each in ROWS if ROWS[each]["stranger"] == "y"]
    )
    def test_lists_hold_nothing_of_another_organization(
        self, world: World, method: str, route: str
    ) -> None:
        text = world.call(method, route, "stranger").text
        assert not [value for value in world.ids.values() if str(value) in text]
