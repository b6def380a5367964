"""What people fill in to make, change and delete an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from indexes.models import Index
from indexes.rules import (
    DEFAULT_CLOUD,
    DEFAULT_REGION,
    MAX_DIMENSION,
    MAX_NAME,
    MAX_PLACE,
    MAX_TAGS,
    METRICS,
    VECTOR_TYPES,
    IndexSpec,
)

MAX_TAG_LINES = 8000
TYPES = {
    "dense": "Dense: every record has one vector of the same length",
    "sparse": "Sparse: each record names a few of many weights",
}
METRIC_HELP = {
    "cosine": "cosine: the angle; for most text embeddings",
    "dotproduct": "dotproduct: for embeddings made for it, and for sparse and hybrid search",
    "euclidean": "euclidean: the distance",
}


class TagsField(forms.CharField):
    """One `key=value` a line; cleans to a dictionary."""

    widget = forms.Textarea({"rows": 3, "spellcheck": "false"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False,
            max_length=MAX_TAG_LINES,
            help_text=f"One a line, such as team=search. At most {MAX_TAGS}.",
            **kwargs,
        )

    def to_python(self, value: Any) -> Any:
        """The pairs.

        Raises:
            ValidationError: a line is no pair, or a key stands twice.
        """
        tags: dict[str, str] = {}
        for line in filter(None, map(str.strip, (super().to_python(value) or "").splitlines())):
            key, equals, text = (part.strip() for part in line.partition("="))
            if not equals or not text:
                raise forms.ValidationError(f"{line[:80]!r} is not of the form key=value.")
            if key in tags:
                raise forms.ValidationError(f"The tag {key[:80]!r} stands twice.")
            tags[key] = text
        return tags

    def run_validators(self, value: Any) -> None:
        """The service has the rules of keys and values."""


def tag_lines(tags: Mapping[str, str]) -> str:
    """The tags as the field shows them."""
    return "\n".join(f"{key}={value}" for key, value in sorted(tags.items()))


class IndexForm(forms.Form):
    """A new index."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=MAX_NAME,
        help_text="Lower-case letters, digits and hyphens, such as product-search. It can't be"
        " changed later.",
        widget=forms.TextInput({"autocomplete": "off", "autofocus": True, "spellcheck": "false"}),
    )
    vector_type = forms.ChoiceField(
        label="Vectors",
        choices=[(each, TYPES[each]) for each in VECTOR_TYPES],
        initial="dense",
        widget=forms.RadioSelect,
    )
    dimension = forms.IntegerField(
        label="Dimension",
        required=False,
        help_text=f"How many numbers a vector has, 1 to {MAX_DIMENSION}: your embedding model"
        " says it, such as 384, 768 or 1536. Empty for a sparse index.",
        widget=forms.NumberInput({"min": 1, "max": MAX_DIMENSION}),
    )
    metric = forms.ChoiceField(
        label="Metric",
        choices=[(each, METRIC_HELP[each]) for each in METRICS],
        initial="cosine",
        help_text="How nearness is measured. A sparse index knows dotproduct only.",
    )
    cloud = forms.CharField(label="Cloud", max_length=MAX_PLACE, initial=DEFAULT_CLOUD)
    region = forms.CharField(
        label="Region",
        max_length=MAX_PLACE,
        initial=DEFAULT_REGION,
        help_text="Labels that clients expect: the index runs on your own machine.",
    )
    tags = TagsField(label="Tags")
    deletion_protection = forms.BooleanField(
        label="Protect it against deletion",
        required=False,
        help_text="Deleting is refused until this is switched off.",
    )

    def spec(self) -> IndexSpec:
        """What was filled in."""
        return IndexSpec(**self.cleaned_data)


class ConfigurationForm(forms.Form):
    """What can be changed about an index."""

    use_required_attribute = False
    deletion_protection = forms.BooleanField(
        label="Protect it against deletion",
        required=False,
        help_text="Deleting is refused, also over the API, until this is switched off.",
    )
    tags = TagsField(label="Tags")
    # What the page showed: tags are changed one by one, so that others' changes stay.
    tags_shown = forms.CharField(widget=forms.HiddenInput, required=False, max_length=MAX_TAG_LINES)

    def changed_tags(self) -> dict[str, str]:
        """The tags that differ from those that the page showed; an empty value deletes."""
        shown = dict(
            line.partition("=")[::2] for line in self.cleaned_data["tags_shown"].splitlines()
        )
        wanted: dict[str, str] = self.cleaned_data["tags"]
        gone = dict.fromkeys(shown.keys() - wanted.keys(), "")
        return gone | {key: text for key, text in wanted.items() if shown.get(key) != text}


class DeleteIndexForm(forms.Form):
    """The name of the index, typed."""

    use_required_attribute = False
    confirm = forms.CharField(
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}), max_length=MAX_NAME
    )

    def __init__(self, data: Any, *, index: Index) -> None:
        super().__init__(data)
        self.index = index
        self.fields["confirm"].label = f"Type {index.name} to confirm"

    def clean_confirm(self) -> str:
        """The name.

        Raises:
            ValidationError: it is another one.
        """
        typed: str = self.cleaned_data["confirm"]
        if typed != self.index.name:
            raise forms.ValidationError(f"This is not the name of the index: {self.index.name}.")
        return typed
