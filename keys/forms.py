"""What people fill in about API keys."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core import signing
from django.utils import timezone

from keys.models import Access, ApiKey
from keys.services.api_keys import NAME_LENGTH
from keys.services.limits import DEFAULT_NAMESPACE, Limits
from orgs.errors import Aborted, FailedPrecondition
from orgs.permissions import ACCESS_ROLE_HELP, DEFAULT_KEY_ROLE, Role

TOKEN_SALT = "keys.forms.ApiKeyForm"  # noqa: S105  names what is signed, no secret
TOKEN_SECONDS = 12 * 3600


def new_token(project_id: UUID) -> str:
    """The id of the key that a form will make, signed, for this project only."""
    return signing.dumps([str(project_id), str(uuid.uuid4())], salt=TOKEN_SALT)


class ApiKeyForm(forms.Form):
    """A new API key.

    The hidden token carries the key's id, so that the form sent twice makes one key.
    """

    use_required_attribute = False
    token = forms.CharField(widget=forms.HiddenInput)
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="The program that will use the key, such as “search-api production”.",
        widget=forms.TextInput({"autocomplete": "off", "autofocus": True}),
    )
    roles = forms.MultipleChoiceField(
        label="What it may do",
        choices=[(role.value, f"{role.value}: {text}") for role, text in ACCESS_ROLE_HELP.items()],
        initial=[DEFAULT_KEY_ROLE.value],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one role."},
    )
    access = forms.ChoiceField(
        label="Access",
        choices=Access.choices,
        initial=Access.READ_WRITE,
        required=False,
        help_text="Narrows what the roles allow; it never adds to it.",
    )
    namespaces = forms.CharField(
        label="Namespaces",
        required=False,
        strip=False,
        help_text=f"One a line; {DEFAULT_NAMESPACE} is the default one. Empty: all of them.",
        widget=forms.Textarea({"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )
    networks = forms.CharField(
        label="Allowed networks",
        required=False,
        help_text="One a line, such as 192.0.2.0/24. Empty: from anywhere.",
        widget=forms.Textarea({"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )
    days = forms.TypedChoiceField(
        label="Works",
        choices=[
            ("", "until it is revoked"),
            ("30", "for 30 days"),
            ("90", "for 90 days"),
            ("365", "for a year"),
        ],
        coerce=int,
        required=False,
        empty_value=None,
    )

    def key_id(self, project_id: UUID) -> UUID | None:
        """The key's id out of the token, or None where the token is not ours or too old."""
        try:
            signed_for, key_id = signing.loads(
                self.cleaned_data["token"], salt=TOKEN_SALT, max_age=TOKEN_SECONDS
            )
        except signing.BadSignature:
            return None
        return UUID(key_id) if signed_for == str(project_id) else None

    def chosen_roles(self) -> list[Role]:
        """The roles as such."""
        return [Role(value) for value in self.cleaned_data["roles"]]

    def limits(self) -> Limits:
        """What the key is limited to besides its roles."""
        return {
            "access": self.cleaned_data["access"] or Access.READ_WRITE,
            "namespaces": _lines(self.cleaned_data["namespaces"]) or None,
            "allowed_ips": _lines(self.cleaned_data["networks"]),
            "expires_at": self.expires_at(),
        }

    def expires_at(self) -> datetime | None:
        """When the key stops working; None: never."""
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=days) if days else None


class EditKeyForm(forms.Form):
    """What can be changed about a key: name, roles and limits."""

    use_required_attribute = False
    version = forms.IntegerField(
        widget=forms.HiddenInput,
        error_messages={"required": "The version is required. Open the page again."},
    )
    name = ApiKeyForm.base_fields["name"]
    roles = ApiKeyForm.base_fields["roles"]
    access = ApiKeyForm.base_fields["access"]
    namespaces = ApiKeyForm.base_fields["namespaces"]
    networks = ApiKeyForm.base_fields["networks"]

    def __init__(self, data: Any, *, key: ApiKey, roles: Sequence[str]) -> None:
        namespaces = [name or DEFAULT_NAMESPACE for name in key.namespaces or []]
        super().__init__(
            data,
            initial={
                "version": key.version,
                "name": key.name,
                "roles": list(roles),
                "access": key.access,
                "namespaces": "\n".join(namespaces),
                "networks": "\n".join(key.allowed_ips),
            },
        )

    def chosen_roles(self) -> list[Role]:
        """The roles as such."""
        return [Role(value) for value in self.cleaned_data["roles"]]

    def limits(self) -> Limits:
        """What the key is limited to besides its roles; its times and indexes stay."""
        return {
            "access": self.cleaned_data["access"] or Access.READ_WRITE,
            "namespaces": _lines(self.cleaned_data["namespaces"]) or None,
            "allowed_ips": _lines(self.cleaned_data["networks"]),
        }

    def check_version(self, version: int) -> None:
        """Refuse what was filled in before somebody else changed the key.

        Raises:
            Aborted: it has changed since.
        """
        if version != self.cleaned_data["version"]:
            raise Aborted("Somebody has changed this key since the page was opened. Open it again.")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


class RotateForm(forms.Form):
    """A new secret for a key, and how long the old one works on beside it.

    The hidden version makes the form sent twice rotate once.
    """

    use_required_attribute = False
    version = forms.IntegerField(widget=forms.HiddenInput, min_value=0, max_value=2**31 - 1)
    hours = forms.TypedChoiceField(
        label="The old secret works on",
        choices=[
            ("0", "not at all: it ends now"),
            ("1", "for an hour"),
            ("24", "for a day"),
            ("168", "for 7 days"),
        ],
        initial="24",
        coerce=int,
        help_text="It ends sooner once nobody has used it for an hour.",
    )

    def overlap(self) -> timedelta:
        """How long the old secret works on at most."""
        return timedelta(hours=self.cleaned_data["hours"])

    def check_version(self, version: int) -> None:
        """Let pass the version that the person saw.

        Raises:
            FailedPrecondition: the key has been changed since, perhaps by this very form.
        """
        if version != self.cleaned_data["version"]:
            raise FailedPrecondition(
                "The key has been changed since you opened the form, and nothing was done now. If"
                " you sent the form twice, the first time counted: its new secret works. Rotate the"
                " key again if you did not get to see it."
            )


class RevokeForm(forms.Form):
    """The key's name, typed, so that nobody revokes a key by a slip."""

    use_required_attribute = False
    confirm = forms.CharField(
        max_length=NAME_LENGTH,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Type the key's name to confirm."},
    )

    def __init__(self, *args: object, name: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # handed through as they are
        self.name = name
        self.fields["confirm"].label = f"Type “{name}” to confirm"

    def clean_confirm(self) -> str:
        """The name, if it is the key's."""
        typed: str = self.cleaned_data["confirm"]
        if typed != self.name:
            raise forms.ValidationError(f"This is not the key's name: it is called “{self.name}”.")
        return typed


class AccountForm(forms.Form):
    """A service account's name."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="The program that will use it, such as “terraform” or “nightly clean-up”.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )


class RotateAccountForm(forms.Form):
    """How long the old secret of a service account works on."""

    use_required_attribute = False
    hours = RotateForm.base_fields["hours"]
