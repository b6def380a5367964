from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from audit import notes
from audit.models import Stream
from audit.signing import verifier_of
from audit.streams import targets
from audit.streams.delivery import deliver
from tests.audit.receivers import SyslogReceiver, make_certificate, syslog_receiver
from tests.audit.streams.support import make_due, make_stream

# RFC 5424 §6: PRI, VERSION, TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID, no structured data.
MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S{1,255}) (\S{1,48}) - (\S{1,32}) -"
    rb" (\{.*\})"
)


def make_syslog(log_id: uuid.UUID, port: int, tls: bool = False, ca_pem: str = "") -> Stream:
    return make_stream(
        log_id,
        Stream.Kind.SYSLOG,
        {"host": "127.0.0.1", "port": port, "tls": tls, "ca_pem": ca_pem},
    )


class DeliverTests:
    def test_each_event_is_a_message_with_its_place_in_the_log(
        self, collector: SyslogReceiver, log_id: uuid.UUID
    ) -> None:
        assert deliver(make_syslog(log_id, collector.port).pk) == 5
        assert len(collector.messages) == 5
        for seq, message in enumerate(collector.messages):
            match = MESSAGE.fullmatch(message)
            assert match is not None
            assert (match[1], match[4], match[5]) == (b"110", b"tamarack", b"project.updated")
            told = json.loads(match[6])
            assert (told["seq"], told["event"]["time"]) == (seq, match[2].decode())
            assert len(told["chain_hash"]) == 64
            assert notes.read(told["checkpoint"], verifier_of(log_id)).size == 5

    def test_over_tls(self, private_allowed: None, log_id: uuid.UUID, tmp_path: Path) -> None:
        certificate, authority = make_certificate(tmp_path)
        with syslog_receiver(certificate) as collector:
            trusting = make_syslog(log_id, collector.port, tls=True, ca_pem=authority)
            assert deliver(trusting.pk) == 5
            assert len(collector.messages) == 5
            doubting = make_syslog(log_id, collector.port, tls=True)
            assert deliver(doubting.pk) == 0
            doubting.refresh_from_db()
            assert "certificate to trust" in doubting.last_error
            assert len(collector.messages) == 5

    @pytest.mark.parametrize("mode", ["reset", "ignore", "drip"])
    def test_a_receiver_that_does_not_end_in_order_has_acknowledged_nothing(
        self,
        collector: SyslogReceiver,
        log_id: uuid.UUID,
        mode: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(targets, "TIMEOUT", 0.3)
        monkeypatch.setattr(targets, "DEADLINE", 0.6)
        stream = make_syslog(log_id, collector.port)
        collector.mode = mode
        assert deliver(stream.pk) == 0
        stream.refresh_from_db()
        assert (stream.next_seq, stream.failures) == (0, 1)
        assert stream.last_error.startswith("127.0.0.1")
        collector.mode = "take"
        make_due(stream)
        assert deliver(stream.pk) == 5
