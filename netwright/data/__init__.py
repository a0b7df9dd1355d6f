"""Image datasets: decoded once, kept as bytes, augmented as whole batches."""

from netwright.data.augment import Augment, augment_for
from netwright.data.images import Dataset, ImageSet, split
from netwright.data.load import load_dataset
from netwright.data.loader import Loader, calibration_batches, eval_batches

__all__ = [
    "Augment",
    "Dataset",
    "ImageSet",
    "Loader",
    "augment_for",
    "calibration_batches",
    "eval_batches",
    "load_dataset",
    "split",
]
