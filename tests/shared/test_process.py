from headless_eval.shared import process


def test_what_ends_the_process_is_called_once_with_the_exit_status():
    seen = []
    process.at_end(seen.append)
    assert process.end(3) == 3
    assert process.end(4) == 4
    assert seen == [3]
