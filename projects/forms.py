"""What people fill in about projects."""

from __future__ import annotations

from django import forms

from orgs.services.checks import NAME_LENGTH


class ProjectForm(forms.Form):
    """A new project."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="What the project is for, such as “Product search” or “Support staging”.",
        widget=forms.TextInput({"autocomplete": "off", "autofocus": True}),
    )
