"""`manage.py up`: the whole platform in the foreground, until Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from controlplane import home, supervision
from controlplane.preflight import Level, run_checks
from gateway.bootstrap import InvalidBootstrap
from indexes.selectors import serving_counts
from kms.envelope import KeyUnavailable
from kms.memory import UnsafeMemory

READY_SECONDS = 90
STOP_SECONDS = 60


class Command(BaseCommand):
    """Starts every process, says when it serves, and stops everything at the end."""

    help = "Runs the whole platform in the foreground; Ctrl-C stops it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--ready-file", type=Path, help="write the address as JSON here once everything serves"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run until a signal.

        Raises:
            CommandError: the machine is not fit, another `up` runs, or a process gave up.
        """
        os.umask(0o077)
        self.call_checks()
        with self.only_one():
            if count := supervision.end_leftovers():
                self.say(f"Ended {count} processes that a crash had left behind.")
            self.check_machine()
            configuration = self.prepared()
            stop = StopSignal()
            supervisor = supervision.start_supervisord(configuration)
            try:
                self.wait_until_ready(supervisor, stop, options["ready_file"])
                self.wait_until_stopped(supervisor, stop)
            finally:
                self.stop(supervisor)
                if options["ready_file"]:
                    options["ready_file"].unlink(missing_ok=True)

    def say(self, text: str) -> None:
        """A line for people, at once, whoever reads our output."""
        self.stdout.write(text)
        self.stdout.flush()

    def call_checks(self) -> None:
        """Django's system checks: contradictions between settings."""
        self.check()

    @contextlib.contextmanager
    def only_one(self) -> Iterator[None]:
        """Hold the home's lock: two platforms on one home would fight over everything."""
        path: Path = settings.TAMARACK_HOME / "up.lock"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CommandError(
                f"TAMARACK_HOME={path.parent} can't be used: {error.strerror}."
                " Choose another folder, or another user."
            ) from error
        with os.fdopen(descriptor, "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = lock.read().strip() or "unknown"
                raise CommandError(
                    f"Tamarack runs already on {path.parent} (process {owner}): stop it first,"
                    " or choose another TAMARACK_HOME."
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def check_machine(self) -> None:
        """Refuse where the machine is not fit, with every reason at once."""
        findings = [finding for finding in run_checks() if finding.level is not Level.OK]
        for finding in findings:
            self.stderr.write(f"{finding.check}: {finding.text}\n    → {finding.remedy}")
        if any(finding.level is Level.PROBLEM for finding in findings):
            raise CommandError("This machine can't run Tamarack as it is set up: see above.")

    def prepared(self) -> Path:
        """Make the home ready, with the reason in words where that fails."""
        try:
            return home.prepare()
        except UnsafeMemory as error:
            raise CommandError(str(error)) from error
        except (KeyUnavailable, InvalidBootstrap) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            reason = str(error).strip().splitlines()[0]
            raise CommandError(f"The database refuses: {reason}") from error
        except OSError as error:
            raise CommandError(f"{error.strerror or error}: {error.filename or ''}") from error

    def wait_until_ready(
        self, supervisor: subprocess.Popen[bytes], stop: StopSignal, ready_file: Path | None
    ) -> None:
        """Return when the gateway, the control plane and every live index serve."""
        deadline = time.monotonic() + READY_SECONDS
        while not stop.received:
            if supervisor.poll() is not None:
                raise CommandError(f"The supervisor ended: see {self.log('supervisord')}.")
            serving, wanted = serving_counts() if answers() else (0, -1)
            if serving == wanted:
                break
            if time.monotonic() > deadline:
                missing = "the gateway" if wanted < 0 else f"{wanted - serving} of {wanted} indexes"
                if wanted < 0:
                    raise CommandError(
                        f"After {READY_SECONDS} s {missing} does not answer: see {self.log('*')}."
                    )
                self.stderr.write(f"Still waiting for {missing}; they come up while we serve.")
                break
            time.sleep(0.1)
        else:
            return
        if ready_file:
            address = {"gateway": settings.TAMARACK_PUBLIC_URL, "ca_file": str(ca_file())}
            home.write_private(ready_file, json.dumps(address))
        self.say(f"Tamarack serves at {settings.TAMARACK_PUBLIC_URL}")
        self.say(f"  indexes: {serving}   certificate authority: {ca_file()}")
        self.say("  Ctrl-C stops everything.")

    def wait_until_stopped(self, supervisor: subprocess.Popen[bytes], stop: StopSignal) -> None:
        """Sleep until a signal comes or the supervisor dies."""
        while not stop.received:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = supervisor.wait(timeout=0.5)
                raise CommandError(
                    f"The supervisor ended unexpectedly (exit status {code}): everything was"
                    f" stopped; start again. Log: {self.log('supervisord')}."
                )

    def stop(self, supervisor: subprocess.Popen[bytes]) -> None:
        """End every process, whatever state they are in."""
        if supervisor.poll() is None:
            self.say("Stopping…")
            supervisor.send_signal(signal.SIGTERM)
            try:
                supervisor.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()
        supervision.end_leftovers()
        home.release_memory(settings.TAMARACK_RAM_DIR)

    def log(self, name: str) -> Path:
        """Where a process writes its log."""
        return Path(settings.TAMARACK_HOME) / "log" / f"{name}.log"


class StopSignal:
    """Remembers that SIGINT, SIGTERM or SIGHUP asked us to stop."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.remember)

    def remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True


def ca_file() -> Path:
    """What clients trust."""
    return Path(settings.TAMARACK_HOME) / "certs" / "ca.pem"


def answers() -> bool:
    """Whether the control plane answers through the gateway."""
    context = ssl.create_default_context(cafile=str(ca_file()))
    host = settings.TAMARACK_PUBLIC_HOST
    everywhere = ip_address(settings.TAMARACK_BIND).is_unspecified
    connect_to = "127.0.0.1" if everywhere else settings.TAMARACK_BIND
    context.check_hostname = connect_to == host
    request = urllib.request.Request(
        f"https://{connect_to}:{settings.TAMARACK_PUBLIC_PORT}/healthz", headers={"Host": host}
    )
    try:
        with urllib.request.urlopen(request, timeout=2, context=context) as answer:  # noqa: S310  as above
            return bool(answer.status == 200)  # noqa: PLR2004  HTTP OK
    except (urllib.error.URLError, OSError, ValueError):
        return False
