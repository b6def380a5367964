"""Looking up TXT records, and telling "it is not there" from "nobody could say".

Asks the system's name servers, or those of TAMARACK_DNS_SERVERS, and nobody else; CNAMEs are
followed by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from django.conf import settings

TIMEOUT = 2.0
"""Seconds for one server; then it is the next one's turn."""
LIFETIME = 5.0
"""Seconds for the whole question."""
MAX_RECORDS, MAX_TEXT = 100, 2048


@dataclass(frozen=True, slots=True)
class Lookup:
    """What came of a question.

    Attributes:
        texts: the TXT records, the pieces of each joined.
        problem: why there are none; empty: there are some.
        is_certain: whether DNS answered. Where it did not, nothing is known.
    """

    texts: tuple[str, ...]
    problem: str = ""
    is_certain: bool = True


def lookup_txt(name: str) -> Lookup:
    """Ask for the TXT records of the name. Never raises; takes 5 s at most."""
    try:
        answer = _resolver().resolve(
            dns.name.from_text(name), dns.rdatatype.TXT, search=False, lifetime=LIFETIME
        )
    except dns.resolver.NXDOMAIN:
        return Lookup((), f"There is no name {name} in DNS.")
    except dns.resolver.NoAnswer:
        return Lookup((), f"The name {name} has no TXT record.")
    except dns.exception.Timeout:
        return _unknown(f"No name server answered within {LIFETIME:g} s.")
    except dns.resolver.NoNameservers:
        return _unknown("The name servers answered with an error, such as SERVFAIL.")
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return _unknown(f"The question could not be asked: {type(error).__name__}.")
    texts = [b"".join(record.strings)[:MAX_TEXT] for record in list(answer)[:MAX_RECORDS]]
    return Lookup(tuple(text.decode("utf-8", "replace") for text in texts))


def _unknown(problem: str) -> Lookup:
    return Lookup((), problem, is_certain=False)


def _resolver() -> dns.resolver.Resolver:
    servers = settings.TAMARACK_DNS_SERVERS
    found = dns.resolver.Resolver(configure=not servers)
    if servers:
        found.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in servers]
    found.timeout = TIMEOUT
    return found
