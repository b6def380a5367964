"""Checking what a request brings: every field known, of the right JSON type, within its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.datastructures import MultiValueDict
from rest_framework import serializers
from rest_framework.settings import api_settings

from rest.errors import InvalidArgument
from rest.wording import shown

INT64 = 2**63 - 1
"""Beyond it databases and many JSON readers give up."""
MAX_DEPTH = 20

AnyField = serializers.Field[Any, Any, Any, Any]
_JSON_TYPES: tuple[tuple[type[AnyField], type | tuple[type, ...], str], ...] = (
    (serializers.BooleanField, bool, "true or false"),
    (serializers.IntegerField, int, "a whole number"),
    (serializers.FloatField, (int, float), "a number"),
    (serializers.ListField, list, "a list"),
    (serializers.ListSerializer, list, "a list"),
    (serializers.DictField, dict, "an object"),
    (serializers.MultipleChoiceField, list, "a list"),
    (serializers.ChoiceField, str, "a string"),
    (serializers.CharField, str, "a string"),
    (serializers.UUIDField, str, "a string"),
    (serializers.DateTimeField, str, "a string"),
    (serializers.DateField, str, "a string"),
    (serializers.IPAddressField, str, "a string"),
)
"""What JSON has to hold for a field: REST framework by itself would take 5 for a string, and "yes"
for true. The first match counts."""


class Input(serializers.Serializer[Any]):
    """The base of every request body and query string: unknown fields are refused.

    Values of fields that are `write_only` are secrets: no message repeats them.
    """

    def to_internal_value(self, data: Any) -> Any:
        """The checked fields.

        Raises:
            ValidationError: by field, as everywhere in REST framework.
        """
        if not isinstance(data, Mapping):
            problem = f"has to be a JSON object, not {shown(data)}."
            raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [problem]})
        unknown = sorted(str(name) for name in data if name not in self.fields)
        if unknown:
            known = ", ".join(name for name, field in self.fields.items() if not field.read_only)
            raise serializers.ValidationError(
                {unknown[0]: [f"is not known here. Known are: {known or 'no fields at all'}."]}
            )
        if not isinstance(data, QueryFields):
            for name, value in data.items():
                wrong = _wrong_type(self.fields[name], value)
                if wrong:
                    raise serializers.ValidationError({name: [wrong]})
        return super().to_internal_value(data)


class QueryFields(dict[str, Any]):
    """The fields of a query string: all of them text, so their types are not looked at."""


def _wrong_type(field: AnyField, value: object) -> str:
    """What is wrong with the JSON type, or ""."""
    known = next((entry for entry in _JSON_TYPES if isinstance(field, entry[0])), None)
    if value is None or known is None:
        return ""
    _, expected, name = known
    # In Python true is a whole number; in JSON it is not.
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        return f"has to be {name}."
    if isinstance(value, int) and abs(value) > INT64:
        return "is beyond 64 bits."
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        wrong = (_wrong_type(field.child, item) for item in value)
        return next((f"holds an element that {text}" for text in wrong if text), "")
    return ""


def checked(form: type[Input], data: object, *, where: str) -> dict[str, Any]:
    """`data` as `form` reads it. `where` names the whole, such as `The body`.

    Raises:
        InvalidArgument: the first thing that is wrong, with the field, the value and the rule.
    """
    _refuse_unstorable(data, where)
    if not isinstance(data, Mapping):
        raise InvalidArgument(f"{where} has to be a JSON object, not {shown(data)}.")
    serializer = form(data=data)
    if not serializer.is_valid():
        raise InvalidArgument(_first_problem(serializer, data, where))
    found: dict[str, Any] = serializer.validated_data
    return found


def query_fields(
    form: type[Input], query: MultiValueDict[str, str], *, without: Sequence[str]
) -> QueryFields:
    """The query string as fields of `form`; lists where the form wants them.

    Raises:
        InvalidArgument: a parameter stands there twice that can be there once.
    """
    fields = form().fields
    found = QueryFields()
    for name in query:
        if name in without:
            continue
        values = query.getlist(name)
        wants_list = isinstance(
            fields.get(name), serializers.ListField | serializers.MultipleChoiceField
        )
        if len(values) > 1 and not wants_list:
            raise InvalidArgument(
                f"The query parameter {shown(name)} is there {len(values)} times. Send it once."
            )
        found[name] = values if wants_list else values[0]
    return found


def _refuse_unstorable(value: object, where: str, depth: int = 0) -> None:
    """No NUL (PostgreSQL has no room for it), no half of a surrogate pair (UTF-8 has none)."""
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"{where} is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidArgument(
                f"{where} holds {shown(value)}: NUL characters and lone surrogates can't be stored."
                " Leave them out."
            )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_unstorable(key, where, depth + 1)
            _refuse_unstorable(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_unstorable(item, where, depth + 1)


def _first_problem(serializer: Input, data: object, where: str) -> str:
    """One sentence: which field, its value unless it is a secret, and the rule."""
    path: list[str | int] = []
    problem: Any = serializer.errors
    value: Any = data
    field: Any = serializer
    while True:
        if isinstance(problem, Mapping):
            key, problem = next((k, p) for k, p in problem.items() if p)
            if key == api_settings.NON_FIELD_ERRORS_KEY:
                continue
            path.append(key)
            field = _inner(field, key)
            value = value.get(key) if isinstance(value, Mapping) else _at(value, key)
        elif isinstance(problem, list) and problem and not isinstance(problem[0], str):
            index = next(number for number, each in enumerate(problem) if each)
            path.append(index)
            field, problem = _inner(field, index), problem[index]
            value = _at(value, index)
        else:
            break
    text = str(problem[0] if isinstance(problem, list) else problem)
    if not path:
        return f"{where} {text}"
    name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
    missing = value is None or getattr(field, "write_only", False)
    return f"{name}: {text}" if missing else f"{name} {shown(value)}: {text}"


def _inner(field: Any, key: str | int) -> Any:
    if isinstance(field, serializers.Serializer):
        return field.fields.get(key) if isinstance(key, str) else None
    return getattr(field, "child", None)


def _at(value: object, key: str | int) -> object:
    """The element of a list; its number may be text in REST framework's errors."""
    try:
        return value[int(key)] if isinstance(value, list) else None
    except (ValueError, IndexError):
        return None
