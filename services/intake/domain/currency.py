"""Amounts as senders write them, to whole smallest units of the currency."""

from __future__ import annotations

from decimal import Decimal

from shared.policy.currency import MINOR_DIGITS

AMOUNT_MINOR_MAX = 10**15
"""Beyond any order, and small enough that sums of many stay exact in 64 bits."""


def amount_minor(amount: Decimal, currency: str) -> int:
    """The amount in the currency's smallest unit.

    Raises:
        ValueError: not finite, more decimal places than the currency has, or beyond `AMOUNT_MINOR_MAX`.
    """
    # The size is looked at before any arithmetic: 1E+999999999 as an integer would fill the memory.
    if not amount.is_finite() or amount.adjusted() > 15:
        raise ValueError("not a finite amount of this world")
    if amount == 0:
        return 0
    if amount.adjusted() < -4:
        raise ValueError("below the smallest unit")
    scaled = amount.scaleb(MINOR_DIGITS[currency])
    minor = int(scaled)
    if scaled != minor or abs(minor) > AMOUNT_MINOR_MAX:
        raise ValueError("not whole smallest units")
    return minor
