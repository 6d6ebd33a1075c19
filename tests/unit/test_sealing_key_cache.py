from __future__ import annotations

from shared.sealing.key_cache import KeyCache

KEY = bytes(32)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def knows(cache: KeyCache, raw_id: bytes) -> bool:
    cache.expire()
    return raw_id in cache.split([raw_id])[0]


def test_a_key_is_forgotten_within_its_time_however_often_it_is_used() -> None:
    clock = Clock()
    cache = KeyCache(60, 100, clock)
    cache.expire()
    cache.put({b"a": KEY}, cache.evictions)
    for clock.now in range(1, 60):
        knows(cache, b"a")
    clock.now = 60
    assert not knows(cache, b"a")


def test_a_key_put_just_before_a_turn_still_goes_in_time() -> None:
    clock = Clock()
    cache = KeyCache(60, 100, clock)
    cache.expire()
    clock.now = 29
    cache.put({b"a": KEY}, cache.evictions)
    clock.now = 31
    assert knows(cache, b"a")
    clock.now = 61
    assert not knows(cache, b"a")


def test_a_cache_that_slept_believes_nothing() -> None:
    clock = Clock()
    cache = KeyCache(60, 100, clock)
    cache.expire()
    cache.put({b"a": KEY}, cache.evictions)
    clock.now = 1_000
    assert not knows(cache, b"a")
    assert len(cache) == 0


def test_an_evicted_key_is_forgotten_at_once() -> None:
    cache = KeyCache(60, 100)
    cache.put({b"a": KEY, b"b": None}, cache.evictions)
    cache.evict([b"a"])
    assert cache.split([b"a", b"b"]) == ({b"b": None}, [b"a"])


def test_a_key_read_before_an_eviction_is_not_kept_after_it() -> None:
    cache = KeyCache(60, 100)
    evictions = cache.evictions
    cache.evict([b"a"])
    cache.put({b"a": KEY}, evictions)
    assert not knows(cache, b"a")


def test_the_cache_never_holds_more_than_it_may() -> None:
    cache = KeyCache(60, 10)
    for number in range(1_000):
        cache.put({number.to_bytes(2, "big"): KEY}, cache.evictions)
        assert len(cache) <= 10


def test_one_large_put_does_not_break_the_bound() -> None:
    cache = KeyCache(60, 10)
    cache.put({number.to_bytes(2, "big"): KEY for number in range(1_000)}, cache.evictions)
    assert len(cache) <= 10
