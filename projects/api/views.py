"""Projects over the Admin API: Pinecone's operations, and archiving, restoring and quotas."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orgs.api.base import OrganizationView
from orgs.permissions import Permission
from orgs.selectors.organizations import get_organization
from projects import services
from projects.api.serializers import (
    PreviewSerializer,
    ProjectChange,
    ProjectInput,
    ProjectSerializer,
    QuotasSerializer,
    preview_json,
    quotas_json,
)
from projects.models import Project
from projects.quotas import organization_quotas, project_quotas
from projects.selectors import get_project, projects_in
from rest.pagination import LIMIT, TOKEN
from rest.schema import DRY_RUN, IF_MATCH, PAGING, errors, page_of
from rest.serializers import Input

PROJECT_OR_PREVIEW = PolymorphicProxySerializer(
    component_name="ProjectOrPreview",
    serializers=[ProjectSerializer, PreviewSerializer],
    resource_type_field_name=None,
)


class ProjectView(OrganizationView):
    """What the operations share: how a project is shown."""

    def shown(self, project: Project, status: int = 200) -> Response:
        """The project with its version as `ETag`."""
        data = ProjectSerializer(project).data
        return self.answer(data, status=status, version=project.version)


class ProjectsView(ProjectView):
    """`/admin/projects`"""

    @extend_schema(
        operation_id="list_projects",
        parameters=[*PAGING],
        responses={200: page_of(ProjectSerializer), **errors(400, 404)},
    )
    def get(self, request: Request) -> Response:
        """The organization's projects that the caller has a role on, oldest first: all of them, or
        a page where `limit` or `paginationToken` is given.
        """
        self.query(Input)
        projects = projects_in(self.actor, self.organization_id)
        if LIMIT in request.query_params or TOKEN in request.query_params:
            return self.page(projects, ProjectSerializer)
        rows = projects.order_by("created_at", "id")
        data = ProjectSerializer(cast("Any", rows), many=True).data
        return self.answer({"data": data, "pagination": None})

    @extend_schema(
        operation_id="create_project",
        parameters=[DRY_RUN],
        request=ProjectInput,
        responses={200: PROJECT_OR_PREVIEW, **errors(400, 402, 404)},
    )
    def post(self, request: Request) -> Response:
        """Create a project; a person or service account that does owns it."""
        fields = self.body(ProjectInput)
        wanted = {"actor": self.actor, "organization_id": self.organization_id, **fields}
        if self.dry_run:
            return self.answer(preview_json(services.preview_project(**wanted)))
        return self.shown(services.create_project(**wanted))


class ProjectDetailView(ProjectView):
    """`/admin/projects/{project_id}`"""

    @extend_schema(operation_id="get_project", responses={200: ProjectSerializer, **errors(404)})
    def get(self, request: Request, project_id: UUID) -> Response:
        """Describe one."""
        return self.shown(get_project(self.actor, project_id))

    @extend_schema(
        operation_id="update_project",
        parameters=[IF_MATCH],
        request=ProjectChange,
        responses={200: ProjectSerializer, **errors(400, 404, 412)},
    )
    def patch(self, request: Request, project_id: UUID) -> Response:
        """Change its name, its limits, or switch the CMEK flag on."""
        changes = services.Changes(**self.body(ProjectChange))
        project = services.update_project(
            actor=self.actor, project_id=project_id, changes=changes, check=self.check_version
        )
        return self.shown(project)

    @extend_schema(
        operation_id="delete_project",
        parameters=[IF_MATCH],
        responses={202: None, **errors(400, 404, 412)},
    )
    def delete(self, request: Request, project_id: UUID) -> Response:
        """Delete it with its API keys; 412 while indexes or backups remain."""
        services.delete_project(actor=self.actor, project_id=project_id, check=self.check_version)
        return self.answer(status=202)


class ArchiveView(ProjectView):
    """`/admin/projects/{project_id}/archive`"""

    @extend_schema(
        operation_id="archive_project",
        parameters=[IF_MATCH],
        request=None,
        responses={200: ProjectSerializer, **errors(400, 404, 412)},
    )
    def post(self, request: Request, project_id: UUID) -> Response:
        """Let it rest: its keys stop working, nothing is made in it, its data stays."""
        project = services.archive_project(
            actor=self.actor, project_id=project_id, check=self.check_version
        )
        return self.shown(project)


class RestoreView(ProjectView):
    """`/admin/projects/{project_id}/restore`"""

    @extend_schema(
        operation_id="restore_project",
        parameters=[IF_MATCH],
        request=None,
        responses={200: ProjectSerializer, **errors(400, 404, 412)},
    )
    def post(self, request: Request, project_id: UUID) -> Response:
        """End its rest."""
        project = services.restore_project(
            actor=self.actor, project_id=project_id, check=self.check_version
        )
        return self.shown(project)


class ProjectQuotasView(OrganizationView):
    """`/admin/projects/{project_id}/quotas`"""

    @extend_schema(
        operation_id="get_project_quotas", responses={200: QuotasSerializer, **errors(404)}
    )
    def get(self, request: Request, project_id: UUID) -> Response:
        """What the project may hold, what it holds, and what sets the limit."""
        project = get_project(self.actor, project_id, Permission.PROJECT_READ)
        return self.answer(quotas_json(project_quotas(project)))


class OrganizationQuotasView(OrganizationView):
    """`/admin/organizations/{organization_id}/quotas`"""

    @extend_schema(
        operation_id="get_organization_quotas", responses={200: QuotasSerializer, **errors(404)}
    )
    def get(self, request: Request, organization_id: UUID) -> Response:
        """What the organization may hold, what it holds, and what sets the limit."""
        organization = get_organization(self.actor, organization_id)
        return self.answer(quotas_json(organization_quotas(organization)))
