"""The project's key: made with the project, opened only to wrap or unwrap a data key."""

from __future__ import annotations

from kms import envelope
from kms.envelope import Context, KeyUnavailable, WrappedKey
from kms.installation import provider
from projects.models import Project, ProjectKey


def _context(project: Project, version: int) -> Context:
    return {
        "purpose": "project-key",
        "organization": str(project.organization_id),
        "project": str(project.pk),
        "version": str(version),
    }


def add_project_key(project: Project) -> ProjectKey:
    """Make and store the first key of a new project.

    Raises:
        KeyUnavailable: the KEK provider can't be used.
    """
    wrapped = provider().wrap(envelope.new_key(), context=_context(project, 1))
    return ProjectKey.objects.create(project=project, version=1, wrapped=wrapped.dump())


def shred(project: Project) -> int:
    """Delete the project's keys, for good; how many there were.

    On SQLite `secure_delete` overwrites the rows, and copies in the write-ahead log go with its
    next checkpoint; PostgreSQL keeps old rows until it vacuums.
    """
    return project.encryption_keys.all().delete()[0]


def wrap_data_key(project: Project, key: bytes, *, context: Context) -> WrappedKey:
    """Wrap an index's data key under the newest key of its project, bound to `context`.

    Raises:
        KeyUnavailable: the project's key can't be opened.
    """
    newest = project.encryption_keys.order_by("-version").first()
    if newest is None:
        raise KeyUnavailable(f"The project {project.pk} has no key.")
    return envelope.wrap(key, under=_open(project, newest), name=_name(newest), context=context)


def unwrap_data_key(project: Project, wrapped: WrappedKey, *, context: Context) -> bytes:
    """The data key that `wrap_data_key` wrapped.

    Raises:
        KeyUnavailable: the project's key is gone or can't be opened, or the data key is damaged.
    """
    rows = {_name(row): row for row in project.encryption_keys.all()}
    row = rows.get(wrapped.wrapped_by)
    if row is None:
        raise KeyUnavailable(
            f"The key {wrapped.wrapped_by[:80]} is none of the project {project.pk}."
        )
    return envelope.unwrap(
        wrapped, under=_open(project, row), name=wrapped.wrapped_by, context=context
    )


def _name(row: ProjectKey) -> str:
    """What data keys remember of the project key that wrapped them."""
    return f"project:{row.project_id}:{row.version}"


def _open(project: Project, row: ProjectKey) -> bytes:
    wrapped = WrappedKey.load(row.wrapped)
    return provider().unwrap(wrapped, context=_context(project, row.version))
