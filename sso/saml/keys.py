"""Our key pairs of a connection, opened."""

from __future__ import annotations

from kms.envelope import KeyUnavailable, WrappedKey
from kms.installation import provider
from sso.models import Connection, SpKey

_ORDER = {SpKey.State.CURRENT: 0, SpKey.State.NEXT: 1, SpKey.State.PREVIOUS: 2}


def private_keys(connection: Connection) -> list[tuple[str, str]]:
    """(certificate, key) in PEM: the current one, then the next and the previous where they are.

    Raises:
        KeyUnavailable: the key service can't open one.
    """
    kept = sorted(connection.sp_keys.all(), key=lambda key: _ORDER[SpKey.State(key.state)])
    return [(key.certificate_pem, _open(key)) for key in kept]


def signing_key(connection: Connection) -> tuple[str, str]:
    """(certificate, key) in PEM of the current pair.

    Raises:
        KeyUnavailable: the key service can't open it, or there is none.
    """
    current = connection.sp_keys.filter(state=SpKey.State.CURRENT).first()
    if current is None:
        raise KeyUnavailable(f"The connection {connection.pk} has no key of its own to sign with.")
    return current.certificate_pem, _open(current)


def _open(key: SpKey) -> str:
    context = {"purpose": "saml-sp-key", "key": str(key.pk)}
    return provider().unwrap(WrappedKey.load(key.wrapped_key), context=context).decode()
