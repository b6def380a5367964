"""The reconciler: what runs follows the rows, and what can't be mended is said."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from indexes import files
from indexes.certificates import authority, index_dns_name, index_identity
from indexes.drivers import current_driver
from indexes.drivers.base import ProcessState
from indexes.models import Deployment, Index
from indexes.probe import is_healthy
from indexes.reconciliation import Report, reconcile
from indexes.selectors import route_for
from kms.certificates import load_pair, write_pair
from projects.services import archive_project, restore_project
from tests.factories import SYSTEM
from tests.indexes.conftest import make_index, provision
from tests.indexes.processes import Processes, is_alive, wait_for
from tests.indexes.test_provisioning import process_of

pytestmark = pytest.mark.xdist_group("platform")


@pytest.fixture
def deployment(platform: Processes) -> Deployment:
    """A Ready index's deployment."""
    found = provision(make_index())
    wait_for(lambda: state_of(found) is ProcessState.RUNNING, "a server that counts as running")
    return found


def state_of(deployment: Deployment) -> ProcessState | None:
    """How the driver sees the deployment's process."""
    status = current_driver().status(deployment.pk)
    return status.state if status else None


def reconcile_until(deployment: Deployment) -> Report:
    """Rounds until the deployment serves again; the first one's report."""
    first = reconcile()
    wait_for(lambda: reconcile() is not None and is_healthy(deployment), "a server that serves")
    return first


class RepairTests:
    def test_where_all_is_well_nothing_is_done(self, deployment: Deployment) -> None:
        assert reconcile() == Report()

    def test_a_server_that_nobody_supervises_any_more_is_started(
        self, deployment: Deployment
    ) -> None:
        wait_for(lambda: current_driver().remove(deployment.pk), "the server's end")
        assert reconcile_until(deployment).started == [deployment.pk]

    def test_a_stopped_server_is_started(self, deployment: Deployment) -> None:
        name = f"index-{deployment.pk}"
        current_driver()._call("stopProcess", name)  # type: ignore[attr-defined]  # by hand
        assert reconcile_until(deployment).started == [deployment.pk]

    def test_a_killed_server_comes_back(self, deployment: Deployment) -> None:
        before = process_of(deployment)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: not is_alive(before), "the server's end")
        wait_for(lambda: is_healthy(deployment), "the server's return")
        assert process_of(deployment) != before

    def test_a_server_that_fails_is_told_of_and_comes_back_once_mended(
        self, deployment: Deployment
    ) -> None:
        key = deployment.index.data_keys.get()
        good, key.wrapped = key.wrapped, "{}"
        key.save()
        os.kill(process_of(deployment), signal.SIGKILL)
        wait_for(lambda: state_of(deployment) is ProcessState.FAILED, "the supervisor gives up")
        reconcile()
        index = Index.objects.get(pk=deployment.index_id)
        assert index.state == Index.State.READY
        assert not index.is_ready
        assert "the key service refused" in index.cause
        route = route_for("", index.gateway_port)
        assert route is not None
        assert not route.ready
        key.wrapped = good
        key.save()
        reconcile_until(deployment)
        wait_for(lambda: state_of(deployment) is ProcessState.RUNNING, "running")
        reconcile()
        index.refresh_from_db()
        assert index.is_ready
        assert index.remedy == ""

    def test_a_lost_record_is_never_replaced_by_an_empty_one(self, deployment: Deployment) -> None:
        wait_for(lambda: current_driver().remove(deployment.pk), "the server's end")
        for path in files.folder_of(deployment.pk).glob("record.db*"):
            path.unlink()
        report = reconcile()
        assert report.started == []
        assert "is gone" in report.drift[0]
        assert not files.record_path(deployment.pk).exists()
        assert not Index.objects.get(pk=deployment.index_id).is_ready

    def test_without_a_supervisor_the_round_ends_in_a_report(
        self, deployment: Deployment, platform: Processes
    ) -> None:
        platform.stop("supervisor")
        assert "supervisord does not answer" in reconcile().drift[0]


class ArchiveTests:
    def test_the_servers_of_an_archived_project_rest_and_come_back(
        self, deployment: Deployment
    ) -> None:
        index = deployment.index
        pid = process_of(deployment)
        archive_project(actor=SYSTEM, project_id=index.project_id)
        assert reconcile().stopped == [deployment.pk]
        wait_for(lambda: not is_alive(pid), "the server's end")
        index.refresh_from_db()
        assert (index.state, index.is_ready) == (Index.State.READY, False)
        assert "is archived" in index.cause
        assert files.record_path(deployment.pk).exists()
        reconcile()
        assert state_of(deployment) in {None, ProcessState.STOPPED}
        restore_project(actor=SYSTEM, project_id=index.project_id)
        assert deployment.pk in reconcile_until(deployment).started
        wait_for(lambda: state_of(deployment) is ProcessState.RUNNING, "running")
        reconcile()
        index.refresh_from_db()
        assert index.is_ready


class OrphanTests:
    def test_a_server_of_a_deleted_index_is_stopped_and_its_files_go(
        self, deployment: Deployment
    ) -> None:
        pid = process_of(deployment)
        now = timezone.now()
        Deployment.objects.update(removed_at=now)
        Index.objects.update(deleted_at=now)
        assert reconcile().stopped == [deployment.pk]
        wait_for(lambda: not is_alive(pid), "the orphan's end")
        wait_for(lambda: reconcile() == Report(), "nothing left to do")
        assert not files.folder_of(deployment.pk).exists()
        assert current_driver().all() == {}

    def test_a_server_without_a_row_is_stopped_but_its_files_stay(
        self, deployment: Deployment
    ) -> None:
        # As with a database that is not the one this home belongs to.
        pid = process_of(deployment)
        Deployment.objects.all().delete()
        report = reconcile()
        wait_for(lambda: not is_alive(pid), "the orphan's end")
        assert report.stopped == [deployment.pk]
        assert report.removed == []
        assert str(deployment.pk) in report.drift[0]
        assert files.record_path(deployment.pk).exists()

    def test_what_is_not_ours_is_left_alone(self, deployment: Deployment) -> None:
        strange = files.folder_of(deployment.pk).parent / "notes"
        strange.mkdir()
        assert reconcile() == Report()
        assert strange.exists()

    def test_what_an_operation_is_busy_with_is_left_alone(self, deployment: Deployment) -> None:
        Index.objects.update(state=Index.State.INITIALIZING)
        wait_for(lambda: current_driver().remove(deployment.pk), "the server's end")
        assert reconcile() == Report()

    def test_a_failed_indexs_server_is_stopped(self, deployment: Deployment) -> None:
        Index.objects.update(state=Index.State.INITIALIZATION_FAILED)
        Deployment.objects.update(desired_state=Deployment.Desired.STOPPED)
        assert reconcile().stopped == [deployment.pk]


class CertificateTests:
    def age(self, deployment: Deployment, by: timedelta) -> bytes:
        """Give the server a certificate as old as that; returns its PEM."""
        index = deployment.index
        pair = authority().issue_workload(
            index_identity(index), [index_dns_name(index)], now=datetime.now(UTC) - by
        )
        folder = files.folder_of(deployment.pk)
        write_pair(pair, folder / "tls.crt", folder / "tls.key")
        return pair.certificate

    def test_one_that_is_due_is_renewed_without_a_restart(self, deployment: Deployment) -> None:
        before = process_of(deployment)
        old = self.age(deployment, timedelta(hours=17))
        assert reconcile().renewed == [deployment.pk]
        folder = files.folder_of(deployment.pk)
        new = load_pair(folder / "tls.crt", folder / "tls.key")
        assert new.certificate != old
        assert is_healthy(deployment)
        assert process_of(deployment) == before
        assert reconcile().renewed == []

    def test_one_with_time_left_stays(self, deployment: Deployment) -> None:
        self.age(deployment, timedelta(hours=1))
        assert reconcile().renewed == []

    def test_a_pair_torn_by_a_crash_is_replaced(self, deployment: Deployment) -> None:
        folder = files.folder_of(deployment.pk)
        other = authority().issue_workload(index_identity(deployment.index))
        (folder / "tls.key").write_bytes(other.private_key)
        assert reconcile().renewed == [deployment.pk]
        load_pair(folder / "tls.crt", folder / "tls.key")

    def test_one_that_ran_out_while_the_platform_was_off_is_renewed(
        self, deployment: Deployment
    ) -> None:
        self.age(deployment, timedelta(hours=40))
        assert reconcile().renewed == [deployment.pk]


class LeftoverTests:
    def test_files_that_a_late_worker_wrote_after_the_deletion_go(
        self, deployment: Deployment
    ) -> None:
        wait_for(lambda: current_driver().remove(deployment.pk), "the server's end")
        now = timezone.now()
        Deployment.objects.update(removed_at=now)
        Index.objects.update(deleted_at=now)
        shutil.rmtree(files.folder_of(deployment.pk))
        files.write(deployment)
        assert reconcile().removed == [deployment.pk]
        assert not files.folder_of(deployment.pk).exists()

    def test_a_folder_of_nobody_stays(self, deployment: Deployment) -> None:
        nobody: Path = files.folder_of(uuid.uuid4())
        nobody.mkdir()
        assert str(nobody) in reconcile().drift[0]
        assert nobody.exists()
