"""Metrics of generated texts."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from bench.evaluate.metrics.registry import metric, split_metric
from bench.evaluate.outcome import Outcome

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WORD = re.compile(r"[\w']+")
# scripts that part no words by spaces: their characters are taken one by one
_CHARACTER = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@metric(version=1)
def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Share of generated answers that equal a right one after stripping white space."""
    return float(prediction.strip() in references)


def _squad_words(text: str) -> list[str]:
    """SQuAD's normalisation: lower case, no punctuation, no articles, white space as one."""
    bare = "".join(" " if c.isspace() else c for c in text.lower() if c not in string.punctuation)
    return _ARTICLES.sub(" ", bare).split()


@metric(version=1)
def squad_exact_match(prediction: str, references: Sequence[str]) -> float:
    """Share of answers that equal a right one after SQuAD's normalisation (Rajpurkar et al. 2016)."""
    return float(any(_squad_words(prediction) == _squad_words(text) for text in references))


@metric(version=1)
def token_f1(prediction: str, references: Sequence[str]) -> float:
    """Mean of the best F1 of words shared with a right answer, after SQuAD's normalisation (Rajpurkar et al. 2016)."""
    return max(_f1(_squad_words(prediction), _squad_words(text)) for text in references)


def _f1(found: list[str], right: list[str]) -> float:
    if not found or not right:
        return float(found == right)
    shared = sum((Counter(found) & Counter(right)).values())
    return 2 * shared / (len(found) + len(right))


class _AnyScript:
    """Words of any script for rouge-score, whose own tokenizer knows ASCII alone; English words are stemmed."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem

    def tokenize(self, text: str) -> list[str]:
        spaced = _CHARACTER.sub(r" \g<0> ", unicodedata.normalize("NFC", text.lower()))
        words = _WORD.findall(spaced.replace("'", " "))
        return [self._stem(word) if len(word) > 3 and word.isascii() else word for word in words]


@cache
def _rouge(name: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], tokenizer=_AnyScript())


def _rouge_signature() -> str:
    from importlib.metadata import version

    return f"rouge-score {version('rouge-score')}, F, Porter stemmer, words of any script, best reference"


def _best_rouge(name: str, prediction: str, references: Sequence[str]) -> float:
    return max(float(_rouge(name).score(text, prediction)[name].fmeasure) for text in references)


@metric(version=1, signature=_rouge_signature)
def rouge1(prediction: str, references: Sequence[str]) -> float:
    """Mean F of shared words (Lin 2004)."""
    return _best_rouge("rouge1", prediction, references)


@metric(version=1, signature=_rouge_signature)
def rouge2(prediction: str, references: Sequence[str]) -> float:
    """Mean F of shared pairs of words (Lin 2004)."""
    return _best_rouge("rouge2", prediction, references)


@metric(version=1, signature=_rouge_signature)
def rougeL(prediction: str, references: Sequence[str]) -> float:  # noqa: N802  (the field's name)
    """Mean F of the longest common subsequence of words (Lin 2004)."""
    return _best_rouge("rougeL", prediction, references)


@cache
def _sacrebleu(name: str) -> Any:
    from sacrebleu.metrics import BLEU, CHRF

    if name == "chrf":
        return CHRF()
    return BLEU(effective_order=name == "sentence_bleu")  # of a sentence, orders longer than it are left out


def _corpus(name: str, outcomes: Sequence[Outcome]) -> float:
    most = max(len(o.references) for o in outcomes)
    columns = [[o.references[i] if i < len(o.references) else None for o in outcomes] for i in range(most)]
    return float(_sacrebleu(name).corpus_score([o.prediction or "" for o in outcomes], columns).score)


def _sentence(name: str, outcome: Outcome) -> float:
    return float(_sacrebleu(name).sentence_score(outcome.prediction or "", list(outcome.references)).score)


def _sentence_bleu(outcome: Outcome) -> float:
    return _sentence("sentence_bleu", outcome)


def _sentence_chrf(outcome: Outcome) -> float:
    return _sentence("chrf", outcome)


def _signature(name: str) -> str:
    return str(_sacrebleu(name).get_signature())


def _bleu_signature() -> str:
    return _signature("bleu")


def _chrf_signature() -> str:
    return _signature("chrf")


@split_metric(version=1, each=_sentence_bleu, signature=_bleu_signature)
def bleu(outcomes: Sequence[Outcome]) -> float:
    """Corpus BLEU by sacreBLEU, 0 to 100 (Papineni et al. 2002, Post 2018); an example's part is its sentence BLEU."""
    return _corpus("bleu", outcomes)


@split_metric(version=1, each=_sentence_chrf, signature=_chrf_signature)
def chrf(outcomes: Sequence[Outcome]) -> float:
    """Corpus chrF2 by sacreBLEU, 0 to 100 (Popović 2015); an example's part is its sentence chrF2."""
    return _corpus("chrf", outcomes)
