"""The convolutions that run when a torch module is called once on the meta device.

Meta tensors have shapes and no memory. Tracing sees the operations that modules and functions end in. So a call of
`F.conv2d` and a layer of `nn.Conv2d` are the same operation, and a layer that does not run does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import CallLog, Convolution, Padding, Reading, pair_of, sides_of
from convbench.extraction.deployed.torch_calls import TorchCalls
from convbench.extraction.higher_order import not_compiled, result_of
from convbench.extraction.transposed import TransposedConvolution

_CONVOLUTION = "aten::convolution"
_PADS = {"aten::constant_pad_nd": "zeros", "aten::reflection_pad2d": "reflect", "aten::replication_pad2d": "replicate"}
_SAME = {"aten::alias", "aten::detach", "aten::clone"}
_DEPENDS_ON_DATA = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"}
_LIBRARIES = ("aten", "prims", "prim", "torchvision", "profiler", "quantized_decomposed", "inductor")
_AUTOCAST_DEVICES = ("cpu", "cuda", "xpu", "mps")
_NOT_A_CONVOLUTION = ("convert", "convolution_backward")

Standins = dict[str, Callable[..., Any]]


def traced(
    module: Any, inputs: Sequence[Any], words: Mapping[str, Any] | None = None, standins: Standins | None = None
) -> Reading:
    """The convolutions of `module(*inputs, **words)`, which are meta tensors, lists of them, and plain values.

    `standins` compute operations, by name, in place of torch. Raises `ModelError` when the module does not run on the
    meta device.
    """
    import torch

    try:
        calls = _run(module, inputs, words or {}, standins or {})
    except _OnAnotherDeviceError:
        with torch.device("meta"):  # for modules that make tensors on the default device
            calls = _run(module, inputs, words or {}, standins or {})
    return calls.reading(_image_shape([*inputs, *(words or {}).values()]))


class _OnAnotherDeviceError(Exception):
    """The module mixes its own tensors with the meta tensors of its input."""


class _DependsOnDataError(Exception):
    """The module reads the value of a tensor. Meta tensors have none."""


def _run(module: Any, inputs: Sequence[Any], words: Mapping[str, Any], standins: Standins) -> CallLog:
    import torch
    from torch.fx.experimental import _config

    calls = CallLog()
    on_meta = {name: tensor.to("meta") for name, tensor in chain(module.named_parameters(), module.named_buffers())}
    assume_all = _config.patch(meta_nonzero_assume_all_nonzero=True) if standins else nullcontext()  # type: ignore[attr-defined]
    try:
        with torch.no_grad(), _names(module) as layer, assume_all, _recorder(calls, layer, standins) as recording:
            result = torch.func.functional_call(module, on_meta, tuple(inputs), dict(words))
        recording.leave(result)
    except _DependsOnDataError as error:
        if not calls.convolutions:
            raise ModelError(
                f"which convolutions run depends on the data that the model is given ({error}); "
                "export it with torch.export or to ONNX for one kind of input, and give that file."
            ) from None
        calls.remarks.append(
            f"What runs after the model reads the value of a tensor ({error}) depends on the data: not seen."
        )
    except Exception as error:
        if "device" in str(error) and torch.get_default_device().type != "meta":
            raise _OnAnotherDeviceError from error
        tensors = _tensors([*inputs, *words.values()])
        shapes = " and ".join("x".join(map(str, tensor.shape)) for tensor in tensors)
        raise ModelError(
            f"the model does not run on an input of shape {shapes}: {_first_line(error)} "
            "Give the shape that it takes, such as --input 1,3,224,224."
        ) from error
    return calls


@contextmanager
def _names(module: Any) -> Iterator[Callable[[], str]]:
    """A function that gives the name of the innermost submodule that is running."""
    from torch.nn.modules import module as hooks

    names = {id(submodule): name for name, submodule in module.named_modules()}
    running = [""]

    def enter(submodule: Any, _inputs: Any) -> None:
        running.append(names.get(id(submodule), running[-1]))

    def leave(_submodule: Any, _inputs: Any, _output: Any) -> None:
        running.pop()

    handles = (
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    )
    try:
        yield lambda: running[-1]
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _recorder(calls: CallLog, layer: Callable[[], str], standins: Standins) -> Iterator[_Recording]:
    from torch._ops import HigherOrderOperator
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    recording = _Recording(calls)

    class Operations(TorchDispatchMode):
        supports_higher_order_operators = True

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # torch's compiler, which has no part in this, takes as long to import as torch itself

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if isinstance(func, HigherOrderOperator):
                return recording.higher_order(func.name(), layer(), args, kwargs or {}, self)
            name = func.name().split(".")[0]
            if func._can_decompose():  # in inference mode, and in branches, operations arrive whole
                with self:
                    return func.decompose(*args, **(kwargs or {}))
            if name in _DEPENDS_ON_DATA and args[0].is_meta:
                raise _DependsOnDataError(f"{name.removeprefix('aten::').strip('_')} in {layer() or 'the model'}")
            result = standins[name](*args) if name in standins else func(*args, **(kwargs or {}))
            recording.note(layer(), func, args, kwargs or {}, result)
            return result

    class Functions(TorchFunctionMode):
        """Notes circular `F.pad`, which ends in several copies and not in one operation, and the dtype that
        torch.autocast asks for, which operations on meta tensors do not see."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            with recording.under_autocast():
                result = func(*args, **kwargs)
            if (name := getattr(func, "__name__", "")) in ("pad", "_pad_circular"):
                recording.pad(name, dict(zip(("input", "pad", "mode"), args, strict=False)) | kwargs, result)
            return result

    with not_compiled(), Functions(), Operations():
        yield recording


class _Recording:
    """What is noted in `calls`. Keys are ids: a noted tensor is kept alive, or another tensor may get its id."""

    def __init__(self, calls: CallLog) -> None:
        self._calls, self._torch_calls = calls, TorchCalls(calls.flow)
        self._autocast: Any = None
        self._kept: list[Any] = []

    def note(self, layer: str, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        listed = len(self._calls.convolutions)
        self._kept.extend(_note(self._calls, layer, func.name().split(".")[0], args, result, self._autocast))
        if self._calls.lists_since(listed):
            self._torch_calls.convolution(layer, args, result)
        else:
            self._torch_calls.note(layer, func, args, kwargs, result)

    def leave(self, result: Any) -> None:
        """The model returns `result`."""
        for tensor in _tensors(result):
            self._calls.read(id(tensor))
        self._torch_calls.leave(_tensors(result))

    def pad(self, name: str, arguments: Mapping[str, Any], result: Any) -> None:
        if arguments.get("mode") == "circular" or name == "_pad_circular":
            self._kept.extend(_pad(self._calls, arguments["input"], result, arguments["pad"], "circular"))

    @contextmanager
    def under_autocast(self) -> Iterator[None]:
        """Within the context, operations compute in the dtype of the torch.autocast that is entered now."""
        import torch

        before = self._autocast
        enabled = (device for device in _AUTOCAST_DEVICES if torch.is_autocast_enabled(device))
        device = next(enabled, None)
        self._autocast = None if device is None else torch.get_autocast_dtype(device)
        try:
            yield
        finally:
            self._autocast = before

    def higher_order(self, name: str, layer: str, args: Any, kwargs: Any, mode: Any) -> Any:
        """The result of a branch, a loop or a map, whose functions are run once without counting."""

        def apart(function: Callable[..., Any], *arguments: Any) -> Any:
            calls, torch_calls, self._calls = self._calls, self._torch_calls, CallLog()
            self._torch_calls = TorchCalls(self._calls.flow)
            try:
                with mode:
                    return function(*arguments)
            finally:
                inner, self._calls, self._torch_calls = self._calls, calls, torch_calls
                calls.within(f"a branch or loop ({name})", inner)

        for tensor in _tensors([args, kwargs]):
            self._calls.read(id(tensor))
        self._torch_calls.read(_tensors([args, kwargs]))
        result = result_of(name, [*args, *kwargs.values()], apart)
        if result is NotImplemented:
            raise _DependsOnDataError(f"{name} in {layer or 'the model'}, whose graph is not understood")
        return result


def _note(calls: CallLog, layer: str, name: str, args: Any, result: Any, autocast: Any) -> tuple[Any, ...]:
    """Note the meaning of the call. Returns the tensors that have to be kept alive."""
    if name == _CONVOLUTION:
        return _convolution(calls, layer, args, autocast)
    if "quantize" in name and hasattr(result, "is_meta"):
        calls.quantised[id(result)] = name.removeprefix("aten::").replace("::", ".")
        return (result,)
    if name in _PADS and (name != "aten::constant_pad_nd" or len(args) < 3 or args[2] == 0):
        return _pad(calls, args[0], result, args[1], _PADS[name])
    adds_batch = name == "aten::unsqueeze" and args[1] in (0, -args[0].dim() - 1)
    if (name in _SAME or adds_batch) and calls.knows(id(args[0])) and result.dtype == args[0].dtype:
        calls.same(id(result), id(args[0]))
        return (result,)
    library, operation = name.split("::")
    if "conv" in operation.lower() and not any(word in operation for word in _NOT_A_CONVOLUTION):
        calls.left_out.append((f"{operation} is not torch's conv2d", layer))
    elif library not in _LIBRARIES:
        calls.left_out.append((f"The operator {library}.{operation}, which is not torch's own", layer))
    for tensor in _tensors(args):
        if calls.knows(id(tensor)):
            calls.read(id(tensor))
    return ()


def _convolution(calls: CallLog, layer: str, args: Any, autocast: Any) -> tuple[Any, ...]:
    image, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    dimensions = weight.dim() - 2
    if dimensions != 2:
        calls.left_out.append((f"A {'transposed ' if transposed else ''}convolution in {dimensions}-D", layer))
        return ()
    dtype = str(_computed_dtype(image, autocast)).removeprefix("torch.")
    if not image.is_floating_point():
        calls.left_out.append((f"A convolution of {dtype}", layer))
        return ()
    words = {"stride": pair_of(stride), "dilation": pair_of(dilation), "groups": groups, "dtype": dtype}
    own_padding = ((padding[0], padding[0]), (padding[-1], padding[-1]))
    shapes, has_bias = (tuple(image.shape), tuple(weight.shape)), bias is not None
    if transposed:
        backwards = TransposedConvolution.of_output_padding(*shapes, own_padding, pair_of(output_padding), words)
        calls.transposed(layer, id(image), backwards, has_bias=has_bias)
    else:
        call = Convolution(*shapes, own_padding, {**words, "bias": has_bias})
        calls.convolutions.append((layer, id(image), call))
    if quantiser := calls.quantised.get(id(image)) or calls.quantised.get(id(weight)):
        calls.of_integers(layer, quantiser)
    return (image,)


def _computed_dtype(image: Any, autocast: Any) -> Any:
    """The dtype that a convolution of `image` computes in, where torch.autocast may ask for one."""
    import torch

    return image.dtype if autocast is None or image.dtype == torch.float64 else autocast


def _pad(calls: CallLog, source: Any, result: Any, last_first: Sequence[int], mode: Any) -> tuple[Any, ...]:
    sides = sides_of(tuple(last_first))
    if sides is None or source.dim() < 3 or result is source:
        return ()
    calls.padded(id(result), id(source), (source.shape[-2], source.shape[-1]), Padding(sides, mode))
    return (source, result)


def _tensors(nested: Any) -> Iterator[Any]:
    if isinstance(nested, (tuple, list, dict)):
        for item in nested.values() if isinstance(nested, dict) else nested:
            yield from _tensors(item)
    elif hasattr(nested, "is_meta"):
        yield nested


def _image_shape(inputs: Sequence[Any]) -> tuple[int, ...]:
    """The shape of the first tensor of four axes, or of the first one, with the batch in front. A picture in a list has
    no batch of its own."""
    shapes = [tuple(tensor.shape) for tensor in _tensors(inputs)]
    shape = next((shape for shape in shapes if len(shape) == 4), shapes[0] if shapes else ())
    return (sum(1 for _ in _tensors(inputs[0])), *shape) if inputs and isinstance(inputs[0], list) else shape


def _first_line(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0].strip()
    return text if text.endswith((".", "!", "?")) else text + "."
