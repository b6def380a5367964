"""Service accounts as services: who may, what it changes, what is left."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from audit.models import AuditEvent
from keys.models import AccessToken, ServiceAccount, ServiceAccountSecret
from keys.selectors.service_accounts import accounts_of, get_account, secrets_of
from keys.selectors.tokens import verify_token
from keys.services.service_accounts import (
    MAX_OVERLAP_SECONDS,
    NewBinding,
    create_service_account,
    delete_service_account,
    revoke_secret,
    rotate_secret,
    update_service_account,
)
from keys.services.tokens import Asker, TokenRefused, issue_token
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    QuotaExceeded,
    ReauthenticationRequired,
)
from orgs.models import CustomRole, PrincipalType, ResourceType, RoleBinding
from orgs.permissions import Permission, Role, permissions_of
from orgs.plans import Entitlement, Plan
from orgs.selectors.bindings import actor_for
from orgs.services.bindings import bind_role
from tests.cast import Cast, make_cast
from tests.factories import SYSTEM, make_service_account

ORGANIZATION, PROJECT = ResourceType.ORGANIZATION, ResourceType.PROJECT


def manager(cast: Cast) -> Actor:
    """Bob, who may manage service accounts and members and do nothing else beyond looking."""
    role = CustomRole.objects.create(
        organization=cast.organization,
        name="Robot keeper",
        resource_type=ORGANIZATION,
        permissions=[
            Permission.SERVICE_ACCOUNT_READ,
            Permission.SERVICE_ACCOUNT_MANAGE,
            Permission.MEMBER_UPDATE,
        ],
    )
    bind_role(
        actor=SYSTEM,
        organization_id=cast.organization.pk,
        principal=(PrincipalType.USER, cast.bob.pk),
        role=role,
        resource_id=cast.organization.pk,
    )
    return cast.actor(cast.bob)


def make(cast: Cast, actor: Actor = SYSTEM, **values: Any) -> tuple[ServiceAccount, str]:
    """An account of Acme."""
    values = {"name": "robot", **values}
    return create_service_account(actor=actor, organization_id=cast.organization.pk, **values)


def mint(account: ServiceAccount, secret: str) -> str:
    """A token."""
    return issue_token(client_id=account.client_id, client_secret=secret, asker=Asker())[1]


class CreateServiceAccountTests:
    def test_it_holds_the_roles_it_was_made_with(self, cast: Cast) -> None:
        account, secret = make(
            cast,
            cast.actor(cast.alice),
            role_bindings=[
                NewBinding(Role.ORG_MEMBER, ORGANIZATION),
                NewBinding(Role.PROJECT_VIEWER, PROJECT, cast.project.pk),
            ],
        )
        token = verify_token(mint(account, secret))
        assert token is not None
        held = permissions_of(
            token.actor, organization_id=cast.organization.pk, project_id=cast.project.pk
        )
        assert {Permission.MEMBER_READ, Permission.DATA_READ} <= held
        assert Permission.DATA_WRITE not in held
        assert account.created_by == "alice@example.com"

    def test_without_roles_it_gets_a_token_and_may_do_nothing(self, cast: Cast) -> None:
        token = verify_token(mint(*make(cast)))
        assert token is not None
        assert not permissions_of(token.actor, organization_id=cast.organization.pk)

    def test_names_may_be_equal(self, cast: Cast) -> None:
        first, second = make(cast)[0], make(cast)[0]
        assert first.client_id != second.client_id

    def test_the_secret_is_not_kept(self, cast: Cast) -> None:
        _, secret = make(cast)
        kept = repr(
            [
                list(model.objects.values())
                for model in (ServiceAccount, ServiceAccountSecret, AuditEvent)
            ]
        )
        assert secret not in kept
        row = ServiceAccountSecret.objects.get()
        assert len(bytes(row.digest)) == 32
        assert row.masked == f"tmrk_sas_…{secret[-4:]}"

    @pytest.mark.parametrize(
        "name", ["", " ", "x" * 81, "é" * 41, "a\0b", "a\nb", "a\ud800b", "a\u202eb"]
    )
    def test_a_bad_name_is_400(self, cast: Cast, name: str) -> None:
        with pytest.raises(InvalidArgument, match="1 to 80 bytes"):
            make(cast, name=name)

    def test_a_name_of_80_bytes_is_taken(self, cast: Cast) -> None:
        assert make(cast, name="é" * 40)[0].name == "é" * 40

    def test_a_member_is_403(self, cast: Cast) -> None:
        with pytest.raises(PermissionDenied, match="service_account:manage"):
            make(cast, cast.actor(cast.bob))

    def test_a_stranger_gets_404(self, cast: Cast) -> None:
        with pytest.raises(NotFound):
            make(cast, cast.actor(cast.charlie))

    def test_a_person_who_signed_in_long_ago_is_403(self, cast: Cast) -> None:
        stale = actor_for(cast.alice, authenticated_at=timezone.now() - timedelta(hours=1))
        with pytest.raises(ReauthenticationRequired):
            make(cast, stale)

    def test_nobody_makes_an_account_that_may_do_more_than_they_do(self, cast: Cast) -> None:
        actor = manager(cast)
        make(cast, actor)
        with pytest.raises(PermissionDenied, match="more than they hold"):
            make(cast, actor, role_bindings=[NewBinding(Role.ORG_OWNER, ORGANIZATION)])
        assert ServiceAccount.objects.count() == 1

    def test_a_plan_without_service_accounts_is_403_and_named(self, cast: Cast) -> None:
        cast.organization.plan = Plan.STANDARD
        cast.organization.save()
        with pytest.raises(PermissionDenied, match="Enterprise"):
            make(cast)

    def test_a_full_quota_is_403(self, cast: Cast) -> None:
        cast.organization.overrides = {Entitlement.MAX_SERVICE_ACCOUNTS: 1}
        cast.organization.save()
        make(cast)
        with pytest.raises(QuotaExceeded, match="In use: 1"):
            make(cast)

    def test_a_role_that_is_not_held_there_is_400(self, cast: Cast) -> None:
        for binding in (
            NewBinding(Role.PROJECT_EDITOR, ORGANIZATION),
            NewBinding(Role.ORG_OWNER, PROJECT, cast.project.pk),
            NewBinding("Emperor", ORGANIZATION),
        ):
            with pytest.raises(InvalidArgument):
                make(cast, role_bindings=[binding])
        assert not ServiceAccount.objects.exists()

    def test_a_project_of_another_organization_is_404(self, cast: Cast) -> None:
        for project_id in (cast.other_project.pk, uuid.uuid4()):
            with pytest.raises(NotFound):
                make(cast, role_bindings=[NewBinding(Role.PROJECT_EDITOR, PROJECT, project_id)])

    def test_the_same_role_twice_is_409(self, cast: Cast) -> None:
        with pytest.raises(AlreadyExists):
            make(cast, role_bindings=[NewBinding(Role.ORG_MEMBER, ORGANIZATION)] * 2)
        assert not ServiceAccount.objects.exists()

    def test_more_than_100_roles_are_400(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="100"):
            make(cast, role_bindings=[NewBinding(Role.ORG_MEMBER, ORGANIZATION)] * 101)

    def test_without_its_audit_event_there_is_no_account(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(AuditEvent, "save", no_room)
        with pytest.raises(OSError, match="no room"):
            make(cast)
        assert not ServiceAccount.objects.exists()


class UpdateServiceAccountTests:
    def test_a_new_name(self, cast: Cast) -> None:
        account, _ = make(cast)
        update_service_account(actor=cast.actor(cast.alice), account_id=account.pk, name=" digger ")
        changed = ServiceAccount.objects.get()
        assert (changed.name, changed.version) == ("digger", 2)
        event = AuditEvent.objects.get(type="service_account.updated")
        assert event.changes == {"name": {"before": "robot", "after": "digger"}}

    def test_no_name_moves_the_time_only(self, cast: Cast) -> None:
        account, _ = make(cast)
        changed = update_service_account(actor=SYSTEM, account_id=account.pk)
        assert changed.name == "robot"
        assert changed.updated_at > account.updated_at

    def test_a_member_is_403_and_a_stranger_gets_404(self, cast: Cast) -> None:
        account, _ = make(cast)
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(error):
                update_service_account(actor=cast.actor(user), account_id=account.pk, name="x")
        assert ServiceAccount.objects.get().name == "robot"


class DeleteServiceAccountTests:
    def test_roles_secrets_and_tokens_go_at_once(self, cast: Cast) -> None:
        account, token = make_service_account(cast.organization)
        delete_service_account(actor=cast.actor(cast.alice), account_id=account.pk)
        assert verify_token(token) is None
        assert not ServiceAccountSecret.objects.exists()
        assert not AccessToken.objects.exists()
        assert not RoleBinding.objects.filter(principal_type="service_account").exists()
        assert AuditEvent.objects.filter(type="role_binding.deleted").count() == 1

    def test_repeating_it_is_404(self, cast: Cast) -> None:
        account, _ = make(cast)
        delete_service_account(actor=SYSTEM, account_id=account.pk)
        with pytest.raises(NotFound):
            delete_service_account(actor=SYSTEM, account_id=account.pk)

    def test_an_account_may_delete_itself(self, cast: Cast) -> None:
        account, text = make_service_account(cast.organization)
        token = verify_token(text)
        assert token is not None
        delete_service_account(actor=token.actor, account_id=account.pk)
        assert not ServiceAccount.objects.exists()

    def test_a_stranger_hears_the_same_of_a_foreign_account_as_of_none(self, cast: Cast) -> None:
        account, _ = make(cast)
        texts = []
        for account_id in (account.pk, uuid.uuid4()):
            with pytest.raises(NotFound) as refused:
                delete_service_account(actor=cast.actor(cast.charlie), account_id=account_id)
            texts.append(refused.value.message.replace(str(account_id), "?"))
        assert texts[0] == texts[1]

    def test_a_member_is_403(self, cast: Cast) -> None:
        account, _ = make(cast)
        with pytest.raises(PermissionDenied):
            delete_service_account(actor=cast.actor(cast.bob), account_id=account.pk)


class RotateSecretTests:
    def test_the_old_secret_ends_at_once(self, cast: Cast) -> None:
        account, old = make(cast)
        token = mint(account, old)
        _, new = rotate_secret(actor=cast.actor(cast.alice), account_id=account.pk)
        with pytest.raises(TokenRefused):
            mint(account, old)
        assert verify_token(token) is None
        assert verify_token(mint(account, new)) is not None
        assert account.secrets.count() == 1

    def test_with_an_overlap_both_work_until_its_end(self, cast: Cast) -> None:
        account, old = make(cast)
        token = mint(account, old)
        _, new = rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=3600)
        assert all(verify_token(mint(account, secret)) for secret in (old, new))
        assert verify_token(token) is not None
        account.secrets.exclude(expires_at=None).update(expires_at=timezone.now())
        with pytest.raises(TokenRefused):
            mint(account, old)
        assert verify_token(token) is None
        assert verify_token(mint(account, new)) is not None

    def test_rotating_again_ends_the_oldest_and_keeps_the_successor(self, cast: Cast) -> None:
        account, first = make(cast)
        _, second = rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=3600)
        _, third = rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=3600)
        with pytest.raises(TokenRefused):
            mint(account, first)
        assert all(verify_token(mint(account, secret)) for secret in (second, third))
        assert account.secrets.count() == 2

    def test_an_overlap_is_never_made_longer(self, cast: Cast) -> None:
        account, _ = make(cast)
        _, second = rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=60)
        newest = account.secrets.get(expires_at=None)
        revoke_secret(actor=SYSTEM, account_id=account.pk, secret_id=newest.pk)
        before = account.secrets.get().expires_at
        rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=3600)
        assert account.secrets.exclude(expires_at=None).get().expires_at == before
        with pytest.raises(TokenRefused):
            mint(account, second)

    @pytest.mark.parametrize("seconds", [-1, MAX_OVERLAP_SECONDS + 1, 2**62])
    def test_an_overlap_out_of_range_is_400(self, cast: Cast, seconds: int) -> None:
        account, secret = make(cast)
        with pytest.raises(OutOfRange, match="604800"):
            rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=seconds)
        mint(account, secret)

    def test_nobody_gets_the_secret_of_an_account_that_may_do_more_than_they_do(
        self, cast: Cast
    ) -> None:
        actor = manager(cast)
        account, secret = make(
            cast, role_bindings=[NewBinding(Role.PROJECT_EDITOR, PROJECT, cast.project.pk)]
        )
        with pytest.raises(PermissionDenied, match="more than they hold"):
            rotate_secret(actor=actor, account_id=account.pk)
        mint(account, secret)

    def test_roles_that_count_later_count_for_the_ceiling_and_ended_ones_do_not(
        self, cast: Cast
    ) -> None:
        actor = manager(cast)
        account, _ = make(cast)
        for begins, ends in ((-2, -1), (1, 2)):
            now = timezone.now()
            bind_role(
                actor=SYSTEM,
                organization_id=cast.organization.pk,
                principal=(PrincipalType.SERVICE_ACCOUNT, account.pk),
                role=Role.ORG_OWNER if begins > 0 else Role.ORG_BILLING_ADMIN,
                resource_id=cast.organization.pk,
                period=(now + timedelta(days=begins), now + timedelta(days=ends)),
            )
            if begins < 0:
                rotate_secret(actor=actor, account_id=account.pk)
        with pytest.raises(PermissionDenied):
            rotate_secret(actor=actor, account_id=account.pk)

    def test_a_member_is_403_and_a_stranger_gets_404(self, cast: Cast) -> None:
        account, _ = make(cast)
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(error):
                rotate_secret(actor=cast.actor(user), account_id=account.pk)


class RevokeSecretTests:
    def test_it_ends_with_its_tokens_and_the_other_stays(self, cast: Cast) -> None:
        account, old = make(cast)
        _, new = rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=3600)
        tokens = mint(account, old), mint(account, new)
        ending = account.secrets.exclude(expires_at=None).get()
        revoke_secret(actor=cast.actor(cast.alice), account_id=account.pk, secret_id=ending.pk)
        assert [verify_token(token) is None for token in tokens] == [True, False]
        event = AuditEvent.objects.get(type="service_account_secret.revoked")
        assert event.resource_id == str(account.pk)

    def test_a_secret_of_another_account_is_404(self, cast: Cast) -> None:
        account, _ = make(cast)
        other, _ = make(cast)
        for secret_id in (other.secrets.get().pk, uuid.uuid4()):
            with pytest.raises(NotFound):
                revoke_secret(actor=SYSTEM, account_id=account.pk, secret_id=secret_id)
        assert other.secrets.count() == 1

    def test_a_member_is_403_and_a_stranger_gets_404(self, cast: Cast) -> None:
        account, _ = make(cast)
        secret = account.secrets.get()
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            with pytest.raises(error):
                revoke_secret(actor=cast.actor(user), account_id=account.pk, secret_id=secret.pk)


class ReadServiceAccountTests:
    def test_a_member_is_403_and_a_stranger_gets_404(self, cast: Cast) -> None:
        account, _ = make(cast)
        for user, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            actor = cast.actor(user)
            with pytest.raises(error):
                get_account(actor, account.pk)
            with pytest.raises(error):
                secrets_of(actor, account.pk)
            with pytest.raises(error):
                accounts_of(actor, cast.organization.pk)

    def test_only_the_organizations_own_are_listed(self, cast: Cast) -> None:
        account, _ = make(cast)
        make_service_account(cast.other_organization)
        found = accounts_of(cast.actor(cast.alice), cast.organization.pk)
        assert [row.pk for row in found] == [account.pk]


@pytest.mark.django_db(transaction=True)
class ConcurrencyTests:
    def test_two_at_once_for_the_last_place_make_one(self) -> None:
        cast = make_cast()
        cast.organization.overrides = {Entitlement.MAX_SERVICE_ACCOUNTS: 1}
        cast.organization.save()
        actor = cast.actor(cast.alice)
        results = at_once(lambda: make(cast, actor), lambda: make(cast, actor))
        assert sorted(type(each).__name__ for each in results) == ["QuotaExceeded", "tuple"]
        assert ServiceAccount.objects.count() == 1

    def test_two_rotations_at_once_leave_one_secret_or_two(self) -> None:
        cast = make_cast()
        account, _ = make(cast)

        def rotate() -> object:
            return rotate_secret(actor=SYSTEM, account_id=account.pk, overlap_seconds=60)

        results = at_once(rotate, rotate, rotate)
        assert [type(each).__name__ for each in results] == ["tuple"] * 3
        assert account.secrets.count() == 2
        assert account.secrets.filter(expires_at=None).count() == 1


def at_once(*actions: Any) -> list[object]:
    """What each action returned or raised, run in threads of their own."""
    barrier, results = threading.Barrier(len(actions)), []

    def run(action: Any) -> None:
        barrier.wait()
        try:
            results.append(action())
        except Exception as error:  # noqa: BLE001  told to the test
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def no_room(*_: Any, **__: Any) -> None:
    raise OSError("no room")
