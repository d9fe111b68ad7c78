"""Repositories of Hugging Face's hub: what they hold, and parts of their files. The library opens the connections."""

import os
import re
from pathlib import Path
from typing import Any

from headless_eval.checkpoints.locate import hub_folder
from headless_eval.errors import UserError
from headless_eval.shared.files import is_name
from headless_eval.shared.program import install

_FOR_OTHERS = re.compile(r"onnx/|.*\.(onnx|gguf|h5|msgpack|tflite|ot)$")  # weights for other programs


class Repository:
    """The last state of a repository of models.

    The server is the hub, or what ``HF_ENDPOINT`` names; ``HF_TOKEN`` opens repositories that need an account.

    Args:
        name: ``owner/name``.

    Attributes:
        files: the files' names with their sizes in bytes, smallest first, without weights for other programs.
        revision: the commit.

    Raises:
        UserError: huggingface_hub is missing or was told to stay offline, the repository does not exist or is not open
            to this account, or the server cannot be reached.
    """

    def __init__(self, name: str) -> None:
        try:
            from huggingface_hub import HfApi, constants, errors
        except ImportError:
            raise UserError(
                f"fetching from the hub needs huggingface_hub: run {install('headless-eval[fetch]')}"
            ) from None
        if constants.HF_HUB_OFFLINE:
            raise UserError("HF_HUB_OFFLINE is set, so that nothing can be fetched: unset it")
        try:
            about = HfApi(endpoint=constants.ENDPOINT).model_info(name, files_metadata=True)
        except errors.GatedRepoError:
            raise UserError(
                f"{name} is open to accounts that accepted its terms: accept them on its page, and set HF_TOKEN"
            ) from None
        except errors.RepositoryNotFoundError:
            raise UserError(
                f"the hub has no {name}, or not for this account: check the name, or set HF_TOKEN"
            ) from None
        except (
            Exception
        ) as error:  # of the library, of its HTTP client, whose kinds change, and of the system
            lines = str(error).splitlines() or [type(error).__name__]
            server = os.environ.get("HF_ENDPOINT", "the hub")
            raise UserError(f"cannot list {name} of {server}: {lines[0][:200]}") from None
        self.name, self.revision = name, str(about.sha)
        if not is_name(self.revision):
            raise UserError(
                f"cannot fetch {name}: the hub gives {self.revision!r} as its newest commit, which is not a commit's "
                "name; check HF_ENDPOINT"
            )
        sizes = {one.rfilename: int(one.size or 0) for one in about.siblings or ()}
        wanted = ((file, size) for file, size in sizes.items() if not _FOR_OTHERS.match(file))
        self.files = dict(sorted(wanted, key=lambda item: (item[1], item[0])))

    @property
    def folder(self) -> Path:
        """Return where Hugging Face's library keeps this repository."""
        return hub_folder(self.name)

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from ``start`` to ``end``, as fsspec does.

        Raises:
            OSError: the server cannot be reached or refuses.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(self.name, path, revision=self.revision)
        headers = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}"}
        try:
            answer: Any = get_session().get(url, headers=headers, follow_redirects=True)
            hf_raise_for_status(answer)
        except OSError:
            raise
        except Exception as error:  # the HTTP client's own kinds
            raise OSError(str(error) or type(error).__name__) from None
        content: bytes = answer.content
        return content if answer.status_code == 206 else content[start:end]
