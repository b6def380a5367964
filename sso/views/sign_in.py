"""Signing in through an identity provider: there, back, and in.

The answer comes in two steps. The identity provider has the browser post it from a page of its own,
so that request carries no cookies of ours: it is checked and kept, nothing else (`acs`). Then the
browser fetches the result with its cookies (`finish`), and only the one that began may.
"""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from orgs.models import User
from sso.errors import Code, SignInRefused
from sso.identities import VerifiedAssertion
from sso.models import Connection, Purpose, SignInRequest
from sso.oidc.flow import authorization_url
from sso.saml.metadata import sp_metadata
from sso.saml.requests import authn_redirect
from sso.saml.verify import in_response_to, verify
from sso.services import requests
from sso.services.attempts import record_refusal
from sso.services.sign_in import check_usable, enter, find_own_identity, sign_in
from sso.views.browsers import bind_browser, forget_browser, next_path, secret_of
from sso.views.limits import limited
from sso.views.refusals import refuse, visitor_of
from sso.views.sessions import add_grant, open_session
from sso.views.trial import trial_result

METADATA_TYPE = "application/samlmetadata+xml"


class SeeOther(HttpResponseRedirect):
    """After a POST: fetch that by GET, in every browser."""

    status_code = 303


def find_connection(connection_id: UUID, protocol: Connection.Protocol | None = None) -> Connection:
    """The connection with its organization.

    Raises:
        Http404: there is none of that id that speaks the protocol.
    """
    found = Connection.objects.select_related("organization").filter(pk=connection_id).first()
    if found is None or protocol not in {None, found.protocol}:
        raise Http404
    return found


@require_GET
@never_cache
@limited
def login(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Begin: to the identity provider."""
    connection = find_connection(connection_id)
    return begin_at(request, connection, Purpose.SIGN_IN, email=request.GET.get("hint", ""))


def is_address(text: str) -> bool:
    """Whether it is one e-mail address in ASCII."""
    try:
        validate_email(text)
    except ValidationError:
        return False
    return text.isascii()


def begin_at(
    request: HttpRequest,
    connection: Connection,
    purpose: Purpose,
    *,
    user: User | None = None,
    email: str = "",
    is_forced: bool = False,
) -> HttpResponse:
    """Note that the browser leaves, and send it on its way."""
    try:
        check_usable(connection, purpose)
    except SignInRefused as refused:
        return refuse(request, connection, purpose, refused, user=user)
    begun = requests.begin(
        connection, purpose, user=user, next_path=next_path(request), is_forced=is_forced
    )
    return send_away(request, begun, email=email)


def send_away(request: HttpRequest, begun: requests.Begun, *, email: str = "") -> HttpResponse:
    """To the identity provider, by GET, with the browser bound to the request. `email`: whom its
    form may expect; whatever somebody wrote there.
    """
    connection = begun.row.connection
    email = email if is_address(email) else ""
    try:
        if connection.protocol == Connection.Protocol.OIDC:
            url = authorization_url(
                connection,
                state=begun.request_id,
                browser_secret=begun.browser_secret,
                email=email,
                force=begun.row.is_forced,
            )
        else:
            url = authn_redirect(
                connection,
                begun.request_id,
                relay_state=begun.row.pk.hex,
                force=begun.row.is_forced,
                email=email,
            )
    except SignInRefused as refused:
        return refuse(request, connection, begun.row.purpose, refused, user=begun.row.user)
    return bind_browser(request, HttpResponseRedirect(url), begun)


@csrf_exempt
@require_POST
@never_cache
@limited
def acs(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """The identity provider's answer (assertion consumer service). No session is touched here."""
    connection = find_connection(connection_id, Connection.Protocol.SAML)
    raw = request.POST.get("SAMLResponse", "")
    row: SignInRequest | None = None
    assertion: VerifiedAssertion | None = None
    try:
        request_id = in_response_to(raw)
        if request_id or not connection.allows_idp_initiated:
            row = requests.find_request(connection, request_id)
        check_usable(connection, row.purpose if row else Purpose.SIGN_IN)
        assertion = verify(raw, connection, row.request_id if row else None)
        if row is None:
            handle = requests.accept_unsolicited(connection, assertion)
        else:
            handle = requests.accept_assertion(row, assertion)
    except SignInRefused as refused:
        return refuse_answer(request, connection, row, refused, assertion=assertion)
    return to_result(connection, handle)


def to_result(connection: Connection, handle: str) -> HttpResponse:
    """Where the browser fetches what its answer led to."""
    query = urlencode({"handle": handle})
    return SeeOther(f"{reverse('sso:finish', args=[connection.pk])}?{query}")


def refuse_answer(
    request: HttpRequest,
    connection: Connection,
    row: SignInRequest | None,
    refused: SignInRefused,
    *,
    assertion: VerifiedAssertion | None = None,
) -> HttpResponse:
    """Say that an answer is not believed. The whole reason of a test waits for the owner who tests;
    everybody else gets the public code.
    """
    if row is None or row.purpose != Purpose.TEST:
        purpose = row.purpose if row else Purpose.SIGN_IN
        return refuse(request, connection, purpose, refused, assertion=assertion)
    attempt = record_refusal(connection, row.purpose, refused, visitor=visitor_of(request))
    try:
        return to_result(connection, requests.answer_refused(row, attempt))
    except SignInRefused as late:
        return refuse(request, connection, row.purpose, late)


@require_http_methods(["GET", "POST"])
@never_cache
@limited
def finish(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """The same browser comes back for the result: it is signed in, let in, or told why not."""
    connection = find_connection(connection_id)
    sent = request.POST if request.method == "POST" else request.GET
    purpose: str = Purpose.SIGN_IN
    try:
        row = requests.find_answered(connection.pk, sent.get("handle", ""))
        purpose = row.purpose
        requests.check_browser(row, secret_of(request, row))
    except SignInRefused as refused:
        return refuse(request, connection, purpose, refused)
    user = request.user if isinstance(request.user, User) else None
    if row.purpose == Purpose.TEST:
        shown = trial_result(request, row)
        # Who was signed out meanwhile signs in, and comes back for it.
        return forget_browser(shown, row) if user else shown
    assertion = requests.proven_by(row)
    try:
        question = _question(row, assertion, user)
        if question and request.method == "GET":
            return _ask(request, row, assertion, question)
        requests.claim(row)
        response = _let_in(request, row, assertion, user)
    except SignInRefused as refused:
        response = refuse(
            request, connection, row.purpose, refused, assertion=assertion, user=row.user
        )
    return forget_browser(response, row)


def _question(row: SignInRequest, assertion: VerifiedAssertion, user: User | None) -> str:
    """What the person has to be asked first: `continue` where the identity provider began, since
    anybody can bring a browser here; `link` where an account is to be linked; empty: nothing.

    Raises:
        SignInRefused: the person who was to enter is not the one who came back.
    """
    if row.purpose != Purpose.ENTER:
        return "" if row.browser_hash else "continue"
    return "" if find_own_identity(row.connection, assertion, _entering(row, user)) else "link"


def _entering(row: SignInRequest, user: User | None) -> User:
    if user is None or user.pk != row.user_id:
        raise SignInRefused(
            Code.OTHER_PERSON, "Somebody else is signed in than when the person left, or nobody."
        )
    return user


def _ask(
    request: HttpRequest, row: SignInRequest, assertion: VerifiedAssertion, question: str
) -> HttpResponse:
    context = {
        "question": question,
        "organization": row.connection.organization,
        "assertion": assertion,
        "handle": request.GET["handle"],
    }
    return render(request, "sso/sign_in/confirm.html", context)


def _let_in(
    request: HttpRequest, row: SignInRequest, assertion: VerifiedAssertion, user: User | None
) -> HttpResponse:
    visitor = visitor_of(request)
    if row.purpose == Purpose.ENTER:
        may_link = request.method == "POST"
        let_in = enter(row, assertion, _entering(row, user), may_link=may_link, visitor=visitor)
        add_grant(request, let_in, assertion, is_fresh=row.is_forced)
        return redirect(row.next_path or "/")
    let_in = sign_in(row, assertion, visitor=visitor)
    return open_session(request, let_in, assertion, next_path=row.next_path)


@require_safe
def metadata(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """What the identity provider has to know of us. No secret: its administrator fetches it."""
    connection = find_connection(connection_id, Connection.Protocol.SAML)
    response = HttpResponse(sp_metadata(connection), content_type=METADATA_TYPE)
    response["Content-Disposition"] = f'attachment; filename="tamarack-{connection.pk}.xml"'
    return response
