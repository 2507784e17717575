"""Every text on the pages: key → English, Chinese."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "reference": ("HTTP reference", "HTTP 接口"),
    "reference_about": (
        "Every error is a problem document (RFC 9457) with a hint. The machine-readable "
        "description is openapi.json.",
        "所有错误都是问题文档（RFC 9457），并附有提示。机器可读的描述见 openapi.json。",
    ),
    "parameters": ("Parameters", "参数"),
    "body": ("Body", "请求体"),
    "needed": ("required", "必填"),
    "example": ("Example", "示例"),
    "answers": ("Answers", "响应"),
    "skip_to_content": ("Skip to content", "跳到正文"),
}
