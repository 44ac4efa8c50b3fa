"""The usual formats of fine-tuning data, told by their fields and converted to one canonical example."""

from bench.data.formats.conversations import unanswered
from bench.data.formats.convert import convert
from bench.data.formats.detect import FIELDS, KIND, detect
from bench.data.formats.examples import Examples, examples
from bench.data.formats.labels import check_labels, label_error

__all__ = ["FIELDS", "KIND", "Examples", "check_labels", "convert", "detect", "examples", "label_error", "unanswered"]
