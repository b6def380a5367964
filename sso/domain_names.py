"""Names of mail domains: one spelling for each, and which of them an organization can claim."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import idna

from orgs.errors import InvalidArgument
from rest.wording import shown

NAME_LENGTH = 232
"""Of 253 that DNS allows: the name of the record for the proof is 20 longer, and a dot."""
_LONGEST_INPUT = 1024
# Registries sell names below `co.uk` and the like; nobody owns those themselves.
_SHARED = frozenset(
    {"ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "mil", "ne", "net", "or", "org"}
)
_COUNTRY_LENGTH = 2


def ascii_domain(text: str) -> str:
    """The name in lower case and A-labels (IDNA 2008, mapped by UTS #46), without a dot at the end;
    empty: it is none.
    """
    if len(text) > _LONGEST_INPUT:
        return ""
    try:
        found = idna.encode(text.strip().removesuffix("."), uts46=True, std3_rules=True)
    except (idna.IDNAError, UnicodeError):
        return ""
    # What is left of two dots at the end is no name.
    return "" if found.endswith(b".") else found.decode("ascii").lower()


def claimable_domain(text: str) -> str:
    """The name as `Domain.name` has it, where an organization can own such a domain.

    Raises:
        InvalidArgument: no name of two labels at least, an address, the end of other people's
            names, a provider of mail for everybody, or too long.
    """
    name = ascii_domain(text)
    labels = name.split(".")
    if len(labels) < 2 or labels[-1].isdigit():  # noqa: PLR2004
        raise InvalidArgument(
            f"The domain {shown(text)} has to look like example.com: what stands after the @ in"
            " your people's e-mail addresses, no address of a machine and no web address."
        )
    if len(name) > NAME_LENGTH:
        raise InvalidArgument(
            f"The domain {shown(text)} has {len(name)} characters; at most {NAME_LENGTH} can be"
            " proven by DNS."
        )
    if len(labels) == 2 and labels[0] in _SHARED and len(labels[1]) == _COUNTRY_LENGTH:  # noqa: PLR2004
        raise InvalidArgument(
            f"{name} is what many organizations' names end in. Give your own domain, such as"
            f" example.{name}."
        )
    if is_public_mail(name):
        raise InvalidArgument(
            f"{name} gives mail addresses to everybody, so it can't belong to one organization."
            " Give a domain of your own."
        )
    return name


def is_public_mail(name: str) -> bool:
    """Whether anybody can get an address in the domain, or in one that it is below."""
    labels = name.split(".")
    return any(".".join(labels[place:]) in _providers() for place in range(len(labels)))


@cache
def _providers() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("mail_providers.txt").read_text().split())
