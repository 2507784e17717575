"""Personal data that nobody has, and sentences to plant it in."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

KINDS = ("phone", "email", "id", "card", "order", "account")
FRAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "en": {
        "phone": ("please call me at {} today", "{}", "my phone number is {}, thanks", "tel: {}"),
        "email": ("write to {} please", "({})", "my mail is {}, it broke"),
        "id": ("my SSN is {} and it broke", "social security number {}"),
        "card": ("paid with {} last week", "card number {}", "it was charged to {} twice"),
        "order": ("order number {} is late", "order #{}", "Invoice no. {}", "where is order {}?"),
        "account": ("my wechat is {}", "WhatsApp: {}", "telegram id {}"),
    },
    "zh": {
        "phone": ("请打我电话{}谢谢", "{}", "手机号：{}，急", "联系{}处理"),
        "email": ("发到{}", "邮箱：{}，坏了"),
        "id": ("身份证号{}", "我的证件是{}，请核实", "{}"),
        "card": ("退到卡号{}", "银行卡{}扣了两次", "我的卡是{}"),
        "order": ("订单号{}还没到", "快递单号：{}", "请查订单{}", "运单号是{}，谢谢"),
        "account": ("加我微信{}", "QQ：{}", "微信号是{}"),
    },
}


def planted_value(kind: str, language: str, rng: random.Random) -> str:
    """A value of a kind as it is written in a language."""

    def digits(n: int) -> str:
        return "".join(rng.choice("0123456789") for _ in range(n))

    if kind == "phone":
        if language == "en":
            # Numbers 555-01xx are reserved for fiction.
            return rng.choice(("({}) 555-01{}", "+1 {} 555 01{}", "{}-555-01{}")).format(
                rng.choice(("212", "415", "617", "305")), digits(2)
            )
        mobile = f"1{rng.choice('3578')}{digits(9)}"
        return rng.choice(
            (mobile, f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}", f"+86{mobile}", f"+86 {mobile}")
        )
    if kind == "email":
        name, end = rng.choice(("li.wei", "a_b", "J.Doe+x")), rng.choice(("com", "cn"))
        return f"{name}{digits(2)}@example.{end}"
    if kind == "id":
        if language == "en":
            return f"{rng.randint(100, 599)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"
        born = f"{rng.randint(1950, 2009)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
        body = f"{rng.choice(('110105', '310104', '440305'))}{born}{digits(3)}"
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        check = sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11
        return body + "10X98765432"[check]
    if kind == "card":
        body = rng.choice(("4", "51", "6222")) + digits(15)
        return _with_luhn(body[:15])
    if kind == "account":
        return str(rng.randint(10_000, 10**10))
    shape = rng.choice(("{}", "SF{}", "AB-{}", "{}-77"))
    return shape.format(rng.choice("123456789") + digits(rng.randint(9, 14)))


def _with_luhn(body: str) -> str:
    """The number with its check digit."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{body}{-total % 10}"
