"""The file formats of an exported encoder: how each is written, and how it is read back to be checked."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor, nn

from semivae.data.inputs.pixels import binarized
from semivae.errors import ExportError
from semivae.export.preparation import TableRows
from semivae.export.resampling import PictureFitting
from semivae.game.conditionals import NetworkConditional
from semivae.tasks.classes import CLASSES
from semivae.tasks.task import Task
from semivae.variables import Sample

Part = Literal["classifier", "features"]
Format = Literal["onnx", "pt2", "safetensors"]


class EncoderPart(nn.Module):
    """One factor q(label | image) as a plain module: a tensor in, a tensor out; probabilities at a temperature.

    With a `threshold` it makes images black and white first, as the source of the run's data does; with a `front` the
    factor is given what that network makes of them.
    """

    def __init__(
        self,
        conditional: NetworkConditional,
        image: str,
        part: Part,
        temperature: float = 1.0,
        threshold: float | None = None,
        task: Task = CLASSES,
        front: nn.Module | None = None,
        input_name: str = "images",
    ) -> None:
        super().__init__()
        self.front = front
        self.input_name = input_name
        self.task = task
        self.conditional = conditional
        self.image = image
        self.part = part
        self.temperature = temperature
        self.threshold = threshold

    @property
    def output_name(self) -> str:
        """What the output is called."""
        return "features" if self.part == "features" else self.task.output

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W), float32 in [0, 1], to `Task.outputs`, such as probabilities, or features (n, D)."""
        sample = self.sample(images)
        if self.part == "features":
            return self.conditional.features(sample)
        return self.task.outputs(self.conditional.target, self.conditional.parameters_of(sample), self.temperature)

    def sample(self, images: Tensor) -> Sample:
        """What the factor is given of images."""
        seen = binarized(images, self.threshold)
        return {self.image: seen if self.front is None else self.front(seen)}

    def free_sizes(self, images: Tensor) -> dict[int, Any]:
        """Which sizes of its input stay open: any batch; any height and width too, where the network allows."""
        free: dict[int, Any] = {0: torch.export.Dim("n", min=1)}
        for place in self.free_sides(images):
            free[place] = self.size_multiple * torch.export.Dim({2: "rows", 3: "columns"}[place], min=2)
        return free

    def free_sides(self, images: Tensor) -> tuple[int, ...]:
        """Of images (n, C, H, W), which sides an export may leave open: a side with a single place on the network's
        coarsest grid would be taken for a constant."""
        multiple = self.size_multiple
        return () if multiple is None else tuple(place for place in (2, 3) if images.shape[place] > multiple)

    @property
    def size_multiple(self) -> int | None:
        """The model takes images of any sides that are multiples of this; None: of the run's size only."""
        if self.front is not None:
            return None
        multiple = getattr(self.conditional.net, "size_multiple", None)
        return multiple if isinstance(multiple, int) else None


class PreparedEncoder(nn.Module):
    """An encoder behind what turns raw pictures or rows into its input.

    Args:
        prepare: from raw pictures (n, h, w, C) or rows (n, columns) to the encoder's input.
        model: the encoder.
    """

    def __init__(self, prepare: PictureFitting | TableRows, model: EncoderPart) -> None:
        super().__init__()
        self.prepare, self.model, self.part = prepare, model, model.part
        self.input_name, self.output_name = prepare.input_name, model.output_name

    def forward(self, raw: Tensor) -> Tensor:
        """Raw pictures or rows to what the encoder gives."""
        return self.model.forward(self.prepare(raw))

    def free_sizes(self, raw: Tensor) -> dict[int, Any]:
        """Which sizes of its input stay open: any batch; of pictures any height and width."""
        return {place: torch.export.Dim(name, min=1) for place, name in enumerate(self.prepare.open_sizes)}

    def shape(self, raw: Tensor) -> list[int | str]:
        """The shape of its input in words."""
        return [*self.prepare.open_sizes, *raw.shape[len(self.prepare.open_sizes) :]]


Exported = EncoderPart | PreparedEncoder


def write_onnx(model: Exported, images: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
    """ONNX with the batch as a symbolic dimension. Raises `ExportError` without the packages of semivae[export]."""
    _need("onnx", "onnxscript", "onnxruntime")
    program = torch.onnx.export(
        model,
        (images,),
        input_names=[model.input_name],
        output_names=[model.output_name],
        dynamic_shapes=(model.free_sizes(images),),
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ExportError("torch.onnx.export gave no model; no file was written")
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


def write_pt2(model: Exported, images: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
    """A torch.export archive; `torch.export.load(path).module()` runs without semivae."""
    program = torch.export.export(model, (images,), dynamic_shapes=(model.free_sizes(images),))
    torch.export.save(program, path, extra_files={f"{key}.txt": value for key, value in metadata.items()})


def write_safetensors(model: Exported, images: Tensor, path: Path, metadata: Mapping[str, str]) -> None:
    """Writes the weights of q(label | image), named as in `NetworkConditional`."""
    assert isinstance(model, EncoderPart), "weights hold no preprocessing"
    weights = {name: value.contiguous() for name, value in model.conditional.state_dict().items()}
    safetensors.torch.save_file(weights, path, metadata=dict(metadata))


def read_onnx(path: Path, model: Exported) -> Callable[[Tensor], Tensor]:
    """Returns the file as onnxruntime runs it on the CPU."""
    (onnxruntime,) = _need("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: its warnings speak of devices that the check does not use
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {model.input_name: images.numpy()})[0])


def read_pt2(path: Path, model: Exported) -> Callable[[Tensor], Tensor]:
    """Returns the file as torch runs it."""
    module = torch.export.load(path).module()
    return lambda images: module(images).detach()


def read_safetensors(path: Path, model: Exported) -> Callable[[Tensor], Tensor]:
    """Returns the file's weights in a copy of the network whose own weights are erased first."""
    assert isinstance(model, EncoderPart), "weights hold no preprocessing"
    empty = copy.deepcopy(model)
    with torch.no_grad():
        for value in empty.conditional.state_dict().values():
            value.zero_()
        empty.conditional.load_state_dict(safetensors.torch.load_file(path))
    return lambda images: empty(images).detach()


WRITERS: dict[Format, Callable[[Exported, Tensor, Path, Mapping[str, str]], None]] = {
    "onnx": write_onnx,
    "pt2": write_pt2,
    "safetensors": write_safetensors,
}
READERS: dict[Format, Callable[[Path, Exported], Callable[[Tensor], Tensor]]] = {
    "onnx": read_onnx,
    "pt2": read_pt2,
    "safetensors": read_safetensors,
}


def _need(*packages: str) -> tuple[Any, ...]:
    try:
        return tuple(importlib.import_module(package) for package in packages)
    except ImportError as reason:
        raise ExportError(f"ONNX needs the package {reason.name}; pip install 'semivae[export]'") from reason
