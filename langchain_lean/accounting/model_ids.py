"""The names a model goes by, taken to what its price is known by."""

import re
from functools import lru_cache

_REGIONS = "us-gov|us|eu|apac|au|jp|in|ca|sa|me|af"
_REGION = re.compile(rf"^(?:{_REGIONS})\.")
_BEDROCK = re.compile(
    rf"^(?:arn:aws[a-z-]*:(?:bedrock|sagemaker):|(?:global|{_REGIONS})\.[a-z0-9]+\.|"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|mistral|moonshotai|nvidia|"
    r"openai|qwen|writer|zai)\.)"
)
_NAMED_ARN = re.compile(r"^arn:aws[^/]*:(?:inference-profile|foundation-model)/(.+)$")
_PROVIDERS = {
    "anthropic-bedrock": "aws",
    "anthropic-mantle": "aws",  # the Mantle endpoints are Bedrock's
    "openai-mantle": "aws",
    "azure-openai": "azure",
    "azure-ai": "azure",
    "mistralai": "mistral",
    "xai": "x-ai",
    "google-anthropic-vertex": "google",
}


def undoubled(name: str) -> str:
    """Repair a name that merged chunks repeated: `gpt-xgpt-x` is `gpt-x`.

    Args:
        name: A model name, three characters or more.

    Returns:
        The shortest name the given one is a repetition of.
    """
    period = (name + name).find(name, 1)
    return name[:period] if 3 <= period < len(name) else name


@lru_cache(maxsize=4096)
def model_names(model: str) -> tuple[str, ...]:
    """The ids a model may be priced under, the most specific first.

    A Bedrock ARN of a foundation model or a system inference profile ends in the
    id. A regional inference profile that has no price of its own costs what the
    model costs in a region; a `global.` one may be cheaper, so it stands for itself.

    Args:
        model: The id as reported.

    Returns:
        One or more ids, in lower case.
    """
    name = undoubled(model.strip().lower())
    arn = _NAMED_ARN.match(name)
    names = [name, arn.group(1)] if arn else [name]
    if name.startswith("models/"):
        names.append(name.removeprefix("models/"))
    names += [short for n in names if (short := _REGION.sub("", n)) != n]
    return tuple(names)


@lru_cache(maxsize=4096)
def price_provider(provider: str | None, model: str) -> str | None:
    """The provider a price is looked up with.

    Args:
        provider: As LangChain names it, if known.
        model: The model id, which tells a Bedrock model where `provider` does not.

    Returns:
        A provider name for the price table; None to let it tell by the model.
    """
    if provider is not None:
        name = provider.strip().lower()
        return _PROVIDERS.get(name.replace("_", "-"), name)
    return "aws" if _BEDROCK.match(model.strip().lower()) else None
