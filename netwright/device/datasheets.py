"""What data sheets say of machines; `machines.py` has their names.

A rate of a data sheet is the most that the machine can do, dense, without the doubling that vendors print for sparse
operands; a multiply-accumulate is two of the vendors' operations. What no source says is None, never a guess.
"""

from __future__ import annotations

from netwright.device.energies import HOROWITZ_45NM, JOUPPI_7NM_DDR, JOUPPI_7NM_HBM
from netwright.device.machine import Level, Machine, Sourced

_KB, _MB, _GB = 1024, 1024**2, 10**9


def _sheet(value: float, source: str) -> Sourced:
    return Sourced(value, "datasheet", source)


def _derived(value: float, source: str) -> Sourced:
    return Sourced(value, "derived", source)


_XEON = "Intel product specifications, Xeon Platinum 8380"
_XEON_PEAK = "40 cores x two AVX-512 units x {lanes} multiply-accumulates x 3.4 GHz, the highest turbo clock (not held by all cores)"
SERVER_CPU = Machine(
    name="xeon-8380",
    scope="one socket, 40 cores",
    peak_macs_per_s={
        "float32": _derived(40 * 2 * 16 * 3.4e9, f"{_XEON}: {_XEON_PEAK.format(lanes=16)}"),
        "int8": _derived(40 * 2 * 64 * 3.4e9, f"{_XEON}: {_XEON_PEAK.format(lanes='64 (VNNI)')}"),
    },
    bandwidth_bytes_per_s=_derived(8 * 8 * 3.2e9, f"{_XEON}: 8 channels of DDR4-3200, 8 bytes each"),
    energy=HOROWITZ_45NM,
    power_w=_sheet(270.0, f"{_XEON}: TDP"),
    notes=("60 MB L3, whose bandwidth no data sheet gives: operands are taken to come from main memory",),
)

_TF32 = "float32 is the rate without TF32, which PyTorch's convolutions use on this GPU unless told not to"
_A100 = "NVIDIA A100 80GB SXM data sheet, 2021"
A100 = Machine(
    name="a100",
    scope="A100 SXM 80 GB, whole GPU",
    peak_macs_per_s={
        "float32": _sheet(19.5e12 / 2, f"{_A100}: FP32 19.5 TFLOPS"),
        "tfloat32": _sheet(156e12 / 2, f"{_A100}: TF32 tensor core 156 TFLOPS, dense"),
        "float16": _sheet(312e12 / 2, f"{_A100}: FP16 tensor core 312 TFLOPS, dense"),
        "bfloat16": _sheet(312e12 / 2, f"{_A100}: BF16 tensor core 312 TFLOPS, dense"),
        "int8": _sheet(624e12 / 2, f"{_A100}: INT8 tensor core 624 TOPS, dense"),
    },
    bandwidth_bytes_per_s=_sheet(2039e9, f"{_A100}: 2,039 GB/s"),
    energy=JOUPPI_7NM_HBM,
    caches=(
        Level(
            40 * _MB,
            _derived(5120 * 1.41e9, "NVIDIA A100 architecture whitepaper: L2 40 MB, 5,120 bytes a clock, at 1,410 MHz"),
        ),
    ),
    dram_bytes=_sheet(80 * _GB, f"{_A100}: 80 GB HBM2e"),
    power_w=_sheet(400.0, f"{_A100}: 400 W"),
    notes=(_TF32,),
)

_H200 = "NVIDIA H200 SXM data sheet, 2024"
H200 = Machine(
    name="h200",
    scope="H200 SXM 141 GB, whole GPU",
    peak_macs_per_s={
        "float32": _sheet(67e12 / 2, f"{_H200}: FP32 67 TFLOPS"),
        "tfloat32": _sheet(989e12 / 4, f"{_H200}: TF32 tensor core 989 TFLOPS with sparsity, half of it dense"),
        "float16": _sheet(1979e12 / 4, f"{_H200}: FP16 tensor core 1,979 TFLOPS with sparsity, half of it dense"),
        "bfloat16": _sheet(1979e12 / 4, f"{_H200}: BFLOAT16 tensor core 1,979 TFLOPS with sparsity, half of it dense"),
        "int8": _sheet(3958e12 / 4, f"{_H200}: INT8 tensor core 3,958 TOPS with sparsity, half of it dense"),
    },
    bandwidth_bytes_per_s=_sheet(4.8e12, f"{_H200}: 4.8 TB/s"),
    energy=JOUPPI_7NM_HBM,
    dram_bytes=_sheet(141 * _GB, f"{_H200}: 141 GB HBM3e"),
    power_w=_sheet(700.0, f"{_H200}: up to 700 W"),
    notes=(
        _TF32,
        "50 MB L2, whose bandwidth no data sheet gives: operands are taken to come from main memory",
        "its chip is made in 4 nm; the energies are those of 7 nm, and of HBM2 rather than HBM3e",
    ),
)

_ORIN = "NVIDIA Jetson AGX Orin Series technical brief, 2022"
JETSON_ORIN = Machine(
    name="jetson-orin",
    scope="Jetson AGX Orin 64 GB, its GPU without the deep learning accelerators",
    peak_macs_per_s={
        "float32": _sheet(5.3e12 / 2, f"{_ORIN}: 5.3 FP32 TFLOPS"),
        "float16": _derived(170e12 / 8, f"{_ORIN}: half the INT8 rate of its Ampere tensor cores"),
        "int8": _sheet(170e12 / 4, f"{_ORIN}: 170 INT8 TOPS with sparsity, half of it dense"),
    },
    bandwidth_bytes_per_s=_sheet(204.8e9, f"{_ORIN}: 256-bit LPDDR5, 204.8 GB/s"),
    energy=JOUPPI_7NM_DDR,
    dram_bytes=_sheet(64 * _GB, f"{_ORIN}: 64 GB LPDDR5"),
    power_w=_sheet(60.0, f"{_ORIN}: 15 to 60 W, its highest mode"),
    notes=(
        "its chip is made in 8 nm; the energies are those of 7 nm",
        "4 MB L2, whose bandwidth no data sheet gives: operands are taken to come from main memory",
    ),
)

_SD8 = "Qualcomm Snapdragon 8 Gen 1 product brief, 2021"
_X2 = "Cortex-X2 with four 128-bit units (Arm Cortex-X2 software optimization guide), 3.0 GHz"
SNAPDRAGON_8_GEN_1 = Machine(
    name="snapdragon-8-gen-1",
    scope="CPU, its fastest core (Cortex-X2), one thread",
    peak_macs_per_s={
        "float32": _derived(4 * 4 * 3.0e9, f"{_X2}: 16 multiply-accumulates a clock"),
        "float16": _derived(4 * 8 * 3.0e9, f"{_X2}: 32 multiply-accumulates a clock"),
    },
    bandwidth_bytes_per_s=_derived(51.2e9, f"{_SD8}: LPDDR5 at 3,200 MHz, 64 bits wide; one core may reach less"),
    energy=JOUPPI_7NM_DDR,
    notes=(
        "its chip is made in 4 nm; the energies are those of 7 nm, and of DDR memory rather than LPDDR5",
        "6 MB L3, whose bandwidth no data sheet gives: operands are taken to come from main memory",
    ),
)

_PIXEL = "Qualcomm Snapdragon 821 (MSM8996 Pro-AB) in the Google Pixel, 2016"
_KRYO = "2 cores at 2.15 GHz and 2 at 1.6 GHz, each one 128-bit multiply-add a clock (LLVM's model AArch64SchedKryo.td)"
PIXEL_1 = Machine(
    name="pixel-1",
    scope="CPU: two Kryo cores at 2.15 GHz and two at 1.6 GHz",
    peak_macs_per_s={"float32": _derived(4 * (2 * 2.15e9 + 2 * 1.6e9), f"{_PIXEL}: {_KRYO}")},
    bandwidth_bytes_per_s=_derived(29.8e9, f"{_PIXEL}: two 32-bit channels of LPDDR4 at 1,866 MHz"),
    energy=HOROWITZ_45NM,
    dram_bytes=_sheet(4 * _GB, "Google Pixel specifications: 4 GB LPDDR4"),
    notes=("its chip is made in 14 nm; the energies are those of 45 nm and come out too high",),
)

_F746 = "STMicroelectronics DS10916, STM32F746"
STM32F746 = Machine(
    name="stm32f746",
    scope="Cortex-M7 at 216 MHz",
    peak_macs_per_s={
        "float32": _derived(216e6, f"{_F746}: 216 MHz, one fused multiply-add of the FPU a clock"),
        "int8": _derived(2 * 216e6, f"{_F746}: 216 MHz, SMLAD: two 16-bit multiply-accumulates a clock"),
        "int16": _derived(2 * 216e6, f"{_F746}: 216 MHz, SMLAD: two 16-bit multiply-accumulates a clock"),
    },
    bandwidth_bytes_per_s=_derived(
        8 * 216e6, f"{_F746} and Arm Cortex-M7 technical reference: 8 bytes a clock from tightly coupled memory"
    ),
    energy=HOROWITZ_45NM,
    sram_bytes=_sheet(320 * _KB, f"{_F746}: 320 KB, 64 KB of it tightly coupled data memory"),
    flash_bytes=_sheet(1 * _MB, f"{_F746}: 1 MB"),
    clock_hz=_sheet(216e6, f"{_F746}: 216 MHz"),
    core="cortex-m7",
    notes=(
        "the energies are those of 45 nm circuits and leave out fetching and decoding instructions, "
        "most of what a microcontroller spends",
    ),
)

_F412 = "STMicroelectronics DS11139, STM32F412"
STM32F412 = Machine(
    name="stm32f412",
    scope="Cortex-M4 at 100 MHz",
    peak_macs_per_s={
        "float32": _derived(100e6 / 2, f"{_F412}: 100 MHz, a multiplication and an addition of one clock each"),
        "int8": _derived(2 * 100e6, f"{_F412}: 100 MHz, SMLAD: two 16-bit multiply-accumulates a clock"),
        "int16": _derived(2 * 100e6, f"{_F412}: 100 MHz, SMLAD: two 16-bit multiply-accumulates a clock"),
    },
    bandwidth_bytes_per_s=_derived(4 * 100e6, f"{_F412}: 100 MHz, a 32-bit bus"),
    energy=HOROWITZ_45NM,
    sram_bytes=_sheet(256 * _KB, f"{_F412}: 256 KB"),
    flash_bytes=_sheet(1 * _MB, f"{_F412}: 1 MB"),
    clock_hz=_sheet(100e6, f"{_F412}: 100 MHz"),
    core="cortex-m4",
    power_w=_derived(112e-6 * 100 * 3.3, f"{_F412}: 112 uA/MHz running with peripherals off, at 100 MHz and 3.3 V"),
    notes=STM32F746.notes,
)
