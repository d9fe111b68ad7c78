"""Signatures of certificates, made and checked by ``ssh-keygen -Y`` or ``minisign``; nothing is computed here.

The signature is a file beside the certificate, which those programs can check without this one:
``ssh-keygen -Y verify -f SIGNERS -I NAME -n headless-eval-certificate -s FILE.sig < FILE``.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from headless_eval.errors import UserError
from headless_eval.runs.certificate.statement import FAILS, HOLDS, UNCHECKED, Statement
from headless_eval.shared.files import replacing

NAMESPACE = "headless-eval-certificate"
"""What an SSH signature says that it is for, so that no other signature of the key passes for one."""

SSH, MINISIGN = ".sig", ".minisig"
_SUBJECT = "signature"
_INSTALL = {"ssh-keygen": "install openssh-client", "minisign": "install minisign, or sign with an SSH key"}
_LARGEST = 2**16


def sign(path: Path, key: Path) -> Path:
    """Sign a file; an old signature of it is replaced.

    Args:
        path: of the file.
        key: an SSH key (a public one is enough if an agent holds the private one), or a minisign secret key. The
            program asks for its passphrase on the terminal.

    Returns:
        The signature's file: the path with ``.sig`` or ``.minisig``.

    Raises:
        UserError: there is no such key, the program is missing, or it cannot sign.
    """
    with _opened(key, "key") as file:
        minisign = file.read(200).startswith(b"untrusted comment:")
    if minisign:
        signature = path.with_name(path.name + MINISIGN)
        words = ["minisign", "-S", "-s", _absolute(key), "-m", _absolute(path), "-x", _absolute(signature)]
        done = _run(words, stdin=None)
    else:
        signature = path.with_name(path.name + SSH)
        words = ["ssh-keygen", "-Y", "sign", "-f", _absolute(key), "-n", NAMESPACE]
        done = _run(words, path.read_bytes())
    if done.returncode:
        raise UserError(f"{key} did not sign: {_said(done)}")
    if not minisign:
        try:
            with replacing(signature, "wb") as file:
                file.write(done.stdout)
        except OSError as error:
            raise UserError(f"cannot write {signature}: {error.strerror}") from None
    return signature


def check(data: bytes, path: Path, signature: Path | None, signers: Path | None) -> Statement:
    """Check the signature of a certificate.

    Args:
        data: the certificate's bytes.
        path: of its file, beside which its signature is looked for.
        signature: another place of the signature.
        signers: who may have signed: an ``allowed_signers`` file of SSH, or minisign's public key. None: the signature
            has to be intact, whoever made it.

    Raises:
        UserError: a named file does not exist, or the program that checks is missing.
    """
    beside = (path.with_name(path.name + ending) for ending in (SSH, MINISIGN))
    found = signature or next((one for one in beside if one.is_file()), None)
    if found is None:
        if signers is not None:
            return Statement(
                FAILS,
                _SUBJECT,
                f"the certificate comes without one, and --signers asks for it ({path.name}{SSH})",
            )
        return Statement(
            UNCHECKED, _SUBJECT, "the certificate comes without one, so whoever sent it could have changed it"
        )
    with _opened(found, "signature") as file:
        text = file.read(_LARGEST)
    # The program reads a copy, so that what is checked is what was read.
    with tempfile.TemporaryDirectory() as folder:
        copy, certificate = Path(folder) / "signature", Path(folder) / "certificate"
        copy.write_bytes(text)
        certificate.write_bytes(data)
        if text.startswith(b"untrusted comment:"):
            return _check_minisign(certificate, copy, signers)
        return _check_ssh(data, copy, signers)


def _check_ssh(data: bytes, signature: Path, signers: Path | None) -> Statement:
    begin, end = ["ssh-keygen", "-Y"], ["-n", NAMESPACE, "-s", str(signature)]
    if signers is None:
        done = _run([*begin, "check-novalidate", *end], data)
        if done.returncode:
            return Statement(FAILS, _SUBJECT, f"it is not of this file ({_said(done)})")
        text = f"the file is as {_key(done)} signed it; name who may sign with --signers to check whose key it is"
        return Statement(HOLDS, _SUBJECT, text)
    allowed = _absolute(signers)
    with _opened(signers, "file of signers"):
        found = _run([*begin, "find-principals", *end, "-f", allowed], b"")
    names = found.stdout.decode(errors="replace").split("\n")
    if found.returncode or not names[0]:
        return Statement(FAILS, _SUBJECT, f"its key is nobody's in {signers}")
    done = _run([*begin, "verify", *end, "-f", allowed, "-I", names[0]], data)
    if done.returncode:
        return Statement(FAILS, _SUBJECT, f"it is not of this file, or not by {names[0]} ({_said(done)})")
    return Statement(HOLDS, _SUBJECT, f"the file is as {names[0]} signed it, with {_key(done)}")


def _check_minisign(certificate: Path, signature: Path, signers: Path | None) -> Statement:
    if signers is None:
        return Statement(UNCHECKED, _SUBJECT, "it is minisign's: name the signer's public key with --signers")
    with _opened(signers, "public key"):
        words = [
            "minisign",
            "-V",
            "-q",
            "-p",
            _absolute(signers),
            "-m",
            str(certificate),
            "-x",
            str(signature),
        ]
        done = _run(words, b"")
    if done.returncode:
        return Statement(FAILS, _SUBJECT, f"it is not of this file, or not by {signers} ({_said(done)})")
    return Statement(HOLDS, _SUBJECT, f"the file is as the key of {signers} signed it")


def _run(words: Sequence[str], stdin: bytes | None) -> subprocess.CompletedProcess[bytes]:
    """Run a program and keep what it says; with None it has the terminal to itself.

    Raises:
        UserError: it is not installed.
    """
    program = shutil.which(words[0])
    if program is None:
        raise UserError(f"{words[0]}, which makes and checks signatures, is missing: {_INSTALL[words[0]]}")
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        [program, *words[1:]], input=stdin, capture_output=stdin is not None, env=environment, check=False
    )


def _opened(path: Path, what: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror}") from None


def _absolute(path: Path) -> str:
    """Return a path that no program takes for a flag."""
    return os.path.abspath(path)


def _key(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the key that ssh-keygen names, such as ``the ED25519 key SHA256:...``."""
    found = re.search(rb"with (\S+) key (SHA256:\S+)", done.stdout)
    return "a key" if found is None else f"the {found[1].decode()} key {found[2].decode()}"


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout or b"").decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit status {done.returncode}"
