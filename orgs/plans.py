"""Plans and what each includes: the one table.

A self-hosted installation gives new organizations `Enterprise` unless its operator says otherwise.
"""

from __future__ import annotations

from enum import StrEnum


class Plan(StrEnum):
    """Plans as Pinecone's Admin API spells them, in rising order."""

    FREE = "Free"
    STANDARD = "Standard"
    ENTERPRISE = "Enterprise"
    DEDICATED = "Dedicated"


class Entitlement(StrEnum):
    """What a plan can include: switches and limits."""

    SSO = "sso"
    SAML_ROLES = "saml_roles"
    SCIM = "scim"
    KEY_ROLES = "key_roles"
    SERVICE_ACCOUNTS = "service_accounts"
    CUSTOM_ROLES = "custom_roles"
    CUSTOMER_MANAGED_KEYS = "customer_managed_keys"
    BACKUPS = "backups"
    AUDIT_EXPORT = "audit_export"
    MAX_PROJECTS = "max_projects"
    MAX_MEMBERS = "max_members"
    MAX_SERVICE_ACCOUNTS = "max_service_accounts"
    MAX_INDEXES_PER_PROJECT = "max_indexes_per_project"
    MAX_KEYS_PER_PROJECT = "max_keys_per_project"


LIMITS = frozenset(each for each in Entitlement if each.value.startswith("max_"))
"""The entitlements that are numbers; all others are switches."""
TITLES: dict[Entitlement, str] = {
    Entitlement.SSO: "single sign-on",
    Entitlement.SAML_ROLES: "roles from the identity provider",
    Entitlement.SCIM: "provisioning of people by SCIM",
    Entitlement.KEY_ROLES: "API keys with other roles than all rights",
    Entitlement.SERVICE_ACCOUNTS: "service accounts",
    Entitlement.CUSTOM_ROLES: "roles of the organization's own",
    Entitlement.CUSTOMER_MANAGED_KEYS: "encryption keys of the customer's own",
    Entitlement.BACKUPS: "backups",
    Entitlement.AUDIT_EXPORT: "export and streaming of the audit trail",
    Entitlement.MAX_PROJECTS: "projects",
    Entitlement.MAX_MEMBERS: "members, open invitations included",
    Entitlement.MAX_SERVICE_ACCOUNTS: "service accounts",
    Entitlement.MAX_INDEXES_PER_PROJECT: "indexes in a project",
    Entitlement.MAX_KEYS_PER_PROJECT: "API keys in a project",
}
"""Each in words, for messages."""

Value = bool | int | None
"""A switch, or a limit (None: unlimited)."""

_E = Entitlement
_ALL_SWITCHES: dict[Entitlement, Value] = {
    entitlement: True for entitlement in Entitlement if entitlement not in LIMITS
}
PLANS: dict[Plan, dict[Entitlement, Value]] = {
    Plan.FREE: {
        **dict.fromkeys(_ALL_SWITCHES, False),
        _E.MAX_PROJECTS: 1,
        _E.MAX_MEMBERS: 2,
        _E.MAX_SERVICE_ACCOUNTS: 0,
        _E.MAX_INDEXES_PER_PROJECT: 5,
        _E.MAX_KEYS_PER_PROJECT: 10,
    },
    Plan.STANDARD: {
        **dict.fromkeys(_ALL_SWITCHES, False),
        _E.SSO: True,
        _E.KEY_ROLES: True,
        _E.BACKUPS: True,
        _E.MAX_PROJECTS: 20,
        _E.MAX_MEMBERS: None,
        _E.MAX_SERVICE_ACCOUNTS: 0,
        _E.MAX_INDEXES_PER_PROJECT: 20,
        _E.MAX_KEYS_PER_PROJECT: 100,
    },
    Plan.ENTERPRISE: {
        **_ALL_SWITCHES,
        _E.MAX_PROJECTS: 100,
        _E.MAX_MEMBERS: None,
        _E.MAX_SERVICE_ACCOUNTS: 1000,
        _E.MAX_INDEXES_PER_PROJECT: 200,
        _E.MAX_KEYS_PER_PROJECT: 1000,
    },
    Plan.DEDICATED: {
        **_ALL_SWITCHES,
        _E.MAX_PROJECTS: None,
        _E.MAX_MEMBERS: None,
        _E.MAX_SERVICE_ACCOUNTS: None,
        _E.MAX_INDEXES_PER_PROJECT: 200,
        _E.MAX_KEYS_PER_PROJECT: 1000,
    },
}
"""Every plan names every entitlement. Limits follow Pinecone's published object limits."""
