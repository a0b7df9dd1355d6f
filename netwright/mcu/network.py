"""Integer networks and all kinds of their layers, from the files that define them."""

from netwright.mcu.layer import Layer, Network, NetworkValue, Requantize, Window
from netwright.mcu.operators.add import Add
from netwright.mcu.operators.batch_matmul import BatchMatmul
from netwright.mcu.operators.conv import Conv
from netwright.mcu.operators.dense import Dense
from netwright.mcu.operators.depthwise import Depthwise
from netwright.mcu.operators.extremes import Extreme
from netwright.mcu.operators.mean import Mean
from netwright.mcu.operators.multiply import Multiply
from netwright.mcu.operators.pool import Pool
from netwright.mcu.operators.prelu import Prelu
from netwright.mcu.operators.reduce_extremes import ReduceExtreme
from netwright.mcu.operators.resize import Resize
from netwright.mcu.operators.shared.copies import Copy, CopyBlock
from netwright.mcu.operators.shared.tables import Lookup
from netwright.mcu.operators.softmax import Softmax
from netwright.mcu.operators.squared_difference import SquaredDifference
from netwright.mcu.operators.transpose_conv import TransposeConv

__all__ = [
    "Add",
    "BatchMatmul",
    "Conv",
    "Copy",
    "CopyBlock",
    "Dense",
    "Depthwise",
    "Extreme",
    "Layer",
    "Lookup",
    "Mean",
    "Multiply",
    "Network",
    "NetworkValue",
    "Pool",
    "Prelu",
    "ReduceExtreme",
    "Requantize",
    "Resize",
    "Softmax",
    "SquaredDifference",
    "TransposeConv",
    "Window",
]
