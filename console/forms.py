"""What operators change."""

from __future__ import annotations

from typing import Any

from django import forms

from orgs.entitlements import entitlements
from orgs.errors import Aborted
from orgs.models import Organization
from orgs.plans import LIMITS, TITLES, Entitlement, Plan, Value

UNLIMITED = "unlimited"
SWITCH = {"on": True, "off": False}
AS_PLANNED = "As the plan says"


class TenantForm(forms.Form):
    """Plan, payment status, and what differs from the plan.

    One field for every entitlement, by its name; empty: as the plan says.
    """

    use_required_attribute = False
    version = forms.IntegerField(
        widget=forms.HiddenInput,
        error_messages={"required": "The version is required. Open the page again."},
    )
    plan = forms.ChoiceField(choices=[(plan.value, plan.value) for plan in Plan])
    payment_status = forms.ChoiceField(
        choices=[(each.value, each.value) for each in Organization.PaymentStatus],
        help_text="Past due and suspended: nothing new can be made. What runs goes on.",
    )

    def __init__(self, data: Any, *, organization: Organization) -> None:
        super().__init__(
            data,
            initial={
                "version": organization.version,
                "plan": organization.plan,
                "payment_status": organization.payment_status,
                **{name: _word(value) for name, value in organization.overrides.items()},
            },
        )
        found = entitlements(organization)
        for each in Entitlement:
            title = TITLES[each]
            label = title[0].upper() + title[1:]
            if each in LIMITS:
                self.fields[each.value] = forms.CharField(
                    label=label,
                    required=False,
                    max_length=20,
                    help_text=f"A number or {UNLIMITED}. {found[each].reason}",
                )
            else:
                self.fields[each.value] = forms.ChoiceField(
                    label=label,
                    required=False,
                    choices=[("", AS_PLANNED), ("on", "On"), ("off", "Off")],
                )

    def clean(self) -> dict[str, Any]:
        """Limits are numbers or unlimited."""
        data = super().clean() or {}
        for each in LIMITS:
            text = str(data.get(each.value) or "").strip().lower()
            if text and text != UNLIMITED and not (text.isascii() and text.isdecimal()):
                self.add_error(
                    each.value,
                    f"{text!r} is neither a number nor {UNLIMITED}. Leave it empty to"
                    " do as the plan says.",
                )
        return data

    def check_version(self, version: int) -> None:
        """Refuse what was filled in before somebody else changed it.

        Raises:
            Aborted: the organization has changed since.
        """
        if version != self.cleaned_data["version"]:
            raise Aborted(
                "Somebody has changed this organization since the page was opened. Open it again."
            )

    def changes(self) -> dict[str, Any]:
        """As `set_plan` takes them."""
        chosen = {
            each: str(self.cleaned_data[each.value] or "").strip().lower() for each in Entitlement
        }
        return {
            "plan": Plan(self.cleaned_data["plan"]),
            "payment_status": Organization.PaymentStatus(self.cleaned_data["payment_status"]),
            "overrides": {each: _value(text) for each, text in chosen.items() if text},
            "reset": [each for each, text in chosen.items() if not text],
        }


def _value(text: str) -> Value:
    if text in SWITCH:
        return SWITCH[text]
    return None if text == UNLIMITED else int(text)


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return UNLIMITED if value is None else str(value)
