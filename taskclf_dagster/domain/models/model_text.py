"""Checks of LightGBM's text format before LightGBM reads it: sizes of the trees, numbers in the leaves, the end."""

import hashlib


def check_model_text(text: str) -> None:
    """Checks that a text model is complete, because LightGBM reads past the end of a truncated one.

    Raises:
        ValueError: it does not begin as one, its trees do not have the sizes that its header states, or a leaf is not a number.
    """
    sizes = next((line for line in text[: text.find("Tree=0")].split("\n") if line.startswith("tree_sizes=")), None)
    if not text.startswith("tree") or sizes is None:
        msg = "it is not a LightGBM text model"
        raise ValueError(msg)
    begin = text.find("Tree=0")
    expected = begin + sum(int(size) for size in sizes.removeprefix("tree_sizes=").split())
    if text.find("end of trees") != expected or "\nend of parameters\n" not in text[expected:]:
        msg = "it is truncated or damaged: its trees do not have the sizes its header states, or its parameters do not end"
        raise ValueError(msg)
    leaves = (line for line in text[begin:expected].split("\n") if line.startswith("leaf_value="))
    if any("n" in line.removeprefix("leaf_value=").lower() for line in leaves):  # as nan and inf do, and no number does
        msg = "it has leaves that are not numbers, so it predicts none"
        raise ValueError(msg)


def tree_hash(model_text: str) -> str:
    """Returns the SHA-256 over the tree section of model.txt, without the parameter block, which contains num_threads."""
    begin, end = model_text.find("Tree=0"), model_text.find("end of trees")
    return hashlib.sha256(model_text[begin:end].encode()).hexdigest()
