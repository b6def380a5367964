"""Whether a response was made by this identity provider, for us, for this request, for now."""

from __future__ import annotations

from datetime import datetime

from lxml import etree

from sso.errors import Code
from sso.models import Connection
from sso.saml import names
from sso.saml.gate import broken, elements, shortened
from sso.saml.instants import Clock, instant


def only_assertion(root: etree._Element) -> etree._Element:
    """The assertion, of which there is exactly one, directly in the response."""
    found = elements(root, "/samlp:Response/saml:Assertion")
    if len(found) != 1 or len(elements(root, "//saml:Assertion")) != 1:
        raise broken("one-assertion", "The response has not exactly one assertion.")
    return found[0]


def check_issuers(connection: Connection, root: etree._Element, assertion: etree._Element) -> None:
    """The assertion's issuer is the identity provider; the response's too, if it says."""
    told = [_text(each) for each in assertion.findall(names.ISSUER)]
    outer = [_text(each) for each in root.findall(names.ISSUER)]
    wanted = connection.idp_entity_id
    if not wanted or told != [wanted] or outer not in ([], [wanted]):
        raise broken(
            "issuer",
            f"The issuer is {shortened(', '.join(outer + told)) or 'not told'}; it has to be"
            f" {wanted or 'set in the connection'}.",
            Code.ISSUER,
        )


def check_addressee(
    connection: Connection, root: etree._Element, assertion: etree._Element
) -> None:
    """The response was sent here and the assertion made for us, character by character."""
    destination = root.get("Destination")
    if destination != connection.acs_url:
        raise broken(
            "destination",
            f"Destination is {shortened(destination)}; it has to be {connection.acs_url}.",
            Code.DESTINATION,
        )
    restrictions = elements(assertion, "saml:Conditions/saml:AudienceRestriction")
    told = [[_text(each) for each in elements(one, "saml:Audience")] for one in restrictions]
    # Several restrictions hold all at once (SAML core, 2.5.1.4).
    if not told or not all(connection.sp_entity_id in audiences for audiences in told):
        raise broken(
            "audience",
            f"The audience is {shortened(told) if told else 'not told'}; it has to be"
            f" {connection.sp_entity_id}.",
            Code.AUDIENCE,
        )


def check_request(
    connection: Connection,
    root: etree._Element,
    confirmation: etree._Element,
    request_id: str | None,
) -> None:
    """Response and confirmation both answer the request; or neither any, where that is allowed."""
    told = (root.get("InResponseTo"), confirmation.get("InResponseTo"))
    if request_id is None and not connection.allows_idp_initiated:
        raise broken(
            "unsolicited",
            "Nobody asked for the response, and the connection does not allow sign-ins that the"
            " identity provider begins.",
            Code.UNSOLICITED,
        )
    for check, found in zip(("in-response-to", "scd-in-response-to"), told, strict=True):
        if found != request_id or found == "":
            raise broken(
                check,
                f"InResponseTo is {shortened(found)}; it has to be"
                f" {request_id or 'left out, since nobody asked'} on the response and on its"
                " subject confirmation.",
                Code.UNSOLICITED,
            )


def only_confirmation(connection: Connection, assertion: etree._Element) -> etree._Element:
    """The SubjectConfirmationData, of which there is one, of a bearer, for our address."""
    every = elements(assertion, ".//saml:SubjectConfirmationData")
    path = f"saml:Subject/saml:SubjectConfirmation[@Method='{names.BEARER}']"
    found = elements(assertion, f"{path}/saml:SubjectConfirmationData")
    confirmations = elements(assertion, ".//saml:SubjectConfirmation")
    if len(every) != 1 or found != every or len(confirmations) != 1:
        raise broken("scd-count", "The assertion has not exactly one bearer confirmation.")
    recipient = found[0].get("Recipient")
    if recipient != connection.acs_url:
        raise broken(
            "recipient",
            f"Recipient is {shortened(recipient)}; it has to be {connection.acs_url}.",
            Code.DESTINATION,
        )
    return found[0]


def check_times(
    root: etree._Element, assertion: etree._Element, confirmation: etree._Element, clock: Clock
) -> datetime:
    """Everything is valid now; the moment from which on something is not, tolerance included."""
    conditions = elements(assertion, "saml:Conditions")
    if len(conditions) != 1 or "NotOnOrAfter" not in conditions[0].attrib:
        raise broken("conditions-nooa", "The assertion has no Conditions with NotOnOrAfter.")
    if "NotOnOrAfter" not in confirmation.attrib or "NotBefore" in confirmation.attrib:
        raise broken("scd-time", "The confirmation has to say NotOnOrAfter, and no NotBefore.")
    clock.require_begun(root.get("IssueInstant"), "IssueInstant of the response")
    clock.require_begun(assertion.get("IssueInstant"), "IssueInstant of the assertion")
    clock.require_begun(conditions[0].get("NotBefore"), "NotBefore of the conditions")
    return min(
        clock.require_not_over(conditions[0].get("NotOnOrAfter", ""), "NotOnOrAfter of Conditions"),
        clock.require_not_over(confirmation.get("NotOnOrAfter", ""), "NotOnOrAfter of the subject"),
    )


def check_session(
    assertion: etree._Element, clock: Clock
) -> tuple[str, datetime | None, datetime | None]:
    """SessionIndex, empty if there is none, SessionNotOnOrAfter, and AuthnInstant.

    No tolerance here: a session that is over is not begun.
    """
    statements = elements(assertion, "saml:AuthnStatement")
    if len(statements) != 1:
        raise broken("authn-statement", "The assertion has not exactly one AuthnStatement.")
    until = statements[0].get("SessionNotOnOrAfter")
    ends = None if until is None else instant(until, "SessionNotOnOrAfter")
    if ends is not None and ends <= clock.now:
        raise broken("session-over", f"The session was over at {ends:%H:%M:%S}.", Code.EXPIRED)
    index = statements[0].get("SessionIndex", "")
    if len(index) > _MAX_INDEX:
        raise broken("session-index", f"SessionIndex has more than {_MAX_INDEX} characters.")
    proven = statements[0].get("AuthnInstant")
    return index, ends, None if proven is None else instant(proven, "AuthnInstant")


_MAX_INDEX = 256


def _text(element: etree._Element) -> str:
    """The element's text; there are no comments any more that could cut it in two."""
    return "" if len(element) else (element.text or "").strip()
