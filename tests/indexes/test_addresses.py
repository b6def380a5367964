"""Where an index is reached, and which index an address leads to."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from indexes import addresses
from indexes.models import Deployment, Index
from indexes.reconciliation import reconcile
from indexes.rules import label_for
from indexes.selectors import host_of, route_for
from orgs.errors import QuotaExceeded
from tests.cast import Cast
from tests.indexes.conftest import make_index


def deploy(index: Index) -> Deployment:
    """A row as if the index were served."""
    Index.objects.filter(pk=index.pk).update(state=Index.State.READY)
    return Deployment.objects.create(index=index, node="node-1", port=21444)


class PortRouteTests:
    def test_a_port_leads_to_its_index(self, cast: Cast) -> None:
        index, other = make_index(cast.project), make_index(cast.other_project)
        deployment = deploy(index)
        route = route_for("anything", index.gateway_port)
        assert route is not None
        assert route.ready
        assert (route.index_id, route.deployment_id) == (index.pk, deployment.pk)
        assert route.project_id == cast.project.pk
        assert route.organization_id == cast.organization.pk
        assert (route.address, route.state) == ("127.0.0.1:21444", "Ready")
        beside = route_for("anything", other.gateway_port)
        assert beside is not None
        assert beside.project_id == cast.other_project.pk

    def test_it_takes_one_query(self, cast: Cast, django_assert_num_queries: Any) -> None:
        index = make_index(cast.project)
        deploy(index)
        with django_assert_num_queries(1):
            assert route_for("", index.gateway_port)

    def test_an_index_without_a_process_is_known_but_not_ready(self, cast: Cast) -> None:
        route = route_for("", make_index(cast.project).gateway_port)
        assert route is not None
        assert not route.ready
        assert (route.deployment_id, route.address, route.state) == (None, "", "Initializing")

    @pytest.mark.parametrize("state", ["Initializing", "InitializationFailed", "Terminating"])
    def test_only_ready_is_ready(self, cast: Cast, state: str) -> None:
        index = make_index(cast.project)
        deploy(index)
        Index.objects.filter(pk=index.pk).update(state=state)
        route = route_for("", index.gateway_port)
        assert route is not None
        assert (route.ready, route.state) == (False, state)

    def test_a_former_process_is_not_led_to(self, cast: Cast) -> None:
        index = make_index(cast.project)
        former = deploy(index)
        Deployment.objects.filter(pk=former.pk).update(removed_at=timezone.now())
        newer = Deployment.objects.create(index=index, node="node-1", port=21445)
        route = route_for("", index.gateway_port)
        assert route is not None
        assert (route.deployment_id, route.address) == (newer.pk, "127.0.0.1:21445")

    def test_a_deleted_index_is_nobodys_address(self, cast: Cast) -> None:
        index = make_index(cast.project)
        Index.objects.filter(pk=index.pk).update(deleted_at=timezone.now())
        assert route_for("", index.gateway_port) is None

    @pytest.mark.parametrize("port", [None, 0, 8443, 8507, 70_000, -1])
    def test_another_port_is_nobodys(self, cast: Cast, port: int | None) -> None:
        make_index(cast.project)
        assert route_for("localhost:8444", port) is None


class HostRouteTests:
    @pytest.fixture(autouse=True)
    def by_host(self, settings: Settings) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        settings.TAMARACK_INDEX_DOMAIN = "svc.Vectors.example"
        settings.TAMARACK_PUBLIC_PORT = 8443

    @pytest.mark.parametrize("change", [str, str.upper, lambda host: host.split(":")[0] + "."])
    def test_the_name_that_clients_are_given_leads_back(self, cast: Cast, change: Any) -> None:
        index = make_index(cast.project)
        deploy(index)
        make_index(cast.other_project)
        route = route_for(change(host_of(index)), 8443)
        assert route is not None
        assert route.index_id == index.pk

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "localhost",
            "svc.vectors.example",
            ".svc.vectors.example",
            "products.svc.vectors.example",
            "products-{project}.svc.other.example",
            "x.products-{project}.svc.vectors.example",
            "products-{project}.svc.vectors.example.evil",
            "\x00.svc.vectors.example",
            "é.svc.vectors.example",
            "a" * 5000,
            ":" * 50,
        ],
    )
    def test_another_name_is_nobodys(self, cast: Cast, host: str) -> None:
        make_index(cast.project)
        wanted = host.format(project=cast.project.pk.hex[:12])
        assert route_for(wanted, None) is None


class RefreshTests:
    def test_indexes_get_ports_when_the_operator_goes_from_names_to_ports(
        self, cast: Cast, settings: Settings
    ) -> None:
        settings.TAMARACK_ADDRESSING = "host"
        index = make_index(cast.project)
        assert reconcile().moved == []
        settings.TAMARACK_ADDRESSING = "port"
        assert reconcile().moved == [index.pk]
        index.refresh_from_db()
        assert index.gateway_port in settings.TAMARACK_INDEX_PORTS
        assert reconcile().moved == []

    def test_a_changed_range_moves_those_outside(self, cast: Cast, settings: Settings) -> None:
        index = make_index(cast.project)
        settings.TAMARACK_INDEX_PORTS = range(9000, 9002)
        assert addresses.refresh() == [index.pk]
        index.refresh_from_db()
        assert index.gateway_port == 9000

    def test_too_few_ports_are_reported(self, cast: Cast, settings: Settings) -> None:
        for number in range(3):
            make_index(cast.project, f"index-{number}")
        settings.TAMARACK_INDEX_PORTS = range(9000, 9002)
        with pytest.raises(QuotaExceeded):
            addresses.refresh()
        assert "TAMARACK_INDEX_PORTS" in reconcile().drift[0]

    def test_the_names_of_equal_indexes_differ_by_project(self) -> None:
        first, second = uuid.uuid4(), uuid.uuid4()
        assert label_for("a" * 45, first) != label_for("a" * 45, second)
        assert len(label_for("a" * 45, first)) <= 63
