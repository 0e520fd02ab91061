"""Bets on one observation after the other, and the bounds of a mean that follow from them and hold at every look.

Somebody who bets that the mean is above a given value wins or loses a share of the wealth on each observation. If the mean is not above it,
the chance that the wealth ever reaches 1 / significance is at most `significance`, however often somebody looks (Ville's inequality). The
values against which the bets reach that are outside the interval (Waudby-Smith and Ramdas, Estimating means of bounded random variables by
betting, JRSS B 86, 2024). It holds for the mean of each observation given those before, where one beyond the largest that counts is cut.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Sign = Literal[1, -1]
"""1: bets that the mean is above a value, which give the lower bound. -1: that it is below, which give the upper one."""


CAP, CAP_OBSERVATIONS = 3.0, 14
"""An observation counts with at most 3 standard deviations if 14 are expected, with more if more are, with 1.5 if 7 or fewer are."""


LARGEST_SHARE = 0.9
"""The largest share of the wealth that is bet on one observation, so that none of it is lost altogether."""


LARGEST_WEALTH = 1e12
"""Larger ones are shown as this."""


_ROUNDS = 40
"""Halvings by which a bound is found."""


_Float = npt.NDArray[np.float64]


class Bets(NamedTuple):
    """Observations in their order, each with what was fixed before it was known.

    Attributes:
        gains: the observations, shape (n,).
        sizes: what the mean is a multiple of, shape (n,): the bets against a mean m are on gains - m * sizes.
        largest: the largest that counts of each, above 0, shape (n,).
        share: of the wealth that is bet on each (0 to 1).
    """

    gains: _Float
    sizes: _Float
    largest: _Float
    share: float


def choose_cap(expected: int) -> float:
    """Returns the number of standard deviations that an observation counts with at most.

    Of few observations the bets must be large, so that little is risked on each; of many, rare large losses must count as what they are.
    """
    if expected < CAP_OBSERVATIONS:
        return CAP * max(0.5, expected / CAP_OBSERVATIONS)
    return CAP * (expected / CAP_OBSERVATIONS) ** 0.2


def choose_share(cap: float, significance: float, expected: int) -> float:
    """Returns the share of the wealth to bet: that with which half of the expected observations give the narrowest bound.

    Args:
        cap: of `choose_cap`.
        significance: of the bound.
        expected: number of observations that may come; the bounds hold for any number.
    """
    return min(LARGEST_SHARE, cap * math.sqrt(2 * math.log(1 / significance) / max(1.0, expected / 2)))


def highest_wealth(bets: Bets, mean: float, *, sign: Sign) -> float:
    """Returns the highest wealth so far of the bets against a mean, from a start of 1."""
    return min(LARGEST_WEALTH, math.exp(min(_log_wealth(bets, mean, sign), 100.0)))


def find_bound(bets: Bets, significance: float, *, sign: Sign) -> float:
    """Returns a bound of the mean within [-1, 1]; that end if the bets reach nothing against it.

    The wealth falls (sign 1) or rises (-1) with the mean that is bet against, so that halving finds the bound.
    """
    target, outside, inside = math.log(1 / significance), -float(sign), float(sign)
    if _log_wealth(bets, outside, sign) < target:
        return outside
    for _ in range(_ROUNDS):
        middle = (outside + inside) / 2
        if _log_wealth(bets, middle, sign) >= target:
            outside = middle
        else:
            inside = middle
    return outside


def _log_wealth(bets: Bets, mean: float, sign: Sign) -> float:
    if not len(bets.gains):
        return 0.0
    outcome = np.clip((bets.gains - mean * bets.sizes) / bets.largest, -1.0, 1.0)
    return max(0.0, float(np.cumsum(np.log1p(sign * bets.share * outcome)).max()))
