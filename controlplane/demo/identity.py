"""The demonstration's second half: a program administers, is denied and told why, and the audit
trail proves it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.utils import timezone
from pinecone import ForbiddenError
from pinecone.admin import Admin

from controlplane.demo.steps import Demo, expect
from keys.models import ServiceAccount
from keys.services.service_accounts import (
    NewBinding,
    create_service_account,
    delete_service_account,
)
from orgs.actors import Actor
from orgs.models import ResourceType
from orgs.permissions import Role
from orgs.selectors.bindings import actor_for

ACCOUNT_NAME, READER_NAME = "Demo administrator", "Demo reader"
AUDIENCE = "https://api.pinecone.io/"
SEALED_SECONDS = 30.0


def _owner(demo: Demo) -> Actor:
    """The owner, who has just signed in."""
    assert demo.owner is not None  # noqa: S101  set by the first step
    return actor_for(demo.owner, authenticated_at=timezone.now())


def _admin(demo: Demo, client_id: str, client_secret: str) -> Admin:
    """The official Admin client; the token's address is the one more setting that it needs."""
    return Admin(
        client_id=client_id,
        client_secret=client_secret,
        host=demo.gateway,
        oauth_url=f"{demo.gateway}/oauth/token",
    )


def step_service_account(demo: Demo) -> str:
    """A service account, and an access token for its secret"""
    assert demo.organization is not None and demo.project is not None  # noqa: S101  set by the first step
    owner, organization_id = _owner(demo), demo.organization.pk
    earlier = ServiceAccount.objects.filter(
        organization_id=organization_id, name__in=(ACCOUNT_NAME, READER_NAME)
    )
    for account in list(earlier):
        delete_service_account(actor=owner, account_id=account.pk)

    def create(name: str, binding: NewBinding) -> tuple[str, str]:
        account, secret = create_service_account(
            actor=owner,
            organization_id=organization_id,
            name=name,
            role_bindings=[binding],
        )
        return account.client_id, secret

    demo.client_id, demo.client_secret = create(
        ACCOUNT_NAME, NewBinding(Role.ORG_OWNER, ResourceType.ORGANIZATION)
    )
    demo.reader = create(
        READER_NAME, NewBinding(Role.PROJECT_MEMBER, ResourceType.PROJECT, demo.project.pk)
    )
    token = _token(demo)
    return f"{demo.client_id}, token good for {token['expires_in'] // 60} min"


def _token(demo: Demo) -> dict[str, Any]:
    answer = httpx.post(
        f"{demo.gateway}/oauth/token",
        json={
            "client_id": demo.client_id,
            "client_secret": demo.client_secret,
            "grant_type": "client_credentials",
            "audience": AUDIENCE,
        },
        verify=demo.ca_file,
    )
    expect(answer.status_code == httpx.codes.OK, f"no token: {answer.text[:200]}")
    found: dict[str, Any] = answer.json()
    return found


def step_admin_client(demo: Demo) -> str:
    """Projects, keys, roles and an invitation by the official Admin client"""
    admin = _admin(demo, demo.client_id, demo.client_secret)
    (organization,) = admin.organizations.list()
    project = admin.projects.create(name="Made by a program")
    try:
        key = admin.api_keys.create(
            project_id=project.id, name="reader", roles=["DataPlaneViewer"]
        ).key
        keys = list(admin.api_keys.list(project_id=project.id))
        expect([each.id for each in keys] == [key.id], "the key that was made is not listed")
        bindings = list(admin.role_bindings.list(principal_type="api_key", principal_id=key.id))
        expect(
            [binding.role for binding in bindings] == ["DataPlaneViewer"],
            "the key's role is not among the role bindings",
        )
        invite = admin.invites.create(
            email=f"colleague-{int(time.time())}@demo.example",
            role_bindings=[{"resource_type": "organization", "role": "OrgMember"}],
        )
        admin.invites.delete(invite_id=invite.id)
        people = [user.email for user in admin.users.list()]
    finally:
        admin.projects.delete(project_id=project.id)
    return f"{organization.name}: {len(people)} person, {len(keys)} key, project made and deleted"


def step_denied(demo: Demo) -> str:
    """A call denied, and the denial explained"""
    assert demo.project is not None  # noqa: S101  set by the first step
    try:
        _admin(demo, *demo.reader).projects.delete(project_id=str(demo.project.pk))
    except ForbiddenError as error:
        demo.decision_id = ((error.body or {}).get("error") or {})["details"]["decision_id"]
    else:
        expect(False, "a mere member deleted the project")
    decision = _get(demo, f"/admin/decisions/{demo.decision_id}").json()
    smallest, who = decision["smallest_grant"], decision["who_can_grant"]
    return (
        f"{decision['permission']}: {smallest['role']} on the {smallest['resource_type']} would"
        f" allow it, which {who['people'][0]['email']} can give"
    )


def _get(demo: Demo, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {_token(demo)['access_token']}"}
    answer = httpx.get(f"{demo.gateway}{path}", headers=headers, verify=demo.ca_file)
    expect(answer.status_code == httpx.codes.OK, f"{path}: {answer.status_code}")
    return answer


def step_audit(demo: Demo) -> str:
    """The audit trail exported, and verified offline"""
    deadline = time.monotonic() + SEALED_SECONDS
    while demo.decision_id not in (export := _get(demo, "/admin/audit/export").text):
        expect(time.monotonic() < deadline, "the denial is not in the sealed trail")
        time.sleep(0.2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "audit.jsonl"
        file.write_text(export)
        passed, said = _verify(file)
        expect(passed, f"the export does not verify: {said}")
        file.write_text(export.replace(demo.decision_id, "0" * len(demo.decision_id), 1))
        forged_passed, _ = _verify(file)
        expect(not forged_passed, "a forged export passes: the check is blind")
    return f"{said.removeprefix(f'{file}: ')} A forged copy is refused."


def _verify(file: Path) -> tuple[bool, str]:
    """Whether it passes, and the first line that was said."""
    done = subprocess.run(  # noqa: S603  our own command
        [sys.executable, "manage.py", "audit_verify", str(file)],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[0] if lines else ""


IDENTITY_STEPS = (step_service_account, step_admin_client, step_denied, step_audit)
