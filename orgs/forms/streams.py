"""Where an organization's audit events are sent, as people fill it in."""

from __future__ import annotations

from typing import Any

from django import forms

from audit.models import Stream
from audit.streams.configuration import fields_of
from orgs.services.audit import NAME_LENGTH

SECRET_LENGTH = 256
TEXT_LENGTH = 2000
PEM_LENGTH = 20_000
LABELS: dict[str, tuple[str, str]] = {
    "url": ("Address", "An https address that takes POST requests."),
    "endpoint": ("Endpoint", "Such as https://s3.us-east-1.amazonaws.com."),
    "bucket": ("Bucket", ""),
    "region": ("Region", ""),
    "prefix": ("Prefix", "What every object's name begins with. May be empty."),
    "access_key_id": ("Access key id", ""),
    "host": ("Host", "A name or an address."),
    "port": ("Port", ""),
    "tls": ("Over TLS", "Without it, whoever is on the way can read along."),
    "ca_pem": ("Certificate authority", "PEM; empty: the machine's own list."),
}
"""What each field of a configuration is called, and what it takes."""
DEFAULTS: dict[str, object] = {"region": "us-east-1", "port": 6514, "tls": True}


class StreamForm(forms.Form):
    """A stream of one kind: a name, the fields that its kind has, and for S3 a secret."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name", max_length=NAME_LENGTH, widget=forms.TextInput({"autocomplete": "off"})
    )

    def __init__(self, data: Any, *, kind: Stream.Kind, stream: Stream | None = None) -> None:
        initial: dict[str, object] = dict(DEFAULTS)
        if stream is not None:
            initial = {"name": stream.name, "version": stream.version, **stream.config}
        super().__init__(data, initial=initial)
        self.kind = kind
        for name in fields_of(kind):
            self.fields[name] = _field(name)
        if stream is not None:
            self.fields["version"] = forms.IntegerField(widget=forms.HiddenInput)
        if kind == Stream.Kind.S3:
            self.fields["secret"] = forms.CharField(
                label="Secret access key",
                required=stream is None,
                max_length=SECRET_LENGTH,
                help_text="" if stream is None else "Empty: as it is.",
                widget=forms.PasswordInput({"autocomplete": "off"}),
            )

    def config(self) -> dict[str, object]:
        """As the services take it."""
        return {name: self.cleaned_data[name] for name in fields_of(self.kind)}


def _field(name: str) -> forms.Field:
    label, help_text = LABELS[name]
    if name == "tls":
        return forms.BooleanField(label=label, help_text=help_text, required=False)
    if name == "port":
        return forms.IntegerField(label=label, min_value=1, max_value=65_535)
    if name == "ca_pem":
        return forms.CharField(
            label=label,
            help_text=help_text,
            required=False,
            max_length=PEM_LENGTH,
            widget=forms.Textarea({"rows": 4, "spellcheck": "false"}),
        )
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=name != "prefix",
        max_length=TEXT_LENGTH,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )
