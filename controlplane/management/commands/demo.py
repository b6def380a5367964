"""`manage.py demo`: starts the platform, does its main job on real data, checks every step."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane import supervision
from controlplane.demo import steps
from controlplane.demo.identity import IDENTITY_STEPS
from controlplane.lifetime import end_with_parent

START_SECONDS = 180
STOP_SECONDS = 90


class Command(BaseCommand):
    """Prints each step with its time; exits 1 where one failed."""

    help = "Starts everything and shows the main job on real data, step by step."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--exit", action="store_true", help="stop everything after the last step"
        )
        parser.add_argument("--json", action="store_true", help="print the steps as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the steps.

        Raises:
            CommandError: the platform did not start.
            SystemExit: with code 1 where a step failed.
        """
        self.quiet = bool(options["json"])
        # The client's libraries report every request; here the steps do the talking.
        for name in ("httpx", "pinecone"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.interrupt)
        self.say("Tamarack demonstration: every step is checked as it runs.\n")
        self.results: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            ready_file = Path(folder) / "ready.json"
            platform = self.start(ready_file)
            passed = False
            try:
                passed = self.run(platform, ready_file)
                self.report(passed)
                if passed and not options["exit"]:
                    self.serve(platform)
            except Interrupted:
                if not passed:
                    self.say("\nInterrupted.")
                    self.report(passed)
            finally:
                self.stop(platform)
        if not passed:
            raise SystemExit(1)

    def report(self, passed: bool) -> None:
        """With --json, every step so far as one object."""
        if self.quiet:
            self.stdout.write(json.dumps({"passed": passed, "steps": self.results}, indent=2))
            self.stdout.flush()

    def interrupt(self, *_: Any) -> None:
        """Ctrl-C: finish in order."""
        if not self.interrupted:
            self.interrupted = True
            raise Interrupted

    def say(self, text: str) -> None:
        """A line for people; with --json nothing but JSON goes to standard output."""
        if not self.quiet:
            self.stdout.write(text)
            self.stdout.flush()

    def start(self, ready_file: Path) -> subprocess.Popen[bytes]:
        """`manage.py up` as a process of its own; Ctrl-C is ours to pass on."""
        return subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "manage.py", "up", "--ready-file", str(ready_file)],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  no threads yet
        )

    def run(self, platform: subprocess.Popen[bytes], ready_file: Path) -> bool:
        """Every step, until one fails; whether all passed."""

        def wait_until_ready(_: steps.Demo) -> str:
            deadline = time.monotonic() + START_SECONDS
            while not ready_file.exists():
                if platform.poll() is not None:
                    raise steps.StepFailed("the platform did not start; its message is above")
                if time.monotonic() > deadline:
                    raise steps.StepFailed(f"not ready after {START_SECONDS} s")
                time.sleep(0.05)
            ready = json.loads(ready_file.read_text())
            demo.gateway, demo.ca_file = ready["gateway"], ready["ca_file"]
            steps.trust_ca(demo.ca_file)
            return f"serving at {demo.gateway}"

        wait_until_ready.__doc__ = "The whole platform, started from nothing"
        demo = steps.Demo(gateway="", ca_file="")
        for step in (wait_until_ready, *steps.STEPS, *IDENTITY_STEPS):
            title, began, error = str(step.__doc__), time.monotonic(), ""
            try:
                detail = step(demo)
            except Interrupted:
                raise
            except Exception as failure:  # noqa: BLE001  whatever a step raises is its result
                detail, error = "", f"{type(failure).__name__}: {failure}"
            seconds = time.monotonic() - began
            self.results.append(
                {
                    "step": title,
                    "passed": not error,
                    "seconds": round(seconds, 3),
                    "detail": detail or error,
                }
            )
            self.say(
                f"{'✗' if error else '✓'} {seconds:6.2f} s  {title}\n            {detail or error}"
            )
            if error:
                self.say(f"\nFailed. Logs: {settings.TAMARACK_HOME / 'log'}")
                return False
        self.demo = demo
        return True

    def serve(self, platform: subprocess.Popen[bytes]) -> None:
        """Tell how to try it and keep serving until Ctrl-C."""
        steps.write_demo_file(self.demo)
        self.say(
            f"\nDashboard   {self.demo.gateway}/\n"
            f"Sign-in     {steps.OWNER_EMAIL}   {self.demo.password}\n"
            f"Client      {steps.demo_file()}   (address, CA, key)\n"
            "SSO         make demo-idp in another terminal starts an identity provider for it\n\n"
            "Serving until Ctrl-C."
        )
        if platform.wait() and not self.interrupted:
            raise CommandError("The platform ended unexpectedly; see the message above.")

    def stop(self, platform: subprocess.Popen[bytes]) -> None:
        """End the platform and make sure that nothing of it is left.

        Raises:
            CommandError: a process survived.
        """
        if platform.poll() is None:
            platform.terminate()
            try:
                platform.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                platform.kill()
                platform.wait()
                supervision.end_leftovers()
        if left := sorted(supervision.our_processes()):
            raise CommandError(f"Processes are left: {', '.join(map(str, left))}.")


class Interrupted(Exception):
    """Ctrl-C or SIGTERM arrived."""
