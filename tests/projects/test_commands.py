"""`create_owner` and `reset_password`, as an operator runs them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEvent
from orgs.models import Organization, User
from orgs.selectors.bindings import actor_for
from projects.models import Project
from projects.selectors import projects_visible_to
from tests.factories import PASSWORD, make_user
from tests.pages import Browser

OWNER = ["--email", "Ann@Example.com", "--organization", "Acme"]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\nsecond line\n")
    return path


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))


def run(*arguments: Any) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.mark.django_db
class CreateOwnerTests:
    def test_makes_a_person_who_owns_an_organization_and_a_project(
        self, password_file: Path
    ) -> None:
        text = run(
            "create_owner",
            *OWNER,
            "--project",
            "Search",
            "--password-file",
            password_file,
            "--json",
        )
        made = json.loads(text)
        user = User.objects.get(pk=made["user_id"])
        project = Project.objects.get(pk=made["project_id"])
        assert set(made) == {"email", "user_id", "organization_id", "project_id"}
        assert user.check_password(PASSWORD)
        assert (project.name, str(project.organization_id)) == ("Search", made["organization_id"])
        assert list(projects_visible_to(actor_for(user))) == [project]
        assert PASSWORD not in text

    def test_a_made_up_password_is_shown_once_and_works(self) -> None:
        made = json.loads(run("create_owner", *OWNER, "--json"))
        assert len(made["password"]) >= 24
        assert Browser().sign_in("ann@example.com", made["password"]).status_code == 302

    def test_it_is_said_in_plain_words_too(self) -> None:
        text = run("create_owner", *OWNER)
        assert "organization id" in text
        assert "shown this once" in text

    def test_reads_the_password_from_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\r\n"))
        run("create_owner", *OWNER, "--password-file", "-")
        assert User.objects.get().check_password(PASSWORD)

    def test_asks_twice_at_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = iter([PASSWORD, PASSWORD, PASSWORD, "typo"])
        terminal = io.StringIO("")
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
        assert "shown" not in run("create_owner", *OWNER)
        with pytest.raises(CommandError, match="differ"):
            run("create_owner", "--email", "b@example.com", "--organization", "B")

    def test_all_or_nothing(self, password_file: Path) -> None:
        # A test that needed commits may have left events behind: none is added.
        events = set(AuditEvent.objects.values_list("pk", flat=True))
        with pytest.raises(CommandError, match="project name"):
            run("create_owner", *OWNER, "--project", " ", "--password-file", password_file)
        assert not User.objects.exists()
        assert not Organization.objects.exists()
        assert set(AuditEvent.objects.values_list("pk", flat=True)) == events

    def test_a_taken_address_is_said(self, password_file: Path) -> None:
        make_user("ann@example.com")
        with pytest.raises(CommandError, match="exists already"):
            run("create_owner", *OWNER, "--password-file", password_file)

    @pytest.mark.parametrize(
        ("content", "reason"), [("\nx", "empty first line"), ("short", "at least 12")]
    )
    def test_a_bad_password_is_said(self, tmp_path: Path, content: str, reason: str) -> None:
        path = tmp_path / "password"
        path.write_text(content)
        with pytest.raises(CommandError, match=reason):
            run("create_owner", *OWNER, "--password-file", path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="absent can't be read: No such file"):
            run("create_owner", *OWNER, "--password-file", tmp_path / "absent")

    def test_there_is_no_way_to_give_the_password_as_an_argument(self) -> None:
        with pytest.raises(CommandError, match="unrecognized arguments: --password "):
            run("create_owner", *OWNER, "--password ", PASSWORD)


@pytest.mark.django_db
class ResetPasswordTests:
    def test_lets_the_person_back_in_and_ends_their_sessions(self, password_file: Path) -> None:
        user = make_user("ann@example.com")
        password_file.write_text("a brand new passphrase")
        browser = Browser(user)
        run("reset_password", "Ann@example.com", "--password-file", password_file)
        assert browser.get("/").status_code == 302
        assert Browser().sign_in("ann@example.com", "a brand new passphrase").status_code == 302
        event = AuditEvent.objects.get(type="user.password_changed")
        assert (event.actor_kind, event.actor_label) == ("system", "operator")

    def test_a_made_up_one_is_shown(self) -> None:
        make_user("ann@example.com")
        password = run("reset_password", "ann@example.com").split()[-1]
        assert Browser().sign_in("ann@example.com", password).status_code == 302

    def test_an_unknown_address_is_said(self) -> None:
        with pytest.raises(CommandError, match="Nobody has the e-mail address x@"):
            run("reset_password", "x@example.com")
