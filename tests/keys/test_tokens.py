from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.models import AuditEvent
from keys import opaque
from keys.models import AccessToken
from keys.selectors.service_accounts import accounts_locked_out
from keys.selectors.tokens import verify_token
from keys.services.service_accounts import (
    create_service_account,
    delete_service_account,
    rotate_secret,
)
from keys.services.tokens import Asker, OAuthError, TokenRefused, issue_token
from orgs.baseline import Demands, locked_out
from orgs.models import SecurityBaseline
from orgs.permissions import Permission, Role, permissions_of
from tests.cast import Cast
from tests.factories import SYSTEM, make_service_account

HERE, ELSEWHERE = Asker(ip="203.0.113.7"), Asker(ip="198.51.100.1")


class VerifyTokenTests:
    def test_a_token_stands_for_its_account(self, cast: Cast) -> None:
        account, text = make_service_account(cast.organization, (Role.ORG_MEMBER,))
        token = verify_token(text, ip=HERE.ip, request_id="r-12345678")
        assert token is not None
        assert (token.actor.kind, token.actor.id) == ("service_account", str(account.pk))
        assert token.actor.organization_id == cast.organization.pk
        assert (token.actor.ip, token.actor.request_id) == (HERE.ip, "r-12345678")
        assert token.barred == ""
        held = permissions_of(token.actor, organization_id=cast.organization.pk)
        assert held == {Permission.ORGANIZATION_READ, Permission.MEMBER_READ}
        assert not permissions_of(token.actor, organization_id=cast.other_organization.pk)

    def test_it_costs_two_queries(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        _, text = make_service_account(cast.organization, (Role.ORG_OWNER, Role.ORG_MEMBER))
        with django_assert_num_queries(2):
            verify_token(text)

    @pytest.mark.parametrize(
        "text", ["", " ", "x", "tmrk_at_", "tmrk_at_" + "0" * 49, "é" * 57, "tmrk_at_\0", "\ud800"]
    )
    def test_text_of_another_form_costs_none(
        self, cast: Cast, django_assert_num_queries: DjangoAssertNumQueries, text: str
    ) -> None:
        with django_assert_num_queries(0):
            assert verify_token(text) is None

    def test_an_unknown_token_is_none(self, db: None) -> None:
        assert verify_token(opaque.ACCESS_TOKEN.generate()) is None

    def test_a_client_secret_is_no_token(self, cast: Cast) -> None:
        _, secret = create_service_account(
            actor=SYSTEM, organization_id=cast.organization.pk, name="a"
        )
        assert verify_token(secret) is None

    def test_an_expired_token_is_none(self, cast: Cast) -> None:
        _, text = make_service_account(cast.organization)
        AccessToken.objects.update(expires_at=timezone.now())
        assert verify_token(text) is None

    def test_the_organizations_ranges_hold_for_its_use(self, cast: Cast) -> None:
        _, text = make_service_account(cast.organization)
        SecurityBaseline.objects.create(
            organization=cast.organization, ip_ranges=["203.0.113.0/24"]
        )
        inside, outside = verify_token(text, ip=HERE.ip), verify_token(text, ip=ELSEWHERE.ip)
        assert inside is not None
        assert inside.barred == ""
        assert outside is not None
        assert ELSEWHERE.ip in outside.barred
        assert not permissions_of(outside.actor, organization_id=cast.organization.pk)


class IssueTokenTests:
    def test_nothing_of_token_or_secret_is_kept(self, cast: Cast) -> None:
        account, secret = create_service_account(
            actor=SYSTEM, organization_id=cast.organization.pk, name="a"
        )
        token, text = issue_token(client_id=account.client_id, client_secret=secret, asker=HERE)
        assert token.expires_at - token.created_at < timedelta(minutes=30, seconds=1)
        kept = repr([list(model.objects.values()) for model in (AccessToken, AuditEvent)])
        assert text not in kept
        assert secret not in kept
        event = AuditEvent.objects.get(type="token.issued")
        assert (event.organization_id, event.ip) == (cast.organization.pk, HERE.ip)
        assert event.detail["client_id"] == account.client_id

    def test_a_wrong_secret_and_an_unknown_client_are_one_answer(self, cast: Cast) -> None:
        account, _ = make_service_account(cast.organization)
        wrong = opaque.CLIENT_SECRET.generate()
        answers = []
        for client_id in (account.client_id, opaque.new_client_id(), "", "\0", "\ud800"):
            with pytest.raises(TokenRefused) as refused:
                issue_token(client_id=client_id, client_secret=wrong, asker=HERE)
            answers.append((refused.value.error, refused.value.description))
        assert len(set(answers)) == 1
        assert answers[0][0] == OAuthError.INVALID_CLIENT

    def test_the_organizations_ranges_hold_for_its_minting(self, cast: Cast) -> None:
        account, secret = create_service_account(
            actor=SYSTEM, organization_id=cast.organization.pk, name="a"
        )
        SecurityBaseline.objects.create(
            organization=cast.organization, ip_ranges=["203.0.113.0/24"]
        )
        issue_token(client_id=account.client_id, client_secret=secret, asker=HERE)
        with pytest.raises(TokenRefused, match=ELSEWHERE.ip) as refused:
            issue_token(client_id=account.client_id, client_secret=secret, asker=ELSEWHERE)
        assert refused.value.error == OAuthError.UNAUTHORIZED_CLIENT

    def test_rotation_ends_the_old_secret_and_its_tokens(self, cast: Cast) -> None:
        account, token = make_service_account(cast.organization)
        _, secret = rotate_secret(actor=cast.actor(cast.alice), account_id=account.pk)
        assert verify_token(token) is None
        issue_token(client_id=account.client_id, client_secret=secret, asker=HERE)


class BaselineProbeTests:
    def test_accounts_that_got_tokens_from_elsewhere_are_named(self, cast: Cast) -> None:
        inside, outside = (
            create_service_account(actor=SYSTEM, organization_id=cast.organization.pk, name=name)
            for name in ("inside", "outside")
        )
        for (account, secret), asker in ((inside, HERE), (outside, ELSEWHERE)):
            issue_token(client_id=account.client_id, client_secret=secret, asker=asker)
        demands = Demands(ip_ranges=("203.0.113.0/24",))
        (found,) = accounts_locked_out(cast.organization.pk, demands)
        assert (found.kind, found.id) == ("service_account", outside[0].pk)
        assert ELSEWHERE.ip in found.reason
        assert found in locked_out(cast.organization.pk, demands)
        assert not list(accounts_locked_out(cast.organization.pk, Demands()))
        delete_service_account(actor=SYSTEM, account_id=outside[0].pk)
        assert not list(accounts_locked_out(cast.organization.pk, demands))
