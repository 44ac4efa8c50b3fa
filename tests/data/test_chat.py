"""Chat templates: what of a conversation becomes prompt and completion, and what happens to a refused one.

The templates are short ones in the style of those that come with models.
"""

from collections.abc import Callable
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench.data.chat import TEMPLATES, render
from bench.data.example import Example, Message
from bench.data.tokens import tokenise

END = "<|endoftext|>"  # the tiny tokenizer's begin and end token
SYSTEM, HI, HELLO = Message("system", "簡潔に。"), Message("user", "مرحبا"), Message("assistant", "안녕 👩🏽‍🚀")
WHO = Message("user", "  Who are you?\n")
TALK = Example("talk.jsonl:3", (SYSTEM, HI, HELLO, WHO), "I am が\u3099.", "Nobody.")

HEADERS = """{{ bos_token }}
{%- for message in messages -%}
{{ '<|header|>' + message.role + '<|end_header|>\n\n' + (message.content | trim) + '<|eot|>' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|header|>assistant<|end_header|>\n\n' }}{% endif -%}"""
CHATML = """{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}"""
NO_SYSTEM = """{{ bos_token }}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
{%- if message.role == 'user' %}{{ '[INST] ' + message.content + ' [/INST]' }}
{%- else %}{{ ' ' + message.content + eos_token }}{% endif -%}
{%- endfor -%}"""
DEAF = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
REWRITES = """{%- for message in messages -%}
{{ '<' + message.role + '>' + message.content }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<assistant><think>\n' }}{% endif -%}"""
THINKS = """{%- for message in messages -%}
{{ '<' + message.role + '>' }}
{%- if message.role == 'assistant' and loop.last %}{{ '<think></think>' }}{% endif -%}
{{ message.content + '</>' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif -%}"""

Make = Callable[[Any], Any]


@pytest.fixture
def tokenizer(tiny_llama: str) -> Make:
    """Makes the tiny tokenizer with a chat template."""

    def make(template: Any = None) -> Any:
        found = AutoTokenizer.from_pretrained(tiny_llama)
        found.chat_template = template
        return found

    return make


def one(example: Example, tokenizer: Any, template: str = "auto") -> Example:
    (found,) = render([example], tokenizer, template)
    return found


def test_headers_in_the_style_of_llama_3(tokenizer: Make):
    found = one(TALK, tokenizer(HEADERS))
    assert found.prompt == (
        "<|header|>system<|end_header|>\n\n簡潔に。<|eot|>"
        "<|header|>user<|end_header|>\n\nمرحبا<|eot|>"
        "<|header|>assistant<|end_header|>\n\n안녕 👩🏽‍🚀<|eot|>"
        "<|header|>user<|end_header|>\n\nWho are you?<|eot|>"
        "<|header|>assistant<|end_header|>\n\n"
    )
    assert found.completion == "I am が\u3099.<|eot|>"
    assert found.rejected == "Nobody.<|eot|>"
    assert found.references == ("I am が\u3099.",)
    assert found.id == TALK.id


def test_chatml_s_end_of_turn_stays_but_the_line_after_it_goes(tokenizer: Make):
    found = one(TALK, tokenizer(CHATML))
    assert isinstance(found.prompt, str)
    assert found.prompt.startswith("<|im_start|>system\n簡潔に。<|im_end|>\n<|im_start|>user\nمرحبا<|im_end|>\n")
    assert found.prompt.endswith("<|im_start|>user\n  Who are you?\n<|im_end|>\n<|im_start|>assistant\n")
    assert (found.completion, found.rejected) == ("I am が\u3099.<|im_end|>", "Nobody.<|im_end|>")


def test_a_tokenizer_without_a_template_gets_the_plain_one(tokenizer: Make):
    found = one(TALK, tokenizer())
    assert found.prompt == (
        "System: 簡潔に。\n\nUser: مرحبا\n\nAssistant: 안녕 👩🏽‍🚀\n\nUser:   Who are you?\n\n\nAssistant:"
    )
    assert (found.completion, found.rejected) == (" I am が\u3099.", " Nobody.")
    assert found == one(TALK, tokenizer(HEADERS), "plain")


def test_the_named_chatml_is_the_usual_one(tokenizer: Make):
    assert one(TALK, tokenizer(HEADERS), "chatml") == one(TALK, tokenizer(CHATML))


def test_every_template_of_our_own_writes_every_role_and_keeps_every_character(tokenizer: Make):
    odd = "e\u0301 ﬁ ｶﾞ \u00a0\u200f{{ x }} {% if %} 🏴󠁧󠁢󠁳󠁣󠁴󠁿"
    said = [Message(role, f"{role} {odd}") for role in ("system", "user", "tool", "assistant", "assistant", "user")]
    names = sorted(path.stem for path in TEMPLATES.iterdir())
    assert names == ["chatml", "fixed_date", "plain"]
    for name in ("chatml", "plain"):
        found = one(Example("1", tuple(said), f"I {odd}"), tokenizer(), name)
        assert all(message.content in found.prompt for message in said)
        assert f"I {odd}" in found.completion


def test_begin_and_end_token_are_left_to_the_tokens(tokenizer: Make):
    talk = Example("1", (HI, HELLO, Message("user", "Who?")), "I.", options=("I.", "You."), references=("Me.",))
    found = one(talk, tokenizer(NO_SYSTEM))
    assert found.prompt == f"[INST] مرحبا [/INST] 안녕 👩🏽‍🚀{END}[INST] Who? [/INST]"
    assert found.completion == " I."
    assert found.options == (" I.", " You.")
    assert found.references == ("Me.",)
    (tokens,) = tokenise([found], tokenizer(NO_SYSTEM), 500)
    whole = tokenizer(NO_SYSTEM).apply_chat_template(
        [{"role": m.role, "content": m.content} for m in (*talk.prompt, Message("assistant", "I."))], return_dict=False
    )
    assert tokens.prompt + tokens.completion == whole


def test_a_refused_system_prompt_goes_in_front_of_the_first_question(tokenizer: Make):
    found = one(TALK, tokenizer(NO_SYSTEM))
    assert found.prompt == (f"[INST] 簡潔に。\n\nمرحبا [/INST] 안녕 👩🏽‍🚀{END}[INST]   Who are you?\n [/INST]")
    assert found.completion == " I am が\u3099."


def test_a_system_prompt_that_the_template_passes_over_does_too(tokenizer: Make):
    assert one(TALK, tokenizer(DEAF)).prompt.startswith("<user>簡潔に。\n\nمرحبا<assistant>")


def test_a_template_that_writes_the_answer_s_turn_in_another_way(tokenizer: Make):
    found = one(Example("1", (HI,), "Hello to all of you.", "Go away"), tokenizer(REWRITES))
    assert found.prompt == "<user>مرحبا<assistant><think>\n"
    assert (found.completion, found.rejected) == ("Hello to all of you.", "Go away")


def test_what_the_template_puts_in_front_of_an_answer_is_learnt(tokenizer: Make):
    found = one(Example("1", (HI, HELLO, WHO), "I."), tokenizer(THINKS))
    assert "<think>" not in found.prompt
    assert found.completion == "<think></think>I.</>"


def test_an_answer_that_the_template_leaves_out_is_learnt_bare(tokenizer: Make):
    only_questions = "{% for m in messages if m.role == 'user' %}<{{ m.content }}>{% endfor %}"
    assert one(Example("1", (HI,), "I."), tokenizer(only_questions)).completion == "I."


def test_text_stays_as_it_is(tokenizer: Make):
    raw = Example("1", f"{END}Q: مرحبا\nA:", f" yes{END} ", " no")
    assert render([raw], tokenizer("{{ broken")) == [raw]
    assert list(render([raw, TALK], tokenizer(CHATML))) == [raw, one(TALK, tokenizer(CHATML))]


def test_the_default_of_several_templates_is_taken(tokenizer: Make):
    assert one(TALK, tokenizer({"tool_use": DEAF, "default": CHATML})) == one(TALK, tokenizer(CHATML))


def test_several_templates_without_a_default_are_refused(tokenizer: Make):
    with pytest.raises(ValueError, match=r"^data\.template") as raised:
        one(TALK, tokenizer({"tool_use": DEAF, "rag": CHATML}))
    assert str(raised.value) == (
        "data.template: the tokenizer has the chat templates tool_use, rag and none of them is called default; "
        "set data.template=plain or data.template=chatml"
    )


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (
            NO_SYSTEM,
            "TemplateError: Conversation roles must alternate user/assistant/user/assistant/...",
        ),
        ("{% for m in messages %}", "TemplateSyntaxError: Unexpected end of template. Jinja was looking for"),
        ("{{ messages[0].content.nothing.more }}", "UndefinedError: 'str object' has no attribute 'nothing'"),
        ("{{ messages[0].content + 1 }}", "TypeError: can only concatenate str"),
        ("{{ 1 // 0 }}", "ZeroDivisionError: "),
        ("{{ ''.__class__.__mro__ }}", "SecurityError: access to attribute '__class__' of 'str' object is unsafe."),
        ("{{ messages[0].content % 'x' }}", "TypeError: not all arguments converted"),
        ("{% include 'other' %}", "TypeError: no loader for this environment specified"),
    ],
)
def test_a_template_that_fails_is_named_with_a_way_out(template: str, problem: str, tokenizer: Make):
    double = Example("talk.jsonl:3", (HI, HI), "Hello")
    with pytest.raises(ValueError, match=r"^data\.template") as raised:
        one(double, tokenizer(template))
    message = str(raised.value)
    assert message.startswith(
        f"data.template: the tokenizer's chat template refuses the conversation talk.jsonl:3 ({problem}"
    )
    assert message.endswith("); data.template=plain and data.template=chatml take any conversation")
    assert one(double, tokenizer(template), "plain").completion == " Hello"


def test_an_answer_that_the_template_refuses(tokenizer: Make):
    no_answers = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no') }}{% endif %}{% endfor %}"
    )
    with pytest.raises(ValueError, match=r"refuses the conversation 1 \(TemplateError: no\)"):
        one(Example("1", (HI,), "I."), tokenizer(no_answers))


def test_a_template_s_date_is_always_the_same(tokenizer: Make):
    for day, written in (("%d %b %Y", "26 Jul 2024"), ("%Y-%m-%d", "2024-07-26"), ("%A, %B %d", "Friday, July 26")):
        dated = f"\n {{{{ 'Today: ' + strftime_now('{day}') + '. ' }}}}" + CHATML
        found = one(TALK, tokenizer(dated))
        assert found == one(TALK, tokenizer(f"\n {{{{ 'Today: {written}. ' }}}}" + CHATML))
