"""Connections to identity providers, the sign-ins through them, and what directories keep here."""

from sso.models.break_glass import BreakGlassAccess, BreakGlassOwner
from sso.models.connections import Connection, Domain, Identity, IdpCertificate, SetupLink, SpKey
from sso.models.directories import ScimGroup, ScimToken, ScimUser
from sso.models.sign_ins import Attempt, Purpose, SignInRequest, SsoSession, UsedAssertion

__all__ = [
    "Attempt",
    "BreakGlassAccess",
    "BreakGlassOwner",
    "Connection",
    "Domain",
    "Identity",
    "IdpCertificate",
    "Purpose",
    "ScimGroup",
    "ScimToken",
    "ScimUser",
    "SetupLink",
    "SignInRequest",
    "SpKey",
    "SsoSession",
    "UsedAssertion",
]
