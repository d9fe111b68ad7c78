"""The command ``certify``."""

from headless_eval.config.results import CertifyConfig
from headless_eval.results import RunDirectory
from headless_eval.runs.certificate.contents import certificate_of
from headless_eval.runs.certificate.document import write
from headless_eval.runs.certificate.signature import sign
from headless_eval.shared.text import bytes_text, plural

_NAME = "certificate.json"


def certify(settings: CertifyConfig) -> int:
    """Write the certificate of a run, and its signature if a key is given.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the folder holds no whole run, its hashes do not agree, a file cannot be written, or the key cannot
            sign.
    """
    out = settings.out or settings.directory / _NAME
    certificate = certificate_of(RunDirectory.open(settings.directory))
    size = write(certificate, out)
    print(f"{out}: {plural(len(certificate.episodes), 'episode')}, {bytes_text(size)}")
    if settings.sign is not None:
        print(sign(out, settings.sign))
    return 0
