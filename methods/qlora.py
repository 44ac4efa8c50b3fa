"""QLoRA: LoRA on base weights that are stored in 4 bits."""

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
    data_type: str = "nf4"  # nf4 | fp4
    double_quantization: bool = True  # the constants of the quantisation are quantised too

    def quantization(self) -> Quantization:
        """All linear layers but the head in 4 bits; the update itself stays float32."""
        return Quantization(self.data_type, self.double_quantization)

    def errors(self) -> list[str]:
        """Those of LoRA, and the data type."""
        return super().errors() + one_of("data_type", self.data_type, ("nf4", "fp4"))
