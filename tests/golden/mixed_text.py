"""Text of many kinds, the same bytes for the same seed: what the tokenizer's golden files,
its comparison with `tokenizers` and its benchmark are made of."""
import random

WORDS = """the of and to in is that it was for on are as with his they be at one have this from or had
by hot word but what some we can out other were all there when up use your how said an each she which do
their time if will way about many then them write would like so these her long make thing see him two has
look more day could go come did number sound no most people my over know water than call first who may
down side been now find any new work part take get place made live where after back little only round man
year came show every good me give our under name very through just form sentence great think say help low
line differ turn cause much mean before move right boy old too same tell does set three want air well also
play small end put home read hand port large spell add even land here must big high such follow act why ask
change went light kind need house picture try us again animal point mother world near build self earth father
internationalization understanding straightforward characteristics unbelievable tokenizer transformer attention
gradient probability architecture quantization embedding inference performance throughput latency""".split()
CONTRACTIONS = ["don't", "it's", "we're", "I've", "I'm", "you'll", "he'd", "DON'T", "IT'S", "WE'RE", "they\u2019re",
                "'\u017f", "o'clock", "'tis", "rock'n'roll", "'S'T'RE'VE'M'LL'D", "y'all'd've"]
OTHER = {
    "german": "Straße Übergröße heißt möglich schön Käse Mädchen Flügel Grüße daß Äpfel Öl natürlich wäre".split(),
    "french": "être déjà où garçon cœur naïve Noël français élève à côté l'été aujourd'hui qu'il".split(),
    "spanish": "mañana ¿qué niño está corazón ¡hola! año pingüino canción también".split(),
    "turkish": "İstanbul ılık şeker çağ öğretmen güneş IĞDIR".split(),
    "vietnamese": "tiếng Việt đường phố Nguyễn không được những người".split(),
    "polish": "zażółć gęślą jaźń Łódź źdźbło część".split(),
    "russian": "привет мир Россия ёлка объект язык программирование большой щётка съешь".split(),
    "greek": "καλημέρα κόσμε Ελλάδα φιλοσοφία ὅμηρος ᾄδης Ωμέγα ς".split(),
    "arabic": "مرحبا العالم اللغة العربية كتاب مَدْرَسَةٌ إِنَّ ٱلْحَمْدُ لله ١٢٣ السلام".split(),
    "hebrew": "שלום עולם עברית סֵפֶר בְּרֵאשִׁית ירושלים".split(),
    "hindi": "नमस्ते दुनिया हिन्दी भाषा क़ानून ज़मीन १२३ विद्यालय".split(),
    "thai": "สวัสดี ชาวโลก ภาษาไทย น้ำ กรุงเทพ ๑๒๓".split(),
    "tamil": "வணக்கம் உலகம் தமிழ் கொ ௧௨௩".split(),
    "georgian": "გამარჯობა მსოფლიო ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ".split(),
    "chinese": "你好世界 人工智能 今天天气很好，我们去公园散步吧。 机器学习 深度 學習 龍 㐀 𠀀 裏 館".split(),
    "japanese": "こんにちは 世界 プログラミング 東京タワー ｶﾀｶﾅ がぎぐ か\u3099き\u3099 ㍿ 〜 ー".split(),
    "korean": "안녕하세요 세계 한국어 \u1112\u1161\u11ab\u1100\u1173\u11af 컴퓨터 ㄱㄴㄷ".split(),
    "symbols": "ﬁ ﬂ ½ ² ³ Ⅷ ① ™ Å Ω \u212b \u2126 e\u0301 n\u0303 A\u030a \u1e9b\u0323 ｆｕｌｌ ㎏ ∑ ∫ ≠ → ♪ ⁵ ٣ 〇 ௰ Ⓐ º".split(),
}
EMOJI = ["😀", "🤣", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵", "❤️", "☃", "🧑🏿‍🚀", "1️⃣", "🫠", "🎉🎉🎉", "\u200d", "\ufe0f"]
SPACES = [" ", " ", " ", " ", "  ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "   ", "\u00a0", "\u3000", "\u2003", "\u0085",
          "\u2028", "\x0b", "\x0c", "\x1c", "\u200b", "\ufeff", " \t ", "\r", "\r\n\r\n  ", "\u1680", "\u180e"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "<|fim_prefix|>",
           "<|im_end", "|im_end|>", "<|", "|>", "<think", "<<|im_end|>>"]
BROKEN = [b"\xff", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x98", b"\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf",
          b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3(", b"\xe2\x82A", b"\xf0\x9f\x98\xff", b"\xfe\xfe"]


def prose(r):
    out = []
    for _ in range(r.randint(5, 30)):
        w = r.choice(WORDS) if r.random() < 0.93 else r.choice(CONTRACTIONS)
        if r.random() < 0.1:
            w = w.capitalize() if r.random() < 0.7 else w.upper()
        out.append(w + r.choice(["", "", "", "", "", "", ",", ".", ";", "!", "?", " -", ":"]))
    return " ".join(out) + r.choice([".", "\n", ".\n\n", "...", "!\n"])


def identifier(r):
    parts = [r.choice(WORDS) for _ in range(r.randint(1, 3))]
    style = r.randint(0, 3)
    if style == 0:
        return "_".join(parts)
    if style == 1:
        return "".join(p.capitalize() for p in parts)
    if style == 2:
        return parts[0] + "".join(p.capitalize() for p in parts[1:])
    return "_".join(parts).upper() + str(r.randint(0, 999))


def code(r):
    a, b, c = identifier(r), identifier(r), identifier(r)
    n = r.randint(0, 10 ** r.randint(1, 9))
    pad = " " * (4 * r.randint(0, 4))
    return r.choice([
        f"{pad}def {a}(self, {b}=None):\n{pad}    return self.{c}[{n}] if {b} is not None else {n}\n",
        f"{pad}for (size_t i = 0; i < {a}->{b}; i++) {{\n{pad}\t{c}[i] += 0x{n:x}; // {b}\n{pad}}}\n",
        f'{{"{a}": [{n}, {n / 7:.6f}, -{n}e-3], "{b}": {{"{c}": null, "ok": true}}}}\n',
        f"#include <{a}/{b}.h>\n#define {c.upper()} (({n}UL << 3) & ~0xffu)\n\n",
        f"SELECT {a}, COUNT(*) FROM {b} WHERE {c} >= {n} GROUP BY {a};\r\n",
        f"https://example.org/{a}/{b}?{c}={n}&x=%20y#frag-{n}\n",
        f"<div class=\"{a}\" id='{b}'>{c} &amp; {n}</div>\n",
        f"$ {a} --{b.lower()}={n} | grep -E '^[{c}]+$' > /dev/null 2>&1\n",
        f"{pad}if ({a} != {b} && !{c}) {{ throw new {identifier(r)}(`${{{a}}}`); }} else {{}}\n",
        f"fn {a}<'a>(x: &'a {b}) -> Result<{c}, E> {{ Ok(x.{b}()?) }}\n",
    ])


def other(r):
    words = OTHER[r.choice(sorted(OTHER))]
    return " ".join(r.choice(words) for _ in range(r.randint(2, 12))) + r.choice(["", "\n", "。", "।", " "])


def cjk(r):
    ranges = r.choice([(0x4E00, 0x9FA5), (0x4E00, 0x5FFF), (0xAC00, 0xD7A3), (0x3041, 0x30FE), (0x20000, 0x2A6D6)])
    return "".join(chr(r.randint(*ranges)) for _ in range(r.randint(3, 40))) + r.choice(["", "，", "。\n", "！"])


def wild(r):
    out = []
    for _ in range(r.randint(5, 40)):
        top = r.choice([0x7F, 0x24F, 0x3000, 0xFFFF, 0x1FFFF, 0x10FFFF])
        c = r.randint(0, top)
        out.append(chr(c) if not 0xD800 <= c <= 0xDFFF else "\ufffd")
    return "".join(out)


def spaces(r):
    return "".join(r.choice(SPACES) for _ in range(r.randint(1, 6)))


def run(r, longest):
    unit = r.choice(["a", " ", "=", "\n", "好", "0", "ab", "é", "e\u0301", "A", "\t", "-", "😀", "の", "'s", "\u0301", "Zz"])
    return unit * r.randint(1, max(1, longest // len(unit.encode())))


def emoji(r):
    return "".join(r.choice(EMOJI) for _ in range(r.randint(1, 5)))


def numbers(r):
    return r.choice([f"{r.randint(0, 10**9)}", f"{r.random():.10g}", f"{r.randint(1, 31):02}.{r.randint(1, 12):02}.2024",
                     f"{r.randint(0, 23)}:{r.randint(0, 59):02}", f"1,{r.randint(100, 999)},{r.randint(100, 999)}",
                     f"x^{r.randint(2, 9)}+{r.randint(2, 9)}y", f"#{r.randint(0, 0xFFFFFF):06x}"]) + " "


def ordinary(seed, size):
    """About `size` bytes of valid text, as a model sees it: prose, code, other scripts, emoji."""
    r = random.Random(seed)
    makers = [prose] * 10 + [code] * 10 + [other] * 4 + [cjk] * 2 + [emoji, numbers, numbers]
    out, n = [], 0
    while n < size:
        piece = r.choice(makers)(r)
        out.append(piece)
        n += len(piece.encode())
    return "".join(out)


def mixed(seed, size, longest_run=2000):
    """About `size` bytes of everything, broken UTF-8 and special spellings included."""
    r = random.Random(seed)
    makers = [prose] * 4 + [code] * 4 + [other] * 4 + [cjk] * 2 + [wild, spaces, spaces, emoji, numbers]
    out, n = [], 0
    while n < size:
        x = r.random()
        if x < 0.02:
            piece = run(r, longest_run).encode()
        elif x < 0.05:
            piece = r.choice(BROKEN)
        elif x < 0.08:
            piece = r.choice(SPECIAL).encode()
        else:
            piece = r.choice(makers)(r).encode()
        out.append(piece)
        n += len(piece)
    return b"".join(out)
