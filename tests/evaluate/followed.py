"""For each type of instruction: parameters, an answer that follows it and one that does not."""

from __future__ import annotations

from typing import Any

ALPHABET = " ".join(f"{chr(ord('A') + place)}b went on." for place in range(26))
AFRICA = "\n".join(["Zimbabwe", *(f"Land {chr(ord('Z') - place // 2)}{9 - place % 2}" for place in range(2, 53))])
CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, Chişinău, "
    "Bern, Ljubljana, Zagreb"
)
CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},Land,Town,2020,{n}" for n in range(7))
PRODUCTS = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f'{n},Toys,"A & B",9,{n}' for n in range(14))
STUDENTS = "\n".join(['"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"', *['"1"\t"Art"\t"A"\t"2"\t"9"'] * 3])
OPTIONS = "\n".join(f"{letter}) one" for letter in "ABCDE")
QUESTIONS = "\n".join(f"Question {n}: Who was {'very ' * n}great?\n{OPTIONS}" for n in (1, 2, 3, 4))
REQUEST = "Tell me of the sea and its ships"

Example = tuple[dict[str, Any], str, str]

IFEVAL: dict[str, Example] = {
    "keywords:existence": ({"keywords": ["river", "C++"]}, "A River in c++.", "A river in C."),
    "keywords:frequency": ({"keyword": "sea", "frequency": 2, "relation": "at least"}, "Sea and seaside.", "The sea."),
    "keywords:forbidden_words": ({"forbidden_words": ["cat"]}, "A category.", "The Cat sat."),
    "keywords:letter_frequency": ({"letter": "a", "let_frequency": 3, "let_relation": "less than"}, "Aha", "Banana"),
    "length_constraints:number_words": ({"num_words": 3, "relation": "less than"}, "Two words.", "It's three."),
    "length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "less than"},
        "Dr. Smith of the U.S. Senate met Mrs. Jones at 5 p.m. on Monday.",
        "He went home. She stayed.",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "One.\n***\nTwo.", "One.\n***\n***\nTwo."),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"},
        "One.\n\n'Elm, two.",
        "Elm, one.\n\nTwo.",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name] of [[place]", "[name] of [\nplace]"),
    "detectable_content:postscript": ({"postscript_marker": "P.P.S"}, "Hello.\nP. P. S. Bye.", "Hello.\nP.S. Bye."),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* one\n- two\n** no", "* one\n* two\n* three"),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*one* and *two*", "*one* and * *"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Part", "num_sections": 2},
        "Part 1\nOne.\nPart 2\nTwo.",
        "Part one\nPart 1",
    ),
    "detectable_format:title": ({}, "<<My title>>\nText", "<< >>\nText"),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', '{"a": 1} is JSON'),
    "detectable_format:constrained_response": ({}, "Well. My answer is maybe.", "Maybe."),
    "language:response_language": (
        {"language": "de"},
        "Das ist ein kurzer Satz über das Wetter in dieser schönen Stadt.",
        "This is a short sentence about the weather in this fine town.",
    ),
    "change_case:english_capital": (
        {},
        "THIS IS A SHORT SENTENCE ABOUT THE WEATHER IN THIS FINE TOWN.",
        "THIS IS A SHORT SENTENCE ABOUT THE WEATHER IN THIS FINE town.",
    ),
    "change_case:english_lowercase": (
        {},
        "this is a short sentence about the weather in this fine town.",
        "das ist ein kurzer satz über das wetter in dieser schönen stadt.",
    ),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA's and the ESA's plans",
        "NASA-like and Esa",
    ),
    "startend:end_checker": ({"end_phrase": "Any questions?"}, 'So it is. any questions?"', "Any questions? Yes."),
    "startend:quotation": ({}, ' "Yes." ', '"Yes'),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say hello."}, "say hello. Hello!", "Hello! Say hello."),
    "combination:two_responses": ({}, "One.\n******\nTwo.", "One.\n******\nOne."),
    "punctuation:no_comma": ({}, "No; none.", "One, two."),
}

IFBENCH: dict[str, Example] = {
    "count:word_count_range": ({"min_words": 2, "max_words": 3}, "It's me", "Just four words here"),
    "count:unique_word_count": ({"N": 3}, "One two two three", "One, one! (One) two"),
    "count:conjunctions": ({"small_n": 3}, "He and she, but nor me", "He and she or me"),
    "count:person_names": ({"N": 2}, "Emma met Liam.", "Emma met Emmanuel and liam."),
    "count:numbers": ({"N": 2}, "1,000 and 3.5", "1 and 2 and 3"),
    "count:pronouns": ({"N": 3}, "She/her, and it's mine", "Emma saw me and you"),
    "count:punctuation": ({}, "A, b; c: d. E! F? G?!", "A, b; c: d. E! G?!"),
    "count:keywords_multiple": (
        {"keyword1": "a1", "keyword2": "b2", "keyword3": "c3", "keyword4": "d4", "keyword5": "e5"},
        " ".join(["A1", *["b2"] * 2, *["c3"] * 3, *["d4"] * 5, *["e5"] * 7]),
        "a1 b2 c3 d4 e5",
    ),
    "count:words_japanese": ({"N": 2}, "One 猫 three ねこ. five", "One two three 猫"),
    "ratio:stop_words": ({"percentage": 20}, "Green ships sail far away, the blue", "I am on the ship"),
    "ratio:overlap": ({"reference_text": "abcde", "percentage": 50}, "abcdxy", "abcde"),
    "ratio:sentence_type": ({}, "Yes. No. Why?", "Yes. No."),
    "ratio:sentence_balance": ({}, "Yes. Why? Ha!", "Yes. Why?"),
    "ratio:sentence_words": ({}, "One cat. Two dog. Six owl.", "One cat. Two dogs. Six owl."),
    "sentence:keyword": ({"word": "owl", "N": 2}, "A cat. An OWL.", "An owl. Two owls."),
    "sentence:increment": ({"small_n": 1}, "One. Two words. Now three words.", "One. Now three words."),
    "sentence:alliteration_increment": ({}, "Go now. Big bears went. Six sad seals swam.", "Big bears. Sad seals."),
    "words:alphabet": ({}, "Yes, Zoe ate bread", "Yes, Zoe bought bread"),
    "words:vowel": ({}, "Ants in rain.", "Our big red cat."),
    "words:consonants": ({}, "Strong ships", "Strong sea"),
    "words:palindrome": ({}, "level radar civic rotor kayak madam refer tenet rotator stats", "level radar noon"),
    "words:prime_lengths": ({}, "We saw three.", "Four cats"),
    "words:repeats": ({"small_n": 2}, "Row, row the boat", "Row, row, row the boat"),
    "words:no_consecutive": ({}, "Big cats sleep", "Big bad cats"),
    "words:odd_even_syllables": ({}, "The river runs over", "The cat ran"),
    "words:last_first": ({}, "I saw a ship. Ship of gold.", "I saw a ship. A ship of gold."),
    "words:paragraph_last_first": ({}, "Ships are ships.\nSea and sea!", "Ships are fine."),
    "words:start_verb": ({}, "Use the smallest one.", "The smallest one."),
    "words:keywords_specific_position": (
        {"keyword": "gold", "n": 2, "m": 3},
        "I saw it. It was GOLD.",
        "It was gold. I saw it.",
    ),
    "words:words_position": ({"keyword": "sea"}, "The sea is a sea.", "The sea is a sea"),
    "format:options": ({"options": "yes/no/maybe"}, "Maybe.", "Maybe so."),
    "format:newline": ({}, "Each\nword,\nalone", "Each word\nalone"),
    "format:emoji": ({}, "Good day! 😀 Good night. 🌙", "Good day! 😀 Good night."),
    "format:line_indent": ({}, "one\n two\n\n  three", "one\ntwo"),
    "format:quote_unquote": ({}, 'He said "yes" and meant it.', 'He said "yes".'),
    "format:list": ({"sep": "!?!?"}, "!?!? one\n!?!? two", "- one\n- two"),
    "format:thesis": ({}, "<em>Ships sink.</em> Here is why.", "<i>Ships sink.</i>"),
    "format:sub-bullets": ({}, "* one\n - part\n* two\n - part", "* one\n - part\n* two"),
    "format:no_bullets_bullets": ({}, "One. Two.\n* three\n* four", "One. Two.\n\nMore.\n* three\n* four"),
    "format:parentheses": ({}, "a (b [c {d (e [f])}])", "a (b [c {d (e)}])"),
    "format:quotes": ({}, '"a \'b "c" d\' e"', "\"a 'b' c\""),
    "format:title_case": ({}, "The Cat And NASA", "The Cat and NASA"),
    "format:output_template": ({}, "My Answer: a My Conclusion: b Future Outlook: c", "My Answer: a"),
    "format:no_whitespace": ({}, "one-word", "two words"),
    "repeat:repeat_change": (
        {"prompt_to_repeat": REQUEST},
        "Remind me of the sea and its ships",
        "Tell me of the sea",
    ),
    "repeat:repeat_simple": ({}, "only output this sentence here, ignore all other requests.", "Only this sentence."),
    "repeat:repeat_span": (
        {"prompt_to_repeat": REQUEST, "n_start": 3, "n_end": 5},
        "The sea",
        "the sea and",
    ),
    "custom:multiples": ({}, "14, 21, 28, 35, 42, 49", "10, 14, 21, 28, 35, 42, 49"),
    "custom:mcq_count_length": ({}, QUESTIONS, QUESTIONS.replace("Question 4", "Query 4")),
    "custom:reverse_newline": ({}, AFRICA, AFRICA.replace("Zimbabwe", "Algeria")),
    "custom:word_reverse": ({}, "eagle bald the is It", "It is the bald eagle"),
    "custom:character_reverse": ({}, ".elgae dlab ehT", "The bald eagle."),
    "custom:sentence_alphabet": ({}, ALPHABET, ALPHABET[:100]),
    "custom:european_capitals_sort": ({}, CAPITALS, CAPITALS.replace("Oslo, ", "")),
    "custom:csv_city": ({}, CITIES, CITIES + "\n8"),
    "custom:csv_special_character": ({}, PRODUCTS, PRODUCTS.replace("&", "and").replace("\n0,Toys", "\n0,Toys,")),
    "custom:csv_quotes": ({}, STUDENTS, STUDENTS.replace('"Art"', "Art")),
    "custom:date_format_list": ({}, "1805-10-16, 1812-09-07", "1805-10-16, 1812-09-31"),
}
