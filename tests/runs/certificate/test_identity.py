"""Hashes, versions and hardware: what refutes a certificate, and what is only told."""

from copy import deepcopy

import pytest

from headless_eval.results import RunDirectory
from headless_eval.runs.certificate.contents import certificate_of, without_folders
from headless_eval.runs.certificate.identity import what_was_evaluated, where_it_ran


@pytest.fixture(scope="module")
def run(finished):
    return RunDirectory.open(finished)


@pytest.fixture
def certificate(run):
    return certificate_of(run)


@pytest.fixture
def now(run):
    return without_folders(deepcopy(dict(run.manifest)))


def said(statements):
    return {one.subject: (one.result, one.text) for one in statements}


HASH, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("section", "name", "subject"),
    [
        ("policy", "fingerprint", "weights"),
        ("policy", "tokenizer_sha256", "tokenizer"),
        ("policy", "config_sha256", "policy's configuration"),
        ("policy", "norm_stats_sha256", "normalisation statistics"),
        ("policy", "calibration_sha256", "calibration"),
        ("simulator", "assets_sha256", "assets"),
    ],
)
def test_each_hash_is_a_statement(certificate, now, section, name, subject):
    getattr(certificate, section)[name] = now[section][name] = HASH
    assert said(what_was_evaluated(certificate, now))[subject] == ("holds", f"the same (sha256 {HASH[:16]}…)")
    now[section][name] = OTHER
    result, text = said(what_was_evaluated(certificate, now))[subject]
    assert result == "DOES NOT HOLD"
    assert "another" in text
    del getattr(certificate, section)[name]  # who takes a hash out states nothing
    result, text = said(what_was_evaluated(certificate, now))[subject]
    assert result == "DOES NOT HOLD"
    assert "the certificate states no hash" in text


def test_code_of_others_is_a_statement(certificate, now):
    certificate.policy["code"] = now["policy"]["code"] = {"own.py": HASH}
    certificate.methods = {"mine": {"code": {"mine.py": HASH}, "origin": {"version": "1"}}}
    now["methods"] = {"mine": {"code": {"mine.py": OTHER}, "origin": {"version": "1"}}}
    found = said(what_was_evaluated(certificate, now))
    assert found["policy's code"][0] == "holds"
    assert found["methods' code"][0] == "DOES NOT HOLD"


def test_processors_within_another_entry(certificate, now):
    certificate.policy["lerobot"] = {"processors_sha256": HASH, "version": "0.5.0"}
    now["policy"]["lerobot"] = {"processors_sha256": OTHER, "version": "0.5.1"}
    found = said(what_was_evaluated(certificate, now))
    assert found["processors"][0] == "DOES NOT HOLD"
    assert "policy and suite" not in found
    assert said(where_it_ran(certificate, now))["hardware"][0] == "differs"


def test_instructions_are_the_tasks(certificate, now):
    certificate.tasks[0].instruction = "do nothing"
    result, text = said(what_was_evaluated(certificate, now))["tasks"]
    assert (result, text) == ("DOES NOT HOLD", "others")


def test_other_versions_and_hardware_are_told(certificate, now):
    assert {result for result, _ in said(where_it_ran(certificate, now)).values()} == {"holds"}
    now["versions"]["numpy"] = "1.0"
    now["simulator"]["mujoco"] = now["versions"]["mujoco"] = "1.0"
    now["hardware"] |= {"gl_renderer": "another", "memory_bytes": 1}
    now["simulator"]["gl_renderer"] = "another"
    found = {one.subject: one for one in where_it_ran(certificate, now)}
    assert found["versions"].result == found["hardware"].result == "differs"
    assert len(found["versions"].details) == len(found["hardware"].details) == 2
    assert "policy and suite" not in said(what_was_evaluated(certificate, now))
    now["simulator"]["control_hz"] = 5.0
    assert said(what_was_evaluated(certificate, now))["policy and suite"][0] == "DOES NOT HOLD"


def test_another_version_of_the_code_is_told_and_other_code_of_the_version_refuted(certificate, now):
    now["source"]["sha256"] = OTHER
    assert said(where_it_ran(certificate, now))["code"][0] == "DOES NOT HOLD"
    now["versions"]["headless_eval"] = "9.0"
    version = certificate.versions["headless_eval"]
    assert said(where_it_ran(certificate, now))["code"] == (
        "differs",
        f"another version ({version} stated, 9.0 here)",
    )


def test_a_forced_continuation_is_told(certificate, now):
    certificate.forced = ["numpy: 1 then, 2 now"]
    assert said(where_it_ran(certificate, now))["continued"][0] == "differs"
