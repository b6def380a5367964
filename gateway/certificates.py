"""The gateway's certificates, on disk and renewed while it serves.

    certs/edge-ecdsa, edge-rsa   what clients see: the public host names
    certs/gateway                the gateway's own identity towards index servers
    certs/ca.pem                 the root: what clients and index servers are told to trust

Envoy watches the folder (gateway/upstreams.py): a new pair serves the next handshake, and no
request notices. All of them come from the installation's one authority (kms/certificates.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gateway.configuration import GatewaySettings
from kms import certificates
from kms.certificates import Authority, CertificateError, Pair
from kms.files import write_atomically


def ensure(
    settings: GatewaySettings | None = None,
    open_authority: Callable[[], Authority] | None = None,
) -> list[str]:
    """Issue every pair that is missing, due, damaged, of other names or of another authority.

    Called at the start (the first one creates the authority) and every few minutes after it.

    Args:
        settings: of this installation where None.
        open_authority: opens the authority; the one in TAMARACK_HOME/ca where None.

    Returns:
        Names of the pairs that were issued.

    Raises:
        CertificateError: a file of the authority is damaged.
        KeyUnavailable: the key that protects the authority can't be used.
        OSError: the folder can't be written to.
    """
    settings = settings or GatewaySettings.from_django()
    authority = (open_authority or _installed_authority())()
    settings.certs.mkdir(mode=0o700, parents=True, exist_ok=True)
    bundle = settings.certs / "ca.pem"
    if not bundle.exists() or bundle.read_bytes() != authority.trust_bundle:
        write_atomically(bundle, authority.trust_bundle, mode=0o644)
    edge = certificates.edge_names(settings.public_host, settings.index_domain)
    identity = certificates.gateway_spiffe_id(settings.trust_domain)
    wanted: dict[str, tuple[Sequence[x509.GeneralName], Callable[[], Pair]]] = {
        "edge-ecdsa": (edge, lambda: authority.issue_edge(edge, "ecdsa")),
        "edge-rsa": (edge, lambda: authority.issue_edge(edge, "rsa")),
        "gateway": (
            [x509.UniformResourceIdentifier(identity)],
            lambda: authority.issue_workload(identity),
        ),
    }
    issued = []
    with certificates.locked(settings.certs):
        for name, (names, issue) in wanted.items():
            certificate, key = (settings.certs / f"{name}.{suffix}" for suffix in ("crt", "key"))
            try:
                pair = certificates.load_pair(certificate, key)
            except CertificateError:
                pair = None  # not there yet, or torn by a crash: either way it is issued
            if pair is None or _has_to_change(pair, names, authority):
                certificates.write_pair(issue(), certificate, key)
                issued.append(name)
    return issued


def renew_due() -> list[str]:
    """What a periodic task does with the gateway's certificates; see `ensure`."""
    return ensure()


def _installed_authority() -> Callable[[], Authority]:
    from indexes.certificates import authority  # noqa: PLC0415  needs Django, `ensure` does not

    return authority


def _has_to_change(pair: Pair, names: Sequence[x509.GeneralName], authority: Authority) -> bool:
    leaf = pair.leaf
    root = x509.load_pem_x509_certificate(authority.trust_bundle)
    issuing = x509.load_pem_x509_certificates(pair.certificate)[-1]
    shown = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificates.due_for_renewal(leaf)
        or list(shown) != list(names)
        or not _is_signed_by(issuing, root)
    )


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, InvalidSignature):
        return False
    return True
