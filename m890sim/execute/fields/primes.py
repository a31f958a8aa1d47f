"""Safe primes: P = 2Q + 1 with both prime."""

from __future__ import annotations

import numpy as np

_SMALL = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
BITS = 27  # P lies between 2**26 and 2**27: products of centred residues are exact in float64


def is_prime(number: int) -> bool:
    """Whether a number below 3.3e24 is prime: Miller and Rabin's test with the first 12 primes.

    Source: Sorenson and Webster, "Strong pseudoprimes to twelve prime bases" (2015).
    """
    if number < 2:
        return False
    for base in _SMALL:
        if number % base == 0:
            return number == base
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in _SMALL)


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def draw_safe_prime(random: np.random.Generator, bits: int = BITS) -> int:
    """A random safe prime P of so many bits; Q is (P - 1) / 2.

    bits: 5 to 27. Raises: ValueError.
    """
    if not 5 <= bits <= BITS:
        raise ValueError(f"bits must lie between 5 and {BITS}, not {bits}")
    while True:
        half = int(random.integers(2 ** (bits - 2), 2 ** (bits - 1)))
        if is_prime(half) and is_prime(2 * half + 1):
            return 2 * half + 1
