"""Attention in NumPy float32, and the rotary embedding of its queries and keys."""

from __future__ import annotations

import numpy as np


def rotate(x: np.ndarray, positions: np.ndarray, *, theta: float) -> np.ndarray:
    """Rotary position embedding.

    Parameters
    ----------
    x : ndarray of float32, shape (m, heads, head_dim)
        Queries or keys. Element i of a head's first half and element i of its second are the
        coordinates that turn by position / theta**(2 i / head_dim) radians.
    positions : ndarray of int, shape (m,)
    theta : float

    Returns
    -------
    ndarray of float32, as x

    Notes
    -----
    Source: arXiv 2104.09864, with the pairs of GPT-NeoX. Angles are products of float32, as where
    models are trained; at large positions they are off by more than an ulp of their sine.
    """
    half = x.shape[-1] // 2
    frequencies = theta ** (-np.arange(half) / half)
    angles = positions.astype(np.float32)[:, None, None] * frequencies.astype(np.float32)
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)


def attend(queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Causal attention of the last m of t tokens, heads / kv_heads query heads to a key head.

    Parameters
    ----------
    queries : ndarray of float32, shape (m, heads, head_dim)
    keys, values : ndarray of float32, shape (t, kv_heads, head_dim)

    Returns
    -------
    ndarray of float32, shape (m, heads * head_dim)
    """
    (m, heads, head_dim), (t, kv_heads, _) = queries.shape, keys.shape
    group = heads // kv_heads
    # Query heads that share a key head are further rows of one product.
    by_key_head = queries.reshape(m, kv_heads, group, head_dim).transpose(1, 2, 0, 3)
    q = by_key_head.reshape(kv_heads, group * m, head_dim)
    scores = (q @ keys.transpose(1, 2, 0)) * np.float32(head_dim**-0.5)
    scores = scores.reshape(kv_heads, group, m, t)
    future = np.arange(t) > np.arange(t - m, t)[:, None]
    scores = np.where(future, np.float32(-np.inf), scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = weights.reshape(kv_heads, group * m, t) @ values.transpose(1, 0, 2)
    by_token = mixed.reshape(kv_heads, group, m, head_dim).transpose(2, 0, 1, 3)
    return by_token.reshape(m, heads * head_dim)
