"""IA3: train scales of keys, values and what the feed-forward part computes."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bench.method import ModelInfo, register
from methods import _peft
from methods._linear import LinearAdapter

# By the names of the layers. peft's own table, by architecture, has queries in place of keys in some, the output of
# attention in others, and nothing for Phi-3, GLM and what is newer.
ATTENTION = r"k_proj|v_proj|key|value|k|v|query_key_value|qkv_proj|Wqkv|W_pack|c_attn"
FEED_FORWARD = r"down_proj|fc2|fc_out|dense_4h_to_h|mlp\.c_proj|wo|w2|layer\.\d+\.output\.dense"


@register
@dataclass
class Ia3(LinearAdapter):
    """IA3: train scales of the keys, the values and the hidden units of every feed-forward layer.

    Liu, Tam, Muqeeth, Mohta, Huang, Bansal, Raffel: "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper
    than In-Context Learning", 2022, arXiv:2205.05638. Where one layer computes queries, keys and values, the queries
    are scaled too.
    """

    name: str = "ia3"
    learning_rate: float = 1e-1
    takes_conv1d: ClassVar[bool] = True

    def config(self, model: Any) -> Any:
        """On the outputs of keys and values, and on the inputs of the feed-forward part's last layer."""
        from peft import IA3Config

        return IA3Config(
            target_modules=rf".*\.({ATTENTION}|{FEED_FORWARD})",
            feedforward_modules=rf".*\.({FEED_FORWARD})",
            fan_in_fan_out=_peft.has_conv1d(model),
        )

    def supports(self, model: ModelInfo) -> str | None:
        """Needs attention."""
        if model.architecture in _peft.RECURRENT:
            return f"{model.architecture} has no keys and values of attention to scale"
        return super().supports(model)
