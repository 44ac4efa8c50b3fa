"""What is learned: a task, where its rows come from, and how they become examples."""

from dataclasses import dataclass, field

from bench.config.checks import at_least, choice

# Each kind of task says how answers are made and judged; see bench/evaluate.
KINDS = (
    "classification",  # one of fixed answers, by log-probability
    "multiple_choice",  # one of the row's own answers, by log-probability
    "question_answering",  # a short text, generated
    "math",  # a number or expression, generated
    "summarisation",  # a text, generated
    "translation",  # a text, generated
    "code",  # a program, generated
    "generation",  # any text, generated
    "preference",  # pairs of a better and a worse answer
    "text",  # plain text: loss alone
)
FORMATS = (
    "alpaca",
    "sharegpt",
    "messages",
    "prompt_completion",
    "preference",
    "classification",
    "text",
    "transcript",
)
TRANSPORT = ("endpoint", "timeout", "retries", "max_gib", "cache")  # keys of Data that change nothing of the rows


@dataclass
class Split:
    """Where one split's rows are and how they read, where that is not as the task says; empty: as the task says."""

    path: str = ""
    subset: str = ""
    split: str = ""  # its name on the Hub; `train[:95%]` takes a part
    prompt: str = ""
    completion: str = ""


@dataclass
class Task:
    """What is learned and how it is scored; `source` names the loader in `bench.data.tasks`.

    `prompt`, `completion`, `rejected` and `system` are Jinja templates over a row's fields; `options`, `label`,
    `references` and `where` are Jinja expressions, which give values. With none of them a row's format is
    recognised by its fields (`data.format`).
    """

    name: str = "pydoc"
    source: str = "pydoc"  # pydoc | arithmetic | sorting | fixed | hub | file
    kind: str = "classification"  # one of KINDS, or auto with source=file: told from the data's format
    metrics: list[str] = field(default_factory=list)  # empty: those of the kind
    instruction: str = ""  # one sentence that says what is asked; soft prompts start from it
    path: str = ""  # of source=hub: the data set's id
    subset: str = ""  # of source=hub: the data set's configuration
    revision: str = ""  # of source=hub
    train: Split = field(default_factory=lambda: Split(split="train"))
    validation: Split = field(default_factory=lambda: Split(split="validation"))  # split=none: taken from train
    test: Split = field(default_factory=lambda: Split(split="test"))  # split=none: taken from train
    system: str = ""
    prompt: str = ""
    completion: str = ""
    rejected: str = ""
    choices: list[str] = field(default_factory=list)  # all answers of a classification, in the order of their labels
    options: str = ""  # the row's own answers
    label: str = ""  # which answer is right: its index, or the answer itself
    references: str = ""  # all answers that count as right
    where: str = ""  # rows for which this is false are left out, and counted
    chat: bool = False  # the prompt is a user's message in the model's chat template
    preferences: bool = False  # whether every example has a rejected answer beside the right one
    shots: int = 0  # solved training examples in front of every prompt, the same for all
    train_examples: int = 0  # at most; 0: all
    validation_examples: int = 0
    test_examples: int = 0
    max_length: int = 256  # tokens; a longer prompt loses its beginning
    max_new_tokens: int = 32  # of generated answers; decoding is greedy
    stop: list[str] = field(default_factory=list)  # texts at which a generated answer ends
    seed: int = 0  # of generated data, drawn wrong answers and shots: part of the task, not of the run

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        kinds = ("auto", *KINDS) if self.source == "file" else KINDS
        found = choice("task.kind", self.kind, *kinds)
        for key in ("shots", "train_examples", "validation_examples", "test_examples"):
            found += at_least(f"task.{key}", getattr(self, key), 0)
        found += at_least("task.max_new_tokens", self.max_new_tokens, 1)
        return found + at_least("task.max_length", self.max_length, 8)


@dataclass
class Data:
    """Where rows lie and how they are read: one's own files, or local copies of a task's splits.

    A location is a file, a folder, a URL (http, https, ftp, s3, gs, hf) or, with `task.source=hub`, empty.
    Credentials come from the environment variables that each store's own tools read.
    """

    train: str = ""
    validation: str = ""  # empty: a share of train, chosen by hash
    test: str = ""  # empty: a share of train, chosen by hash
    general: str = ""  # text on which forgetting is measured; empty: held-out text of the standard library
    format: str = "auto"  # auto: recognised by the fields | one of FORMATS
    on_error: str = "stop"  # stop | skip: leave out rows that cannot be used, count and list them
    turns: str = "all"  # of a conversation: all: every answer is an example, with what came before it | last
    template: str = "auto"  # of conversations: auto: the tokenizer's own, else plain | plain | chatml
    validation_share: float = 0.1
    test_share: float = 0.1
    stride: int = 0  # tokens by which two chunks of a long training text overlap
    endpoint: str = ""  # URL of an S3-compatible store
    timeout: float = 60.0  # seconds without an answer
    retries: int = 3
    max_gib: float = 20.0  # of one download
    cache: str = ""  # folder for downloads; empty: tunebench's own in the user's cache folder
    content: str = ""  # SHA-256 of local files, set by tunebench: changed files are a changed task

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = choice("data.format", self.format, "auto", *FORMATS)
        found += choice("data.on_error", self.on_error, "stop", "skip")
        found += choice("data.turns", self.turns, "all", "last")
        found += choice("data.template", self.template, "auto", "plain", "chatml")
        for key in ("stride", "retries"):
            found += at_least(f"data.{key}", getattr(self, key), 0)
        for key in ("timeout", "max_gib"):
            if getattr(self, key) <= 0:
                found.append(f"data.{key} must be > 0, got {getattr(self, key):g}")
        if self.validation_share < 0 or self.test_share < 0 or self.validation_share + self.test_share >= 1:
            found.append(
                "data.validation_share and data.test_share must be >= 0 and together < 1, "
                f"got {self.validation_share:g} and {self.test_share:g}"
            )
        return found
