"""What people fill in when they come in."""

from __future__ import annotations

from typing import Any

from django import forms

from orgs.services.invitations import PERSON_NAME_LENGTH

PASSWORD_LENGTH = 1000


class NewPersonForm(forms.Form):
    """The account of somebody who was invited. The rules for passwords are the service's."""

    use_required_attribute = False
    name = forms.CharField(
        label="Your name",
        max_length=PERSON_NAME_LENGTH,
        widget=forms.TextInput({"autocomplete": "name", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        max_length=PASSWORD_LENGTH,
        strip=False,
        help_text="At least 12 characters, and no common password.",
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="The password again",
        max_length=PASSWORD_LENGTH,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        """Both passwords have to be the same."""
        cleaned = super().clean() or {}
        if "again" in cleaned and cleaned.get("password") != cleaned["again"]:
            self.add_error("again", "The two passwords differ. Type the same one twice.")
        return cleaned
