"""allauth's steps of a sign-in, where they have to know of sign-ins through organizations."""

from __future__ import annotations

import time

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.stages import AuthenticateStage
from django.conf import settings
from django.http import HttpRequest  # noqa: TID251  allauth's interface

from orgs.authentication import grants_of
from orgs.models import Membership


class SecondFactorStage(AuthenticateStage):  # type: ignore[misc]  # allauth ships no types
    """Asks for the second factor, unless it was shown already."""

    def _should_handle(self, request: HttpRequest) -> bool:
        return (
            super()._should_handle(request)
            and not self._was_just_shown(request)
            and not self._was_shown_at_identity_provider(request)
        )

    def _was_just_shown(self, request: HttpRequest) -> bool:
        """Whether it came together with the password, as on the page for emergencies."""
        since = time.time() - settings.TAMARACK_REAUTH_SECONDS
        return any(
            proof.get("method") == "mfa" and float(proof["at"]) >= since
            for proof in get_authentication_records(request, self.login.user)
        )

    def _was_shown_at_identity_provider(self, request: HttpRequest) -> bool:
        """Whether the person's only organization trusts its identity provider with that.

        To any other organization of the person the identity provider is a stranger.
        """
        user = self.login.user
        trusting = [grant.organization_id for grant in grants_of(request, user) if grant.has_mfa]
        if not trusting:
            return False
        others = Membership.objects.filter(user=user).exclude(organization_id__in=trusting[:1])
        return not others.exists()
