"""What people fill in about other people: invitations, roles, teams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.utils import timezone

from orgs.models import Organization, ResourceType
from orgs.permissions import BINDABLE, MEMBER_ROLE, ROLE_HELP, Role
from orgs.registry import Found
from orgs.selectors.access import roles_on
from orgs.services.bindings import REASON_LENGTH
from orgs.services.checks import NAME_LENGTH

MAX_ADDRESSES = 50
MAX_ADDRESSES_LENGTH = 8000
DESCRIPTION_LENGTH = 500
Choice = tuple[str, str]
DAYS = [
    ("", "Until it is taken away"),
    ("1", "1 day"),
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
]


def role_choices(organization: Organization, kind: ResourceType) -> list[Choice]:
    """The roles that can be held on a resource of the kind, the organization's own last."""
    predefined = [
        (role.value, f"{role.value}: {ROLE_HELP[role]}") for role in Role if role in BINDABLE[kind]
    ]
    own = [
        (str(role.pk), f"{role.name}: {role.description or 'a role of your own'}")
        for role in roles_on(organization, kind)
    ]
    return [*predefined, *own]


def project_choices(projects: Sequence[Found]) -> list[Choice]:
    return [(str(each.id), each.label) for each in projects]


class InviteForm(forms.Form):
    """Who is asked in, and as what."""

    use_required_attribute = False
    emails = forms.CharField(
        label="E-mail addresses",
        max_length=MAX_ADDRESSES_LENGTH,
        widget=forms.Textarea({"rows": 3, "autofocus": True, "spellcheck": "false"}),
        help_text=f"One a line, at most {MAX_ADDRESSES}. Each gets a link that is good for 7 days.",
    )
    role = forms.ChoiceField(label="Role in the organization", initial=MEMBER_ROLE.value)
    project = forms.ChoiceField(
        label="Project", required=False, help_text="One to begin with; more can follow later."
    )
    project_role = forms.ChoiceField(label="Role in that project", required=False)

    def __init__(self, data: Any, *, organization: Organization, projects: Sequence[Found]) -> None:
        super().__init__(data)
        self._choose("role", role_choices(organization, ResourceType.ORGANIZATION))
        self._choose("project", [("", "None yet"), *project_choices(projects)])
        on_project = role_choices(organization, ResourceType.PROJECT)
        self._choose("project_role", [("", "None yet"), *on_project])

    def _choose(self, name: str, choices: list[Choice]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  tells the type checker
        field.choices = choices

    def clean_emails(self) -> list[str]:
        """The addresses, each once, in order.

        Raises:
            ValidationError: there are too many.
        """
        lines = self.cleaned_data["emails"].replace(",", "\n").split()
        found = list(dict.fromkeys(line.lower() for line in lines))
        if len(found) > MAX_ADDRESSES:
            raise forms.ValidationError(
                f"These are {len(found)} addresses; {MAX_ADDRESSES} at a time is the most."
            )
        return found

    def clean(self) -> dict[str, Any]:
        """A project and the role in it come together."""
        data = super().clean() or {}
        if bool(data.get("project")) != bool(data.get("project_role")):
            missing = "project_role" if data.get("project") else "project"
            self.add_error(missing, "A project and the role in it come together: choose both.")
        return data


class GrantForm(forms.Form):
    """A role for somebody."""

    use_required_attribute = False
    resource = forms.ChoiceField(label="Where")
    role = forms.ChoiceField(label="Role")
    days = forms.ChoiceField(label="For how long", choices=DAYS, required=False)
    reason = forms.CharField(
        label="Why",
        required=False,
        max_length=REASON_LENGTH,
        help_text="For whoever reviews roles later, such as a ticket.",
    )

    def __init__(
        self,
        data: Any,
        *,
        organization: Organization | None,
        projects: Sequence[Found],
        own_roles_of: Organization,
        **kwargs: Any,
    ) -> None:
        """`organization`: None where roles on the organization itself can't be given here."""
        super().__init__(data, **kwargs)
        places = [("organization", "The organization")] if organization else []
        roles: list[tuple[str, list[Choice]]] = []
        if organization:
            roles.append(
                ("On the organization", role_choices(own_roles_of, ResourceType.ORGANIZATION))
            )
        roles.append(("On a project", role_choices(own_roles_of, ResourceType.PROJECT)))
        for name, choices in (
            ("resource", [*places, *project_choices(projects)]),
            ("role", roles),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101  tells the type checker
            field.choices = choices

    def place(self) -> tuple[ResourceType, UUID | None]:
        """Where, as services take it."""
        chosen: str = self.cleaned_data["resource"]
        if chosen == "organization":
            return ResourceType.ORGANIZATION, None
        return ResourceType.PROJECT, UUID(chosen)

    def expires_at(self) -> datetime | None:
        """When the role ends."""
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class ChangeRoleForm(forms.Form):
    """Another role in place of one."""

    use_required_attribute = False
    role = forms.ChoiceField(label="New role")

    def __init__(
        self, data: Any, *, organization: Organization, kind: ResourceType, role: str
    ) -> None:
        super().__init__(data, initial={"role": role})
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  tells the type checker
        field.choices = role_choices(organization, kind)


class TeamForm(forms.Form):
    """A team's name and what it is for."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="Such as “Search platform” or “On call”.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    description = forms.CharField(
        label="What it is for", required=False, max_length=DESCRIPTION_LENGTH
    )


class AddToTeamForm(forms.Form):
    """Somebody for a team."""

    use_required_attribute = False
    email = forms.EmailField(
        label="E-mail address of a member",
        widget=forms.EmailInput({"autocomplete": "off", "list": "members"}),
    )


class ConfirmForm(forms.Form):
    """A name, typed, before something is lost."""

    use_required_attribute = False
    confirm = forms.CharField(
        max_length=320, widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, data: Any, *, name: str) -> None:
        super().__init__(data)
        self.name = name
        self.fields["confirm"].label = f"Type {name} to confirm"

    def clean_confirm(self) -> str:
        """The name.

        Raises:
            ValidationError: it is another one.
        """
        typed: str = self.cleaned_data["confirm"]
        if typed != self.name:
            raise forms.ValidationError(f"This is not what to type: {self.name}.")
        return typed
