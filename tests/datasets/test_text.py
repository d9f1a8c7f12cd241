"""The manual's text and the vocabulary."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from accelgrad.datasets import PythonManual, Vocabulary, tokenize


@pytest.mark.parametrize("unit", ["paragraph", "sentence"])
def test_the_parts_share_no_text_and_hold_every_class(unit):
    train, test = PythonManual(unit), PythonManual(unit, train=False)
    assert len(train) > 3.5 * len(test) > 700
    assert not set(train.texts) & set(test.texts)
    assert set(train.targets) == set(test.targets) == set(range(6))


def test_texts_are_prose_on_one_line():
    for text, label in PythonManual():
        assert "\n" not in text and len(tokenize(text)) >= 5 and "::=" not in text
        assert type(label) is int


def test_texts_have_very_different_lengths():
    lengths = [len(tokenize(text)) for text, _ in PythonManual()]
    assert max(lengths) > 5 * np.median(lengths) and min(lengths) < 10


def test_sentences_are_shorter_than_paragraphs():
    paragraphs, sentences = PythonManual(), PythonManual("sentence")
    assert len(sentences) > len(paragraphs)
    assert np.mean([len(t) for t in sentences.texts]) < np.mean([len(t) for t in paragraphs.texts])


def test_the_classes_can_be_told_apart_by_their_words():
    train, test = PythonManual(), PythonManual(train=False)
    vocabulary = Vocabulary(train.texts, min_count=2)

    def counts(texts):
        table = np.zeros((len(texts), len(vocabulary)))
        for row, text in enumerate(texts):
            np.add.at(table[row], vocabulary.encode(text), 1)
        return table

    # Naive Bayes: log P(word | class), one added to every count.
    labels = np.array(train.targets)
    totals = np.stack([counts(train.texts)[labels == label].sum(axis=0) + 1 for label in range(6)])
    scores = counts(test.texts) @ np.log(totals / totals.sum(axis=1, keepdims=True)).T
    accuracy = (scores.argmax(axis=1) == np.array(test.targets)).mean()
    assert accuracy > 0.6  # guessing the commonest class would reach 0.29


def test_transforms_are_applied():
    dataset = PythonManual(transform=len, target_transform=str)
    assert dataset[0] == (len(dataset.texts[0]), str(dataset.targets[0]))


def test_an_index_outside_is_an_error():
    dataset = PythonManual()
    with pytest.raises(IndexError, match="out of range"):
        dataset[len(dataset)]


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="'paragraph' or 'sentence', got 'word'"):
        PythonManual("word")


def test_a_python_without_its_manual_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match=r"pydoc_data\.topics of the standard library"):
        PythonManual()


def test_repr_tells_the_unit():
    assert "Unit: sentence\n    Split: Test" in repr(PythonManual("sentence", train=False))


def test_a_vocabulary_is_ordered_by_frequency_then_alphabet():
    vocabulary = Vocabulary(["b a", "c b", "b a d"])
    assert vocabulary.tokens == ["<pad>", "<unk>", "b", "a", "c", "d"]


def test_rare_tokens_and_those_beyond_the_size_are_unknown():
    texts = ["b a", "c b", "b a d"]
    assert Vocabulary(texts, min_count=2).encode("a b c") == [3, 2, 1]
    assert Vocabulary(texts, max_size=3).tokens == ["<pad>", "<unk>", "b"]


def test_encoding_and_decoding_are_inverse():
    vocabulary = Vocabulary(PythonManual().texts)
    tokens = tokenize(PythonManual()[3][0])
    assert vocabulary.decode(vocabulary.encode(tokens)) == tokens
    assert vocabulary["<unk>"] == vocabulary["zyzzyva"] == 1 and "zyzzyva" not in vocabulary


def test_a_special_token_in_the_text_keeps_its_number():
    assert Vocabulary([["<pad>", "x", "<pad>"]]).tokens == ["<pad>", "<unk>", "x"]
