"""Why a sign-in through an identity provider was refused.

A refusal has two faces: a public code with a sentence that tells the person what to do and nothing
about the organization, and the whole reason for the sign-in log, which its owners read.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Public codes, as the refusal page shows them. docs/sso.md explains each."""

    INVALID_RESPONSE = "sso_invalid_response"
    SIGNATURE = "sso_signature"
    CERTIFICATE = "sso_certificate"
    ISSUER = "sso_issuer"
    AUDIENCE = "sso_audience"
    DESTINATION = "sso_destination"
    CLOCK_SKEW = "sso_clock_skew"
    EXPIRED = "sso_expired"
    REPLAY = "sso_replay"
    UNSOLICITED = "sso_unsolicited"
    REQUEST_OVER = "sso_request_over"
    OTHER_BROWSER = "sso_other_browser"
    IDP_REFUSED = "sso_idp_refused"
    IDP_UNREACHABLE = "sso_idp_unreachable"
    NO_EMAIL = "sso_no_email"
    NO_STABLE_ID = "sso_no_stable_id"
    DOMAIN_NOT_OWNED = "sso_domain_not_owned"
    IDENTITY_CONFLICT = "sso_identity_conflict"
    NOT_PROVISIONED = "sso_not_provisioned"
    SUSPENDED = "sso_suspended"
    NO_ROLES = "sso_no_roles"
    NO_SEAT = "sso_no_seat"
    NOT_ACTIVE = "sso_not_active"
    NOT_ENTITLED = "sso_not_entitled"
    OTHER_PERSON = "sso_other_person"


PUBLIC_TEXTS: dict[Code, str] = {
    Code.INVALID_RESPONSE: "The identity provider's answer could not be understood.",
    Code.SIGNATURE: "The identity provider's answer is not signed as it has to be.",
    Code.CERTIFICATE: "The identity provider's signing certificate is not valid any more.",
    Code.ISSUER: "The answer comes from another identity provider than the one that was asked.",
    Code.AUDIENCE: "The answer was made for another service.",
    Code.DESTINATION: "The answer was sent to another address than the one it was made for.",
    Code.CLOCK_SKEW: "The clocks of the identity provider and of this service differ too much.",
    Code.EXPIRED: "The answer is too old. Start over.",
    Code.REPLAY: "This answer was used before. Start over.",
    Code.UNSOLICITED: "Nobody asked for this answer. Start at the sign-in page.",
    Code.REQUEST_OVER: "This sign-in took too long, or was finished before. Start over.",
    Code.OTHER_BROWSER: "This sign-in was begun in another browser. Start over in this one.",
    Code.IDP_REFUSED: "The identity provider did not let you in.",
    Code.IDP_UNREACHABLE: "The identity provider does not answer. Try again in a minute.",
    Code.NO_EMAIL: "The identity provider did not tell your e-mail address.",
    Code.NO_STABLE_ID: "The identity provider did not tell who you are in a lasting way.",
    Code.DOMAIN_NOT_OWNED: "Your e-mail address is not in a domain of this organization.",
    Code.IDENTITY_CONFLICT: "Your e-mail address belongs to another identity here.",
    Code.NOT_PROVISIONED: "You have no account in this organization yet.",
    Code.SUSPENDED: "Your place in this organization is suspended.",
    Code.NO_ROLES: "The identity provider gives you no role in this organization.",
    Code.NO_SEAT: "The organization has no seat left.",
    Code.NOT_ACTIVE: "Single sign-on is not switched on for this organization.",
    Code.NOT_ENTITLED: "The organization's plan does not include single sign-on.",
    Code.OTHER_PERSON: "You came back as somebody else than the person who is signed in.",
}
"""One sentence for the person; the page adds whom to ask, with the reference."""


class SignInRefused(Exception):
    """A sign-in that does not come about.

    Attributes:
        code: what everybody may see.
        reason: the whole reason, for the organization's owners; it may quote what the identity
            provider sent, shortened, but no assertion and no key.
        check: the rule of the gate that was broken, such as `reference-uri`; empty: none of it.
    """

    def __init__(self, code: Code, reason: str, *, check: str = "") -> None:
        super().__init__(f"{code.value}: {reason}")
        self.code = code
        self.reason = reason
        self.check = check
