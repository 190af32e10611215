"""Why the answer to one question must not be served for another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_lean.caching.checks import (
    VETOES,
    differs,
    name_differs,
    negation_differs,
    number_differs,
)

NEGATED = "one of them is negated"
NUMBER = "a number differs"
DATE = "a date or a span of time differs"
UNIT = "a unit or a currency differs"
OPPOSITE = "one asks for the opposite"
DIRECTION = "the direction differs"
NAME = "a name differs"
QUOTATION = "a quotation differs"
ASKED = "they ask for different things"
TOPIC = "what they are about differs"

DIFFERENT = [
    (OPPOSITE, "How do I log in?", "How do I log out?"),
    (OPPOSITE, "How do I opt in to emails?", "How do I opt out of emails?"),
    # Polarity
    (NEGATED, "Is this drug safe for children?", "Is this drug not safe for children?"),
    (NEGATED, "Is this drug safe for children?", "Is this drug unsafe for children?"),
    (NEGATED, "Can I eat grapefruit?", "Can't I eat grapefruit?"),
    (NEGATED, "Should I restart the server?", "Shouldn’t I restart the server?"),
    (NEGATED, "Which plans include roaming?", "Which plans never include roaming?"),
    (NEGATED, "Who is allowed to vote?", "Who isn't allowed to vote?"),
    (NEGATED, "Who is allowed to vote?", "Who is forbidden to vote?"),
    (NEGATED, "Foods I can eat when pregnant", "Foods I cannot eat when pregnant"),
    (NEGATED, "foods i can eat when pregnant", "foods i cant eat when pregnant"),
    (NEGATED, "Can I fly with a passport?", "Can I fly without a passport?"),
    (NEGATED, "Why was my claim declined?", "Why was my claim not declined?"),
    (NEGATED, "Is a verbal contract valid?", "Is a verbal contract invalid?"),
    (NEGATED, "Which seats have power?", "Which seats have no power?"),
    (NEGATED, "It is possible to get a refund", "It is impossible to get a refund"),
    (
        NEGATED,
        "Which drugs are not safe with wine and not addictive?",
        "Which drugs are safe with wine and not addictive?",
    ),
    (NEGATED, "Darf ich hier parken?", "Darf ich hier nicht parken?"),
    (NEGATED, "Hat das Hotel einen Pool?", "Hat das Hotel keinen Pool?"),
    (NEGATED, "Je peux annuler ma commande", "Je ne peux pas annuler ma commande"),
    (NEGATED, "Puedo pagar con tarjeta", "No puedo pagar con tarjeta"),
    (NEGATED, "Eu posso cancelar", "Eu não posso cancelar"),
    (NEGATED, "Posso pagare con carta", "Non posso pagare con carta"),
    (NEGATED, "可以退货吗", "不可以退货吗"),
    (NEGATED, "Можно отменить заказ?", "Можно не отменить заказ?"),
    (NEGATED, "How do I get a visa?", "How do I avoid getting a visa?"),
    (NEGATED, "Why not eat meat?", "Why eat meat?"),
    (NEGATED, "What happens if not paid?", "What happens if paid?"),
    (NEGATED, "Is it still safe to eat?", "Is it not safe to eat?"),
    (NEGATED, "Can dogs that know me bite?", "Can dogs that do not know me bite?"),
    (NEGATED, "I like my phone", "I don't like my phone"),
    (NEGATED, "List states in the union", "List states that are not in the union"),
    # Numbers
    (NUMBER, "What is 17 times 4?", "What is 18 times 4?"),
    (NUMBER, "Recommend two books", "Recommend 3 books"),
    (NUMBER, "Give me one example", "Give me five examples"),
    (NUMBER, "Who was the first president?", "Who was the second president?"),
    (NUMBER, "What changed in Python 3.10?", "What changed in Python 3.1?"),
    (NUMBER, "What changed in Python 3.11?", "What changed in Python 3.9?"),
    (NUMBER, "Upgrade to 2.0.1", "Upgrade to 2.0.10"),
    (NUMBER, "Can I send 1,000 euros?", "Can I send 10,000 euros?"),
    (NUMBER, "Can I send 1k euros?", "Can I send 10k euros?"),
    (NUMBER, "Wake me at 5 am", "Wake me at 5 pm"),
    (NUMBER, "Wake me at 17:30", "Wake me at 17:00"),
    (NUMBER, "What is 3/4 of a cup?", "What is 4/3 of a cup?"),
    (NUMBER, "Is -5 degrees too cold?", "Is 5 degrees too cold?"),
    (NUMBER, "Ages 5-10", "Ages 5-12"),
    (NUMBER, "Is ３ enough?", "Is ４ enough?"),
    (NUMBER, "Is ٣ enough?", "Is 4 enough?"),
    (NUMBER, "twenty-one guns", "twenty-two guns"),
    (NUMBER, "two hundred and fifty grams", "two hundred and five grams"),
    (NUMBER, "Dose of aspirin 81 mg", "Dose of aspirin 325 mg"),
    # Dates
    (DATE, "Will it rain tomorrow?", "Will it rain today?"),
    (DATE, "Will it rain?", "Will it rain tomorrow?"),
    (DATE, "Sales last week", "Sales next week"),
    (DATE, "Is the bank open on Monday?", "Is the bank open on Tuesday?"),
    (DATE, "Flights on 5 May", "Flights on 5 June"),
    (DATE, "flights in may", "flights in june"),
    (DATE, "Flights from 3 May to 5 June", "Flights from 5 May to 3 June"),
    (NUMBER, "Who was pope in 1999?", "Who was pope in 2009?"),
    (DATE, "Meeting on 2024-05-03", "Meeting on 2024-06-03"),
    (DATE, "How much is it per day?", "How much is it per week?"),
    (DATE, "Good things to do in the morning", "Good things to do in the evening"),
    (DATE, "明天会下雨吗", "昨天会下雨吗"),
    # Units and currencies
    (UNIT, "How far is it in km?", "How far is it in miles?"),
    (UNIT, "Does it cost $20?", "Does it cost €20?"),
    (UNIT, "Does it cost 20 USD?", "Does it cost 20 GBP?"),
    (UNIT, "Is 5 mg of it too much?", "Is 5 g of it too much?"),
    (UNIT, "Is it 20 °C outside?", "Is it 20 °F outside?"),
    (UNIT, "How many cups are 500 ml?", "How many spoons are 500 ml?"),
    # Opposites
    (OPPOSITE, "How do I enable dark mode?", "How do I disable dark mode?"),
    (OPPOSITE, "How do I turn the light on?", "How do I turn the light off?"),
    (OPPOSITE, "Increasing my limit", "Decreasing my limit"),
    (OPPOSITE, "Should I buy shares now?", "Should I sell shares now?"),
    (OPPOSITE, "Eat before a workout?", "Eat after a workout?"),
    (OPPOSITE, "What is the minimum age?", "What is the maximum age?"),
    (OPPOSITE, "Importing cars", "Exporting cars"),
    (OPPOSITE, "How do I encrypt a file?", "How do I decrypt a file?"),
    (OPPOSITE, "What is the cheapest flight?", "What is the most expensive flight?"),
    (OPPOSITE, "Benefits of coffee", "Drawbacks of coffee"),
    (OPPOSITE, "Can a tenant break the lease?", "Can a landlord break the lease?"),
    (OPPOSITE, "How do I activate my card?", "How do I deactivate my card?"),
    (OPPOSITE, "Why are my arteries hard?", "Why are my veins hard?"),
    (OPPOSITE, "Card activation", "Card deactivation"),
    (OPPOSITE, "Upload a photo", "Download a photo"),
    (OPPOSITE, "What is 12 + 5?", "What is 12 - 5?"),
    (OPPOSITE, "Which is the best phone?", "Which is the worst phone?"),
    # Direction
    (DIRECTION, "Trains from Paris to London", "Trains from London to Paris"),
    (DIRECTION, "convert EUR to USD", "convert USD to EUR"),
    (DIRECTION, "Is Python faster than Java?", "Is Java faster than Python?"),
    (DIRECTION, "Is a plum bigger than a fig?", "Is a fig bigger than a plum?"),
    (DIRECTION, "move from savings to checking", "move from checking to savings"),
    (DIRECTION, "Fly to Rome", "Fly from Rome"),
    (DIRECTION, "What is 9 minus 4?", "What is 4 minus 9?"),
    (DIRECTION, "Did the dog bite the man?", "Did the man bite the dog?"),
    (DIRECTION, "How many feet are in a mile?", "How many miles are in a foot?"),
    (DIRECTION, "Merge feature into main", "Merge main into feature"),
    # Names
    (NAME, "Who is Ada Lovelace?", "Who is Alan Turing?"),
    (NAME, "What is the capital of Peru?", "What is the capital of Chile?"),
    (NAME, "what is the capital of peru", "what is the capital of chile"),
    (NAME, "translate this to french", "translate this to german"),
    (NAME, "Is vitamin C good for me?", "Is vitamin D good for me?"),
    (NAME, "Does it support OAuth?", "Does it support SAML?"),
    (NAME, "What does get_item do?", "What does set_item do?"),
    (NAME, "What does os.path.join do?", "What does os.path.split do?"),
    (NAME, "Write to bob@example.com", "Write to amy@example.com"),
    (NAME, "Summarize https://a.example/x", "Summarize https://a.example/y"),
    (NAME, "What is in /etc/hosts?", "What is in /etc/passwd?"),
    (NAME, "Is HashMap thread-safe?", "Is TreeMap thread-safe?"),
    (NAME, "sort a list in python", "sort a list in javascript"),
    (NAME, "How do I sort in C?", "How do I sort in C++?"),
    (NAME, "Did Apple sue Samsung?", "Did Apple sue Nokia?"),
    # Quotations
    (QUOTATION, 'Translate "good morning"', 'Translate "see you later"'),
    (QUOTATION, "Translate “thank you”", "Translate “see you”"),
    (QUOTATION, "What does 'stat' mean?", "What does 'prn' mean?"),
    (QUOTATION, "Explain «savoir vivre»", "Explain «raison d'état»"),
    (QUOTATION, "What does `a == b` do?", "What does `a = b` do?"),
    (QUOTATION, "What does `ls -a` do?", "What does `ls -l` do?"),
    # What is asked for
    (ASKED, "Who painted it?", "When was it painted?"),
    (ASKED, "Where was she born?", "When was she born?"),
    (ASKED, "Why did the war end?", "When did the war end?"),
    (ASKED, "How many moons are there?", "Where are the moons?"),
    # What it is about
    (TOPIC, "Is chocolate toxic to dogs?", "Is chocolate toxic to birds?"),
    (TOPIC, "boiling point of ethanol", "boiling point of methanol"),
    (TOPIC, "how do i cook rice", "how do i cook quinoa"),
    (TOPIC, "side effects of prednisone", "side effects of warfarin"),
]

SAME = [
    ("What's the weather like?", "what is the weather like"),
    ("I don’t have a receipt", "I do not have a receipt"),
    ("I can't log in", "I cannot log in"),
    ("I cant log in", "I can't log in"),
    ("I'm unable to log in", "I am not able to log in"),
    ("Is it impossible to undo this?", "Is it not possible to undo this?"),
    ("Why hasn't my parcel arrived?", "Why has my parcel not arrived?"),
    ("My parcel has not arrived", "I still have not received my parcel"),
    ("My payment failed", "My payment did not go through"),
    ("Why was my claim declined?", "Why was my claim not accepted?"),
    ("I don't know how to reset my PIN", "How do I reset my PIN?"),
    ("I can't find my receipt", "Where do I find my receipt?"),
    ("Isn't there a way to pay later?", "Is there a way to pay later?"),
    ("I didn't get my parcel", "My parcel never came"),
    ("Is it safe or not?", "Is it safe?"),
    ("Not only cats sleep a lot, why?", "Why do cats sleep a lot?"),
    ("Room no. 5", "Room 5"),
    ("Recommend two books", "Recommend 2 books"),
    ("Is $1,000 enough?", "Is 1000 dollars enough?"),
    ("Is 1k enough?", "Is 1000 enough?"),
    ("Is 1.5 million a lot?", "Is 1,500,000 a lot?"),
    ("Is 1\u00a0000 enough?", "Is 1000 enough?"),
    ("Is 1.234,50 a lot?", "Is 1,234.50 a lot?"),
    ("The 3rd planet", "The third planet"),
    ("Tell me about the Second World War", "Tell me about World War 2"),
    ("twenty-five people", "25 people"),
    ("two hundred and fifty grams", "250 g"),
    ("a dozen eggs", "12 eggs"),
    ("How long is a mile in feet?", "How long is 1 mile in feet?"),
    ("one example, please", "an example, please"),
    ("What is ½ of 8?", "What is 1/2 of 8?"),
    ("Costs 5.00 dollars", "Costs $5"),
    ("ages 5-10", "ages 5 to 10"),
    ("Wake me at 5pm", "Wake me at 17:00"),
    ("Wake me at 5 p.m.", "Wake me at 5 pm"),
    ("Wake me at 5:30 pm", "Wake me at 17:30"),
    ("Lunch at noon", "Lunch at 12:00"),
    ("Is ３ enough?", "Is 3 enough?"),
    ("Is ٣ enough?", "Is 3 enough?"),
    ("Wait a second, how do I stop it?", "How do I stop it?"),
    ("5 May 2024", "May 5, 2024"),
    ("5 May 2024", "2024-05-05"),
    ("13 May 2024", "13.05.2024"),
    ("13 May 2024", "05/13/2024"),
    ("Sept. 3rd", "3 September"),
    ("the 3rd of September", "September 3"),
    ("Open on Fri?", "Open on Friday?"),
    ("Open on Sundays?", "Open on Sunday?"),
    ("Sales in the past week", "Sales in the last week"),
    ("May I cancel?", "Can I cancel?"),
    ("What is the weather today?", "What is the weather?"),
    ("Price per month?", "Monthly price?"),
    ("How far is it in km?", "How far is it in kilometres?"),
    ("Is 5 percent a lot?", "Is 5% a lot?"),
    ("100 USD in EUR", "$100 in euros"),
    ("Is 20 °C warm?", "Is 20 degrees Celsius warm?"),
    ("How do I enable dark mode?", "How can I turn dark mode on?"),
    ("Trains from Paris to London", "Trains to London from Paris"),
    ("difference between cats and dogs", "difference between dogs and cats"),
    ("cats vs dogs", "dogs vs cats"),
    ("How do I sort a list in Python?", "In Python, how do I sort a list?"),
    ("Did the dog bite the man?", "The dog, did it bite the man?"),
    ("Who is Ada Lovelace?", "who is ada lovelace"),
    ("Einstein's theory of relativity", "the relativity theory of Einstein"),
    ("How Do I Reset My Password", "How do I reset my password?"),
    ("HOW DO I RESET MY PASSWORD", "how do I reset my password?"),
    ("Is the USA bigger than China?", "Is the U.S. bigger than China?"),
    ("Who leads the United Kingdom?", "Who leads the UK?"),
    ("What is the French capital?", "What is the capital of France?"),
    ("Where are ATMs?", "Where is an ATM?"),
    ("My Wi-Fi is slow", "my wifi is slow"),
    ("Is GPT-4 good?", "Is gpt4 good?"),
    ("Open example.com", "Open https://www.example.com/"),
    ("What does 'stat' mean?", "What does stat mean?"),
    ("What does “stat” mean?", 'What does "stat" mean?'),
    ("Hello! How do I pay?", "How do I pay?"),
    ("Please tell me where she was born", "Where was she born?"),
    ("When does it open?", "What time does it open?"),
    ("When will it arrive?", "How long until it arrives?"),
    ("How do I pay my bill?", "How do you pay your bill?"),
    ("How do I chnage my address?", "How do I change my address?"),
    ("What is the price of an apple", "What is the price of apples"),
    ("Is it good for the environment?", "Is it good for the enviroment?"),
    ("能不能退款", "能退款吗"),
    ("Wie lösche ich mein Konto?", "wie kann ich mein Konto löschen"),
    ("Can I return it after 30 days?", "Can I return it after thirty days"),
]

PIECES = """
How do I not Paris London 5 May 2024 US us $5 5pm 17:00 first one two hundred `x` "hi"
from to than and Wi-Fi foo_bar a.b/c you@example.com isn't cannot never before after
enable disable dog bite man who when km miles tomorrow last week 3rd 3.10 c++ of for
French don’t 1,000 -5 % € «oui» new. Old! What? no a the
""".split()  # noqa: SIM905
sentences = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)
texts = st.one_of(sentences, st.text(max_size=80))


@pytest.mark.parametrize(("why", "one", "other"), DIFFERENT)
def test_questions_with_different_answers_are_told_apart(
    why: str, one: str, other: str
) -> None:
    assert differs(one, other) == why
    assert differs(other, one) == why


@pytest.mark.parametrize(("one", "other"), SAME)
def test_questions_with_the_same_answer_are_not(one: str, other: str) -> None:
    assert differs(one, other) is None
    assert differs(other, one) is None


@given(one=texts, other=texts)
def test_the_order_of_two_questions_does_not_matter(one: str, other: str) -> None:
    for veto in VETOES:
        assert veto(one, other) == veto(other, one)
    assert differs(one, other) == differs(other, one)


@given(texts)
def test_no_question_differs_from_itself(text: str) -> None:
    assert differs(text, text) is None


@given(sentences, st.sampled_from(["", "?", "!", ".", " ??", "…"]))
def test_case_space_and_the_mark_at_the_end_do_not_matter(text: str, end: str) -> None:
    assert differs(text, text.upper()) is None
    assert differs(text, text.lower()) is None
    assert differs(text, text.title()) is None
    assert differs(text, f"  {text.replace(' ', chr(10) + ' ')} ") is None
    assert differs(text, text + end) is None


@given(one=texts, other=texts)
def test_a_reason_has_nothing_of_the_questions_in_it(one: str, other: str) -> None:
    reasons = {NEGATED, NUMBER, DATE, UNIT, OPPOSITE, DIRECTION, NAME, QUOTATION}
    assert differs(one, other) in reasons | {ASKED, TOPIC, None}


@pytest.mark.parametrize(
    "piece",
    ['"', "'", "`a", "a.b", "a_", "1,", "/a", "a@", "not ", "from a to b ", "May 1 ",
     "one hundred million ", "A", "((", "« ", "' ", "不", "http://", "١", "½", "\n",
     "1/1", "A. ", "- ", "°c", "2024-", "don't", "x"],
)  # fmt: skip
def test_any_text_is_read(piece: str) -> None:
    text = piece * (4_000 // len(piece))
    assert differs(text, text) is None
    assert differs(f"{text}x", f"x{text}") == differs(f"x{text}", f"{text}x")


def test_questions_that_are_too_long_must_end_alike() -> None:
    long = "why is it so " * 400
    assert differs(long, long) is None
    assert differs(f"{long}hot", f"{long}cold") == "too long to compare"
    assert differs(f"today {long}", f"tomorrow {long}") == "too long to compare"


def test_an_application_chooses_its_vetoes_and_adds_its_own() -> None:
    def never_on_prices(one: str, other: str) -> str | None:
        return "prices change" if "price" in one + other else None

    one, other = "price of 2 apples", "price of 3 apples"
    assert differs(one, other, (negation_differs, name_differs)) is None
    assert differs(one, other, (never_on_prices, *VETOES)) == "prices change"
    assert differs(one, other, ()) is None


def test_a_veto_is_a_function_of_two_questions() -> None:
    assert number_differs("2 apples", "3 apples") == NUMBER
    assert number_differs("2 apples", "two apples") is None
