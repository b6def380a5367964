from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.merkle import EMPTY_ROOT, leaf_hash
from audit.notes import NoteError, Tree, Verifier, check_signature, public_bytes, read, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
ORIGIN = "tamarack.internal/audit/00000000-0000-0000-0000-000000000000"
TREE = Tree(ORIGIN, 3, leaf_hash(b"root"))
VERIFIER = Verifier(ORIGIN, public_bytes(KEY))

# The note that Go's documentation of this format shows (golang.org/x/mod/sumdb/note).
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""  # noqa: E501


class SignedNoteTests:
    def test_notes_of_another_implementation_are_read(self) -> None:
        verifier = Verifier.parse(GO_KEY)
        assert check_signature(GO_NOTE, verifier).startswith("If you think")
        assert str(verifier) == GO_KEY

    def test_a_changed_letter_of_it_is_found(self) -> None:
        with pytest.raises(NoteError, match="forged"):
            check_signature(GO_NOTE.replace("answer", "Answer"), Verifier.parse(GO_KEY))


class CheckpointTests:
    def test_says_origin_size_and_root(self) -> None:
        note = sign(TREE, KEY)
        lines = note.split("\n")
        assert lines[:4] == [ORIGIN, "3", base64.b64encode(TREE.root).decode(), ""]
        assert lines[4].startswith(f"— {ORIGIN} ")
        assert lines[5:] == [""]
        assert read(note, VERIFIER) == TREE

    def test_is_the_same_whenever_it_is_signed(self) -> None:
        assert sign(TREE, KEY) == sign(TREE, KEY)

    def test_a_witness_may_have_signed_it_too(self) -> None:
        cosigned = sign(TREE, KEY) + sign(TREE, OTHER).split("\n\n")[1].replace(
            ORIGIN, "witness.example.com/w1"
        )
        assert read(cosigned, VERIFIER) == TREE

    @pytest.mark.parametrize("size", ["2", "4", "03", "-3", "3.0", "9" * 40, ""])
    def test_another_size_is_found(self, size: str) -> None:
        with pytest.raises(NoteError):
            read(sign(TREE, KEY).replace("\n3\n", f"\n{size}\n"), VERIFIER)

    def test_one_signed_by_another_key_is_refused(self) -> None:
        with pytest.raises(NoteError, match="did not sign"):
            read(sign(TREE, OTHER), VERIFIER)

    def test_a_signature_moved_to_another_tree_is_refused(self) -> None:
        signature = sign(TREE, KEY).split("\n\n")[1]
        with pytest.raises(NoteError, match="forged"):
            read(Tree(ORIGIN, 2, EMPTY_ROOT).text() + "\n" + signature, VERIFIER)

    def test_one_of_another_log_is_refused(self) -> None:
        other = Tree("other/audit/log", 3, TREE.root)
        with pytest.raises(NoteError):
            read(sign(other, KEY), VERIFIER)

    @pytest.mark.parametrize(
        "note",
        [
            "",
            "\n\n",
            "a\n\nb\n",
            "a\n\n— b c",
            f"{ORIGIN}\n3\n\n— {ORIGIN} AAAA\n",
            f"{ORIGIN}\n3\n{'A' * 44}\n\n",
            f"{ORIGIN}\n3\n{'A' * 44}\n\n— {ORIGIN} !!!!\n",
            f"{ORIGIN}\n3\n{'A' * 44}\n\n— {ORIGIN} {'A' * 9000}\n",
            "x" * 20_000,
            "\0\ud800",
        ],
    )
    def test_what_is_no_note_is_refused_with_a_reason(self, note: str) -> None:
        with pytest.raises(NoteError, match=r"\w"):
            read(note, VERIFIER)

    def test_a_signed_text_that_is_no_checkpoint_is_refused(self) -> None:
        with pytest.raises(NoteError, match="no checkpoint"):
            read(GO_NOTE, Verifier.parse(GO_KEY))


class VerifierTests:
    def test_is_written_and_read(self) -> None:
        assert Verifier.parse(str(VERIFIER)) == VERIFIER

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "name",
            "name+00000000",
            "+00000000+AQ==",
            str(VERIFIER).replace("tamarack", "oak"),
            str(VERIFIER)[:-4],
            str(VERIFIER).replace("+AT", "+BT"),
            "na me" + str(VERIFIER),
        ],
    )
    def test_a_damaged_one_is_refused(self, text: str) -> None:
        with pytest.raises(NoteError):
            Verifier.parse(text)
