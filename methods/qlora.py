"""QLoRA: LoRA on base weights that are stored in 4 or in 8 bits."""

from dataclasses import dataclass

from bench.method import Quantization, register
from methods._peft import one_of
from methods.lora import Lora


@dataclass
class Qlora4(Lora):
    """Base class: LoRA on base weights that are stored in 4 bits."""

    data_type: str = "nf4"  # nf4 | fp4
    double_quantization: bool = True  # the constants of the quantisation are quantised too

    def quantization(self) -> Quantization:
        """All linear layers but the head in 4 bits; the update itself stays float32."""
        return Quantization(self.data_type, self.double_quantization)

    def errors(self) -> list[str]:
        """Those of LoRA, and the data type."""
        return super().errors() + one_of("data_type", self.data_type, ("nf4", "fp4"))


@register
@dataclass
class Qlora(Qlora4):
    """QLoRA: LoRA on base weights that are stored in 4 bits, or in 8.

    Dettmers, Pagnoni, Holtzman, Zettlemoyer: "QLoRA: Efficient Finetuning of Quantized LLMs", 2023,
    arXiv:2305.14314. In 8 bits the base is that of LLM.int8: Dettmers, Lewis, Belkada, Zettlemoyer: "LLM.int8():
    8-bit Matrix Multiplication for Transformers at Scale", 2022, arXiv:2208.07339.
    """

    name: str = "qlora"
    bits: int = 4  # 4 | 8, for which the other two mean nothing

    def quantization(self) -> Quantization:
        """All linear layers but the head in so many bits; the update itself stays float32."""
        return Quantization(self.data_type, self.double_quantization, self.bits)

    def errors(self) -> list[str]:
        """Those of LoRA, and how the base is stored."""
        wrong = [] if self.bits in (4, 8) else [f"method.bits must be 4 or 8, got {self.bits}"]
        return super().errors() + wrong
