"""Our own key pairs: one per connection, changed without a gap.

`prepare` publishes the next key in the metadata, where it opens assertions already; when the
identity provider has it, `rotate` signs with it, and the one before still opens assertions until it
is dropped.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.events import EventType
from kms.installation import provider
from orgs.actors import Actor
from orgs.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from sso.models import Connection, SpKey
from sso.services.changing import connection_to_change
from sso.trail import record_change, save_change

KEY_BITS = 3072
LIFETIME = timedelta(days=3 * 365)
BACKDATE = timedelta(hours=1)
"""Clocks differ; some identity providers look at the certificate's dates."""
State = SpKey.State


def new_sp_key(connection: Connection, state: SpKey.State) -> SpKey:
    """A key pair in no database yet, with a certificate of its own signature."""
    identifier = uuid.uuid4()
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    now = timezone.now()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, settings.TAMARACK_PUBLIC_HOST[:64]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, str(identifier)),
        ]
    )
    until = (now + LIFETIME).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return SpKey(
        pk=identifier,
        connection=connection,
        state=state,
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        wrapped_key=provider().wrap(pem, context=context_of(identifier)).dump(),
        not_after=until,
    )


def context_of(key_id: UUID) -> dict[str, str]:
    """What a private key is wrapped for: it opens nowhere else."""
    return {"purpose": "saml-sp-key", "key": str(key_id)}


@transaction.atomic
def prepare_sp_key(*, actor: Actor, connection_id: UUID) -> SpKey:
    """Make the key that comes next and publish it beside the current one.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: the connection does not speak SAML.
        AlreadyExists: there is a next one.
    """
    connection = _saml_connection(actor, connection_id)
    if connection.sp_keys.filter(state=State.NEXT).exists():
        raise AlreadyExists(
            "The next key is there already: give its certificate to the identity provider, then"
            " rotate."
        )
    key = new_sp_key(connection, State.NEXT)
    key.save(force_insert=True)
    save_change(connection, decides=False)
    _record(actor, connection, key, "prepared")
    return key


@transaction.atomic
def rotate_sp_key(*, actor: Actor, connection_id: UUID) -> SpKey:
    """Sign with the next key from now on; the one until now still opens assertions.

    A test made before holds no longer: the identity provider may not have the new key.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: the connection does not speak SAML.
        FailedPrecondition: no next key was prepared.
    """
    connection = _saml_connection(actor, connection_id)
    following = connection.sp_keys.filter(state=State.NEXT).first()
    if following is None:
        raise FailedPrecondition(
            "There is no next key: prepare one first, and give its certificate to the identity"
            " provider."
        )
    connection.sp_keys.filter(state=State.PREVIOUS).delete()
    connection.sp_keys.filter(state=State.CURRENT).update(state=State.PREVIOUS)
    following.state = State.CURRENT
    following.save(update_fields=["state"])
    save_change(connection, decides=True)
    _record(actor, connection, following, "rotated")
    return following


@transaction.atomic
def drop_previous_sp_key(*, actor: Actor, connection_id: UUID) -> None:
    """Delete the key before the current one; what is encrypted for it opens no more.

    Raises:
        NotFound, PermissionDenied: the actor may not configure the connection.
        InvalidArgument: the connection does not speak SAML.
        FailedPrecondition: there is none.
    """
    connection = _saml_connection(actor, connection_id)
    key = connection.sp_keys.filter(state=State.PREVIOUS).first()
    if key is None:
        raise FailedPrecondition("There is no previous key to drop.")
    _record(actor, connection, key, "dropped")
    key.delete()
    save_change(connection, decides=False)


def _saml_connection(actor: Actor, connection_id: UUID) -> Connection:
    connection = connection_to_change(actor, connection_id)
    if connection.protocol != Connection.Protocol.SAML:
        raise InvalidArgument(
            "Keys of ours belong to connections by SAML 2.0; this one speaks"
            f" {Connection.Protocol(connection.protocol).label}."
        )
    return connection


def _record(actor: Actor, connection: Connection, key: SpKey, action: str) -> None:
    record_change(
        EventType.SSO_KEY_ROTATED,
        actor,
        connection,
        detail={
            "action": action,
            "resource_id": str(key.pk),
            "not_after": key.not_after.isoformat(),
        },
    )
