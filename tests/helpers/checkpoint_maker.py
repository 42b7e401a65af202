"""Small checkpoints of the transformers library, made and saved by the tests themselves."""

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)
from transformers.utils import logging

CHARACTERS = sorted("CNOSPFIBrlcnosp()[]=#@+-/\\%0123456789H")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
POSITIONS = 40
"""Most tokens of a text that the networks with a table of positions can read."""


def character_tokenizer(characters=CHARACTERS):
    """One token a character, between a start and an end."""
    ids = {token: i for i, token in enumerate([*SPECIAL, *characters])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def save_tokenizer(folder, tokenizer):
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    given = dict(zip(names, SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **given).save_pretrained(folder)


def network(architecture):
    """A random network: BERT with its language head, RoBERTa with a pooler, or T5, two layers."""
    size = len(SPECIAL) + len(CHARACTERS)
    shape = {
        "vocab_size": size,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "pad_token_id": 1,
        "initializer_range": 0.2,
    }
    if architecture == "bert":
        return BertForMaskedLM(BertConfig(**shape, max_position_embeddings=POSITIONS))
    if architecture == "roberta":
        return RobertaModel(RobertaConfig(**shape, max_position_embeddings=POSITIONS + 2))
    t5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return T5Model(T5Config(vocab_size=size, pad_token_id=1, decoder_start_token_id=1, **t5))


def save_checkpoint(folder, architecture="bert", *, tokenizer=None, seed=0):
    """Write model and tokenizer into a folder; return the model."""
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = network(architecture).eval()
    made.save_pretrained(folder)
    save_tokenizer(folder, tokenizer or character_tokenizer())
    return made
