"""Saliency maps of photographs, computed by a network in an ONNX file.

Photographs are prepared, and maps made of the output, as the published inference of U2-Net does it.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from i2crc.config.schema import SaliencyModel
from i2crc.runtime.errors import FileError, InputError

GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# What is wrong, and the remedy.
NOT_FINITE = "a saliency network's output is not finite", "correct saliency.model"


def load_saliency(path: Path, model: SaliencyModel, gpus: int = 0) -> onnxruntime.InferenceSession:
    """Return the network of an ONNX file, on a GPU if `gpus` and onnxruntime's CUDA build allow.

    It computes with one thread on the CPU, and may be called from several at the same time. Raise
    FileError if it is no network that makes a map of a photograph of `model.input_size`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors are raised; warnings are about the file's format
    providers: list = [CPU]
    if gpus and GPU in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()  # the libraries of CUDA that torch brings
        providers = [(GPU, {"use_tf32": 0}), CPU]  # compute float32 in full precision
    remedy = "give an ONNX file that onnxruntime can run in saliency.model.path"
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        side = model.input_size
        zeros = np.zeros((1, 3, side, side), np.float32)
        remedy = f"it is given 1x3x{side}x{side} float32: correct saliency.model.input_size"
        output = _run(session, zeros)
    except Exception as error:  # onnxruntime raises errors of many types
        reason = str(error).partition("\n")[0]
        raise FileError(path, f"cannot be used as saliency network ({reason})", remedy) from error
    if output.ndim != 4 or output.shape[:2] != (1, 1):
        problem = f"its first output is {'x'.join(map(str, output.shape))}, not 1x1xHxW"
        raise FileError(path, problem, "give a network that makes one map of a photograph")
    return session


def saliency_map(
    session: onnxruntime.InferenceSession, photo: Image.Image, model: SaliencyModel
) -> np.ndarray:
    """Return the (H, W) uint8 saliency map of an RGB photograph of this size, 255 = salient."""
    side = model.input_size
    pixels = np.asarray(photo.resize((side, side), Image.Resampling.LANCZOS), np.float32)
    divisor = max(pixels.max(), 1) if model.divide_by == "maximum" else model.divide_by
    values = (pixels / divisor - np.array(model.mean)) / np.array(model.std)
    output = _run(session, values.transpose(2, 0, 1)[None].astype(np.float32))[0, 0]
    low, high = output.min(), output.max()
    scaled = (output - low) / max(high - low, np.finfo(np.float32).tiny)
    grey = Image.fromarray((scaled * 255).astype(np.uint8))
    return np.asarray(grey.resize(photo.size, Image.Resampling.LANCZOS))


def _run(session: onnxruntime.InferenceSession, values: np.ndarray) -> np.ndarray:
    """Return the first output of a network with one input."""
    name = session.get_inputs()[0].name
    output = session.run([session.get_outputs()[0].name], {name: values})[0]
    if not np.isfinite(output).all():
        raise InputError("; ".join(NOT_FINITE))
    return output
