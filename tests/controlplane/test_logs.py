from __future__ import annotations

import json
import logging

import pytest
from django.core.cache import cache

from controlplane.logs import JsonFormatter
from tests.pages import Browser


class LinkTests:
    @pytest.mark.parametrize(
        "path",
        [
            "/accounts/confirm-email/Mg:1xVYoL:s3cret/",
            "/accounts/password/reset/key/6ec33d81-die3a-s3cret/",
            "/invitations/s3cret",
            "/invitations/s3cret/?a=b",
        ],
    )
    def test_what_lets_somebody_in_is_left_out(self, path: str) -> None:
        try:
            raise ValueError(f"at {path}")
        except ValueError as error:
            record = logging.LogRecord(
                "x", logging.ERROR, "", 0, "Not Found: %s", (path,), (ValueError, error, None)
            )
        line = JsonFormatter().format(record)
        assert "s3cret" not in line
        assert json.loads(line)["message"].startswith("Not Found: /")

    def test_other_paths_stay(self) -> None:
        record = logging.LogRecord("x", logging.INFO, "", 0, "at /projects/1/keys/", None, None)
        assert json.loads(JsonFormatter().format(record))["message"] == "at /projects/1/keys/"

    def test_a_refused_link_is_not_in_the_log(
        self, db: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.clear()
        for _ in range(21):
            Browser().post("/accounts/confirm-email/Mg:1:s3cret/")
        lines = [JsonFormatter().format(record) for record in caplog.records]
        assert any("Not Found" in line for line in lines)
        assert any("Too Many Requests" in line for line in lines)
        assert "s3cret" not in "".join(lines)
