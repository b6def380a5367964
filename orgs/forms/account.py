"""What people fill in about themselves."""

from __future__ import annotations

from django import forms

from orgs.models import User


class ProfileForm(forms.Form):
    """What others see of a person beside the address."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        required=False,
        max_length=User._meta.get_field("name").max_length,
        help_text="What colleagues see beside your address.",
        widget=forms.TextInput({"autocomplete": "name"}),
    )
