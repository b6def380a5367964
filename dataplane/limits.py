"""What one request or record may contain. The numbers are Pinecone's published limits unless a
comment says otherwise.
"""

from __future__ import annotations

from typing import Final

MAX_ID_LENGTH: Final = 512
MAX_DIMENSION: Final = 20_000
MAX_SPARSE_ENTRIES: Final = 2_048
MAX_METADATA_BYTES: Final = 40_960
MAX_BATCH: Final = 1_000
"""Vectors in one upsert, ids in one fetch or delete."""

MAX_TOP_K: Final = 10_000
MAX_LIST_LIMIT: Final = 100
MAX_FETCH_BY_METADATA_LIMIT: Final = 10_000
DEFAULT_PAGE: Final = 100

MAX_NAMESPACE_LENGTH: Final = 512
MAX_NAMESPACES: Final = 100_000
MAX_SCHEMA_FIELDS: Final = 50

MIN_MAGNITUDE: Final = 1e-8
"""At least one value of a stored dense vector has to be this far from zero."""

MAX_NORM: Final = 1e18
"""Ours: products of two longer vectors leave the range of the float32 scores that the wire carries.
"""

MAX_FILTER_DEPTH: Final = 16
"""Ours: a protobuf message may nest 100 levels, which is about 20 of a filter's."""

MAX_FILTER_VALUES: Final = 10_000
"""Values over a whole filter; Pinecone allows as many in one `$in`."""

SCAN_FACTOR: Final = (0.5, 4.0)
MAX_CANDIDATES: Final = 100_000

MAX_REQUEST_BYTES: Final = 8 * 2**20
"""Ours: twice what the gateway lets through, so that its clearer refusal is the one a client sees.
"""

MAX_RESPONSE_BYTES: Final = 128 * 2**20
"""What the official client accepts."""

MAX_QUEUED_CALLS: Final = 512
"""Ours: calls accepted and waiting; beyond it a client is told at once to come back later."""
