"""What is kept of whom: bounded in bytes, and nobody pushes others out."""

from __future__ import annotations

from ipyproxy.encoding.store import Entry, Key, Recording, Store

ALICE, BOB = "alice's notebook", "bob's"
CONDITION = b'If-None-Match: "1"'
OVERHEAD = 514


def key(target: bytes, coding: bytes = b"zstd", public: bytes = b"https://hub.example") -> Key:
    return Key(public, target, coding)


def entry(target: bytes, size: int = 1000) -> Entry:
    return Entry(key(target), CONDITION, b"", b"x" * (size - OVERHEAD), 10 * size)


def test_an_entry_is_one_owner_s_at_one_place_for_one_target_and_coding() -> None:
    store = Store(100_000)
    kept = entry(b"/a")
    assert store.put(ALICE, kept)
    assert store.find(ALICE, key(b"/a")) is kept
    assert store.find(BOB, key(b"/a")) is None
    assert store.find(ALICE, key(b"/a?")) is None
    assert store.find(ALICE, key(b"/a", coding=b"gzip")) is None
    assert store.find(ALICE, key(b"/a", public=b"https://evil.example")) is None


def test_the_oldest_of_whoever_has_most_gives_way() -> None:
    store = Store(10_000)
    for number in range(2):
        store.put(BOB, entry(b"/%d" % number))
    for number in range(100):
        store.put(ALICE, entry(b"/%d" % (number % 10), 999))
        assert store.held <= 10_000
    assert store.find(BOB, key(b"/0"))
    assert store.find(BOB, key(b"/1"))
    assert store.find(ALICE, key(b"/9"))
    assert store.find(ALICE, key(b"/1")) is None


def test_what_was_used_lately_stays() -> None:
    store = Store(8_000)
    for number in range(8):
        store.put(ALICE, entry(b"/%d" % number))
    store.find(ALICE, key(b"/0"))
    store.put(ALICE, entry(b"/8"))
    assert store.find(ALICE, key(b"/0"))
    assert store.find(ALICE, key(b"/1")) is None


def test_one_that_takes_too_much_is_not_kept() -> None:
    store = Store(8_000)
    assert not store.put(ALICE, entry(b"/a", 1001))
    assert len(store) == 0


def test_a_port_that_changes_hands_leaves_nothing() -> None:
    store = Store(100_000)
    store.put(ALICE, entry(b"/a"))
    begun = Recording(store, ALICE, key(b"/b"), CONDITION, b"")
    begun.take(b"x" * 100)
    store.drop(ALICE)
    assert begun.finish(1000) is None
    assert not store.has_any_of(ALICE)
    assert store.held == 0


def test_a_smaller_body_takes_the_place_of_the_first() -> None:
    store = Store(100_000)
    first = entry(b"/a")
    store.put(ALICE, first)
    store.replace(ALICE, first, b"small")
    found = store.find(ALICE, key(b"/a"))
    assert found is not None
    assert (found.body, found.size) == (b"small", 10_000)
    assert store.held == 5 + OVERHEAD
    # What is not kept any more is not put back.
    store.replace(ALICE, first, b"other")
    assert found is store.find(ALICE, key(b"/a"))


def test_slow_readers_hold_no_more_than_the_bound() -> None:
    store = Store(10_000)
    read = []
    for number in range(100):
        one = entry(b"/%d" % number)
        if store.put(ALICE, one):
            store.lend(one)
            read.append(one)
        assert store.held <= 10_000
    assert len(read) == 10
    for one in read:
        store.give_back(ALICE, one)
    assert store.put(ALICE, entry(b"/a"))
    assert store.held <= 10_000


def test_unfinished_answers_take_a_part_only() -> None:
    store = Store(80_000)
    store.put(BOB, entry(b"/a", 8_000))
    recordings = [Recording(store, ALICE, key(b"/%d" % n), CONDITION, b"") for n in range(10)]
    for recording in recordings:
        recording.take(b"x" * 4_000)
    assert store.held == 8_000 + 20_000
    kept = [recording.finish(50_000) for recording in recordings]
    assert [one is not None for one in kept] == [True] * 5 + [False] * 5
    assert store.held == 8_000 + 5 * (4_000 + OVERHEAD)


def test_an_abandoned_recording_leaves_nothing() -> None:
    store = Store(100_000)
    recording = Recording(store, ALICE, key(b"/a"), CONDITION, b"")
    recording.take(b"x" * 100)
    recording.abandon()
    recording.take(b"x" * 100)
    assert recording.finish(200) is None
    assert store.held == 0


def test_less_room_from_now_on() -> None:
    store = Store(80_000)
    for number in range(20):
        store.put(ALICE, entry(b"/%d" % number))
    store.resize(8_000)
    assert store.held <= 8_000
    assert store.find(ALICE, key(b"/19"))
    store.resize(0)
    assert store.held == 0
    assert not store.put(ALICE, entry(b"/a"))
