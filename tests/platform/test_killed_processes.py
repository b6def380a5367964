"""A process that is killed comes back by itself, and leaves nothing that hinders its successor."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus

import pytest

from tests.platform.support import Instance, wait_until

pytestmark = [pytest.mark.instance, pytest.mark.slow]


def status_of(instance: Instance, path: str, **headers: str) -> int:
    """What the gateway answers."""
    request = urllib.request.Request(f"{instance.gateway}{path}", headers=headers)  # noqa: S310  https
    context = ssl.create_default_context(cafile=instance.ca_file)
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310  https
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def pids_of(instance: Instance, words: str) -> list[int]:
    return sorted(pid for pid, command in instance.processes().items() if words in command)


def answers(path: str) -> bool:
    """Whether somebody listens on the unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class KilledProcessTests:
    def test_django_comes_back_whichever_of_its_processes_was_killed(
        self, own_instance: Instance
    ) -> None:
        own_instance.start()
        key = own_instance.owner()["api_key"]
        for chosen in (slice(0, 1), slice(1, 2), slice(0, 2)):
            before = pids_of(own_instance, "granian")
            assert len(before) == 2, before
            for pid in before[chosen]:
                os.kill(pid, signal.SIGKILL)

            def replaced(before: list[int] = before) -> bool:
                now = pids_of(own_instance, "granian")
                return len(now) == 2 and not set(now) & set(before)

            wait_until(replaced, f"new processes in place of {before[chosen]} of {before}", 30)
            wait_until(
                lambda: status_of(own_instance, "/indexes", **{"Api-Key": key}) == HTTPStatus.OK,
                "the control plane answers again",
                30,
            )

    @pytest.mark.parametrize("words", ["uvicorn", "manage.py keyservice"])
    def test_so_do_the_authorizer_and_the_key_service(self, instance: Instance, words: str) -> None:
        (before,) = pids_of(instance, words)
        os.kill(before, signal.SIGKILL)
        (after,) = wait_until(
            lambda: [pid for pid in pids_of(instance, words) if pid != before], f"another {words}"
        )
        name = "authorizer" if words == "uvicorn" else "keyservice"
        path = instance.home / "run" / f"{name}.sock"
        wait_until(lambda: answers(str(path)), f"{path} accepts connections", 30)
        assert pids_of(instance, words) == [after]
