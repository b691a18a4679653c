import numpy as np
import pytest

from tracekit.capture.batches import join_records, order_by_time

HOLES = np.dtype(
    {
        "names": ["ts", "port", "name"],
        "formats": ["u8", ">u2", "S5"],
        "offsets": [8, 4, 17],
        "itemsize": 24,
    }
)


def strided(count: int, dtype: np.dtype = HOLES) -> np.ndarray:
    raw = np.arange(count * 32, dtype=np.uint32).astype(np.uint8).reshape(count, 32)
    return np.ndarray((count,), dtype, raw.data, offset=8 if count else 0, strides=(32,))


def test_no_batches_are_an_empty_array_of_the_dtype():
    assert join_records([], HOLES).dtype == HOLES
    assert len(join_records([], HOLES)) == 0


@pytest.mark.parametrize("sizes", [[3], [1, 4], [0, 2, 0, 5]])
def test_joining_keeps_every_value_and_the_offsets(sizes):
    batches = [strided(size) for size in sizes]
    joined = join_records(batches, HOLES)
    assert joined.dtype == HOLES
    assert joined.dtype.fields["port"][1] == 4
    assert joined.flags.c_contiguous
    assert joined.flags.writeable
    assert joined.tolist() == [row for batch in batches for row in batch.tolist()]


@pytest.mark.parametrize("field", ["ts", "common_ts"])
def test_records_are_ordered_by_time_and_equal_times_stay_in_order(field):
    records = np.array([(5, 0), (1, 1), (3, 2), (1, 3), (5, 4)], [(field, "u8"), ("number", "u1")])
    assert order_by_time(records)["number"].tolist() == [1, 3, 2, 0, 4]


def test_records_in_order_or_without_a_time_stay_as_they_are():
    in_order = np.array([(1,), (1,), (2,)], [("ts", "u8")])
    timeless = np.array([(3,), (1,)], [("pid", "u4")])
    assert order_by_time(in_order) is in_order
    assert order_by_time(timeless) is timeless


def test_ordering_keeps_the_dtype_and_its_holes():
    records = strided(3)
    ordered = order_by_time(records[::-1])
    assert ordered.dtype == HOLES
    assert ordered.tolist() == records.tolist()
