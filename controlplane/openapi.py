"""The OpenAPI 3.1 document, made from the views: `/api/openapi.json` and docs/openapi.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from drf_spectacular.drainage import GENERATOR_STATS, reset_generator_stats
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator

INTERNAL = "x-spec-enum-id"


class Incomplete(Exception):
    """A view does not say enough of itself; the text tells which."""


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A project's key."""

    target_class = "keys.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """The header that carries it."""
        return {"type": "apiKey", "in": "header", "name": "Api-Key"}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A service account's access token."""

    target_class = "keys.authentication.BearerAuthentication"
    name = "Bearer"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """The header that carries it."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token from POST /oauth/token.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A person who is signed in."""

    target_class = "orgs.api.base.SessionAuthentication"
    name = "Session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """The cookie that carries it."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-tamarack-session",
            "description": "A signed-in person's session; what changes something needs the"
            " X-CSRFToken header too.",
        }


def gaps_of(generate: Callable[[], object]) -> list[str]:
    """What the views leave unsaid, found while `generate` runs."""
    reset_generator_stats()
    generate()
    return [*GENERATOR_STATS._error_cache, *GENERATOR_STATS._warn_cache]


@lru_cache(maxsize=1)
def text() -> str:
    """The document as JSON, the same for the same code.

    Raises:
        Incomplete: a view can't be described.
    """
    made: list[Any] = []
    generator = SchemaGenerator(urlconf="controlplane.urls")  # type: ignore[no-untyped-call]
    gaps = gaps_of(lambda: made.append(generator.get_schema(request=None, public=True)))  # type: ignore[no-untyped-call]
    if gaps:
        raise Incomplete("\n".join(gaps))
    return json.dumps(_published(made[0]), indent=1, ensure_ascii=False) + "\n"


def _published(value: Any) -> Any:
    """Without what the generator notes for itself."""
    if isinstance(value, dict):
        return {name: _published(item) for name, item in value.items() if name != INTERNAL}
    return [_published(item) for item in value] if isinstance(value, list) else value
