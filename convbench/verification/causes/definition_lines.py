"""A convolution, its epilogue and its gradients by definition, as lines of NumPy that compute them in float64."""

from __future__ import annotations

from convbench.problem import ConvProblem, Epilogue
from convbench.verification.reference import NUMPY_MODES


def definition_lines(problem: ConvProblem) -> list[str]:
    """Lines that define `computed`: forward a function of (x, w, b), with a sum of (x, w, b, r), for a gradient of what
    its direction takes."""
    if problem.epilogue is not None:
        return [*_forward(problem, "convolved"), *_ended(problem.epilogue)]
    return _forward(problem, "computed") if problem.direction == "forward" else _gradient(problem)


def _ended(epilogue: Epilogue) -> list[str]:
    """The epilogue of the function `convolved`."""
    slope, low, high = epilogue.slope, epilogue.low, epilogue.high
    activation = {
        None: "y",
        "relu": "np.maximum(y, 0)",
        "relu6": "np.clip(y, 0, 6)",
        "clip": f"np.clip(y, {low}, {high})",
        "leaky_relu": f"np.where(y > 0, y, y * {slope})",
        "hard_swish": "np.where(y == -np.inf, 0, y * np.clip(y + 3, 0, 6) / 6)",
        "sigmoid": "1 / (1 + np.exp(-y))",
        "silu": "np.where(y == -np.inf, 0, y / (1 + np.exp(-y)))",
        "gelu": "np.where(y == -np.inf, 0, y * np.vectorize(math.erfc)(-y / 2**0.5) / 2)",
        "gelu_tanh": "np.where(y == -np.inf, 0, y / (1 + np.exp(-((8 / np.pi) ** 0.5) * (y + 0.044715 * y**3))))",
    }[epilogue.activation]
    before, after = ((epilogue.residual == where) * " + r.astype(np.float64)" for where in ("before", "after"))
    return [
        *(["import math"] if epilogue.activation == "gelu" else []),
        f"def computed(x, w, b{', r' * (epilogue.residual is not None)}):",
        f"    y = convolved(x, w, b){before}",
        '    with np.errstate(over="ignore", invalid="ignore"):',
        f"        return {activation}{after}",
        "",
    ]


def _forward(problem: ConvProblem, name: str) -> list[str]:
    n, groups = problem.batch, problem.groups
    (o, own, kh, kw), (dh, dw), (sh, sw) = problem.weight_shape, problem.dilation, problem.stride
    extents = f"{problem.out_height}, {problem.out_width}, {kh}, {kw}"
    return [
        f"def {name}(x, w, b):  # by definition, in float64",
        "    x, w = x.astype(np.float64), w.astype(np.float64)",
        *_padded(problem, "x", axes_before=2),
        f"    seen = np.lib.stride_tricks.sliding_window_view(x, {(dh * (kh - 1) + 1, dw * (kw - 1) + 1)}, (2, 3))",
        f"    seen = seen[:, :, ::{sh}, ::{sw}, ::{dh}, ::{dw}].reshape({n}, {groups}, {own}, {extents})",
        f'    y = np.einsum("ngcyxij,gocij->ngoyx", seen, w.reshape({groups}, {o // groups}, {own}, {kh}, {kw}))',
        f"    y = y.reshape{problem.output_shape}",
        "    return y if b is None else y + b.astype(np.float64)[:, None, None]",
        "",
    ]


def _gradient(problem: ConvProblem) -> list[str]:
    """By the place in the image that each tap of each output reads, or one behind all of them where it reads zeros."""
    if problem.direction == "bias_gradient":
        return ["def computed(g):  # by definition, in float64", "    return g.astype(np.float64).sum((0, 2, 3))", ""]
    n, groups, pixels = problem.batch, problem.groups, problem.height * problem.width
    (o, own, kh, kw), (dh, dw), (sh, sw) = problem.weight_shape, problem.dilation, problem.stride
    places = [
        f"places = np.arange({pixels}).reshape{(problem.height, problem.width)}",
        *(line.strip() for line in _padded(problem, "places", axes_before=0, beyond=pixels)),
        "places = np.lib.stride_tricks.sliding_window_view"
        f"(places, {(dh * (kh - 1) + 1, dw * (kw - 1) + 1)})[::{sh}, ::{sw}, ::{dh}, ::{dw}]",
    ]
    of_g = f"g.astype(np.float64).reshape({n}, {groups}, {o // groups}, {problem.out_height}, {problem.out_width})"
    if problem.direction == "weight_gradient":
        return [
            *places,
            "def computed(x, g):  # by definition, in float64",
            f"    flat = np.zeros(({n}, {groups}, {own}, {pixels + 1}))",
            f"    flat[..., :-1] = x.reshape({n}, {groups}, {own}, {pixels})",
            f'    sums = np.einsum("ngcyxij,ngoyx->gocij", flat[..., places], {of_g})',
            f"    return sums.reshape{problem.weight_shape}",
            "",
        ]
    return [
        *places,
        "def computed(g, w):  # by definition, in float64",
        f"    w = w.astype(np.float64).reshape({groups}, {o // groups}, {own}, {kh}, {kw})",
        f'    products = np.einsum("ngoyx,gocij->ngcyxij", {of_g}, w)',
        f"    flat = np.zeros(({n}, {problem.in_channels}, {pixels + 1}))",
        f"    products = products.reshape({n}, {problem.in_channels}, *places.shape)",
        "    np.add.at(flat, (slice(None), slice(None), places), products)",
        f"    return flat[..., :-1].reshape{problem.input_shape}",
        "",
    ]


def _padded(problem: ConvProblem, name: str, axes_before: int, beyond: int = 0) -> list[str]:
    """Lines that crop and pad the array `name`; zeros are `beyond`."""
    whole = ":, " * axes_before
    cuts = [f"{max(0, -before) or ''}:{-max(0, -after) or ''}" for before, after in problem.padding]
    sides = (*((0, 0),) * axes_before, *((max(0, before), max(0, after)) for before, after in problem.padding))
    constant = f", constant_values={beyond}" if beyond and problem.padding_mode == "zeros" else ""
    mode = f'mode="{NUMPY_MODES[problem.padding_mode]}"{constant}'
    return [
        *([] if cuts == [":", ":"] else [f"    {name} = {name}[{whole}{', '.join(cuts)}]"]),
        *([f"    {name} = np.pad({name}, {sides}, {mode})"] if any(map(any, sides)) else []),
    ]
