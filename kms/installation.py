"""The KEK provider of this installation: where every chain of wrapped keys begins."""

from __future__ import annotations

from django.conf import settings

from kms.providers import KeyProvider, LocalProvider


def provider() -> KeyProvider:
    """The KEK provider that this installation uses."""
    return LocalProvider(settings.TAMARACK_HOME / "keys" / "root.key")
