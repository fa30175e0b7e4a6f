"""The stream of random numbers is the published one, in every language."""

import itertools

from edgetune_runtime.randomness import MASK, rotated, splitmix32, uniform_numbers, xoshiro128


def taken(draw, count):
    return [draw() for _ in range(count)]


def test_xoshiro_gives_the_reference_numbers():
    # xoshiro128starstar.c of Blackman and Vigna, version 1.1, from the state {1, 2, 3, 4}
    expected = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804]
    assert taken(xoshiro128(1, 2, 3, 4), 10) == expected


def test_xoshiro_begins_as_worked_by_hand():
    # rotl(2 · 5, 7) · 9 = 10 · 128 · 9
    assert xoshiro128(1, 2, 3, 4)() == 10 * 128 * 9
    # the state is then 7, 0, 1026, 12288: rotl(0 · 5, 7) · 9
    assert taken(xoshiro128(7, 0, 1026, 12288), 2) == [0, 5927040]


def test_splitmix_begins_as_worked_by_hand():
    z = 0x9E3779B9
    z = ((z ^ (z >> 16)) * 0x85EBCA6B) & MASK
    assert z == 0x9E37E78E * 0x85EBCA6B % 2**32
    z = ((z ^ (z >> 13)) * 0xC2B2AE35) & MASK
    assert splitmix32(0)() == z ^ (z >> 16) == 0x92CA2F0E


def test_streams_are_the_pinned_ones():
    # computed with a C program of the published functions; other languages pin the same numbers
    for seed, words, integers in (
        (0, [0x92CA2F0E, 0x3CD6E3F3, 0x1B147DCC, 0x4C081DBF], [3809008728, 1133695204, 53579671, 2891528803]),
        (1, [0x96A0F96B, 0x12BC8390, 0x971E9964, 0x79ADC7E7], [2442144158, 3238099751, 3819917871, 2104621829]),
        (42, [0x3805EA2C, 0xEB5CD984, 0x1327AACB, 0xC5BA443D], [2837322924, 544945897, 479756282, 3500138142]),
    ):
        assert taken(splitmix32(seed), 4) == words
        assert taken(xoshiro128(*words), 4) == integers
        assert taken(uniform_numbers(seed), 4) == [n / 2**32 for n in integers]


def test_uniform_numbers_are_multiples_of_two_to_the_minus_32():
    numbers = taken(uniform_numbers(7), 10_000)
    assert all(0 <= u < 1 and u * 2**32 == int(u * 2**32) for u in numbers)
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.01
    tenths = [sum(int(u * 10) == i for u in numbers) for i in range(10)]
    assert max(abs(n - 1000) for n in tenths) < 150


def test_seed_counts_modulo_two_to_the_32():
    assert taken(uniform_numbers(5), 3) == taken(uniform_numbers(5 + 2**32), 3)


def test_rows_of_a_batch_have_different_streams():
    streams = [taken(uniform_numbers(seed), 4) for seed in range(50)]
    assert all(a != b for a, b in itertools.combinations(streams, 2))


def test_rotated_keeps_32_bits():
    assert rotated(0x80000001, 1) == 3
