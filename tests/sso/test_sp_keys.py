"""Our own keys: made, wrapped, and changed without a gap."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.utils import timezone

from audit.models import AuditEvent
from kms.envelope import KeyUnavailable, WrappedKey
from kms.installation import provider
from orgs.actors import Actor
from orgs.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from sso.models import Connection, SpKey
from sso.saml.metadata import sp_metadata
from sso.selectors.connections import sp_keys_of
from sso.services.connections import create_connection
from sso.services.sp_keys import (
    context_of,
    drop_previous_sp_key,
    prepare_sp_key,
    rotate_sp_key,
)
from tests.cast import Cast
from tests.orgs.racing import at_once
from tests.sso.support import make_connection

State = SpKey.State


@pytest.fixture
def owner(cast: Cast) -> Actor:
    return cast.actor(cast.alice)


@pytest.fixture
def connection(cast: Cast, owner: Actor) -> Connection:
    return create_connection(actor=owner, organization_id=cast.organization.pk, name="Okta")


def states(connection: Connection) -> dict[str, SpKey]:
    return {str(key.state): key for key in connection.sp_keys.all()}


class TestKeys:
    def test_the_private_key_is_wrapped_and_fits_its_certificate(
        self, connection: Connection
    ) -> None:
        key = connection.sp_keys.get()
        assert "PRIVATE" not in key.wrapped_key
        pem = provider().unwrap(WrappedKey.load(key.wrapped_key), context=context_of(key.pk))
        private = serialization.load_pem_private_key(pem, None)
        certificate = x509.load_pem_x509_certificate(key.certificate_pem.encode())
        assert isinstance(private, rsa.RSAPrivateKey)
        assert private.key_size >= 3072
        assert private.public_key() == certificate.public_key()
        assert certificate.not_valid_after_utc == key.not_after
        assert timedelta(days=1000) < key.not_after - timezone.now() < timedelta(days=1100)
        assert certificate.not_valid_before_utc < timezone.now() - timedelta(minutes=30)

    def test_a_wrapped_key_opens_for_its_own_row_alone(self, connection: Connection) -> None:
        key = connection.sp_keys.get()
        with pytest.raises(KeyUnavailable):
            provider().unwrap(WrappedKey.load(key.wrapped_key), context=context_of(connection.pk))


class TestChangingKeys:
    def test_the_next_is_published_then_used_and_the_previous_stays_a_while(
        self, connection: Connection, owner: Actor
    ) -> None:
        first = connection.sp_keys.get()
        following = prepare_sp_key(actor=owner, connection_id=connection.pk)
        assert states(connection) == {"current": first, "next": following}
        body = "".join(following.certificate_pem.splitlines()[1:-1])
        assert body in sp_metadata(connection).decode()
        connection.refresh_from_db()
        assert connection.config_version == 1

        rotate_sp_key(actor=owner, connection_id=connection.pk)
        assert states(connection) == {"previous": first, "current": following}
        connection.refresh_from_db()
        assert connection.config_version == 2

        third = prepare_sp_key(actor=owner, connection_id=connection.pk)
        rotate_sp_key(actor=owner, connection_id=connection.pk)
        assert states(connection) == {"previous": following, "current": third}

        drop_previous_sp_key(actor=owner, connection_id=connection.pk)
        assert list(sp_keys_of(owner, connection.pk)) == [third]
        rows = AuditEvent.objects.filter(type="sso_key.rotated").order_by("time")
        assert [row.detail["action"] for row in rows] == [
            "prepared",
            "rotated",
            "prepared",
            "rotated",
            "dropped",
        ]

    def test_steps_out_of_order_are_refused(self, connection: Connection, owner: Actor) -> None:
        with pytest.raises(FailedPrecondition, match="no next key"):
            rotate_sp_key(actor=owner, connection_id=connection.pk)
        with pytest.raises(FailedPrecondition, match="no previous key"):
            drop_previous_sp_key(actor=owner, connection_id=connection.pk)
        prepare_sp_key(actor=owner, connection_id=connection.pk)
        with pytest.raises(AlreadyExists):
            prepare_sp_key(actor=owner, connection_id=connection.pk)

    def test_openid_connect_has_none(self, cast: Cast, owner: Actor) -> None:
        made = make_connection(cast.organization, protocol="oidc", idp_entity_id="")
        for call in (prepare_sp_key, rotate_sp_key, drop_previous_sp_key):
            with pytest.raises(InvalidArgument, match=r"SAML 2\.0"):
                call(actor=owner, connection_id=made.pk)

    def test_members_may_not_and_strangers_see_nothing(
        self, connection: Connection, cast: Cast
    ) -> None:
        for who, error in ((cast.bob, PermissionDenied), (cast.charlie, NotFound)):
            for call in (prepare_sp_key, rotate_sp_key, drop_previous_sp_key):
                with pytest.raises(error):
                    call(actor=cast.actor(who), connection_id=connection.pk)


@pytest.mark.django_db(transaction=True)
def test_of_two_that_rotate_at_once_one_does(cast: Cast) -> None:
    owner = cast.actor(cast.alice)
    connection = create_connection(actor=owner, organization_id=cast.organization.pk, name="Okta")
    prepare_sp_key(actor=owner, connection_id=connection.pk)
    rotate = partial(rotate_sp_key, actor=owner, connection_id=connection.pk)
    assert at_once(rotate, rotate) == {"done": 1, "FailedPrecondition": 1}
    assert set(states(connection)) == {"previous", "current"}
