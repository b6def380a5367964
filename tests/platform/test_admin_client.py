"""The official `Admin` client, unchanged, through the gateway: all of its operations, and the
errors that it makes of refusals.
"""

from __future__ import annotations

import email
import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pinecone import Pinecone
from pinecone.admin import Admin
from pinecone.errors import (
    ApiError,
    ConflictError,
    FailedPreconditionError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)

from tests.platform.support import Instance, wait_until

pytestmark = [pytest.mark.instance, pytest.mark.slow]

MEMBER = {"resource_type": "organization", "role": "OrgMember"}
AWS = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
NOWHERE = str(uuid4())


@dataclass
class Tenant:
    """An organization of its own on the shared instance, administered by a program."""

    instance: Instance
    organization_id: str
    project_id: str
    owner_email: str
    client_id: str
    client_secret: str
    open: ExitStack = field(default_factory=ExitStack)

    @property
    def oauth_url(self) -> str:
        return f"{self.instance.gateway}/oauth/token"

    @property
    def tls(self) -> ssl.SSLContext:
        """Trusts the instance's own authority."""
        return ssl.create_default_context(cafile=self.instance.ca_file)

    def client(self, client_id: str = "", client_secret: str = "") -> Admin:
        """The official client; without arguments as the organization's owner."""
        return self.open.enter_context(
            Admin(
                client_id=client_id or self.client_id,
                client_secret=client_secret or self.client_secret,
                host=self.instance.gateway,
                oauth_url=self.oauth_url,
            )
        )

    def accept(self, address: str, *, mails: int) -> None:
        """Follow the links in the mails to this address, as somebody new: the last one works."""
        folder = self.instance.home / "mail"

        def links() -> list[str]:
            found = []
            for path in folder.glob("*.eml"):
                message = email.message_from_bytes(path.read_bytes())
                text = message.get_payload(decode=True)
                assert isinstance(text, bytes)
                if message["To"] == address:
                    found += re.findall(r"https://\S+/invitations/\S+", text.decode())
            return found

        def mailed() -> list[str]:
            found = links()
            return found if len(found) == mails else []

        with httpx.Client(
            verify=self.tls, follow_redirects=True, headers={"Accept": "text/html"}
        ) as browser:
            pages = [
                browser.get(link) for link in wait_until(mailed, f"{mails} mails for {address}")
            ]
            (page,) = (page for page in pages if page.is_success)
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
            assert token is not None, page.text
            password = f"correct-horse-{uuid4()}"
            form = {"name": "Dora Doe", "password": password, "again": password}
            answer = browser.post(
                page.url,
                data={**form, "csrfmiddlewaretoken": token[1]},
                headers={"Referer": str(page.url)},
            )
            assert answer.status_code == 200, answer.text


def new_tenant(instance: Instance) -> Tenant:
    """An organization with a project, its owner, and a service account that owns it too."""
    owner = instance.owner()
    account = instance.manage_json(
        "create_service_account", "--organization", owner["organization_id"], "--name", "robot"
    )
    return Tenant(
        instance=instance,
        organization_id=owner["organization_id"],
        project_id=owner["project_id"],
        owner_email=owner["email"],
        client_id=account["client_id"],
        client_secret=account["client_secret"],
    )


@pytest.fixture(scope="module")
def environment(instance: Instance) -> Iterator[None]:
    """What the client's documentation asks for: the authority, and the host for its cleanup."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", instance.ca_file)
        patch.setenv("PINECONE_CONTROLLER_HOST", instance.gateway)
        yield


@pytest.fixture(scope="module")
def tenant(instance: Instance, environment: None) -> Iterator[Tenant]:
    found = new_tenant(instance)
    with found.open:
        yield found


@pytest.fixture(scope="module")
def admin(tenant: Tenant) -> Admin:
    return tenant.client()


def test_organizations_are_listed_described_and_renamed(tenant: Tenant, admin: Admin) -> None:
    (organization,) = admin.organizations.list()
    assert organization.id == tenant.organization_id
    assert (organization.plan, organization.payment_status) == ("Enterprise", "Active")
    described = admin.organizations.describe(organization_id=organization.id)
    assert described.name == organization.name
    renamed = admin.organizations.update(organization_id=organization.id, name="Acme & Söhne")
    assert renamed.name == "Acme & Söhne"
    with pytest.raises(NotFoundError):
        admin.organizations.describe(organization_id=NOWHERE)
    with pytest.raises(ApiError) as refused:
        admin.organizations.update(organization_id=organization.id, name="x" * 513)
    assert refused.value.status_code == 400


def test_an_organization_is_deleted_when_it_is_free_and_empty(
    instance: Instance, environment: None
) -> None:
    other = new_tenant(instance)
    with other.open:
        admin = other.client()
        with pytest.raises(FailedPreconditionError):
            admin.organizations.delete(organization_id=other.organization_id)
        admin.projects.delete(project_id=other.project_id)
        done = instance.manage("set_plan", other.organization_id, "--plan", "Free")
        assert done.returncode == 0, done.stderr
        admin.organizations.delete(organization_id=other.organization_id)
        # Its service accounts are gone with it, this one too.
        with pytest.raises(ApiError) as refused:
            admin.organizations.list()
        assert refused.value.status_code == 401


def test_projects_from_their_making_to_their_end(tenant: Tenant, admin: Admin) -> None:
    made = admin.projects.create(name="Shelves", max_pods=0, force_encryption_with_cmek=False)
    UUID(made.id)
    assert (made.name, made.organization_id) == ("Shelves", tenant.organization_id)
    assert made.id in {project.id for project in admin.projects.list()}
    assert admin.projects.describe(project_id=made.id).name == "Shelves"
    assert admin.projects.describe_by_name(name="Shelves").id == made.id
    assert admin.projects.update(project_id=made.id, name="Racks").name == "Racks"
    assert admin.projects.exists(project_id=made.id)
    admin.projects.delete(project_id=made.id)
    assert not admin.projects.exists(project_id=made.id)
    with pytest.raises(NotFoundError):
        admin.projects.delete(project_id=made.id)
    with pytest.raises(ApiError) as refused:
        admin.projects.create(name="Pods", max_pods=3)
    assert refused.value.status_code == 400


def test_a_project_with_an_index_is_deleted_with_cleanup_only(admin: Admin) -> None:
    project = admin.projects.create(name="Full")
    key = admin.api_keys.create(project_id=project.id, name="maker")
    with Pinecone(api_key=key.value) as client:
        client.create_index("kept", dimension=2, metric="cosine", spec=AWS, timeout=120)
    with pytest.raises(FailedPreconditionError) as refused:
        admin.projects.delete(project_id=project.id)
    assert "index" in str(refused.value)
    admin.projects.delete_with_cleanup(project_id=project.id, max_attempts=1)
    assert not admin.projects.exists(project_id=project.id)


def test_api_keys_from_their_making_to_their_end(
    tenant: Tenant, admin: Admin, instance: Instance
) -> None:
    made = admin.api_keys.create(project_id=tenant.project_id, name="reader")
    assert made.value.startswith("tmrk_")
    assert made.key.roles == ["ProjectEditor"]
    listed = {key.id: key for key in admin.api_keys.list(project_id=tenant.project_id)}
    assert listed[made.key.id].name == "reader"
    changed = admin.api_keys.update(
        api_key_id=made.key.id, name="writer", roles=["DataPlaneViewer", "ControlPlaneViewer"]
    )
    assert changed.name == "writer"
    assert sorted(changed.roles) == ["ControlPlaneViewer", "DataPlaneViewer"]
    assert sorted(admin.api_keys.describe(api_key_id=made.key.id).roles) == sorted(changed.roles)
    with Pinecone(api_key=made.value) as client:
        assert list(client.list_indexes()) == []
        with pytest.raises(ForbiddenError):
            client.create_index("no", dimension=2, metric="cosine", spec=AWS, timeout=-1)
    admin.api_keys.delete(api_key_id=made.key.id)
    with pytest.raises(NotFoundError):
        admin.api_keys.describe(api_key_id=made.key.id)
    with Pinecone(api_key=made.value) as client, pytest.raises(UnauthorizedError):
        client.list_indexes()


def test_people_come_by_invitation_and_leave(tenant: Tenant, admin: Admin) -> None:
    address = f"dora-{uuid4()}@example.com"
    invite = admin.invites.create(
        email=address,
        role_bindings=[
            MEMBER,
            {
                "resource_type": "project",
                "resource_id": tenant.project_id,
                "role": "ProjectViewer",
            },
        ],
    )
    assert (invite.email, invite.status) == (address, "pending")
    assert invite.id in {each.id for each in admin.invites.list()}
    with pytest.raises(ConflictError) as refused:
        admin.invites.create(email=address.upper(), role_bindings=[MEMBER])
    assert invite.id in str(refused.value)
    assert admin.invites.resend(invite_id=invite.id).status == "pending"
    assert list(admin.users.list(email=address)) == []

    tenant.accept(address, mails=2)

    assert admin.invites.describe(invite_id=invite.id).status == "processed"
    assert invite.id not in {each.id for each in admin.invites.list()}
    with pytest.raises(ConflictError):
        admin.invites.delete(invite_id=invite.id)
    with pytest.raises(ConflictError):
        admin.invites.resend(invite_id=invite.id)
    (user,) = admin.users.list(email=address.upper())
    assert (user.email, user.name) == (address, "Dora Doe")
    assert {each.email for each in admin.users.list(limit=1)} == {address, tenant.owner_email}
    held = admin.role_bindings.list(principal_type="user", principal_id=user.id)
    assert sorted(binding.role for binding in held) == ["OrgMember", "ProjectViewer"]
    admin.users.delete(user_id=user.id)
    with pytest.raises(NotFoundError):
        admin.users.describe(user_id=user.id)


def test_an_invitation_is_taken_back(admin: Admin) -> None:
    invite = admin.invites.create(email=f"{uuid4()}@example.com", role_bindings=[MEMBER])
    admin.invites.delete(invite_id=invite.id)
    with pytest.raises(NotFoundError):
        admin.invites.describe(invite_id=invite.id)
    with pytest.raises(NotFoundError):
        admin.invites.delete(invite_id=invite.id)
    with pytest.raises(ApiError) as refused:
        admin.invites.create(email="no-address", role_bindings=[MEMBER])
    assert refused.value.status_code == 400


def test_the_last_owner_who_can_sign_in_stays(tenant: Tenant, admin: Admin) -> None:
    (owner,) = admin.users.list(email=tenant.owner_email)
    assert admin.users.describe(user_id=owner.id).email == tenant.owner_email
    with pytest.raises(ConflictError):
        admin.users.delete(user_id=owner.id)
    (binding,) = admin.role_bindings.list(principal_type="user", principal_id=owner.id)
    with pytest.raises(ConflictError):
        admin.role_bindings.delete(role_binding_id=binding.id)


def test_role_bindings_are_made_and_taken_away(tenant: Tenant, admin: Admin) -> None:
    account = admin.service_accounts.create(name="bound").service_account
    made = admin.role_bindings.create(
        principal_type="service_account",
        principal_id=account.id,
        resource_type="project",
        resource_id=tenant.project_id,
        role="DataPlaneEditor",
    )
    assert (made.role, made.resource_id) == ("DataPlaneEditor", tenant.project_id)
    assert admin.role_bindings.describe(role_binding_id=made.id).principal_id == account.id
    listed = admin.role_bindings.list(
        principal_type="service_account",
        principal_id=account.id,
        resource_type="project",
        resource_id=tenant.project_id,
        role="DataPlaneEditor",
    )
    assert [binding.id for binding in listed] == [made.id]
    with pytest.raises(ConflictError):
        admin.role_bindings.create(
            principal_type="service_account",
            principal_id=account.id,
            resource_type="project",
            resource_id=tenant.project_id,
            role="DataPlaneEditor",
        )
    with pytest.raises(ApiError) as refused:
        admin.role_bindings.create(
            principal_type="service_account",
            principal_id=account.id,
            resource_type="organization",
            role="DataPlaneEditor",
        )
    assert refused.value.status_code == 400
    admin.role_bindings.delete(role_binding_id=made.id)
    with pytest.raises(NotFoundError):
        admin.role_bindings.describe(role_binding_id=made.id)
    with pytest.raises(NotFoundError):
        admin.role_bindings.delete(role_binding_id=made.id)


def test_service_accounts_from_their_making_to_their_end(tenant: Tenant, admin: Admin) -> None:
    made = admin.service_accounts.create(
        name="reader",
        role_bindings=[
            {"resource_type": "project", "resource_id": tenant.project_id, "role": "ProjectMember"}
        ],
    )
    account = made.service_account
    listed = {each.id: each for each in admin.service_accounts.list(limit=1)}
    assert listed[account.id].client_id == account.client_id
    renamed = admin.service_accounts.update(service_account_id=account.id, name="watcher")
    assert (renamed.name, renamed.client_id) == ("watcher", account.client_id)
    assert admin.service_accounts.describe(service_account_id=account.id).name == "watcher"

    reader = tenant.client(account.client_id, made.client_secret)
    assert [project.id for project in reader.projects.list()] == [tenant.project_id]
    with pytest.raises(ForbiddenError):
        reader.projects.delete(project_id=tenant.project_id)

    rotated = admin.service_accounts.rotate_secret(service_account_id=account.id)
    assert rotated.client_secret != made.client_secret
    with pytest.raises(ApiError) as refused:
        tenant.client(account.client_id, made.client_secret)
    assert refused.value.status_code == 401
    # Its token ended with the old secret, and the client can't get another for that one.
    with pytest.raises(ApiError) as refused:
        reader.projects.list()
    assert refused.value.status_code == 401
    again = tenant.client(account.client_id, rotated.client_secret)
    assert len(list(again.projects.list())) == 1

    admin.service_accounts.delete(service_account_id=account.id)
    with pytest.raises(NotFoundError):
        admin.service_accounts.delete(service_account_id=account.id)
    with pytest.raises(ApiError) as refused:
        again.projects.list()
    assert refused.value.status_code == 401


def test_a_token_that_was_revoked_is_replaced_by_the_client_itself(tenant: Tenant) -> None:
    admin = tenant.client()
    used: Any = admin.organizations._http
    first = used._token
    answer = httpx.post(
        f"{tenant.instance.gateway}/oauth/revoke",
        data={
            "token": first,
            "client_id": tenant.client_id,
            "client_secret": tenant.client_secret,
        },
        verify=tenant.tls,
    )
    assert answer.status_code == 200, answer.text
    assert [each.id for each in admin.organizations.list()] == [tenant.organization_id]
    assert used._token != first


def test_a_wrong_secret_gets_no_token(tenant: Tenant) -> None:
    for client_id, secret in (
        (tenant.client_id, tenant.client_secret[:-1] + "x"),
        ("nobody", "nothing"),
    ):
        with pytest.raises(ApiError) as refused:
            tenant.client(client_id, secret)
        assert refused.value.status_code == 401


def test_two_tenants_do_not_see_each_other(
    tenant: Tenant, admin: Admin, instance: Instance
) -> None:
    other = new_tenant(instance)
    with other.open:
        stranger = other.client()
        account = admin.service_accounts.create(name="hidden").service_account
        key = admin.api_keys.create(project_id=tenant.project_id, name="hidden").key
        (binding, *_) = admin.role_bindings.list(principal_type="api_key", principal_id=key.id)
        (owner,) = admin.users.list(email=tenant.owner_email)
        invite = admin.invites.create(email=f"{uuid4()}@example.com", role_bindings=[MEMBER])
        assert tenant.project_id not in {project.id for project in stranger.projects.list()}
        for call, arguments in (
            (stranger.organizations.describe, {"organization_id": tenant.organization_id}),
            (stranger.organizations.delete, {"organization_id": tenant.organization_id}),
            (stranger.projects.describe, {"project_id": tenant.project_id}),
            (stranger.projects.delete, {"project_id": tenant.project_id}),
            (stranger.api_keys.list, {"project_id": tenant.project_id}),
            (stranger.api_keys.describe, {"api_key_id": key.id}),
            (stranger.api_keys.delete, {"api_key_id": key.id}),
            (stranger.users.describe, {"user_id": owner.id}),
            (stranger.users.delete, {"user_id": owner.id}),
            (stranger.invites.describe, {"invite_id": invite.id}),
            (stranger.invites.resend, {"invite_id": invite.id}),
            (stranger.service_accounts.describe, {"service_account_id": account.id}),
            (stranger.service_accounts.rotate_secret, {"service_account_id": account.id}),
            (stranger.role_bindings.describe, {"role_binding_id": binding.id}),
            (stranger.role_bindings.delete, {"role_binding_id": binding.id}),
        ):
            with pytest.raises(NotFoundError):
                call(**arguments)


def test_a_request_is_named_in_its_refusal(admin: Admin) -> None:
    with pytest.raises(NotFoundError) as refused:
        admin.projects.describe(project_id=NOWHERE)
    assert refused.value.request_id
    assert refused.value.error_code == "NOT_FOUND"
