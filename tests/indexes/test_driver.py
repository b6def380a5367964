"""The process driver: what it tells supervisord, and what it makes of the answers."""

from __future__ import annotations

import configparser
import json
import shlex
import uuid
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from indexes import files
from indexes.drivers import current_driver
from indexes.drivers.base import DriverUnavailable, ProcessState
from indexes.drivers.process import include_folder, program_text, write_program
from indexes.models import Deployment
from tests.indexes.conftest import make_index, provision
from tests.indexes.processes import Processes, wait_for


class ProgramTests:
    def deployment(self) -> Deployment:
        return Deployment(id=uuid.uuid4(), port=21444)

    def test_it_survives_every_character_that_a_path_may_have(
        self, tmp_path: Path, settings: Settings
    ) -> None:
        settings.TAMARACK_HOME = tmp_path / "100 % sure; 'quoted' %(here)s"
        deployment = self.deployment()
        parser = configparser.RawConfigParser()
        parser.read_string(program_text(deployment))
        section = parser[f"program:index-{deployment.pk}"]
        command = shlex.split(section["command"] % {"here": "wrong"})
        assert command[-1] == str(files.config_path(deployment.pk))
        assert section["stdout_logfile"] % {"here": "wrong"} == str(files.log_path(deployment.pk))

    def test_the_server_inherits_no_environment(self) -> None:
        words = program_text(self.deployment()).split("command=")[1].split()
        assert words[:2] == ["/usr/bin/env", "-i"]

    def test_a_new_generation_is_another_text(self) -> None:
        deployment = self.deployment()
        before = program_text(deployment)
        deployment.config_generation += 1
        assert program_text(deployment) != before

    def test_the_file_is_for_its_owner_and_written_when_it_changes(
        self, tmp_path: Path, settings: Settings
    ) -> None:
        settings.TAMARACK_HOME = tmp_path
        deployment = self.deployment()
        path = write_program(deployment)
        first = path.stat()
        write_program(deployment)
        assert path.stat().st_ino == first.st_ino
        assert first.st_mode & 0o077 == 0
        deployment.config_generation += 1
        write_program(deployment)
        assert path.stat().st_ino != first.st_ino
        assert list(include_folder().iterdir()) == [path]


class ReasonTests:
    @pytest.fixture
    def log(self, tmp_path: Path, settings: Settings) -> tuple[uuid.UUID, Path]:
        settings.TAMARACK_HOME = tmp_path
        deployment_id = uuid.uuid4()
        path = files.log_path(deployment_id)
        path.parent.mkdir()
        return deployment_id, path

    def test_it_is_the_last_bad_news(self, log: tuple[uuid.UUID, Path]) -> None:
        lines = [
            {"level": "critical", "message": "an older one"},
            {"level": "critical", "message": "the disk is full"},
            {"level": "info", "message": "good bye"},
        ]
        log[1].write_text("\n".join(json.dumps(line) for line in lines))
        assert current_driver().reason(log[0]) == "the disk is full"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (b"", ""),
            (b"Traceback:\nMemoryError\n", "MemoryError"),
            (b'{"level": "error"}\n[1]\n5\n', ""),
            (b"\xff\xfe\n", "\ufffd\ufffd"),
            (b"x" * 100_000 + b'\n{"level": "error", "message": "late"}\n', "late"),
        ],
    )
    def test_any_log_is_read(self, log: tuple[uuid.UUID, Path], text: bytes, reason: str) -> None:
        log[1].write_bytes(text)
        assert current_driver().reason(log[0]) == reason

    def test_no_log_is_no_reason(self) -> None:
        assert current_driver().reason(uuid.uuid4()) == ""


class SupervisorTests:
    def test_none_is_said_so(self, tmp_path: Path, settings: Settings) -> None:
        settings.TAMARACK_RUN_DIR = tmp_path
        with pytest.raises(DriverUnavailable, match="supervisord does not answer"):
            current_driver().all()

    @pytest.mark.xdist_group("platform")
    def test_ensuring_and_removing_may_be_repeated(self, platform: Processes) -> None:
        deployment = provision(make_index())
        driver = current_driver()
        driver.ensure(deployment)
        driver.ensure(deployment)
        assert list(driver.all()) == [deployment.pk]
        wait_for(lambda: driver.remove(deployment.pk), "the server's end")
        assert driver.remove(deployment.pk)
        assert driver.status(deployment.pk) is None
        driver.ensure(deployment)
        status = driver.status(deployment.pk)
        assert status is not None
        assert status.state is ProcessState.STARTING
