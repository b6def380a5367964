"""The key service: who gets a data key, who does not, and what the trail keeps of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from django.conf import settings
from django.utils import timezone

from audit.models import AuditEvent
from indexes import data_keys, provisioning
from indexes.certificates import authority, index_identity
from indexes.models import DataKey, Deployment, Index
from kms.certificates import (
    Authority,
    Pair,
    control_plane_spiffe_id,
    create_issuing,
    create_root,
    gateway_spiffe_id,
    node_spiffe_id,
)
from projects.models import Project
from protos.generated import key_service_pb2 as pb
from protos.generated import key_service_pb2_grpc as pb_grpc
from tests.indexes.conftest import make_index, operation_of
from tests.indexes.processes import Processes

pytestmark = pytest.mark.xdist_group("platform")
TRUST_DOMAIN = settings.TAMARACK_TRUST_DOMAIN


@dataclass(frozen=True)
class Keyed:
    """An index with its deployment, its data key and that key's bytes."""

    index: Index
    deployment: Deployment
    row: DataKey
    key: bytes


@pytest.fixture
def keyed(platform: Processes) -> Keyed:
    """An index that has its key, but no server that would ask for it."""
    return make_keyed("products")


def make_keyed(name: str, project: Project | None = None) -> Keyed:
    """As far as the two first steps bring an index."""
    index = make_index(project, name)
    work = provisioning._claim(operation_of(index).pk)
    assert work is not None
    provisioning.allocate(work)
    provisioning.make_key(work)
    row = index.data_keys.get()
    return Keyed(index, index.deployments.get(), row, data_keys.open_key(row))


def ask(pair: Pair | None, deployment_id: object, trust: bytes | None = None) -> bytes:
    """What the key service answers to who shows this certificate.

    Raises:
        grpc.RpcError: it refuses.
    """
    credentials = grpc.ssl_channel_credentials(
        trust or authority().trust_bundle,
        pair.private_key if pair else None,
        pair.certificate if pair else None,
    )
    options = [
        ("grpc.ssl_target_name_override", f"control-plane.{TRUST_DOMAIN}"),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    address = f"unix:{settings.TAMARACK_RUN_DIR / 'keyservice.sock'}"
    with grpc.secure_channel(address, credentials, options) as channel:
        stub = pb_grpc.KeyServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        answer = stub.OpenIndex(pb.OpenIndexRequest(deployment_id=str(deployment_id)), timeout=5)
    assert answer.data_key_version == 1
    return bytes(answer.data_key)


def pair_of(index: Index, issuer: Authority | None = None) -> Pair:
    """A certificate of the index's server."""
    return (issuer or authority()).issue_workload(index_identity(index))


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Code and text of the refusal that the call ends in."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    error = refused.value
    assert isinstance(error, grpc.Call)
    return error.code(), error.details() or ""


class ReleaseTests:
    def test_an_indexs_own_server_gets_the_key(self, keyed: Keyed) -> None:
        assert ask(pair_of(keyed.index), keyed.deployment.pk) == keyed.key
        assert len(keyed.key) == 32

    def test_a_release_is_in_the_trail_and_the_key_is_not(
        self, keyed: Keyed, platform: Processes
    ) -> None:
        ask(pair_of(keyed.index), keyed.deployment.pk)
        event = AuditEvent.objects.get(type="index.key_released")
        assert event.resource_id == str(keyed.index.pk)
        assert event.organization_id == keyed.index.project.organization_id
        assert event.actor_label == index_identity(keyed.index)
        assert str(keyed.deployment.pk) in event.detail["deployment_id"]
        everything = str(list(AuditEvent.objects.values())) + platform.log("keyservice")
        assert keyed.key.hex() not in everything
        assert repr(keyed.key)[2:-1] not in everything

    def test_the_socket_is_for_its_owner_alone(self, platform: Processes) -> None:
        socket = settings.TAMARACK_RUN_DIR / "keyservice.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600


class RefusalTests:
    def test_another_indexs_server_gets_its_own_key_or_none(self, keyed: Keyed) -> None:
        other = make_keyed("other")
        code, text = refusal(lambda: ask(pair_of(other.index), keyed.deployment.pk))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert f"is not one of index {other.index.pk}" in text
        assert ask(pair_of(other.index), other.deployment.pk) == other.key != keyed.key

    @pytest.mark.parametrize(
        "identity",
        [
            gateway_spiffe_id(TRUST_DOMAIN),
            node_spiffe_id(TRUST_DOMAIN, "node-1"),
            control_plane_spiffe_id(TRUST_DOMAIN),
            f"spiffe://{TRUST_DOMAIN}/org/a/project/b/index/c",
        ],
    )
    def test_who_is_no_index_server_gets_none(self, keyed: Keyed, identity: str) -> None:
        pair = authority().issue_workload(identity)
        code, text = refusal(lambda: ask(pair, keyed.deployment.pk))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "is no index server of this platform" in text

    def test_the_right_index_under_another_tenant_gets_none(self, keyed: Keyed) -> None:
        identity = index_identity(keyed.index).replace(
            str(keyed.index.project.organization_id), str(uuid.uuid4())
        )
        pair = authority().issue_workload(identity)
        assert refusal(lambda: ask(pair, keyed.deployment.pk))[0] is grpc.StatusCode.NOT_FOUND

    def test_another_trust_domains_index_gets_none(self, keyed: Keyed) -> None:
        identity = index_identity(keyed.index).replace(TRUST_DOMAIN, "elsewhere.internal")
        pair = authority().issue_workload(identity)
        code, _ = refusal(lambda: ask(pair, keyed.deployment.pk))
        assert code is grpc.StatusCode.PERMISSION_DENIED

    def test_another_authoritys_certificate_does_not_connect(self, keyed: Keyed) -> None:
        foreign = create_issuing(create_root(TRUST_DOMAIN), TRUST_DOMAIN)
        pair = pair_of(keyed.index, foreign)
        code, _ = refusal(lambda: ask(pair, keyed.deployment.pk))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert not AuditEvent.objects.filter(type="index.key_released").exists()

    def test_no_certificate_does_not_connect(self, keyed: Keyed) -> None:
        code, _ = refusal(lambda: ask(None, keyed.deployment.pk))
        assert code is grpc.StatusCode.UNAVAILABLE

    def test_a_server_of_another_authority_is_not_believed(self, keyed: Keyed) -> None:
        foreign = create_root(TRUST_DOMAIN).trust_bundle
        code, _ = refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk, foreign))
        assert code is grpc.StatusCode.UNAVAILABLE

    def test_an_unknown_index_is_not_found(self, keyed: Keyed) -> None:
        identity = index_identity(keyed.index).replace(str(keyed.index.pk), str(uuid.uuid4()))
        pair = authority().issue_workload(identity)
        assert refusal(lambda: ask(pair, keyed.deployment.pk))[0] is grpc.StatusCode.NOT_FOUND

    def test_a_deleted_index_is_not_found(self, keyed: Keyed) -> None:
        Index.objects.filter(pk=keyed.index.pk).update(deleted_at=timezone.now())
        code, _ = refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk))
        assert code is grpc.StatusCode.NOT_FOUND

    def test_an_index_on_its_way_out_gets_none(self, keyed: Keyed) -> None:
        Index.objects.filter(pk=keyed.index.pk).update(state=Index.State.TERMINATING)
        code, _ = refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk))
        assert code is grpc.StatusCode.FAILED_PRECONDITION

    def test_a_shredded_key_is_gone(self, keyed: Keyed) -> None:
        data_keys.shred(keyed.index.pk)
        code, text = refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "shredded" in text

    def test_a_removed_deployment_gets_none(self, keyed: Keyed) -> None:
        Deployment.objects.update(removed_at=timezone.now())
        code, _ = refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk))
        assert code is grpc.StatusCode.PERMISSION_DENIED

    @pytest.mark.parametrize("deployment_id", ["", "not-a-uuid", "\0", "x" * 5000, "%s'--"])
    def test_a_made_up_deployment_gets_none(self, keyed: Keyed, deployment_id: str) -> None:
        code, _ = refusal(lambda: ask(pair_of(keyed.index), deployment_id))
        assert code is grpc.StatusCode.PERMISSION_DENIED

    def test_a_key_moved_from_another_index_does_not_open(self, keyed: Keyed) -> None:
        other = make_keyed("other", keyed.index.project)
        DataKey.objects.filter(pk=keyed.row.pk).update(
            wrapped=other.row.wrapped, context=other.row.context
        )
        code, text = refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "damaged or belongs to something else" in text

    def test_a_refusal_is_in_the_trail_with_its_reason(self, keyed: Keyed) -> None:
        data_keys.shred(keyed.index.pk)
        refusal(lambda: ask(pair_of(keyed.index), keyed.deployment.pk))
        event = AuditEvent.objects.get(type="index.key_refused")
        assert event.outcome == "failure"
        assert "shredded" in event.detail["reason"]
        assert event.actor_label == index_identity(keyed.index)


class CommandTests:
    def test_without_a_root_key_it_ends_and_says_what_is_missing(self, tmp_path: Path) -> None:
        home = {"TAMARACK_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        ended = subprocess.run(
            [sys.executable, "manage.py", "keyservice"],
            cwd=settings.BASE_DIR,
            env={**os.environ, **home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1
        assert "root.key can't be read" in ended.stderr
