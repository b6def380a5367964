"""What people fill in about organizations and projects."""

from __future__ import annotations

from typing import Any

from django import forms

from orgs.errors import Aborted
from orgs.services.checks import NAME_LENGTH
from projects.models import Project
from projects.services import MAX_LIMIT


class OrganizationForm(forms.Form):
    """A new organization."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="Your company or department, such as “Acme Research”.",
        widget=forms.TextInput({"autocomplete": "organization", "autofocus": True}),
    )


class ProjectForm(forms.Form):
    """A new project."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="What the project is for, such as “Product search” or “Support staging”.",
        widget=forms.TextInput({"autocomplete": "off", "autofocus": True}),
    )


class ProjectSettingsForm(forms.Form):
    """What can be changed about a project."""

    use_required_attribute = False
    version = forms.IntegerField(
        widget=forms.HiddenInput,
        error_messages={"required": "The version is required. Open the page again."},
    )
    name = forms.CharField(
        label="Name", max_length=NAME_LENGTH, widget=forms.TextInput({"autocomplete": "off"})
    )
    max_indexes = forms.IntegerField(
        label="Indexes at most",
        min_value=0,
        max_value=MAX_LIMIT,
        help_text="The project's own limit; that of the organization's plan holds, too.",
    )
    max_api_keys = forms.IntegerField(label="API keys at most", min_value=0, max_value=MAX_LIMIT)

    def __init__(self, data: Any, *, project: Project) -> None:
        fields = ("version", "name", "max_indexes", "max_api_keys")
        super().__init__(data, initial={name: getattr(project, name) for name in fields})

    def check_version(self, version: int) -> None:
        """Refuse what was filled in before somebody else changed it.

        Raises:
            Aborted: the project has changed since.
        """
        if version != self.cleaned_data["version"]:
            raise Aborted(
                "Somebody has changed this project since the page was opened. Open it again."
            )
