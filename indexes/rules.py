"""What an index may look like, with Pinecone's limits.

Every refusal names the value, the rule and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from orgs.errors import InvalidArgument
from rest.wording import shown

MAX_NAME = 45
MAX_DIMENSION = 20_000
MAX_TAGS = 20
MAX_TAG_KEY = 80
MAX_TAG_VALUE = 120
MAX_PLACE = 64
MAX_LABEL = 63
"""A DNS label has at most 63 octets (RFC 1035, section 2.3.4)."""
METRICS = ("cosine", "dotproduct", "euclidean")
VECTOR_TYPES = ("dense", "sparse")
DEFAULT_CLOUD, DEFAULT_REGION = "aws", "us-east-1"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,43}[a-z0-9])?")
_TAG_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_TAG_VALUE = re.compile(r"[ -~]{0,120}")
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What is asked for when an index is created."""

    name: str
    dimension: int | None
    metric: str = "cosine"
    vector_type: str = "dense"
    cloud: str = DEFAULT_CLOUD
    region: str = DEFAULT_REGION
    tags: Mapping[str, str] = field(default_factory=dict)
    deletion_protection: bool = False


def is_name(name: str) -> bool:
    """Whether an index could have this name."""
    return _NAME.fullmatch(name) is not None


def label_for(name: str, project_id: UUID) -> str:
    """`<index>-<project>`: 12 hex digits of the project keep equal names of two projects apart."""
    return f"{name}-{project_id.hex[:12]}"


def check_spec(spec: IndexSpec) -> None:
    """Let a well-formed wish pass.

    Raises:
        InvalidArgument: a value breaks its rule.
    """
    if not is_name(spec.name):
        raise InvalidArgument(
            f"name {shown(spec.name)} can't be used: 1 to {MAX_NAME} lower-case letters, digits and"
            " hyphens, with no hyphen at either end. Choose another name."
        )
    if spec.vector_type not in VECTOR_TYPES:
        raise InvalidArgument(
            f"vector_type {shown(spec.vector_type)} is not known: use dense or sparse."
        )
    if spec.metric not in METRICS:
        raise InvalidArgument(
            f"metric {shown(spec.metric)} is not known: use {', '.join(METRICS)}."
        )
    _check_dimension(spec)
    for what, value in (("cloud", spec.cloud), ("region", spec.region)):
        if not _PLACE.fullmatch(value):
            raise InvalidArgument(
                f"{what} {shown(value)} can't be used: 1 to {MAX_PLACE} letters, digits, dots,"
                " hyphens or underscores, a letter or digit first. Any such word will do, such as"
                f" {DEFAULT_CLOUD if what == 'cloud' else DEFAULT_REGION}."
            )
    check_tags(spec.tags)


def _check_dimension(spec: IndexSpec) -> None:
    if spec.vector_type == "sparse":
        if spec.dimension is not None:
            raise InvalidArgument(
                f"dimension {shown(spec.dimension)} can't be used: a sparse index has none."
                " Leave it out."
            )
        if spec.metric != "dotproduct":
            raise InvalidArgument(
                f"metric {shown(spec.metric)} can't be used: a sparse index knows dotproduct only."
            )
    elif spec.dimension is None:
        raise InvalidArgument(
            f"dimension is missing: a dense index needs one, from 1 to {MAX_DIMENSION}."
        )
    elif not 1 <= spec.dimension <= MAX_DIMENSION:
        raise InvalidArgument(
            f"dimension {shown(spec.dimension)} is out of range: 1 to {MAX_DIMENSION}."
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Let well-formed tags pass, `''` values included, which delete the tag in a change.

    Raises:
        InvalidArgument: too many, or a key or value breaks its rule.
    """
    for key, value in tags.items():
        if not _TAG_KEY.fullmatch(key):
            raise InvalidArgument(
                f"Tag key {shown(key)} can't be used: 1 to {MAX_TAG_KEY} letters, digits, hyphens"
                " or underscores."
            )
        if not _TAG_VALUE.fullmatch(value):
            raise InvalidArgument(
                f"The value {shown(value)} of tag {shown(key)} can't be used: 0 to {MAX_TAG_VALUE}"
                " printable ASCII characters."
            )
    kept = sum(1 for value in tags.values() if value)
    if kept > MAX_TAGS:
        raise InvalidArgument(
            f"{kept} tags are too many: an index has at most {MAX_TAGS}. Remove some first."
        )
