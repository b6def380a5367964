"""`manage.py doctor`: is this machine fit for Tamarack, and if not, what to do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from controlplane.preflight import Level, run_checks
from controlplane.supervision import running_supervisor

MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.PROBLEM: "✗"}


class Command(BaseCommand):
    """Prints every check; exits 1 where one found a problem."""

    help = "Checks this machine: platform, libraries, memory, swap, ports, database, queue."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the checks.

        Raises:
            SystemExit: with code 1 where a check found a problem.
        """
        running = running_supervisor()
        findings = []
        for finding in run_checks():
            findings.append(finding)
            if not options["json"]:
                self.stdout.write(f"{MARKS[finding.level]} {finding.check}: {finding.text}")
                if finding.remedy:
                    self.stdout.write(f"    → {finding.remedy}")
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        elif running:
            self.stdout.write(f"Tamarack runs here (process {running}), so its ports are in use.")
        if any(finding.level is Level.PROBLEM for finding in findings):
            raise SystemExit(1)
