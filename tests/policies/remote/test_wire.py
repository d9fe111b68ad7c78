import numpy as np
import pytest

from headless_eval.policies.remote.wire import BadMessage, pack, plain, unpack

MESSAGE = {
    "image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "state": np.array([0.5, -1.0], np.float32),
    "t": np.float64(1.5),
    "i": np.int64(3),
    "b": np.bool_(True),
    "prompt": "do é",
    "n": None,
    "l": [1, 2.5],
}
# msgpack_numpy.packb(MESSAGE) of the package openpi-client 0.1.2.
OPENPI = bytes.fromhex(
    "88a5696d61676584c40b5f5f6e6461727261795f5fc3c40464617461c40c000102030405060708090a0bc4056474797065a37c7531c405"
    "736861706593020203a5737461746584c40b5f5f6e6461727261795f5fc3c40464617461c4080000003f000080bfc4056474797065a33c"
    "6634c40573686170659102a174cb3ff8000000000000a16983c40d5f5f6e7067656e657269635f5fc3c4046461746103c4056474797065"
    "a33c6938a16283c40d5f5f6e7067656e657269635f5fc3c40464617461c3c4056474797065a37c6231a670726f6d7074a5646f20c3a9a1"
    "6ec0a16c9201cb4004000000000000"
)


def test_messages_are_openpis_bytes():
    assert pack(MESSAGE) == OPENPI
    message = unpack(OPENPI)
    assert message.keys() == MESSAGE.keys()
    for name, value in MESSAGE.items():
        np.testing.assert_array_equal(message[name], value)
        assert np.asarray(message[name]).dtype == np.asarray(value).dtype, name
    message["state"][0] = 1.0  # may be written to


def test_arrays_keep_their_bits_whatever_their_layout():
    array = np.random.default_rng(0).standard_normal((4, 6)).astype(">f4")[::2, ::-1]
    np.testing.assert_array_equal(unpack(pack({"a": array}))["a"], array)
    assert unpack(pack(np.zeros((0, 7)))).shape == (0, 7)


@pytest.mark.parametrize(
    "value", [np.array([object()]), np.array([1j]), np.zeros(2, "V4"), object(), np.complex64(1)]
)
def test_what_is_no_number_and_no_text_is_not_sent(value):
    with pytest.raises(BadMessage):
        pack({"value": value})


def test_damaged_messages_are_refused():
    array = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}
    assert unpack(pack(array)).tolist() == [0, 0]
    for change in (
        {b"shape": [3]},
        {b"dtype": "O"},
        {b"dtype": [["a", "<f4"]]},
        {b"dtype": "nothing"},
        {b"data": "text"},
        {b"data": bytes(7)},
    ):
        with pytest.raises(BadMessage):
            unpack(pack(array | change))
    for content in (b"", b"\xc1", OPENPI[:-1], "a text"):
        with pytest.raises(BadMessage):
            unpack(content)


def test_a_message_for_a_record_is_json():
    message = plain(
        {"pose": np.zeros(2), "table": np.zeros((100, 2)), "name": "x", b"k": b"abc", "f": np.nan}
    )
    assert message == {
        "pose": [0, 0],
        "table": "float64 [100, 2]",
        "name": "x",
        "b'k'": "3 bytes",
        "f": "nan",
    }
