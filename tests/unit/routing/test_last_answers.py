"""The last answer of a run that reached its cap, behind a router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langchain_lean import EscalationRouter, StepCap
from langchain_lean.routing.policies import EscalationPolicy, SelfScreen, any_of
from langchain_lean.testing import ScriptedChatModel
from tests.unit.routing.ladders import Run, both

LAST = "A last answer."
RULES = "Be kind."


def obedient(messages: Sequence[BaseMessage]) -> str:
    told = "reply only with" in str([message.content for message in messages])
    return "[[ESCALATE]]" if told else LAST


def router(cap: StepCap, policy: EscalationPolicy) -> Any:
    models = {
        name: cap.model(ScriptedChatModel(responses=[obedient], model_name=name))
        for name in ("cheap", "strong")
    }
    return EscalationRouter(models, policy=policy).with_config(callbacks=[cap])


@both
@pytest.mark.parametrize(
    "policy", [SelfScreen(), any_of(SelfScreen(when="law"), SelfScreen(when="tax"))]
)
@pytest.mark.parametrize("rules", [RULES, [{"type": "text", "text": RULES}]])
async def test_it_is_asked_for_without_what_policies_added(
    run: Run, policy: EscalationPolicy, rules: Any
) -> None:
    prompt = [SystemMessage(rules), HumanMessage("Why?")]
    answer = await run(router(StepCap(0), policy), prompt)
    assert answer.text == LAST
