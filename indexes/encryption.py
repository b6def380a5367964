"""What an index is encrypted with, read from where it is: rows, and its server's certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from indexes.files import folder_of
from indexes.models import DataKey, Index
from kms.envelope import WrappedKey
from projects.models import ProjectKey


@dataclass(frozen=True, slots=True)
class Key:
    """A data key of an index.

    Attributes:
        wrapped_by: what it is encrypted under, as `<provider>:<key id>:<version>`; empty: it is
            destroyed.
        algorithm: how it is wrapped.
    """

    row: DataKey
    wrapped_by: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What the index's server shows to its callers."""

    serial: str
    identity: str
    begin: datetime
    end: datetime
    key: str


@dataclass(frozen=True, slots=True)
class Encryption:
    """Attributes:
    keys: newest first.
    project_key: the key that wraps the newest of them; None: it is gone.
    project_key_wrapped_by: the provider's key above that one.
    certificate: None: there is no server now, or its file can't be read.
    """

    keys: list[Key]
    project_key: ProjectKey | None
    project_key_wrapped_by: str
    certificate: ServerCertificate | None


def encryption_of(index: Index) -> Encryption:
    """The keys and the certificate of the index. Three queries and one file."""
    keys = [_key(row) for row in index.data_keys.order_by("-version")]
    project_key = index.project.encryption_keys.order_by("-version").first()
    return Encryption(
        keys=keys,
        project_key=project_key,
        project_key_wrapped_by=(
            WrappedKey.load(project_key.wrapped).wrapped_by if project_key else ""
        ),
        certificate=_certificate(index),
    )


def _key(row: DataKey) -> Key:
    if not row.wrapped:
        return Key(row, "", "")
    wrapped = WrappedKey.load(row.wrapped)
    return Key(row, wrapped.wrapped_by, wrapped.algorithm)


def _certificate(index: Index) -> ServerCertificate | None:
    deployment = index.deployments.filter(removed_at=None).first()
    if deployment is None:
        return None
    try:
        found = x509.load_pem_x509_certificate((folder_of(deployment.pk) / "tls.crt").read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return None
    identities = names.get_values_for_type(x509.UniformResourceIdentifier)
    return ServerCertificate(
        serial=f"{found.serial_number:x}",
        identity=identities[0] if identities else "",
        begin=found.not_valid_before_utc,
        end=found.not_valid_after_utc,
        key=found.signature_algorithm_oid._name,
    )
