"""What is certified: whole runs whose own hashes agree; nothing that tells of folders."""

import json

import pytest

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory
from headless_eval.runs.certificate.contents import certificate_of, without_folders


def lines_of(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def write_lines(folder, lines):
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_nothing_tells_where_files_lay(moved, certified):
    run = RunDirectory.open(moved)
    assert str(moved.parent) not in certified.read_text()
    text = json.dumps(certificate_of(run).manifest())
    assert run.manifest["settings"]["results"] not in text
    assert "command" not in text


def test_paths_become_names():
    section = {
        "name": "./mine/policy.py:Policy",
        "file": "/home/anna/policy.py",
        "of": ["/a/b.py:f(x='/c/d')", "int8"],
    }
    assert without_folders(section) == {"name": "policy.py:Policy", "of": ["b.py:f(x='/c/d')", "int8"]}


def test_it_lies_in_the_runs_folder_unless_told_otherwise(moved, capsys):
    assert main(["certify", str(moved)]) == 0
    assert capsys.readouterr().out.startswith(f"{moved / 'certificate.json'}: 6 episodes, ")
    assert (moved / "certificate.json").is_file()


def test_a_run_that_lacks_episodes_is_refused(moved, capsys):
    write_lines(moved, lines_of(moved)[:-2])
    assert main(["certify", str(moved)]) == 2
    said = capsys.readouterr().err
    assert "2 episodes of the run are missing" in said
    assert "--resume" in said
    assert not (moved / "certificate.json").exists()


def test_actions_without_their_hash_are_refused(moved, capsys):
    path = moved / "actions" / "float32.f32"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert main(["certify", str(moved)]) == 2
    assert "float32, scene_1, episode 0 cannot be certified: its actions" in capsys.readouterr().err


def test_an_episode_of_another_seed_is_refused(moved, capsys):
    lines = lines_of(moved)
    lines[3]["seed"] = 8
    write_lines(moved, lines)
    assert main(["certify", str(moved)]) == 2
    assert "its seed 8 is not the run's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "value"), [("seed", "7"), ("started_at", None), ("policy", []), ("versions", {"numpy": 1})]
)
def test_a_damaged_manifest_is_one_line(moved, capsys, entry, value):
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest[entry] = value
    (moved / "manifest.json").write_text(json.dumps(manifest))
    assert main(["certify", str(moved)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
