"""The order in which the runs of many homes are admitted: start-time fair queueing (Goyal, Vin and Cheng 1996), all runs of equal weight.

A run gets a turn when it is queued: the one that is being served, or the one after the last of its own home, whichever is later. The lowest
turn goes first, and among equal ones the run that has waited longest. A home that queues a hundred runs takes one place in each round of
the others, and all that it queued is reached.
"""

from collections.abc import Sequence

Turn = int


def find_turn(*, served: Sequence[Turn], waiting: Sequence[Turn], own: Sequence[Turn]) -> Turn:
    """Returns the turn of a run that is queued now.

    Args:
        served: turns of the runs that execute now.
        waiting: turns of the runs that wait.
        own: turns of the runs of this home, of either kind.
    """
    present = max(served, default=min(waiting, default=0))
    return max([present, *(turn + 1 for turn in own)])
