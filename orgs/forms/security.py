"""What people fill in about roles, demands and the organization itself."""

from __future__ import annotations

from typing import Any

from django import forms

from orgs.errors import Aborted
from orgs.models import CustomRole, Organization, ResourceType, SecurityBaseline
from orgs.permissions import DANGEROUS, GRANTABLE, PERMISSION_HELP, Permission
from orgs.services.baseline import KEY_AGE_DAYS, MAX_RANGES, SESSION_HOURS
from orgs.services.checks import NAME_LENGTH

ROLE_NAME_LENGTH = 80
DESCRIPTION_LENGTH = 500
MAX_RANGES_LENGTH = 8000


class VersionedForm(forms.Form):
    """A form that knows what its page showed.

    Raises:
        Aborted: by `check_version`, where somebody else has changed it since.
    """

    use_required_attribute = False
    version = forms.IntegerField(
        widget=forms.HiddenInput,
        error_messages={"required": "The version is required. Open the page again."},
    )

    def check_version(self, version: int) -> None:
        """Refuse what was filled in before somebody else changed it."""
        if version != self.cleaned_data["version"]:
            raise Aborted("Somebody has changed this since the page was opened. Open it again.")


def permission_choices(kind: ResourceType) -> list[tuple[str, str]]:
    """What a role on a resource of the kind can include, with a sentence each."""
    return [
        (
            each.value,
            f"{each.value}: {PERMISSION_HELP[each]}"
            + (" (asks for a fresh proof)" if each in DANGEROUS else ""),
        )
        for each in Permission
        if each in GRANTABLE[kind]
    ]


class RoleForm(VersionedForm):
    """A role of the organization's own."""

    name = forms.CharField(
        label="Name", max_length=ROLE_NAME_LENGTH, widget=forms.TextInput({"autocomplete": "off"})
    )
    description = forms.CharField(
        label="What it is for", required=False, max_length=DESCRIPTION_LENGTH
    )
    permissions = forms.MultipleChoiceField(
        label="What it allows",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one permission."},
    )

    def __init__(self, data: Any, *, kind: ResourceType, role: CustomRole | None = None) -> None:
        initial: dict[str, object] = {"version": 0}
        if role is not None:
            fields = ("version", "name", "description", "permissions")
            initial = {name: getattr(role, name) for name in fields}
        super().__init__(data, initial=initial)
        field = self.fields["permissions"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101  for the type checker
        field.choices = permission_choices(kind)

    def values(self) -> dict[str, Any]:
        """As the services take them."""
        names = ("name", "description", "permissions")
        return {name: self.cleaned_data[name] for name in names}


class BaselineForm(VersionedForm):
    """What the organization demands of everybody who comes in."""

    mfa_required = forms.BooleanField(
        label="Demand a second factor",
        required=False,
        help_text="People without an authenticator app or a passkey can only add one.",
    )
    session_hours = forms.IntegerField(
        label="Hours until people sign in again",
        required=False,
        min_value=SESSION_HOURS[0],
        max_value=SESSION_HOURS[-1],
        help_text="However busy they are. Empty: as the installation says.",
    )
    max_key_age_days = forms.IntegerField(
        label="Days that the secret of an API key works",
        required=False,
        min_value=KEY_AGE_DAYS[0],
        max_value=KEY_AGE_DAYS[-1],
        help_text="Counts for existing keys too: older secrets stop at once. Empty: for good.",
    )
    ip_ranges = forms.CharField(
        label="Networks that everybody has to come from",
        required=False,
        max_length=MAX_RANGES_LENGTH,
        widget=forms.Textarea({"rows": 3, "spellcheck": "false"}),
        help_text=f"CIDR ranges, one a line, at most {MAX_RANGES}: people, programs and keys."
        " Empty: from anywhere.",
    )
    force = forms.BooleanField(
        label="Save it although it locks me out",
        required=False,
        help_text="The way back is on the server: manage.py reset_baseline.",
    )

    def __init__(self, data: Any, *, baseline: SecurityBaseline) -> None:
        names = ("version", "mfa_required", "session_hours", "max_key_age_days")
        ranges = "\n".join(baseline.ip_ranges)
        super().__init__(
            data, initial={name: getattr(baseline, name) for name in names} | {"ip_ranges": ranges}
        )

    def changes(self) -> dict[str, Any]:
        """As the service takes them."""
        data = self.cleaned_data
        names = ("mfa_required", "session_hours", "max_key_age_days")
        return {name: data[name] for name in names} | {"ip_ranges": data["ip_ranges"].split()}


class OrganizationSettingsForm(VersionedForm):
    """The organization's name."""

    name = forms.CharField(
        label="Name", max_length=NAME_LENGTH, widget=forms.TextInput({"autocomplete": "off"})
    )

    def __init__(self, data: Any, *, organization: Organization) -> None:
        super().__init__(data, initial={"version": organization.version, "name": organization.name})
