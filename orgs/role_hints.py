"""Hints about a role that somebody puts together: what it can't do after all, and what it can."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from orgs.permissions import Permission

P = Permission
_NEEDED: dict[Permission, Permission] = {
    P.ORGANIZATION_UPDATE: P.ORGANIZATION_READ,
    P.BILLING_UPDATE: P.BILLING_READ,
    P.MEMBER_INVITE: P.MEMBER_READ,
    P.MEMBER_UPDATE: P.MEMBER_READ,
    P.ROLE_MANAGE: P.MEMBER_READ,
    P.GROUP_MANAGE: P.MEMBER_READ,
    P.SERVICE_ACCOUNT_MANAGE: P.SERVICE_ACCOUNT_READ,
    P.AUDIT_MANAGE: P.AUDIT_READ,
    P.PROJECT_UPDATE: P.PROJECT_READ,
    P.PROJECT_DELETE: P.PROJECT_READ,
    P.PROJECT_MEMBER_UPDATE: P.PROJECT_READ,
    P.API_KEY_CREATE: P.API_KEY_READ,
    P.API_KEY_UPDATE: P.API_KEY_READ,
    P.API_KEY_REVOKE: P.API_KEY_READ,
    P.INDEX_CONFIGURE: P.INDEX_READ,
    P.INDEX_DELETE: P.INDEX_READ,
}
"""A permission to what its holder needs to find the objects that it is about."""
_GIVES_RIGHTS: dict[Permission, str] = {
    P.MEMBER_UPDATE: "gives and takes roles on the organization, up to what its holder may do",
    P.MEMBER_INVITE: "brings in people with roles, up to what its holder may do",
    P.ROLE_MANAGE: "changes what all holders of a role may do, up to what its holder may do",
    P.GROUP_MANAGE: "gives a group's roles to people, up to what its holder may do",
    P.SERVICE_ACCOUNT_MANAGE: "makes service accounts and gets their secrets",
    P.PROJECT_MEMBER_UPDATE: "gives and takes roles on projects, up to what its holder may do",
    P.API_KEY_CREATE: "makes API keys, which stay when their maker's roles end",
    P.API_KEY_UPDATE: "changes the roles of API keys, up to what its holder may do",
    P.SECURITY_MANAGE: "changes what keeps strangers out",
    P.SSO_MANAGE: "decides who signs in as whom",
}


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to think about; no reason to refuse the role.

    Attributes:
        code: `incomplete`: a permission is of little use without another; `escalation`: a
            permission that gives rights to others.
    """

    code: str
    permission: str
    message: str


def hints_for(permissions: Collection[str]) -> list[Hint]:
    """What to think about before giving a role with these permissions."""
    found = [
        Hint("incomplete", each.value, f"{each.value} is of little use without {needed.value}.")
        for each, needed in _NEEDED.items()
        if each.value in permissions and needed.value not in permissions
    ]
    found += [
        Hint("escalation", each.value, f"{each.value} {what}.")
        for each, what in _GIVES_RIGHTS.items()
        if each.value in permissions
    ]
    return found
