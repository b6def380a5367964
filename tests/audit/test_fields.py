"""What the rooms record: every field is public by decision, not by accident."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from audit.events import PUBLIC_FIELDS, SECRET_FIELDS

ROOMS = ("controlplane", "gateway", "indexes", "keys", "projects", "orgs", "audit", "rest")
DICTIONARIES = ("detail", "changes")
NO_FACTS = {None, "actor", "outcome", "index"}


def recorded_fields() -> Iterator[tuple[str, str]]:
    """Each field name in a call of `record`, or of a helper around it, with its place.

    In those calls: the names in `detail` and `changes`, however deep, and what is assigned to a
    name that is then given as one of them. Helpers take facts as `**detail`, by name.
    """
    for room in ROOMS:
        for path in sorted((Path(settings.BASE_DIR) / room).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    where = f"{path.relative_to(settings.BASE_DIR)}:{node.name}"
                    for name in fields_in(node):
                        yield name, where


def fields_in(function: ast.FunctionDef) -> Iterator[str]:
    """The names that one function records."""
    given: set[str] = set()
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and called(call) in {"record", "_record"}:
            for keyword in call.keywords:
                if keyword.arg in DICTIONARIES:
                    given |= {n.id for n in ast.walk(keyword.value) if isinstance(n, ast.Name)}
                    yield from names_of(keyword.value)
                elif called(call) == "_record" and keyword.arg not in NO_FACTS:
                    yield str(keyword.arg)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield from assigned_to(given, node)


def called(call: ast.Call) -> str:
    """The name of what is called."""
    return getattr(call.func, "id", "") or getattr(call.func, "attr", "")


def assigned_to(given: set[str], node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """The names that an assignment to one of the variables, or to a key of it, brings in."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name) and target.id in given and node.value is not None:
            yield from names_of(node.value)
        for part in ast.walk(target):
            if (
                isinstance(part, ast.Subscript)
                and getattr(part.value, "id", "") in given
                and isinstance(part.slice, ast.Constant)
            ):
                yield str(part.slice.value)


def names_of(value: ast.expr) -> Iterator[str]:
    """The constant keys of every dictionary in the expression."""
    for node in ast.walk(value):
        if isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)


class FieldTests:
    def test_every_recorded_field_is_listed_as_public_or_as_secret(self) -> None:
        found = list(recorded_fields())
        unlisted = {
            f"{name} ({where})"
            for name, where in found
            if name not in PUBLIC_FIELDS | SECRET_FIELDS
        }
        assert unlisted == set()
        # The search itself works: these are certainly recorded.
        assert {"project_id", "cause", "secret", "days", "tags"} <= {name for name, _ in found}
