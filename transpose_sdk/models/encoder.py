"""The transformer encoder of TransPose (paper, section 3.2): position tables, self-attention, post-norm layers.

Sequences are batch first, (N, L, d), with L = h * w cells of the attention grid in row-major order. Parameter names are
those of `torch.nn.TransformerEncoderLayer`, which the published weights use.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def sine_table(height: int, width: int, channels: int, device: torch.device | None = None) -> Tensor:
    """2-D sine position embedding (paper, section 3.2, equation 4).

    Args:
        height: Rows of the attention grid.
        width: Columns of the attention grid.
        channels: d, a multiple of 4: the first half tells y, the second x.
        device: Where the table is made; None means PyTorch's default.

    Returns:
        (height * width, 1, channels) float32.
    """
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=device)
    divisor = 10000 ** (2 * (index // 2) / half)
    axes = []
    for size in (height, width):
        position = torch.arange(1, size + 1, dtype=torch.float32, device=device)
        angle = (position / (size + 1e-6) * (2 * math.pi))[:, None] / divisor
        axes.append(torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1))
    rows = axes[0][:, None].expand(height, width, half)
    columns = axes[1][None].expand(height, width, half)
    return torch.cat((rows, columns), dim=2).reshape(height * width, 1, channels)


def resize_table(table: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """Interpolate a learned position table bilinearly, corner on corner.

    Args:
        table: (h * w, 1, d).
        grid: (h, w) of the table.
        new_grid: (h, w) wanted.

    Returns:
        (new h * new w, 1, d).
    """
    image = table.permute(1, 2, 0).unflatten(2, grid)
    return functional.interpolate(image, new_grid, mode="bilinear", align_corners=True).flatten(2).permute(2, 0, 1)


class SelfAttention(nn.Module):
    """Multi-head self-attention in which the position is added to queries and keys, not to values."""

    def __init__(self, d_model: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * d_model))
        self.out_proj = nn.Linear(d_model, d_model)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, position: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            x: (N, L, d).
            position: (1, L, d) or None.

        Returns:
            Output (N, L, d); queries and keys (N, heads, L, d / heads), not scaled.
        """
        d_model = x.shape[-1]
        located = x if position is None else x + position
        queries_keys = functional.linear(located, self.in_proj_weight[: 2 * d_model], self.in_proj_bias[: 2 * d_model])
        values = functional.linear(x, self.in_proj_weight[2 * d_model :], self.in_proj_bias[2 * d_model :])
        queries, keys = (self._split(part) for part in queries_keys.chunk(2, dim=-1))
        dropout = self.dropout if self.training else 0.0
        # Queries are scaled before the product, as published: with the large logits of an untrained stem the other
        # order moves heatmaps by 1e-5 of their maximum.
        scaled = queries * queries.shape[-1] ** -0.5
        mixed = _attend(scaled, keys, self._split(values), dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), queries, keys

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
    """Attention of scaled queries, all (N, heads, L, d_head)."""
    if queries.dtype == torch.bfloat16 and queries.device.type == "cpu" and queries.requires_grad:
        # PyTorch's backward pass in bfloat16 takes 2.5 times as long as in float32 on a CPU core (8 heads of 16).
        with torch.autocast("cpu", enabled=False):
            mixed = functional.scaled_dot_product_attention(
                queries.float(), keys.float(), values.float(), dropout_p=dropout, scale=1.0
            )
        return mixed.to(torch.bfloat16)
    return functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, scale=1.0)


class EncoderLayer(nn.Module):
    """Attention and feed-forward part, each followed by its residual and LayerNorm (post-norm)."""

    def __init__(self, d_model: int, ffn: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(d_model, heads, attention_dropout)
        self.linear1 = nn.Linear(d_model, ffn)
        self.linear2 = nn.Linear(ffn, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Give the layer's output (N, L, d) and the queries and keys of `SelfAttention`."""
        attended, queries, keys = self.self_attn(x, position)
        x = self.norm1(x + self.dropout(attended))
        hidden = self.linear2(self.dropout(functional.relu(self.linear1(x))))
        return self.norm2(x + self.dropout(hidden)), queries, keys


class Encoder(nn.Module):
    """A stack of `EncoderLayer` without a final norm."""

    def __init__(
        self, layers: int, d_model: int, ffn: int, heads: int, *, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(d_model, ffn, heads, dropout, attention_dropout) for _ in range(layers)
        )
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor, position: Tensor | None) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Give the last layer's output (N, L, d) and every layer's (queries, keys)."""
        projections = []
        for layer in self.layers:
            x, queries, keys = layer(x, position)
            projections.append((queries, keys))
        return x, projections


def attention_map(queries: Tensor, keys: Tensor) -> Tensor:
    """Mean over heads of softmax(Q K^T / sqrt(d_head)) (paper, section 3.3).

    Args:
        queries: (N, heads, L, d_head).
        keys: (N, heads, L, d_head).

    Returns:
        (N, L, L): row i is the dependency area of cell i, column j the affected area of cell j.
    """
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    return scores.softmax(dim=-1).mean(dim=1)
