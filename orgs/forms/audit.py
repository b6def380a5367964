"""What the audit log is searched by."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from django import forms

from audit.events import EventType
from audit.models import AuditEvent
from orgs.selectors.audit import EventFilter

TEXT_LENGTH = 200


class AuditSearchForm(forms.Form):
    """All fields are optional; the address of the page holds them."""

    use_required_attribute = False
    q = forms.CharField(
        label="Text",
        required=False,
        max_length=TEXT_LENGTH,
        widget=forms.TextInput(
            {"type": "search", "placeholder": "Person, object, id, address", "autocomplete": "off"}
        ),
    )
    type = forms.ChoiceField(
        label="Event",
        required=False,
        choices=[("", "All"), *((each.value, each.value) for each in EventType)],
    )
    outcome = forms.ChoiceField(
        label="Outcome", required=False, choices=[("", "All"), *AuditEvent.Outcome.choices]
    )
    since = forms.DateField(
        label="From (UTC)", required=False, widget=forms.DateInput({"type": "date"})
    )
    until = forms.DateField(
        label="To (UTC)", required=False, widget=forms.DateInput({"type": "date"})
    )

    def clean(self) -> None:
        """The first day is not after the last one."""
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since > until:
            self.add_error("until", "The last day is before the first one.")

    def wanted(self) -> EventFilter:
        """The filter; both days are included."""
        data = self.cleaned_data
        since, until = self.times()
        return EventFilter(
            q=data["q"] or None,
            type=data["type"] or None,
            outcome=data["outcome"] or None,
            since=since,
            until=until,
        )

    def times(self) -> tuple[datetime | None, datetime | None]:
        """From the one up to, not including, the other."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        return (
            datetime.combine(since, time(), UTC) if since else None,
            datetime.combine(until, time(), UTC) + timedelta(days=1) if until else None,
        )
