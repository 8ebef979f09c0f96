"""`describe` on public architectures, built small from their configurations, against counting."""

from typing import Any

import pytest
import torch

from permtrain import describe

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

V, D, F, P = 50, 32, 64, 16
"""Words, width, width inside, positions."""
SMALL = {"hidden_size": D, "num_attention_heads": 4, "vocab_size": V}
GROUPED = SMALL | {"num_hidden_layers": 1, "num_key_value_heads": 2, "head_dim": D // 4}
ATTENTION = 4 * D
"""Neurons of a layer's query, key, value and output."""
GROUPED_ATTENTION = D + 2 * (D // 2) + D
EXPERTS = {"num_local_experts": 4, "intermediate_size": 48}
OF_EXPERTS = 4 + 4 * (2 * 48 + D)
"""Of the router, and of the four experts: gate and up, down."""

SWIN = {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
WHISPER = {"d_model": D, "vocab_size": V, "num_mel_bins": 8, "pad_token_id": 0} | {
    f"{part}_{what}": value
    for part in ("encoder", "decoder")
    for what, value in (("layers", 1), ("attention_heads", 4), ("ffn_dim", F))
}
T5 = {"d_model": D, "d_kv": 8, "d_ff": F, "num_layers": 1, "num_heads": 4, "vocab_size": V}
CONVNEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
BERT = SMALL | {"num_hidden_layers": 2, "intermediate_size": F, "max_position_embeddings": P}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], int]] = {
    # words, then two blocks of four Conv1D each; positions are left alone
    "GPT2LMHeadModel": (
        "GPT2Config",
        {"n_embd": D, "n_layer": 2, "n_head": 4, "vocab_size": V, "n_positions": P},
        D + 2 * (ATTENTION + 4 * D + D),
    ),
    # words have a padding row; token types, blocks, pooler
    "BertModel": ("BertConfig", BERT, D + 2 * (ATTENTION + F + D) + D),
    "MixtralForCausalLM": (
        "MixtralConfig",
        GROUPED | EXPERTS,
        D + GROUPED_ATTENTION + OF_EXPERTS + V,
    ),
    "GptOssForCausalLM": (
        "GptOssConfig",
        GROUPED | EXPERTS,
        D + GROUPED_ATTENTION + OF_EXPERTS + V,
    ),
    "LlamaForCausalLM": (
        "LlamaConfig",
        GROUPED | {"intermediate_size": F, "pad_token_id": 0},
        GROUPED_ATTENTION + 2 * F + D + V,
    ),
    # words, convolution, in, x, dt, out; the decay A_log is left alone
    "MambaForCausalLM": (
        "MambaConfig",
        {"hidden_size": D, "num_hidden_layers": 1, "state_size": 8, "vocab_size": V},
        D + 2 * D + 4 * D + (2 + 16) + 2 * D + D,
    ),
    # patches, one block, pooler; token and positions are left alone
    "ViTModel": (
        "ViTConfig",
        SMALL | {"num_hidden_layers": 1, "intermediate_size": F, "image_size": 16, "patch_size": 8},
        D + ATTENTION + F + D + D,
    ),
    # patches, four blocks (depthwise, up, down), three between
    "ConvNextModel": ("ConvNextConfig", CONVNEXT, 8 + 6 * (8 + 16 + 24 + 32) + 16 + 24 + 32),
    # patches, two blocks, one reduction; tables of relative positions are left alone
    "SwinModel": ("SwinConfig", SWIN, 16 + 9 * 16 + 2 * 16 + 9 * 32),
    # words once for encoder and decoder; tables of relative positions are left alone
    "T5Model": ("T5Config", T5, D + (ATTENTION + F + D) + (2 * ATTENTION + F + D)),
    # two convolutions, encoder, decoder; words have a padding row
    "WhisperModel": ("WhisperConfig", WHISPER, 2 * D + ATTENTION + F + D + 2 * ATTENTION + F + D),
}


@pytest.mark.filterwarnings("ignore")  # of the library's own
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_has_the_vectors_that_its_configuration_counts(name: str) -> None:
    configuration, sizes, num_vectors = ARCHITECTURES[name]
    with torch.device("meta"):
        model = getattr(transformers, name)(getattr(transformers, configuration)(**sizes))
    described = describe(model)
    assert described.num_vectors == num_vectors
    # No vector runs across neurons: each is as long as what enters one.
    for tensor in described.tensors:
        if tensor.layer == "Conv1D" and tensor.cut is not None:
            assert (tensor.cut.num_vectors, tensor.cut.vector_length) == tensor.shape[::-1]
