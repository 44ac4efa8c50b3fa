"""PSCP, the score of PEFT-Bench (arXiv 2511.21285), which weighs a task score with what it cost.

`PSCP = P * (1 + p / Cp)^-bp * (1 + f / Cf)^-bf * (1 + m / Cm)^-bm`, with P the task score, p the trainable parameters,
f the additional TFLOPs of inference and m the peak memory of training in GB. A record does not say how many operations
a method adds to inference, so their factor is left out, and tables say so: the score compares methods that can be
merged into the model with each other, and is too kind to those that lengthen every prompt.
"""

PARAMETERS = 5e8  # Cp
MEMORY_GB = 94.0  # Cm; GB are 1e9 bytes
EXPONENT = 1.0  # bp and bm
FORMULA = f"P / ((1 + p/{PARAMETERS:.0e}) (1 + m/{MEMORY_GB:g}))".replace("e+0", "e")


def pscp(score: float, trainable_parameters: float, peak_train_bytes: float) -> float:
    """PSCP without the factor of inference; `score` is one of which more is better."""
    memory_gb = peak_train_bytes / 1e9
    return score * (1 + trainable_parameters / PARAMETERS) ** -EXPONENT * (1 + memory_gb / MEMORY_GB) ** -EXPONENT
