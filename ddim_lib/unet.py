"""The U-Net of the DDPM and DDIM papers, key for key the public checkpoints' network.

Structure and parameter names follow the authors' PyTorch versions
(pesser/pytorch_diffusion, ermongroup/ddim), so that their weights load; the
code is this project's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddim_lib.runtime import arguments
from ddim_lib.schedule import Schedule

#: What the layers may compute, the noise itself or the velocity that the noise is made from.
PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class UNetConfig:
    """What a network is made of; stored with its weights.

    Args:
        resolution: height and width in pixels; divisible by 2^(levels - 1).
        in_channels: 1 for grey, 3 for colour. The output has as many.
        ch: channels at full resolution, divisible by ``groups`` and even.
        ch_mult: channels of each level as multiples of ch; each level after the first
            halves the resolution.
        num_res_blocks: residual blocks a level.
        attn_resolutions: at which resolutions attention follows each block. The middle
            has attention always.
        dropout: in each residual block, while training.
        groups: of the group normalisation.
        label_offset: subtracted from t = 1..T before the time embedding. All published
            weights were trained with labels 0..T-1, so 1.
        prediction_type: what the last convolution computes, in diffusers' words: "epsilon", the
            noise; or "v_prediction", the velocity F of :func:`epsilon_from_v`, from which the
            network makes the noise before it answers.
        classes: how many labels there are, 0..classes - 1; 0 for a network that takes none.

    Raises:
        ValueError: such a network cannot be built.
    """

    resolution: int = 28
    in_channels: int = 1
    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (14,)
    dropout: float = 0.1
    groups: int = 32
    label_offset: int = 1
    prediction_type: str = "epsilon"
    classes: int = 0

    def __post_init__(self) -> None:
        arguments.plain_fields(self)
        for name in ("resolution", "in_channels", "ch", "num_res_blocks", "groups"):
            arguments.whole(name, getattr(self, name), 1)
        arguments.wholes("ch_mult", self.ch_mult, 1)
        if not self.ch_mult:
            raise ValueError("ch_mult must hold whole numbers of at least 1, got ()")
        arguments.choice("prediction_type", self.prediction_type, PREDICTION_TYPES)
        arguments.whole("classes", self.classes, 0)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.resolution % self.divisor:
            raise ValueError(f"resolution must be divisible by {self.divisor}, since ch_mult = "
                             f"{self.ch_mult} halves it {len(self.ch_mult) - 1} times, got "
                             f"{self.resolution}")
        if self.ch % self.groups or self.ch % 2 or self.ch < 4:
            raise ValueError(f"ch must be even, at least 4 and divisible by groups = "
                             f"{self.groups}, got {self.ch}")
        for at in self.attn_resolutions:
            if at not in self.resolutions:
                raise ValueError(f"attn_resolutions must be among {self.resolutions}, the "
                                 f"resolutions of this network, got {at}")

    @property
    def divisor(self) -> int:
        """What the resolution must be divisible by."""
        return 2 ** (len(self.ch_mult) - 1)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The resolution of each level."""
        return tuple(self.resolution // 2**i for i in range(len(self.ch_mult)))

    def to_dict(self) -> dict:
        """What weights store; ``UNetConfig(**stored)`` is the way back."""
        return asdict(self)


class UNet(nn.Module):
    """eps_theta(x_t, t), the noise that a network sees in x_t; or eps_theta(x_t, t, y).

    Call it with x of shape (N, C, H, W) and t in 1..T, int64, of shape (N,) (an int
    stands for all). It returns noise of the shape of x.

    One with labels takes a third argument y, int64, of shape (N,) (an int stands for all):
    0..classes - 1, or ``classes`` for "no label", which is what it takes where y is left out. Each
    has a row in the table ``label_emb``, which is added to the embedding of the time (Ho and
    Salimans, arXiv 2207.12598, section 3.2, train both in one network). The rows start at zero, so
    that with the weights of a network without labels it answers what that one does.

    Args:
        config: what to build; the weights are drawn by :meth:`reset_parameters`.
        schedule: the noise levels, which a network in the v-form needs to answer with noise;
            one that predicts the noise itself knows t alone.

    Raises:
        ValueError: the v-form without a schedule.
    """

    def __init__(self, config: UNetConfig, schedule: Schedule | None = None):
        super().__init__()
        self.config = c = config
        self.schedule = schedule
        if c.prediction_type == "v_prediction":
            if schedule is None:
                raise ValueError("schedule must be given for prediction_type = 'v_prediction', "
                                 "got None: eps = sqrt(1 - alpha_t) x + sqrt(alpha_t) F")
            # Not stored with the weights: the schedule is, and the roots follow from it.
            for name, root in (("signal", schedule.alpha.sqrt()),
                               ("noise", (1 - schedule.alpha).sqrt())):
                self.register_buffer(name, root.float(), persistent=False)
        widths = [c.ch * m for m in c.ch_mult]
        emb = 4 * c.ch
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(c.ch, emb), nn.Linear(emb, emb)])
        if c.classes:  # of zeros given, since nn.Embedding's own would be drawn
            self.label_emb = nn.Embedding.from_pretrained(torch.zeros(c.classes + 1, emb),
                                                          freeze=False)
        self.conv_in = nn.Conv2d(c.in_channels, c.ch, 3, padding=1)

        def block(n_in: int, n_out: int) -> ResnetBlock:
            return ResnetBlock(n_in, n_out, emb, c.dropout, c.groups)

        def attention(level: int) -> nn.ModuleList:
            on = c.resolutions[level] in c.attn_resolutions
            return nn.ModuleList(AttnBlock(widths[level], c.groups)
                                 for _ in range(c.num_res_blocks if on else 0))

        skips = [c.ch]
        self.down = nn.ModuleList()
        last = len(widths) - 1
        width = c.ch
        for i, out in enumerate(widths):
            level = nn.Module()
            level.block = nn.ModuleList()
            for _ in range(c.num_res_blocks):
                level.block.append(block(width, out))
                width = out
                skips.append(width)
            level.attn = attention(i)
            if i < last:
                level.downsample = Downsample(width)
                skips.append(width)
            self.down.append(level)

        self.mid = nn.Module()
        self.mid.block_1 = block(width, width)
        self.mid.attn_1 = AttnBlock(width, c.groups)
        self.mid.block_2 = block(width, width)

        # Built from the bottom up, stored by level: up.i works at level i.
        levels = []
        for i in range(last, -1, -1):
            level = nn.Module()
            level.block = nn.ModuleList()
            for _ in range(c.num_res_blocks + 1):
                level.block.append(block(width + skips.pop(), widths[i]))
                width = widths[i]
            level.attn = attention(i)
            if len(level.attn):
                level.attn.append(AttnBlock(width, c.groups))
            if i > 0:
                level.upsample = Upsample(width)
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)
        self.norm_out = _norm(width, c.groups)
        self.conv_out = nn.Conv2d(width, c.in_channels, 3, padding=1)
        self.reset_parameters()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that this network draws."""
        return (self.config.in_channels, self.config.resolution, self.config.resolution)

    @property
    def classes(self) -> int:
        """How many labels it knows; as a y, "no label". 0 where it takes no y."""
        return self.config.classes

    def check_schedule(self, schedule: Schedule) -> None:
        """Raise ValueError where a network in the v-form computes with another schedule."""
        if self.config.prediction_type == "v_prediction" and not torch.equal(
                schedule.alpha.cpu(), self.schedule.alpha.cpu()):
            raise ValueError(f"schedule must be the one that the network was built with, "
                             f"{self.schedule.name} {dict(self.schedule.parameters)}, got "
                             f"{schedule.name} {dict(schedule.parameters)}")

    def reset_parameters(self) -> None:
        """That of DDPM's code: xavier-uniform, zero biases, every residual branch at zero.

        The network starts by predicting 0, so that the first loss is E[eps^2] = 1. The table of
        labels starts at zero.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResnetBlock):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, AttnBlock):
                nn.init.zeros_(module.proj_out.weight)
        nn.init.zeros_(self.conv_out.weight)
        if self.classes:
            nn.init.zeros_(self.label_emb.weight)

    def forward(self, x: Tensor, t: Tensor | int, y: Tensor | int | None = None) -> Tensor:
        """The noise in x at t; see the class. (Call the network itself, as torch wants it.)

        Raises:
            TypeError: x is not in floating point.
            ValueError: x has not the network's own :attr:`image_shape`, t is not one level an
                image, or y is not one label an image, or there is one for a network without
                labels. Values of t and y on a GPU are not looked at here, which would wait for it
                at each call.
        """
        arguments.images(x=x)
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(f"x must have shape (N, {', '.join(map(str, self.image_shape))}), "
                             f"got {tuple(x.shape)}")
        if not torch.compiler.is_compiling():
            t = self._levels(t, len(x))
        if isinstance(t, int):
            t = torch.full((x.shape[0],), t, device=x.device)
        if y is not None:
            self._check_labels(y, len(x))
            if isinstance(y, int):
                y = torch.full((x.shape[0],), y, device=x.device)
        out = self.predict(x.to(self.conv_in.weight.dtype), t, y)
        if self.config.prediction_type == "epsilon":
            return out
        shape = (-1, 1, 1, 1)
        return epsilon_from_v(x, out.to(x.dtype), self.signal[t].view(shape).to(x.dtype),
                              self.noise[t].view(shape).to(x.dtype))

    def _levels(self, t: Tensor | int, n: int) -> Tensor | int:
        """t as one int or as int64 of shape (n,); in 0..T for the v-form, which has a table."""
        most = self.schedule.T if self.config.prediction_type == "v_prediction" else None
        t = arguments.plain(t)
        if not isinstance(t, Iterable):
            return arguments.whole("t", t, 0, most)
        return arguments.levels("t", t, n, most)

    def _check_labels(self, y: Tensor | int, n: int) -> None:
        if not self.classes:
            raise ValueError("y must be left out for a network without labels (classes = 0), got "
                             f"{y.tolist() if isinstance(y, Tensor) else y!r}")
        if not isinstance(y, int):
            if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != (n,):
                told = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else repr(y)
                raise ValueError(f"y must be int64 of shape ({n},), one label an image, or one int "
                                 f"for all, got {told}")
            # A compiler cannot look at numbers, and a GPU would have to be waited for.
            if y.device.type != "cpu" or torch.compiler.is_compiling():
                return
        values = [y] if isinstance(y, int) else y.tolist()
        for value in values:
            if not 0 <= value <= self.classes:
                raise ValueError(f"y must be in 0..{self.classes}, of which {self.classes} is no "
                                 f"label, got {value}")

    def predict(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """What the layers compute of x, t and y: eps, or F in the v-form.

        Args:
            x: shape (N, C, H, W).
            t: int64, shape (N,).
            y: int64, shape (N,); where left out, no label.
        """
        emb = time_embedding(t - self.config.label_offset, self.config.ch)
        emb = emb.to(self.conv_in.weight.dtype)
        emb = self.temb.dense[1](F.silu(self.temb.dense[0](emb)))
        if self.classes:
            y = torch.full_like(t, self.classes) if y is None else y
            emb = emb + self.label_emb(y).to(emb.dtype)
        emb = F.silu(emb)  # every block begins with it

        h = self.conv_in(x)
        skips = [h]
        for level in self.down:
            for j, block in enumerate(level.block):
                h = block(h, emb)
                if len(level.attn):
                    h = level.attn[j](h)
                skips.append(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
                skips.append(h)
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(h, emb)), emb)
        for level in reversed(self.up):
            for j, block in enumerate(level.block):
                h = block(torch.cat([h, skips.pop()], dim=1), emb)
                if len(level.attn):
                    h = level.attn[j](h)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(_silu(self.norm_out(h)))


def epsilon_from_v(x: Tensor, v: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """The noise that belongs to a velocity (Salimans and Ho, arXiv 2202.00512, section 4)::

        v   = sqrt(alpha_t) eps - sqrt(1 - alpha_t) x_0
        eps = sqrt(1 - alpha_t) x_t + sqrt(alpha_t) v

    Book: equations (7.1) and (7.2).

    At high t the second line is x_t itself but for a small part, so that eps follows the
    amplitude and the mean of x_t whatever the network says.

    Args:
        x: x_t, shape (N, C, H, W).
        v: the velocity, the same shape.
        signal: sqrt(alpha_t), a number or a tensor that broadcasts.
        noise: sqrt(1 - alpha_t), likewise.
    """
    return noise * x + signal * v


@torch.no_grad()
def shapes(model: UNet) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """What a picture passes through, in order: (layer, shape in, shape out) for one image.

    Blocks, changes of resolution and the outer convolutions; not the parts of a block.

    Args:
        model: asked once, with a black image at t = 1.
    """
    seen, hooks = [], []
    parts = [m for m in model.modules() if isinstance(m, (ResnetBlock, AttnBlock, Downsample,
                                                          Upsample))]
    for module in [model.conv_in, *parts, model.conv_out]:
        hooks.append(module.register_forward_hook(lambda m, inputs, output: seen.append(
            (type(m).__name__, tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))))
    device = model.conv_in.weight.device
    try:
        model(torch.zeros(1, *model.image_shape, device=device), 1)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def time_embedding(label: Tensor, channels: int) -> Tensor:
    """Sines, then cosines, of the label at channels/2 frequencies from 1 to 1/10000.

    Args:
        label: shape (N,), what the network was trained with (t - 1 for published weights).
        channels: even, at least 4.

    Returns:
        float32, shape (N, channels).
    """
    half = channels // 2
    frequency = torch.exp(torch.arange(half, device=label.device, dtype=torch.float32)
                          * (-math.log(10000) / (half - 1)))
    angle = label.float()[:, None] * frequency[None, :]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class ResnetBlock(nn.Module):
    """Two convolutions around the identity, the second told the time.

    Args:
        n_in, n_out: channels before and after.
        n_emb: numbers in the embedding of the time.
        dropout: before the second convolution, while training.
        groups: of the group normalisation.
    """

    def __init__(self, n_in: int, n_out: int, n_emb: int, dropout: float, groups: int):
        super().__init__()
        self.norm1 = _norm(n_in, groups)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.temb_proj = nn.Linear(n_emb, n_out)
        self.norm2 = _norm(n_out, groups)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        if n_in != n_out:
            self.nin_shortcut = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x of shape (N, n_in, H, W) and emb of shape (N, n_emb) to shape (N, n_out, H, W).

        emb has been through its SiLU already, which is the same for all blocks.
        """
        h = self.conv1(_silu(self.norm1(x)))
        h += self.temb_proj(emb)[:, :, None, None]
        h = self.conv2(self.dropout(_silu(self.norm2(h))))
        h += self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x
        return h


class AttnBlock(nn.Module):
    """Self-attention over pixels, one head, around the identity.

    Args:
        channels: before and after.
        groups: of the group normalisation.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = _norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x of shape (N, channels, H, W) to the same shape."""
        h = self.norm(x).flatten(2).transpose(1, 2)  # (N, C, H, W) -> (N, H*W, C)
        # The 1x1 convolutions of the published weights, as one matrix product over the pixels:
        # what comes out of it lies as attention reads it.
        three = (self.q, self.k, self.v)
        h = F.linear(h, torch.cat([f.weight.flatten(1) for f in three]),
                     torch.cat([f.bias for f in three]))
        # One head; the function scales by C^-1/2.
        q, k, v = h.unsqueeze(1).chunk(3, dim=-1)
        h = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        h = F.linear(h, self.proj_out.weight.flatten(1), self.proj_out.bias)
        return x + h.transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    """Halve the resolution: a 3x3 convolution of stride 2, padded right and below alone.

    Args:
        channels: before and after.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """x of shape (N, channels, H, W) to shape (N, channels, H/2, W/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the resolution: nearest neighbour, then a 3x3 convolution.

    Args:
        channels: before and after.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x of shape (N, channels, H, W) to shape (N, channels, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _silu(x: Tensor) -> Tensor:
    """SiLU, in place where no gradient will ask for x again: memory is what it waits for."""
    return F.silu(x, inplace=not x.requires_grad)


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=1e-6)
