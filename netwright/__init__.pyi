# Written by tools/write_stub.py from the table in __init__.py.
from netwright.compression.quantization.post_training import quantize as quantize
from netwright.compression.quantization.post_training import to_integers as to_integers
from netwright.compression.quantization.qat import quantization_aware as quantization_aware
from netwright.compression.quantization.qat import quantize_aware as quantize_aware
from netwright.compression.quantization.qdq import write_qdq as write_qdq
from netwright.core.errors import NetwrightError as NetwrightError
from netwright.core.metric import Metric as Metric
from netwright.core.run import Run as Run
from netwright.cost.count import count as count
from netwright.cost.profile import Profile as Profile
from netwright.data import Augment as Augment
from netwright.data import Dataset as Dataset
from netwright.data import ImageSet as ImageSet
from netwright.data import Loader as Loader
from netwright.data import calibration_batches as calibration_batches
from netwright.data import eval_batches as eval_batches
from netwright.data import load_dataset as load_dataset
from netwright.deployment.artifact import Artifact as Artifact
from netwright.deployment.network import load_network as load_network
from netwright.deployment.onnx import deploy_onnx as deploy_onnx
from netwright.device.latency import LatencyModel as LatencyModel
from netwright.device.machine import Machine as Machine
from netwright.device.machines import machine as machine
from netwright.graph.capture.trace import capture as capture
from netwright.graph.files.tflite import load_tflite as load_tflite
from netwright.graph.files.tflite_writer import write_tflite as write_tflite
from netwright.graph.graph import Graph as Graph
from netwright.graph.integers.interpret import interpret as interpret
from netwright.graph.integers.quantized import QuantizedGraph as QuantizedGraph
from netwright.mcu.compile import compile_network as compile_network
from netwright.mcu.run.emulate import emulate as emulate
from netwright.models.arch import Arch as Arch
from netwright.models.families import SPACES as SPACES
from netwright.models.families import family as family
from netwright.models.family import Family as Family
from netwright.models.space import SearchSpace as SearchSpace
from netwright.nn.block import Block as Block
from netwright.searching.candidates import Result as Result
from netwright.searching.limits.budget import Budget as Budget
from netwright.searching.predictor import AccuracyPredictor as AccuracyPredictor
from netwright.searching.tables import AdditiveTable as AdditiveTable
from netwright.specialization.specialize import Specialization as Specialization
from netwright.specialization.specialize import specialize as specialize
from netwright.supernet.calibrate import calibrate as calibrate
from netwright.supernet.supernet import Supernet as Supernet
from netwright.tasks.task import Task as Task
from netwright.training.evaluate import accuracy as accuracy
from netwright.training.evaluate import subnet_accuracy as subnet_accuracy
from netwright.training.load import load_supernet as load_supernet
from netwright.training.loop import train_network as train_network
from netwright.training.loop import train_supernet as train_supernet
from netwright.training.recipe import RECIPES as RECIPES
from netwright.training.recipe import Recipe as Recipe
from netwright.training.recipe import fine_tuning as fine_tuning
from netwright.training.recipe import progressive_shrinking as progressive_shrinking
from netwright.training.recipe import random_sampling as random_sampling
from netwright.training.recipe import sandwich as sandwich
from netwright.training.recipe import static_training as static_training
from netwright.workflow.compile import compile as compile
from netwright.workflow.deploy import deploy as deploy
from netwright.workflow.finish import Finished as Finished
from netwright.workflow.finish import finish as finish
from netwright.workflow.lists import list_devices as list_devices
from netwright.workflow.lists import list_spaces as list_spaces
from netwright.workflow.measure import measure_device as measure
from netwright.workflow.open import OpenRun as OpenRun
from netwright.workflow.open import open_run as open
from netwright.workflow.profile import profile as profile
from netwright.workflow.search import Found as Found
from netwright.workflow.search import search as search
from netwright.workflow.train import train as train

__all__ = [
    "RECIPES",
    "SPACES",
    "AccuracyPredictor",
    "AdditiveTable",
    "Arch",
    "Artifact",
    "Augment",
    "Block",
    "Budget",
    "Dataset",
    "Family",
    "Finished",
    "Found",
    "Graph",
    "ImageSet",
    "LatencyModel",
    "Loader",
    "Machine",
    "Metric",
    "NetwrightError",
    "OpenRun",
    "Profile",
    "QuantizedGraph",
    "Recipe",
    "Result",
    "Run",
    "SearchSpace",
    "Specialization",
    "Supernet",
    "Task",
    "accuracy",
    "calibrate",
    "calibration_batches",
    "capture",
    "compile",
    "compile_network",
    "count",
    "deploy",
    "deploy_onnx",
    "emulate",
    "eval_batches",
    "family",
    "fine_tuning",
    "finish",
    "interpret",
    "list_devices",
    "list_spaces",
    "load_dataset",
    "load_network",
    "load_supernet",
    "load_tflite",
    "machine",
    "measure",
    "open",
    "profile",
    "progressive_shrinking",
    "quantization_aware",
    "quantize",
    "quantize_aware",
    "random_sampling",
    "sandwich",
    "search",
    "specialize",
    "static_training",
    "subnet_accuracy",
    "to_integers",
    "train",
    "train_network",
    "train_supernet",
    "write_qdq",
    "write_tflite",
]

PUBLIC: dict[str, str]
__version__: str
