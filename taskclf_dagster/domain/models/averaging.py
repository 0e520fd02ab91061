"""Joins models that were fitted with other seeds into one, whose raw scores are the average of theirs.

A sum of trees is all that LightGBM's text format is, so the average of several models is all of their trees with the values divided by
their number. taskclf loads it as any other model.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lightgbm

_VALUES = ("leaf_value=", "internal_value=")


def average_boosters(boosters: Sequence["lightgbm.Booster"]) -> "lightgbm.Booster":
    """Returns one model with the trees of all; its raw scores are the average of theirs, its probabilities the softmax of these.

    Args:
        boosters: at least one, fitted on the same inputs and classes; the parameters in the text are those of the first.
    """
    if len(boosters) == 1:
        return boosters[0]
    import lightgbm

    texts = [booster.model_to_string() for booster in boosters]
    blocks = [block for text in texts for block in _tree_blocks(text)]
    trees = [_scale_tree(block, number, len(boosters)) for number, block in enumerate(blocks)]
    header, _, rest = texts[0].partition("tree_sizes=")
    sizes = " ".join(str(len(tree)) for tree in trees)  # the text is ASCII, so characters are bytes
    text = f"{header}tree_sizes={sizes}\n\n{''.join(trees)}{rest[rest.index('end of trees') :]}"
    return lightgbm.Booster(model_str=text)


def _tree_blocks(text: str) -> list[str]:
    """Returns the text of each tree without its first line, Tree=number."""
    trees = text[text.index("Tree=0") : text.index("end of trees")]
    return [block.partition("\n")[2] for block in trees.split("Tree=")[1:]]


def _scale_tree(block: str, number: int, divisor: int) -> str:
    """Returns a tree with its number in the joined model and with values divided."""
    lines = [f"Tree={number}"]
    for line in block.split("\n"):
        name, equals, values = line.partition("=")
        if name + equals in _VALUES:
            line = name + equals + " ".join(repr(float(value) / divisor) for value in values.split())
        lines.append(line)
    return "\n".join(lines)
