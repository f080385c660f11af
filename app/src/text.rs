//! Text that a person is shown and decides by.

/// Whether a character turns the direction of the text around it, so that it reads as something else than it is
/// (Unicode UAX #9, 2.1–2.6).
pub fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_turn_the_direction_and_letters_of_any_script_do_not() {
        assert!("\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{61c}".chars().all(turns_direction));
        assert!(!"a ü שלום مرحبا 👩\u{200d}💻\n".chars().any(turns_direction));
    }
}
