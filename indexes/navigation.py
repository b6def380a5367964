"""What the pages of an index have in common, whichever module brings them."""

from __future__ import annotations

from indexes.models import Index
from indexes.selectors import host_of
from projects.navigation import project_context

TONES = {
    Index.State.READY: "good",
    Index.State.INITIALIZING: "busy",
    Index.State.INITIALIZATION_FAILED: "bad",
    Index.State.TERMINATING: "off",
}
"""The colour of each state."""


def index_context(index: Index) -> dict[str, object]:
    """What the templates of all pages of an index use, the side bar and the tabs included.

    The index's project is loaded, with its organization.
    """
    context = {"index": index, "host": host_of(index), "tone": tone_of(index)}
    return project_context(index.project) | context


def tone_of(index: Index) -> str:
    """The colour of the index's state: `warn` where it is provisioned but does not serve."""
    troubled = index.state == Index.State.READY and index.cause
    return "warn" if troubled else TONES[Index.State(index.state)]
