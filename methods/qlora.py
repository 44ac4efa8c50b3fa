"""QLoRA: LoRA on base weights that are stored in 4 or in 8 bits."""

from dataclasses import dataclass

from bench.method import Quantization, register
from methods._peft import one_of
from methods.lora import Lora


@register
@dataclass
class Qlora(Lora):
    """QLoRA: LoRA on base weights that are stored in 4 bits.

    Dettmers, Pagnoni, Holtzman, Zettlemoyer: "QLoRA: Efficient Finetuning of Quantized LLMs", 2023,
    arXiv:2305.14314.
    """

    name: str = "qlora"
    bits: int = 4  # 4 | 8: LLM.int8, Dettmers, Lewis, Belkada, Zettlemoyer 2022, arXiv:2208.07339
    data_type: str = "nf4"  # nf4 | fp4, of 4 bits
    double_quantization: bool = True  # the constants of the 4-bit quantisation are quantised too

    def quantization(self) -> Quantization:
        """All linear layers but the head in 4 or 8 bits; the update itself stays float32."""
        return Quantization(self.data_type, self.double_quantization, self.bits)

    def errors(self) -> list[str]:
        """Those of LoRA, and how the base is stored."""
        found = super().errors() + one_of("data_type", self.data_type, ("nf4", "fp4"))
        if self.bits not in (4, 8):
            found.append(f"method.bits must be 4 or 8, got {self.bits}")
        return found
