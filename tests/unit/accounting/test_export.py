"""What exporters promise: the conventions' metrics, valid lines, nothing invented."""

import contextlib
import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.attributes.user_attributes import USER_ID
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes.error_attributes import (
    ERROR_TYPE,
    ErrorTypeValues,
)

from langchain_lean import MeteredEmbeddings, TokenLedger, TokenUsage
from langchain_lean.accounting.entry import LedgerEntry
from langchain_lean.accounting.export import cloudwatch_emf, emf_record, otel_metrics
from langchain_lean.accounting.prices.cost import Cost
from langchain_lean.errors import ConfigurationError
from langchain_lean.testing import ScriptedChatModel

TOKENS = gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE
DURATION = gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION
COST = "langchain_lean.cost"
ANY_UNIT = {"Count", "Milliseconds", "None"}
FIELDS = (
    "model",
    "requested",
    "provider",
    "kind",
    "node",
    "source",
    "agent",
    "thread_id",
    "user_id",
)


def make_entry(**fields):
    given_fields = {
        "run_id": "r1",
        "model": "gpt-5-mini-2025-08-07",
        "requested": "gpt-5-mini",
        "provider": "openai",
        "start": datetime(2026, 11, 22, 12, 0, 0, 123_000, tzinfo=UTC),
        "seconds": 1.5,
        "usage": TokenUsage(input=100, output=20, cache_read=60),
        "cost": Cost(total=Decimal("0.000125")),
    }
    return LedgerEntry(**{**given_fields, **fields})


def scripted(*responses, **options):
    names = {"model_name": "gpt-5-mini", "provider": "openai"}
    return ScriptedChatModel(responses=responses, **{**names, **options})


class Collector:
    """A meter and what was recorded with its instruments."""

    def __init__(self):
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.meter = self._provider.get_meter("tests")

    def metrics(self):
        data = self._reader.get_metrics_data()
        found = data.resource_metrics if data else []
        scopes = [scope for resource in found for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name):
        metric = self.metrics().get(name)
        return list(metric.data.data_points) if metric else []

    def attributes(self, name):
        return [dict(point.attributes) for point in self.points(name)]


@pytest.fixture
def collector():
    return Collector()


class TestOtel:
    def test_tokens_are_a_histogram_by_type_and_model(self, collector):
        """Two calls are two observations of input and two of output."""
        second = make_entry(usage=TokenUsage(input=10, output=5))
        otel_metrics(collector.meter)([make_entry(), second])
        assert collector.metrics()[TOKENS].unit == "{token}"
        points = {
            point.attributes[gen_ai.GEN_AI_TOKEN_TYPE]: point
            for point in collector.points(TOKENS)
        }
        assert {t: (p.count, p.sum) for t, p in points.items()} == {
            "input": (2, 110),
            "output": (2, 25),
        }
        assert dict(points["input"].attributes) == {
            gen_ai.GEN_AI_OPERATION_NAME: "chat",
            gen_ai.GEN_AI_PROVIDER_NAME: "openai",
            gen_ai.GEN_AI_REQUEST_MODEL: "gpt-5-mini",
            gen_ai.GEN_AI_RESPONSE_MODEL: "gpt-5-mini-2025-08-07",
            gen_ai.GEN_AI_TOKEN_TYPE: "input",
        }

    def test_token_types_are_those_of_the_conventions(self, collector):
        """Nothing but `input` and `output` is a token type."""
        otel_metrics(collector.meter)([make_entry()])
        types = {
            found[gen_ai.GEN_AI_TOKEN_TYPE] for found in collector.attributes(TOKENS)
        }
        assert types == {kind.value for kind in gen_ai.GenAiTokenTypeValues}

    def test_the_duration_is_in_seconds(self, collector):
        """The duration of a call is one observation without a token type."""
        otel_metrics(collector.meter)([make_entry(seconds=1.5)])
        [point] = collector.points(DURATION)
        assert collector.metrics()[DURATION].unit == "s"
        assert (point.count, point.sum) == (1, 1.5)
        assert (
            not {gen_ai.GEN_AI_TOKEN_TYPE, ERROR_TYPE} & dict(point.attributes).keys()
        )

    def test_the_cost_is_a_counter_in_dollars(self, collector):
        """What calls cost adds up, whatever their size."""
        otel_metrics(collector.meter)([make_entry(), make_entry()])
        [point] = collector.points(COST)
        assert collector.metrics()[COST].unit == "{USD}"
        assert collector.metrics()[COST].data.is_monotonic
        assert point.value == pytest.approx(0.00025)

    def test_histograms_have_the_buckets_the_conventions_prescribe(self, collector):
        """Without a view, buckets are those of the conventions."""
        otel_metrics(collector.meter)([make_entry()])
        tokens, durations = collector.points(TOKENS)[0], collector.points(DURATION)[0]
        assert list(tokens.explicit_bounds) == [
            *(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144),
            *(1048576, 4194304, 16777216, 67108864),
        ]
        assert list(durations.explicit_bounds) == [
            *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12),
            *(10.24, 20.48, 40.96, 81.92),
        ]

    @pytest.mark.parametrize(
        ("kind", "operation"),
        [
            ("chat", "chat"),
            ("completion", "text_completion"),
            ("embedding", "embeddings"),
        ],
    )
    def test_a_kind_of_call_is_an_operation(self, collector, kind, operation):
        """Each kind has the name the conventions have for it."""
        otel_metrics(collector.meter)([make_entry(kind=kind)])
        [found] = collector.attributes(DURATION)
        assert found[gen_ai.GEN_AI_OPERATION_NAME] == operation
        assert operation in {known.value for known in gen_ai.GenAiOperationNameValues}

    @pytest.mark.parametrize(
        ("provider", "expected"),
        [
            ("OpenAI", "openai"),
            ("openai-codex", "openai"),
            ("anthropic", "anthropic"),
            ("amazon_bedrock", "aws.bedrock"),
            ("bedrock_converse", "aws.bedrock"),
            ("anthropic-bedrock", "aws.bedrock"),
            ("openai-mantle", "aws.bedrock"),
            ("azure", "azure.ai.openai"),
            ("azure_openai", "azure.ai.openai"),
            ("azure_ai", "azure.ai.inference"),
            ("google_genai", "gcp.gen_ai"),
            ("google_vertexai", "gcp.vertex_ai"),
            ("mistralai", "mistral_ai"),
            ("xai", "x_ai"),
            ("ibm", "ibm.watsonx.ai"),
            ("cohere", "cohere"),
            ("deepseek", "deepseek"),
            ("groq", "groq"),
            ("perplexity", "perplexity"),
        ],
    )
    def test_known_providers_have_their_well_known_name(
        self, collector, provider, expected
    ):
        """LangChain's name becomes the conventions' name."""
        otel_metrics(collector.meter)([make_entry(provider=provider)])
        [found] = collector.attributes(DURATION)
        assert found[gen_ai.GEN_AI_PROVIDER_NAME] == expected
        assert expected in {known.value for known in gen_ai.GenAiProviderNameValues}

    @pytest.mark.parametrize(
        ("provider", "expected"), [("ollama", "ollama"), (None, "unknown")]
    )
    def test_other_providers_keep_their_name(self, collector, provider, expected):
        """The attribute is required, so it is there even where nobody knows."""
        otel_metrics(collector.meter)([make_entry(provider=provider)])
        [found] = collector.attributes(DURATION)
        assert found[gen_ai.GEN_AI_PROVIDER_NAME] == expected

    @pytest.mark.parametrize("flag", ["blocked", "cache_hit"])
    def test_a_call_no_provider_saw_is_in_no_metric(self, collector, flag):
        """A blocked or cached call is not an operation of a provider."""
        entry = make_entry(usage=TokenUsage(), cost=Cost(), **{flag: True})
        otel_metrics(collector.meter)([entry])
        assert collector.metrics() == {}

    def test_a_failed_call_has_its_error_and_no_answering_model(self, collector):
        """What failed has a duration and a type of error."""
        entry = make_entry(failed=True, reason="RateLimitError", usage=TokenUsage())
        otel_metrics(collector.meter)([entry])
        [found] = collector.attributes(DURATION)
        assert found[ERROR_TYPE] == "RateLimitError"
        assert found[gen_ai.GEN_AI_REQUEST_MODEL] == "gpt-5-mini"
        assert gen_ai.GEN_AI_RESPONSE_MODEL not in found
        assert collector.points(TOKENS) == []

    def test_an_unknown_error_is_other(self, collector):
        """The conventions name the error that has no name."""
        otel_metrics(collector.meter)([make_entry(failed=True)])
        [found] = collector.attributes(DURATION)
        assert found[ERROR_TYPE] == ErrorTypeValues.OTHER.value

    def test_estimated_tokens_are_recorded_only_when_asked_for(self):
        """Costs and durations of estimated calls are recorded in any case."""
        counts = {}
        for estimates in (False, True):
            collector = Collector()
            export = otel_metrics(collector.meter, estimates=estimates)
            export([make_entry(estimated=True)])
            counts[estimates] = len(collector.points(TOKENS))
            assert len(collector.points(DURATION)) == len(collector.points(COST)) == 1
        assert counts == {False: 0, True: 2}

    @pytest.mark.parametrize(
        "fields", [{"abandoned": True}, {"seconds": 0.0}, {"seconds": float("nan")}]
    )
    def test_an_unknown_duration_is_not_recorded(self, collector, fields):
        """An abandoned call may have cost something, but nobody knows how long."""
        otel_metrics(collector.meter)([make_entry(**fields)])
        assert collector.points(DURATION) == []
        assert len(collector.points(COST)) == 1

    def test_an_unpriced_call_adds_no_cost(self, collector):
        """What has no price is no free call."""
        otel_metrics(collector.meter)([make_entry(cost=None, unpriced=True)])
        assert collector.points(COST) == []
        assert len(collector.points(DURATION)) == 1

    def test_users_threads_and_nodes_are_no_attributes_unless_asked_for(
        self, collector
    ):
        """The default attributes have few values."""
        entry = make_entry(node="draft", user_id="ada", thread_id="t", agent="a")
        otel_metrics(collector.meter)([entry])
        assert not {"draft", "ada", "t", "a", "r1"} & {
            value
            for name in (TOKENS, DURATION, COST)
            for found in collector.attributes(name)
            for value in found.values()
        }

    def test_by_adds_attributes_to_every_metric(self, collector):
        """Where the conventions have a name for a field, it is that name."""
        export = otel_metrics(
            collector.meter, by=("node", "source", "agent", "thread_id", "user_id")
        )
        fields = {"node": "draft", "source": "judge", "agent": "a", "thread_id": "t"}
        export([make_entry(**fields, user_id="ada")])
        for name in (TOKENS, DURATION, COST):
            assert collector.attributes(name)[0].items() >= {
                ("langchain_lean.node", "draft"),
                ("langchain_lean.source", "judge"),
                (gen_ai.GEN_AI_AGENT_NAME, "a"),
                (gen_ai.GEN_AI_CONVERSATION_ID, "t"),
                (USER_ID, "ada"),
            }

    def test_an_attribute_without_a_value_is_left_out(self, collector):
        """A call outside a graph has no node, not an empty one."""
        otel_metrics(collector.meter, by=("node",))([make_entry(requested=None)])
        [found] = collector.attributes(DURATION)
        assert not {"langchain_lean.node", gen_ai.GEN_AI_REQUEST_MODEL} & found.keys()

    @pytest.mark.parametrize("by", [("run_id",), "node"])
    def test_an_unknown_attribute_is_refused_at_once(self, collector, by):
        """The error says what there is, before the first call."""
        with pytest.raises(ConfigurationError, match="use tuples of node, source"):
            otel_metrics(collector.meter, by=by)

    def test_the_global_meter_provider_is_the_default(self, collector, monkeypatch):
        """Without a meter, that of the application's provider is used."""
        asked = []
        meters = lambda name: asked.append(name) or collector.meter  # noqa: E731
        monkeypatch.setattr("opentelemetry.metrics.get_meter", meters)
        otel_metrics()([make_entry()])
        assert asked == ["langchain_lean"]
        assert len(collector.points(DURATION)) == 1

    def test_without_opentelemetry_the_error_says_what_to_install(self, monkeypatch):
        """The extra is named by its install line."""
        monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
        with pytest.raises(ConfigurationError, match=r"langchain-lean-ai\[otel\]"):
            otel_metrics()


def check_emf(record):
    """The rules of the embedded metric format, as far as a record can break them."""
    assert set(record["_aws"]) == {"Timestamp", "CloudWatchMetrics"}
    assert type(record["_aws"]["Timestamp"]) is int
    for directive in record["_aws"]["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 255
        assert directive["Dimensions"]
        for names in directive["Dimensions"]:
            assert len(names) <= 30
            assert len(names) == len(set(names))
            for name in names:
                value = record[name]
                assert isinstance(value, str)
                assert 1 <= len(value) <= 1024
                assert value.strip()
                assert value.isascii()
                assert value.isprintable()
        assert 1 <= len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert set(metric) == {"Name", "Unit"}
            assert metric["Unit"] in ANY_UNIT
            assert type(record[metric["Name"]]) in (int, float)


def dimension_sets(record):
    return [d["Dimensions"] for d in record["_aws"]["CloudWatchMetrics"]]


TEXTS = st.none() | st.text(max_size=1100)
ENTRIES = st.builds(
    LedgerEntry,
    run_id=st.text(),
    kind=st.sampled_from(["chat", "completion", "embedding"]),
    **{name: TEXTS for name in FIELDS if name != "kind"},
    start=st.datetimes(timezones=st.just(UTC)),
    seconds=st.floats(),
    first_token_seconds=st.none() | st.floats(0, 1e6),
    usage=st.builds(TokenUsage, input=st.integers(0, 10**9)),
    cost=st.none() | st.builds(Cost, total=st.decimals(0, 10**6, places=12)),
    **{
        flag: st.booleans()
        for flag in ("unpriced", "estimated", "failed", "blocked", "abandoned")
    },
)
SETS = st.lists(st.lists(st.sampled_from(FIELDS), max_size=40), min_size=1, max_size=5)


class TestEmf:
    def test_a_call_is_one_record_of_the_format(self):
        """All that is known of a call, under the names CloudWatch looks for."""
        entry = make_entry(node="draft", first_token_seconds=0.25)
        record = emf_record(
            entry, namespace="shop/llm", dimensions=(("model",), ("model", "node"), ())
        )
        check_emf(record)
        [directive] = record["_aws"].pop("CloudWatchMetrics")
        assert directive["Namespace"] == "shop/llm"
        assert directive["Dimensions"] == [["model"], ["model", "node"], []]
        assert {m["Name"]: m["Unit"] for m in directive["Metrics"]} == {
            "InputTokens": "Count",
            "OutputTokens": "Count",
            "CacheReadTokens": "Count",
            "Cost": "None",
            "Latency": "Milliseconds",
            "FirstTokenLatency": "Milliseconds",
            "Unpriced": "Count",
            "Estimated": "Count",
            "Failed": "Count",
            "Blocked": "Count",
        }
        assert record == {
            "_aws": {"Timestamp": 1795348800123},
            "run_id": "r1",
            "model": "gpt-5-mini-2025-08-07",
            "node": "draft",
            "InputTokens": 100,
            "OutputTokens": 20,
            "CacheReadTokens": 60,
            "Cost": 0.000125,
            "Latency": 1500.0,
            "FirstTokenLatency": 250.0,
            "Unpriced": 0,
            "Estimated": 0,
            "Failed": 0,
            "Blocked": 0,
        }

    def test_the_default_is_the_packages_namespace_by_model(self):
        """A record needs nothing but an entry."""
        [directive] = emf_record(make_entry())["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "langchain_lean"
        assert directive["Dimensions"] == [["model"]]

    def test_an_unpriced_call_has_no_cost(self):
        """It is counted as unpriced and never has a cost of 0."""
        record = emf_record(make_entry(cost=None, unpriced=True))
        [directive] = record["_aws"]["CloudWatchMetrics"]
        assert record["Unpriced"] == 1
        assert "Cost" not in record
        assert "Cost" not in {metric["Name"] for metric in directive["Metrics"]}

    @pytest.mark.parametrize("flag", ["estimated", "failed", "blocked"])
    def test_a_flag_is_a_count_of_one(self, flag):
        """Its sum is how many calls carry it, its average their share."""
        assert emf_record(make_entry(**{flag: True}))[flag.title()] == 1

    @pytest.mark.parametrize(
        "fields",
        [{"blocked": True}, {"cache_hit": True}, {"abandoned": True}, {"seconds": 0.0}],
    )
    def test_an_unknown_latency_is_absent(self, fields):
        """Latency is a provider's, and never a stand-in 0."""
        assert "Latency" not in emf_record(make_entry(**fields))

    def test_a_set_without_a_value_is_left_out(self):
        """A call outside a graph has no node to be split by."""
        sets = (("model",), ("model", "node"), ("user_id",))
        record = emf_record(make_entry(node=" ", user_id=None), dimensions=sets)
        assert dimension_sets(record) == [[["model"]]]

    def test_a_call_that_fits_no_set_counts_in_no_metric(self):
        """It is not mixed into a sum that nobody asked for, but still logged."""
        record = emf_record(make_entry(), dimensions=(("model", "node"),))
        assert dimension_sets(record) == []
        assert record["InputTokens"] == 100
        assert record["model"] == "gpt-5-mini-2025-08-07"

    def test_values_cloudwatch_refuses_are_escaped_and_cut(self):
        """Two nodes whose names are not ASCII stay two nodes."""
        nodes = ["résumé", "rêsumê", "two\nlines", "x" * 2000]
        records = [
            emf_record(make_entry(node=node), dimensions=(("node",),)) for node in nodes
        ]
        for record in records:
            check_emf(record)
        assert [record["node"] for record in records] == [
            "r\\xe9sum\\xe9",
            "r\\xeasum\\xea",
            "two\\nlines",
            "x" * 1024,
        ]

    @given(entry=ENTRIES, dimensions=SETS)
    def test_every_entry_is_one_valid_line(self, entry, dimensions):
        """Whatever a call holds, its line is JSON and keeps the format's rules."""
        stream = io.StringIO()
        cloudwatch_emf(stream, dimensions=dimensions)([entry])
        [line] = stream.getvalue().splitlines()
        refuse = pytest.fail  # NaN and infinities are no JSON
        record = json.loads(line, parse_constant=refuse)
        check_emf(record)
        assert ("Cost" in record) == (entry.cost is not None)
        for names in dimensions:
            known = all((getattr(entry, name) or "").strip() for name in names)
            listed = any(
                list(dict.fromkeys(names)) in s for s in dimension_sets(record)
            )
            assert listed == known

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"dimensions": (("run_id",),)}, r"\['run_id'\]; use tuples of model"),
            ({"dimensions": ("model",)}, "use tuples of model"),
            ({"dimensions": ()}, r"use \(\(\),\)"),
            ({"namespace": ""}, "namespace"),
            ({"namespace": ":lean"}, "namespace"),
            ({"namespace": "größe"}, "namespace"),
            ({"namespace": "n" * 256}, "namespace"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, options, says):
        """The error comes where the exporter is made, not in the background."""
        with pytest.raises(ConfigurationError, match=says):
            cloudwatch_emf(**options)
        with pytest.raises(ConfigurationError, match=says):
            emf_record(make_entry(), **options)

    def test_lines_go_to_the_standard_output_of_the_moment(self):
        """Output that is redirected after the exporter was made gets the lines."""
        export = cloudwatch_emf()
        with contextlib.redirect_stdout(io.StringIO()) as output:
            export([make_entry(), make_entry(node="draft")])
        first, second = map(json.loads, output.getvalue().splitlines())
        assert dimension_sets(first) == [[["model"]]]
        assert dimension_sets(second) == [[["model"], ["model", "node"]]]

    def test_lines_are_flushed(self):
        """A process that is frozen afterwards has written its lines."""
        raw = io.BytesIO()
        buffered = io.TextIOWrapper(raw)
        cloudwatch_emf(buffered)([make_entry()])
        check_emf(json.loads(raw.getvalue()))


class TestInALedger:
    def test_metrics_add_up_to_the_totals_of_the_ledger(self, collector):
        """Real calls arrive priced, with tokens, model and cost."""
        with TokenLedger(exporters=[otel_metrics(collector.meter)]) as ledger:
            model = scripted("One.", "Two, and a longer one.")
            config = {"callbacks": [ledger]}
            model.invoke("Say something.", config=config)
            list(model.stream("And again.", config=config))
            ledger.flush()
            totals = ledger.totals()
        sums = {
            point.attributes[gen_ai.GEN_AI_TOKEN_TYPE]: point.sum
            for point in collector.points(TOKENS)
        }
        assert sums == {"input": totals.usage.input, "output": totals.usage.output}
        [cost], [duration] = collector.points(COST), collector.points(DURATION)
        assert cost.value == pytest.approx(float(totals.cost))
        assert totals.cost > 0
        assert duration.count == 2
        assert duration.sum == pytest.approx(totals.seconds)

    def test_a_line_is_written_for_every_call(self):
        """Closing the ledger writes what is left."""
        stream = io.StringIO()
        with TokenLedger(exporters=[cloudwatch_emf(stream)]) as ledger:
            model = scripted("Yes.", ConnectionError("gone"))
            config = {"callbacks": [ledger]}
            model.invoke("Is it?", config=config)
            with pytest.raises(ConnectionError):
                model.invoke("Still?", config=config)
        answered, failed = map(json.loads, stream.getvalue().splitlines())
        check_emf(answered)
        check_emf(failed)
        assert answered["Cost"] > 0
        assert [answered["Failed"], failed["Failed"]] == [0, 1]

    def test_a_model_without_a_price_is_unpriced(self, collector):
        """An unknown model has a duration and tokens, and no cost."""
        stream = io.StringIO()
        exporters = [otel_metrics(collector.meter), cloudwatch_emf(stream)]
        with TokenLedger(exporters=exporters) as ledger:
            model = scripted("Yes.", model_name="my-llm", provider="mine")
            model.invoke("Is it?", config={"callbacks": [ledger]})
        record = json.loads(stream.getvalue())
        assert record["Unpriced"] == 1
        assert "Cost" not in record
        assert collector.points(COST) == []
        assert len(collector.points(TOKENS)) == 2

    def test_the_second_of_two_equal_calls_is_no_operation(self, collector):
        """An answer from LangChain's cache asks no provider."""
        stream = io.StringIO()
        exporters = [otel_metrics(collector.meter), cloudwatch_emf(stream)]
        with TokenLedger(exporters=exporters) as ledger:
            model = scripted("Yes.", cache=InMemoryCache())
            for _ in range(2):
                model.invoke("Is it?", config={"callbacks": [ledger]})
                ledger.flush()
        [duration] = collector.points(DURATION)
        assert duration.count == 1
        asked, cached = map(json.loads, stream.getvalue().splitlines())
        assert asked["InputTokens"] > cached["InputTokens"] == 0
        assert "Latency" not in cached

    def test_embeddings_are_embeddings(self, collector):
        """LangChain's embeddings report no usage, so their tokens are estimates."""
        export = otel_metrics(collector.meter, estimates=True)
        with TokenLedger(exporters=[export]) as ledger:
            fake = DeterministicFakeEmbedding(size=4)
            name = "text-embedding-3-small"
            metered = MeteredEmbeddings(fake, ledger, model=name, provider="openai")
            metered.embed_query("What is it?")
        [found] = collector.attributes(TOKENS)
        assert found[gen_ai.GEN_AI_OPERATION_NAME] == "embeddings"
        assert found[gen_ai.GEN_AI_TOKEN_TYPE] == "input"

    @pytest.mark.parametrize("position", [0, 1])
    def test_a_failing_exporter_stops_neither_the_chain_nor_the_others(
        self, position, caplog
    ):
        """It is logged, and the others are told."""

        def failing(entries):
            msg = "the collector is down"
            raise OSError(msg)

        told = []
        exporters = [told.extend]
        exporters.insert(position, failing)
        with TokenLedger(exporters=exporters) as ledger:
            answer = scripted("Yes.").invoke("Is it?", config={"callbacks": [ledger]})
            ledger.flush()
            assert ledger.totals().calls == 1
        assert isinstance(answer, AIMessage)
        assert answer.text == "Yes."
        assert [entry.model for entry in told] == ["gpt-5-mini"]
        assert "the collector is down" in caplog.text

    def test_a_closed_stream_fails_without_harm(self, caplog):
        """The chain answers although lines can no longer be written."""
        stream = io.StringIO()
        stream.close()
        with TokenLedger(exporters=[cloudwatch_emf(stream)]) as ledger:
            answer = scripted("Yes.").invoke("Is it?", config={"callbacks": [ledger]})
        assert answer.text == "Yes."
        assert "ValueError" in caplog.text
