"""From a wish to a running index server and back, on a real supervisord and a real index server."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from audit.models import AuditEvent
from indexes import files, provisioning
from indexes.drivers import current_driver
from indexes.drivers.base import DriverUnavailable, ProcessState
from indexes.drivers.process import include_folder
from indexes.models import Deployment, Index, Operation
from indexes.probe import is_healthy
from indexes.selectors import route_for, serving_counts
from indexes.services import delete_index
from tests.factories import SYSTEM
from tests.indexes.conftest import drive, make_index, operation_of, provision
from tests.indexes.processes import Processes, wait_for

pytestmark = pytest.mark.xdist_group("platform")


def delete(index: Index) -> None:
    """Ask for the index's deletion and see it through."""
    delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
    drive(index)


def process_of(deployment: Deployment) -> int:
    """The pid of the deployment's server, by its command line."""
    wanted = str(files.config_path(deployment.pk)).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in words:
            return int(path.parent.name)
    return 0


class CreationTests:
    def test_an_index_becomes_ready_and_serves(self, platform: Processes) -> None:
        index = make_index()
        deployment = provision(index)
        assert is_healthy(deployment)
        assert serving_counts() == (1, 1)
        route = route_for("", index.gateway_port)
        assert route is not None
        assert route.ready
        assert route.address == f"127.0.0.1:{deployment.port}"
        events = AuditEvent.objects.filter(resource_id=str(index.pk)).order_by("time", "id")
        assert [event.type for event in events] == [
            "index.created",
            "index.key_released",
            "index.ready",
        ]

    def test_every_step_may_run_again_on_a_ready_index(self, platform: Processes) -> None:
        index = make_index()
        deployment = provision(index)
        pid = process_of(deployment)
        operation = operation_of(index)
        Operation.objects.filter(pk=operation.pk).update(
            state="pending", finished_at=None, step="allocate"
        )
        assert provision(index) == deployment
        assert process_of(deployment) == pid

    def test_the_server_gets_no_secret_by_environment_or_file(self, platform: Processes) -> None:
        deployment = provision(make_index())
        environment = Path(f"/proc/{process_of(deployment)}/environ")
        if os.access(environment, os.R_OK):
            names = {
                entry.partition(b"=")[0] for entry in environment.read_bytes().split(b"\0") if entry
            }
            # supervisord adds its own three; nothing of ours but the generation is there.
            ours = {name for name in names if not name.startswith(b"SUPERVISOR")}
            assert ours <= {
                *{b"PATH", b"LANG", b"LC_CTYPE"},
                *{b"TAMARACK_HOME", b"TAMARACK_CONFIG_GENERATION"},
            }
        folder = files.folder_of(deployment.pk)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("config.json", "tls.key"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        config = json.loads((folder / "config.json").read_text())
        assert not [name for name in config if "secret" in name or "data_key" in name]

    def test_a_sparse_index_becomes_ready_too(self, platform: Processes) -> None:
        provision(make_index(vector_type="sparse", dimension=None, metric="dotproduct"))

    def test_a_port_that_a_stranger_has_is_passed_over(self, platform: Processes) -> None:
        port = django_settings.TAMARACK_UPSTREAM_PORTS[0]
        with socket.create_server(("127.0.0.1", port)):
            assert provision(make_index()).port != port

    def test_a_port_lost_to_a_stranger_before_the_start_is_given_up(
        self, platform: Processes
    ) -> None:
        index = make_index()
        work = provisioning._claim(operation_of(index).pk)
        assert work is not None
        provisioning.allocate(work)
        provisioning._give_back(work, 0)
        lost = index.deployments.get().port
        with socket.create_server(("127.0.0.1", lost)):
            deployment = provision(index)
        assert deployment.port != lost
        assert deployment.config_generation == 2
        assert is_healthy(deployment)


class FailureTests:
    def test_a_refused_key_fails_the_index_with_cause_and_remedy(self, platform: Processes) -> None:
        index = make_index()
        work = provisioning._claim(operation_of(index).pk)
        assert work is not None
        provisioning.make_key(work)
        provisioning._give_back(work, 0)
        key = index.data_keys.get()
        key.wrapped = key.wrapped.replace("AES-256-GCM", "ROT13")
        key.save()
        operation = drive(index)
        assert operation.state == Operation.State.FAILED
        assert index.state == Index.State.INITIALIZATION_FAILED
        assert "the key service refused" in index.cause
        assert "ROT13" in index.cause
        assert index.remedy
        assert AuditEvent.objects.filter(type="index.failed", outcome="failure").exists()
        assert AuditEvent.objects.filter(type="index.key_refused", outcome="failure").exists()

    def test_a_failed_index_can_be_deleted_and_made_again(self, platform: Processes) -> None:
        index = make_index()
        files.folder_of(index.pk).parent.mkdir(exist_ok=True)
        platform.stop("supervisor")
        for _ in range(provisioning.MAX_ATTEMPTS):
            Operation.objects.update(run_after=index.created_at)
            provisioning.advance(operation_of(index).pk)
        index.refresh_from_db()
        assert index.state == Index.State.INITIALIZATION_FAILED
        platform.supervisor()
        delete(index)
        assert index.deleted_at is not None
        provision(make_index(index.project))


class DeletionTests:
    def test_nothing_is_left_but_the_rows(self, platform: Processes) -> None:
        index = make_index()
        deployment = provision(index)
        pid = process_of(deployment)
        delete(index)
        assert index.deleted_at is not None
        assert process_of(deployment) == 0
        assert pid
        assert current_driver().all() == {}
        for path in (
            files.folder_of(deployment.pk),
            files.socket_path(deployment.pk),
            files.log_path(deployment.pk),
            django_settings.TAMARACK_RAM_DIR / str(deployment.pk),
        ):
            assert not path.exists()
        key = index.data_keys.get()
        assert (key.wrapped, key.shredded_at is not None) == ("", True)
        assert route_for("", index.gateway_port) is None
        events = AuditEvent.objects.filter(resource_id=str(index.pk)).order_by("time", "id")
        assert [event.type for event in events][-3:] == [
            "index.deletion_requested",
            "index.key_shredded",
            "index.deleted",
        ]

    def test_the_key_goes_before_the_files(self, platform: Processes) -> None:
        index = make_index()
        deployment = provision(index)
        delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        work = provisioning._claim(operation_of(index).pk)
        assert work is not None
        wait_for(lambda: provisioning.stop(work) is None, "the server's end")
        provisioning.shred(work)
        assert files.record_path(deployment.pk).exists()
        assert index.data_keys.get().wrapped == ""

    def test_each_step_may_run_twice(self, platform: Processes) -> None:
        index = make_index()
        provision(index)
        delete_index(actor=SYSTEM, project_id=index.project_id, name=index.name)
        work = provisioning._claim(operation_of(index).pk)
        assert work is not None
        wait_for(lambda: provisioning.stop(work) is None, "the server's end")
        assert provisioning.stop(work) is None
        for step in (provisioning.shred, provisioning.remove_files):
            step(work)
            step(work)
        provisioning.bury(work)
        assert AuditEvent.objects.filter(type="index.key_shredded").count() == 1

    def test_deleting_while_it_comes_up_wins(self, platform: Processes) -> None:
        index = make_index()
        creation = operation_of(index)
        work = provisioning._claim(creation.pk)
        assert work is not None
        for step in ("allocate", "make_key", "write_files", "start"):
            provisioning.STEPS["create"][step](work)
        provisioning._give_back(work, 0)
        delete(index)
        creation.refresh_from_db()
        assert index.deleted_at is not None
        assert creation.state == Operation.State.SUPERSEDED
        assert current_driver().all() == {}


class ProgramTests:
    def test_restoring_writes_what_has_to_run_and_removes_the_rest(
        self, platform: Processes
    ) -> None:
        wanted, other = provision(make_index()), provision(make_index())
        Index.objects.filter(pk=other.index_id).update(state=Index.State.TERMINATING)
        half_written = include_folder() / f".{other.pk}.conf.0a1b2c3d"
        half_written.write_text("of a worker that was killed")
        folder = provisioning.write_all_programs()
        assert {path.stem for path in folder.iterdir()} == {str(wanted.pk)}

    def test_a_supervisor_that_starts_again_brings_every_index_back(
        self, platform: Processes
    ) -> None:
        deployment = provision(make_index())
        before = process_of(deployment)
        platform.stop("supervisor")
        wait_for(lambda: process_of(deployment) == 0, "the server's end")
        provisioning.write_all_programs()
        platform.supervisor()
        wait_for(lambda: is_healthy(deployment), "the server's return")
        assert process_of(deployment) != before

    def test_a_changed_configuration_restarts_the_server(self, platform: Processes) -> None:
        deployment = provision(make_index())
        before = process_of(deployment)
        deployment.config_generation += 1
        deployment.save()

        def is_restarted() -> bool:
            try:
                current_driver().ensure(deployment)
            except DriverUnavailable:
                return False  # still stopping
            status = current_driver().status(deployment.pk)
            return status is not None and status.state is not ProcessState.STOPPING

        wait_for(is_restarted, "the restart")
        wait_for(lambda: process_of(deployment) not in {0, before}, "another process")
        wait_for(lambda: is_healthy(deployment), "the server's return")
