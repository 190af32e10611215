"""`PriceBook`: exact, dated prices; no price is never a price of 0."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from langchain_lean.accounting.model_ids import model_names, undoubled
from langchain_lean.accounting.prices.book import OwnPrice, PriceBook
from langchain_lean.accounting.usage import COUNTS, TokenUsage
from langchain_lean.errors import ConfigurationError, UnpricedModelError

BOOK = PriceBook()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CALL = TokenUsage(input=1000, output=100)
MILLION = TokenUsage(input=1_000_000, output=1_000_000)
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILES = ("us", "eu", "apac", "au", "jp", "in", "ca", "us-gov", "sa", "me", "af")


def total(usage, model, provider=None, at=NOW) -> Decimal:
    return BOOK.cost(usage, model, provider, at).total


def day(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


class TestTable:
    def test_input_and_output_are_priced_to_the_last_digit(self):
        # gpt-4o-mini: $0.15 in, $0.60 out, a million tokens each
        cost = BOOK.cost(TokenUsage(input=1234, output=567), "gpt-4o-mini", at=NOW)
        assert cost.input == Decimal("0.0001851")
        assert cost.output == Decimal("0.0003402")
        assert cost.total == Decimal("0.0005253")

    def test_cached_tokens_are_charged_once_at_their_own_price(self):
        # gpt-4o-mini: $0.075 for a million cached tokens
        usage = TokenUsage(input=1200, output=80, cache_read=1024, reasoning=64)
        expected = 176 * Decimal("0.15") + 1024 * Decimal("0.075") + 80 * Decimal("0.6")
        assert total(usage, "gpt-4o-mini") == expected / 1_000_000

    def test_writes_for_an_hour_cost_more_than_the_default_ones(self):
        # claude-sonnet-4-6: $3 in, $15 out, $0.30 read, $3.75 and $6 written
        usage = TokenUsage(
            input=1000,
            output=10,
            cache_read=500,
            cache_write_5m=200,
            cache_write_1h=100,
        )
        per_million = 200 * 3 + 500 * Decimal("0.3") + 200 * Decimal("3.75") + 100 * 6
        expected = (per_million + 10 * 15) / 1_000_000
        assert total(usage, "claude-sonnet-4-6", "anthropic") == expected

    def test_audio_is_charged_at_its_own_price_cached_or_not(self):
        # gpt-realtime: $4 text, $32 audio, $0.40 cached text or audio, $64 audio out
        usage = TokenUsage(
            input=1000,
            output=50,
            cache_read=300,
            audio_input=400,
            audio_cache_read=100,
            audio_output=40,
        )
        text, audio, cached = 1000 - 300 - 400 + 100, 400 - 100, 300
        per_million = text * 4 + audio * 32 + cached * Decimal("0.4") + 10 * 16
        assert (
            total(usage, "gpt-realtime", "openai")
            == (per_million + 40 * 64) / 1_000_000
        )

    def test_searches_are_charged_one_by_one(self):
        # o3: $10 for a thousand web searches, $2.50 for a thousand file searches
        plain = BOOK.cost(CALL, "o3", at=NOW)
        searched = BOOK.cost(
            TokenUsage(input=1000, output=100, web_searches=3, file_searches=2),
            "o3",
            at=NOW,
        )
        assert searched.total - plain.total == Decimal("0.035")
        assert (searched.input, searched.output) == (plain.input, plain.output)

    def test_a_fee_for_each_request_is_in_the_total_alone(self):
        # sonar: $1 in and out, $12 for a thousand requests
        cost = BOOK.cost(CALL, "sonar", "perplexity", NOW)
        assert cost.input + cost.output == Decimal("0.0011")
        assert cost.total == Decimal("0.0131")

    def test_nothing_used_costs_nothing(self):
        assert total(TokenUsage(), "gpt-4o-mini") == 0


class TestDates:
    # o3 cost $10 in and $40 out until 10 June 2025, $2 and $8 from then on
    @pytest.mark.parametrize(
        ("at", "expected"),
        [("2025-06-09", "50"), ("2025-06-10", "10"), ("2026-11-20", "10")],
    )
    def test_an_old_call_keeps_the_price_of_its_day(self, at, expected):
        assert total(MILLION, "o3", at=day(at)) == Decimal(expected)

    def test_a_naive_time_is_taken_to_be_utc(self):
        last = datetime(2025, 6, 9, 23, 59)
        first = datetime(2025, 6, 10, 0, 0)
        assert total(MILLION, "o3", at=last) == 50
        assert total(MILLION, "o3", at=first) == 10

    def test_a_time_of_another_zone_is_taken_to_utc(self):
        tokyo = timezone(timedelta(hours=9))
        assert total(MILLION, "o3", at=datetime(2025, 6, 10, 8, tzinfo=tokyo)) == 50
        assert total(MILLION, "o3", at=datetime(2025, 6, 10, 9, tzinfo=tokyo)) == 10

    def test_a_price_may_depend_on_the_hour(self):
        # deepseek-flash: $0.15 and $0.60, twice that from 1:00 to 4:00
        at = day("2026-11-20")
        cheap, dear = at + timedelta(minutes=59), at + timedelta(hours=1)
        assert total(MILLION, "deepseek-flash", "deepseek", cheap) == Decimal("0.75")
        assert total(MILLION, "deepseek-flash", "deepseek", dear) == Decimal("1.5")

    def test_without_a_time_the_price_is_today_s(self):
        assert BOOK.cost(CALL, "o3") == BOOK.cost(CALL, "o3", at=datetime.now(UTC))


class TestTiers:
    # gemini-2.5-pro: $1.25 in and $10 out; $2.50 and $15 above 200,000 input tokens
    @pytest.mark.parametrize(
        ("size", "price_in", "price_out"),
        [(199_999, "1.25", 10), (200_000, "1.25", 10), (200_001, "2.5", 15)],
    )
    def test_a_long_context_is_dearer_as_a_whole_above_its_threshold(
        self, size, price_in, price_out
    ):
        usage = TokenUsage(input=size, output=1000)
        expected = (size * Decimal(price_in) + 1000 * price_out) / 1_000_000
        assert total(usage, "gemini-2.5-pro", "google_genai") == expected

    def test_cached_tokens_count_towards_the_threshold(self):
        usage = TokenUsage(input=200_001, cache_read=200_001)
        # $0.125 cached, $0.25 above the threshold
        expected = 200_001 * Decimal("0.25") / 1_000_000
        assert total(usage, "gemini-2.5-pro", "google_genai") == expected

    # gpt-5-mini: $0.25 and $2; flex and batch half of it, priority 1.8 times
    @pytest.mark.parametrize(
        ("tier", "expected"),
        [
            (None, "2.25"),
            ("default", "2.25"),
            ("flex", "1.125"),
            ("FLEX", "1.125"),
            ("priority", "4.05"),
            ("batch", "1.125"),
            ("never heard of", "2.25"),
        ],
    )
    def test_a_service_tier_has_its_price(self, tier, expected):
        usage = TokenUsage(
            input=1_000_000, output=1_000_000, service_tier=tier, region="eu"
        )
        assert total(usage, "gpt-5-mini", "openai") == Decimal(expected)

    def test_a_tier_did_not_exist_before_its_day(self):
        usage = TokenUsage(input=1_000_000, service_tier="flex")
        assert total(usage, "gpt-5-mini", "openai", day("2026-01-01")) == Decimal(
            "0.25"
        )


class TestNames:
    # on Bedrock claude-sonnet-4-5 is $3 and $15 globally, a tenth more in a region
    REGIONAL = Decimal("19.8")
    GLOBAL = Decimal(18)

    @pytest.mark.parametrize("provider", ["amazon_bedrock", "bedrock_converse", None])
    @pytest.mark.parametrize("prefix", ["", *(f"{name}." for name in PROFILES)])
    def test_a_regional_bedrock_id_costs_the_regional_price(self, prefix, provider):
        usage = TokenUsage(input=100_000, output=100_000)
        assert total(usage, prefix + SONNET, provider) == self.REGIONAL / 10

    @pytest.mark.parametrize("provider", ["amazon_bedrock", None])
    def test_a_global_bedrock_id_costs_the_global_price(self, provider):
        usage = TokenUsage(input=100_000, output=100_000)
        assert total(usage, f"global.{SONNET}", provider) == self.GLOBAL / 10

    @pytest.mark.parametrize("prefix", ["", *(f"{name}." for name in PROFILES)])
    @pytest.mark.parametrize(
        "model", ["amazon.nova-pro-v1:0", "openai.gpt-oss-20b-1:0"]
    )
    def test_a_profile_without_a_price_of_its_own_costs_what_the_model_costs(
        self, prefix, model
    ):
        assert total(CALL, prefix + model) == total(CALL, model, "amazon_bedrock")

    @pytest.mark.parametrize("provider", ["amazon_bedrock", None])
    @pytest.mark.parametrize(
        "arn",
        [
            f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}",
            f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{SONNET}",
            f"arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.{SONNET}",
        ],
    )
    def test_an_arn_that_ends_in_a_model_costs_what_the_model_costs(
        self, arn, provider
    ):
        usage = TokenUsage(input=100_000, output=100_000)
        assert total(usage, arn, provider) == self.REGIONAL / 10

    def test_an_arn_of_a_global_profile_costs_the_global_price(self):
        arn = (
            f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.{SONNET}"
        )
        usage = TokenUsage(input=100_000, output=100_000)
        assert total(usage, arn) == self.GLOBAL / 10

    @pytest.mark.parametrize("provider", ["amazon_bedrock", None])
    @pytest.mark.parametrize(
        "kind", ["application-inference-profile", "provisioned-model", "imported-model"]
    )
    def test_an_arn_that_hides_its_model_is_unpriced(self, kind, provider):
        arn = f"arn:aws:bedrock:us-east-1:123456789012:{kind}/a1b2c3d4e5f6"
        with pytest.raises(UnpricedModelError):
            total(CALL, arn, provider)

    @pytest.mark.parametrize(
        ("model", "provider", "same"),
        [
            ("gpt-4o", "azure", ("gpt-4o", "openai")),
            ("gpt-4o", "azure_openai", ("gpt-4o", "azure")),
            ("gpt-4o", "OpenAI", ("gpt-4o", "openai")),
            (" GPT-4o ", None, ("gpt-4o", "openai")),
            ("models/gemini-2.5-pro", "google_genai", ("gemini-2.5-pro", "google")),
            ("gemini-2.5-pro", "google_vertexai", ("gemini-2.5-pro", "google")),
            ("mistral-large-latest", "mistralai", ("mistral-large-latest", "mistral")),
            ("grok-4", "xai", ("grok-4", "x-ai")),
            (f"us.{SONNET}", "anthropic-bedrock", (f"us.{SONNET}", "aws")),
            (SONNET, "anthropic-mantle", (SONNET, "aws")),
            ("openai.gpt-5.4", "openai-mantle", ("openai.gpt-5.4", "aws")),
        ],
    )
    def test_providers_go_by_the_names_langchain_gives_them(
        self, model, provider, same
    ):
        assert total(CALL, model, provider) == total(CALL, *same)

    @pytest.mark.parametrize("times", [2, 3])
    @pytest.mark.parametrize("model", ["gpt-4o", f"us.{SONNET}", "gemini-2.5-pro"])
    def test_a_name_repeated_by_merged_chunks_is_priced_as_one(self, model, times):
        assert total(CALL, model * times) == total(CALL, model)

    def test_no_model_of_the_table_is_taken_for_a_repeated_name(self):
        ids = [m.id.lower() for p in get_snapshot().providers for m in p.models]
        assert [undoubled(name) for name in ids] == ids

    @given(st.text("abc-.1", min_size=3, max_size=8), st.integers(2, 4))
    def test_any_repeated_name_is_repaired(self, name, times):
        assume((name + name).find(name, 1) == len(name))  # no repetition itself
        assert undoubled(name * times) == name

    @given(st.text(max_size=40))
    def test_any_name_has_at_least_one_form(self, name):
        assert all(form == form.lower() for form in model_names(name))
        assert model_names(name)


class TestUnpriced:
    @pytest.mark.parametrize(
        ("model", "provider"),
        [
            ("", None),
            ("my-model", None),
            ("my-model", "openai"),
            ("gpt-4o", "ollama"),
            ("gpt-4o", "amazon_bedrock"),
            ("gpt-4o", "never-heard-of"),
        ],
    )
    def test_an_unknown_model_raises(self, model, provider):
        with pytest.raises(UnpricedModelError) as caught:
            total(CALL, model, provider)
        assert (caught.value.model, caught.value.provider) == (model, provider)

    @pytest.mark.parametrize(
        ("model", "provider"),
        [
            ("tts-1", "openai"),
            ("whisper-1", "openai"),
            ("mistral-ocr-latest", "mistral"),
            ("qwen-3-coder-480b", "cerebras"),
        ],
    )
    def test_a_model_listed_without_a_price_for_tokens_raises(self, model, provider):
        with pytest.raises(UnpricedModelError):
            total(CALL, model, provider)

    def test_a_model_listed_as_free_is_free(self):
        assert total(CALL, "mistral-nemo:free", "mistral") == 0

    def test_the_message_says_what_to_do(self):
        with pytest.raises(UnpricedModelError, match="with_price") as caught:
            total(CALL, "my-model", "openai")
        assert "'my-model' from provider 'openai'" in str(caught.value)


class TestOwnPrices:
    def test_an_own_price_makes_an_unknown_model_known(self):
        book = BOOK.with_price("my-model", input="0.15", output="0.60")
        assert book.cost(MILLION, "my-model").total == Decimal("0.75")
        assert book.cost(MILLION, "My-Model ", "anything").total == Decimal("0.75")

    def test_an_own_price_wins_over_the_table(self):
        book = BOOK.with_price("gpt-4o", input=1, output=2)
        assert book.cost(MILLION, "gpt-4o", "openai", NOW).total == 3

    def test_the_book_it_was_added_to_stays_as_it_is(self):
        before = BOOK.cost(MILLION, "gpt-4o", at=NOW)
        BOOK.with_price("gpt-4o", input=1, output=2)
        assert BOOK.cost(MILLION, "gpt-4o", at=NOW) == before
        assert BOOK.own == ()

    def test_a_later_own_price_replaces_an_earlier_one(self):
        book = BOOK.with_price("m", input=1, output=1).with_price(
            "m", input=5, output=5
        )
        assert book.cost(MILLION, "m").total == 10
        assert len(book.own) == 1

    def test_a_price_for_one_provider_leaves_the_others_alone(self):
        book = BOOK.with_price("gpt-4o", input=1, output=2, provider="azure")
        assert book.cost(MILLION, "gpt-4o", "azure", NOW).total == 3
        assert book.cost(MILLION, "gpt-4o", "openai", NOW).total == total(
            MILLION, "gpt-4o", "openai"
        )

    @pytest.mark.parametrize("given_as", ["Azure", "azure_openai", " azure"])
    def test_a_provider_is_the_same_however_langchain_spells_it(self, given_as):
        book = BOOK.with_price("m", input=1, output=2, provider="azure")
        assert book.cost(MILLION, "m", given_as).total == 3
        back = BOOK.with_price("m", input=1, output=2, provider=given_as)
        assert back.cost(MILLION, "m", "azure").total == 3

    def test_a_price_for_a_provider_wins_over_one_for_any(self):
        book = BOOK.with_price("m", input=1, output=1, provider="azure").with_price(
            "m", input=5, output=5
        )
        assert book.cost(MILLION, "m", "azure").total == 2
        assert book.cost(MILLION, "m", "openai").total == 10
        assert book.cost(MILLION, "m").total == 10

    def test_an_own_price_of_an_application_profile_is_found_by_its_arn(self):
        arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/AbC"
        book = BOOK.with_price(arn, input=3, output=15)
        assert book.cost(MILLION, arn, "amazon_bedrock").total == 18

    def test_an_own_price_of_a_bedrock_model_holds_for_its_regional_profiles(self):
        book = BOOK.with_price(SONNET, input=1, output=1)
        assert book.cost(MILLION, f"eu.{SONNET}", "amazon_bedrock").total == 2
        assert book.cost(MILLION, f"global.{SONNET}", "amazon_bedrock").total != 2

    def test_a_name_that_looks_repeated_keeps_its_own_price(self):
        book = BOOK.with_price("testtest", input=1, output=1)
        assert book.cost(MILLION, "testtest").total == 2

    def test_cached_tokens_cost_as_input_unless_said_otherwise(self):
        usage = TokenUsage(
            input=1_000_000,
            cache_read=600_000,
            cache_write_5m=200_000,
            cache_write_1h=100_000,
        )
        plain = BOOK.with_price("m", input=10, output=0)
        assert plain.cost(usage, "m").total == 10
        said = BOOK.with_price("m", input=10, output=0, cache_read=1, cache_write=20)
        expected = Decimal("0.1") * 10 + Decimal("0.6") * 1 + Decimal("0.3") * 20
        assert said.cost(usage, "m").total == expected
        hour = BOOK.with_price("m", input=10, output=0, cache_write_1h=30)
        assert hour.cost(usage, "m").total == Decimal("0.9") * 10 + Decimal("0.1") * 30

    @given(
        st.lists(st.decimals(0, 10_000, places=6), min_size=5, max_size=5),
        st.lists(st.integers(0, 10**8), min_size=5, max_size=5),
    )
    def test_an_own_price_is_exact(self, amounts, tokens):
        fresh, read, write, hour, output = tokens
        names = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
        book = BOOK.with_price("m", **dict(zip(names, map(str, amounts), strict=True)))
        usage = TokenUsage(
            input=fresh + read + write + hour,
            cache_read=read,
            cache_write_5m=write,
            cache_write_1h=hour,
            output=output,
        )
        expected = sum(
            Fraction(amount) * count
            for amount, count in zip(amounts, tokens, strict=True)
        )
        assert Fraction(book.cost(usage, "m").total) * 1_000_000 == expected

    @pytest.mark.parametrize(
        "amount", [0.15, float("nan"), True, "-1", -1, "NaN", "Infinity", "dear", None]
    )
    @pytest.mark.parametrize("name", ["input", "output"])
    def test_an_amount_that_is_not_a_number_from_0_up_is_refused(self, name, amount):
        amounts = {"input": 1, "output": 1, name: amount}
        with pytest.raises(ConfigurationError, match=f"^{name} must be dollars"):
            BOOK.with_price("m", **amounts)

    @pytest.mark.parametrize("name", ["cache_read", "cache_write", "cache_write_1h"])
    @pytest.mark.parametrize("amount", [0.5, Decimal("-0.1"), False])
    def test_so_is_one_for_cached_tokens(self, name, amount):
        with pytest.raises(ConfigurationError, match=f"^{name} must be dollars"):
            BOOK.with_price("m", input=1, output=1, **{name: amount})

    def test_an_own_price_survives_as_text(self):
        book = BOOK.with_price(
            "m", input="0.1", output=2, cache_write="3.75", provider="azure"
        )
        price = book.own[0]
        assert OwnPrice.from_json(price.to_json()) == price
        assert PriceBook([price]).cost(MILLION, "m", "azure").total == Decimal("2.1")


class TestCacheSaved:
    # claude-sonnet-4-6: $3 in, $0.30 read, $3.75 and $6 written
    def saved(self, **parts: int) -> Decimal:
        usage = TokenUsage(input=1_000_000, **parts)
        return BOOK.cost(usage, "claude-sonnet-4-6", "anthropic", NOW).cache_saved

    def test_nothing_cached_saved_nothing(self):
        assert self.saved() == 0

    def test_a_read_saved_its_discount(self):
        assert self.saved(cache_read=500_000) == Decimal("1.35")

    def test_a_write_that_nobody_reads_lost_its_premium(self):
        assert self.saved(cache_write_5m=100_000) == Decimal("-0.075")
        assert self.saved(cache_write_1h=100_000) == Decimal("-0.3")

    def test_reads_and_writes_are_netted(self):
        both = self.saved(cache_read=500_000, cache_write_1h=100_000)
        assert both == Decimal("1.05")

    def test_it_is_the_difference_to_the_same_input_uncached(self):
        usage = TokenUsage(input=10_000, cache_read=7_000, cache_write_5m=1_000)
        cost = BOOK.cost(usage, "claude-sonnet-4-6", "anthropic", NOW)
        plain = BOOK.cost(
            TokenUsage(input=10_000), "claude-sonnet-4-6", "anthropic", NOW
        )
        assert cost.cache_saved == plain.total - cost.total


def priced() -> list[tuple[str, str]]:
    """By provider, the models that their own id finds and that charge for tokens."""
    return [
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
        if provider.find_model(model.id) is model and charges(model, provider)
    ]


def charges(model: ModelInfo, provider: Provider) -> bool:
    tokens = genai_prices.Usage(input_tokens=1, output_tokens=1)
    price = model.calc_price(tokens, provider, genai_request_timestamp=NOW)
    return price.input_price + price.output_price > 0


KEYS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "audio_input": "input_audio_tokens",
    "audio_cache_read": "cache_audio_read_tokens",
    "image_input": "input_image_tokens",
    "image_cache_read": "cache_image_read_tokens",
    "video_input": "input_video_tokens",
    "video_cache_read": "cache_video_read_tokens",
    "reasoning": "output_reasoning_tokens",
    "audio_output": "output_audio_tokens",
    "image_output": "output_image_tokens",
    "web_searches": "web_searches",
    "file_searches": "storage_searches",
}
SIZES = st.integers(0, 400_000) | st.sampled_from([0, 1, 128_000, 200_000, 272_000])


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    """Usages whose parts fit, of sizes on both sides of every long-context price."""
    parts = dict.fromkeys(COUNTS, 0)
    names = draw(st.sets(st.sampled_from(COUNTS[2:]), max_size=5))
    parts |= {name: draw(st.integers(0, 20_000)) for name in names}
    for medium in ("audio", "image", "video"):
        parts[f"{medium}_input"] += parts[f"{medium}_cache_read"]
        parts["cache_read"] += parts[f"{medium}_cache_read"]
        parts["input"] += parts[f"{medium}_input"] - parts[f"{medium}_cache_read"]
    for name in ("cache_read", "cache_write_5m", "cache_write_1h"):
        parts["input"] += parts[name]
    for name in ("reasoning", "audio_output", "image_output"):
        parts["output"] += parts[name]
    parts["input"] = max(parts["input"], draw(SIZES))
    parts["output"] += draw(st.integers(0, 20_000))
    tier = draw(st.sampled_from([None, "default", "flex", "priority", "batch", "fast"]))
    return TokenUsage(**parts, service_tier=tier)


def theirs(usage: TokenUsage, model: str, provider: str, at: datetime):
    keys = {KEYS[name]: n for name, n in usage.counts().items() if name in KEYS}
    writes = usage.cache_write_5m + usage.cache_write_1h
    if writes:
        keys["cache_write_tokens"] = writes
    tier = usage.service_tier
    named = {"batch": "processing", "fast": "speed"}.get(tier or "", "service_tier")
    context = {named: tier} if tier else None
    if tier == "fast" and provider == "openai":
        context = {"service_tier": tier}
    return genai_prices.calc_price(
        genai_prices.Usage(**keys),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context=context,
    )


class TestAgreement:
    @settings(max_examples=400, deadline=None)
    @given(
        st.sampled_from(priced()),
        usages(),
        st.datetimes(datetime(2025, 1, 1), datetime(2027, 6, 1)),
    )
    def test_every_price_is_the_table_s_own_to_the_last_digit(self, named, usage, at):
        provider, model = named
        at = at.replace(tzinfo=UTC)
        try:
            expected = theirs(usage, model, provider, at)
        except ValueError:
            assume(False)
        cost = BOOK.cost(usage, model, provider, at)
        assert cost.input == expected.input_price
        assert cost.output == expected.output_price
        assert cost.total == expected.total_price

    def test_the_sample_is_most_of_the_table(self):
        listed = sum(len(provider.models) for provider in get_snapshot().providers)
        assert len(priced()) > 0.85 * listed


def test_a_custom_model_has_no_price_of_its_base():
    """What a customized model costs, its base does not tell."""
    base = "anthropic.claude-3-haiku-20240307-v1:0"
    arn = f"arn:aws:bedrock:us-east-1:1:custom-model/{base}/x"
    with pytest.raises(UnpricedModelError):
        PriceBook().cost(TokenUsage(input=1), arn, "amazon_bedrock")


def test_an_own_price_finer_than_a_picodollar_a_token_is_refused():
    """Sums in a file are whole picodollars."""
    with pytest.raises(ConfigurationError, match="6 decimals"):
        PriceBook().with_price("m", input="0.0000001", output=0)
