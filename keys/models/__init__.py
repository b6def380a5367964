"""What programs show to be let in: API keys, service accounts, tokens. No secret is stored."""

from __future__ import annotations

from keys.models.api_keys import ApiKey, Pepper
from keys.models.service_accounts import (
    AccessToken,
    FederationRule,
    OidcIssuer,
    ServiceAccount,
    ServiceAccountSecret,
)

__all__ = [
    "AccessToken",
    "ApiKey",
    "FederationRule",
    "OidcIssuer",
    "Pepper",
    "ServiceAccount",
    "ServiceAccountSecret",
]
