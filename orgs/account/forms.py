"""allauth's forms, stricter.

A code works once. A browser's answer about a passkey is JSON that anybody can write: it may be of
any shape, and only its signed parts count. Links to a new password are for those whom a password
lets in.
"""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account_forms
from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.internal.userkit import filter_users_by_email
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as allauth_forms
from django import forms
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from fido2.webauthn import AuthenticationResponse, CollectedClientData, RegistrationResponse

from orgs.account.required import keeps_own_password
from orgs.models import User

NAME_LENGTH = 60
# Real answers have about 1 kB, with large attestations some more.
ANSWER_LENGTH = 32 * 1024
BROKEN = (ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError)
"""What fido2 raises where bytes are not what they should be, as tried with random answers."""


class AnswerField(forms.JSONField):
    """A browser's answer: JSON of a sane size and depth."""

    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        """The parsed answer.

        Raises:
            ValidationError: too long, too deep, or no JSON.
        """
        if len(value or "") > ANSWER_LENGTH:
            raise _refusal()
        try:
            return super().to_python(value)
        except RecursionError as error:
            raise _refusal() from error


def _check_origin(client_data: CollectedClientData) -> None:
    """Only pages of our own address may ask: fido2 takes those of sub-domains as well.

    Raises:
        ValidationError: another page asked.
    """
    if client_data.origin != settings.TAMARACK_PUBLIC_URL.removesuffix(":443"):
        raise _refusal()


def _refusal() -> ValidationError:
    error: ValidationError = get_adapter().validation_error("incorrect_code")
    return error


def use_up(user: User, code: str) -> bool:
    """Take a code out of use for as long as it would be right; False: it was used already.

    allauth does the same for half a minute only, and with a tolerance codes are right for longer.
    """
    steps = 2 * app_settings.TOTP_TOLERANCE + 1
    key = f"second-factor-used:{user.pk}:{normalize_user_code(code)}"
    return bool(cache.add(key, "y", timeout=steps * app_settings.TOTP_PERIOD))


class _Code:
    """What the two forms that take a code have in common."""

    def clean_code(self) -> str:
        """The code, if it is right for the first time."""
        code: str = super().clean_code()  # type: ignore[misc]  # a form's
        is_app = self.authenticator.type == Authenticator.Type.TOTP  # type: ignore[attr-defined]  # a form's
        if is_app and not use_up(self.user, code):  # type: ignore[attr-defined]  # a form's
            raise _refusal()
        return code


class AuthenticateCodeForm(_Code, mfa_forms.AuthenticateForm):  # type: ignore[misc]  # no types
    """A code as the second factor."""


class ReauthenticateCodeForm(_Code, mfa_forms.ReauthenticateForm):  # type: ignore[misc]  # no types
    """A code to prove again who is there."""


class AddPasskeyForm(allauth_forms.AddWebAuthnForm):  # type: ignore[misc]  # allauth has no types
    """Takes a new passkey; keeps only the parts of the answer that are needed later."""

    credential = AnswerField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = "Name"
        self.fields["name"].help_text = "For you to tell your passkeys apart."
        self.fields["passwordless"].label = "Sign in with it alone, without the password"
        self.fields["passwordless"].help_text = "It then has to check a finger, a face or a PIN."

    def clean_name(self) -> str:
        """A short, printable name; an empty one is made up."""
        name: str = super().clean_name().strip()
        if len(name) > NAME_LENGTH or not name.isprintable():
            raise ValidationError(
                f"A name has at most {NAME_LENGTH} printable characters;"
                f" {name[:20]!r} has {len(name)}."
            )
        return name

    def clean_credential(self) -> dict[str, Any]:
        """The answer without whatever else was sent along."""
        sent = self.cleaned_data["credential"]
        try:
            parsed = RegistrationResponse.from_dict(sent)
            extensions = sent.get("clientExtensionResults", {})
            is_resident = extensions.get("credProps", {}).get("rk") is True
            _check_origin(parsed.response.client_data)
        except BROKEN as error:
            raise _refusal() from error
        return {
            **_plain(dict(parsed)),
            "clientExtensionResults": {"credProps": {"rk": is_resident}},
        }

    def clean(self) -> dict[str, Any]:
        """Whether the answer is to the question we asked, for this site."""
        try:
            cleaned: dict[str, Any] = super().clean()
        except BROKEN as error:
            raise _refusal() from error
        return cleaned


class _Answer:
    """What the three forms that take a signature have in common."""

    must_verify_user = False

    def clean_credential(self) -> Authenticator:
        """The passkey that signed."""
        sent = self.cleaned_data["credential"]  # type: ignore[attr-defined]  # a form's
        try:
            found: Authenticator = super().clean_credential()  # type: ignore[misc]  # a form's
            response = AuthenticationResponse.from_dict(sent).response
            _check_origin(response.client_data)
        except BROKEN as error:
            raise _refusal() from error
        if self.must_verify_user and not response.authenticator_data.is_user_verified():
            raise _refusal()
        return found


class AuthenticatePasskeyForm(_Answer, allauth_forms.AuthenticateWebAuthnForm):  # type: ignore[misc]  # no types
    """A passkey or security key as the second factor."""

    credential = AnswerField()


class LoginPasskeyForm(_Answer, allauth_forms.LoginWebAuthnForm):  # type: ignore[misc]  # no types
    """A passkey alone: it stands for two factors, so it has to have checked a PIN or a finger.

    allauth asks for that in its question, but takes the answer to another question of this session
    as well, such as that for a second factor.
    """

    credential = AnswerField()
    must_verify_user = True


class ReauthenticatePasskeyForm(_Answer, allauth_forms.ReauthenticateWebAuthnForm):  # type: ignore[misc]  # no types
    """A passkey to prove again who is there."""

    credential = AnswerField()


def _plain(value: Any) -> Any:
    """JSON values of fido2's objects."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


class ResetPasswordForm(account_forms.ResetPasswordForm):  # type: ignore[misc]  # no types
    """Whose password is to be reset: any address, since the answer is the same for all."""

    def clean_email(self) -> str:
        """The address; `users` become those who have it.

        allauth would refuse addresses that nobody may take, and so tell which those are.
        """
        email: str = self.cleaned_data["email"]
        self.users = filter_users_by_email(
            email.lower(), is_active=True, prefer_verified=True, for_login=True
        )
        return email


class ResetLinkForm(account_forms.UserTokenForm):  # type: ignore[misc]  # no types
    """Whether a link to a new password is good; not of people whom no password lets in by now."""

    def clean(self) -> dict[str, Any]:
        """Whose link it is becomes `reset_user`."""
        cleaned: dict[str, Any] = super().clean()
        if not keeps_own_password(self.reset_user):
            raise get_account_adapter().validation_error("invalid_password_reset")
        return cleaned
