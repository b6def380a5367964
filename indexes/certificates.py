"""This installation's certificate authority and the identities that this room needs from it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from indexes.models import Deployment, Index
from kms.certificates import (
    Authority,
    CertificateError,
    Pair,
    control_plane_spiffe_id,
    due_for_renewal,
    index_spiffe_id,
    load_pair,
    node_spiffe_id,
    open_authority,
    write_pair,
)
from kms.envelope import Context, WrappedKey
from kms.files import write_atomically
from kms.installation import provider

_CONTEXT: Context = {"purpose": "certificate-authority"}


def _seal(key: bytes) -> bytes:
    return provider().wrap(key, context=_CONTEXT).dump().encode()


def _unseal(sealed: bytes) -> bytes:
    return provider().unwrap(WrappedKey.load(sealed.decode()), context=_CONTEXT)


def authority() -> Authority:
    """The issuing authority in `TAMARACK_HOME/ca`, made at the first call.

    Raises:
        CertificateError, KeyUnavailable: its files or the key that protects them can't be used.
    """
    folder: Path = settings.TAMARACK_HOME / "ca"
    return open_authority(folder, settings.TAMARACK_TRUST_DOMAIN, _seal, _unseal)


def index_dns_name(index: Index) -> str:
    """The name that gRPC clients of the index's server verify."""
    return f"{index.pk}.index.{settings.TAMARACK_TRUST_DOMAIN}"


def index_identity(index: Index) -> str:
    """The SPIFFE id of the index's servers."""
    return index_spiffe_id(
        settings.TAMARACK_TRUST_DOMAIN,
        str(index.project.organization_id),
        str(index.project_id),
        str(index.pk),
    )


def refresh_index_pair(deployment: Deployment, folder: Path) -> bool:
    """See to it that `folder` holds a certificate of the deployment's index with time left.

    Returns whether it wrote one. The server reads the files again by itself.

    Raises:
        CertificateError, KeyUnavailable: the authority can't be used.
        OSError: the files can't be written.
    """
    certificate, private_key = folder / "tls.crt", folder / "tls.key"
    try:
        if not due_for_renewal(load_pair(certificate, private_key).leaf):
            return False
    except CertificateError:
        pass  # not there yet, or torn by a crash: either way it is written anew
    issuer = authority()
    pair = issuer.issue_workload(
        index_identity(deployment.index), [index_dns_name(deployment.index)]
    )
    write_atomically(folder / "ca.crt", issuer.trust_bundle, mode=0o644)
    write_pair(pair, certificate, private_key)
    return True


@dataclass
class Identity:
    """A certificate that one process holds in memory only, renewed when it is due."""

    spiffe: str
    dns_names: tuple[str, ...] = ()
    _pair: Pair | None = None
    _trust_bundle: bytes = b""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self) -> tuple[Pair, bytes]:
        """The pair and the PEM of what its peers are trusted by.

        Raises:
            CertificateError, KeyUnavailable: a new one is due and the authority can't be used.
        """
        with self._lock:
            if self._pair is None or due_for_renewal(self._pair.leaf):
                issuer = authority()
                self._pair = issuer.issue_workload(self.spiffe, self.dns_names)
                self._trust_bundle = issuer.trust_bundle
            return self._pair, self._trust_bundle


def control_plane_identity() -> Identity:
    """What the key service shows to the index servers."""
    domain = settings.TAMARACK_TRUST_DOMAIN
    return Identity(control_plane_spiffe_id(domain), (f"control-plane.{domain}",))


def node_identity() -> Identity:
    """What this node's worker shows to the index servers that it probes."""
    return Identity(node_spiffe_id(settings.TAMARACK_TRUST_DOMAIN, settings.TAMARACK_NODE))
