"""What docs/api-keys.md says of keys has to be so."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from django.conf import settings
from django.urls import resolve

from keys import secrets
from keys.models import LeakPolicy
from keys.services.limits import Limits

PAGE = (Path(settings.BASE_DIR) / "docs" / "api-keys.md").read_text()


def first_cells() -> list[str]:
    """The first cell of every row of every table."""
    return re.findall(r"^\| ([^|]+) \|", PAGE, re.M)


def test_every_operation_is_there() -> None:
    text = " ".join(first_cells())
    paths = set(re.findall(r"/admin/[a-z{}/-]+", text))
    assert len(paths) == 9
    for path in paths:
        assert resolve(path.replace("{id}", str(uuid.uuid4())))


def test_every_limit_is_explained() -> None:
    names = {name for cell in first_cells() for name in re.findall(r"`(\w+)`", cell)}
    assert names >= {*Limits.__annotations__, *LeakPolicy.values, "roles"}


def test_the_pattern_for_scanners_finds_keys_in_text() -> None:
    (pattern,) = re.findall(r"^(\\btmrk.*)$", PAGE, re.M)
    for _ in range(50):
        text = secrets.generate().text
        assert re.findall(pattern, f'PINECONE_API_KEY="{text}"') == [text]
