"""Finds personal data in a text: the spans and their kinds.

Phone numbers are found by Google's rules (``phonenumbers``), identity cards, bank cards and IBANs
by their check digits (``python-stdnum``). Order numbers, accounts, names and addresses are found by
the words around them, in English and Chinese.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Literal, NamedTuple

from ecomfs.errors import ConfigError
from ecomfs.screen.injections import HIDDEN_CHARACTERS

PersonalKind = Literal["email", "id", "card", "account", "order", "phone", "address", "name"]
INSTALL = "pip install 'ecomfs[privacy]'"
REGIONS = ("CN", "US", "GB")
"""Regions whose national phone numbers are found; other numbers must begin with +."""
_LEAST_DIGITS = 7
_WINDOW = 4
"""Characters before and after digits that decide whether they are a phone number."""
_STEP, _LOOKS = 40, 100
"""Long runs of digits are searched in overlapping parts, at most this many."""


class PersonalSpan(NamedTuple):
    """A piece of personal data: ``text[start:end]``."""

    start: int
    end: int
    kind: PersonalKind


@lru_cache(maxsize=4096)
def personal_spans(text: str) -> tuple[PersonalSpan, ...]:
    """The personal data in a text, from left to right, without overlaps. The packages of the extra
    ``privacy`` must be installed (:func:`check_installed`).

    >>> text = "Order no. 47-11, write to wei@example.com"
    >>> [(text[s.start : s.end], s.kind) for s in personal_spans(text)]
    [('47-11', 'order'), ('wei@example.com', 'email')]
    """
    view, places = _plain(text)
    digits = len(_DIGIT.findall(view))
    found = sorted(span for least, find in _FINDERS if digits >= least for span in find(view))
    joined: list[PersonalSpan] = []
    for span in found:
        if joined and span.start < joined[-1].end:
            before = joined.pop()
            longer = max(before, span, key=lambda s: s.end - s.start)
            span = PersonalSpan(before.start, max(before.end, span.end), longer.kind)
        joined.append(span)
    if places is None:
        return tuple(joined)
    return tuple(PersonalSpan(places[s.start], places[s.end - 1] + 1, s.kind) for s in joined)


def check_installed() -> None:
    """Check that the packages for masking are installed.

    Raises:
        ConfigError: one is not installed; the hint says how to install it.
    """
    for name in ("phonenumbers", "stdnum"):
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(f"masking needs the package {name}", hint=INSTALL) from error


_DIGIT = re.compile(r"\d")


class _Looks(dict[int, int]):
    """A character → the plain digit, letter or mark that it looks like."""

    def __missing__(self, code: int) -> int:
        char = chr(code)
        digit = unicodedata.decimal(char, None)
        if digit is not None:
            found = ord(str(digit))
        elif 0xFF01 <= code <= 0xFF5E:
            found = code - 0xFEE0
        elif char in "\u00a0\u2002\u2003\u2009\u3000":
            found = ord(" ")
        elif char in "‐‑‒–—−":
            found = ord("-")
        else:
            found = code
        self[code] = found
        return found


_looks = _Looks()


def _plain(text: str) -> tuple[str, list[int] | None]:
    """A text with plain digits and marks and without invisible characters, and the original
    position of each character; ``None`` if positions are the same."""
    if text.isascii():
        return text, None
    view = text.translate(_looks)
    if not HIDDEN_CHARACTERS.search(view):
        return view, None
    places = [i for i, c in enumerate(view) if not HIDDEN_CHARACTERS.match(c)]
    return "".join(view[i] for i in places), places


_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"
)


def _emails(text: str) -> Iterator[PersonalSpan]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield PersonalSpan(match.start(), match.end(), "email")


_ID_CARD = re.compile(r"(?<![\dA-Za-z])\d{17}[\dXx](?![\dA-Za-z])")
_SSN = re.compile(r"(?<![\dA-Za-z-])\d{3}-\d{2}-\d{4}(?![\dA-Za-z-])")
_SAID_ID = re.compile(
    r"(?:身份证|证件|护照|通行证|驾驶证|id card|identity card|passport|driver'?s licen[cs]e"
    r"|social security|national id|\bssn)(?:号码|号|编号| ?(?:number|no\b\.?|num|#|id))?"
    r"(?: ?(?:is|was|是|为))?[\s:=]{0,3}(?P<value>[A-Za-z]{0,2}\d[\d-]{5,18}[\dXx]?)(?![\dA-Za-z])",
    re.IGNORECASE,
)


def _ids(text: str) -> Iterator[PersonalSpan]:
    for match in _SAID_ID.finditer(text):
        yield PersonalSpan(match.start("value"), match.end("value"), "id")
    for match in _ID_CARD.finditer(text):
        if _is_id_card(match[0].upper()):
            yield PersonalSpan(match.start(), match.end(), "id")
    for match in _SSN.finditer(text):
        from stdnum.us import ssn

        if ssn.is_valid(match[0]):
            yield PersonalSpan(match.start(), match.end(), "id")


def _is_id_card(number: str) -> bool:
    """Whether a number has a valid date of birth and check digit. The code of the place of birth is
    not checked, since the list of places changes."""
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    with suppress(ValidationError):
        ric.get_birth_date(number)
        return bool(ric.calc_check_digit(number) == number[-1])
    return False


_CARD = re.compile(
    r"(?<![\dA-Za-z])(?:3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{3,4}"
    r"(?:[ -]?\d{1,3})?)(?![\dA-Za-z])"
)
_IBAN = re.compile(r"(?<![\dA-Za-z])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_SAID_CARD = re.compile(
    r"(?:银行卡|储蓄卡|信用卡|借记卡|卡号|银行账[户号]|(?:credit|debit|bank) card"
    r"|card(?= ?(?:no|num|#))|bank account)(?:号码|号|账号|卡号| ?(?:number|no\b\.?|num|#))?"
    r"(?: ?(?:is|was|是|为))?[\s:=]{0,3}(?P<value>\d(?:[ -]?\d){7,18})(?!\d)",
    re.IGNORECASE,
)


def _cards(text: str) -> Iterator[PersonalSpan]:
    for match in _SAID_CARD.finditer(text):
        yield PersonalSpan(match.start("value"), match.end("value"), "card")
    for match in _CARD.finditer(text):
        from stdnum import luhn

        if luhn.is_valid(re.sub(r"\D", "", match[0])):
            yield PersonalSpan(match.start(), match.end(), "card")
    for match in _IBAN.finditer(text):
        from stdnum import iban

        if iban.is_valid(match[0]):
            yield PersonalSpan(match.start(), match.end(), "card")


_ACCOUNT = re.compile(
    r"(?:微信|威信|(?<![A-Za-z])(?:we ?chat|weixin|vx|wx|qq)|v信|扣扣|旺旺|支付宝|"
    r"\b(?:alipay|telegram|whatsapp|skype|instagram|snapchat|line id|kakao))"
    r"(?P<said> ?(?:号码|账号|帐号|号|id|account|user ?name|handle|number|no\b\.?))?"
    r"(?: ?(?:is|are|是|为))?(?P<mark>\s?[:=@]\s?|\s{0,2})"
    r"(?P<value>[A-Za-z0-9][-_.A-Za-z0-9]{4,29})",
    re.IGNORECASE,
)


def _accounts(text: str) -> Iterator[PersonalSpan]:
    for match in _ACCOUNT.finditer(text):
        value = match["value"].rstrip(".-_")
        named = bool(match["said"]) or bool(match["mark"].strip())
        # After "WeChat" alone only a number is an account, no word; "wx842430" is a product code.
        number = value.isdigit() and match[0][:2].casefold() not in ("wx", "vx")
        if named or number:
            yield PersonalSpan(match.start("value"), match.start("value") + len(value), "account")


_ORDER_ZH = re.compile(
    r"(?:(?:订单|交易|退款|退货|换货|售后|快递|物流|运单|货运|发货|包裹|发票|流水|取件|工单|投诉|支付"
    r"|采购|客户|会员)(?P<said>编号|单号|号码|号|流水号|码)?|(?P<alone>单号|运单号|流水号|取件码))"
    r"(?:\s?(?:[是为:=#]|No\.?)){0,3}\s{0,2}[(\[【「“\"]?(?P<value>[A-Za-z0-9][A-Za-z0-9-]{3,35})",
    re.IGNORECASE,
)
_ORDER_EN = re.compile(
    r"\b(?:(?:order|tracking|invoice|waybill|shipment|parcel|package|return|refund|rma|booking"
    r"|reference|ref|transaction|purchase|ticket|case|confirmation|consignment|delivery|receipt"
    r"|membership|customer|claim)(?:\s(?:order|shipping|tracking|reference))?)"
    r"(?P<said>\s?(?:numbers?|no\b\.?|num\b\.?|ids?\b|codes?|ref(?:erence)?|#))?"
    r"(?:\s?(?:is|was|:|=|#|\()){0,3}\s{0,2}(?P<value>[A-Za-z0-9#][A-Za-z0-9-]{2,35})",
    re.IGNORECASE,
)


_ORDER_MORE = re.compile(
    r"\s?(?:和|及|与|、|,|/|and|or|&)\s?(?P<value>[A-Za-z0-9][A-Za-z0-9-]{3,35})"
)
_ORDER_MORE_DIGITS = 4


def _orders(text: str) -> Iterator[PersonalSpan]:
    for pattern, named, alone in ((_ORDER_ZH, 4, 8), (_ORDER_EN, 3, 5)):
        for match in pattern.finditer(text):
            said = any(value for name, value in match.groupdict().items() if name != "value")
            least: int = named if said else alone
            value: re.Match[str] | None = match
            while value is not None and sum(c.isdigit() for c in value["value"]) >= least:
                start = value.start("value")
                end = start + len(value["value"].rstrip("-"))
                yield PersonalSpan(start, end, "order")
                value, least = _ORDER_MORE.match(text, end), _ORDER_MORE_DIGITS


_DIGITS = re.compile(r"\d(?:[ ().\-/]{0,3}\d){6,}")
_MOBILE_CN = re.compile(r"(?<![\dA-Za-z])(?:\+?86[ -]?)?1[3-9](?:[ -]?\d){9}(?![\dA-Za-z])")
_FORM_US = re.compile(
    r"(?<![\dA-Za-z.-])(?:\+?1[-. ]?|001[-. ])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-. ]\d{4}"
    r"(?: ?(?:x|ext\.?) ?\d{1,5})?(?![\dA-Za-z-])"
)
_SAID_PHONE = re.compile(
    r"(?:(?:联系|收货|手机|座机|固定)?电话|手机号码?|手机|座机|热线|传真|\b(?:tel(?:ephone)?|mobile|cell"
    r"|phone|fax|whatsapp|hotline)(?: ?(?:number|no\b\.?|num|#))?(?= ?(?:is\b|was\b|at\b|[:.+(\d]))"
    r"|\b(?:call|text|ring|phone|reach|contact) (?:me|us|him|her|them)(?: back)? (?:at|on)"
    r"|my number)(?: ?(?:号码|号|is|was|at|是|为))?[\s:.=]{0,3}"
    r"(?P<value>\+?\(?\d(?:[ ().-]{0,2}\d){6,14})(?![\dA-Za-z])",
    re.IGNORECASE,
)


def _phones(text: str) -> Iterator[PersonalSpan]:
    chunks = [*_DIGITS.finditer(text)]
    if not chunks:
        return
    for pattern, group in ((_SAID_PHONE, "value"), (_MOBILE_CN, 0), (_FORM_US, 0)):
        for match in pattern.finditer(text):
            yield PersonalSpan(match.start(group), match.end(group), "phone")
    looks = 0
    for chunk in chunks:
        for begin in range(chunk.start(), chunk.end(), _STEP):
            looks += 1
            if looks > _LOOKS:  # with so many digits, all are masked
                yield PersonalSpan(begin, chunk.end(), "phone")
                break
            start, end = max(0, begin - _WINDOW), min(chunk.end(), begin + 2 * _STEP) + _WINDOW
            for a, b in _phone_numbers(text[start:end]):
                yield PersonalSpan(start + a, start + b, "phone")
            if begin + 2 * _STEP >= chunk.end():
                break


def _phone_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Phone numbers by the rules of each region. Digits with gaps count only if they are grouped
    like phone numbers of the region; sizes are not."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in REGIONS:
        for leniency in (Leniency.VALID, Leniency.STRICT_GROUPING):
            for match in PhoneNumberMatcher(text, region, leniency=leniency):
                gaps = len(re.findall(r"\d\D+(?=\d)", match.raw_string))
                if not gaps or leniency == Leniency.STRICT_GROUPING:
                    yield match.start, match.end


_HAN = "\u4e00-\u9fff"
_PROVINCE = (
    "北京|上海|天津|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东"
    "|海南|四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_PART = r"[\dA-Za-z一二三四五六七八九十百]{1,6}(?:-\d{1,4}){0,2}\s?"
_INSIDE = rf"(?:[,，]?\s?{_PART}(?:号楼|号院|号|弄|栋|幢|座|单元|室|楼|层|房|期|区)){{0,5}}"
_ADMIN = (
    rf"(?:(?:{_PROVINCE})(?:省|市|壮族自治区|回族自治区|维吾尔自治区|自治区|特别行政区)?\s?)?"
    rf"(?:[{_HAN}]{{1,6}}?(?:市|自治州|地区|盟)\s?)?(?:[{_HAN}]{{1,5}}?(?:区|县|旗)\s?)?"
    rf"(?:[{_HAN}]{{1,6}}?(?:街道|镇|乡|村)\s?)?"
)
_ADDRESS_ZH = re.compile(
    rf"{_ADMIN}(?:[{_HAN}]{{1,6}}?(?:(?:大道|大街|胡同|路|街|巷)\s?{_PART}|[弄里]\s?\d{{1,5}}\s?)"
    r"(?:号楼|号院|号|弄|栋|幢|座)"
    rf"|[{_HAN}]{{2,7}}?(?:小区|花园|公寓|大厦|新村|家园|花苑|嘉园|广场|园区|校区)\s?{_PART}"
    rf"(?:号楼|号院|号|栋|幢|座|单元)){_INSIDE}(?:\s?\d{{6}}(?!\d))?"
)
_ROAD_ZH = re.compile(
    r"(?:大道|大街|胡同|路|街|巷|弄|里|小区|花园|公寓|大厦|新村|家园|花苑|嘉园|广场|园区|校区)"
    r"\s?[\dA-Za-z一二三四五六七八九十百]"
)
_LEAD = re.compile(
    rf"^[{_HAN}]{{0,4}}?(?:地址|住在|住址|寄到|寄往|送到|送至|发到|发往|家在|改到|改成|改为|位于|到了|[在到是从给往])"
)
"""Words before an address that are not part of it."""
_STREET = "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Boulevard|Blvd|Highway|Hwy|Parkway|Pkwy|Crescent"
_OPEN_STREET = "Drive|Dr|Court|Ct|Way|Place|Pl|Terrace|Square|Close|Circle|Cir"
"""Street words that are common in product names too: an address only if more of one follows."""
_UNIT = r"(?:,?\s(?:Apt|Apartment|Suite|Ste|Unit|Flat|Room)\b\.?\s?#?[\w-]{1,6}|,?\s#\s?\w{1,5})"
_TOWN = r"(?:,\s?[A-Z][a-z'.-]{1,20}(?:\s[A-Z][a-z'.-]{1,20}){0,2})"
_ZIP = r"(?:,?\s(?:[A-Z]{2}\s\d{5}(?:-\d{4})?|\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}))"
_ADDRESS_EN = re.compile(
    r"(?<![\w.$€£-])\d{1,6}[A-Za-z]?,?\s(?:[NSEW]\.?\s)?(?:[A-Z][a-z'’]{1,20}\s|\d{1,3}(?:st|nd|rd|th)"
    rf"\s){{1,4}}(?:(?:{_STREET})\b\.?{_UNIT}?{_TOWN}?{_ZIP}?"
    rf"|(?:{_OPEN_STREET})\b\.?(?:{_UNIT}{_TOWN}?{_ZIP}?|{_TOWN}{_ZIP}?|{_ZIP}))"
    rf"|(?<![\w.$€£-])\d{{1,6}}\s(?:[A-Z][a-z'’]{{1,20}}\s?){{2,4}}{_UNIT}?{_TOWN}{_ZIP}"
    r"|\bP\.?\s?O\.?\sBox\s#?\d{1,6}\b"
)


def _addresses(text: str) -> Iterator[PersonalSpan]:
    for match in _ADDRESS_ZH.finditer(text) if _ROAD_ZH.search(text) else ():
        lead = _LEAD.match(match[0])
        start = match.start() + (lead.end() if lead else 0)
        yield PersonalSpan(start, match.end(), "address")
    for match in _ADDRESS_EN.finditer(text) if _DIGIT.search(text) else ():
        yield PersonalSpan(match.start(), match.end(), "address")


_SURNAME = (
    "(?:欧阳|司马|上官|诸葛|夏侯|皇甫|尉迟|公孙|慕容|司徒|令狐|端木|[王李张刘陈杨赵黄周吴徐孙胡朱高林何郭"
    "马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖"
    "邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊殷施陶洪翟安颜倪严牛温季"
    "俞章鲁葛伍韦申尤毕聂焦柳邢岳齐梅莫庄辛祝左谷祁舒耿牟詹关苗凌费纪靳盛童欧甄项曲裴席卫])"
)
_NAME_ZH = re.compile(
    rf"(?:(?:联系人|户名|姓名)(?=[\s:是为])|收件人|收货人|寄件人|签收人|持卡人|购买人|下单人|收款人"
    rf"|我叫|名叫|名字[叫是])(?:姓名|名字)?[\s:是为]{{0,3}}"
    rf"(?:(?P<closed>(?![他她它你我们什])[{_HAN}]{{2,3}}(?=[\s,，。;；、!！]|$))|(?P<said>{_SURNAME}[{_HAN}]{{1,2}}))"
    rf"|(?<![携蒙华])(?P<titled>{_SURNAME})(?:先生|女士|小姐(?!姐)|太太)"
    rf"|(?:^|(?<=[\s,，。;；:：!！?？、]))(?P<whole>{_SURNAME}[{_HAN}]{{1,2}})(?:先生|女士|小姐(?!姐)|太太)"
)
_TITLE = r"(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.?\s)?"
_AFTER_NAME = r"(?:\s(?:MD|DDS|PhD|DVM|Jr|Sr|II|III|IV)\b\.?)?"
_WORD_OF_NAME = r"[A-Z][a-z]+(?:['’-][A-Z]?[a-z]+)?"
_NAME_EN = re.compile(
    r"(?:\b(?i:my (?:full )?name is|(?:full|customer|recipient|buyer|sender|cardholder|first|last)"
    r" name(?: is|:)|recipient:|addressee:|cardholder:|attn[:.]|ship(?:ped)? to:|deliver to:"
    r"|regards,|sincerely,|signed:?)\s{1,2}"
    rf"(?P<said>{_TITLE}{_WORD_OF_NAME}(?:\s(?:[A-Z]\.\s)?{_WORD_OF_NAME}){{0,2}}{_AFTER_NAME}))"
    rf"|\b(?:Mr|Mrs|Ms|Miss)\b\.?\s(?P<titled>{_WORD_OF_NAME}(?:\s{_WORD_OF_NAME})?)"
)
_NO_NAMES = re.compile(
    r"Bean|Beast|Big|Bubble|Clean|Coffee|Heater|Lid|Meyer|Meyers|Meyer's|Muscle|Peanut|Pen|Perfect"
    r"|Potato|Right|Robot|Steam|Customer|Madam|Seller|Sir|Team"
)
"""Words after Mr and Mrs in names of brands and things."""


def _names(text: str) -> Iterator[PersonalSpan]:
    for pattern in (_NAME_ZH, _NAME_EN):
        for match in pattern.finditer(text):
            group = match.lastgroup
            if group is not None and not _NO_NAMES.fullmatch(match[group].split()[0]):
                yield PersonalSpan(match.start(group), match.end(group), "name")


_FINDERS: tuple[tuple[int, Callable[[str], Iterator[PersonalSpan]]], ...] = (
    *((0, _emails), (6, _ids), (8, _cards), (0, _accounts)),
    *((3, _orders), (_LEAST_DIGITS, _phones), (0, _addresses), (0, _names)),
)
"""The finders, each with the fewest digits in a text for which it is run."""

__all__ = ["INSTALL", "PersonalKind", "PersonalSpan", "check_installed", "personal_spans"]
