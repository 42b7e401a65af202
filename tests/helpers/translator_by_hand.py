"""Morris et al.'s translator once more, from its formulas: one text, one head, one row at a time.

Weights are named as in the published checkpoint without ``module.``.
"""

import numpy as np

EMBED, LAYERS = 98, 6
NORM, LINEAR = ("alpha", "bias"), ("weight", "bias")


def published_shapes(width=512, feedforward=2048, places=6000, layers=LAYERS):
    """Name and shape of each tensor of the published file."""
    shapes = {}

    def norm(name):
        shapes.update({f"{name}.{part}": (width,) for part in NORM})

    def linear(name, outputs, data):
        shapes.update({f"{name}.weight": (outputs, data), f"{name}.bias": (outputs,)})

    def half(name, norms, attentions):
        shapes[f"{name}.embed.embed.weight"] = (EMBED, width)
        shapes[f"{name}.pe.pe"] = (1, places, width)
        for layer in (f"{name}.layers.{i}" for i in range(layers)):
            for number in range(norms):
                norm(f"{layer}.norm_{number + 1}")
            for attention in attentions:
                for part in ("q_linear", "k_linear", "v_linear", "out"):
                    linear(f"{layer}.{attention}.{part}", width, width)
            linear(f"{layer}.ff.linear_1", feedforward, width)
            linear(f"{layer}.ff.linear_2", width, feedforward)
        norm(f"{name}.norm")

    half("encoder", 2, ["attn"])
    half("decoder", 3, ["attn_1", "attn_2"])
    linear("out", EMBED, width)
    return shapes


def position(place, column, width):
    pair = column - column % 2
    if column == pair:
        return np.sin(place / 10000 ** (2 * pair / width))
    return np.cos(place / 10000 ** (2 * (pair + 1) / width))


def position_rows(places, width):
    return np.array([[position(p, c, width) for c in range(width)] for p in range(places)])


def norm(x, state, name):
    alpha, bias = state[f"{name}.alpha"], state[f"{name}.bias"]
    return np.stack([alpha * (row - row.mean()) / (row.std(ddof=1) + 1e-6) + bias for row in x])


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def attention(x, memory, state, name, heads, *, causal=False):
    q, k, v = (
        linear(text, state, f"{name}.{part}_linear")
        for text, part in ((x, "q"), (memory, "k"), (memory, "v"))
    )
    read, size = np.zeros_like(q), q.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for row in range(len(q)):
            seen = slice(0, row + 1) if causal else slice(None)
            shares = softmax(k[seen, part] @ q[row, part] / np.sqrt(size))
            read[row, part] = shares @ v[seen, part]
    return linear(read, state, f"{name}.out")


def feedforward(x, state, name):
    hidden = np.maximum(linear(x, state, f"{name}.linear_1"), 0)
    return linear(hidden, state, f"{name}.linear_2")


def embedded(ids, state, name):
    vectors = state[f"{name}.embed.embed.weight"][ids]
    width = vectors.shape[1]
    return vectors * np.sqrt(width) + position_rows(len(ids), width)


def encode(ids, state, *, layers, heads):
    """States of one text, (len(ids), d)."""
    x = embedded(ids, state, "encoder")
    for name in (f"encoder.layers.{i}" for i in range(layers)):
        near = norm(x, state, f"{name}.norm_1")
        x = x + attention(near, near, state, f"{name}.attn", heads)
        x = x + feedforward(norm(x, state, f"{name}.norm_2"), state, f"{name}.ff")
    return norm(x, state, "encoder.norm")


def decode(ids, source, state, *, layers, heads):
    """Scores (len(ids), 98) of the character after each of these, given the source's states."""
    x = embedded(ids, state, "decoder")
    for name in (f"decoder.layers.{i}" for i in range(layers)):
        near = norm(x, state, f"{name}.norm_1")
        x = x + attention(near, near, state, f"{name}.attn_1", heads, causal=True)
        near = norm(x, state, f"{name}.norm_2")
        x = x + attention(near, source, state, f"{name}.attn_2", heads)
        x = x + feedforward(norm(x, state, f"{name}.norm_3"), state, f"{name}.ff")
    return linear(norm(x, state, "decoder.norm"), state, "out")
