"""The words that synthetic observations are made of: common ones, names, and a long tail.

They hold the words of the planted facts, and those of the questions about them, so that neither is
found by its vocabulary alone.
"""

from __future__ import annotations

import random


def _split(text: str) -> list[str]:
    return text.split()


COMMON = _split("""
the of and to a in is was for on with as at by it that this from be are not or an which after while
all more when were has had its one new they their been but can who will would there if no out so up
what about into than them only other some could time these two may then do first any my now such
like our over also back even most way where much before through each between because under same
""")

TOPICS = _split("""
access account agreement allergic answer approve approved archive arrived assigned aunt backup bag
balance battery bearing blocked board boat box bracket branch broken budget bug build cable cancel
cancelled card cargo carrier carton cause change charge check checked clerk client clock cluster
code cold colleague colleagues commit company component condition configured contract cooling copy
cost counter crash crew critical customs cut daily damaged data deadline default defect delay
deliver delivered delivery depart deployment depot desk details device dinner disk dock document
door down draft drive driver due early eat edge effect email empty ended engine error evening
exceeded expected expire expired export failed failure fan fault fee field file finance firmware
floor flow food form found freight gate gateway goods graph group grew guard handler hanging harbour
heat heavy held help high hour hours idle import index inside inspection install insurance invoice
issue item job kept key label late latency launch leak leaking leaks lease ledger left letter level
limit line list load loaded lock log loss lost machine maintenance manager map margin market meal
measure measured meeting member memory message meter minutes missed mode model module money month
morning move moved network night node note notice number offer office older open operator order
outage owner package page paid panel part partner pay payment peak people period permit phone
pipeline place plan planned plant platform policy pool port power prefer prefers pressure price
probe process product project protocol pump queue quick rack range rate reached read ready reason
receipt record refund region release remote renew renews rent repair replaced report request reset
restart result retry return review risk road room route rule run safe sail sailed sale scale
schedule script season secret section security seen send sensor server service setting shelf shift
ship shipment shipped shop signed site size slow slower sort sorting source space speed staff
stage staging start state status step stock stopped storage store stored street supplier supply
support switch system table takes task team tenant terminate test thread threads throughput ticket
tool total traffic train transfer truck trust unit update upgrade usage user value valve vault
vendor version vessel visit wait warehouse warning water week weekly weight window wire work worker
written yard year years zone
""")

PLANTS = _split("""
orchid maple cedar willow juniper lotus tulip hazel clover aspen bramble fern iris poppy saffron
thistle walnut yarrow
""")

FIRST = _split(
    "Maria Tomas Aisha Jonas Priya Lucía Henrik Olga Kwame Ingrid Rafael Noor Bruno Selin"
)
LAST = _split("""
Okafor Lindqvist Moreau Petrenko Castellano Nakamura Haddad Jensen Kowalczyk Ferreira Whitlock
Baptiste Varga Drummond
""")
CITIES = _split("""
Lisbon Oslo Rotterdam Tallinn Porto Valencia Gdansk Bergen Trieste Antwerp Nantes Turku Leipzig
Cork Zagreb Malmö
""")
MONTHS = _split("January February March April May June July August September October November")
CHINESE_NAMES = _split("王丽 李强 张敏 刘洋 陈静 赵磊 孙悦 周婷")
CHINESE_CITIES = _split("上海 成都 杭州 深圳 武汉 西安")
JAPANESE_NAMES = _split("佐藤 鈴木 高橋 田中 伊藤 渡辺 山本 中村")
JAPANESE_CITIES = _split("大阪 横浜 福岡 札幌 仙台 神戸")

_ONSETS = _split("b c d f g h j k l m n p r s t v w z br ch cl cr dr fl gr pl pr sh st th tr")
_VOWELS = _split("a e i o u a e i o ea")
_CODAS = ["", "", "", "l", "n", "r", "s", "t", "m", "d", "nd", "st"]


def tail(count: int, seed: int = 11) -> list[str]:
    """Words that stand in no dictionary, as any field of work has them."""
    generator = random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = generator.choice((2, 2, 3))
        parts = [
            generator.choice(_ONSETS) + generator.choice(_VOWELS) + generator.choice(_CODAS)
            for _ in range(syllables)
        ]
        words["".join(parts)] = None
    return list(words)
