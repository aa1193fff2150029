"""Sentences around personal data, and texts without any that look as if they had some, for the benchmark of scrubbing.

Of each there are two lists: the rules of the scrubber were adjusted while looking at the first, the figures are from the second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from benchmarks import scrub_values as values

GOODS = [
    "索尼降噪耳机", "羽绒服 男 xl", "iphone 15 128gb", "红色连衣裙 42码", "不锈钢保温杯 500ml", "儿童电话手表", "小米14 8+256", "手机壳", "birthday candles set of 12", "red running shoes size 42",
    "usb c cable 2m", "LEGO 75192", "t-light holder 6 pack", "coffee grinder 220v", "kids raincoat 3-4 years", "polka dot bunting 5m", "DDR4 3200 16GB", "wall clock 30cm",
]  # fmt: skip


class Kind(NamedTuple):
    value: Callable[[Random], str]
    mark: str
    old: bool
    """Found by the scrubber before, too."""
    tuned: list[str]
    held_out: list[str]


ANY = [
    "{p} {v}",
    "{v} {p}",
    "联系 {v} 要{p}",
    "请问{p}有货吗，{v}",
    "{p}, contact {v} please",
    "reply to {v} about the {p}",
    "({v}) {p}",
    "我的是{v}，谢谢",
]
ANY += [
    "{p}到了通知我 {v}",
    "麻烦发到{v}谢谢",
    "looking for {p} / {v}",
    "{v}，{p}两件",
    "is {p} in stock? write {v}.",
    "【{v}】{p}",
    "need {p} asap, {v}!",
    "咨询{p}请找{v}",
]
ANY_NEW = [
    "{p}缺货登记{v}",
    "急！{v}，要{p}",
    "hi, {v} here, do you sell {p}?",
    "please ring or write: {v} ({p})",
    "{v};{p}",
    "从{p}页面来的，{v}",
    "buyer {v} wants {p}",
    "{p}（{v}）",
]

KINDS = {
    "e-mail address": Kind(values.email, "email", True, ANY, ANY_NEW),
    "telephone number": Kind(values.phone, "phone", True, ANY, ANY_NEW),
    "resident id": Kind(values.resident_id, "id", True, ANY, ANY_NEW),
    "payment card": Kind(values.card, "card", True, ANY, ANY_NEW),
    "IP address": Kind(values.ip, "ip", True, ["{p} {v}", "from {v} {p}", "服务器 {v} 上的{p}", "({v})", "{v} {p}", "ip {v} looking for {p}", "访问{v}看{p}", "my router is {v}, {p}"], ["{v}打不开{p}", "blocked {v}, {p}", "来自{v}的访问", "{p} @ host {v}"]),
    "link with credentials": Kind(values.url, "url", True, ["{p} {v}", "看 {v} 这个", "see {v} {p}", "{v} {p}", "打开 {v} 有{p}", "open {v} for {p}"], ["链接{v} 能买{p}吗", "login via {v}", "{v}"]),
    "WeChat": Kind(
        values.we_chat, "handle", False,
        ["加微信{v}要{p}", "微信号：{v} {p}", "vx {v} 看{p}", "wechat: {v} {p}", "{p} 加V {v}", "威信{v}", "我的微信是{v}", "WeChat ID {v}", "{p}请加微信 {v}", "微信:{v}", "薇信 {v} 详聊{p}", "VX：{v}，{p}", "add me on wechat {v} for {p}", "weixin {v}", "wx号{v} {p}", "加我微信号 {v}"],
        ["v信：{v}", "可以加我微信聊{p}吗 {v}", "my wechat: {v}", "WeChat {v}, {p}", "VX号:{v} {p}", "微信 {v}", "{p}私聊微信号{v}", "wx:{v}"],
    ),
    "QQ": Kind(values.qq, "handle", False, ["qq{v} {p}", "QQ：{v}", "加QQ {v} 咨询{p}", "扣扣{v}", "我的qq是{v}", "Q Q号 {v}".replace(" ", "", 1), "{p} QQ:{v}", "联系qq {v} {p}", "QQ群{v}"], ["QQ号码{v}", "{p}加q群 QQ群号：{v}", "企鹅QQ{v}", "qq: {v} wants {p}", "我qq {v}"]),
    "Telegram, WhatsApp, others": Kind(
        values.chat_name, "handle", False,
        ["telegram: {v} {p}", "{p} my telegram is {v}", "telegram id {v}", "instagram: {v}", "line id: {v} {p}", "skype:{v}", "Telegram account {v}, {p}", "tg: {v} {p}", "telegram号：{v}", "my skype id is {v}", "{p} - whatsapp id {v}", "snapchat: {v}"],
        ["find me on telegram: {v}", "Telegram ID: {v} {p}", "whatsapp: {v}", "discord: {v} {p}", "instagram id {v}", "skype account {v}"],
    ),
    "Chinese address": Kind(
        values.chinese_address, "address", False,
        ["寄到{v}", "地址：{v} {p}", "{p} 送到{v}，谢谢", "收货地址{v}", "{v} {p}", "我住在{v}", "{p}发到{v}可以吗", "请配送到 {v}", "收件地址：{v}，{p}", "{v}，{p}一个", "家住{v}", "快递到{v}要几天"],
        ["收货地：{v}", "{p}，请寄至{v}", "可以送货到{v}吗", "我家在{v}", "住址 {v} {p}", "{p}邮寄到{v}"],
    ),
    "English address": Kind(
        values.english_address, "address", False,
        ["ship to {v}", "{p} to {v} please", "my address is {v}", "deliver {p} to {v}", "{v} {p}", "can you send {p} to {v}?", "address: {v}", "{p}, {v}", "I live at {v}, is {p} in stock", "delivery to {v}"],
        ["shipping to {v}", "{p} please deliver it to {v}", "my home is {v}", "{v}: {p}", "post it to {v}"],
    ),
    "Chinese name": Kind(
        values.chinese_name, "name", False,
        ["收件人{v}，{p}", "收件人：{v} {p}", "联系人:{v}", "{p} 收货人 {v}", "姓名：{v}，要{p}", "我叫{v}", "寄件人：{v}，{p}", "{p} 收件人 {v} 电话后补", "联系人是{v}，{p}", "姓名:{v} {p}", "收货人姓名：{v}", "户名：{v}", "收款人{v}"],
        ["发件人{v}", "{p}，收货人：{v}", "签收人是{v}", "联系人 {v}，{p}", "客户姓名：{v}", "持卡人 {v}"],
    ),
    "English name": Kind(
        values.english_name, "name", False,
        ["ship to {v}, {p}", "recipient: {v}", "{p} name: {v}", "attn {v}", "deliver to {v}", "Ship to: {v}, {p}", "consignee: {v}", "for {p}, my name is {v}", "contact person: {v}", "send to {v}, {p}", "Attn: {v}"],
        ["Deliver to: {v}", "addressee: {v}, {p}", "customer name: {v}", "My name is {v}.", "{p}, c/o {v}", "shipped to {v} please"],
    ),
    "Chinese licence plate": Kind(values.chinese_plate, "plate", False, ["车牌{v} {p}", "{v} 脚垫", "{p}，车牌号：{v}", "{v}", "我的车是{v}", "{p} {v}", "车牌号码 {v} 定制{p}", "给{v}配{p}"], ["车牌：{v}，{p}", "爱车{v}", "{p}适合{v}吗", "车牌号是{v}"]),
    "English licence plate": Kind(values.english_plate, "plate", False, ["license plate {v} {p}", "number plate: {v}", "plate number {v}", "{p} for licence plate {v}", "my number plate is {v}", "registration plate {v}, {p}", "car reg {v}"], ["license plate: {v}", "{p} number plate {v}", "plate no {v}"]),
    "passport and papers": Kind(
        values.document, "document", False,
        ["护照号{v}", "护照：{v} {p}", "passport {v}", "passport no. {v}, {p}", "通行证 {v}", "台胞证号码：{v}", "我的护照是{v}", "{p} 证件号码 {v}", "回乡证:{v}", "passport number: {v}", "my passport is {v}", "驾驶证 {v}"],
        ["护照号码是{v}，{p}", "港澳通行证 {v}", "台胞证{v}", "passport # {v}", "travel document {v} {p}", "证件号：{v}"],
    ),
    "UnionPay card": Kind(values.union_pay, "card", False, ANY, ANY_NEW),
    "bank account": Kind(
        lambda draw: values.digits(draw, draw.choice([16, 17, 18])).replace("0", "7", 1), "card", False,
        ["卡号 {v}", "银行卡号：{v} {p}", "账号{v}", "account number {v}", "银行账号:{v}", "借记卡 {v} {p}", "bank account: {v}", "打到卡号{v}"], ["银行卡 {v}", "我的账号是{v}", "银联卡号：{v}", "account no. {v}"],
    ),
    "order and tracking number": Kind(
        values.order, "order", False,
        ["订单号{v} {p}", "快递单号：{v}", "order no. {v}", "tracking number {v}", "运单号 {v} 到哪了", "order #{v} {p}", "查一下单号{v}", "我的订单编号是{v}", "{p} order number: {v}", "where is parcel {v}", "物流单号 {v}，{p}", "tracking: {v}", "退款单号{v}"],
        ["订单 {v}", "{p}的运单号：{v}", "my order id is {v}", "tracking no. {v} {p}", "顺丰单号 {v}", "shipment number {v}", "invoice no {v}"],
    ),
    "token": Kind(values.token, "token", False, ["{v}", "token {v} {p}", "{p} {v}", "密钥：{v}", "key={v}", "Bearer {v}", "这个{v}怎么用", "api key: {v} {p}"], ["令牌：{v}", "access token: {v}", "{v} {p}", "hash {v}"]),
    "spelled e-mail address": Kind(values.spelled_email, "email", False, ["{p} {v}", "write to {v} please", "邮箱 {v}", "{v} for {p}", "mail me, {v}, about {p}", "contact: {v}"], ["e-mail: {v}", "{p}? {v}", "contact {v} now"]),
    "Chinese spelled e-mail address": Kind(values.chinese_spelled_email, "email", False, ["邮箱{v}", "{p} {v}", "发到{v}", "我的邮箱是 {v}，{p}"], ["电邮：{v}", "请写信给 {v} {p}"]),
    "e-mail address in a link": Kind(
        values.percent_email, "email", False, ["https://shop.example/u?mail={v} {p}", "看 www.shop.example/?e={v}", "http://a.example/unsubscribe/{v}", "{p} https://shop.example/?q=1&to={v}&x=2"], ["https://b.example/login?user={v}", "{p} http://s.example/r?x=1&mail={v}#top"]
    ),
    "telephone in Chinese numerals": Kind(values.numeral_phone, "phone", False, ["打{v} {p}", "电话：{v}", "{p} {v}", "手机{v}，{p}", "请拨{v}", "联系我{v}谢谢"], ["我的号码：{v}", "{p}联系{v}", "手机号是{v}"]),
    "local telephone": Kind(
        values.local_phone, "phone", False, ["电话{v} {p}", "座机：{v}", "tel {v}", "phone: {v}, {p}", "call {v} {p}", "固话 {v}，{p}", "联系电话：{v}", "Tel.: {v} {p}", "fax {v}", "my phone number is {v}", "传真:{v}"], ["办公室电话{v}", "热线：{v} {p}", "telephone {v}", "tel no {v}", "call me at {v} {p}", "mobile: {v}"],
    ),
    "mapped IPv6 address": Kind(values.mapped_ip, "ip", False, ["{p} {v}", "ip: {v}", "from [{v}] {p}", "地址 {v} 的{p}", "{v}"], ["host {v}", "{p}来自{v}", "[{v}]:8080"]),
}  # fmt: skip

HARMLESS = [
    "{p}", "{p} {p}", "sizes {n2} {n2} {n2} {n2}", "{n3}x{n3} cm {p}", "¥{n3}.{n2} {p}", "{p} 20{n2}-10-12", "型号 {A}{A}-{n4}{A} {p}", "SKU {A}{A}{n6}", "{n6} 螺丝 M{n1}x{n2}",
    "微信红包封面 {p}", "wechat gift card {n3}", "qq音乐会员 {n2}天", "姓名贴 定制 防水", "收件人信息保护章", "护照夹 真皮", "passport cover {p}", "license plate frame chrome", "车牌架 不锈钢",
    "order of the phoenix book {n1}", "polka dot dress size {n2}", "{n1}号电池 {n2}节", "{n2}号球衣", "{n1}栋积木小屋", "路由器 ax{n4}", "tracking shoes {n2}", "{n2} inch road bike wheel",
    "{n1} drawer chest of drawers", "{n3} piece street lights set", "set of {n1} square place mats", "一二三四五 数字卡片", "ship to germany", "ship in a bottle {n2}", "name plate for door",
    "联系人手机本", "身份证复印机", "call of duty {n4}", "ISBN 978-3-16-148410-0", "token ring {n2}mm", "secret garden-colouring-book-for-adults", "phone {n2} {n3}gb", "京A级 头盔 {n2}",
    "快递单打印纸 {n3}张", "订单本 {n2}页", "银行卡套 {n2}个", "telegram style wall print {n2}x{n2}", "{n2} oak place mats {n4}", "卡号贴纸", "全新ES{n3}H 脚垫", "www.shop.example/{p}?q={n3}",
]  # fmt: skip
HARMLESS += [
    "{p} {n2}件", "{n2}/{n2} R{n2} 轮胎", "£{n2}.{n2} {p}", "{p} 2x {n3}ml", "art. no {n6}", "{A}{n4}{A}{A} compatible cartridge", "item {n5}{A}", "{n2}号色 口红", "10.{n2}.20{n2} 新款 {p}",
    "微信美颜相机 {p}", "微信小程序 开发", "whatsapp sticker pack {n2}", "QQ 靓号 {p}".replace("靓号", "公仔"), "姓名印章 {n2}mm", "联系人便签", "护照包 {n1}卡位", "passport holder {n2}", "number plate screws {n2} pcs",
    "border collie order sheet", "{n2} dot matrix printer", "{n2}号线地铁模型", "{n1}单元门 对讲机", "街头篮球 {n1}号", "道路反光镜 {n2}cm", "way of kings vol {n1}", "{n2} road trip games", "{n1} tier drive bay",
    "{n2} x court shoes", "七八九十月 日历", "deliver to door service", "shipping box {n2}x{n2}x{n2}", "name necklace gold {n2}k", "收货架 {n1}层", "驾照套 皮", "mobile phone holder {n4}", "sms {n4}",
    "EAN 4006381333931", "ring size {n2}", "key ring {n4}", "telescope {n2}x{n3}", "新A4L {n4} 款 脚垫", "快递袋 {n2}x{n2}", "order book {n4}", "卡包 {n2}卡位", "line dance cd {n1}", "signal lamp {n2}v {n4}",
    "{n2} park hill lane puzzle pieces".replace("lane ", ""), "a4 card {n3}gsm 100 sheets", "信用卡刀 {n2}", "https://shop.example/item/{n6}?colour=red", "小区门禁卡 {n1}号", "建设路桥模型 {n2}",
]  # fmt: skip

HARMLESS_NEW = ["{p} 第{n1}代", "{p} 规格{n2}*{n2}*{n2}mm", "${n2}.99 {p}", "货号{n6} {p}", "款号：{A}{A}{n5}", "{n2}周年 {p}", "MPN {A}{n3}-{n4}", "size {n2}-{n2}", "{n4}x{n4}px wallpaper", "微信公众号运营 书", "wechat pay sticker {n2}cm", "qq糖 {n3}g", "姓名牌 金属 {n2}mm", "收件人栏 便签本", "护照套 情侣", "passport wallet {n1} slots", "license plate light bulb", "车牌螺丝 m{n1}", "{n1}号楼 门牌 定制", "{n2}栋 沙盘 模型", "{n1}号车厢 玩具火车", "court shoes size {n1}", "street style jacket {n2}", "road atlas 20{n2}", "drive shaft {n4}", "place mat round {n2}cm", "tracking pixel book", "order form pad {n3}", "invoice book a5", "card game {n2} cards", "bank notes album", "二三四六级 英语", "一二年级 口算", "shipping labels {n3} pcs", "ship model 1:{n3}", "name tag maker", "contact lens case", "attention deficit book", "send off balloons", "post card set {n2}", "mail box {n2}cm", "telegraph poles 1:{n2}", "signal cable {n1}m", "line drawing book", "联系方式 挪车牌", "联系人姓名贴", "电话手表 {n2}", "电话线 {n2}米", "座机 子母机 {n4}", "fax paper {n3}", "call bell {n1}", "EAN 012345678905", "GTIN 04006381333931", "ax{n4} wifi6", "苏E款 围巾", "京B 口红 {n3}", "川A系列 火锅 {n2}", "token {n3} pcs", "api book", "secret santa gift {n2}", "at the beach print {n2}x{n2}", "polka dot at home dress", "https://www.shop.example/c/{n4}-shoes?page={n1}", "{p} v{n1}.{n1}.{n2}", "{n2}:{n2}:{n2} timer", "mac 00:1B:44:11:3A:B7 label", "快手菜 {n1}道", "加微距镜头 {n2}mm", "QQ星 牛奶 {n3}ml", "小红书同款 {p}", "微博热搜 {p}", "抖音网红 {p} {n3}"]  # fmt: skip


class Labelled(NamedTuple):
    text: str
    kind: str
    """A name of ``KINDS``, or "" for a text without personal data."""
    begin: int
    end: int


def labelled(seed: int, count: int, *, held_out: bool) -> Iterator[Labelled]:
    """``count`` texts, two of three with something personal, kinds in turn."""
    draw = Random(seed)
    names = list(KINDS)
    for number in range(count):
        if number % 3 == 2:
            yield Labelled(fill(draw, draw.choice(HARMLESS_NEW if held_out else HARMLESS)), "", 0, 0)
            continue
        name = names[(number - number // 3) % len(names)]
        kind = KINDS[name]
        value = kind.value(draw)
        before, after = draw.choice(kind.held_out if held_out else kind.tuned).split("{v}")
        before, after = fill(draw, before), fill(draw, after)
        yield Labelled(before + value + after, name, len(before), len(before) + len(value))


def fill(draw: Random, template: str) -> str:
    text = re.sub(r"\{n(\d)\}", lambda match: values.digits(draw, int(match[1])), template.replace("{p}", "\0"))
    text = re.sub(r"\{A\}", lambda _: draw.choice(values.PLATE_LETTERS), text)
    return re.sub("\0", lambda _: draw.choice(GOODS), text)
