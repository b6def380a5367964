"""Responses of the provider itself for another time, place, request or person."""

from __future__ import annotations

from datetime import timedelta

from lxml import etree

from sso.errors import Code
from tests.sso import idp
from tests.sso.idp import MISSING, SAML
from tests.sso.saml.attack_tools import (
    OTHER_ISSUER,
    OTHER_SP,
    VICTIM,
    Case,
    Scene,
    change,
    knobs,
    remove,
    repeated,
)

CASES = (
    # ---- Issuer and tenant ----
    Case("wrong-assertion-issuer", knobs(issuer="https://evil/"), Code.ISSUER, "issuer"),
    Case("wrong-response-issuer", knobs(response_issuer="https://evil/"), Code.ISSUER, "issuer"),
    Case(
        "other-tenant",
        knobs(email=VICTIM, issuer=OTHER_ISSUER, signer=idp.pair("idp-y")),
        Code.ISSUER,
        "issuer",
    ),
    Case(
        "other-tenant-under-our-name",
        knobs(email=VICTIM, signer=idp.pair("idp-y")),
        Code.SIGNATURE,
        "signature",
    ),
    # ---- Time ----
    Case(
        "expired",
        knobs(
            not_before=timedelta(seconds=-900),
            lifetime=timedelta(seconds=-600),
        ),
        Code.EXPIRED,
        "expired",
    ),
    Case("scd-expired-only", knobs(scd_lifetime=timedelta(seconds=-600)), Code.EXPIRED, "expired"),
    Case(
        "not-yet-valid",
        knobs(
            not_before=timedelta(seconds=900),
            lifetime=timedelta(seconds=1800),
        ),
        Code.CLOCK_SKEW,
        "not-yet-valid",
    ),
    Case("clock-ahead-10m", knobs(clock=timedelta(minutes=10)), Code.CLOCK_SKEW, "not-yet-valid"),
    Case("clock-behind-10m", knobs(clock=timedelta(minutes=-10)), Code.EXPIRED, "expired"),
    Case(
        "clock-behind-2s-without-tolerance",
        knobs(clock=timedelta(seconds=-302)),
        Code.EXPIRED,
        "expired",
        fields={"clock_skew_seconds": 0},
    ),
    Case(
        "session-over",
        knobs(session_lifetime=timedelta(seconds=-10)),
        Code.EXPIRED,
        "session-over",
    ),
    Case(
        "no-conditions",
        change("//saml:Conditions", remove, sign_after=True),
        Code.AUDIENCE,
        "audience",
    ),
    Case(
        "no-conditions-not-on-or-after",
        change("//saml:Conditions", lambda e: e.attrib.pop("NotOnOrAfter"), sign_after=True),
        Code.INVALID_RESPONSE,
        "conditions-nooa",
    ),
    Case(
        "no-scd-not-on-or-after",
        change(
            "//saml:SubjectConfirmationData",
            lambda e: e.attrib.pop("NotOnOrAfter"),
            sign_after=True,
        ),
        Code.INVALID_RESPONSE,
        "scd-time",
    ),
    Case(
        "scd-not-before",
        change(
            "//saml:SubjectConfirmationData",
            lambda e: e.set("NotBefore", "2020-01-01T00:00:00Z"),
            sign_after=True,
        ),
        Code.INVALID_RESPONSE,
        "scd-time",
    ),
    Case(
        "instant-of-another-age",
        change(
            "//saml:Conditions",
            lambda e: e.set("NotOnOrAfter", "99999-01-01T00:00:00Z"),
            sign_after=True,
        ),
        Code.INVALID_RESPONSE,
        "instant",
    ),
    Case(
        "instant-at-the-end-of-time",
        change(
            "//saml:Conditions",
            lambda e: e.set("NotOnOrAfter", "9999-12-31T23:59:59Z"),
            sign_after=True,
        ),
        Code.INVALID_RESPONSE,
        "instant",
    ),
    Case(
        "instant-that-is-none",
        change("//saml:Conditions", lambda e: e.set("NotOnOrAfter", "soon"), sign_after=True),
        Code.INVALID_RESPONSE,
        "schema",
    ),
    # ---- Audience, Destination, Recipient ----
    Case("wrong-audience", knobs(audience="https://other.example/sp"), Code.AUDIENCE, "audience"),
    Case("no-audience", knobs(audience=MISSING), Code.AUDIENCE, "audience"),
    Case(
        "two-audience-restrictions",
        change(
            "//saml:AudienceRestriction",
            lambda e: etree.SubElement(
                etree.SubElement(e.getparent(), f"{{{SAML}}}AudienceRestriction"),  # type: ignore[arg-type]
                f"{{{SAML}}}Audience",
            ).__setattr__("text", "https://other.example/sp"),
            sign_after=True,
        ),
        Code.AUDIENCE,
        "audience",
    ),
    Case("no-destination", knobs(destination=MISSING), Code.DESTINATION, "destination"),
    Case("wrong-destination", knobs(destination=OTHER_SP), Code.DESTINATION, "destination"),
    Case(
        "longer-destination",
        lambda s: s.signed(destination=f"{s.connection.acs_url}/x"),
        Code.DESTINATION,
        "destination",
    ),
    Case("no-recipient", knobs(recipient=MISSING), Code.DESTINATION, "recipient"),
    Case("wrong-recipient", knobs(recipient=OTHER_SP), Code.DESTINATION, "recipient"),
    Case(
        "longer-recipient",
        lambda s: s.signed(recipient=f"https://evil.example/?{s.connection.acs_url}"),
        Code.DESTINATION,
        "recipient",
    ),
    Case(
        "other-connection",
        lambda s: s.signed(destination=s.connection.acs_url.replace("a", "b")),
        Code.DESTINATION,
        "destination",
    ),
    # ---- Binding to the request ----
    Case(
        "irt-response-wrong",
        knobs(response_in_response_to="_other"),
        Code.UNSOLICITED,
        "in-response-to",
    ),
    Case(
        "irt-both-wrong",
        lambda s: idp.make_response(s.connection, "_other"),
        Code.UNSOLICITED,
        "in-response-to",
    ),
    Case(
        "irt-response-stripped",
        change(
            "/samlp:Response[@InResponseTo]",
            lambda e: e.attrib.pop("InResponseTo"),
        ),
        Code.UNSOLICITED,
        "in-response-to",
    ),
    Case(
        "irt-scd-missing", knobs(scd_in_response_to=MISSING), Code.UNSOLICITED, "scd-in-response-to"
    ),
    Case("irt-scd-wrong", knobs(scd_in_response_to="_o"), Code.UNSOLICITED, "scd-in-response-to"),
    Case(
        "irt-response-rewritten",
        lambda s: change("/samlp:Response", lambda e: e.set("InResponseTo", s.request_id))(
            Scene(s.connection, "_stolen")
        ),
        Code.UNSOLICITED,
        "scd-in-response-to",
    ),
    Case(
        "unsolicited",
        lambda s: idp.make_response(s.connection, None),
        Code.UNSOLICITED,
        "in-response-to",
    ),
    # ---- Subject ----
    Case(
        "two-confirmations",
        repeated("//saml:SubjectConfirmation"),
        Code.INVALID_RESPONSE,
        "scd-count",
    ),
    Case(
        "no-confirmation",
        change("//saml:SubjectConfirmation", remove, sign_after=True),
        Code.INVALID_RESPONSE,
        "scd-count",
    ),
    Case(
        "holder-of-key",
        change(
            "//saml:SubjectConfirmation",
            lambda e: e.set("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"),
            sign_after=True,
        ),
        Code.INVALID_RESPONSE,
        "scd-count",
    ),
    Case(
        "two-authn-statements",
        repeated("//saml:AuthnStatement"),
        Code.INVALID_RESPONSE,
        "authn-statement",
    ),
    Case(
        "no-authn-statement",
        change("//saml:AuthnStatement", remove, sign_after=True),
        Code.INVALID_RESPONSE,
        "authn-statement",
    ),
)
