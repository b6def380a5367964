"""Where the platform may connect to on somebody's behalf, and connecting there.

Addresses outside are typed in by people of one organization; what is inside belongs to the
operator. So a name is resolved once, every address it has must be public, and the connection goes
to the address that was checked: a second answer of the resolver changes nothing.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from django.conf import settings

TIMEOUT = 5.0
"""Seconds for one step: connecting, a read, a write."""
DEADLINE = 10.0
"""Seconds for a whole exchange, however slowly the other side drips its answer."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class DeliveryFailed(Exception):
    """It did not arrive for certain; the text is for the organization's people."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host to connect to.

    Attributes:
        tls: None: plaintext, which is for loopback alone.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts the system's authorities or, where one is given, that authority alone.

    Raises:
        ValueError: `ca_pem` holds no certificate.
    """
    try:
        return ssl.create_default_context(cadata=ca_pem or None)
    except ssl.SSLError as error:
        raise ValueError("no PEM certificate") from error


def is_public(address: Address) -> bool:
    """Whether the address is one of the internet at large."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def check(target: Target, address: Address) -> None:
    """Refuse an address that the target must not lead to.

    Raises:
        DeliveryFailed: says why.
    """
    inner = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
    if target.tls is None and not inner.is_loopback:
        raise DeliveryFailed(
            f"{target.host} is not this machine: without TLS, events go to a loopback address only."
        )
    if not is_public(address) and not settings.TAMARACK_ALLOW_PRIVATE_TARGETS:
        raise DeliveryFailed(
            f"{target.host} leads to {address}, which is not a public address. The operator can"
            " allow private ones with TAMARACK_ALLOW_PRIVATE_TARGETS."
        )


@contextlib.contextmanager
def connected(target: Target) -> Iterator[socket.socket]:
    """A connection that is cut when `DEADLINE` is over; over TLS its certificate is checked.

    Raises:
        DeliveryFailed: no connection can be had, or a TLS one not with the right certificate.
    """
    connection = _connect(target)
    cut = threading.Event()
    timer = threading.Timer(DEADLINE, _cut, [connection, cut])
    timer.daemon = True
    timer.start()
    try:
        if target.tls is not None:
            _handshake(target, connection)
        yield connection
        # A connection that was cut here looks like one that the other side ended in order.
        if cut.is_set():
            raise DeliveryFailed(f"{target.host} took longer than {DEADLINE:g} s.")
    finally:
        timer.cancel()
        connection.close()


def _connect(target: Target) -> socket.socket:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryFailed(f"{target.host} can't be resolved.") from error
    for *_, place in found:
        check(target, ip_address(place[0]))
    reason: OSError | None = None
    for family, kind, protocol, _, place in found[:4]:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(place)
        except OSError as error:
            reason = error
            connection.close()
            continue
        if target.tls is None:
            return connection
        return target.tls.wrap_socket(
            connection, server_hostname=target.host, do_handshake_on_connect=False
        )
    raise DeliveryFailed(f"{target.host}:{target.port} can't be reached: {reason}.")


def _handshake(target: Target, connection: socket.socket) -> None:
    assert isinstance(connection, ssl.SSLSocket)  # noqa: S101  for the type checker
    try:
        connection.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise DeliveryFailed(
            f"{target.host} does not show a certificate to trust: {error.verify_message}."
        ) from error
    except OSError as error:
        raise DeliveryFailed(f"{target.host}:{target.port} does not speak TLS.") from error


def _cut(connection: socket.socket, cut: threading.Event) -> None:
    cut.set()
    with contextlib.suppress(OSError):
        # SSLSocket.shutdown() would first take TLS off: a write meanwhile would be plaintext.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
