from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings as django_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import notes, selectors
from audit.canonical import canonical
from audit.exports import export_lines
from audit.merkle import Frontier
from audit.models import INSTALLATION
from audit.sealing import seal_all
from audit.selectors import NoSuchSize
from audit.signing import signing_key, verifier_of
from audit.verification import MAX_LINE, ExportError, Verified, verify
from tests.audit.support import grow, make_event

SIZE = 13
Lines = list[dict[str, Any]]


@pytest.fixture
def log_id(db: None) -> uuid.UUID:
    """A log of 13 events."""
    found = uuid.uuid4()
    grow(found, SIZE)
    return found


def exported(log_id: uuid.UUID, *args: Any, **kwargs: Any) -> Lines:
    """An export, line by line."""
    return [json.loads(line) for line in export_lines(log_id, *args, **kwargs)]


def check(lines: Lines, **kwargs: Any) -> Verified:
    """Verify the lines as a file."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return verify(io.BytesIO(text.encode()), **kwargs)


def rehash(lines: Lines) -> None:
    """Make leaf and chain hashes fit the events again, as a careful forger does."""
    chain = bytes.fromhex(lines[0]["chain_before"])
    for line in lines[1:-1]:
        leaf = hashlib.sha256(b"\0" + canonical(line["event"])).digest()
        chain = hashlib.sha256(chain + leaf).digest()
        line.update(leaf_hash=leaf.hex(), chain_hash=chain.hex())


class WholeExportTests:
    def test_holds(self, log_id: uuid.UUID) -> None:
        key = str(verifier_of(log_id))
        found = check(exported(log_id), public_key=key)
        assert (found.start, found.end, found.tree.size, found.without_body) == (0, SIZE, SIZE, 0)
        assert str(found.verifier) == key

    def test_of_every_range_holds(self, log_id: uuid.UUID) -> None:
        for start in range(SIZE + 1):
            for end in range(start, SIZE + 1):
                found = check(exported(log_id, start, end))
                assert (found.start, found.end, found.tree.size) == (start, end, SIZE)

    def test_of_a_log_without_events_holds(self, db: None) -> None:
        assert check(exported(uuid.uuid4())).tree.size == 0

    def test_of_the_installation_holds(self, db: None) -> None:
        make_event(None)
        seal_all()
        assert check(exported(INSTALLATION)).end == selectors.size_of(INSTALLATION)

    @pytest.mark.parametrize(
        ("start", "end"), [(3, 2), (-1, 2), (0, SIZE + 1), (2**70, None), (0, 2**70)]
    )
    def test_a_range_that_is_not_there_is_refused(
        self, log_id: uuid.UUID, start: int, end: int | None
    ) -> None:
        with pytest.raises(NoSuchSize):
            export_lines(log_id, start, end)


class TamperedTests:
    @pytest.fixture
    def lines(self, log_id: uuid.UUID) -> Lines:
        return exported(log_id)

    @pytest.mark.parametrize("at", [1, 6, SIZE])
    def test_a_changed_record_is_found(self, lines: Lines, at: int) -> None:
        lines[at]["event"]["actor"]["label"] = "somebody else"
        with pytest.raises(
            ExportError, match=rf"line {at + 1}, seq {at - 1}: the record was chang"
        ):
            check(lines)

    @pytest.mark.parametrize("at", [1, 6, SIZE])
    def test_a_changed_record_with_all_hashes_made_to_fit_is_found(
        self, lines: Lines, at: int
    ) -> None:
        lines[at]["event"]["actor"]["label"] = "somebody else"
        rehash(lines)
        with pytest.raises(ExportError, match="not those that the signed checkpoint states"):
            check(lines)

    def test_a_changed_hash_is_found(self, lines: Lines) -> None:
        lines[4]["chain_hash"] = "00" * 32
        with pytest.raises(ExportError, match="line 5, seq 3: the chain breaks"):
            check(lines)

    def test_a_dropped_record_is_found_wherever_it_was(self, lines: Lines) -> None:
        for at in range(1, SIZE + 1):
            with pytest.raises(ExportError, match=rf"seq {at - 1} is missing before"):
                check(lines[:at] + lines[at + 1 :])

    def test_a_dropped_record_with_everything_made_to_fit_is_found(self, lines: Lines) -> None:
        for at in range(1, SIZE + 1):
            fewer = deepcopy(lines)
            del fewer[at]
            for number, line in enumerate(fewer[1:-1]):
                line["seq"] = number
            fewer[0]["end_seq"] -= 1
            fewer[-1]["records"] -= 1
            rehash(fewer)
            with pytest.raises(ExportError, match=r"signed checkpoint|'right' lacks"):
                check(fewer)

    def test_a_file_cut_between_lines_is_found(self, lines: Lines) -> None:
        for kept in (1, 2, 5, SIZE):
            with pytest.raises(ExportError, match=r"cut off after .*promises the events 0 up to"):
                check(lines[:kept])

    def test_a_file_cut_anywhere_is_found(self, lines: Lines) -> None:
        whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
        for length in range(0, len(whole), 61):
            with pytest.raises(ExportError):
                verify(io.BytesIO(whole[:length]))
        with pytest.raises(ExportError, match="in the middle"):
            verify(io.BytesIO(whole[:-1]))

    def test_the_newest_records_dropped_with_the_end_kept_is_found(self, lines: Lines) -> None:
        with pytest.raises(ExportError, match="seq 10 to 12 are missing before the end"):
            check(lines[:11] + lines[-1:])

    def test_exchanged_records_are_found(self, lines: Lines) -> None:
        lines[3], lines[4] = lines[4], lines[3]
        with pytest.raises(ExportError, match="line 4, seq 3: seq 2 is missing before it"):
            check(lines)

    def test_exchanged_contents_are_found(self, lines: Lines) -> None:
        lines[3]["event"], lines[4]["event"] = lines[4]["event"], lines[3]["event"]
        rehash(lines)
        with pytest.raises(ExportError, match="signed checkpoint"):
            check(lines)

    def test_a_repeated_record_is_found(self, lines: Lines) -> None:
        lines.insert(4, lines[3])
        with pytest.raises(ExportError, match="line 5, seq 2: seq 3 has to follow"):
            check(lines)

    def test_a_record_more_is_found(self, lines: Lines) -> None:
        extra = {**lines[-2], "seq": SIZE}
        with pytest.raises(ExportError, match="seq 13: the header promises no event from 13"):
            check([*lines[:-1], extra, lines[-1]])
        with pytest.raises(ExportError, match="something after the end"):
            check([*lines, extra])

    def test_a_record_without_its_content_is_found(self, lines: Lines) -> None:
        lines[5]["event"] = None
        with pytest.raises(ExportError, match="line 6, seq 4: the record has no content"):
            check(lines)

    def test_a_record_of_another_organization_is_found(
        self, lines: Lines, log_id: uuid.UUID
    ) -> None:
        other = uuid.uuid4()
        grow(other, SIZE)
        lines[5] = exported(other)[5]
        with pytest.raises(ExportError, match="line 6, seq 4: the record belongs to another"):
            check(lines)

    def test_another_organizations_export_under_this_name_is_found(
        self, lines: Lines, log_id: uuid.UUID
    ) -> None:
        other = uuid.uuid4()
        lines[0]["organization_id"] = str(other)
        with pytest.raises(ExportError, match="is not that of organization"):
            check(lines)
        with pytest.raises(ExportError, match="the key is that of"):
            check(exported(log_id), public_key=str(verifier_of(other)))

    def test_a_range_with_other_surroundings_is_found(self, log_id: uuid.UUID) -> None:
        for end, place, name in ((9, 0, "left"), (9, -1, "right")):
            lines = exported(log_id, 3, end)
            lines[place][name][0] = "11" * 32
            with pytest.raises(ExportError, match="signed checkpoint"):
                check(lines)
            lines[place][name].pop()
            with pytest.raises(ExportError, match=f"'{name}'"):
                check(lines)

    def test_a_range_given_other_numbers_is_found(self, log_id: uuid.UUID) -> None:
        lines = exported(log_id, 4, 8)
        lines[0].update(from_seq=0, end_seq=4, left=[])
        for line in lines[1:-1]:
            line["seq"] -= 4
        with pytest.raises(ExportError, match=r"'right'|signed checkpoint"):
            check(lines)

    @given(data=st.data())
    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_no_changed_byte_changes_what_a_file_that_holds_says(
        self, lines: Lines, log_id: uuid.UUID, data: st.DataObject
    ) -> None:
        whole = bytearray("".join(json.dumps(line) + "\n" for line in lines).encode())
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
        try:
            verify(io.BytesIO(bytes(whole)), public_key=str(verifier_of(log_id)))
        except ExportError:
            return
        read = [json.loads(line) for line in whole.decode().splitlines()]
        assert [line["event"] for line in read[1:-1]] == [line["event"] for line in lines[1:-1]]


class ForgedCheckpointTests:
    def test_one_signed_with_a_key_of_the_forger_is_found(self, log_id: uuid.UUID) -> None:
        lines, known = exported(log_id), str(verifier_of(log_id))
        lines[1]["event"]["outcome"] = "failure"
        rehash(lines)
        forger = Ed25519PrivateKey.generate()
        origin = lines[0]["origin"]
        note = notes.sign(notes.Tree(origin, SIZE, bytes(32)), forger)
        lines[0]["checkpoint"] = lines[-1]["checkpoint"] = note
        with pytest.raises(ExportError, match="did not sign it"):
            check(lines)
        lines[0]["public_key"] = str(notes.Verifier(origin, notes.public_bytes(forger)))
        with pytest.raises(ExportError, match="another key signed it than the one given"):
            check(lines, public_key=known)

    def test_one_with_another_root_or_size_is_found(self, log_id: uuid.UUID) -> None:
        for old, new in (("\n13\n", "\n12\n"), ("\n13\n", "\n14\n")):
            lines = exported(log_id)
            for line in (lines[0], lines[-1]):
                line["checkpoint"] = line["checkpoint"].replace(old, new)
            with pytest.raises(ExportError, match="line 1: the checkpoint can't be relied on"):
                check(lines)

    def test_an_older_one_of_the_same_log_is_found(self, log_id: uuid.UUID) -> None:
        lines = exported(log_id)
        for line in (lines[0], lines[-1]):
            line["checkpoint"] = selectors.checkpoint_of(log_id, 12)
        with pytest.raises(ExportError, match="covers 12 events, the header says 13"):
            check(lines)

    def test_different_ones_in_header_and_end_are_found(self, log_id: uuid.UUID) -> None:
        lines = exported(log_id)
        lines[-1]["checkpoint"] = selectors.checkpoint_of(log_id, 12)
        with pytest.raises(ExportError, match="line 15: the checkpoint is not that of the header"):
            check(lines)

    @pytest.mark.parametrize("key", ["", "x", "a+b+c", "tamarack+00000000+AQ=="])
    def test_a_key_that_is_none_is_said_so(self, log_id: uuid.UUID, key: str) -> None:
        with pytest.raises(ExportError, match="public key given is none"):
            check(exported(log_id), public_key=key)


class KeptCheckpointTests:
    """An auditor who kept a checkpoint finds what the log's owner himself rewrites."""

    def test_of_any_older_size_agrees_with_a_whole_export(self, log_id: uuid.UUID) -> None:
        lines = exported(log_id)
        for size in range(SIZE + 1):
            check(lines, checkpoint=selectors.checkpoint_of(log_id, size))

    def test_agrees_with_a_later_range_that_proves_its_growth(self, log_id: uuid.UUID) -> None:
        for size in range(1, SIZE + 1):
            lines = exported(log_id, 9, 11, witness_size=size)
            check(lines, checkpoint=selectors.checkpoint_of(log_id, size))

    def test_a_range_that_proves_nothing_about_it_says_what_to_ask_for(
        self, log_id: uuid.UUID
    ) -> None:
        with pytest.raises(ExportError, match="witness_size=4"):
            check(exported(log_id, 9, 11), checkpoint=selectors.checkpoint_of(log_id, 4))

    def test_a_wrong_proof_of_growth_is_found(self, log_id: uuid.UUID) -> None:
        lines = exported(log_id, 9, 11, witness_size=4)
        lines[0]["witness"]["hashes"][0] = "11" * 32
        with pytest.raises(ExportError, match="rewritten"):
            check(lines, checkpoint=selectors.checkpoint_of(log_id, 4))

    def test_newest_records_dropped_and_an_older_checkpoint_put_in_is_found(
        self, log_id: uuid.UUID
    ) -> None:
        """Such a file holds by itself: it is what the log once was."""
        newest = selectors.checkpoint_of(log_id)
        lines = exported(log_id)
        old = selectors.checkpoint_of(log_id, 10)
        lines = [*lines[:11], lines[-1]]
        lines[0].update(end_seq=10, tree_size=10, checkpoint=old)
        lines[-1].update(records=10, checkpoint=old)
        check(lines)
        with pytest.raises(ExportError, match=r"had 13 events .* covers 10: the newest records"):
            check(lines, checkpoint=newest)

    @pytest.mark.parametrize("size", [4, SIZE])
    def test_a_past_rewritten_by_who_has_the_key_is_found(
        self, log_id: uuid.UUID, size: int
    ) -> None:
        kept = selectors.checkpoint_of(log_id, size)
        lines = exported(log_id)
        lines[2]["event"]["actor"]["label"] = "somebody else"
        rehash(lines)
        frontier = Frontier()
        for line in lines[1:-1]:
            frontier.append(bytes.fromhex(line["leaf_hash"]))
        tree = notes.Tree(lines[0]["origin"], SIZE, frontier.root())
        lines[0]["checkpoint"] = lines[-1]["checkpoint"] = notes.sign(tree, signing_key())
        check(lines, public_key=str(verifier_of(log_id)))
        with pytest.raises(ExportError, match="past was rewritten"):
            check(lines, checkpoint=kept)

    def test_one_of_another_log_is_refused(self, log_id: uuid.UUID) -> None:
        other = uuid.uuid4()
        grow(other, 2)
        with pytest.raises(ExportError, match="The checkpoint given can't be relied on"):
            check(exported(log_id), checkpoint=selectors.checkpoint_of(other))


class BadFileTests:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n",
            b"\0\n",
            b"\xff\xfe\n",
            b"[]\n",
            b"{}\n",
            b'{"format": "tamarack-audit-export", "version": 2}\n',
            b'{"format": "tamarack-audit-export", "version": 1}\n',
            b'{"a": 1, "a": 2}\n',
            b"[" * 100_000 + b"\n",
            b"1e999\n",
            b"x" * (MAX_LINE + 1) + b"\n",
        ],
    )
    def test_is_refused_with_a_reason(self, content: bytes) -> None:
        with pytest.raises(ExportError, match=r"line 1|empty"):
            verify(io.BytesIO(content))

    @pytest.mark.parametrize("value", [None, True, -1, 2**80, "x", [], {}, "\ud800"])
    def test_wrong_types_anywhere_are_refused(self, log_id: uuid.UUID, value: Any) -> None:
        whole = exported(log_id, 2, 5, witness_size=3)
        for at in (0, 1, -1):
            for name in whole[at]:
                if (name, value) == ("witness", None) or whole[at][name] == value:
                    continue
                changed = [dict(line) for line in whole]
                changed[at][name] = value
                with pytest.raises(ExportError):
                    check(changed)

    def test_a_record_nested_without_end_is_refused(self, log_id: uuid.UUID) -> None:
        lines = exported(log_id)
        deep: Any = 0
        for _ in range(400):
            deep = [deep]
        lines[1]["event"]["detail"] = deep
        with pytest.raises(ExportError, match="line 2, seq 0: the record was changed"):
            check(lines)


class OfflineTests:
    def test_the_check_needs_no_django(self) -> None:
        code = "import sys, audit.verification; sys.exit('django' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=django_settings.BASE_DIR)


@pytest.fixture
def command(log_id: uuid.UUID, tmp_path: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `manage.py audit_verify` in a home without a database, on an export made before."""
    export, note = tmp_path / "export.jsonl", tmp_path / "checkpoint.txt"
    export.write_text("".join(export_lines(log_id)))
    note.write_text(selectors.checkpoint_of(log_id, 8))
    change = {"from": "", "to": ""}

    def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        change.update(changed)
        if changed:
            export.write_text(export.read_text().replace(change["from"], change["to"], 1))
        return subprocess.run(
            [
                sys.executable,
                "manage.py",
                "audit_verify",
                *(argument.format(export=export, note=note) for argument in arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=django_settings.BASE_DIR,
            env={
                "PATH": "/usr/bin:/bin",
                "TAMARACK_HOME": str(tmp_path / "nowhere"),
                "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
            },
        )

    return run


class CommandTests:
    def test_a_whole_export_is_told_so(
        self, command: Callable[..., subprocess.CompletedProcess[str]], log_id: uuid.UUID
    ) -> None:
        done = command(
            "{export}", "--checkpoint", "{note}", "--public-key", str(verifier_of(log_id))
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "13 events, seq 0 up to 13" in done.stdout

    def test_a_changed_one_ends_with_1_and_names_line_and_seq(
        self, command: Callable[..., subprocess.CompletedProcess[str]], log_id: uuid.UUID
    ) -> None:
        done = command("{export}", **{"from": "ann@example.com", "to": "eve@example.com"})
        assert done.returncode == 1
        assert "line 2, seq 0: the record was changed" in done.stderr
        assert "Traceback" not in done.stderr

    def test_without_a_key_it_says_which_one_it_believed(
        self, command: Callable[..., subprocess.CompletedProcess[str]], log_id: uuid.UUID
    ) -> None:
        done = command("{export}")
        assert done.returncode == 0
        assert str(verifier_of(log_id)) in done.stdout

    def test_a_file_that_is_not_there_is_said_so(
        self, command: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        for arguments in (("{export}.no",), ("{export}", "--checkpoint", "{note}.no")):
            done = command(*arguments)
            assert done.returncode == 1
            assert "can't be read: No such file" in done.stderr
