//! Visible and invisible characters.

use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, ExtendedPictographic, Ideographic,
    JoiningType, VariationSelector,
};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
/// The combining character that makes a keycap of a digit.
const KEYCAP: char = '\u{20E3}';
/// A symbol by its category, but blank.
const BRAILLE_BLANK: char = '\u{2800}';

/// Returns whether a character is invisible: a control character, a format or direction character, a separator of lines
/// or paragraphs, or another character that programs leave out (Unicode's `Default_Ignorable_Code_Point`). White space
/// between words does not count as invisible.
pub fn is_invisible(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    let category = c.general_category();
    matches!(
        category,
        Control | Format | LineSeparator | ParagraphSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Returns whether a character is visible on its own: a letter, digit, punctuation mark or symbol.
pub fn is_visible(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    let group = c.general_category_group();
    matches!(group, Letter | Number | Punctuation | Symbol)
        && !is_invisible(c)
        && c != BRAILLE_BLANK
}

/// Returns whether a text contains hidden characters. Characters that scripts need are allowed: the two joiners where
/// they change the adjacent letters (Persian, Hindi, Bengali, Sinhala: RFC 5892, A.1 and A.2) or combine two emoji, and
/// one variation selector after an emoji or a Han character (Japanese family names have many such forms). Anywhere else
/// these characters hide text, or make two different names look equal.
pub fn hides_something(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    let is_hidden = |(at, c): (usize, &char)| {
        let (before, after) = (&characters[..at], &characters[at + 1..]);
        match *c {
            ZERO_WIDTH_NON_JOINER => {
                !joins_at_virama(before, after) && !parts_letters(before, after)
            }
            ZERO_WIDTH_JOINER => !joins_at_virama(before, after) && !joins_emoji(before, after),
            c if is_variation_selector(c) => !selects(before, after),
            c => is_invisible(c),
        }
    };
    characters.iter().enumerate().any(is_hidden)
}

/// Normalises a typed or pasted code: removes white space, hyphens and invisible characters, and converts full-width
/// characters to ordinary ones.
pub fn compact(code: &str) -> String {
    let counts = |c: &char| {
        !c.is_whitespace()
            && !is_invisible(*c)
            && c.general_category() != GeneralCategory::DashPunctuation
    };
    code.nfkc().filter(counts).collect()
}

fn is_variation_selector(c: char) -> bool {
    CodePointSetData::new::<VariationSelector>().contains(c)
}

fn is_pictographic(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

/// Returns whether a joiner stands at a virama, which joins consonants; in Bengali the joiner may also stand before it.
fn joins_at_virama(before: &[char], after: &[char]) -> bool {
    let classes = CodePointMapData::<CanonicalCombiningClass>::new();
    let is_virama = |c: &&char| classes.get(**c) == CanonicalCombiningClass::Virama;
    // There must be a character to join.
    let is_after_virama = before.last().filter(is_virama).is_some();
    is_after_virama || (after.first().filter(is_virama).is_some() && !before.is_empty())
}

/// Returns whether a joiner separates two letters that would otherwise be written as one.
fn parts_letters(before: &[char], after: &[char]) -> bool {
    let types = CodePointMapData::<JoiningType>::new();
    let joining = |c: &char| Some(types.get(*c)).filter(|kind| *kind != JoiningType::Transparent);
    let left = before.iter().rev().find_map(joining);
    let right = after.iter().find_map(joining);
    matches!(
        left,
        Some(JoiningType::LeftJoining | JoiningType::DualJoining)
    ) && matches!(
        right,
        Some(JoiningType::RightJoining | JoiningType::DualJoining)
    )
}

fn joins_emoji(before: &[char], after: &[char]) -> bool {
    let is_modifier =
        |c: &&char| is_variation_selector(**c) || matches!(**c, '\u{1F3FB}'..='\u{1F3FF}');
    let left = before.iter().rev().find(|c| !is_modifier(c));
    let right = after.first();
    [left, right]
        .into_iter()
        .all(|c| c.is_some_and(|c| is_pictographic(*c)))
}

fn selects(before: &[char], after: &[char]) -> bool {
    let emoji = CodePointSetData::new::<Emoji>();
    let ideographic = CodePointSetData::new::<Ideographic>();
    before.last().is_some_and(|base| match base.is_ascii() {
        true => emoji.contains(*base) && after.first() == Some(&KEYCAP),
        false => emoji.contains(*base) || ideographic.contains(*base),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_invisible_and_white_space_is_not() {
        for c in [
            '\0',
            '\n',
            '\u{85}',
            '\u{AD}',
            '\u{34F}',
            '\u{61C}',
            '\u{115F}',
            '\u{180E}',
            '\u{200B}',
            '\u{200C}',
            '\u{200D}',
            '\u{200E}',
            '\u{2028}',
            '\u{2029}',
            '\u{202E}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{FFA0}',
            '\u{FFF9}',
            '\u{1D173}',
            '\u{E0001}',
            '\u{E0041}',
            '\u{E0100}',
        ] {
            assert!(is_invisible(c) && !is_visible(c), "{c:?}");
        }
        for c in [' ', '\u{A0}', '\u{3000}'] {
            assert!(!is_invisible(c) && !is_visible(c), "{c:?}");
        }
        for c in ['a', '7', '!', '+', '阿', 'ع', '🦀'] {
            assert!(!is_invisible(c) && is_visible(c), "{c:?}");
        }
        for c in ['\u{301}', '\u{2800}', '\u{E000}'] {
            assert!(!is_visible(c), "{c:?}");
        }
    }

    #[test]
    fn names_and_emoji_keep_what_writing_needs() {
        for text in [
            "علی\u{200C}رضا", // Persian: two words, one name
            "क्\u{200D}ष",     // Hindi: half a letter
            "ශ්\u{200D}රී",     // Sinhala: Sri
            "র\u{200D}্যাচেল",  // Bengali: Rachel
            "渡邉\u{E0100}",  // Japanese: one of several forms
            "👩\u{200D}💻 ❤\u{FE0F} 👩🏽\u{200D}🚀 1\u{FE0F}\u{20E3}",
            "🏳\u{FE0F}\u{200D}🌈",
        ] {
            assert!(!hides_something(text), "{text:?}");
        }
        for text in [
            "Ada\u{200D}L",
            "Ada\u{200C}L",
            "\u{200D}",
            "\u{200C}علی",
            "علی\u{200C}",
            "👩\u{200D}",
            "Ada\u{FE0F}",
            "1\u{FE0F}",
            "❤\u{FE0F}\u{FE0F}",
            "邉\u{E0100}\u{E0101}",
            "\u{200D}\u{94D}",
            "🏴\u{E0067}\u{E0062}\u{E007F}", // tags can spell anything
            "\u{202E}adA",
            "\u{2067}x\u{2069}",
            "a\u{200E}",
            "a\u{2028}b",
            "\u{180E}",
            "ᄀ\u{115F}",
        ] {
            assert!(hides_something(text), "{text:?}");
        }
    }

    #[test]
    fn a_code_is_what_remains() {
        for typed in [
            "318799",
            "318 799",
            " 318799\n",
            "318-799",
            "３１８７９９",
            "3\u{A0}1\u{2009}8‑799",
            "318\u{2013}799",
            "\u{200E}318799\u{200B}",
            "31\u{AD}8799",
        ] {
            assert_eq!(compact(typed), "318799", "{typed:?}");
        }
        assert_eq!(compact("+318.799"), "+318.799");
    }
}
