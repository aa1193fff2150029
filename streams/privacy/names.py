"""Names of people, where the text says that one follows: 收件人, 联系人, ship to, attn.

A Chinese name begins with a surname and ends where the text, a mark or a word that follows names begins. An English name has capitals, or
stands between a colon and an end, or before the mark of an address or a number. Names without such a word are not found: half of all
surnames are ordinary words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from streams.privacy.kinds import mark

NAME = mark("name")

_SURNAMES = (
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏窦章云苏潘葛奚范彭郎鲁韦昌马苗凤方俞任袁柳酆鲍史唐费廉岑薛"
    "雷贺倪汤滕殷罗毕郝邬安常乐于傅皮卞齐康伍余元卜顾孟平黄穆萧尹姚邵湛汪祁毛禹狄米贝明臧伏成戴谈宋茅庞熊纪舒屈项祝董梁杜阮蓝闵席季麻强贾"
    "路娄危江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡凌霍虞万支柯昝管卢莫房裘缪干解应宗丁宣贲邓郁单杭洪包诸左石崔吉钮龚程嵇邢滑裴陆荣翁荀羊於惠"
    "甄曲封芮羿储靳汲邴糜松井段巫乌焦巴弓牧隗山谷车侯宓蓬郗班仰秋仲伊宫宁仇栾暴甘钭厉戎祖武符刘景詹束龙叶幸司韶郜黎蓟薄印宿白怀蒲邰鄂索咸"
    "籍赖卓蔺屠蒙池乔阴鬱胥苍闻莘党翟谭贡劳逄姬申扶堵冉宰郦雍郤璩桑桂濮牛寿边扈燕冀郏浦尚农温庄晏柴瞿阎慕连茹习宦艾鱼容向古易慎戈廖庾暨衡"
    "耿弘匡国文寇广禄阙东欧殳沃利蔚夔隆师巩厍聂晁勾敖融冷訾辛阚简饶曾毋沙乜鞠丰巢关蒯查荆游竺权逯盖桓公闫肖代付涂覃占尧苑仝楚佟鹿郇岳帅亓"
    "青哈年爱阳佘商牟墨候迟苟隋由劉陳張楊黃趙吳馬許鄭謝羅韓鄧馮葉蘇盧蔣賈閻龍萬錢湯鄒陸龔關顧嚴賴龐"
)
"""The Hundred Family Surnames without those that are rather ordinary words, and some that are frequent now."""
_DOUBLE = "欧阳|上官|司马|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|令狐|夏侯|长孙|端木|南宫|独孤|轩辕|宇文"
_HAN = r"\u4e00-\u9fff"
_ZH = re.compile(
    r"(?:(?:收件|收货|联系|寄件|发件|收款|签收|持卡|开户)人(?:姓名|名字?)?|我叫) ?[:=是为]? ?"
    r"|(?:(?:收货|收件|客户|真实|本人)?姓名|户名|名字|收件|收货|联系)(?: ?[:=] ?|[是为叫] ?)"
)
_ZH_PARTS = ("人", "名", "我叫", "收件", "收货", "联系")
"""Without one of these, the pattern need not be tried."""
_ZH_NAME = re.compile(rf"(?:{_DOUBLE})[{_HAN}]{{1,2}}|[{_SURNAMES}][{_HAN}]{{1,2}}|[{_HAN}]{{2,6}}(?:\.[{_HAN}]{{2,6}}){{1,3}}")
_AFTER_NAME = re.compile(
    r"(?![\u4e00-\u9fff])|先生|女士|小姐|太太|老师|同学|收|电话|手机|座机|地址|住|微信|身份|护照|邮|号|请|谢|寄|送|的|和|在|卡|银行"
    r"|订单|qq",
    re.IGNORECASE,
)
_NOT_NAMES = re.compile(
    "方便|方形|高级|高档|高端|金属|金色|黄金|黄色|白色|白金|石头|包包|毛绒|管理|文件|文具|车贴|安全|安装|简约|古风|应急|关系|关注"
    "|解决|单位|单独|万能|常用|易碎|任意|向日|路由|游戏|左右|季节|"
    "关于|房间|牛皮|明细|平板|成本|时尚|云端|宣传|支付|家庭|广告|国家|文化|东西|利用|方法|查询|查看|权限|公司|常见|印章|荣誉|明星|连接|温馨"
)

_QUALIFIERS = r"(?:full |first |last |customer |customer's |my |billing |shipping |recipient |contact |receiver )?"
_EN = re.compile(
    rf"(?<![A-Za-z_\-])(?P<word>{_QUALIFIERS}name(?: is)?|c/o|addressee|consignee|recipient)(?P<one>[ .]?[:\-=]? ?)"
    r"|(?<![A-Za-z])(?P<verb>(?:ship(?:ped|ping)?|deliver(?:ed|y)?|send|mail|post)(?: (?:it|this|these|them))? to|attn\.?"
    r"|attention(?: of)?|contact person|my name is)"
    r"(?P<two>[ ]?[:\-=]? ?)",
    re.IGNORECASE,
)
_EN_PARTS = (" to", "name", "attn", "attention", "c/o", "addressee", "consignee", "recipient", "contact person")
_NOT_OF_PEOPLE = re.compile(
    r"(?:colou?r|brand|product|item|model|file|user|shop|store|company|game|street|character|team|dog|pet|cat|domain|host|design"
    r"|style|fabric|font|code|band|book|song|place|"
    r"common|latin|trade|plant|paint|shade|display|screen|variant|set) ?\Z",
    re.IGNORECASE,
)
"""What stands before "name" where it is not a person's."""
_TITLE = r"(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\.? )?"
_CAPITAL = r"[A-Z\u00c0-\u00de][A-Za-z'\u00c0-\u024f\-]{1,20}"
_CAPITALS = re.compile(rf"{_TITLE}{_CAPITAL}(?: [A-Z]\.?(?= ))?(?: (?:van|von|de|der|den|di|da|la)(?= )){{0,2}}(?: {_CAPITAL}){{1,2}}")
_ANY_CASE = re.compile(r"(?:(?:mr|mrs|ms|miss|dr)\.? )?[a-z\u00df-\u024f'\-]{2,20}(?: [a-z\u00df-\u024f'\-]{2,20}){1,2}", re.IGNORECASE)
_ENDS = re.compile(r" ?(?:$|[,;.<\n(|/]|\d| -)")
_BEFORE_MARK = re.compile(r"[ ,;:.\-]{0,3}<(?:address|phone|email|card|id)>|[ ,]{0,2}(?:at|,) <address>")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLACES = _words(
    "new united south north west east hong kong san los las saudi sri costa puerto rico el great northern czech dominican home "
    "address the my our your store shop door work office school all usa uk eu us free next every cape buenos aires rio tel kuala "
    "abu dhabi sao saint port fort mexico republic isle royal customer business amazon europe germany france spain italy china "
    "japan korea canada australia ireland poland sweden india brazil states kingdom zealand africa america please and or in on of "
    "for with by from to day days worldwide international overseas locker post pickup point warehouse local color colour brand "
    "product item model gift box card set size white black red blue green sales department team customs support service manager"
)


def replace_names(text: str) -> str:
    """The text with such names replaced by their mark; marks of other kinds must stand there already.

    >>> replace_names("收件人张伟 <phone>"), replace_names("ship to Anna Schmidt, please"), replace_names("ship to New Zealand")
    ('收件人<name> <phone>', 'ship to <name>, please', 'ship to New Zealand')
    """
    if not text.isascii() and any(map(text.__contains__, _ZH_PARTS)):
        text = _replace(text, _ZH, _chinese)
    return _replace(text, _EN, _english) if any(map(text.lower().__contains__, _EN_PARTS)) else text


def _replace(text: str, says: re.Pattern[str], end_of: Callable[[str, re.Match[str]], int]) -> str:
    pieces: list[str] = []
    kept = 0
    for word in says.finditer(text):
        end = end_of(text, word) if word.start() >= kept else 0
        if end:
            pieces += (text[kept : word.end()], NAME)
            kept = end
    pieces.append(text[kept:])
    return "".join(pieces)


def _chinese(text: str, word: re.Match[str]) -> int:
    """Where the name after the word ends; 0 if there is none."""
    begin = word.end()
    name = _ZH_NAME.match(text, begin)
    if not name or _NOT_NAMES.match(text, begin):
        return 0
    if "." in name.group():
        return name.end()
    shortest = begin + (3 if re.match(_DOUBLE, name.group()) else 2)
    # 张伟电话 is 张伟 and a telephone, 张伟明电话 has a longer name.
    return next((end for end in (shortest, name.end()) if end <= name.end() and _AFTER_NAME.match(text, end)), 0)


def _english(text: str, word: re.Match[str]) -> int:
    """As above."""
    begin = word.end()
    said = word["one"] if word["word"] else word["two"]
    if not said or (word["word"] and _NOT_OF_PEOPLE.search(text, max(0, word.start() - 12), word.start())):
        return 0
    if said.isspace() and word["word"] and word["word"].lower().endswith("name"):
        return 0  # a name necklace
    name = _CAPITALS.match(text, begin)
    if name:
        return 0 if _names_place(name.group()) else name.end()
    name = _ANY_CASE.match(text, begin)
    if not name or _names_place(name.group()):
        return 0
    return name.end() if _BEFORE_MARK.match(text, name.end()) or (":" in said and _ENDS.match(text, name.end())) else 0


def _names_place(words: str) -> bool:
    return not _PLACES.isdisjoint(words.lower().split())
