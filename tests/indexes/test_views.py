"""The page of a project's indexes."""

from __future__ import annotations

import pytest

from indexes.models import Index
from projects.models import Project
from tests.cast import Cast
from tests.pages import Browser


def made(project: Project, name: str, port: int, **fields: object) -> Index:
    """An index row as its room would write it."""
    return Index.objects.create(
        **{
            "project": project,
            "name": name,
            "dimension": 64,
            "metric": "cosine",
            "vector_type": "dense",
            "cloud": "aws",
            "region": "us-east-1",
            "label": name,
            "gateway_port": port,
            **fields,
        }
    )


class ProjectPageTests:
    def shown(self, cast: Cast) -> str:
        answer = Browser(cast.alice).get(f"/projects/{cast.project.pk}/indexes/")
        assert answer.status_code == 200
        return str(answer.content.decode())

    def test_shows_address_shape_and_id(self, cast: Cast) -> None:
        index = made(cast.project, "books", 8444, state="Ready")
        text = self.shown(cast)
        for part in ("books", "Ready", "localhost:8444", "64", "cosine", str(index.pk)):
            assert part in text

    def test_a_failure_comes_with_cause_and_remedy(self, cast: Cast) -> None:
        made(
            cast.project,
            "books",
            8444,
            state="InitializationFailed",
            cause="The disk is full: 0 of 10 MB.",
            remedy="Free <some> space.",
        )
        text = self.shown(cast)
        assert "status-bad" in text
        assert "The disk is full: 0 of 10 MB." in text
        assert "Free &lt;some&gt; space." in text

    @pytest.mark.parametrize(
        ("state", "cause", "tone"),
        [
            ("Ready", "", "good"),
            ("Ready", "Its process is restarting.", "warn"),
            ("Initializing", "", "busy"),
            ("Terminating", "", "off"),
        ],
    )
    def test_every_state_has_its_tone(self, cast: Cast, state: str, cause: str, tone: str) -> None:
        made(cast.project, "books", 8444, state=state, cause=cause)
        assert f"status-{tone}" in self.shown(cast)

    def test_a_sparse_index_has_no_dimension(self, cast: Cast) -> None:
        made(
            cast.project,
            "words",
            8444,
            dimension=None,
            vector_type="sparse",
            metric="dotproduct",
        )
        assert "sparse" in self.shown(cast)

    def test_indexes_of_other_projects_are_not_there(self, cast: Cast) -> None:
        made(cast.other_project, "secrets", 8445, state="Ready")
        text = self.shown(cast)
        assert "secrets" not in text
        assert "No index yet" in text
        assert "PINECONE_CONTROLLER_HOST=https://localhost:8443" in text
