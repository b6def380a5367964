"""What happens whenever an account or a sign-in comes to be, whoever made it."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import user_logged_in
from allauth.mfa.signals import authentication_failed
from allauth.usersessions import signals as usersessions
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models.signals import post_save
from django.http import HttpRequest  # noqa: TID251  what allauth's signals carry
from django.utils import timezone

from orgs.authentication import client_ip, request_id
from orgs.models import User
from orgs.services.accounts import vouch_for_email
from orgs.services.people import record_failed_sign_in


def connect() -> None:
    """Listen. Called once, when all rooms are loaded."""
    post_save.connect(address_of_new_person, sender=User, dispatch_uid="orgs-address")
    authentication_failed.connect(wrong_code, dispatch_uid="orgs-wrong-code")
    # allauth's own looks at each of the person's sessions, with queries for every one.
    user_logged_in.disconnect(receiver=usersessions.on_user_logged_in)
    user_logged_in.connect(list_session, dispatch_uid="orgs-list-session")


def address_of_new_person(*, instance: User, created: bool, raw: bool, **_: Any) -> None:
    """Accounts come from an operator, an invitation or a directory, which vouch for the address."""
    if created and not raw:
        vouch_for_email(instance)


def wrong_code(*, request: HttpRequest, user: User, **_: Any) -> None:
    """A second factor that was not right."""
    record_failed_sign_in(
        email=user.email,
        reason="wrong second factor",
        ip=client_ip(request),
        request_id=request_id(request),
    )


def list_session(*, request: HttpRequest, user: User, **_: Any) -> None:
    """Put the new session on the person's list, and take ended ones from it."""
    open_keys = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    UserSession.objects.filter(user=user).exclude(session_key__in=open_keys).delete()
    UserSession.objects.create_from_request(request)
