"""The page of a set-up link: for the identity provider's administrator, who has no account here."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from orgs.authentication import client_ip, request_id
from orgs.errors import NotFound, Refused
from sso.forms import ByHandForm, MetadataForm
from sso.services.setup_links import open_setup_link, use_setup_link
from sso.views.console import FORM_METHODS
from sso.views.limits import limited

# The address is a secret: no other page hears of it, and no search engine.
PRIVATE = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}


# Browsers name no origin where they name no referrer; and who does not know the link can't forge
# its form.
@csrf_exempt
@never_cache
@require_http_methods(FORM_METHODS)
@limited
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """What to copy into the identity provider, and its data in return. The link works once."""
    try:
        link = open_setup_link(token)
    except NotFound as error:
        return _over(request, error)
    connection = link.connection
    how = request.POST.get("how", "")
    sent = request.POST if request.method == "POST" else None
    ways: dict[str, MetadataForm | ByHandForm] = {
        "metadata": MetadataForm(prefix="metadata", has_entity_id=False),
        "hand": ByHandForm(sent if how == "hand" else None, prefix="hand", has_logout=False),
    }
    if how == "metadata":
        ways[how] = MetadataForm(sent, request.FILES, prefix="metadata", has_entity_id=False)
    form = ways.get(how)
    if form is not None and form.is_valid():
        try:
            _use(request, token, form)
        except NotFound as error:
            return _over(request, error)
        except Refused as error:
            form.add_error(None, error.message)
        else:
            return _private(render(request, "sso/setup_done.html", {"connection": connection}))
    context = {
        "connection": connection,
        "organization": connection.organization,
        "link": link,
        "how": how,
        **ways,
    }
    status = 422 if form is not None and form.errors else 200
    return _private(render(request, "sso/setup.html", context, status=status))


def _use(request: HttpRequest, token: str, form: forms.Form) -> None:
    ip, name = client_ip(request), request_id(request)
    if isinstance(form, MetadataForm):
        use_setup_link(token, xml=form.xml(), ip=ip, request_id=name)
        return
    given = form.cleaned_data
    use_setup_link(
        token,
        entity_id=given["idp_entity_id"],
        sso_url=given["sso_url"],
        certificate=given["certificate"],
        ip=ip,
        request_id=name,
    )


def _over(request: HttpRequest, error: NotFound) -> HttpResponse:
    context = {"said": error.message}
    return _private(render(request, "sso/setup_over.html", context, status=404))


def _private(response: HttpResponse) -> HttpResponse:
    for name, value in PRIVATE.items():
        response[name] = value
    return response
