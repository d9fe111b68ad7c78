"""The file: small, readable, and refused in one line whatever is wrong with it."""

import gzip
import json
from base64 import b64encode
from hashlib import sha256

import pytest

from headless_eval.errors import UserError
from headless_eval.runs.certificate import document
from headless_eval.runs.certificate.document import Episode, decode, read_bytes, write


def test_it_is_read_as_it_was_written(certified, tmp_path):
    certificate = decode(certified.read_bytes(), certified)
    for name in ("plain.json", "packed.json.gz"):
        write(certificate, tmp_path / name)
        data = read_bytes(tmp_path / name)
        assert decode(data, tmp_path / name) == certificate
    assert (tmp_path / "packed.json.gz").read_bytes().startswith(b"\x1f\x8b")
    assert (tmp_path / "plain.json").read_bytes() == certified.read_bytes()


def test_records_are_the_journals(certified, finished):
    from headless_eval.results import RunDirectory

    names = (
        "trial",
        "seed",
        "status",
        "steps",
        "max_steps",
        "actions_sha256",
        "initial_state_sha256",
        "task_key",
    )
    then = [[getattr(one, name) for name in names] for one in RunDirectory.open(finished).records()]
    certificate = decode(certified.read_bytes(), certified)
    assert [[getattr(one, name) for name in names] for one in certificate.records()] == then


def test_300_episodes_take_less_than_100_kb(certified, tmp_path):
    certificate = decode(certified.read_bytes(), certified)
    digest = [sha256(str(number).encode()) for number in range(300)]
    certificate.episodes = [
        Episode(
            "float8_e4m3_weights_only",
            3,
            number,
            "success",
            240,
            30,
            one.hexdigest(),
            sha256(one.digest()).hexdigest(),
            b64encode(one.digest()).decode(),
        )
        for number, one in enumerate(digest)
    ]
    assert write(certificate, tmp_path / "plain.json") < 100_000
    assert write(certificate, tmp_path / "packed.json.gz") < 50_000


def test_numbers_that_json_lacks_are_refused(certified, tmp_path):
    certificate = decode(certified.read_bytes(), certified)
    certificate.policy["warmup_s"] = float("nan")
    with pytest.raises(UserError, match="cannot be certified"):
        write(certificate, tmp_path / "one.json")
    assert not (tmp_path / "one.json").exists()


def bomb(_):
    return gzip.compress(b" " * (document.MOST_BYTES + 1))


def deep(_):
    return b'{"format":' + b"[" * 100_000


def twice(table):
    table["episodes"].append(table["episodes"][0])


def of_no_variant(table):
    table["episodes"][0][0] = "other"


def too_many_steps(table):
    table["episodes"][0][4] = 17


def hash_of_another_kind(table):
    table["episodes"][0][7] = "F" * 64


def steps_as_text(table):
    table["episodes"][0][4] = "16"


def nested_setting(table):
    table["settings"]["policy_args"] = {"a": 1}


def endless_plan(table):
    table["episodes_per_task"] = 10**9


@pytest.mark.parametrize(
    "damage",
    [
        *(
            lambda _, text=text: text
            for text in (b"", b"{", b"[]", b"\x1f\x8b", b"\xff\xfe", b'{"format": 1}')
        ),
        lambda _: gzip.compress(b"{}") + b"more",
        bomb,
        deep,
        twice,
        of_no_variant,
        too_many_steps,
        hash_of_another_kind,
        steps_as_text,
        nested_setting,
        endless_plan,
        lambda table: table.update(more=1),
        lambda table: table.pop("seed") and None,
    ],
)
def test_what_is_no_certificate_is_refused(sent, damage):
    table = json.loads(sent.read_text())
    data = damage(table)
    sent.write_bytes(json.dumps(table).encode() if data is None else data)
    with pytest.raises(UserError, match=r"no certificate, or is damaged") as error:
        decode(read_bytes(sent), sent)
    assert len(str(error.value)) < 500


def test_a_later_version_says_so(forge):
    path = forge(version=2, more={})
    with pytest.raises(UserError, match="certificate of version 2, which a later"):
        decode(read_bytes(path), path)


def test_names_cannot_speak_to_the_terminal(forge):
    path = forge(lambda table: table["policy"].update(name="\x1b]0;mine\x07"))
    assert decode(read_bytes(path), path).policy["name"] == r"\x1b]0;mine\x07"
