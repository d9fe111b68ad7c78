"""Signatures by the real programs; whatever is signed otherwise is found."""

import shutil
import subprocess

import pytest

from headless_eval.cli.main import main
from headless_eval.runs.certificate import signature

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
needs_minisign = pytest.mark.skipif(shutil.which("minisign") is None, reason="needs minisign")


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def signers_of(key, name="anna@lab.org"):
    kind, public, *_ = key.with_suffix(".pub").read_text().split()
    path = key.with_name("signers")
    path.write_text(f'{name} namespaces="{signature.NAMESPACE}" {kind} {public}\n')
    return path


def verify(path, *words, capsys):
    status = main(["verify", str(path), "--without-running", *map(str, words)])
    return status, capsys.readouterr().out


@needs_ssh
def test_an_ssh_key_signs(finished, key, tmp_path, capsys):
    out = tmp_path / "one.json"
    assert main(["certify", str(finished), "--out", str(out), "--sign", str(key)]) == 0
    assert capsys.readouterr().out.endswith(f"{out}.sig\n")
    status, said = verify(out, capsys=capsys)
    assert status == 0
    assert "holds          signature: the file is as the ED25519 key SHA256:" in said
    signers = signers_of(key)
    status, said = verify(out, "--signers", signers, capsys=capsys)
    assert status == 0
    assert "the file is as anna@lab.org signed it, with the ED25519 key SHA256:" in said
    # The program alone can check it, too, as the module and the documentation say.
    words = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "anna@lab.org", "-n", signature.NAMESPACE]
    subprocess.run([*words, "-s", f"{out}.sig"], input=out.read_bytes(), check=True, capture_output=True)

    text = out.read_bytes()
    out.write_bytes(text.replace(b'"failure"', b'"success"', 1))
    for words in ([], ["--signers", signers]):
        status, said = verify(out, *words, capsys=capsys)
        assert status == 1
        assert "DOES NOT HOLD  signature: it is not of this file" in said


@needs_ssh
def test_the_signature_of_another_file_or_key_does_not_hold(sent, key, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_bytes(sent.read_bytes() + b"\n")
    foreign = signature.sign(other, key)
    status, said = verify(sent, "--signature", foreign, capsys=capsys)
    assert status == 1
    assert "DOES NOT HOLD  signature: it is not of this file" in said
    signature.sign(sent, key)
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    status, said = verify(sent, "--signers", signers_of(stranger), capsys=capsys)
    assert status == 1
    assert "its key is nobody's in" in said


@needs_ssh
def test_a_signature_for_another_purpose_does_not_hold(sent, key, capsys):
    with open(sent, "rb") as data, open(f"{sent}.sig", "wb") as out:
        words = ["ssh-keygen", "-Y", "sign", "-f", key, "-n", "file"]
        subprocess.run(words, stdin=data, stdout=out, stderr=subprocess.DEVNULL, check=True)
    assert verify(sent, capsys=capsys)[0] == 1


@needs_ssh
def test_a_signature_that_was_taken_away_is_missed(sent, key, capsys):
    status, said = verify(sent, "--signers", signers_of(key), capsys=capsys)
    assert status == 1
    assert "the certificate comes without one, and --signers asks for it" in said


@needs_ssh
@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN SSH SIGNATURE-----\n" + b"A" * 10**6])
def test_nonsense_is_no_signature(sent, text, capsys):
    sent.with_name(f"{sent.name}.sig").write_bytes(text)
    assert verify(sent, capsys=capsys)[0] == 1


@needs_minisign
def test_a_minisign_key_signs(sent, tmp_path, capsys):
    secret, public = tmp_path / "minisign.key", tmp_path / "minisign.pub"
    subprocess.run(["minisign", "-G", "-W", "-s", secret, "-p", public], check=True, capture_output=True)
    assert signature.sign(sent, secret) == sent.with_name(f"{sent.name}.minisig")
    status, said = verify(sent, capsys=capsys)
    assert (status, "name the signer's public key with --signers" in said) == (0, True)
    status, said = verify(sent, "--signers", public, capsys=capsys)
    assert (status, "holds          signature: the file is as the key of" in said) == (0, True)
    sent.write_bytes(sent.read_bytes().replace(b'"failure"', b'"success"', 1))
    status, said = verify(sent, "--signers", public, capsys=capsys)
    assert (status, "DOES NOT HOLD  signature: it is not of this file" in said) == (1, True)


@pytest.mark.parametrize(
    ("text", "word"),
    [("untrusted comment: minisign encrypted secret key\n", "install minisign"), ("ssh", "openssh-client")],
)
def test_a_missing_program_is_named(moved, tmp_path, monkeypatch, capsys, text, word):
    key = tmp_path / "key"
    key.write_text(text)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["certify", str(moved), "--out", str(tmp_path / "one.json"), "--sign", str(key)]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


@needs_ssh
def test_what_cannot_sign_is_one_line(sent, tmp_path, capsys, moved):
    (tmp_path / "key").write_text("no key")
    for key in ("key", "none"):
        words = ["certify", str(moved), "--out", str(tmp_path / "one.json"), "--sign", str(tmp_path / key)]
        assert main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1
