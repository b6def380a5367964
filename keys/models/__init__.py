"""What programs show to be let in: API keys, service accounts, tokens. No secret is stored."""

from __future__ import annotations

from keys.models.api_keys import (
    Access,
    ApiKey,
    ApiKeySecret,
    KeyPolicy,
    LeakPolicy,
    LeakReport,
    Pepper,
)
from keys.models.service_accounts import (
    AccessToken,
    FederationRule,
    OidcIssuer,
    ServiceAccount,
    ServiceAccountSecret,
)
from keys.models.usage import KeyUsage, UsagePosition

__all__ = [
    "Access",
    "AccessToken",
    "ApiKey",
    "ApiKeySecret",
    "FederationRule",
    "KeyPolicy",
    "KeyUsage",
    "LeakPolicy",
    "LeakReport",
    "OidcIssuer",
    "Pepper",
    "ServiceAccount",
    "ServiceAccountSecret",
    "UsagePosition",
]
